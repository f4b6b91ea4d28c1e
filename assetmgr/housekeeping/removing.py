"""Take one receipt's files out of the store: those that no other receipt names, as they were put.

A receipt that goes is moved to ``.assetmgr/retired/`` first: until its files are gone, a document says whose they were,
and whatever interrupts a removal, the next `gc` goes on from there. Everything is done under the locks that a pull
holds: of a hub asset the lock of its repo; of other places, where two assets may want one name, a removal waits at
nobody but lets nobody begin (`Store.removing`), and leaves what it cannot have for the next time.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from assetmgr.digests import hash_file
from assetmgr.errors import AssetError, BusyError
from assetmgr.housekeeping.deciding import Fate, decide_file
from assetmgr.housekeeping.footprints import Footprint, Placed, footprint, unnamed
from assetmgr.lock import LockedAsset, check_entry
from assetmgr.mutex import held
from assetmgr.placing import remove_empty_folders, remove_file
from assetmgr.receipt import Receipt
from assetmgr.reporting import Reporter
from assetmgr.store import Store
from assetmgr.verify import read_ref


class Gone(msgspec.Struct, frozen=True):
    """One file that went, or would go: below the store's root, the bytes that this frees, and why."""

    path: str
    bytes: int
    why: str


class Left(msgspec.Struct, frozen=True):
    """One file that stays, and why."""

    path: str
    why: str


@dataclass(slots=True)
class Removal:
    """What a command removes, or would, as it goes along."""

    dry_run: bool = False
    gone: list[Gone] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    errors: list[AssetError] = field(default_factory=list)

    def take(self, store: Store, path: str, why: str) -> None:
        """Remove one file or link."""
        status = os.lstat(path)
        freed = status.st_size if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else 0
        if not self.dry_run:
            remove_file(path)
        self.gone.append(Gone(os.path.relpath(path, store.root).replace(os.sep, "/"), freed, why))


def retire(
    store: Store, receipts: Sequence[Receipt], removal: Removal, reporter: Reporter, *, wait: float, why: str
) -> None:
    """Take entries out of the store: their receipts, and of their files those that no other receipt names."""
    foretold = {store.receipt_path(receipt) for receipt in receipts} if removal.dry_run else set()
    for receipt in receipts:
        try:
            if removal.dry_run:  # it looks, and holds nobody up
                _remove(store, receipt, removal, f"{receipt.entry.name}: {why}", foretold)
            else:
                _retire(store, receipt, removal, reporter, wait=wait, why=f"{receipt.entry.name}: {why}")
        except AssetError as error:
            removal.errors.append(error)


def _retire(store: Store, receipt: Receipt, removal: Removal, reporter: Reporter, *, wait: float, why: str) -> None:
    entry = receipt.entry
    with held(store.guard(entry), f"removing {entry.name}", wait=wait, say=reporter.say):
        with held(store.mutex("receipts"), f"removing {entry.name}", wait=wait):
            store.drop_receipt(store.read_receipt(entry) or receipt)
        _clear(store, store.retired_path(receipt), removal, why, wait=wait)


def clear_retired(store: Store, removal: Removal, reporter: Reporter, *, wait: float) -> None:
    """Remove what is left of receipts that are no more."""
    for path, receipt in store.retired():
        why = f"{receipt.entry.name}: no receipt names it any more"
        try:
            if removal.dry_run:
                _remove(store, receipt, removal, why)
            else:
                purpose = f"removing what is left of {receipt.entry.name}"
                with held(store.guard(receipt.entry), purpose, wait=wait, say=reporter.say):
                    _clear(store, path, removal, why, wait=wait)
        except AssetError as error:
            removal.errors.append(error)


def _clear(store: Store, path: str, removal: Removal, why: str, *, wait: float) -> None:
    """Remove what a retired receipt speaks of, then the receipt. For who holds the entry's guard."""
    receipt = store.retired_at(path)
    if receipt is None:
        return  # another process was here
    if receipt.entry.origin == "hub":
        _remove(store, receipt, removal, why)
    else:
        with _alone(store, receipt.entry, wait=wait):
            _remove(store, receipt, removal, why)
    remove_file(path)


@contextlib.contextmanager
def _alone(store: Store, entry: LockedAsset, *, wait: float) -> Iterator[None]:
    """Be the only one that puts files at places of their own, or takes them away.

    Raises
    ------
    BusyError
        While a pull is under way: what it finds at its places may have no receipt yet.
    """
    own = store.guard(entry).name
    with held(store.removing, f"removing {entry.name}", wait=wait), contextlib.ExitStack() as others:
        for path in sorted(Path(store.state, "mutex").glob("files-*.lock")):
            if path.name != own:
                try:
                    others.enter_context(held(path, f"removing {entry.name}", wait=0))
                except BusyError as error:
                    raise BusyError(
                        f"{entry.name}: its receipt is gone, its files wait: {error.message}",
                        mend="assetmgr gc, once that is done",
                    ) from None
        yield


def _remove(
    store: Store, receipt: Receipt, removal: Removal, why: str, foretold: Collection[str] = frozenset()
) -> None:
    """``foretold`` are the receipts that a dry run takes for gone."""
    check_entry(receipt.entry)
    refuse_damaged(store)
    going = footprint(store, receipt)
    staying = [footprint(store, other) for other in store.receipts() if store.receipt_path(other) not in foretold]
    free = unnamed(going, staying)
    names = {placed.name for placed in free if not placed.is_blob}
    linked = _links(store, going.repo, without=names) if going.repo else set()
    folders: dict[str, str] = {}
    for placed in free:
        path = store.at(placed.name)
        fate = _fate(store, placed, linked=os.path.basename(placed.name) in linked if placed.is_blob else False)
        if fate is Fate.REMOVE:
            removal.take(store, path, why)
            folders[os.path.dirname(path)] = store.at(placed.name.split("/", 1)[0])
        elif fate is Fate.LEAVE:
            said = "a snapshot that assetmgr did not make leads to it" if placed.is_blob else "changed since"
            removal.left.append(Left(placed.name, "handed in by hand" if placed.by_hand else said))
    if going.repo:
        _remove_marks(store, going, staying, removal, why, folders)
    if not removal.dry_run:
        for folder, stop in folders.items():
            remove_empty_folders(folder, stop)


def refuse_damaged(store: Store) -> None:
    """Raise the error of a receipt that cannot be read: what it names, nobody knows, and it may be anything."""
    for asset, error in store.damaged_receipts():
        raise type(error)(f"nothing is removed: {error.message}", mend=f"assetmgr pull {asset}, or {error.mend}")


def _fate(store: Store, placed: Placed, *, linked: bool) -> Fate:
    path = store.at(placed.name)
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Fate.GONE
    is_regular = stat.S_ISREG(status.st_mode)
    if placed.blob and stat.S_ISLNK(status.st_mode):
        fits = os.path.basename(os.readlink(path)) == os.path.basename(placed.blob)
    else:
        fits = is_regular and placed.stamp is not None and placed.stamp.fits(status)
    fate = decide_file(
        there=True,
        is_regular=is_regular,
        is_blob=placed.is_blob,
        fits=fits,
        same_size=status.st_size == placed.size,
        by_hand=placed.by_hand,
        linked=linked,
    )
    if fate is Fate.PROVE:
        return Fate.REMOVE if hash_file(path)[1]["sha256"] == placed.sha256 else Fate.LEAVE
    return fate


def _links(store: Store, repo: str, *, without: set[str]) -> set[str]:
    """The names of the blobs that links in a repo's snapshots lead to, but for those of ``without``."""
    found = set()
    for folder, inside, files in os.walk(store.at(f"{repo}/snapshots")):
        for name in (*files, *inside):
            path = os.path.join(folder, name)
            if os.path.relpath(path, store.root).replace(os.sep, "/") not in without:
                with contextlib.suppress(OSError):
                    found.add(os.path.basename(os.readlink(path)))
    return found


def _remove_marks(
    store: Store, going: Footprint, staying: list[Footprint], removal: Removal, why: str, folders: dict[str, str]
) -> None:
    """Remove what tells other tools of a commit that nobody has any more."""
    if any((other.repo, other.commit) == (going.repo, going.commit) for other in staying):
        return
    snapshot = store.at(f"{going.repo}/snapshots/{going.commit}")
    gone = {entry.path for entry in removal.gone}
    for folder, _, files in os.walk(snapshot):
        for name in files:
            if os.path.relpath(os.path.join(folder, name), store.root).replace(os.sep, "/") not in gone:
                return  # somebody's own files keep it
    stop = store.at("hub")
    for name in (going.tree, going.ref):
        path = store.at(name)
        if name and os.path.isfile(path) and (name != going.ref or read_ref(path) == going.commit):
            removal.take(store, path, why)
            folders[os.path.dirname(path)] = stop
    folders[snapshot] = stop
