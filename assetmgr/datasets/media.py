"""Where media are, and how one is opened: the one Protocol behind folders, archives and shards.

A medium that an asset lists is checked against its listing when it is touched: what was changed is told, not served.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import BinaryIO, Protocol

from assetmgr.datasets.listed import Expected, Listed, Owner
from assetmgr.digests import CHUNK

# A medium up to this size is hashed and decoded from one reading of it; a larger one is hashed once in each process.
_AT_ONCE = 32 << 20
# So many names of one folder are asked for singly; more, by one reading of the folder.
_SINGLY = 256


class DamagedError(Exception):
    """A medium is there, and is not what its asset's listing or its archive says; the message says how."""


class Media(Protocol):
    """A place that has media by name. Picklable, and safe to use after a fork and by several threads.

    Attributes
    ----------
    owner
        The asset that put them there; None for a place of the user's own.
    where
        The folder or the archives, as a person is told.
    """

    @property
    def owner(self) -> str | None: ...

    @property
    def where(self) -> str: ...

    def open(self, name: str) -> BinaryIO:
        """Open a medium from its beginning.

        Raises
        ------
        FileNotFoundError, NotADirectoryError
            When there is none of that name.
        DamagedError
            When it is another than its asset lists.
        OSError
            When it cannot be read; the message says why.
        """

    def has(self, name: str) -> bool:
        """Whether there is one of that name, by a look that opens nothing."""

    def present(self, names: Collection[str]) -> set[str]:
        """Those of many names that are there, by as few looks as that takes."""

    def names(self) -> Iterator[str]:
        """The names of all that is there, with forward slashes, in any order."""

    def shown(self, name: str) -> str:
        """A medium's whole name, as a person is told."""

    def mend(self, name: str) -> str | None:
        """What to type when this medium is missing or changed; None for a place of the user's own."""


class Folder:
    """Media as files below a folder.

    Parameters
    ----------
    owner
        The asset that is named when a medium is none that an asset lists.
    listed
        What assets list in the folder.
    """

    def __init__(self, folder: str, owner: str | None, listed: Sequence[Listed] = ()) -> None:
        self.folder, self.owner, self.listed = folder, owner, tuple(listed)
        self._proved: dict[str, tuple[int, int, int, int]] = {}

    def __reduce__(self) -> tuple[object, ...]:
        return Folder, (self.folder, self.owner, self.listed)

    def __repr__(self) -> str:
        return f"Folder({self.folder!r}, {self.owner!r})"

    @property
    def where(self) -> str:
        return self.folder

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def _expected(self, name: str) -> tuple[Owner, Expected] | None:
        for listed in self.listed:
            if found := listed.find(name):
                return listed.owner, found
        return None

    def open(self, name: str) -> BinaryIO:
        path = self._path(name)
        known = self._expected(name)
        if known is None:
            return open(path, "rb")
        expected = known[1]
        if expected.size <= _AT_ONCE:
            with open(path, "rb") as file:
                _fits(os.fstat(file.fileno()), expected)
                data = file.read()
            check(data, expected.sha256)
            return io.BytesIO(data)
        return self._open_large(path, expected)

    def _open_large(self, path: str, expected: Expected) -> BinaryIO:
        with contextlib.ExitStack() as closing:
            file = closing.enter_context(open(path, "rb"))
            status = os.fstat(file.fileno())
            _fits(status, expected)
            # Whoever sets the time of a change back cannot set back when that was done.
            stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            if self._proved.get(path) != stamp:
                digest = hashlib.sha256()
                while piece := file.read(CHUNK):
                    digest.update(piece)
                same(digest.hexdigest(), expected.sha256)
                self._proved[path] = stamp
                file.seek(0)
            closing.pop_all()
            return file

    def has(self, name: str) -> bool:
        return os.path.isfile(self._path(name))

    def present(self, names: Collection[str]) -> set[str]:
        folders: dict[str, list[str]] = {}
        for name in names:
            folders.setdefault(os.path.dirname(name), []).append(name)
        found: set[str] = set()
        for folder, wanted in folders.items():
            left: Iterable[str] = wanted
            if len(wanted) > _SINGLY:
                there = _files_of(self._path(folder))
                # The rest is asked for singly: a file system may know a name by another case or Unicode form.
                left = []
                for name in wanted:
                    (found.add if os.path.basename(name) in there else left.append)(name)
            found.update(name for name in left if self.has(name))
        return found

    def names(self) -> Iterator[str]:
        for at, _, files in os.walk(self.folder, followlinks=True):
            below = os.path.relpath(at, self.folder).replace(os.sep, "/")
            yield from (name if below == "." else f"{below}/{name}" for name in files)

    def shown(self, name: str) -> str:
        return self._path(name)

    def mend(self, name: str) -> str | None:
        if known := self._expected(name):
            return known[0].mend(known[1].number, self._path(name))
        if self.owner is None:
            return None
        return not_listed(self.owner) if self.listed else f"assetmgr verify {self.owner} --repair"


def not_listed(owner: str) -> str:
    """The mend of a medium that its asset does not have."""
    return (
        f"{owner} has no file of this name: correct `media:` in the manifest or let its patterns include the file; "
        "missing='skip' leaves such rows out"
    )


def _files_of(folder: str) -> set[str]:
    """The names of the files in a folder, links to files too. One that is not there has none."""
    try:
        with os.scandir(folder) as items:
            return {item.name for item in items if item.is_file()}
    except OSError:
        return set()


def _fits(status: os.stat_result, expected: Expected) -> None:
    if status.st_size != expected.size:
        kind = "truncated" if status.st_size < expected.size else "altered"
        raise DamagedError(f"{kind}: expected {expected.size} bytes, found {status.st_size}")


def check(data: bytes, sha256: str) -> None:
    """Raise `DamagedError` where bytes are not those of a sha256."""
    same(hashlib.sha256(data).hexdigest(), sha256)


def same(found: str, expected: str) -> None:
    """Raise `DamagedError` where a sha256 is not the expected one; an empty one is any."""
    if found != expected and expected:
        raise DamagedError(f"altered: expected sha256 {expected}, found {found}")


class Overlay:
    """Several places, in order: the first that has a name is meant."""

    def __init__(self, layers: Sequence[Media]) -> None:
        self.layers = tuple(layers)

    @property
    def owner(self) -> str | None:
        return next((layer.owner for layer in self.layers if layer.owner), None)

    @property
    def where(self) -> str:
        return ", ".join(layer.where for layer in self.layers)

    def open(self, name: str) -> BinaryIO:
        for layer in self.layers:
            try:
                return layer.open(name)
            except (FileNotFoundError, NotADirectoryError):
                continue
        raise FileNotFoundError(name)

    def has(self, name: str) -> bool:
        return any(layer.has(name) for layer in self.layers)

    def present(self, names: Collection[str]) -> set[str]:
        found: set[str] = set()
        for layer in self.layers:
            if len(found) < len(names):
                found |= layer.present([name for name in names if name not in found])
        return found

    def names(self) -> Iterator[str]:
        yield from dict.fromkeys(name for layer in self.layers for name in layer.names())

    def _layer(self, name: str) -> Media:
        """The place that has a name; of one that none has, the place that would."""
        lists = (layer for layer in self.layers if isinstance(layer, Below) and name.startswith(f"{layer.folder}/"))
        return next((layer for layer in self.layers if layer.has(name)), next(lists, self.layers[-1]))

    def shown(self, name: str) -> str:
        return self._layer(name).shown(name)

    def mend(self, name: str) -> str | None:
        return self._layer(name).mend(name)


class Below:
    """Shards whose media are known by another name too: below a folder. Their own name goes first."""

    def __init__(self, media: Media, folder: str) -> None:
        self.media, self.folder = media, folder

    @property
    def owner(self) -> str | None:
        return self.media.owner

    @property
    def where(self) -> str:
        return self.media.where

    def _own(self, name: str) -> str:
        """What the media call it: of a name that they do not have, what is below the folder."""
        folder, slash, rest = name.partition("/")
        return rest if slash and folder == self.folder and not self.media.has(name) else name

    def open(self, name: str) -> BinaryIO:
        return self.media.open(self._own(name))

    def has(self, name: str) -> bool:
        return self.media.has(self._own(name))

    def present(self, names: Collection[str]) -> set[str]:
        found = self.media.present(names)
        start = f"{self.folder}/"
        below = {name[len(start) :]: name for name in names if name.startswith(start) and name not in found}
        return found | {below[name] for name in self.media.present(list(below))}

    def names(self) -> Iterator[str]:
        return self.media.names()

    def shown(self, name: str) -> str:
        return self.media.shown(self._own(name))

    def mend(self, name: str) -> str | None:
        own = self._own(name)
        if "://" not in own and not self.media.has(own) and "://" in next(self.media.names(), ""):
            return (
                f"the shards of {self.owner} know their images by URL, and the annotations name files: give vis_path "
                f"a folder or an archive of the files; load_dataset({self.owner!r}) has what is in the shards"
            )
        return self.media.mend(own)


def named(media: Media, stem: str, suffixes: Iterable[str]) -> str:
    """The name of a medium that may end in several ways: the first that exists, else the first."""
    names = [stem + suffix for suffix in suffixes]
    if len(names) == 1:
        return names[0]
    return next((name for name in names if media.has(name)), names[0])
