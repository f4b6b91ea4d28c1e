"""Who uses what is installed, and when it was last used: a lock file a receipt, which all who use it share.

Its time is that of the last use; who has something open holds it shared, and who removes something holds it alone. A
user who may only read the store holds it as well as any other; the time is then not kept, which nothing depends on.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

from assetmgr.errors import BusyError, NotInstalledError
from assetmgr.owners import give
from assetmgr.placing import make_folder, remove_file
from assetmgr.receipt import Receipt, receipt_name
from assetmgr.store import Store

_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


def use_path(store: Store, receipt: Receipt, digest: str | None = None) -> str:
    """The lock file of a receipt's users. Who knows the entry's digest saves the time that it takes."""
    name = receipt_name(receipt.entry.name, digest or receipt.entry.digest()).removesuffix(".json")
    return os.path.join(store.state, "uses", f"{name}.use")


def _is_there(store: Store, use: str) -> bool:
    """Whether the receipt of a lock file is there."""
    return os.path.exists(os.path.join(store.state, "receipts", os.path.basename(use).removesuffix(".use") + ".json"))


class Use:
    """Receipts in use, until it is closed, or nobody has it any more."""

    def __init__(self, descriptors: Iterable[int]) -> None:
        self._descriptors = tuple(descriptors)

    def close(self) -> None:
        descriptors, self._descriptors = self._descriptors, ()
        for descriptor in descriptors:
            os.close(descriptor)

    def keep_for(self, *objects: object) -> None:
        """Go on for as long as one of some objects is there."""
        for each in objects:
            weakref.finalize(each, _nothing, self)

    def hand_on(self) -> None:
        """Go on in the program that this process becomes."""
        for descriptor in self._descriptors:
            os.set_inheritable(descriptor, True)

    __del__ = close


def _nothing(_: object) -> None:
    return None


def use(store: Store, receipts: Iterable[Receipt], *, is_noted: bool = True) -> Use:
    """Take receipts into use: nobody removes what they name meanwhile.

    It counts as their last use so far, unless it is not noted: what is carried elsewhere is not used here.

    Raises
    ------
    NotInstalledError
        When one has been removed just now.
    """
    held: list[int] = []
    try:
        for receipt in receipts:
            if (descriptor := _share(path := use_path(store, receipt), is_noted=is_noted)) is not None:
                held.append(descriptor)
                if not _is_there(store, path):
                    name = receipt.entry.name
                    raise NotInstalledError(f"{name}: somebody has just removed it", mend=f"assetmgr pull {name}")
    except BaseException:
        Use(held).close()
        raise
    return Use(held)


def stay(store: Store) -> Use:
    """Use a store where it is: its assets may go, and the whole is not moved."""
    descriptor = _share(_staying(store), is_noted=False) if os.path.isdir(store.state) else None
    return Use([] if descriptor is None else [descriptor])


def _staying(store: Store) -> str:
    return os.path.join(store.state, "uses", "staying")


def touch(store: Store, receipts: Iterable[Receipt]) -> None:
    """Note that receipts are used now."""
    for receipt in receipts:
        path = use_path(store, receipt)
        try:
            os.utime(path)
        except FileNotFoundError:
            with contextlib.suppress(OSError):
                os.close(_opened(path))
        except OSError:
            continue


def last_use(store: Store, receipt: Receipt) -> float:
    """When a receipt was last used, or pulled, as far as that was kept."""
    with contextlib.suppress(OSError):
        return max(receipt.pulled_at, os.stat(use_path(store, receipt)).st_mtime)
    return receipt.pulled_at


@contextlib.contextmanager
def alone(store: Store, receipt: Receipt, *, wait: float) -> Iterator[None]:
    """Be the only one who has a receipt, to remove what it names; nobody can take it into use meanwhile.

    Raises
    ------
    BusyError
        When somebody uses it.
    """
    path, descriptor = use_path(store, receipt), None
    if _LOCKS:
        descriptor = _opened(path)
        deadline = time.monotonic() + wait
        while not _lock(descriptor, alone=True):
            if time.monotonic() >= deadline:
                users = _users(descriptor)
                os.close(descriptor)
                raise _busy(receipt.entry.name, users)
            time.sleep(0.05)
    try:
        yield
        if not _is_there(store, path):
            remove_file(path)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def check_unused(store: Store, receipt: Receipt) -> None:
    """Raise `BusyError` when somebody uses a receipt. Nothing is written."""
    if users := _users_of(use_path(store, receipt)):
        raise _busy(receipt.entry.name, users)


def check_movable(store: Store) -> None:
    """Raise `BusyError` when somebody uses a store where it is, or anything in it. Nothing is written."""
    so = "nothing is moved"
    if users := _users_of(_staying(store)):
        raise _busy(store.root, users, so)
    for receipt in store.receipts():
        if users := _users_of(use_path(store, receipt)):
            raise _busy(receipt.entry.name, users, so)


def _users_of(path: str) -> str:
    """Who holds a lock file; empty where nobody does."""
    if not _LOCKS:
        return ""
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError:
        return ""
    try:
        return "" if _lock(descriptor, alone=True) else _users(descriptor)
    finally:
        os.close(descriptor)


def _busy(name: str, users: str, so: str = "nothing of it is removed") -> BusyError:
    return BusyError(f"{name}: in use by {users}: {so}", mend="end that, or give a --wait")


_LOCKS = os.name != "nt"  # Windows removes nothing that somebody has open


def _opened(path: str) -> int:
    try:
        return os.open(path, _FLAGS)
    except FileNotFoundError:
        folder = os.path.dirname(path)
        make_folder(folder)
        # Whoever may write in the folder may say that they have used it.
        mode = 0o444 | (os.stat(folder).st_mode & 0o020) | 0o600
        descriptor = os.open(path, _FLAGS | os.O_CREAT, mode)
        give(descriptor, folder)
        with contextlib.suppress(OSError):
            os.chmod(path, mode)
        return descriptor


def _share(path: str, *, is_noted: bool) -> int | None:
    """Hold the lock file shared; None where there can be none, since this user may not write here."""
    while True:
        try:
            descriptor = _opened(path)
        except OSError:
            return None
        try:
            with contextlib.suppress(OSError):
                if is_noted:
                    os.utime(path)
            while _LOCKS and not _lock(descriptor, alone=False):
                time.sleep(0.02)  # somebody removes it: that takes moments
            with contextlib.suppress(FileNotFoundError):
                if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                    return descriptor
        except OSError:  # a file system without locks
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # it was removed while we waited


def _lock(descriptor: int, *, alone: bool) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _users(descriptor: int) -> str:
    """Who holds a lock file, as far as the system tells."""
    found: dict[int, str] = {}
    if sys.platform == "linux":
        inode = str(os.fstat(descriptor).st_ino)
        with contextlib.suppress(OSError):
            for line in Path("/proc/locks").read_text().splitlines():
                words = line.split()
                if len(words) > 5 and words[1] == "FLOCK" and words[5].rpartition(":")[2] == inode:
                    found[int(words[4])] = f"process {words[4]}{_command(words[4])}"
    return ", ".join(found[pid] for pid in sorted(found)[:5]) or "another process"


def _command(pid: str) -> str:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        return f" ({' '.join(words).strip()[:120]})"
    return ""
