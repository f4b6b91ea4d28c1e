"""Who still wants what stands in the store, and what is to go when nobody does."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from assetmgr.errors import AssetError
from assetmgr.lock import LockedAsset, check_entry, load_lock, lock_path
from assetmgr.placing import remove_empty_folders, remove_file
from assetmgr.receipt import Receipt
from assetmgr.store import Layout, Store


def wants(manifest: str, entry: LockedAsset, *, now: LockedAsset | None = None) -> bool:
    """Whether a project still wants an entry: its lock names it, or cannot be read.

    A lock that leaves an outcome open wants any that there is, and of several the one that is ``now`` there.

    A manifest that cannot be seen says nothing: its folder may be another user's, or on a share that is not mounted.
    """
    if is_gone(manifest):
        return False
    try:
        os.stat(manifest)
    except FileNotFoundError:
        if not os.path.isdir(os.path.dirname(manifest)):
            return True
    except OSError:
        return True
    try:
        lock = load_lock(lock_path(Path(manifest)), check=False)
    except AssetError:
        return True
    locked = lock.assets.get(entry.name) if lock is not None else None
    if locked is None or not locked.admits(entry):
        return False
    return locked == entry or now is None or now == entry or not locked.admits(now)


def is_gone(manifest: str) -> bool:
    """Whether a project is surely gone: its folder is there without its manifest, and without its lock."""
    for path in (manifest, lock_path(Path(manifest))):
        try:
            os.stat(path)
        except FileNotFoundError:
            continue
        except OSError:
            return False
        return False
    return os.path.isdir(os.path.dirname(manifest))


def remove_stale(store: Store, entry: LockedAsset, *, manifest: str | None, also: Iterable[Receipt] = ()) -> None:
    """Remove what archives of replaced entries have put into the store, and no receipt names any more.

    A replaced entry is one of the asset's own, or in ``also``, that ``manifest`` wants no more, and that every other
    project that pulled it has left by a pull of its own: nothing goes that another project still has, whatever its lock
    says. Of its files those go that are as they were proved; folders that this leaves empty go too, and its receipt.
    """
    replaced = {
        receipt.entry.digest(): receipt
        for receipt in (*also, *store.receipts_of(entry.name))
        if receipt.entry != entry
        # What was pulled without any manifest is nobody's to remove but who pulls without one.
        and (receipt.wanted_by or manifest is None)
        and not any(wants(user, receipt.entry, now=entry) for user in receipt.wanted_by)
        and all(user == manifest or _has_left(store, user, receipt.entry) for user in receipt.wanted_by)
    }
    replaced = {digest: receipt for digest, receipt in replaced.items() if any(f.extract for f in receipt.entry.files)}
    if not replaced:
        return
    named = set(store.names_of(entry))
    for receipt in store.receipts():
        if receipt.entry.digest() not in replaced:
            with contextlib.suppress(AssetError):
                named |= store.names_of(receipt.entry).keys()
    for receipt in replaced.values():
        with contextlib.suppress(AssetError):  # of names that are not safe nothing is removed
            _remove(store, receipt, named)
        store.drop_receipt(receipt)


def _has_left(store: Store, manifest: str, entry: LockedAsset) -> bool:
    """Whether a project has pulled, in place of an entry, what its lock names now."""
    try:
        lock = load_lock(lock_path(Path(manifest)), check=False)
    except AssetError:
        return False
    now = lock.assets.get(entry.name) if lock is not None else None
    receipt = store.read_receipt(now) if now is not None else None
    return receipt is not None and receipt.pulled_at > 0 and manifest in receipt.wanted_by


def _remove(store: Store, receipt: Receipt, named: set[str]) -> None:
    check_entry(receipt.entry)
    layout, found = Layout(receipt.entry), store.contents(receipt.entry)
    folders: dict[str, str] = {}
    for file, stamp in zip(found.files, found.of_receipt(receipt.stamps), strict=True):
        name = layout.name(file)
        path = store.at(name)
        with contextlib.suppress(OSError):
            if file.ask is None and stamp is not None and name not in named and stamp.fits(os.lstat(path)):
                remove_file(path)
                folders[os.path.dirname(path)] = store.at(layout.prefix(file.place).rstrip("/"))
    for folder, stop in folders.items():
        remove_empty_folders(folder, stop)
