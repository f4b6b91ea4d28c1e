"""Will it fit? What a model's weights take in each precision, told from the headers of its files before any is read.

The sizes are those of weights alone. A load is refused only where not even they fit: what is told to a person counts a
margin beside them.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from assetmgr.errors import AssetError, MemorySpaceError
from assetmgr.memory import Fitness, FreeRoom, main_memory, rooms, stored_dtype
from assetmgr.models.weights.files import weight_files
from assetmgr.models.weights.headers import Tensor, read_header

if TYPE_CHECKING:
    from assetmgr.models.backends import Request
    from assetmgr.verify import Installed

MARGIN = 0.1
"""Of the weights' bytes: what a forward pass takes beside them, at the least."""

PRECISIONS = ("float32", "float16", "int8", "nf4")
"""The widest first. bfloat16 takes what float16 takes."""

_WIDTHS = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
# bitsandbytes: int8 has a scale in float32 for each row; nf4 half a byte a weight and a scale in float32 for every 64.
_INT8_ROW, _NF4_BLOCK, _NF4_SCALE = 4, 64, 4
# What transformers keeps in float32 in a float16 model, by the type of the model or of its text model.
_IN_FLOAT32 = {"blip-2": ("query_tokens", "qformer"), "t5": ("wo",)}
# Two dimensions, and no linear layer: nothing of it is quantised. lm_head is one that transformers leaves.
_NOT_LINEAR = ("embed", "lm_head", "shared.", "relative_attention_bias", "wte.", "wpe.", "norm", "query_tokens")


class Weights(NamedTuple):
    """A model's weights, as its files have them.

    Attributes
    ----------
    tensors
        Of safetensors files.
    loose
        The bytes of other files, which do not tell without being loaded what they hold.
    stored
        The dtype of most of them, in torch's words.
    kept
        Parts of names of the weights that stay in float32 in a float16 model.
    """

    tensors: tuple[Tensor, ...]
    loose: int
    stored: str
    kept: tuple[str, ...] = ()


def measure(found: Installed, chosen: str | None = None) -> Weights:
    """Look at the files of an asset.

    Raises
    ------
    UsageError
        When it is not clear which files are the weights.
    IntegrityError
        When the header of one is not what it should be.
    """
    files = weight_files(found, chosen)
    tensors: list[Tensor] = []
    loose = 0
    for file in files:
        if file.is_safe:
            tensors += read_header(found.name, file)
        else:
            with contextlib.suppress(OSError):
                loose += os.path.getsize(file.path)
    config = os.path.join(found.folder, "config.json")
    return Weights(tuple(tensors), loose, _stored(tensors, config), _kept(config))


def _stored(tensors: Sequence[Tensor], config: str) -> str:
    counts: dict[str, int] = {}
    for tensor in tensors:
        if tensor.dtype in _NAMES:
            counts[tensor.dtype] = counts.get(tensor.dtype, 0) + tensor.bytes
    return _NAMES[max(counts, key=lambda name: counts[name])] if counts else stored_dtype(config)


def _kept(config: str) -> tuple[str, ...]:
    try:
        with open(config, "rb") as file:
            said = json.loads(file.read(1 << 20))
        text = said.get("text_config") or {}
        return tuple(
            name for kind in {said["model_type"], text.get("model_type")} for name in _IN_FLOAT32.get(kind, ())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ()


def needs(weights: Weights, precision: str, *, least: bool = False) -> int:
    """The bytes that weights take in memory in a precision; ``least``: whatever stays wider than it."""
    width = _WIDTHS.get(precision, 2)
    total = 0
    for tensor in weights.tensors:
        if tensor.dtype not in _NAMES:
            total += tensor.bytes  # numbers of other kinds stay as they are
        elif precision in ("int8", "nf4") and _is_quantised(weights, tensor, least=least):
            total += _quantised(tensor, precision)
        elif precision != "float32" and not least and _stays_wide(weights, tensor):
            total += tensor.numbers * 4
        else:
            total += tensor.numbers * width
    by_bits = {"int8": 1.0, "nf4": 0.5 + _NF4_SCALE / _NF4_BLOCK}.get(precision, float(width))
    return total + int(weights.loose / _WIDTHS.get(weights.stored, 4) * by_bits)


def _stays_wide(weights: Weights, tensor: Tensor) -> bool:
    return any(part in tensor.name.split(".") for part in weights.kept)


def _is_quantised(weights: Weights, tensor: Tensor, *, least: bool) -> bool:
    if len(tensor.shape) != 2 or not tensor.name.endswith("weight"):
        return False
    return least or not (_stays_wide(weights, tensor) or any(part in tensor.name.lower() for part in _NOT_LINEAR))


def _quantised(tensor: Tensor, precision: str) -> int:
    if precision == "int8":
        return tensor.numbers + tensor.shape[0] * _INT8_ROW
    return -(-tensor.numbers // 2) + -(-tensor.numbers // _NF4_BLOCK) * _NF4_SCALE


# --- told by `show` ---------------------------------------------------------------------------------------------------


def fitness(found: Installed) -> Fitness | None:
    """What an installed model's weights take, and where they fit now; None where its files do not tell."""
    load = found.use.get("load") or {}
    try:
        weights = measure(found, load.get("weights"))
    except AssetError:
        return None
    precision = _asked(load.get("quantize") or "none", load.get("dtype") or "auto", weights)
    amounts = {name: needs(weights, name) for name in dict.fromkeys([precision, *PRECISIONS])}
    if not any(amounts.values()):
        return None
    free = [
        FreeRoom(where, free, tuple(name for name, size in amounts.items() if size * (1 + MARGIN) <= free))
        for where, free in rooms()
    ]
    return Fitness(precision, amounts, MARGIN, tuple(free))


def _asked(quantize: str, dtype: str, weights: Weights) -> str:
    if quantize != "none":
        return quantize
    return weights.stored if dtype == "auto" else dtype


# --- before a load ----------------------------------------------------------------------------------------------------


def refuse_too_large(request: Request) -> None:
    """Raise `MemorySpaceError` where weights cannot fit into the memory of the device that they are asked for."""
    if request.into is not None:
        return  # it has its memory already
    found = request.found
    try:
        weights = measure(found, None if request.weights else request.options.get("weights"))
    except AssetError:
        return  # who loads it says what is wrong
    precision = _asked(request.quantize, request.dtype, weights)
    room = _room(request.device, request.options)
    if room is None:
        return
    where, free = room
    size = needs(weights, precision, least=True)
    if size > free:
        raise too_large(found.name, weights, precision, where, free)


def too_large(name: str, weights: Weights, precision: str, where: str, free: int) -> MemorySpaceError:
    """The error that names the widest precision which would fit."""
    size = needs(weights, precision)
    smaller = [one for one in PRECISIONS if needs(weights, one) < size]
    fitting = next((one for one in smaller if needs(weights, one) * (1 + MARGIN) <= free), None)
    if fitting is None:
        mend = "a smaller model, or a machine with more memory"
        if smaller:
            mend = f"none would fit, not even {smaller[-1]} ({_size(needs(weights, smaller[-1]))}): {mend}"
    else:
        option = "quantize" if fitting in ("int8", "nf4") else "dtype"
        mend = (
            f"load_model({name!r}, {option}={fitting!r}), which takes {_size(needs(weights, fitting))}; "
            f"or `load: {{{option}: {fitting}}}` of {name} in the manifest"
        )
    return MemorySpaceError(
        f"{name}: its weights take {_size(size)} in {precision}, and {where} has {_size(free)} free", mend=mend
    )


def _room(device: str, options: Mapping[str, Any]) -> tuple[str, int] | None:
    """The memory that a model may go to. None: it cannot be told."""
    import torch

    main = main_memory(swap=True)
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else range(0)
    if device == "auto" and options.get("device_map") is not None:
        # It may be spread over all of them.
        everywhere = [_gpu_memory(number) for number in gpus]
        return None if main is None else ("this machine", main + sum(everywhere))
    if device == "auto" and gpus:
        return "GPU 0", _gpu_memory(torch.cuda.current_device())
    kind, _, number = device.partition(":")
    if kind == "cuda":
        chosen = int(number) if number.isdigit() else 0
        return (f"GPU {chosen}", _gpu_memory(chosen)) if chosen in gpus else None
    if kind in ("auto", "cpu", "mps"):
        return None if main is None else ("memory", main)
    return None


def _gpu_memory(number: int) -> int:
    """What is free on a GPU, with what torch holds of it for later."""
    import torch

    free: int = torch.cuda.mem_get_info(number)[0]
    held: int = torch.cuda.memory_reserved(number) - torch.cuda.memory_allocated(number)
    return free + held


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
