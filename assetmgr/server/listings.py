"""A hub commit's whole tree, as the hub's API shows it: out of the kept listing, whatever part of it is held."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from assetmgr.lock import LockedFile
from assetmgr.server.catalog import Commit
from assetmgr.store import Store


@dataclass(frozen=True, slots=True)
class Row:
    """One file of a commit. ``sha256`` is that of LFS, and None of what lies in git itself."""

    path: str
    size: int
    oid: str
    sha256: str | None

    @property
    def lfs(self) -> dict[str, Any]:
        return {"oid": self.sha256, "size": self.size, "pointerSize": len(_pointer(self.sha256 or "", self.size))}

    def listed(self) -> dict[str, Any]:
        """As ``/tree`` shows it."""
        shown = {"type": "file", "oid": self.oid, "size": self.size, "path": self.path}
        return {**shown, "lfs": self.lfs} if self.sha256 else shown

    def sibling(self, *, blobs: bool) -> dict[str, Any]:
        """As a repo's ``siblings`` show it."""
        if not blobs:
            return {"rfilename": self.path}
        shown = {"rfilename": self.path, "size": self.size, "blobId": self.oid}
        if self.sha256:
            shown["lfs"] = {**self.lfs, "sha256": self.sha256}
        return shown


class Tree:
    """The files of a commit by path, and its folders."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.files = {row.path: row for row in sorted(rows, key=lambda row: row.path)}
        folders: dict[str, Any] = {}
        for path, row in self.files.items():
            folder = path.rpartition("/")[0]
            while folder:
                folders.setdefault(folder, hashlib.sha1(usedforsecurity=False)).update(f"{path}\0{row.oid}\n".encode())
                folder = folder.rpartition("/")[0]
        self.folders: Mapping[str, str] = {path: folders[path].hexdigest() for path in sorted(folders)}
        self._shown: tuple[tuple[str, bool], list[dict[str, Any]]] = ("", False), []

    def below(self, folder: str, *, recursive: bool) -> list[dict[str, Any]] | None:
        """What ``/tree`` shows of a folder, folders first; None where there is no such folder.

        The last that was shown is kept, for who asks page by page.
        """
        if folder and folder not in self.folders:
            return None
        asked, rows = self._shown
        if rows and asked == (folder, recursive):
            return rows

        def shown(path: str) -> bool:
            return path.startswith(f"{folder}/" * bool(folder)) if recursive else path.rpartition("/")[0] == folder

        rows = [self.folder(path) for path in self.folders if path != folder and shown(path)]
        rows += [row.listed() for path, row in self.files.items() if shown(path)]
        self._shown = (folder, recursive), rows
        return rows

    def folder(self, path: str) -> dict[str, Any]:
        """The row of a folder."""
        return {"type": "directory", "oid": self.folders[path], "size": 0, "path": path}


def tree_of(store: Store, commit: Commit) -> Tree | None:
    """The whole tree of a commit; None where it cannot be known: a part is held, and the listing is not here."""
    for shelf in commit.shelves:
        listing = shelf.entry.listing
        if listing is not None:
            try:
                return _kept(store, listing)
            except FileNotFoundError:
                continue
    if not commit.is_whole:
        return None
    return Tree(_row(shelf.files[at]) for shelf, at in commit.files.values())


@lru_cache(maxsize=32)
def _kept(store: Store, listing: str) -> Tree:
    """The tree of a listing: a document never changes under its digest."""
    data = store.read_listing(listing)
    if data is None:
        raise FileNotFoundError(listing)
    rows = json.loads(data)
    return Tree(Row(row["path"], row["size"], row["git_sha1"], row.get("sha256")) for row in rows)


def _row(file: LockedFile) -> Row:
    if file.git_sha1 is not None:
        return Row(file.path, file.size, file.git_sha1, None)
    pointer = _pointer(file.sha256 or "", file.size)
    header = f"blob {len(pointer)}\0".encode()
    return Row(file.path, file.size, hashlib.sha1(header + pointer, usedforsecurity=False).hexdigest(), file.sha256)


def _pointer(sha256: str, size: int) -> bytes:
    """What git holds in place of an LFS file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
