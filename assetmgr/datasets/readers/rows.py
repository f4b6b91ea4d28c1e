"""The rows of a split's lists in their order, some thousands at a time, whichever file they are in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from assetmgr.datasets.annotations import Annotation

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Piece(Generic[T]):
    """Some rows of a file. ``done`` rows of the file came earlier, ``first`` is the first one's number in the split."""

    file: Annotation
    rows: list[T]
    done: int
    first: int

    @property
    def numbers(self) -> range:
        """The rows' numbers in the split."""
        return range(self.first, self.first + len(self.rows))

    @property
    def instances(self) -> list[str]:
        """LAVIS's ``instance_id``: a row's number in the split, as a text."""
        return list(map(str, self.numbers))

    def names(self, names: Iterable[str], *, row: str = "[{}]") -> list[str]:
        """The rows' media, safe to become paths. Raises `UnsafeNameError` where one is not."""
        told = list(names)
        self.file.check_names(told, self.done, row=row)
        return told


def pieces(files: Sequence[Annotation], kind: type[T]) -> Iterator[Piece[T]]:
    """The rows of these files as typed values.

    Raises
    ------
    IntegrityError
        When a file is not a list of such rows; names the row.
    """
    first = 0
    for file in files:
        done = 0
        for rows in file.rows(kind):
            yield Piece(file, rows, done, first)
            done, first = done + len(rows), first + len(rows)
