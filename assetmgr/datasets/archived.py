"""Media in archives, read where they are: an index leads from a name to a member's bytes. Nothing is unpacked.

The index is prepared once, from the archives' own directories, and mapped; each process opens an archive when it
first reads from it, and reads at offsets, so that neither threads nor forked workers are in each other's way.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import threading
from collections.abc import Collection, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import msgspec

from assetmgr.archives import MemberPlace, Source, member_places, read_member
from assetmgr.archives import opened as opened_archive
from assetmgr.archives.places import PLAIN
from assetmgr.datasets.annotations import Annotation
from assetmgr.datasets.index import Index, sorted_rows
from assetmgr.datasets.listed import Owner
from assetmgr.datasets.media import DamagedError, not_listed, same
from assetmgr.datasets.prepared import Recipe, Rows, opened
from assetmgr.datasets.table import Field, Shape
from assetmgr.digests import hash_file
from assetmgr.errors import IntegrityError
from assetmgr.receipt import Stamp
from assetmgr.store import Store

VERSION = 1
SHAPE = Shape(
    (
        Field("name", "text"),
        Field("archive", "int"),
        Field("member", "text"),
        Field("size", "int"),
        Field("packed", "int"),
        Field("crc32", "int"),
        Field("method", "int"),
        Field("offset", "int"),
        Field("end", "int"),
        Field("raw_name", "text"),
        Field("has_descriptor", "int"),
    )
)
# So many archives stay open in a process; of more, each is opened for each reading.
_OPEN = 64


class Packed(NamedTuple):
    """One archive of media.

    Attributes
    ----------
    path
        Where it is.
    base
        What stands before its members' names: the folder that it would be unpacked to.
    sha256
        Empty for an archive of the user's own.
    owner, number
        The asset that it belongs to, and its place in the asset's contents.
    """

    path: str
    base: str = ""
    sha256: str = ""
    owner: Owner | None = None
    number: int = 0

    def identity(self) -> str:
        """What its index is tied to: its bytes' digest, or the file that it is."""
        if self.sha256:
            return self.sha256
        stamp = Stamp.of(os.stat(self.path), 0)
        told = [os.path.realpath(self.path), stamp]
        return hashlib.sha256(msgspec.json.encode(told)).hexdigest()


class Archives:
    """Media as members of archives.

    Parameters
    ----------
    prefix
        What stands before the names that are asked for, in the index; with a slash.
    stamps
        The archives' status when they were proved: one that changed since is not read. Empty: they are trusted.
    """

    def __init__(
        self,
        archives: Sequence[Packed],
        index: Index,
        prefix: str = "",
        stamps: Sequence[Stamp] = (),
        owner: str | None = None,
    ) -> None:
        self.archives, self.index, self.prefix, self.stamps = tuple(archives), index, prefix, tuple(stamps)
        self._owner = owner
        self._lock = threading.Lock()
        self._sources: dict[int, Source] = {}
        self._files = contextlib.ExitStack()

    def __reduce__(self) -> tuple[object, ...]:
        return Archives, (self.archives, self.index, self.prefix, self.stamps, self._owner)

    @property
    def owner(self) -> str | None:
        return self._owner or next((archive.owner.name for archive in self.archives if archive.owner), None)

    @property
    def where(self) -> str:
        paths = [archive.path for archive in self.archives]
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        return ", ".join(paths[:3]) + more

    def open(self, name: str) -> BinaryIO:
        row = self.index.find(self.prefix + name)
        if row is None:
            raise FileNotFoundError(name)
        number, place = _place(row)
        with self._source(number) as source:
            if self.stamps and not self.stamps[number].fits(os.fstat(source.descriptor)):
                raise DamagedError(f"{source.name} was changed since it was proved")
            try:
                return io.BytesIO(read_member(source, place))
            except IntegrityError as error:
                raise DamagedError(error.message) from None

    @contextlib.contextmanager
    def _source(self, number: int) -> Iterator[Source]:
        path = self.archives[number].path
        if len(self.archives) > _OPEN:
            with opened_archive(path) as source:
                yield source
            return
        with self._lock:
            found = self._sources.get(number)
            if found is None:
                found = self._sources[number] = self._files.enter_context(opened_archive(path))
        yield found

    def has(self, name: str) -> bool:
        return self.prefix + name in self.index

    def present(self, names: Collection[str]) -> set[str]:
        found = self.index.present([self.prefix + name for name in names])
        return {name[len(self.prefix) :] for name in found}

    def names(self) -> Iterator[str]:
        return (name[len(self.prefix) :] for name in self.index.names() if name.startswith(self.prefix))

    def shown(self, name: str) -> str:
        row = self.index.find(self.prefix + name)
        if row is None:
            return f"{name} in {self.where}"
        number, place = _place(row)
        return os.path.join(self.archives[number].path, place.path)

    def mend(self, name: str) -> str | None:
        row = self.index.find(self.prefix + name)
        if row is None:
            return None if self.owner is None else not_listed(self.owner)
        archive = self.archives[_place(row)[0]]
        return archive.owner and archive.owner.mend(archive.number, archive.path)


def _place(row: Sequence[Any]) -> tuple[int, MemberPlace]:
    return row[1], MemberPlace(*row[2:])


def archived(store: Store, asset: str, archives: Sequence[Packed], *, check: bool) -> Archives:
    """Media in archives, of which the first that has a name is meant.

    Raises
    ------
    IntegrityError
        When one is damaged, or holds what must not be unpacked.
    UsageError
        When one is compressed as a whole.
    """
    sums = check and any(archive.owner is not None for archive in archives)

    def reading(_: Sequence[Annotation]) -> Rows:
        def rows() -> Iterator[Sequence[object]]:
            for number, archive in enumerate(archives):
                for place in _members(asset, archive, sums=sums):
                    path, size, packed, crc32, method, offset, end, raw_name, has_descriptor = place
                    name = archive.base + path
                    yield name, number, path, size, packed, crc32, method, offset, end, raw_name, has_descriptor

        return sorted_rows(SHAPE, rows())

    for archive in archives:
        if not os.path.isfile(archive.path):
            raise IntegrityError(f"{asset}: {archive.path}: no such file", mend=_mend(archive))
    stamps = tuple(Stamp.of(os.stat(archive.path)) for archive in archives) if check else ()
    known = tuple(Annotation(asset, "media", archive.path, archive.identity()) for archive in archives)
    reader = f"media {VERSION} {int(sums)} {msgspec.json.encode([archive.base for archive in archives]).decode()}"
    return Archives(archives, Index(opened(store, Recipe(asset, "media", known, reader, reading))), "", stamps)


def _members(asset: str, archive: Packed, *, sums: bool) -> Iterator[MemberPlace]:
    """The members of an archive that is as it was locked; what is wrong with it is told with what mends it."""
    plain = False
    try:
        for place in member_places(archive.path, name=f"{asset}: {archive.path}", sums=sums):
            plain = plain or place.method == PLAIN
            yield place
        # A tar has no sums of its own: the index must not take those of bytes that are not the lock's.
        if plain and sums and archive.sha256:
            same(_sha256(archive), archive.sha256)
    except OSError as error:
        raise IntegrityError(f"{asset}: {archive.path}: {error.strerror or error}", mend=_mend(archive)) from None
    except DamagedError as error:
        raise IntegrityError(f"{asset}: {archive.path}: {error}", mend=_mend(archive)) from None
    except IntegrityError as error:
        if archive.sha256 and _sha256(archive) != archive.sha256:
            raise IntegrityError(error.message, mend=_mend(archive)) from None
        raise


def _sha256(archive: Packed) -> str:
    return hash_file(archive.path)[1]["sha256"]


def _mend(archive: Packed) -> str:
    mend = archive.owner and archive.owner.mend(archive.number, archive.path)
    return mend or "see that it is there and may be read, or leave it out of vis_path"
