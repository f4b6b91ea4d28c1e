"""Copy a whole store to another file system, prove the copy, and remove what was copied.

A copy that was interrupted is gone on with. A new root has no receipt before every byte in it is proved.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from assetmgr.contents import Contents
from assetmgr.digests import hash_file
from assetmgr.errors import AssetError, DiskSpaceError, IntegrityError, LockError
from assetmgr.owners import is_refusal, refused
from assetmgr.placing import link, make_folder, remove_empty_folders, remove_file, sync_folder
from assetmgr.receipt import Receipt, Stamp
from assetmgr.reporting import Reporter
from assetmgr.store import Layout, Store
from assetmgr.uses import touch, use_path


def files_of(root: str) -> Iterator[str]:
    """Every file and link below a folder, but for locks and what only processes that run have."""
    for at, inside, names in os.walk(root):
        inside.sort()
        if at == os.path.join(root, ".assetmgr"):
            inside[:] = [name for name in inside if name not in ("mutex", "uses")]
            names = [name for name in names if name != "moving.json"]
        yield from (os.path.join(at, name) for name in sorted(names) if not name.startswith(_BEGINS))
        yield from (path for name in inside if os.path.islink(path := os.path.join(at, name)))


def size_of(root: str) -> tuple[int, int]:
    """The files below a root, and their bytes."""
    seen: dict[tuple[int, int], int] = {}
    files = 0
    for path in files_of(root):
        status = os.lstat(path)
        files += 1
        if stat.S_ISREG(status.st_mode):
            seen[status.st_dev, status.st_ino] = status.st_size
    return files, sum(seen.values())


def existing(path: str) -> str:
    """A folder, or the nearest one above it that exists."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def check_removable(root: str) -> None:
    """Raise `AccessError` when this user may not take away what is in a root."""
    for at, _, _ in os.walk(root):
        if not os.access(at, os.W_OK | os.X_OK):
            raise refused(PermissionError(errno.EACCES, os.strerror(errno.EACCES), at), "nothing is moved: ")


def check_room(store: Store, new: str) -> None:
    """Raise `DiskSpaceError` when a store does not fit where it is to be."""
    needed = size_of(store.root)[1] - (size_of(new)[1] if os.path.isdir(new) else 0)
    free = shutil.disk_usage(existing(new)).free
    if needed > free:
        raise DiskSpaceError(
            f"{new}: {needed:,} bytes are needed and {free:,} are free: nothing is moved",
            mend="free some space there, or first: assetmgr gc",
        )


_BEGINS = ".moving-"


@dataclass(slots=True)
class _Copying:
    """A copy under way: the files that it brought by their old paths, and the sha256 of what was read there."""

    old: str
    new: str
    digests: dict[str, str] = field(default_factory=dict)
    made: dict[tuple[int, int], str] = field(default_factory=dict)

    def target(self, path: str) -> str:
        return self.new + path[len(self.old) :]


def copy_store(store: Store, new: str, reporter: Reporter, before: Callable[[], object]) -> None:
    """Copy a store, and prove the copy. ``before`` is called when the new root is there, and nothing in it yet.

    Raises
    ------
    DiskSpaceError, AccessError, IntegrityError
        When it cannot be, or a copy is not what was read. What was copied stays for the next run.
    """
    old, target = store.root, Store(new)
    size, job = size_of(old)[1], _Copying(old, new)
    try:
        _same_folder(old, new)
        _same_folder(store.state, target.state)
        _sweep(new)
        before()
        with reporter.progress("copying", size) as progress:
            for path in files_of(old):
                if not _is_receipt(store, path):
                    progress.add(_copy_one(job, path))
        for at, inside, _ in os.walk(old):
            for name in inside:
                if not os.path.islink(folder := os.path.join(at, name)):
                    _same_folder(folder, job.target(folder))
        sync_folder(new)
        with reporter.progress("proving", size) as progress:
            _prove(job, progress.add)
        _move_receipts(store, target, job)
        sync_folder(new)
    except OSError as error:
        raise _copy_error(new, error) from None


def _copy_error(new: str, error: OSError) -> AssetError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskSpaceError(
            f"{new}: {error.strerror}: the store is where it was",
            mend="free some space there and repeat the command: it goes on where it was",
        )
    return refused(error) if is_refusal(error) else AssetError(f"{error.filename or new}: {error.strerror}")


def _is_receipt(store: Store, path: str) -> bool:
    return path.startswith(os.path.join(store.state, "receipts") + os.sep)


def _same_folder(old: str, new: str) -> None:
    make_folder(new)
    _like(os.stat(old), new)


def _like(status: os.stat_result, path: str) -> None:
    """Give a file or folder the owner, as far as that is allowed, and the mode of another."""
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):
            os.chown(path, status.st_uid, status.st_gid)
    os.chmod(path, stat.S_IMODE(status.st_mode))


def _copy_one(job: _Copying, path: str) -> int:
    status, final = os.lstat(path), job.target(path)
    if stat.S_ISLNK(status.st_mode):
        shown = os.readlink(path)
        if not (os.path.islink(final) and os.readlink(final) == shown):
            make_folder(os.path.dirname(final))
            remove_file(final)
            os.symlink(shown, final)
        return 0
    if not stat.S_ISREG(status.st_mode):
        return 0  # a socket or a pipe is of the process that made it
    key = status.st_dev, status.st_ino
    if (first := job.made.get(key)) is not None:
        if not (os.path.exists(final) and os.path.samefile(final, job.target(first))):
            link(job.target(first), final, "hardlink")
        job.digests[path] = job.digests[first]
        return 0
    job.made[key] = path
    with contextlib.suppress(FileNotFoundError):
        there = os.lstat(final)
        if _is_same(status, there):
            job.digests[path] = ""  # an earlier run brought it; it is compared with what is here
            return status.st_size
    make_folder(os.path.dirname(final))
    temporary = os.path.join(os.path.dirname(final), f"{_BEGINS}{os.urandom(8).hex()}")
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as source, open(temporary, "xb") as made:
            while piece := source.read(_PIECE):
                digest.update(piece)
                made.write(piece)
        _like(status, temporary)
        os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.replace(temporary, final)
    except BaseException:
        remove_file(temporary)
        raise
    job.digests[path] = digest.hexdigest()
    return status.st_size


_PIECE = 1 << 20


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether two regular files are of one size and time, as far as every file system keeps that."""
    both = stat.S_ISREG(one.st_mode) and stat.S_ISREG(other.st_mode)
    return both and one.st_size == other.st_size and abs(one.st_mtime_ns - other.st_mtime_ns) < 2_000_000_000


def _sweep(new: str) -> None:
    """Remove what a killed run was in the middle of."""
    for at, _, names in os.walk(new):
        for name in names:
            if name.startswith(_BEGINS):
                remove_file(os.path.join(at, name))


def _prove(job: _Copying, told: Callable[[int], object]) -> None:
    """Compare every copy with what it is of: hashed anew, from where it stands now.

    Raises
    ------
    IntegrityError
        Where one differs. It is copied anew by the next run.
    """
    proved: dict[tuple[int, int], str] = {}
    for path, digest in job.digests.items():
        final = job.target(path)
        status = os.stat(final)
        key = status.st_dev, status.st_ino
        if key not in proved:
            proved[key] = hash_file(final, progress=told)[1]["sha256"]
        job.digests[path] = proved[key]
        if proved[key] != (digest or hash_file(path)[1]["sha256"]):
            remove_file(final)
            raise IntegrityError(
                f"{final}: not the bytes of {path}, which was copied: the store is where it was",
                mend="see whether that disk is sound, and repeat the command",
            )


def _move_receipts(store: Store, target: Store, job: _Copying) -> None:
    """Write the receipts, with the stamps of the copies: where a file was as it was proved, and its copy is, too."""
    if os.path.isdir(folder := os.path.join(store.state, "receipts")):
        _same_folder(folder, os.path.join(target.state, "receipts"))
    for receipt in store.receipts():
        layout = Layout(receipt.entry)
        stamps = receipt.stamps
        with contextlib.suppress(LockError):
            found = store.contents(receipt.entry)
            stamps = found.for_receipt(_stamps(store, target, receipt, layout, found, job), receipt.stamps)
        tree = receipt.tree
        if tree is not None:
            with contextlib.suppress(OSError):
                tree = Stamp.of(os.stat(target.at(layout.tree)), tree.proved_at)
        target.save_receipt(msgspec.structs.replace(receipt, stamps=stamps, tree=tree))
        touch(target, [receipt])
        with contextlib.suppress(OSError):
            used = os.stat(use_path(store, receipt))
            os.utime(use_path(target, receipt), (used.st_atime, used.st_mtime))


def _stamps(
    store: Store, target: Store, receipt: Receipt, layout: Layout, found: Contents, job: _Copying
) -> list[Stamp | None]:
    stamps: list[Stamp | None] = []
    for file, stamp in zip(found.files, found.of_receipt(receipt.stamps), strict=True):
        fresh: Stamp | None = None
        with contextlib.suppress(OSError):
            old, new = store.at(layout.name(file)), target.at(layout.name(file))
            digest = job.digests.get(store.at(layout.bytes(file)) if os.path.islink(old) else old)
            if stamp is not None and digest == file.sha256:
                fresh = Stamp.of(os.stat(new))
        stamps.append(fresh)
    return stamps


def remove_old(old: str, new: str) -> tuple[str, ...]:
    """Remove what was copied from the old root: its documents first. What changed or came since stays, and is told."""
    left = []
    receipts, views = (os.path.join(old, ".assetmgr", name) for name in ("receipts", "views"))
    for path in (*files_of(receipts), *files_of(old)):
        final = new + path[len(old) :]
        # The stamps in a receipt are others by now, and what a record says of links.
        is_amended = os.path.dirname(path) in (receipts, views)
        gone = os.path.lexists(final) if is_amended else _is_copied(path, final, old, new)
        if gone:
            remove_file(path)
        elif os.path.lexists(path):
            left.append(path)
    for folder in ("mutex", "uses"):
        with contextlib.suppress(OSError):
            for name in os.listdir(os.path.join(old, ".assetmgr", folder)):
                remove_file(os.path.join(old, ".assetmgr", folder, name))
    for at, _, _ in os.walk(old, topdown=False):
        remove_empty_folders(at, os.path.dirname(old))
    return tuple(left)


def _is_copied(path: str, final: str, old: str, new: str) -> bool:
    try:
        status, copied = os.lstat(path), os.lstat(final)
    except OSError:
        return False
    if stat.S_ISLNK(status.st_mode) and stat.S_ISLNK(copied.st_mode):
        shown = os.readlink(path)
        begins = old.rstrip(os.sep) + os.sep
        led = os.path.join(new, shown[len(begins) :]) if shown.startswith(begins) else shown
        return os.readlink(final) in (shown, led)
    if not _is_same(status, copied):
        return False
    # Times that differ by less are as that file system keeps them, or somebody has written here since.
    return status.st_mtime_ns == copied.st_mtime_ns or _are_equal(path, final)


def _are_equal(one: str, other: str) -> bool:
    try:
        return hash_file(one)[1]["sha256"] == hash_file(other)[1]["sha256"]
    except OSError:
        return False
