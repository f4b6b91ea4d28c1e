"""Locking between processes: who fetches what, and what a second one is told while it waits."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from assetmgr.errors import AssetError, BusyError
from assetmgr.placing import make_folder, write_document


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
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        started = time.monotonic()
        say(f"waiting for {_holder(path)}")
        try:
            lock.acquire(timeout=max(wait, 0), poll_interval=0.1)
        except filelock.Timeout:
            raise BusyError(
                f"{purpose}: {_holder(path)} still holds it after {time.monotonic() - started:.0f} s",
                mend="wait for it, end it, or give a longer --wait",
            ) from None
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


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".holder")


def _self(purpose: str) -> dict[str, object]:
    import socket

    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200],
        "purpose": purpose,
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _holder(path: Path) -> str:
    """Who holds a lock, as its note says. The note comes a moment after the lock; the lock is what counts."""
    for _ in range(20):
        try:
            note = json.loads(_note(path).read_bytes())
            since = f"{note['purpose']} since {note['since']}"
            return f"process {note['pid']} on {note['host']} ({note['command']}), {since}"
        except (OSError, ValueError, KeyError, TypeError):
            time.sleep(0.025)
    return "another process"
