"""Models as torch modules of the user's, from bare state dicts: safetensors, or the tensors of a ``.pth``.

The module is the caller's own (``into=``) or one of the class that the manifest names. It is made without memory for
its weights, where its class allows that, and takes the file's tensors themselves. Loading is strict: names and shapes
fit, or nothing is loaded.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import torch

from assetmgr.errors import IntegrityError, UsageError
from assetmgr.models.backends import Request
from assetmgr.models.backends.placement import footprint, main_dtype, pick_device
from assetmgr.models.loaded import LoadedModel
from assetmgr.models.weights.files import Located, weight_files
from assetmgr.models.weights.state import Weights, open_weights

_SHOWN = 6
# Batch normalisation counts its batches since torch 0.4.1; checkpoints from before then lack the counter.
_COUNTER = "num_batches_tracked"


def load(request: Request) -> LoadedModel:
    """See `assetmgr.models.load`."""
    found, options = request.found, request.options
    if request.quantize != "none":
        raise UsageError(
            f"{found.name}: only the transformers backend quantises", mend="quantize='none', or dtype='float16'"
        )
    if isinstance(options.get("device_map"), Mapping):
        raise UsageError(
            f"{found.name}: the torch backend puts a model on one device",
            mend=f"take `device_map` out of `load:` of {found.name} in the manifest, and say device='cuda:1'",
        )
    if request.into is None and "class" not in options:
        raise UsageError(
            f"{found.name} is a state dict: tensors, without the model that they are for",
            mend=f"assetmgr.load_model({found.name!r}, into=YOUR_MODULE), or name its class in the manifest: "
            "`load: {backend: torch, class: package.module:Class}`",
        )
    files = [request.weights] if request.weights else weight_files(found, options.get("weights"))
    dtype = None if request.dtype == "auto" else getattr(torch, request.dtype)
    key = None if request.weights else options.get("key")
    if request.into is not None:
        model, device = _filled(request, files, key, dtype)
    else:
        device = pick_device(request.device)
        model = _made(found.name, options)
        weights = _fitting(found.name, model, open_weights(found.name, files, key, device), options.get("prefix"))
        _assign(model, weights, device, dtype)
        model.to(device=device, dtype=dtype)
    return LoadedModel(
        name=found.name,
        model=model.eval(),
        processor=None,
        device=device,
        dtype=main_dtype(model),
        footprint=footprint(model),
        folder=os.path.dirname(files[0].path),
        backend="torch",
    )


# --- the module ------------------------------------------------------------------------------------------------------


def _made(name: str, options: Mapping[str, Any]) -> torch.nn.Module:
    """A module of the manifest's class. Its weights have no memory yet, where its class can be made so."""
    make = _maker(name, options["class"])
    arguments, named = options.get("args", ()), options.get("kwargs", {})
    with contextlib.suppress(Exception), torch.device("meta"):  # the class may look at its own weights; then as usual
        model = make(*arguments, **named)
        if isinstance(model, torch.nn.Module) and not _has_loose_tensors(model):
            return model
    try:
        model = make(*arguments, **named)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise UsageError(
            f"{name}: {options['class']} cannot be made: {said}",
            mend=f"correct `args:` and `kwargs:` under `load:` of {name} in the manifest",
        ) from error
    if not isinstance(model, torch.nn.Module):
        raise UsageError(f"{name}: {options['class']} makes a {type(model).__name__}, not a torch.nn.Module")
    return model


def _maker(name: str, path: str) -> Any:
    """The class that ``package.module:Class`` names, or the class method after it. Only modules of torch are made."""
    package, _, inside = path.partition(":")
    mend = f"correct `load: {{class: package.module:Class}}` of {name} in the manifest"
    if not inside:
        raise UsageError(f"{name}: {path!r} does not say which package the class is in", mend=mend)
    try:
        kind: Any = importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise UsageError(f"{name}: {path} cannot be imported: no module {error.name!r}", mend=mend) from None
    except Exception as error:
        raise UsageError(f"{name}: {path} cannot be imported: {type(error).__name__}: {error}", mend=mend) from error
    for part in inside.split("."):
        held = kind
        kind = getattr(held, part, None)
        if inspect.isclass(kind):
            continue
        is_maker = isinstance(held, type) and isinstance(
            inspect.getattr_static(held, part, None), classmethod | staticmethod
        )
        if not (is_maker and issubclass(held, torch.nn.Module) and inside.endswith(f".{part}")):
            raise UsageError(f"{name}: {package} has no class {inside}", mend=mend)
        return kind
    if not issubclass(kind, torch.nn.Module):
        raise UsageError(f"{name}: {path} is no torch.nn.Module", mend=mend)
    return kind


def _has_loose_tensors(model: torch.nn.Module) -> bool:
    """Whether the module has tensors that no state dict has: made without memory, nothing would fill them."""
    saved = {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}
    if any(id(tensor) not in saved for tensor in (*model.parameters(), *model.buffers())):
        return True
    return any(_is_loose(value) for part in model.modules() for value in vars(part).values())


def _is_loose(value: object) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_is_loose, value))
    return isinstance(value, torch.Tensor)


def _filled(
    request: Request, files: Sequence[Located], key: str | None, dtype: torch.dtype | None
) -> tuple[torch.nn.Module, torch.device]:
    """The caller's module with the weights in it. Its parameters stay the same objects, on their device."""
    name, model = request.found.name, request.into
    if not isinstance(model, torch.nn.Module):
        raise UsageError(f"into={type(model).__name__}: it is not a torch.nn.Module")
    tensors = [*model.parameters(), *model.buffers()]
    empty = any(tensor.is_meta for tensor in tensors)
    here = next((tensor.device for tensor in tensors if not tensor.is_meta), torch.device("cpu"))
    device = here if request.device == "auto" else pick_device(request.device)
    source = device if empty else torch.device("cpu")
    weights = _fitting(name, model, open_weights(name, files, key, source), request.options.get("prefix"))
    if empty:
        _assign(model, weights, device, dtype)
    else:
        with torch.no_grad():
            for field, tensor in model.state_dict().items():
                if isinstance(tensor, torch.Tensor):
                    tensor.copy_(weights.read(field))
    if dtype is not None or request.device != "auto":
        model.to(device=device, dtype=dtype)
    return model, device


# --- fit -------------------------------------------------------------------------------------------------------------


def _fitting(name: str, model: torch.nn.Module, weights: Weights, prefix: str | None) -> Weights:
    """The weights by the module's own names.

    Raises
    ------
    IntegrityError
        When some are missing, left over, or of another shape; with all of them.
    """
    names = {field: field for field in weights.shapes}
    if prefix:
        names = {field.removeprefix(prefix): field for field in names if field.startswith(prefix)}
        if not names:
            raise UsageError(
                f"{name}: no weight's name begins with {prefix!r}; the first are {_listed(list(weights.shapes))}",
                mend=f"correct `prefix:` under `load:` of {name} in the manifest",
            )
    wanted = {
        field: tuple(tensor.shape) for field, tensor in model.state_dict().items() if isinstance(tensor, torch.Tensor)
    }
    for one, other in _tied(model):
        # A file may have a shared tensor once.
        if one not in names and other in names:
            names[one] = names[other]
        elif other not in names and one in names:
            names[other] = names[one]
    missing = [field for field in wanted if field not in names and not field.endswith(_COUNTER)]
    unexpected = [field for field in names if field not in wanted]
    misshaped = [
        f"{field} ({_shape(weights.shapes[names[field]])} in the file, {_shape(shape)} in the module)"
        for field, shape in wanted.items()
        if field in names and weights.shapes[names[field]] != shape
    ]
    wrong = [
        f"{len(fields)} {what}: {_listed(fields)}"
        for what, fields in (
            ("missing from the file", missing),
            ("without a place in the module", unexpected),
            ("of another shape", misshaped),
        )
        if fields
    ]
    if wrong:
        raise IntegrityError(
            f"{name}: its weights do not fit a {type(model).__name__}: {'; '.join(wrong)}",
            mend=_mend(name, wanted, names),
        )

    def read(field: str) -> torch.Tensor:
        return weights.read(names[field]) if field in names else torch.tensor(0)

    return Weights({field: wanted[field] for field in wanted}, read)


def _mend(name: str, wanted: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """The manifest's line that would make them fit, where one does; `module.` is what DataParallel leaves."""
    first = next(iter(names), "")
    parts = first.split(".")
    for depth in range(1, len(parts)):
        prefix = ".".join(parts[:depth]) + "."
        stripped = {field.removeprefix(prefix) for field in names if field.startswith(prefix)}
        if {field for field in wanted if not field.endswith(_COUNTER)} <= stripped <= wanted.keys():
            return f"`load: {{prefix: {prefix}}}` of {name} in the manifest"
    return f"name the class that they were saved from, and its `kwargs:`; or: assetmgr verify {name} --full --repair"


def _tied(model: torch.nn.Module) -> Iterator[tuple[str, str]]:
    """The names of parameters that are one and the same."""
    first: dict[int, str] = {}
    for field, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) in first:
            yield first[id(parameter)], field
        first.setdefault(id(parameter), field)


def _assign(model: torch.nn.Module, weights: Weights, device: torch.device, dtype: torch.dtype | None) -> None:
    """Give the module the tensors themselves; what was one parameter is one afterwards."""
    ties = list(_tied(model))
    state = {}
    for field in weights.shapes:
        tensor = weights.read(field)
        converted = dtype if tensor.is_floating_point() else None
        state[field] = tensor.to(device=device, dtype=converted)
    model.load_state_dict(state, strict=False, assign=True)  # that it fits was seen already
    for one, other in ties:
        path, _, last = other.rpartition(".")
        setattr(model.get_submodule(path), last, model.get_parameter(one))


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "a number"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


# --- tasks -----------------------------------------------------------------------------------------------------------


def tasks(loaded: LoadedModel) -> tuple[str, ...]:
    """None: only its own class knows what a module does."""
    return ()


def _no_task(loaded: LoadedModel, *_: Any, **__: Any) -> NoReturn:
    raise UsageError(
        f"{loaded.name} is a {type(loaded.model).__name__}: only its own class knows what it does",
        mend="call its `model` yourself",
    )


caption = answer = generate = features = match = embed = _no_task
