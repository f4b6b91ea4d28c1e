"""A folder that files are extracted into, and what lies below it, reached without following any link.

Where the system can (not Windows), a folder is opened from its parent's descriptor, part by part, refusing links. What
was checked is then what is used, even if somebody swaps a folder for a link in the meantime.
"""

from __future__ import annotations

import contextlib
import os
import stat
from functools import lru_cache

from assetmgr.errors import IntegrityError
from assetmgr.placing import make_folder

_BY_DESCRIPTOR = {os.open, os.stat, os.rename, os.unlink} <= os.supports_dir_fd and hasattr(os, "O_DIRECTORY")
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_OPEN_FOLDERS = 128


class Folder:
    """One open folder. It is closed when nobody holds it any more."""

    def __init__(self, path: str, descriptor: int | None) -> None:
        self.path, self.descriptor = path, descriptor

    def entry(self, name: str) -> str:
        """How to call an entry in a function that is given ``dir_fd=folder.descriptor``."""
        return name if self.descriptor is not None else os.path.join(self.path, name)

    def __del__(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)


def _ended(path: str) -> Folder:
    raise RuntimeError(f"{path}: the extraction is over")


class Tree:
    """A folder and all below it. Paths are relative, with forward slashes, and were checked by `names.check_path`."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.path.abspath(os.fspath(root))
        make_folder(self.root)
        # The root itself is ours to choose, and may be a link; nothing below it may.
        flags = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
        self._top = Folder(self.root, os.open(self.root, flags) if _BY_DESCRIPTOR else None)
        self._existing = lru_cache(_OPEN_FOLDERS)(self._open)

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of every folder. One that a thread is still using is closed when the thread is done with it."""
        self._existing.cache_clear()
        self._existing = lru_cache(0)(_ended)
        self._top = Folder(self.root, None)

    def folder(self, path: str, *, make: bool = False) -> Folder:
        """Open a folder.

        Raises
        ------
        FileNotFoundError
            When it is not there and was not to be made.
        IntegrityError
            When it, or a folder on the way to it, is a link or a file.
        """
        if not path:
            return self._top
        try:
            return self._existing(path)
        except FileNotFoundError:
            if not make:
                raise
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            on_the_way = "/".join(parts[:depth])
            try:
                self._existing(on_the_way)
            except FileNotFoundError:
                make_folder(self.at(on_the_way))
        return self._existing(path)

    def at(self, path: str) -> str:
        """The absolute path, for messages and for what needs no care."""
        return os.path.join(self.root, *path.split("/")) if path else self.root

    def _open(self, path: str) -> Folder:
        """Open a folder that is there, part by part from the root. (Not from its parent: names can be 500 deep.)"""
        folder = self._top
        for part in path.split("/"):
            entry = folder.entry(part)
            found = os.stat(entry, dir_fd=folder.descriptor, follow_symlinks=False)
            below = os.path.join(folder.path, part)
            if not stat.S_ISDIR(found.st_mode):
                kind = "a link" if stat.S_ISLNK(found.st_mode) else "a file"
                raise IntegrityError(
                    f"{below}: {kind} stands where a folder of the archive belongs; nothing is written through it",
                    mend="move it away and repeat the command; to keep files elsewhere, let the whole store lie there",
                )
            flags = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _NO_LINKS
            opened = os.open(entry, flags, dir_fd=folder.descriptor) if _BY_DESCRIPTOR else None
            folder = Folder(below, opened)
        return folder

    def status(self, path: str) -> os.stat_result | None:
        """What stands at a path, not what it may link to; None for nothing."""
        folder, _, name = path.rpartition("/")
        try:
            parent = self.folder(folder)
            return os.stat(parent.entry(name), dir_fd=parent.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def open_file(self, path: str) -> int:
        """Open a file for reading, not through a link."""
        folder, _, name = path.rpartition("/")
        parent = self.folder(folder)
        return os.open(parent.entry(name), os.O_RDONLY | _NO_LINKS, dir_fd=parent.descriptor)

    def create(self, folder: Folder, name: str) -> int:
        """Create a file for writing that was not there before."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINKS
        return os.open(folder.entry(name), flags, 0o600, dir_fd=folder.descriptor)

    def move(self, folder: Folder, name: str, path: str) -> None:
        """Move a file to a path, over a file or link that may stand there.

        Raises
        ------
        IntegrityError
            When a folder stands there.
        """
        target_folder, _, target = path.rpartition("/")
        to = self.folder(target_folder, make=True)
        if os.name == "nt" and (found := self.status(path)) and stat.S_ISREG(found.st_mode):
            os.chmod(to.entry(target), stat.S_IWRITE)  # Windows does not replace a read-only file
        try:
            os.replace(folder.entry(name), to.entry(target), src_dir_fd=folder.descriptor, dst_dir_fd=to.descriptor)
        except (IsADirectoryError, PermissionError):
            found = self.status(path)
            if found is None or not stat.S_ISDIR(found.st_mode):
                raise
            raise IntegrityError(
                f"{self.at(path)}: a folder stands where a file of the archive belongs",
                mend="move it away and repeat the command",
            ) from None

    def empty(self, path: str) -> None:
        """Remove the files of a folder of ours, and the folder; one that is not there is fine."""
        try:
            folder = self.folder(path)
        except FileNotFoundError:
            return
        for name in os.listdir(folder.path if folder.descriptor is None else folder.descriptor):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(folder.entry(name), dir_fd=folder.descriptor)
        self._existing.cache_clear()
        with contextlib.suppress(OSError):
            os.rmdir(self.at(path))
