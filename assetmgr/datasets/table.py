"""The rows of a split as a file of Arrow batches that is mapped into memory.

Opening one costs the same whatever its length; a row costs nothing until it is asked for; and the pages are shared by
all workers and processes that read it. The file is one that the `datasets` library opens too.

Source of the format: https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Literal

import msgspec

from assetmgr.datasets import arrays

# What a column's values are. `any` is decided by the values: numbers, texts, or, where they are mixed, JSON.
# A `place` is a medium's name, and in a sample its whole name, wherever the medium is; `tokens` are an array there.
Kind = Literal[
    "any", "text", "int", "float", "texts", "ints", "floats", "json", "tokens", "image", "video", "features", "place"
]

MEDIA: frozenset[str] = frozenset({"image", "video", "features"})
# Rows in every batch of a file but the last: which batch has a row is a division.
BATCH_ROWS = 1 << 16
_METADATA = b"assetmgr"


class Field(msgspec.Struct, frozen=True, omit_defaults=True):
    """One key of a sample.

    Attributes
    ----------
    name
        The key.
    kind
        What its value is. The column of an ``image`` or a ``video`` holds the medium's name.
    suffixes
        What may follow a medium's name; the first that exists is meant.
    options
        What else its decoder wants to know.
    beside
        It is no key of a sample: kept for who evaluates (`assetmgr.datasets.evaluation`).
    """

    name: str
    kind: Kind = "any"
    suffixes: tuple[str, ...] = ("",)
    options: dict[str, Any] = {}
    beside: bool = False

    @property
    def is_media(self) -> bool:
        return self.kind in MEDIA


class Shape(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a sample is made of: its keys, in the order in which a sample has them.

    Attributes
    ----------
    chance
        What chance does to a sample each time it is asked for: a name of `assetmgr.datasets.chance`.
    lists
        Whether the files after the first are those of `assetmgr.datasets.evaluation.LISTS`.
    """

    fields: tuple[Field, ...]
    chance: str = ""
    lists: bool = False

    def named(self, name: str) -> Field:
        return next(field for field in self.fields if field.name == name)


def shape_of(metadata: Mapping[bytes, bytes] | None) -> Shape:
    """The shape that an Arrow schema's metadata tell.

    Raises
    ------
    ValueError
        When they tell none.
    """
    return msgspec.json.decode((metadata or {}).get(_METADATA, b""), type=Shape)


def metadata_of(shape: Shape) -> dict[bytes, bytes]:
    return {_METADATA: msgspec.json.encode(shape)}


class UndecodableError(Exception):
    """A value that cannot be decoded; its text says which file, and why."""


class Table:
    """A split's rows: map-style, read-only, small to pickle where it lies in a file.

    Parameters
    ----------
    source
        The path of an Arrow file, or such a file's bytes.

    Raises
    ------
    OSError, ValueError
        When it cannot be read, or is not such a file.
    """

    def __init__(self, source: str | bytes) -> None:
        import pyarrow as pa
        import pyarrow.compute  # `take` wants it: here once, not in each worker that is forked from this process

        self._source = source
        try:
            file = pa.memory_map(source) if isinstance(source, str) else pa.BufferReader(source)
            reader = pa.ipc.open_stream(file)
            self._batches: list[Any] = list(reader)
            self._schema = reader.schema
        except pa.ArrowException as error:
            raise ValueError(str(error)) from None
        self.shape = shape_of(self._schema.metadata)
        self._each: int = self._batches[0].num_rows if self._batches else 0
        self._count: int = sum(batch.num_rows for batch in self._batches)

    def __reduce__(self) -> tuple[object, ...]:
        return Table, (self._source,)

    def __len__(self) -> int:
        return self._count

    @property
    def path(self) -> str | None:
        """The file that is mapped, or None where the rows are in this process's memory alone."""
        return self._source if isinstance(self._source, str) else None

    def _place(self, number: int) -> tuple[int, int]:
        """Which batch has a row, and where."""
        return divmod(number, self._each)

    def row(self, number: int, names: Sequence[str]) -> list[Any]:
        """Some columns' values of one row; a medium's is its name."""
        at, offset = self._place(number)
        batch = self._batches[at]
        return [self.value(name, batch.column(name)[offset].as_py()) for name in names]

    def rows(self, numbers: Sequence[int], names: Sequence[str]) -> list[list[Any]]:
        """Some columns' values of many rows, column by column: far quicker than one by one."""

        if isinstance(numbers, range) and numbers.step == 1 and numbers:
            part = self.arrow(names).slice(numbers.start, len(numbers))
            return [self._values(name, part.column(name)) for name in names]
        # Batch by batch: Arrow's own `take` over all of them would first make one of them.
        wanted: dict[int, tuple[list[int], list[int]]] = {}
        for position, number in enumerate(numbers):
            at, offset = self._place(number)
            positions, offsets = wanted.setdefault(at, ([], []))
            positions.append(position)
            offsets.append(offset)
        columns: list[list[Any]] = [[None] * len(numbers) for _ in names]
        for at, (positions, offsets) in wanted.items():
            taken = self._batches[at].select(list(names)).take(arrays.numbers(offsets, "q"))
            for column, name in zip(columns, names, strict=True):
                for position, value in zip(positions, self._values(name, taken.column(name)), strict=True):
                    column[position] = value
        return columns

    def column(self, name: str) -> list[Any]:
        """All values of one column."""
        return self._values(name, self.arrow([name]).column(name))

    def distinct(self, name: str) -> list[str]:
        """The distinct values of a column of names, in the order in which they first appear."""
        return [value for value in self.arrow([name]).column(name).unique().to_pylist() if value is not None]

    def arrow(self, names: Sequence[str] | None = None) -> Any:
        """The rows as a `pyarrow.Table` on the same memory."""
        import pyarrow as pa

        table = pa.Table.from_batches(self._batches, self._schema)
        return table if names is None else table.select(list(names))

    @property
    def coded(self) -> frozenset[str]:
        """The columns whose values become a sample's by `decode`; a field of a kind of media is not one."""
        return frozenset(field.name for field in self.shape.fields if field.kind == "tokens")

    def decode(self, name: str, value: Any) -> Any:
        """What a sample has of a coded column's value.

        Raises
        ------
        UndecodableError
            When it cannot be had.
        """
        import numpy

        return numpy.array(value, numpy.int64)

    def value(self, name: str, value: Any) -> Any:
        """A column's value, of what the file holds for it."""
        return msgspec.json.decode(value) if self._is_json(name) and value is not None else value

    def _values(self, name: str, values: Any) -> list[Any]:
        listed: list[Any] = values.to_pylist()
        if not self._is_json(name):
            return listed
        return [None if value is None else msgspec.json.decode(value) for value in listed]

    def _is_json(self, name: str) -> bool:
        return any(field.name == name and field.kind == "json" for field in self.shape.fields)


# --- making one ------------------------------------------------------------------------------------------------------

Batch = Mapping[str, Sequence[Any]]


class WidenError(Exception):
    """A column has a value that its type, as the rows before told it, cannot hold: it is to be JSON."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def write(sink: Any, shape: Shape, batches: Iterable[Batch], batch_rows: int = BATCH_ROWS) -> int:
    """Write rows to a file object as an Arrow file of batches of so many rows; return how many rows there are.

    Raises
    ------
    WidenError
        When a column of kind ``any`` turns out to be mixed: to be written anew, with that column as ``json``.
    """
    import pyarrow as pa

    writer, schema, settled, count = None, None, shape, 0
    waiting: dict[str, list[Any]] = {field.name: [] for field in shape.fields}
    first = waiting[shape.fields[0].name]

    def emit() -> None:
        nonlocal writer, schema, settled, count
        if writer is None:
            fields = tuple(_settled(field, waiting[field.name]) for field in shape.fields)
            settled = msgspec.structs.replace(shape, fields=fields)
            schema = pa.schema([(field.name, _type(field.kind)) for field in settled.fields], metadata_of(settled))
            writer = pa.ipc.new_stream(sink, schema)
        arrays = [_array(field, waiting[field.name][:batch_rows]) for field in settled.fields]
        writer.write_batch(pa.record_batch(arrays, schema))
        count += min(len(first), batch_rows)
        for values in waiting.values():
            del values[:batch_rows]

    try:
        for batch in batches:
            for name, values in waiting.items():
                values.extend(batch[name])
            while len(first) >= batch_rows:
                emit()
        if first or writer is None:
            emit()
    finally:
        if writer is not None:
            writer.close()
    return count


def _settled(field: Field, values: Sequence[Any]) -> Field:
    if field.kind != "any":
        return field
    types = set(map(type, values)) - {type(None)}
    kinds: dict[Any, Kind] = {int: "int", str: "text", float: "float"}
    kind = kinds.get(next(iter(types))) if len(types) == 1 else None
    return msgspec.structs.replace(field, kind=kind or "json")


def _array(field: Field, values: Sequence[Any]) -> Any:
    """An Arrow array that gives back the very values: Arrow by itself takes True for a 1, and a 1 for a 1.0."""
    import pyarrow as pa

    exact, told = _EXACT.get(field.kind), values
    if field.kind == "json":
        values = [None if value is None else msgspec.json.encode(value).decode() for value in values]
    elif field.kind == "floats":
        exact, told = float, list(chain.from_iterable(filter(None, values)))
    if exact is not None and not set(map(type, told)) <= {exact, type(None)}:
        raise WidenError(field.name)
    try:
        # `pa.array` where values are missing: see `assetmgr.datasets.arrays`.
        build: Callable[[Any], Any] = _BUILT.get(field.kind, arrays.texts)
        return pa.array(values, _type(field.kind)) if None in values else build(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, TypeError):
        if field.kind == "json":
            raise
        raise WidenError(field.name) from None


_BUILT: Mapping[str, Callable[[Any], Any]] = {
    "int": partial(arrays.numbers, kind="q"),
    "float": partial(arrays.numbers, kind="d"),
    "texts": partial(arrays.lists, of=arrays.texts),
    "ints": partial(arrays.lists, of=partial(arrays.numbers, kind="q")),
    "tokens": partial(arrays.lists, of=partial(arrays.numbers, kind="q")),
    "floats": partial(arrays.lists, of=partial(arrays.numbers, kind="d")),
}
_EXACT: Mapping[str, type] = {"int": int, "float": float, "text": str, "image": str, "video": str, "place": str}


def _type(kind: Kind) -> Any:
    import pyarrow as pa

    types = {
        "int": pa.int64(),
        "float": pa.float64(),
        "texts": pa.list_(pa.string()),
        "ints": pa.list_(pa.int64()),
        "tokens": pa.list_(pa.int64()),
        "floats": pa.list_(pa.float64()),
    }
    # Offsets of 64 bits are for texts beyond 2 GB in one batch; a batch of rows never has them.
    return types.get(kind, pa.string())
