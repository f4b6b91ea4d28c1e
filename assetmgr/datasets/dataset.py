"""The dataset object: map-style, small, picklable; images are decoded when a sample is asked for."""

from __future__ import annotations

import operator
import os
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, SupportsIndex, overload

from assetmgr.datasets.images import decode
from assetmgr.datasets.places import Media
from assetmgr.datasets.table import Table
from assetmgr.errors import IntegrityError

Sample = dict[str, Any]


class ImageTextDataset:
    """The samples of one split: dicts with a decoded image (PIL, RGB) and what belongs to it.

    ``len``, an index (negative too), a slice or a sequence of indices, and iteration work as on a list. It needs no
    torch, and works in ``torch.utils.data.DataLoader`` with workers.

    Attributes
    ----------
    name, split
        The asset and its split.
    annotations
        The absolute paths of the files that it was read from.
    media
        The folder of the images, and the asset that owns it.
    left_out
        How many rows ``missing="skip"`` left out, because their image is not there.
    """

    def __init__(
        self,
        name: str,
        split: str,
        annotations: Sequence[str],
        media: Media,
        table: Table,
        rows: array[int] | None = None,
    ) -> None:
        self.name = name
        self.split = split
        self.annotations = tuple(annotations)
        self.media = media
        self.table = table
        self._rows = rows

    @property
    def columns(self) -> tuple[str, ...]:
        """The keys of every sample."""
        return "image", *self.table.columns

    @property
    def left_out(self) -> int:
        return len(self.table) - len(self)

    def __len__(self) -> int:
        return len(self.table) if self._rows is None else len(self._rows)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Sample: ...
    @overload
    def __getitem__(self, index: slice | Sequence[SupportsIndex]) -> list[Sample]: ...
    def __getitem__(self, index: SupportsIndex | slice | Sequence[SupportsIndex]) -> Sample | list[Sample]:
        """One sample, or a list of them.

        Raises
        ------
        IndexError
            When there is no such row.
        IntegrityError
            When its image is missing or cannot be decoded.
        """
        if isinstance(index, slice):
            return [self._sample(number) for number in range(*index.indices(len(self)))]
        # An array or tensor without dimensions is a number, though it has the methods of a sequence.
        if isinstance(index, Iterable) and getattr(index, "ndim", None) != 0:
            return [self._sample(operator.index(number)) for number in index]
        return self._sample(operator.index(index))  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Sample]:
        return (self._sample(number) for number in range(len(self)))

    def _sample(self, index: int) -> Sample:
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"{self.name}, split {self.split}: no sample {index} among {len(self)}")
        row = number if self._rows is None else self._rows[number]
        path = self._image_path(self.table.file_of[row])
        image = decode(path)
        if isinstance(image, str):
            raise self.fault(f"sample {number}: {path}: {image}")
        return {"image": image, **{key: values[row] for key, values in self.table.columns.items()}}

    def _image_path(self, file: int) -> str:
        """The path of an image: of the names that it may have, the first that exists, else the first."""
        stem = os.path.join(self.media.folder, self.table.files[file])
        suffixes = self.table.suffixes
        if len(suffixes) == 1:
            return stem + suffixes[0]
        return next((stem + suffix for suffix in suffixes if os.path.exists(stem + suffix)), stem + suffixes[0])

    def without(self, absent: Collection[int]) -> ImageTextDataset:
        """This dataset less the rows that have one of these images (numbers of the table's files)."""
        gone = frozenset(absent)
        rows = array("I", (row for row, file in enumerate(self.table.file_of) if file not in gone))
        return ImageTextDataset(self.name, self.split, self.annotations, self.media, self.table, rows)

    def fault(self, what: str) -> IntegrityError:
        """An error about this dataset's images, to be raised."""
        mend = (
            f"assetmgr verify {self.media.owner} --repair"
            if self.media.owner
            else f"put the images into {self.media.folder}, or leave vis_path out to use those of {self.name}"
        )
        return IntegrityError(f"{self.name}, split {self.split}: {what}", mend=mend)

    def __repr__(self) -> str:
        lines = [
            f"ImageTextDataset({self.name}, split {self.split})",
            f"  {len(self):,} rows of {', '.join(self.columns)}",
            f"  annotations: {', '.join(self.annotations)}",
            f"  {len(self.table.files):,} images: {self.media.folder}",
        ]
        if self.left_out:
            lines.append(f"  left out: {self.left_out:,} rows whose image is missing")
        return "\n".join(lines)


def absent_images(dataset: ImageTextDataset) -> list[int]:
    """Which of the images that a dataset's rows name are not there, as numbers of its table's files."""
    return [file for file in range(len(dataset.table.files)) if not os.path.isfile(dataset._image_path(file))]
