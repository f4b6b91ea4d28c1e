"""Locking between processes: who fetches what, and what a second one is told while it waits."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from assetmgr.errors import AssetError, BusyError
from assetmgr.owners import give, user_name
from assetmgr.placing import make_folder, write_document

if TYPE_CHECKING:
    from filelock import BaseFileLock


@contextlib.contextmanager
def held(
    path: Path, purpose: str, *, wait: float = 3600.0, say: Callable[[str], object] = lambda text: None
) -> Iterator[None]:
    """Hold a lock file while the block runs.

    The system lets go of it when the process ends, however it ends. The file itself stays: a lock file that is
    removed while somebody waits for it guards nothing. Who holds it is told in a document beside it.

    Raises
    ------
    BusyError
        When another process still holds it after ``wait`` seconds.
    """
    import filelock

    make_folder(path.parent)
    # Whoever may write in the folder may hold its locks.
    mode = 0o666 & (path.parent.stat().st_mode & 0o777) | 0o600
    lock = filelock.FileLock(path, mode=mode)
    if not _takes(lock, path, mode):
        _wait(lock, path, mode, purpose, wait, say)
    try:
        with contextlib.suppress(OSError):
            os.chmod(path, mode)
        with contextlib.suppress(OSError, AssetError):  # the lock is what counts; the note is a courtesy
            write_document(_note(path), json.dumps(_self(purpose)).encode(), sync=False)
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(_note(path))
        lock.release()


def check_free(path: Path, purpose: str) -> None:
    """Raise `BusyError` when another process holds a lock file. Nothing is written."""
    if os.name == "nt":
        return
    import fcntl

    try:
        descriptor = os.open(path, _OPEN & ~os.O_RDWR)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BusyError(f"{purpose}: {_holder(path)} holds it", mend="wait for it, or end it") from None
    except OSError:
        return  # no locks there: who wants to write is told
    finally:
        os.close(descriptor)


def _wait(lock: BaseFileLock, path: Path, mode: int, purpose: str, wait: float, say: Callable[[str], object]) -> None:
    """Wait for a lock that another process holds, and tell for whom, each time that this changes."""
    started = told_at = time.monotonic()
    told = _holder(path)
    say(f"waiting for {told}")
    while not _takes(lock, path, mode):
        now = time.monotonic()
        if now - started >= wait:
            raise BusyError(
                f"{purpose}: {_holder(path)} still holds it after {now - started:.0f} s",
                mend="wait for it, end it, or give a longer --wait",
            )
        if now - told_at >= 1 and (note := _read_note(path)) not in (None, told):
            told, told_at = note or told, now
            say(f"waiting for {told}")
        time.sleep(min(0.1, max(started + wait - now, 0.001)))


def _takes(lock: BaseFileLock, path: Path, mode: int) -> bool:
    """Take a lock now; False where another process holds it."""
    import filelock

    if os.name != "nt" and not _is_ready(path, mode):
        return False
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return False
    return True


_OPEN = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)


def _is_ready(path: Path, mode: int) -> bool:
    """See that the lock file is there and can be opened, and that its file system has locks at all.

    A store that one user had alone and then opened to a group has lock files that only that user may write. Such a file
    gives way to a new one while nobody holds it; False where somebody does.

    Raises
    ------
    AssetError
        When the file system has no locks. (filelock would make do with files that outlive a killed process.)
    """
    try:
        descriptor = os.open(path, _OPEN | os.O_CREAT, mode)
    except PermissionError:
        if not path.exists() or not os.access(path.parent, os.W_OK | os.X_OK):
            raise
        return _is_replaced(path, mode)
    try:
        give(descriptor, path.parent)
        _lock(descriptor, path, free=True)  # which changes nothing for whoever holds it
    finally:
        os.close(descriptor)
    return True


def _is_replaced(path: Path, mode: int) -> bool:
    descriptor = os.open(path, _OPEN & ~os.O_RDWR)
    try:
        if not _lock(descriptor, path):
            return False
        new = path.with_name(f"{path.name}.{os.urandom(4).hex()}")
        made = os.open(new, _OPEN | os.O_CREAT | os.O_EXCL, mode)
        try:
            os.fchmod(made, mode)
            os.replace(new, path)
        except OSError:
            os.unlink(new)
            raise
        finally:
            os.close(made)
    finally:
        os.close(descriptor)
    return True


def _lock(descriptor: int, path: Path, *, free: bool = False) -> bool:
    """Lock an open file for this moment, or free it; False where another process has it."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN if free else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise
        raise AssetError(
            f"{path.parent}: its file system has no locks ({error.strerror}): two processes cannot keep out of each "
            "other's way there, and what is installed can only be used",
            mend="mount it with locks (Lustre: -o flock; NFS: with its lock service), or name another store: --root",
        ) from None
    return True


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".holder")


def _self(purpose: str) -> dict[str, object]:
    import socket

    return {
        "pid": os.getpid(),
        "user": user_name(),
        "host": socket.gethostname(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200],
        "purpose": purpose,
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _holder(path: Path) -> str:
    """Who holds a lock, as its note says. The note comes a moment after the lock; the lock is what counts."""
    for _ in range(20):
        if told := _read_note(path):
            return told
        time.sleep(0.025)
    return "another process"


def _read_note(path: Path) -> str | None:
    try:
        note = json.loads(_note(path).read_bytes())
        user = f"user {note['user']}: " if "user" in note else ""
        since = f"{note['purpose']} since {note['since']}"
        return f"process {note['pid']} on {note['host']} ({user}{note['command']}), {since}"
    except (OSError, ValueError, KeyError, TypeError):
        return None
