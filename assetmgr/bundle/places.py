"""Where the documents and blobs of a bundle lie: in a folder, or in a tar of one. Both are only looked at and read.

A look tells every name, and what is no plain file. Nothing is followed: a link, a device or a pipe is a fault, and
so is a folder that a bundle has not.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from assetmgr.archives.positions import Positions, tar_positions
from assetmgr.archives.source import Source, Stream, opened
from assetmgr.archives.tar import BLOCK
from assetmgr.digests import CHUNK
from assetmgr.errors import AccessError, AssetError, IntegrityError, OriginError, UsageError

FOLDERS = ("blobs", "blobs/sha256")
# Where a create that was interrupted left what it had.
UNFINISHED = ".pushing"
# What file systems have at their roots.
SYSTEM = ("lost+found", "System Volume Information")
_CHECKSUM = re.compile(rb"[0-7]{6}\0 |[0-7]{7}[\0 ]")

Done = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look found.

    Attributes
    ----------
    files
        The size of each plain file, by its path in the bundle.
    faults
        What no bundle has, each in words.
    """

    files: Mapping[str, int]
    faults: tuple[str, ...] = ()


class Place(Protocol):
    """Attributes: ``name``, by which people know it, an absolute path."""

    @property
    def name(self) -> str: ...

    def look(self) -> Seen:
        """Every name there. Raises `AssetError` where it cannot be read at all."""

    def read(self, path: str, most: int) -> bytes | None:
        """A small file; None where there is none, or a larger one."""

    def sha256(self, path: str, done: Done) -> str:
        """The digest of a file's bytes; ``done`` is told of each piece."""

    def check(self) -> tuple[str, ...]:
        """What is wrong with the place besides its files, where every bit counts."""


def open_place(text: str) -> Place:
    """The place that a text names: a folder, or a tar.

    Raises
    ------
    UsageError, AccessError, OriginError
        When it is neither, or cannot be read.
    """
    path = os.path.abspath(os.path.expanduser(text))
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise OriginError(f"{text}: there is no such bundle", mend="see whether its disk is mounted") from None
    except OSError as error:
        raise AccessError(f"{text}: {error.strerror}", mend="see who may read there") from None
    if stat.S_ISDIR(mode):
        return FolderPlace(path)
    if stat.S_ISREG(mode) and os.path.basename(path) == "index.json":
        return FolderPlace(os.path.dirname(path))
    if stat.S_ISREG(mode):
        return TarPlace(path)
    raise UsageError(f"{text}: neither a folder nor a tar", mend="name a bundle, as `assetmgr bundle create` made it")


class FolderPlace:
    def __init__(self, folder: str) -> None:
        self.name = folder

    def look(self) -> Seen:
        files: dict[str, int] = {}
        faults: list[str] = []
        try:
            self._look("", files, faults)
        except OSError as error:
            raise AccessError(f"{error.filename}: {error.strerror}", mend="see who may read there") from None
        return Seen(files, tuple(faults))

    def _look(self, inside: str, files: dict[str, int], faults: list[str]) -> None:
        with os.scandir(os.path.join(self.name, inside)) as found:
            for each in found:
                path = f"{inside}{each.name}"
                if path in SYSTEM:
                    continue
                if each.is_symlink():
                    faults.append(f"{path!r} is a link")
                elif each.is_dir(follow_symlinks=False):
                    if path in FOLDERS:
                        self._look(f"{path}/", files, faults)
                    elif path == UNFINISHED:
                        faults.append("a `bundle create` into it has not ended yet, or was interrupted: repeat it")
                    else:
                        faults.append(f"{path!r} is a folder that no bundle has")
                elif each.is_file(follow_symlinks=False):
                    files[path] = each.stat(follow_symlinks=False).st_size
                else:
                    faults.append(f"{path!r} is a device, a pipe or a socket")

    def _open(self, path: str) -> int:
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        return os.open(os.path.join(self.name, *path.split("/")), flags | getattr(os, "O_CLOEXEC", 0))

    def read(self, path: str, most: int) -> bytes | None:
        try:
            with open(self._open(path), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    return None
                data = file.read(most + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(self.name, path, error) from None
        return data if len(data) <= most else None

    def sha256(self, path: str, done: Done) -> str:
        digest = hashlib.sha256()
        buffer = bytearray(CHUNK)
        view = memoryview(buffer)
        try:
            with open(self._open(path), "rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    digest.update(view[:count])
                    done(count)
        except OSError as error:
            raise _unreadable(self.name, path, error) from None
        return digest.hexdigest()

    def check(self) -> tuple[str, ...]:
        return ()


class TarPlace:
    """A tar that is not compressed. Its headers are read once, and its members where they lie."""

    def __init__(self, path: str) -> None:
        self.name = path
        self._members: Positions | None = None

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Source]:
        try:
            with opened(self.name, self.name) as source:
                yield source
        except OSError as error:
            raise _unreadable(self.name, "", error) from None

    def members(self) -> Positions:
        """Where each member lies."""
        if self._members is None:
            with self._opened() as source:
                self._members = tar_positions(source)
        return self._members

    def look(self) -> Seen:
        return Seen({path: size for path, (_, size) in self.members().items()})

    def read(self, path: str, most: int) -> bytes | None:
        start, size = self.members().get(path, (0, most + 1))
        if size > most:
            return None
        with self._opened() as source:
            return source.read_at(start, size)

    def sha256(self, path: str, done: Done) -> str:
        start, size = self.members()[path]
        digest = hashlib.sha256()
        with self._opened() as source:
            stream = Stream(source, start, start + size)
            while data := stream.read(CHUNK):
                digest.update(data)
                done(len(data))
        return digest.hexdigest()

    def check(self) -> tuple[str, ...]:
        """What readers of tars pass over: bytes between two members, and loosely written checksums."""
        faults = []
        with self._opened() as source:
            end = max((start + size + -size % BLOCK for start, size in self.members().values()), default=0)
            if source.size % BLOCK or source.size < end + 2 * BLOCK:
                faults.append("it is cut off behind its last file")
            for path, (start, size) in self.members().items():
                if source.read_at(start + size, -size % BLOCK).strip(b"\0"):
                    faults.append(f"there is something behind {path!r}")
                if not _CHECKSUM.fullmatch(source.read_at(start - BLOCK + 148, 8)):
                    faults.append(f"the header of {path!r} is damaged")
        return tuple(faults)


def _unreadable(name: str, path: str, error: OSError) -> AssetError:
    where = f"{name}: {path}" if path else name
    if isinstance(error, PermissionError):
        return AccessError(f"{where}: {error.strerror}", mend="see who may read there")
    return IntegrityError(f"{where}: {error.strerror or error}", mend="get the bundle anew: its disk may be failing")
