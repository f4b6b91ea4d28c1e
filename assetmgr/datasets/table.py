"""Rows as a few flat arrays.

A row costs its text and some bytes, not a dict, and a forked worker that reads rows copies no page. The shape is that
of a columnar file: text is one run of bytes with offsets, and rows name their image by its number.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from assetmgr.datasets.annotations import Annotation


class Column(Protocol):
    """What a column gives: values by row."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> object: ...


class Texts:
    """Many texts as UTF-8 in one run of bytes."""

    __slots__ = ("_bytes", "_ends")

    def __init__(self, texts: Iterable[str]) -> None:
        encoded = [text.encode() for text in texts]
        self._bytes = b"".join(encoded)
        self._ends = array("Q", accumulate(map(len, encoded), initial=0))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, row: int) -> str:
        return self._bytes[self._ends[row] : self._ends[row + 1]].decode()


def column(values: Sequence[int] | Sequence[str] | Sequence[int | str]) -> Column:
    """The smallest column that gives back these values, each with its own type."""
    if all(type(value) is int for value in values):
        return array("q", map(int, values))
    if all(type(value) is str for value in values):
        return Texts(values)  # type: ignore[arg-type]
    return list(values)


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a split.

    Attributes
    ----------
    files
        The distinct images, as names relative to the media folder.
    file_of
        For each row, which of the images it has.
    columns
        What else a row has, by the sample's keys, in their order.
    suffixes
        What may follow an image's name; the first that exists is meant.
    """

    files: Texts
    file_of: array[int]
    columns: dict[str, Column]
    suffixes: tuple[str, ...] = ("",)

    def __len__(self) -> int:
        return len(self.file_of)

    def name(self, number: int) -> str:
        """An image's name as a person reads it: ``12.png|.jpg`` where it may have several."""
        return self.files[number] + "|".join(self.suffixes)


class Images:
    """Collects the images that rows name: each distinct name checked and kept once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._of: array[int] = array("I")

    def add(self, name: str, file: Annotation, row: int | str) -> None:
        """The next row has this image.

        Raises
        ------
        UnsafeNameError
            When the name must not become a path.
        """
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[file.check_name(name, row)] = len(self._numbers)
        self._of.append(number)

    def table(self, columns: dict[str, Column], suffixes: tuple[str, ...] = ("",)) -> Table:
        """The table of these rows."""
        return Table(Texts(self._numbers), self._of, columns, suffixes)
