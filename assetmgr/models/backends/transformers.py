"""Models through transformers, 4.40 and later and 5.x: local files only, no foreign code, tensors only.

Loading is strict. A checkpoint whose weights do not all find their place, or that leaves some of the model's at random,
is the wrong checkpoint or the wrong class, and says so here and not in the results.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import transformers
from safetensors import SafetensorError

from assetmgr.errors import AssetError, IntegrityError, UsageError
from assetmgr.models.backends import Request, cannot
from assetmgr.models.backends.likening import features, likens, match
from assetmgr.models.backends.placement import (
    device_map,
    footprint,
    main_dtype,
    memory_limits,
    mend_cpu_kernels,
    pick_device,
    pick_dtype,
    quantization,
    refuse_disk,
    refuse_disk_map,
    saved_quantization,
)
from assetmgr.models.backends.pooling import pooling_of
from assetmgr.models.backends.quiet import no_hub_kernels, quiet
from assetmgr.models.backends.snapshot import Snapshot, check_vocabulary, examine
from assetmgr.models.backends.writing import answer, caption, generate, writes
from assetmgr.models.loaded import LoadedModel

__all__ = ["answer", "caption", "embed", "features", "generate", "load", "match", "tasks"]

# `torch_dtype` became `dtype` in 4.56.
_DTYPE = "dtype" if tuple(map(int, transformers.__version__.split(".")[:2])) >= (4, 56) else "torch_dtype"
# Weights that an explicitly chosen class has no use for are left out on purpose.
_PROBLEMS = {
    "missing_keys": "missing from the files",
    "mismatched_keys": "of another shape",
    "unexpected_keys": "without a place in the model",
}
_BATCH = 32


def load(request: Request) -> LoadedModel:
    """See `assetmgr.models.load`."""
    found, name, options = request.found, request.found.name, request.options
    snapshot = examine(found)
    device = pick_device(request.device)
    saved = saved_quantization(snapshot.config)
    if request.quantize not in ("none", saved) and saved != "none":
        raise UsageError(
            f"{name}: its weights were saved in {saved}, and cannot be quantised to {request.quantize}",
            mend=f"leave out quantize, or name the repository that {name} was quantised from",
        )
    kept = request.quantize if saved == "none" else saved
    dtype = pick_dtype(request.dtype, kept)
    quantized = quantization(name, kept, dtype, device) if kept in ("int8", "nf4") else None
    refuse_disk_map(name, options.get("device_map"))
    places = device_map(name, options.get("device_map"), request.device, device, kept != "none")
    how: dict[str, Any] = {_DTYPE: dtype, "use_safetensors": snapshot.safetensors}
    if quantized is not None and saved == "none":
        how["quantization_config"] = quantized
    if places is not None:
        how["device_map"] = places
        if "max_memory" in options and places == options.get("device_map"):
            how["max_memory"] = memory_limits(options["max_memory"])
    with quiet(), no_hub_kernels(), _explained(name, kept):
        kind = _class(snapshot.config, options.get("class"), name)
        model, report = kind.from_pretrained(
            found.folder,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # they are in the report, and refused below with all the others
            output_loading_info=True,
            **how,
        )
        _check(name, model, report, chosen="class" in options)
        refuse_disk(name, model)
        mend_cpu_kernels(model)
        processor = _processor(found.folder, snapshot)
        check_vocabulary(found, getattr(getattr(processor, "tokenizer", processor), "vocab_files_names", {}))
    return LoadedModel(
        name=name,
        model=model.eval(),
        processor=processor,
        device=model.device,
        # Most weights have the dtype that was asked for; those of a quantised model that are left may not.
        dtype=main_dtype(model) if dtype == "auto" else dtype,
        footprint=footprint(model),
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
    code = config.get("auto_map")
    if isinstance(code, dict) and config.get("model_type") not in transformers.CONFIG_MAPPING:
        named = sorted({said for said in code.values() if isinstance(said, str)})
        raise UsageError(
            f"{name}: it needs code that comes with it ({', '.join(named)}), which is never run here",
            mend=f"read that code in the folder that `assetmgr path {name}` prints; if you trust it, load the model "
            "from there by transformers itself, with trust_remote_code=True",
        )
    return transformers.AutoModel


def _processor(folder: str, snapshot: Snapshot) -> Any:
    if not snapshot.processor:
        return None
    kind = transformers.AutoProcessor if snapshot.processor == "processor" else transformers.AutoTokenizer
    try:
        return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except OSError:
        if (made := _processor_of_5(folder)) is None:
            raise
        return made


def _processor_of_5(folder: str) -> Any:
    """The processor that 5.x saved. 4.x does not look for the image processor inside processor_config.json."""
    try:
        with open(os.path.join(folder, "processor_config.json"), "rb") as file:
            said = json.load(file)
        images, kind = said.pop("image_processor"), getattr(transformers, said.pop("processor_class"))
        image_kind = getattr(transformers, images["image_processor_type"].removesuffix("Fast").removesuffix("Pil"))
    except (OSError, ValueError, LookupError, AttributeError):
        return None
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return kind(image_processor=image_kind.from_dict(images), tokenizer=tokenizer, **said)


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
def _explained(name: str, quantize: str) -> Iterator[None]:
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
        if (why := _torchvision_fault()) is not None:
            raise AssetError(
                f"{name}: torchvision is installed, but cannot be imported, and transformers needs it then: {why}",
                mend=f"pip uninstall torchvision, or install the one built for torch {torch.__version__}",
            ) from error
        if quantize != "none" and isinstance(error, (AttributeError, TypeError, ImportError)):
            raise AssetError(
                f"{name}: transformers {transformers.__version__} and the installed bitsandbytes or accelerate do not "
                f"work together: {what}",
                mend="pip install --upgrade transformers bitsandbytes accelerate",
            ) from error
        raise AssetError(
            f"{name}: transformers {transformers.__version__} cannot load it: {what}",
            mend=f"assetmgr verify {name} --full; if that finds nothing, another version of transformers may load it",
        ) from error


def _torchvision_fault() -> str | None:
    """Why an installed torchvision cannot be imported. One that was built for another torch cannot."""
    try:
        importlib.import_module("torchvision")
    except ModuleNotFoundError as error:
        return None if error.name == "torchvision" else _first_line(error)
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return _first_line(error) or type(error).__name__
    return None


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")


def tasks(loaded: LoadedModel) -> tuple[str, ...]:
    """See `LoadedModel.tasks`."""
    return (*writes(loaded), *likens(loaded), *(["embed"] if _embeds(loaded) else []))


def _embeds(loaded: LoadedModel) -> bool:
    model, tokenizer = loaded.model, loaded.processor
    if not hasattr(tokenizer, "model_max_length") or model.can_generate():
        return False
    return hasattr(model.config, "hidden_size")  # of CLIP and its like, each of the two encoders has its own


def embed(loaded: LoadedModel, texts: Sequence[str]) -> torch.Tensor:
    """See `LoadedModel.embed`."""
    model, tokenizer = loaded.model, loaded.processor
    if not _embeds(loaded):
        raise cannot(loaded, "embed")
    pooling = pooling_of(loaded.name, loaded.folder)
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
        if pooling == "cls":  # the first token that is one: a tokenizer may fill up on the left
            weights = weights * (weights.cumsum(1) == 1)
        means = (states * weights).sum(1) / weights.sum(1).clamp(min=1)
        vectors.append(torch.nn.functional.normalize(means, dim=1).to(loaded.device))
    return torch.cat(vectors)
