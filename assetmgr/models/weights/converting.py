"""The child that converts weights: it reads pickles that were found to be tensors, and writes one safetensors file.

It has no network, starts no program, writes no other file and takes no more memory, room and time than the job can
need; it ends when its parent does. What it is given comes as a line of JSON, and so does its answer.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import torch

from assetmgr.errors import AssetError, IntegrityError, UsageError
from assetmgr.models.weights.files import Located
from assetmgr.models.weights.state import ALIASES, Weights, open_weights

# The safetensors format: huggingface/safetensors, README, "Format".
_NAMES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "complex64": "C64",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}
_ALIGNED = 8
_FORBIDDEN = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_SPARE_MEMORY, _SPARE_ROOM = 8 << 30, 64 << 20


def convert(asset: str, weights: Weights, file: BinaryIO, dtype: torch.dtype | None, *, aliases: bool) -> None:
    """Write tensors as safetensors, each converted when its turn comes: no two copies of them all are held.

    (`safetensors.torch.save_file` takes all tensors as they are to be written: twice the memory where types differ.)

    Parameters
    ----------
    aliases
        Write what several names share once, and say so in the metadata; else once for each name.

    Raises
    ------
    UsageError
        When a tensor has a type that safetensors lacks, or values that the new type cannot hold.
    """
    same: dict[str, str] = {}
    first: dict[tuple[object, ...], str] = {}
    rows: list[tuple[str, str, torch.dtype, tuple[int, ...]]] = []
    for name, shape in weights.shapes.items():
        tensor = weights.read(name)
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise UsageError(f"{asset}: {name} is sparse or quantised, and safetensors holds neither")
        place = (tensor.data_ptr(), tensor.dtype, shape, tensor.stride()) if tensor.numel() else (name,)
        if first.setdefault(place, name) != name and aliases:
            same[name] = first[place]
            continue
        kind = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
        label = str(kind).removeprefix("torch.")
        if label not in _NAMES:
            raise UsageError(f"{asset}: {name} is of {label}, which safetensors lacks")
        rows.append((name, _NAMES[label], kind, shape))
    # Wide elements first: each begins at a multiple of its size.
    rows.sort(key=lambda row: (-row[2].itemsize, row[0]))
    metadata = {"format": "pt"} | ({ALIASES: json.dumps(same)} if same else {})
    header: dict[str, Any] = {"__metadata__": metadata}
    at = 0
    for name, label, kind, shape in rows:
        end = at + kind.itemsize * _count(shape)
        header[name] = {"dtype": label, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    written = json.dumps(header, separators=(",", ":")).encode()
    written += b" " * (-len(written) % _ALIGNED)
    file.write(len(written).to_bytes(8, "little") + written)
    for name, _, kind, _ in rows:
        file.write(_bytes(asset, name, weights.read(name), kind))


def _count(shape: Sequence[int]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count


def _bytes(asset: str, name: str, tensor: torch.Tensor, dtype: torch.dtype) -> Any:
    converted = tensor.detach().to(dtype)
    if dtype != tensor.dtype and not _is_finite(converted) and _is_finite(tensor):
        label = str(dtype).removeprefix("torch.")
        raise UsageError(
            f"{asset}: {name} has values beyond {label}",
            mend=f"`prepare: {{dtype: bfloat16}}` of {asset} in the manifest, or leave `dtype` out",
        )
    if not converted.numel():
        return b""
    return memoryview(converted.contiguous().reshape(-1).view(torch.uint8).numpy())


def _is_finite(tensor: torch.Tensor) -> bool:
    # Of the types of 8 bits torch does not tell.
    return bool(torch.isfinite(tensor.float() if tensor.itemsize == 1 else tensor).all())


# --- the child -------------------------------------------------------------------------------------------------------


def main(job: Mapping[str, Any]) -> None:
    """Do the one job, and answer on the standard output."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _limit(job["size"])
    _forbid(job["target"])
    torch.set_num_threads(1)
    try:
        answer: dict[str, Any] = {"left_out": _done(job)}
    except AssetError as error:
        answer = {"error": type(error).__name__, "message": error.message, "mend": error.mend}
    except MemoryError:
        answer = {"error": "AssetError", "message": f"{job['asset']}: not enough memory to convert it", "mend": ""}
    except OSError as error:
        answer = {"errno": error.errno or errno.EIO, "message": str(error)}
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
    os._exit(0)  # nothing that torch does when it ends is wanted


def _done(job: Mapping[str, Any]) -> Sequence[str]:
    asset = job["asset"]
    files = [Located(*file) for file in job["files"]]
    weights = open_weights(asset, files, job["key"], torch.device("cpu"))
    dtype = getattr(torch, job["dtype"]) if job["dtype"] else None
    # It was made by the parent: when another has swept it away meanwhile, this child has no task any more.
    with open(job["target"], "r+b") as file:
        try:
            convert(asset, weights, file, dtype, aliases=job["aliases"])
        except RuntimeError as error:  # torch, where memory ends
            raise IntegrityError(f"{asset}: it cannot be converted: {str(error).splitlines()[0]}") from error
        file.flush()
    return weights.left_out


def _limit(size: int) -> None:
    """Bound memory and what is written by what a job of this size can need."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limits
        import resource

        bounds = [(resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 8 * size + _SPARE_ROOM)]
        if sys.platform == "linux":
            bounds.append((resource.RLIMIT_DATA, 4 * size + _SPARE_MEMORY))
        for kind, bound in bounds:
            _, hard = resource.getrlimit(kind)
            resource.setrlimit(kind, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard))


def _forbid(target: str) -> None:
    """From now on, no sockets, no programs, and no file but one to write."""
    sys.dont_write_bytecode = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_FORBIDDEN):
            raise PermissionError(f"{event} has no place in a conversion")
        if event == "open" and arguments[0] != target and isinstance(arguments[2], int) and arguments[2] & _WRITING:
            raise PermissionError(f"{arguments[0]!r} is not to be written")

    sys.addaudithook(watch)
