"""Where else the bytes of an asset are, before this store gives up its own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from assetmgr.errors import UsageError
from assetmgr.lock import LockedFile
from assetmgr.network import Network
from assetmgr.receipt import Receipt
from assetmgr.store import Store
from assetmgr.transfer.urls import local_path
from assetmgr.whereabouts import holders

# Seconds for all of it: copies in folders are hashed, and a server that is slow is one that has them.
_TIMEOUT = 86_400.0


def last_copy(store: Store, network: Network, receipt: Receipt, copies: int | None) -> UsageError | None:
    """The refusal of an asset of which too few mirrors have every file, or None.

    Where no mirror is configured, and no number of copies is asked for, nobody said that copies are to be kept.
    """
    mirrors = network.mirror_names()
    if not mirrors and not copies:
        return None
    entry, contents = receipt.entry, store.contents(receipt.entry)
    # What was handed in by hand stays where it is.
    files = [file for file in contents.files if file.ask is None and file.sha256]
    archives = [each.archive for each in contents.unpacked if each.archive.sha256]
    held = holders(network, list({file.sha256: file for file in (*files, *archives)}.values()), _TIMEOUT, store)
    packed = {member.sha256: each.archive.sha256 or "" for each in contents.unpacked for member in each.members or ()}
    if not (short := fewest(files, held, packed, copies or 1)):
        return None
    file, count = short
    there = f"on {count} of {len(mirrors)} mirrors" if mirrors else "on no mirror: none is configured"
    said = f"{copies} copies are asked for" if copies else "this is the last copy that is known"
    return UsageError(
        f"{entry.name}: {file.path} is {there}, and {said}: nothing is removed",
        mend=f"assetmgr mirror push {mirrors[0] if mirrors else 'FOLDER'} {entry.name}, "
        f"or assetmgr rm --last-copy {entry.name}",
    )


def has_copies(store: Store, network: Network, receipt: Receipt) -> bool:
    """Whether an asset can be had again: from where it is published, or a mirror."""
    entry = receipt.entry
    is_published = entry.origin == "hub" or (
        entry.origin == "files"
        and all(file.ask is None and any(_is_there(url, receipt.base) for url in file.urls) for file in entry.files)
    )
    return is_published or (bool(network.mirror_names()) and last_copy(store, network, receipt, None) is None)


def _is_there(url: str, base: str) -> bool:
    if url.lower().startswith("file:"):
        return os.path.isfile(local_path(url))
    return "://" in url or os.path.isfile(os.path.join(base, url))


def fewest(
    files: Sequence[LockedFile],
    held: Mapping[str, Sequence[str]],
    packed: Mapping[str | None, str],
    needed: int,
) -> tuple[LockedFile, int] | None:
    """The first file that fewer mirrors have than are needed, by itself or in the archive that it came out of."""
    for file in files:
        having = {*held.get(file.sha256 or "", ()), *held.get(packed.get(file.sha256, ""), ())}
        if len(having) < needed:
            return file, len(having)
    return None
