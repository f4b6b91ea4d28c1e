"""The store's folder: whether it can be written, linked in and shared, and whether the disk has room."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator

from assetmgr.doctor.evidence import Evidence
from assetmgr.doctor.finding import Finding, some
from assetmgr.doctor.machine import names_in
from assetmgr.owners import owner

_PARTS = ("hub", "torch", "lavis", "clip", "files", "prepared", ".assetmgr")


def check_store(evidence: Evidence) -> Iterator[Finding]:
    """Can the store be written, and does it take symlinks?"""
    store = evidence.machine.store
    if store is None:
        return
    if os.path.lexists(store) and not os.path.isdir(store):
        yield Finding(
            "error", "store", f"{store} is no folder", "name another by --root or ASSETMGR_ROOT, or remove it"
        )
        return
    try:
        os.lstat(store)
    except FileNotFoundError:
        pass
    except OSError as error:  # a name that is too long, a folder on the way that is none
        yield Finding(
            "error", "store", f"{store} cannot be: {error.strerror or error}", "name another by --root or ASSETMGR_ROOT"
        )
        return
    there = _existing(store)
    new = "" if there == store else f" ({store} is made when it is needed)"
    try:
        with tempfile.TemporaryDirectory(prefix=".assetmgr-doctor-", dir=there) as folder:
            refusal = _symlink_refusal(folder)
    except OSError as error:
        yield Finding(
            "error",
            "store",
            f"{there} cannot be written: {error.strerror or error}: what is installed can be used, and nothing pulled",
            f"make it writable for you or a group of yours ({owner(there)}), or name another store by ASSETMGR_ROOT",
        )
        return
    if refusal:
        mend = "a file system with symlinks"
        if evidence.machine.platform == "win32":
            mend = "switch on Windows' developer mode (Settings, System, For developers)"
        yield Finding(
            "warning",
            "store",
            f"{there} takes no symlinks ({refusal}): files are linked otherwise, or copied",
            mend,
        )
    else:
        yield Finding("ok", "store", f"{there} can be written, and takes symlinks{new}")


def _existing(path: str) -> str:
    """The path, or the nearest folder above it that is there."""
    while not os.path.isdir(path):
        above = os.path.dirname(path)
        if above == path:
            break
        path = above
    return path


def _symlink_refusal(folder: str) -> str:
    try:
        os.symlink("nowhere", os.path.join(folder, "link"))
    except (OSError, NotImplementedError) as error:
        return str(getattr(error, "strerror", None) or error)
    return ""


def check_disk(evidence: Evidence) -> Iterator[Finding]:
    """Is there room for what the lock has still to bring?"""
    store, missing = evidence.machine.store, evidence.machine.wanted.missing_bytes
    if store is None:
        return
    try:
        free = shutil.disk_usage(_existing(store)).free
    except OSError as error:
        yield Finding("warning", "disk", f"{store}: its free space cannot be told: {error.strerror or error}")
        return
    if missing > free:
        yield Finding(
            "error",
            "disk",
            f"{store} has {_size(free)} free, and {_size(missing)} are still to be pulled",
            "free the disk, name another store by ASSETMGR_ROOT, or take assets out of the manifest",
        )
    elif missing:
        yield Finding("ok", "disk", f"{_size(free)} free; {_size(missing)} are still to be pulled")
    elif free < 1_000_000_000:
        yield Finding("warning", "disk", f"{store} has only {_size(free)} free", "free the disk")
    else:
        yield Finding("ok", "disk", f"{_size(free)} free")


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.95:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def check_sharing(evidence: Evidence) -> Iterator[Finding]:
    """Can the users who share the store all read and write it?"""
    store = evidence.machine.store
    if store is None or evidence.machine.platform == "win32" or not os.path.isdir(store):
        return
    try:
        mode = os.stat(store).st_mode
    except OSError:
        return
    group_writes, keeps_group = bool(mode & stat.S_IWGRP), bool(mode & stat.S_ISGID)
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        yield Finding("warning", "sharing", f"{store} may be written by everybody", f"chmod o-w {store}")
    if group_writes and not keeps_group:
        yield Finding(
            "warning",
            "sharing",
            f"{store} may be written by its group, and lacks the setgid bit: others cannot write what one user makes",
            f"chmod g+s {store}",
        )
    elif keeps_group and not group_writes:
        yield Finding(
            "warning", "sharing", f"{store} has the setgid bit, and its group may not write it", f"chmod g+w {store}"
        )
    elif keeps_group:
        closed = list(_closed_parts(store, os.stat(store).st_gid))
        if closed:
            yield Finding(
                "warning",
                "sharing",
                f"the group cannot use everything below {store}: {some(closed)}",
                f"as root: chgrp -R --reference={store} {store} && chmod -R g+rX {store} && "
                f"find {store} -type d -exec chmod g+ws {{}} + && find {store}/.assetmgr/mutex -type f -exec "
                "chmod g+w {} +",
            )
        else:
            yield Finding("ok", "sharing", f"{store} is open to its group")
    elif strange := list(_parts_of_others(store)):
        yield Finding(
            "warning",
            "sharing",
            f"{store} is one user's, and parts of it are another's: {some(strange)} ({owner(store)})",
            f"as root: chown -R --reference={store} {store}",
        )


def _closed_parts(store: str, group: int) -> Iterator[str]:
    """What the group cannot use in the first two levels: folders it cannot write, locks it cannot take, documents."""
    for path, status in _parts(store):
        needs = stat.S_IRGRP
        if stat.S_ISDIR(status.st_mode):
            needs |= stat.S_IWGRP | stat.S_IXGRP
        elif path.startswith(".assetmgr/mutex/") and path.endswith(".lock"):
            needs |= stat.S_IWGRP
        if status.st_mode & needs != needs or status.st_gid != group:
            yield path


def _parts_of_others(store: str) -> Iterator[str]:
    user = os.stat(store).st_uid
    return (path for path, status in _parts(store) if status.st_uid != user)


def _parts(store: str) -> Iterator[tuple[str, os.stat_result]]:
    """Folders of the first two levels, and our own documents."""
    for part in _PARTS:
        below = [f"{part}/{name}" for name in names_in(os.path.join(store, part))]
        if part == ".assetmgr":
            for folder in ("mutex", "receipts", "listings", "placed", "uses", "pins"):
                below += [f"{part}/{folder}/{name}" for name in names_in(os.path.join(store, part, folder))]
        for path in (part, *below):
            try:
                status = os.lstat(os.path.join(store, path))
            except OSError:
                continue
            if stat.S_ISDIR(status.st_mode) or (path.count("/") == 2 and stat.S_ISREG(status.st_mode)):
                yield path, status
