"""Models through transformers, 4.40 and later and 5.x: local files only, no foreign code, tensors only.

Loading is strict. A checkpoint whose weights do not all find their place, or that leaves some of the model's at random,
is the wrong checkpoint or the wrong class, and says so here and not in the results.
"""

from __future__ import annotations

import contextlib
import importlib
import pickle
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import transformers
from safetensors import SafetensorError

from assetmgr.errors import AssetError, IntegrityError, UsageError
from assetmgr.models.backends import Request
from assetmgr.models.backends.placement import (
    device_map,
    main_dtype,
    pick_device,
    pick_dtype,
    quantization,
    refuse_disk,
)
from assetmgr.models.backends.snapshot import Snapshot, examine
from assetmgr.models.loaded import LoadedModel

if TYPE_CHECKING:
    from PIL.Image import Image

# `torch_dtype` became `dtype` in 4.56.
_DTYPE = "dtype" if tuple(map(int, transformers.__version__.split(".")[:2])) >= (4, 56) else "torch_dtype"
# Weights that an explicitly chosen class has no use for are left out on purpose.
_PROBLEMS = {
    "missing_keys": "missing from the files",
    "mismatched_keys": "of another shape",
    "unexpected_keys": "without a place in the model",
}
_BATCH = 32
_NEW_TOKENS = 30


def load(request: Request) -> LoadedModel:
    """See `assetmgr.models.load`."""
    found, name = request.found, request.found.name
    snapshot = examine(found)
    device = pick_device(request.device)
    dtype = pick_dtype(request.dtype, request.quantize)
    quantized = quantization(name, request.quantize, dtype, device)
    places = device_map(name, request.options.get("device_map"), request.device, device, quantized is not None)
    how: dict[str, Any] = {_DTYPE: dtype, "use_safetensors": snapshot.safetensors}
    if quantized is not None:
        how["quantization_config"] = quantized
    if places is not None:
        how["device_map"] = places
    with _quiet(), _no_hub_kernels(), _explained(name):
        kind = _class(snapshot.config, request.options.get("class"), name)
        model, report = kind.from_pretrained(
            found.folder,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # they are in the report, and refused below with all the others
            output_loading_info=True,
            **how,
        )
        _check(name, model, report, chosen="class" in request.options)
        refuse_disk(name, model)
        processor = _processor(found.folder, snapshot)
    return LoadedModel(
        name=name,
        model=model.eval(),
        processor=processor,
        device=model.device,
        dtype=main_dtype(model),
        folder=found.folder,
    )


def _class(config: Mapping[str, Any], chosen: str | None, name: str) -> Any:
    """The class to load: the manifest's, else the one that the weights were saved from, else what the type suggests."""
    if chosen is not None:
        kind = getattr(transformers, chosen, None)
        if not hasattr(kind, "from_pretrained"):
            raise UsageError(
                f"{name}: transformers {transformers.__version__} has no model class {chosen!r}",
                mend=f"correct `load: {{class: ...}}` of {name} in the manifest",
            )
        return kind
    for architecture in config.get("architectures") or ():
        kind = getattr(transformers, str(architecture), None)
        if isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel):
            return kind
    return transformers.AutoModel


def _processor(folder: str, snapshot: Snapshot) -> Any:
    if not snapshot.processor:
        return None
    kind = transformers.AutoProcessor if snapshot.processor == "processor" else transformers.AutoTokenizer
    return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _check(name: str, model: Any, report: Mapping[str, Any], *, chosen: bool) -> None:
    """Raise `IntegrityError` when weights and model do not fit one another."""
    wrong = []
    for key, what in _PROBLEMS.items():
        weights = sorted(str(row[0] if isinstance(row, tuple) else row) for row in report[key])
        if weights and not (chosen and key == "unexpected_keys"):
            shown = ", ".join(weights[:4]) + (", ..." if len(weights) > 4 else "")
            wrong.append(f"{len(weights)} {what}: {shown}")
    if wrong:
        raise IntegrityError(
            f"{name}: its weights do not fit a {type(model).__name__}: {'; '.join(wrong)}",
            mend=f"name the class that they were saved from, or one that is a part of it, by `load: {{class: ...}}` "
            f"of {name} in the manifest; or: assetmgr verify {name} --full --repair",
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars and warnings; its settings are as before afterwards."""
    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()


@contextlib.contextmanager
def _no_hub_kernels() -> Iterator[None]:
    """Keep models, as they are made, from fetching compiled code from the hub, as some do by the `kernels` library."""
    module = None
    with contextlib.suppress(ImportError):  # 4.40 has none
        module = importlib.import_module("transformers.integrations.hub_kernels")
    enabled = getattr(module, "_kernels_enabled", None)
    if enabled is None:
        yield
        return
    vars(module)["_kernels_enabled"] = False
    try:
        yield
    finally:
        vars(module)["_kernels_enabled"] = enabled


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn what transformers raises over a model that it cannot load into an error that names the model."""
    try:
        yield
    except AssetError:
        raise
    except SafetensorError as error:
        raise IntegrityError(
            f"{name}: its weights cannot be read: {_first_line(error)}",
            mend=f"assetmgr verify {name} --full --repair",
        ) from error
    except (pickle.UnpicklingError, EOFError) as error:
        # Not in torch's words, which recommend to execute what the file says.
        raise IntegrityError(
            f"{name}: its weights are pickles that are damaged or hold more than tensors; they were not executed",
            mend=f"assetmgr verify {name} --full --repair; if the files are whole, ask its publisher for safetensors",
        ) from error
    except (OSError, ValueError, TypeError, RuntimeError, ImportError, LookupError, AttributeError) as error:
        what = f"{type(error).__name__}: {_first_line(error)}"
        raise AssetError(
            f"{name}: transformers {transformers.__version__} cannot load it: {what}",
            mend=f"assetmgr verify {name} --full; if that finds nothing, another version of transformers may load it",
        ) from error


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")


# --- tasks -----------------------------------------------------------------------------------------------------------


def caption(loaded: LoadedModel, image: Image, generate: Mapping[str, Any]) -> str:
    """See `LoadedModel.caption`."""
    config = loaded.model.config
    first = getattr(getattr(config, "text_config", None), "bos_token_id", None)
    if first is None:  # T5 has no first token: Blip2 begins with an empty text
        return _generate(loaded, image, "", generate)
    if config.model_type != "blip-2" or config.image_token_index is None:
        return _generate(loaded, image, None, generate)
    # What Blip2 begins with by itself in 5.x. Some 4.x forget the image's own tokens, and fail.
    start = torch.tensor([[config.image_token_index] * config.num_query_tokens + [first]], device=loaded.device)
    return _generate(loaded, image, None, {**generate, "input_ids": start, "attention_mask": torch.ones_like(start)})


def answer(loaded: LoadedModel, image: Image, prompt: str, generate: Mapping[str, Any]) -> str:
    """See `LoadedModel.answer`."""
    return _generate(loaded, image, prompt, generate)


def _generate(loaded: LoadedModel, image: Image, text: str | None, generate: Mapping[str, Any]) -> str:
    model, processor = loaded.model, loaded.processor
    if not hasattr(processor, "image_processor") or not model.can_generate():
        raise UsageError(f"{loaded.name} is a {type(model).__name__}: it does not write texts about images")
    inputs = processor(images=image.convert("RGB"), **({} if text is None else {"text": text}), return_tensors="pt")
    inputs = inputs.to(loaded.device, loaded.dtype)
    if not {"max_new_tokens", "max_length", "generation_config"} & generate.keys():
        generate = {**generate, "max_new_tokens": _NEW_TOKENS}
    with torch.no_grad(), _quiet():
        tokens = model.generate(**inputs, **generate)[0]
    # Decoders give the prompt back, in most versions of transformers.
    prompt = {**inputs, **generate}.get("input_ids")
    if prompt is not None and torch.equal(tokens[: prompt.shape[1]], prompt[0]):
        tokens = tokens[prompt.shape[1] :]
    written: str = processor.decode(tokens, skip_special_tokens=True)
    return written.strip()


def embed(loaded: LoadedModel, texts: Sequence[str]) -> torch.Tensor:
    """See `LoadedModel.embed`."""
    model, tokenizer = loaded.model, loaded.processor
    if tokenizer is None or hasattr(tokenizer, "image_processor") or model.can_generate():
        raise UsageError(f"{loaded.name} is a {type(model).__name__}: it does not embed texts")
    # A tokenizer that was saved without its limit says a number beyond all reason.
    longest = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None) or 2**20)
    vectors = [torch.zeros(0, model.config.hidden_size, device=loaded.device)]
    for start in range(0, len(texts), _BATCH):
        batch = list(texts[start : start + _BATCH])
        inputs = tokenizer(batch, padding=True, truncation=True, max_length=longest, return_tensors="pt").to(
            loaded.device
        )
        with torch.no_grad():
            states = model.base_model(**inputs).last_hidden_state.float()
        weights = inputs["attention_mask"].unsqueeze(-1).to(states.device, states.dtype)
        means = (states * weights).sum(1) / weights.sum(1).clamp(min=1)
        vectors.append(torch.nn.functional.normalize(means, dim=1).to(loaded.device))
    return torch.cat(vectors)
