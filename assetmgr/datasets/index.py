"""An index: rows in the order of their names, in a prepared table that is mapped, where one is found by its name.

A look-up is a search by halves in the mapped memory: nothing is read at opening, and all workers share the pages.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from assetmgr.datasets.prepared import Rows
from assetmgr.datasets.table import BATCH_ROWS, Shape, Table


class Index:
    """A table whose first column is of names, sorted, each there once."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._key = table.shape.fields[0].name
        self._columns = [field.name for field in table.shape.fields]
        names = table.arrow([self._key]).column(self._key)
        self._chunks: list[Any] = [chunk for chunk in names.chunks if len(chunk)]
        self._firsts = [chunk[0].as_py() for chunk in self._chunks]

    def __reduce__(self) -> tuple[type[Index], tuple[Table]]:
        return Index, (self.table,)

    def __len__(self) -> int:
        return len(self.table)

    def find(self, name: str) -> Sequence[Any] | None:
        """The row of a name, or None."""
        at = bisect_right(self._firsts, name) - 1
        if at < 0:
            return None
        chunk = self._chunks[at]
        offset = _search(chunk, name)
        if offset == len(chunk) or chunk[offset].as_py() != name:
            return None
        return self.table.row(at * BATCH_ROWS + offset, self._columns)

    def __contains__(self, name: str) -> bool:
        return self.find(name) is not None

    def has_folder(self, folder: str) -> bool:
        """Whether a name begins with this folder; the empty one has all."""
        prefix = f"{folder}/" if folder else ""
        at = max(bisect_right(self._firsts, prefix) - 1, 0)
        for chunk in self._chunks[at : at + 2]:
            offset = _search(chunk, prefix)
            if offset < len(chunk):
                return bool(chunk[offset].as_py().startswith(prefix))
        return False

    def names(self) -> Iterator[str]:
        """All names, in order."""
        for chunk in self._chunks:
            yield from chunk.to_pylist()

    def present(self, names: Collection[str]) -> set[str]:
        """Those of the names that it has: all are looked for at once."""
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = pa.array(names, pa.string())
        found = pc.is_in(wanted, value_set=self.table.arrow([self._key]).column(self._key))
        return set(wanted.filter(found).to_pylist())


def _search(chunk: Any, name: str) -> int:
    """Where a name stands in an Arrow array of sorted ones, or would."""

    def at(number: int) -> str:
        found: str = chunk[number].as_py()
        return found

    return bisect_left(range(len(chunk)), name, key=at)


def sorted_rows(shape: Shape, rows: Iterable[Sequence[Any]]) -> Rows:
    """What a prepared table of an index is made of. Of rows of one name the first is kept."""
    found: dict[str, Sequence[Any]] = {}
    for row in rows:
        found.setdefault(row[0], row)
    ordered = sorted(found.values(), key=itemgetter(0))
    columns = zip(*ordered, strict=True) if ordered else ([] for _ in shape.fields)
    return shape, [dict(zip((field.name for field in shape.fields), map(list, columns), strict=True))]
