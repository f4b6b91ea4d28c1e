"""What a safetensors file says it holds: read from its header alone, whatever the file's size, without any library."""

from __future__ import annotations

import json
import math
import os
from typing import Any, NamedTuple

from assetmgr.errors import IntegrityError
from assetmgr.models.weights.files import Located

# As the format's own library has it.
_HEADER_MOST = 100_000_000
_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}


class Tensor(NamedTuple):
    """One tensor of a file. ``dtype`` is in the format's own words: ``F32``, ``BF16``, ..."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)


def read_header(asset: str, file: Located) -> list[Tensor]:
    """The tensors of a safetensors file.

    Raises
    ------
    IntegrityError
        When the file is not what its header says, or the header is none.
    """
    try:
        with open(file.path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > min(_HEADER_MOST, size - 8):
                raise ValueError(f"a header of {length:,} bytes does not fit into {size:,}")
            header = json.loads(stream.read(length), object_pairs_hook=_once)
        if not isinstance(header, dict):
            raise ValueError("the header is not a JSON object")
        header.pop("__metadata__", None)
        spans = {name: _span(name, entry) for name, entry in header.items()}
        end = 0
        for name, (start, stop, _) in sorted(spans.items(), key=lambda item: item[1][:2]):
            if start != end:
                raise ValueError(f"{name} begins at {start:,}, and what is before it ends at {end:,}")
            end = stop
        if 8 + length + end != size:
            raise ValueError(f"it is {size:,} bytes, and the header says {8 + length + end:,}")
    except (OSError, ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{asset}: {file.name} is no safetensors file: {error}", mend=f"assetmgr verify {asset} --full --repair"
        ) from None
    return [tensor for _, _, tensor in spans.values()]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the header has a name twice")
    return found


def _span(name: str, entry: Any) -> tuple[int, int, Tensor]:
    if not isinstance(entry, dict):
        raise ValueError(f"the header's {name} is not an object")
    dtype: Any = entry.get("dtype")
    shape: Any = entry.get("shape")
    offsets: Any = entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise ValueError(f"{name} is of dtype {dtype!r}, which is not known")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"the shape or the place of {name} is no list of sizes")
    start, stop = offsets
    if (stop - start) * 8 != math.prod(shape) * _BITS[dtype]:
        raise ValueError(f"{name} has {stop - start:,} bytes, which is not what its shape takes")
    return start, stop, Tensor(name, dtype, tuple(shape), stop - start)


def _are_sizes(value: Any) -> bool:
    # Longer than any tensor's, so that no arithmetic takes long.
    return (
        isinstance(value, list)
        and len(value) <= 64
        and all(type(number) is int and 0 <= number < 1 << 63 for number in value)
    )
