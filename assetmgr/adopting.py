"""Bytes of another tool's cache, proved and given a name in the store: shared where that is sound, else copied.

A clone (reflink) shares the blocks and nothing else: it comes first. A hard link shares the file itself with its owner,
mode and time, which stay as they are: it must be ours, and nobody may be able to write it who could not replace it in
the store's folder. What its owner writes into it later changes its time: the stamp no longer fits, and the file counts
as unproved. In every other case it is copied, and hashed on the way.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import NamedTuple

from assetmgr.caches.looking import Candidate
from assetmgr.digests import hash_descriptor
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.origins import Context
from assetmgr.origins.fetching import ADOPTED, own_name
from assetmgr.placing import clone, link, make_folder, place, remove_file
from assetmgr.receipt import Stamp
from assetmgr.verify import prove

_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class Taken(NamedTuple):
    """A candidate that proved equal: at ``staged``, a file of our own, or to be linked where that is None."""

    candidate: Candidate
    proof: Stamp
    staged: str | None
    is_shared: bool


def may_link(found: os.stat_result, folder: os.stat_result, user: int | None) -> bool:
    """Whether a file may get one more name in a folder of the store, by what is known of both.

    Parameters
    ----------
    user
        Who asks; None where files have no such owners.
    """
    if found.st_dev != folder.st_dev:
        return False
    if user is None:
        return True
    if found.st_uid != user:
        return False
    readers = folder.st_mode & 0o444 | 0o400
    writers = found.st_mode & 0o022
    by_group = (folder.st_mode & 0o040 and not folder.st_mode & 0o004) or writers & 0o020
    return (
        found.st_mode & readers == readers
        and not writers & ~folder.st_mode
        and not (by_group and found.st_gid != folder.st_gid)
    )


def current_user() -> int | None:
    return os.geteuid() if os.name != "nt" else None


def take(
    context: Context, entry: LockedAsset, file: LockedFile, final: str, progress: Callable[[int], object]
) -> Taken | None:
    """Prove what the caches have for a file of an entry, until one proves equal; None where none does.

    Raises
    ------
    OSError
        When our own disk fails, not the cache's.
    """
    folder = os.path.dirname(final)
    for candidate in context.caches.candidates(entry, file):
        make_folder(folder)
        make_folder(context.store.partial())
        staged = context.store.partial(f"{ADOPTED}.{own_name()}")
        is_shared = clone(candidate.path, staged)
        if is_shared:
            proof = prove(staged, file, progress)
        elif may_link(candidate.status, os.stat(folder), current_user()) and candidate.is_inside:
            proof, staged, is_shared = prove(candidate.path, file, progress), "", True
        else:
            proof = _copy(candidate.path, file, staged, progress)
        if isinstance(proof, Stamp):
            return Taken(candidate, proof, staged or None, is_shared)
        if staged:
            remove_file(staged)
        context.caches.passed_over(candidate, file, proof[0])
    return None


def settle(taken: Taken, file: LockedFile, final: str) -> Stamp | None:
    """Give what proved equal its name, and return its stamp there; None where it changed in the meantime."""
    if taken.staged is not None:
        return Stamp.of(place(taken.staged, final, sync=False), taken.proof.proved_at)
    link(taken.candidate.real, final, "hardlink")
    if taken.proof.fits(os.stat(final)):
        return taken.proof
    again = prove(final, file)  # where a hard link was refused after all, it is a copy
    return again if isinstance(again, Stamp) else None


def _copy(path: str, file: LockedFile, staged: str, progress: Callable[[int], object]) -> Stamp | tuple[str, str]:
    """Copy a file and hash what is copied: the copy's stamp, or what is wrong, as (kind, detail)."""
    try:
        source = os.open(path, _READ)
    except OSError as error:
        return "unreadable", str(error.strerror)
    ours: list[OSError] = []
    try:
        with open(os.open(staged, _WRITE, 0o600), "wb", buffering=0) as copy:

            def write(data: memoryview) -> None:
                try:
                    while data:
                        data = data[copy.write(data) :]
                except OSError as error:
                    ours.append(error)
                    raise

            try:
                if os.fstat(source).st_size != file.size:
                    return "altered", "of another size by now"
                _, digests = hash_descriptor(source, progress=progress, write=write)
            except OSError as error:
                if ours:
                    raise
                return "unreadable", str(error.strerror)
            if digests["sha256"] != file.sha256:
                return "altered", f"expected sha256 {file.sha256}, found {digests['sha256']}"
            return Stamp.of(os.fstat(copy.fileno()))
    except BaseException:
        with contextlib.suppress(OSError):
            remove_file(staged)
        raise
    finally:
        os.close(source)
