"""How bytes come to stand at a name: atomically, with the folder's own permissions, linked where that is possible.

Nothing is ever written through a final name. A document or file is finished under a temporary name in the same file
system, synced, and renamed; a link planted at the final name is replaced, never followed.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Literal

from assetmgr.errors import DiskSpaceError
from assetmgr.owners import give

LinkStyle = Literal["symlink", "hardlink", "copy"]

# What os.link and os.symlink answer where a file system or a platform has no such thing, or not between these two.
# 1314 is Windows' ERROR_PRIVILEGE_NOT_HELD: symbolic links need a right that most users lack.
_REFUSALS = {
    errno.EPERM,
    errno.EACCES,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EXDEV,
    errno.EMLINK,
    errno.ENOSYS,
}


def make_folder(folder: str | os.PathLike[str]) -> None:
    """Make a folder and its missing parents. Below a setgid folder each is as open to the group as its parent."""
    if os.path.isdir(folder):
        return
    path = Path(folder)
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for new in reversed(missing):
        try:
            os.mkdir(new)
        except FileExistsError:
            continue
        _give_folder(new)
        parent = stat.S_IMODE(os.stat(new.parent).st_mode)
        if parent & stat.S_ISGID:
            # The umask must not shut the group out of a store that its owner opened to it. A parent that is not ours
            # to imitate leaves the umask's choice.
            with contextlib.suppress(PermissionError):
                os.chmod(new, parent & 0o2777)


def _give_folder(folder: Path) -> None:
    if os.name == "nt" or os.geteuid() != 0:
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        give(descriptor, folder.parent)
    finally:
        os.close(descriptor)


def _readers(folder: str | int) -> int:
    """The read bits that a folder's own mode gives: no file is less readable than its folder."""
    return stat.S_IMODE(os.stat(folder).st_mode) & 0o444


def file_mode(folder: str | int) -> int:
    """The mode of a placed file, by its folder's path or descriptor: read-only, and as readable as its folder."""
    return _readers(folder) | 0o400


def write_document(
    path: str | os.PathLike[str], data: bytes, *, sync: bool = True, like: os.stat_result | None = None
) -> None:
    """Write a small document atomically: readers see the old one or the new one, whole.

    Without ``sync`` it need not outlive a loss of power. With ``like`` it has that file's mode and, as far as that is
    allowed, its owner, else what its folder gives.

    Raises
    ------
    DiskSpaceError
        When the file system is full; the old document stands.
    """
    import tempfile

    path = os.fspath(path)
    folder = os.path.dirname(path) or "."
    make_folder(folder)
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=_writing(path))
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            mode = stat.S_IMODE(os.stat(folder).st_mode)
            if like is not None and hasattr(os, "chown"):
                with contextlib.suppress(PermissionError):
                    os.chown(temporary, like.st_uid, like.st_gid)
            elif like is None:
                give(file.fileno(), folder)
            given = _readers(folder) | 0o600 | (mode & 0o020)
            os.chmod(temporary, given if like is None else stat.S_IMODE(like.st_mode))
            if sync:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskSpaceError(f"{path}: {error.strerror}", mend="free some space and repeat the command") from None
        raise


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Make durable all that was written to a folder's file system: for many small files far quicker than one by one."""
    if sys.platform == "linux":
        import ctypes

        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), os.fspath(folder))
        finally:
            os.close(descriptor)
    elif hasattr(os, "sync"):
        os.sync()


def place(staged: str, final: str, *, sync: bool = True) -> os.stat_result:
    """Move a whole and proved file to its final name; return its status there.

    The file becomes read-only: what is shared by links must not be edited through one of them by accident. Without
    ``sync`` the caller makes many of them durable at once, by `sync_folder`, before anything says that they are there.
    """
    folder = os.path.dirname(final)
    try:
        mode = file_mode(folder)
    except FileNotFoundError:
        make_folder(folder)
        mode = file_mode(folder)
    descriptor = os.open(staged, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    try:
        if os.name != "nt":  # Windows can neither sync a descriptor open for reading nor rename an open file
            give(descriptor, folder)
            os.fchmod(descriptor, mode)
            if sync:
                os.fsync(descriptor)
        if os.name == "nt" and os.path.exists(final):
            os.chmod(final, stat.S_IWRITE)  # Windows does not replace a read-only file
        movable = True
    except PermissionError:
        movable = False  # another user of a shared store staged it: it is theirs
    finally:
        os.close(descriptor)
    try:
        if movable:
            os.replace(staged, final)
            return os.stat(final)
    except OSError as error:
        _refuse_folder(final)
        if error.errno != errno.EXDEV:
            raise  # else a layout's folder really lies on another disk
    link(staged, final, "copy")
    os.chmod(final, mode)
    os.unlink(staged)
    return os.stat(final)


# linux/fs.h: _IOW(0x94, 9, int).
_FICLONE = 0x40049409


def clone(source: str, name: str) -> bool:
    """Make a new file that shares another one's blocks until either is written (a reflink), where that can be."""
    if sys.platform != "linux":
        return False
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if (os.fstat(descriptor).st_dev, os.stat(os.path.dirname(name)).st_dev) in _UNCLONED:
            return False
        with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as made:
            is_clone = clone_into(descriptor, made.fileno())
        if not is_clone:
            remove_file(name)
        return is_clone
    except OSError as error:
        if error.errno != errno.EEXIST:
            remove_file(name)
        return False
    finally:
        os.close(descriptor)


def clone_into(source: int, empty: int) -> bool:
    """Let an empty file, open for writing, share the blocks of one open for reading; where that cannot be, False.

    Between two file systems that have refused once, it is not tried again.
    """
    if sys.platform != "linux":
        return False
    import fcntl

    pair = os.fstat(source).st_dev, os.fstat(empty).st_dev
    if pair in _UNCLONED:
        return False
    try:
        fcntl.ioctl(empty, _FICLONE, source)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            _UNCLONED.add(pair)
        return False
    return True


_UNCLONED: set[tuple[int, int]] = set()


def remove_file(path: str) -> None:
    """Remove a file or link that may be read-only. One that is gone already is fine."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except PermissionError:
        if os.name != "nt":
            raise
        os.chmod(path, stat.S_IWRITE)
        os.unlink(path)


def link(target: str, name: str, style: LinkStyle, *, relative: bool = False) -> LinkStyle:
    """Make ``name`` show the file ``target``, atomically; return the style that the platform allowed.

    A refused symlink becomes a hard link, a refused hard link a copy. ``relative`` makes a symlink relative to its own
    folder, so that a tree can be moved as a whole.
    """
    folder = os.path.dirname(name)
    temporary = os.path.join(folder, f".linking-{os.urandom(8).hex()}")
    way, base = os.path.split(target)
    shown = os.path.join(_relative(way, folder), base) if relative else target
    styles: tuple[LinkStyle, ...] = ("symlink", "hardlink", "copy")
    for attempt in styles[styles.index(style) :]:
        try:
            if attempt != "copy":
                try:
                    _make_link(attempt, target, shown, name)
                    return attempt
                except FileNotFoundError:
                    make_folder(folder)
                except FileExistsError:
                    pass
                _make_link(attempt, target, shown, temporary)
            else:
                make_folder(folder)
                _copy(target, temporary)
                os.chmod(temporary, _readers(folder) | 0o600)
            os.replace(temporary, name)
            # Renaming one hard link over another of the same file does nothing and leaves both.
            remove_file(temporary)
            return attempt
        except OSError as error:
            remove_file(temporary)
            _refuse_folder(name)
            if attempt == "copy" or not _is_refusal(error):
                raise
        except BaseException:
            remove_file(temporary)
            raise
    raise AssertionError("a copy either succeeds or raises")


def _refuse_folder(name: str) -> None:
    """Say of a rename that failed since a folder stands at the final name, that it is this name and not the other."""
    if os.path.isdir(name) and not os.path.islink(name):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)


@functools.lru_cache(maxsize=256)
def _relative(folder: str, start: str) -> str:
    return os.path.relpath(folder, start)


def _make_link(style: Literal["symlink", "hardlink"], target: str, shown: str, name: str) -> None:
    if style == "symlink":
        os.symlink(shown, name)
    else:
        os.link(os.path.realpath(target), name)


def _is_refusal(error: OSError) -> bool:
    return (
        error.errno in _REFUSALS
        or getattr(error, "winerror", None) in (1, 1314)
        or isinstance(error, NotImplementedError)
    )


def _copy(source: str, name: str) -> None:
    try:
        shutil.copyfile(source, name)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskSpaceError(f"{name}: {error.strerror}", mend="free some space and repeat the command") from None
        raise
    descriptor = os.open(name, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        give(descriptor, os.path.dirname(name))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _writing(path: str) -> str:
    """How the names begin under which a document is written before it stands at its own."""
    return f".writing-{os.path.basename(path)[:100]}-"


def is_unwritten(name: str, path: str | os.PathLike[str]) -> bool:
    """Whether a name is what a `write_document` of ``path`` that runs, or was killed, writes under."""
    return name.startswith(_writing(os.fspath(path)))


def sweep_unwritten(path: str | os.PathLike[str]) -> None:
    """Remove what a killed `write_document` left beside a document. Only for who holds the document's lock."""
    folder = os.path.dirname(path) or "."
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if is_unwritten(name, path):
                remove_file(os.path.join(folder, name))


def sweep_temporary(folder: str) -> None:
    """Remove what a killed `link` left in a folder. Only for who holds the folder's lock."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(".linking-") and len(name) == len(".linking-") + 16:
                remove_file(os.path.join(folder, name))


def remove_empty_folders(folder: str, stop: str) -> None:
    """Remove a folder and its parents as long as they are empty, up to but not including ``stop``."""
    folder, stop = os.path.abspath(folder), os.path.abspath(stop)
    while folder != stop and folder.startswith(stop + os.sep):
        try:
            os.rmdir(folder)
        except OSError:
            return
        folder = os.path.dirname(folder)
