"""Arrow arrays of plain values, made of buffers.

`pyarrow.array` imports pandas, where it is installed, the first time that it is given a list: a third of a second, and
50 MB in every worker of a loader.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Any


def numbers(values: Sequence[int] | Sequence[float], kind: str) -> Any:
    """An array of 64-bit integers (``kind`` "q") or floats ("d").

    Raises
    ------
    OverflowError
        When a number has more bits.
    """
    import pyarrow as pa

    held = array(kind, values)
    return pa.Array.from_buffers(
        pa.int64() if kind == "q" else pa.float64(), len(held), [None, pa.py_buffer(memoryview(held).cast("B"))]
    )


def texts(values: Sequence[str]) -> Any:
    """An array of texts.

    Raises
    ------
    OverflowError
        When they have more bytes than one array can.
    """
    import pyarrow as pa

    data = "".join(values).encode()
    lengths = map(len, values) if data.isascii() else (len(value.encode()) for value in values)
    return pa.Array.from_buffers(pa.string(), len(values), [None, _offsets(lengths), pa.py_buffer(data)])


def lists(values: Sequence[Sequence[Any]], of: Any) -> Any:
    """An array of lists; ``of`` makes the array of all their values, one after the other."""
    import pyarrow as pa

    offsets = pa.Array.from_buffers(pa.int32(), len(values) + 1, [None, _offsets(map(len, values))])
    return pa.ListArray.from_arrays(offsets, of(list(chain.from_iterable(values))))


def _offsets(lengths: Any) -> Any:
    import pyarrow as pa

    # More than its 32 bits hold is an OverflowError.
    return pa.py_buffer(memoryview(array("i", accumulate(lengths, initial=0))).cast("B"))
