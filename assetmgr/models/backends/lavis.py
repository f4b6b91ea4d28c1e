"""Models through LAVIS itself, where it is installed: by its own classes, from proved files, offline.

Loading is strict where LAVIS's own is not: see `lavis_keys`. What is returned is LAVIS's: its model, its processors,
its generation with its defaults. The options of a task are those of LAVIS's method.
"""

from __future__ import annotations

import contextlib
import inspect
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from assetmgr.errors import AssetError, IntegrityError, UsageError
from assetmgr.manifest_reader import nearest
from assetmgr.models.backends import Request, cannot
from assetmgr.models.backends.lavis_files import import_lavis, only_proved
from assetmgr.models.backends.lavis_keys import misfits, watched
from assetmgr.models.backends.placement import footprint, main_dtype, pick_device
from assetmgr.models.loaded import LoadedModel
from assetmgr.models.pictures import Picture, open_picture, open_pictures
from assetmgr.models.prompts import QUESTION, conversation
from assetmgr.models.results import Features, Match
from assetmgr.verify import Installed


class Processors(NamedTuple):
    """LAVIS's processors of images and of texts: ``train`` and ``eval``."""

    vis: Mapping[str, Callable[[Any], Any]]
    txt: Mapping[str, Callable[[str], str]]


# What LAVIS's classes, and those derived from them, are asked for.
_TASKS = {
    "BlipCaption": ("caption", "generate"),
    "BlipVQA": ("answer",),
    "AlbefVQA": ("answer",),
    "Blip2OPT": ("caption", "answer", "generate"),
    "Blip2T5": ("caption", "answer", "generate"),
    "BlipITM": ("match",),
    "Blip2ITM": ("features", "match"),
    "Blip2Qformer": ("features", "match"),
    "BlipFeatureExtractor": ("features", "match"),
    "AlbefFeatureExtractor": ("features", "match"),
    "CLIP": ("features", "match"),
}


def load(request: Request) -> LoadedModel:
    """See `assetmgr.models.load`."""
    found, name = request.found, request.found.name
    if request.quantize != "none":
        raise UsageError(
            f"{name}: LAVIS does not quantise: quantize={request.quantize!r} is for models of the hub",
            mend="quantize='none', or a twin of it: assetmgr show " + name,
        )
    model, processors = load_own(found, request.required, is_eval=True, device=pick_device(request.device))
    if request.dtype != "auto":
        model = _cast(name, model, request.dtype)
    return LoadedModel(
        name=name,
        model=model,
        processor=processors,
        device=model.device,
        dtype=main_dtype(model),
        footprint=footprint(model),
        folder=found.folder,
        backend="lavis",
    )


def load_own(
    found: Installed, required: Sequence[Installed], *, is_eval: bool, device: str | torch.device
) -> tuple[Any, Processors]:
    """A model and its processors, as LAVIS's ``load_model_and_preprocess`` returns them."""
    lavis = import_lavis(found.name)
    said = found.use["load"]["lavis"]
    architecture, kind = str(said["name"]), str(said["model_type"])
    known = lavis.registry.mapping["model_name_mapping"]
    if architecture not in known:
        raise UsageError(
            f"{found.name}: the LAVIS that is installed has no architecture {architecture!r}"
            + nearest(architecture, known),
            mend="assetmgr list --group lavis has those of salesforce-lavis 1.0.2",
        )
    types = known[architecture].PRETRAINED_MODEL_CONFIG_DICT
    if kind not in types:
        raise UsageError(
            f"{found.name}: LAVIS's {architecture} has no type {kind!r}{nearest(kind, types)}",
            mend=f"it has {', '.join(types)}",
        )
    with (
        _explained(found.name),
        only_proved(found, required, _checkpoint(known[architecture], kind)),
        watched() as seen,
        _quiet(),
    ):
        model, vis, txt = lavis.models.load_model_and_preprocess(architecture, kind, is_eval=is_eval, device=device)
    wrong = misfits(architecture, model, seen)
    if wrong:
        raise IntegrityError(
            f"{found.name}: its weights do not fit LAVIS's {type(model).__name__} ({kind}): {'; '.join(wrong)}",
            mend=f"assetmgr verify {found.name} --full --repair; if its files are whole, they are another model's: "
            f"correct its url, or `load: {{lavis: ...}}`, in the manifest",
        )
    return model, Processors(vis, txt)


def _checkpoint(kind: Any, model_type: str) -> str | None:
    """The name of the file that LAVIS's configuration of a type gives as its checkpoint."""
    from omegaconf import OmegaConf

    model = OmegaConf.load(kind.default_config_path(model_type)).get("model") or {}
    finetuned = model.get("load_finetuned", "finetuned" in model)
    url = model.get("finetuned" if finetuned else "pretrained")
    return str(url).rpartition("/")[2] if url and "://" in str(url) else None


def _cast(name: str, model: Any, dtype: str) -> Any:
    """The model in another precision; BLIP-2 mixes its own, which its methods count on."""
    wanted: torch.dtype = getattr(torch, dtype)
    if wanted is not torch.float32 and _is_blip2(model):
        raise UsageError(
            f"{name}: LAVIS mixes the precisions of BLIP-2 itself (float16 on a GPU, float32 on the CPU), and its "
            f"methods fail where all of it is {dtype}",
            mend="dtype='auto', or a twin of it: assetmgr show " + name,
        )
    return model.to(wanted)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what is said of old arguments, and of weights at random: those that stay so are looked for here."""
    from assetmgr.models.backends.quiet import quiet

    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn what LAVIS raises over a model that it cannot load into an error that names the model."""
    try:
        yield
    except AssetError:
        raise
    except (pickle.UnpicklingError, EOFError) as error:
        # Not in torch's words, which recommend to execute what the file says.
        raise IntegrityError(
            f"{name}: its weights are pickles that are damaged or hold more than tensors; they were not executed",
            mend=f"assetmgr verify {name} --full --repair; if the files are whole, ask its publisher for tensors alone",
        ) from error
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        if "Error(s) in loading state_dict" in str(error):
            raise IntegrityError(
                f"{name}: its weights do not fit: {'; '.join(lines[1:4]) + (', ...' if len(lines) > 4 else '')}",
                mend=f"assetmgr verify {name} --full --repair; if its files are whole, they are another model's: "
                f"correct its url, or `load: {{lavis: ...}}`, in the manifest",
            ) from error
        raise AssetError(
            f"{name}: LAVIS cannot load it: {type(error).__name__}: {lines[0] if lines else ''}",
            mend=f"assetmgr verify {name} --full; see that what it needs is in its `requires`: assetmgr show {name}",
        ) from error


# --- tasks -----------------------------------------------------------------------------------------------------------


def tasks(loaded: LoadedModel) -> tuple[str, ...]:
    """See `LoadedModel.tasks`."""
    return next((_TASKS[kind.__name__] for kind in type(loaded.model).__mro__ if kind.__name__ in _TASKS), ())


def caption(loaded: LoadedModel, image: Picture, generate: Mapping[str, Any]) -> str:
    """See `LoadedModel.caption`."""
    _need(loaded, "caption")
    return _write(loaded, loaded.model.generate, {"image": _pixels(loaded, [open_picture(image)])}, generate)


def answer(
    loaded: LoadedModel,
    image: Picture,
    question: str,
    context: Sequence[tuple[str, str]],
    prompt: str | None,
    generate: Mapping[str, Any],
) -> str:
    """See `LoadedModel.answer`. With ``answer_list`` the likeliest of those is the answer."""
    _need(loaded, "answer")
    sample: dict[str, Any] = {"image": _pixels(loaded, [open_picture(image)])}
    if _is_blip2(loaded.model):
        sample["prompt"] = conversation(question, context, prompt or QUESTION)
        return _write(loaded, loaded.model.generate, sample, generate)
    if context:
        raise UsageError(f"{loaded.name} is a {type(loaded.model).__name__}, which knows no earlier questions")
    sample["text_input"] = [_text(loaded, (prompt or "{question}").replace("{question}", question))]
    by_rank = "answer_list" in generate
    if not by_rank and type(loaded.model).__name__ == "AlbefVQA":
        raise UsageError(
            f"{loaded.name}: LAVIS's AlbefVQA chooses among answers, and writes none",
            mend="answer(image, question, answer_list=['yes', 'no', ...])",
        )
    how = {**generate} if by_rank else {"inference_method": "generate", **generate}
    return _write(loaded, loaded.model.predict_answers, sample, how)


def generate(loaded: LoadedModel, image: Picture | None, prompt: str, generate: Mapping[str, Any]) -> str:
    """See `LoadedModel.generate`."""
    _need(loaded, "generate")
    if image is None:
        raise UsageError(f"{loaded.name} is a {type(loaded.model).__name__}, which writes about an image: give it one")
    model, sample = loaded.model, {"image": _pixels(loaded, [open_picture(image)])}
    if _is_blip2(model):
        return _write(loaded, model.generate, {**sample, "prompt": prompt}, generate)
    own = model.prompt
    model.prompt = prompt
    try:
        return _write(loaded, model.generate, sample, generate)
    finally:
        model.prompt = own


def features(
    loaded: LoadedModel, image: Picture | Sequence[Picture] | None, text: str | Sequence[str] | None
) -> Features:
    """See `LoadedModel.features`."""
    _need(loaded, "features")
    return _features(loaded, image, text)


def _features(
    loaded: LoadedModel, image: Picture | Sequence[Picture] | None, text: str | Sequence[str] | None
) -> Features:
    images = [] if image is None else open_pictures(image)
    texts = [] if text is None else [_text(loaded, one) for one in ([text] if isinstance(text, str) else text)]
    if not images and not texts:
        raise UsageError(f"{loaded.name}: features of what? give an image, a text, or as many texts as images")
    if images and texts and len(images) != len(texts):
        raise UsageError(f"{loaded.name}: {len(images)} images and {len(texts)} texts are not pairs")
    sample: dict[str, Any] = {"image": None, "text_input": None}
    if images:
        sample["image"] = _pixels(loaded, images)
    if texts:
        sample["text_input"] = texts
    model = loaded.model
    with torch.no_grad():
        if type(model).__name__ == "CLIP":
            return _of_clip(model, sample)
        asked = {"image": images, "text": texts, "multimodal": images and texts}
        modes = [mode for mode, given in asked.items() if given]
        found = {mode: model.extract_features(sample, mode=mode) for mode in modes}

    def part(mode: str, name: str) -> torch.Tensor | None:
        return getattr(found[mode], name).float() if mode in found else None

    return Features(
        image_embeds=part("image", "image_embeds"),
        image_embeds_proj=part("image", "image_embeds_proj"),
        text_embeds=part("text", "text_embeds"),
        text_embeds_proj=part("text", "text_embeds_proj"),
        multimodal_embeds=part("multimodal", "multimodal_embeds"),
    )


def _of_clip(model: Any, sample: Mapping[str, Any]) -> Features:
    """LAVIS's CLIP gives a plain tensor where only one of the two is asked for."""

    def embeds(key: str) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        if sample[key] is None:
            return None, None
        vectors = model.extract_features({key: sample[key]}).float()
        return vectors, torch.nn.functional.normalize(vectors, dim=-1)

    return Features(*embeds("image"), *embeds("text_input"))


def match(loaded: LoadedModel, image: Picture, text: str) -> Match:
    """See `LoadedModel.match`."""
    _need(loaded, "match")
    model = loaded.model
    if type(model).__name__ in ("BlipITM", "Blip2ITM"):
        sample = {"image": _pixels(loaded, [open_picture(image)]), "text_input": [_text(loaded, text)]}
        with torch.no_grad():
            itm = model(sample, match_head="itm").float().softmax(dim=1)[0, 1].item()
            return Match(itm=itm, itc=model(sample, match_head="itc").item())
    found = _features(loaded, image, text)
    assert found.image_embeds_proj is not None
    assert found.text_embeds_proj is not None
    images, texts = found.image_embeds_proj[0], found.text_embeds_proj[0]
    if texts.dim() > 1:  # the first vector stands for the whole; of BLIP-2's queries the one that is nearest does
        images, texts = images if _is_blip2(model) else images[:1], texts[0]
    return Match(itm=None, itc=(images @ texts).max().item())


def embed(loaded: LoadedModel, texts: Sequence[str]) -> torch.Tensor:
    """See `LoadedModel.embed`."""
    raise cannot(loaded, "embed")


def _need(loaded: LoadedModel, task: str) -> None:
    if task not in tasks(loaded):
        raise cannot(loaded, task)


def _is_blip2(model: Any) -> bool:
    return any(kind.__name__ == "Blip2Base" for kind in type(model).__mro__)


def _pixels(loaded: LoadedModel, images: Sequence[Any]) -> torch.Tensor:
    """Images as the model takes them. BLIP-2 takes float32, and goes over to its own precisions inside."""
    batch = torch.stack([loaded.processor.vis["eval"](image) for image in images])
    return batch.to(loaded.device, torch.float32 if _is_blip2(loaded.model) else loaded.dtype)


def _text(loaded: LoadedModel, text: str) -> str:
    return str(loaded.processor.txt["eval"](text))


def _write(loaded: LoadedModel, method: Callable[..., Any], sample: Any, options: Mapping[str, Any]) -> str:
    known = [name for name in inspect.signature(method).parameters if name not in ("samples", "kwargs")]
    for option in options:
        if option not in known:
            raise UsageError(
                f"{loaded.name}: LAVIS's {type(loaded.model).__name__}.{method.__name__} has no option {option!r}"
                + nearest(option, known),
                mend=f"it has {', '.join(known)}",
            )
    with torch.no_grad():
        written: str = method(sample, **options)[0]
    return written.strip()
