"""The dataset object: map-style, small, picklable; media are decoded when a sample is asked for."""

from __future__ import annotations

import contextlib
import errno
import operator
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, SupportsIndex, overload

from assetmgr.datasets.absence import rows_without
from assetmgr.datasets.annotations import Annotation
from assetmgr.datasets.chance import CHANCES
from assetmgr.datasets.evaluation import LISTS, OF_CAPTIONS, class_names, of_lists
from assetmgr.datasets.features import has_flow, joined, names_of, whole
from assetmgr.datasets.images import decode
from assetmgr.datasets.media import DamagedError, Media, named
from assetmgr.datasets.provenance import Provenance
from assetmgr.datasets.table import Field, Table, UndecodableError
from assetmgr.datasets.videos import Video
from assetmgr.errors import IntegrityError, UsageError
from assetmgr.manifest_reader import nearest
from assetmgr.typed import Typed

Sample = dict[str, Any]

# How many rows' plain values are read at once while iterating: enough to be quick, few enough to be nothing.
_AHEAD = 1024
_AS_IT_IS = Typed()


class Dataset:
    """The samples of one split: dicts with decoded media (images: PIL, RGB) and what belongs to them.

    ``len``, an index (negative too), a slice or a sequence of indices, and iteration work as on a list. It needs no
    torch, and works in ``torch.utils.data.DataLoader`` with workers.

    Attributes
    ----------
    name, split
        The asset and its split.
    annotations
        The absolute paths of the files that it was read from.
    media
        Where its images are, and the asset that owns them.
    table
        Its rows, as they were prepared.
    provenance
        Who publishes it, and when its files were proved.
    fields
        The columns that a sample has, and what each is.
    rows
        The table's rows that it has, in order; None: all.
    typed
        How the commands that its errors name are typed.
    """

    def __init__(
        self,
        name: str,
        split: str,
        annotations: Sequence[str],
        media: Media,
        table: Table,
        provenance: Provenance = Provenance(),
        *,
        rows: array[int] | None = None,
        columns: Sequence[str] | None = None,
        transform: Callable[[Sample], Any] | None = None,
        typed: Typed = _AS_IT_IS,
    ) -> None:
        self.name = name
        self.split = split
        self.annotations = tuple(annotations)
        self.media = media
        self.table = table
        self.provenance = provenance
        self.transform = transform
        self.typed = typed
        self.rows = rows
        self.fields = tuple(
            field for field in table.shape.fields if (not field.beside if columns is None else field.name in columns)
        )
        self._media_fields = tuple(field for field in self.fields if field.is_media)
        self._places = tuple(field.name for field in self.fields if field.kind == "place")
        self._chance = CHANCES.get(table.shape.chance)
        self.columns = tuple(field.name for field in self.fields)
        self._coded = tuple(name for name in self.columns if name in table.coded)

    @property
    def left_out(self) -> int:
        """How many rows ``missing="skip"`` left out, because a medium of theirs is not there."""
        return len(self.table) - len(self)

    def __getattr__(self, name: str) -> Any:
        """What LAVIS's classes for evaluation have beside their samples: see `assetmgr.datasets.evaluation`."""
        if name in OF_CAPTIONS and any(field.name == "captions" for field in self.table.shape.fields):
            return OF_CAPTIONS[name](self._column)
        if name in LISTS and self.table.shape.lists:
            return of_lists(name, [Annotation(self.name, self.split, path) for path in self.annotations])
        if name == "classnames" and self.name == "imagenet":
            return class_names()
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _column(self, name: str) -> list[Any]:
        values = self.table.column(name or self.table.shape.fields[0].name)
        return values if self.rows is None else [values[row] for row in self.rows]

    def select_columns(self, *columns: str | Iterable[str]) -> Dataset:
        """The same rows with some of their keys: without media nothing is opened, and rows come far quicker.

        Raises
        ------
        UsageError
            When there is no such key, or none is named.
        """
        wanted = [name for one in columns for name in ([one] if isinstance(one, str) else one)]
        if not wanted:
            raise UsageError(
                f"{self.name}, split {self.split}: no column is named",
                mend=f"its columns are {', '.join(self.columns)}",
            )
        for column in wanted:
            if column not in self.columns:
                raise UsageError(
                    f"{self.name}, split {self.split}: no column {column!r}{nearest(column, self.columns)}",
                    mend=f"its columns are {', '.join(self.columns)}",
                )
        return self._with(columns=wanted)

    def with_transform(self, transform: Callable[[Sample], Any] | None) -> Dataset:
        """The same rows, each sample passed through a function; None takes it away."""
        return self._with(transform=transform)

    def _with(self, **changed: Any) -> Dataset:
        kept = {"rows": self.rows, "columns": self.columns, "transform": self.transform, "typed": self.typed}
        parts = (self.name, self.split, self.annotations, self.media, self.table, self.provenance)
        return Dataset(*parts, **{**kept, **changed})

    def to_hf(self) -> Any:
        """The same rows as a `datasets.Dataset` of the Hugging Face library, on the same mapped memory.

        Images that are files become the library's own `Image` feature, decoded when they are touched. Media in
        archives, videos, and values that differ in kind from row to row are decoded when they are touched by a
        transform of the library's; `Dataset.transform` is not taken along.

        Raises
        ------
        MissingExtraError
            When the library is not installed.
        """
        from assetmgr.datasets.hub_object import to_hf

        return to_hf(self)

    def __len__(self) -> int:
        return len(self.table) if self.rows is None else len(self.rows)

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
            When a medium of it is missing or cannot be decoded.
        """
        if isinstance(index, slice):
            return list(self._samples(range(*index.indices(len(self)))))
        if isinstance(index, str):
            raise TypeError(f"samples are found by number, not by {index!r}; one column: select_columns({index!r})")
        # An array or tensor without dimensions is a number, though it has the methods of a sequence.
        if isinstance(index, Iterable) and getattr(index, "ndim", None) != 0:
            return self.__getitems__(index)
        number = self._number(operator.index(index))  # type: ignore[arg-type]
        row = number if self.rows is None else self.rows[number]
        return self._sample(number, self.table.row(row, self.columns))

    def __getitems__(self, indices: Iterable[SupportsIndex]) -> list[Sample]:
        """Several samples; what torch's DataLoader asks for where it is offered."""
        return list(self._samples([self._number(operator.index(index)) for index in _numbers(indices)]))

    def __iter__(self) -> Iterator[Sample]:
        for start in range(0, len(self), _AHEAD):
            yield from self._samples(range(start, min(start + _AHEAD, len(self))))

    def _number(self, index: int) -> int:
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"{self.name}, split {self.split}: no sample {index} among {len(self)}")
        return number

    def _samples(self, numbers: Sequence[int]) -> Iterator[Sample]:
        rows = numbers if self.rows is None else [self.rows[number] for number in numbers]
        for number, values in zip(numbers, zip(*self.table.rows(rows, self.columns), strict=True), strict=True):
            yield self._sample(number, values)

    def _sample(self, number: int, values: Sequence[Any]) -> Sample:
        sample = dict(zip(self.columns, values, strict=True))
        for field in self._media_fields:
            sample[field.name] = self._decoded(field, sample[field.name], f"sample {number}")
        for name in self._coded:
            try:
                sample[name] = self.table.decode(name, sample[name])
            except UndecodableError as error:
                raise self.fault(f"sample {number}, column {name}: {error}") from None
        for name in self._places:
            sample[name] = self.media.shown(sample[name])
        if self._chance is not None:
            sample = self._chance(sample)
        return sample if self.transform is None else self.transform(sample)

    def decoded(self, name: str, value: Any) -> Any:
        """What a sample has under a key, of what the table holds there.

        Raises
        ------
        IntegrityError
            When it is a medium that is missing or cannot be decoded.
        """
        field = self.table.shape.named(name)
        if field.kind == "place":
            return self.media.shown(value)
        if not field.is_media:
            return self.table.value(name, value)
        return self._decoded(field, value, f"column {name}")

    def _decoded(self, field: Field, stem: str, where: str) -> Any:
        names = self._names(field, stem)
        name = names[0]
        if field.kind == "video":
            if not self.media.has(name):
                raise self.fault(f"{where}: {self.media.shown(name)}: no such file", name)
            return Video(self.media, name, f"{self.name}, split {self.split}: {where}", self._mend(name))
        try:
            with contextlib.ExitStack() as opened:
                files = []
                for name in names:
                    files.append(opened.enter_context(self.media.open(name)))
                decoded = joined(files, field.options.get("fill")) if field.kind == "features" else decode(files[0])
        except (FileNotFoundError, NotADirectoryError):
            decoded = "no such file"
        except DamagedError as error:
            decoded = str(error)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            decoded = f"cannot be read: {error.strerror or error}"
        if isinstance(decoded, str):
            raise self.fault(f"{where}: {self.media.shown(name)}: {decoded}", name)
        return decoded

    def _names(self, field: Field, stem: str) -> list[str]:
        """The media that a value is made of."""
        if field.kind != "features":
            return [named(self.media, stem, field.suffixes)]
        # All samples have features of the same kinds: those of the first.
        (first,) = self.table.row(0, [field.name])
        return names_of(stem, flow=has_flow(self.media, first))

    def absent(self) -> dict[str, list[str]]:
        """The media that its rows name and that are not there, by column."""
        gone: dict[str, list[str]] = {}
        for field in self._media_fields:
            stems = self.table.distinct(field.name)
            if field.kind == "features":
                there = set(whole(self.media, stems))
                left = [stem for stem in stems if stem not in there]
            else:
                left = stems
                for suffix in field.suffixes:
                    there = self.media.present([stem + suffix for stem in left])
                    left = [stem for stem in left if stem + suffix not in there]
            if left:
                gone[field.name] = left
        return gone

    def without(self, absent: dict[str, list[str]]) -> Dataset:
        """This dataset less the rows that have one of these media."""
        return self._with(rows=array("Q", rows_without(self.table, absent, self.rows)))

    def fault(self, what: str, name: str | None = None) -> IntegrityError:
        """An error about this dataset's media, or about the one of a name, to be raised."""
        return IntegrityError(f"{self.name}, split {self.split}: {what}", mend=self._mend(name))

    def _mend(self, name: str | None = None) -> str:
        mend = self.media.mend(name) if name else self.media.owner and f"assetmgr verify {self.media.owner} --repair"
        own = f"put the images into {self.media.where}, or leave vis_path out to use those of {self.name}"
        return self.typed(mend or own)

    def __repr__(self) -> str:
        lines = [
            f"Dataset({self.name}, split {self.split})",
            f"  {len(self):,} rows of {', '.join(self.columns)}",
        ]
        if self.annotations:
            more = f" and {len(self.annotations) - 3:,} more" if len(self.annotations) > 3 else ""
            lines.append(f"  annotations: {', '.join(self.annotations[:3])}{more}")
        if self._media_fields:
            lines.append(f"  media: {self.media.where}")
        lines += [f"  {line}" for line in self.provenance.lines()]
        if self.left_out:
            lines.append(f"  left out: {self.left_out:,} rows whose image is missing")
        return "\n".join(lines)


def _numbers(indices: Iterable[SupportsIndex]) -> Iterable[SupportsIndex]:
    """Indices, and no mask: as numbers its values would be rows 0 and 1, over and over."""
    listed = indices if isinstance(indices, Sequence) or hasattr(indices, "dtype") else list(indices)
    kind = str(getattr(listed, "dtype", ""))
    if kind.endswith("bool") or (not kind and any(type(index) is bool for index in listed)):
        raise TypeError("a mask is no list of indices: give the numbers of the rows, numpy.flatnonzero(mask)")
    return listed
