"""What an archive may hold: files and folders, by names that are safe, distinct and within the limits.

Invariants of every `Member` that leaves this package:

- its path passed `names.path_fault`; no other member has it, or has it in another case or Unicode form; no member is
  a file where another needs a folder;
- it is a regular file. A link, device, fifo or sparse file ends the reading of the archive;
- its reader never gives more bytes than its size, and raises where the archive has fewer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, Protocol

from assetmgr.archives.limits import ArchiveLimits
from assetmgr.errors import IntegrityError, UnsafeNameError
from assetmgr.names import fold, path_fault

# An extraction keeps what is not whole yet in a folder of this kind of name, and whatever has one may be removed.
STAGE_PREFIX = ".extracting-"
MEND = "nothing of this member was kept; get the archive from a source that you trust, or report it to its publisher"


class Reader(Protocol):
    """A member's bytes, front to back."""

    def read(self, size: int, /) -> bytes:
        """At least one byte and at most ``size``; nothing only at the end, once the member proved whole."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive.

    Attributes
    ----------
    path
        Its name, with forward slashes, checked.
    size
        In bytes; None where the format does not say beforehand (a bare compressed file).
    open
        Gives a `Reader`. A zip's member can be opened by any thread while the archive is open; a tar's only until the
        next one is drawn.
    """

    path: str
    size: int | None
    open: Callable[[], Reader]


def refuse(archive: str, what: str, member: str | None = None) -> NoReturn:
    """Raise `IntegrityError` with the names of the archive and the member."""
    raise IntegrityError(f"{archive}: {member!r} {what}" if member is not None else f"{archive}: {what}", mend=MEND)


def member_fault(path: str) -> str | None:
    """Why no member may have this name; None for a fine one."""
    if any(fold(part).startswith(STAGE_PREFIX) for part in path.split("/")):
        return f"names that begin with {STAGE_PREFIX} are assetmgr's own, for what it is unpacking"
    return path_fault(path)


class Census:
    """Sees every entry of an archive once, in order, and refuses what must not be extracted."""

    def __init__(self, archive: str, limits: ArchiveLimits) -> None:
        self._archive, self._limits = archive, limits
        self._entries = 0
        self._bytes = 0
        self._names = Names(archive)

    def file(self, path: str, size: int | None) -> str:
        """Admit a file; return its path without a leading ``./``."""
        self._count(path)
        path = self._names.file(path.removeprefix("./"))
        if size is not None:
            if size > self._limits.member_bytes:
                refuse(self._archive, f"has {size} bytes, more than the limit of {self._limits.member_bytes}", path)
            self._bytes += size
            if self._bytes > self._limits.total_bytes:
                refuse(self._archive, f"unpacks to more than the limit of {self._limits.total_bytes} bytes")
        return path

    def folder(self, path: str) -> None:
        """Admit a folder. It is made only when a file lies in it."""
        self._count(path)
        path = path.removeprefix("./").removesuffix("/")
        if path not in ("", "."):
            self._names.folder(path)

    def _count(self, path: str) -> None:
        self._entries += 1
        if self._entries > self._limits.entries:
            refuse(self._archive, f"has more than {self._limits.entries} entries, the limit")


class Names:
    """The names seen so far. Unlike `names.check_distinct` it is asked name by name, before the next is read."""

    def __init__(self, archive: str) -> None:
        self._archive = archive
        self._files: dict[str, str] = {}
        self._folders: dict[str, str] = {}

    def file(self, path: str) -> str:
        self._check(path)
        key = fold(path)
        if key in self._files:
            first = self._files[key]
            if first == path:
                self._refuse(f"{path!r} is there twice")
            self._refuse(f"{first!r} and {path!r} are one file where case or Unicode form is not told apart")
        if key in self._folders:
            self._refuse(f"{path!r} is a file and also the folder of {self._folders[key]!r}")
        self._need_folder(key.rpartition("/")[0], path)
        self._files[key] = path
        return path

    def folder(self, path: str) -> None:
        self._check(path)
        self._need_folder(fold(path), path)

    def _check(self, path: str) -> None:
        if fault := member_fault(path):
            self._refuse(f"unsafe name {path!r}: {fault}")

    def _need_folder(self, key: str, path: str) -> None:
        while key and key not in self._folders:
            if key in self._files:
                self._refuse(f"{self._files[key]!r} is a file and also the folder of {path!r}")
            self._folders[key] = path
            key = key.rpartition("/")[0]

    def _refuse(self, what: str) -> NoReturn:
        raise UnsafeNameError(f"{self._archive}: {what}", mend=MEND)


def selected(path: str, strip: int, prefix: str | None) -> str | None:
    """Where a member goes: its path when it lies under ``prefix``, less its first ``strip`` parts; else None."""
    if prefix is not None and not path.startswith(prefix.rstrip("/") + "/"):
        return None
    if strip == 0:
        return path
    parts = path.split("/", strip)
    return parts[strip] if len(parts) > strip else None
