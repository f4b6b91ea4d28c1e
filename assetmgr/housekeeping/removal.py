"""What a command removes, or would: told file by file, with the bytes that it frees."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field

import msgspec

from assetmgr.errors import AssetError
from assetmgr.owners import is_refusal, refused
from assetmgr.placing import remove_file
from assetmgr.store import Store


class Gone(msgspec.Struct, frozen=True):
    """One file that went, or would go: its path below the store's root, or a whole one; the bytes that this frees."""

    path: str
    bytes: int
    why: str


class Left(msgspec.Struct, frozen=True):
    """What stays, and why: a file, or an asset."""

    path: str
    why: str


@dataclass(slots=True)
class Removal:
    """What a command removes, or would, as it goes along."""

    dry_run: bool = False
    gone: list[Gone] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    errors: list[AssetError] = field(default_factory=list)
    # How many names of a file are there still, by what the system knows it by: the last one frees its bytes.
    _names: dict[tuple[int, int], int] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    # The receipts that a dry run takes for gone.
    foretold: set[str] = field(default_factory=set)

    @property
    def freed(self) -> int:
        return sum(gone.bytes for gone in self.gone)

    def take(self, store: Store, path: str, why: str) -> None:
        """Remove one file or link; one that is gone by itself is not told."""
        try:
            status = os.lstat(path)
            if not self.dry_run:
                remove_file(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        self.note(store, path, status, why)

    def note(self, store: Store, path: str, status: os.stat_result, why: str) -> None:
        """Tell of one file or link that is removed."""
        if self.dry_run and path in self._told:
            return
        self._told.add(path)
        freed = 0
        if stat.S_ISREG(status.st_mode):
            key = status.st_dev, status.st_ino
            self._names[key] = self._names.get(key, status.st_nlink) - 1
            freed = 0 if self._names[key] else status.st_size
        self.gone.append(Gone(_told(store, path), freed, why))

    def leave(self, store: Store, path: str, why: str) -> None:
        self.left.append(Left(_told(store, path), why))


def _told(store: Store, path: str) -> str:
    inside = path.startswith(store.root.rstrip(os.sep) + os.sep)
    return os.path.relpath(path, store.root).replace(os.sep, "/") if inside else path


def system_error(name: str, error: OSError) -> AssetError:
    """What the system refused, of an asset that is to go."""
    if is_refusal(error):
        return refused(error, f"{name}: ")
    return AssetError(
        f"{name}: {error.filename or 'the store'}: {error.strerror}", mend="assetmgr gc goes on from there"
    )
