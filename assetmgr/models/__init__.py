"""load_model: a proved model on the right device, in the right precision, with its processor, without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from assetmgr.errors import UsageError
from assetmgr.manifest_reader import nearest
from assetmgr.models.backends import BACKENDS, Request
from assetmgr.models.fitting import refuse_too_large
from assetmgr.models.for_lavis import called_by_lavis, is_for_lavis, refuse_lavis
from assetmgr.models.loaded import LoadedModel
from assetmgr.models.weights.files import is_weights
from assetmgr.verify import Installed

if TYPE_CHECKING:
    import torch

__all__ = ["LoadedModel", "called_by_lavis", "is_for_lavis", "load", "load_as_lavis_does", "refuse_lavis"]

_DTYPES = ("auto", "float32", "float16", "bfloat16")
_QUANTIZATIONS = ("int8", "nf4", "none")


def load(
    found: Installed,
    required: Sequence[Installed] = (),
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    quantize: str | None = None,
    into: Any = None,
) -> LoadedModel:
    """Load a proved model.

    Parameters
    ----------
    found
        The model. Its manifest's ``load:`` gives ``dtype``, ``quantize``, ``device_map``, ``class`` and ``backend``.
    required
        What it requires, proved too.
    device
        ``auto`` (the manifest's ``device_map``; else a CUDA device, then Apple's, then the CPU), or torch's own name.
    dtype
        ``float32``, ``float16`` or ``bfloat16``; ``auto`` takes the manifest's, else the one of the saved weights.
    quantize
        ``int8`` or ``nf4``; None takes the manifest's, ``none`` forbids it.
    into
        The caller's own `torch.nn.Module`, to be filled with the weights; whatever backend the manifest names.

    Raises
    ------
    UsageError
        When there is no such device, dtype, quantisation, class or backend, or the asset lacks files of the model.
    IntegrityError
        When the weights do not fit the model: some missing, left over, or of another shape.
    MissingExtraError
        When a library that is needed is not installed.
    MemorySpaceError
        When the weights alone are more than the device's free memory.
    """
    options = found.use.get("load") or {}
    backend = "torch" if into is not None else options.get("backend") or _usual_backend(found, options)
    if backend not in BACKENDS:
        raise UsageError(
            f"{found.name}: no backend {backend!r}{nearest(backend, BACKENDS)}",
            mend=f"correct `load: {{backend: ...}}` of {found.name} in the manifest",
        )
    request = Request(
        found=found,
        device=str(device),
        dtype=_known("dtype", str(dtype).removeprefix("torch."), _DTYPES),
        quantize=_known("quantize", quantize or options.get("quantize", "none"), _QUANTIZATIONS),
        options=options,
        required=required,
        into=into,
    )
    if request.dtype == "auto":
        request = request._replace(dtype=_known("dtype", options.get("dtype", "auto"), _DTYPES))
    library = BACKENDS[backend](found.name)
    if backend != "lavis" and "prepare" in found.use:
        from assetmgr.models.weights.prepared import prepared

        if (made := prepared(found)) is not None:
            request = request._replace(found=made.asset, weights=made.weights)
            if request.dtype == "auto" and request.quantize == "none" and into is None:
                # The config.json beside them tells what they were before.
                request = request._replace(dtype=found.use["prepare"].get("dtype", "auto"))
    if backend != "lavis":  # its checkpoints may hold more than the model
        refuse_too_large(request)
    return library.load(request)


def _usual_backend(found: Installed, options: Mapping[str, Any]) -> str:
    """What loads an asset whose manifest does not say: weights without a config.json are tensors and no more."""
    if is_for_lavis(options, of_a_hub=bool(found.entry.repo)):
        return "lavis"
    if ":" in options.get("class", ""):
        return "torch"
    names = [file.path for file in found.files]
    bare = found.entry.origin == "files" and "config.json" not in names and any(map(is_weights, names))
    return "torch" if bare else "transformers"


def load_as_lavis_does(
    found: Installed, required: Sequence[Installed], *, is_eval: bool, device: str | torch.device
) -> tuple[Any, Any, Any]:
    """What LAVIS's own ``load_model_and_preprocess`` returns: model, processors of images, processors of texts."""
    BACKENDS["lavis"](found.name)
    from assetmgr.models.backends import lavis

    model, processors = lavis.load_own(found, required, is_eval=is_eval, device=device)
    return model, processors.vis, processors.txt


def _known(what: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise UsageError(f"{what}={value!r} is not one of {', '.join(known)}")
    return value
