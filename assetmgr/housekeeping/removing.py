"""Take one receipt's files out of the store: those that no other receipt names, as they were put.

A receipt that goes is moved into the ledger first: until its files are gone, a document says whose they were, and
whatever interrupts a removal, the next `gc` goes on from there. Everything is done under the locks that a pull holds:
of a hub asset the lock of its repo; of other places, where two assets may want one name, nobody who pulls such an asset
may be under way, and nobody begins (`Store.removing`). Who uses what is to go keeps it (`assetmgr.uses`).
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from assetmgr import views
from assetmgr.digests import hash_file
from assetmgr.errors import AssetError, BusyError, DiskSpaceError
from assetmgr.housekeeping.deciding import Fate, decide_file
from assetmgr.housekeeping.footprints import Footprint, Placed, footprint, unnamed
from assetmgr.housekeeping.removal import Removal, system_error
from assetmgr.lock import LockedAsset, check_entry
from assetmgr.mutex import check_free, held
from assetmgr.placing import remove_empty_folders, remove_file
from assetmgr.receipt import Receipt
from assetmgr.releasing import Release, let_go
from assetmgr.reporting import Reporter
from assetmgr.store import BEGUN, Layout, Store
from assetmgr.uses import alone, check_unused
from assetmgr.verify import read_ref
from assetmgr.view_records import View, all_views


def retire(
    store: Store,
    receipts: Sequence[Receipt],
    removal: Removal,
    reporter: Reporter,
    *,
    wait: float,
    why: str,
    spares: bool = False,
) -> None:
    """Take entries out of the store: their receipts, and of their files those that no other receipt names.

    What is in use is an error, or, where it ``spares`` that, left and told.
    """
    if removal.dry_run:
        removal.foretold.update(store.receipt_path(receipt) for receipt in receipts)
    for receipt in receipts:
        name = receipt.entry.name
        try:
            check_entry(receipt.entry)
            if removal.dry_run:  # it looks, and holds nobody up
                check_unused(store, receipt)
                _check_free(store, receipt.entry)
                _clear(store, receipt, removal, f"{name}: {why}", reporter, wait=wait)
                removal.take(store, store.receipt_path(receipt), f"{name}: {why}")
            else:
                _retire(store, receipt, removal, reporter, wait=wait, why=f"{name}: {why}")
        except BusyError as error:
            removal.foretold.discard(store.receipt_path(receipt))
            if spares:
                removal.leave(store, name, error.message)
            else:
                removal.errors.append(error)
        except AssetError as error:
            removal.errors.append(error)
        except OSError as error:
            removal.errors.append(system_error(name, error))


def _retire(store: Store, receipt: Receipt, removal: Removal, reporter: Reporter, *, wait: float, why: str) -> None:
    entry = receipt.entry
    purpose = f"removing {entry.name}"
    with (
        alone(store, receipt, wait=wait),
        held(store.guard(entry), purpose, wait=wait, say=reporter.say),
        _nobody_pulls(store, entry, wait=wait, reporter=reporter),
    ):
        with held(store.mutex("receipts"), purpose, wait=max(wait, _BRIEFLY)):
            status = os.stat(store.receipt_path(receipt))
            store.drop_receipt(store.read_receipt(entry) or receipt)
        _clear(store, receipt, removal, why, reporter, wait=wait)
        removal.note(store, store.receipt_path(receipt), status, why)
        remove_file(store.placed_path(receipt))


# Seconds to wait for locks that are only ever held for moments.
_BRIEFLY = 60.0


def clear_unreceipted(store: Store, removal: Removal, reporter: Reporter, *, wait: float, before: float) -> None:
    """Remove what was put into the store and no receipt speaks of; what a pull began since ``before`` may go on."""
    for path, receipt in store.unreceipted():
        name = receipt.entry.name
        why = f"{name}: no receipt names it"
        try:
            if path.endswith(BEGUN) and os.stat(path).st_mtime >= before:
                removal.leave(store, name, "its pull was interrupted less than a day ago, and can go on")
                continue
            check_entry(receipt.entry)
            if removal.dry_run:
                _check_free(store, receipt.entry)
                _clear(store, receipt, removal, why, reporter, wait=wait)
                continue
            with (
                held(store.guard(receipt.entry), f"removing what is left of {name}", wait=wait, say=reporter.say),
                _nobody_pulls(store, receipt.entry, wait=wait, reporter=reporter),
            ):
                # Another process may have been here, or it has a receipt by now.
                if (path, receipt) in store.unreceipted():
                    _clear(store, receipt, removal, why, reporter, wait=wait)
                    remove_file(path)
        except BusyError as error:
            removal.leave(store, name, error.message)
        except AssetError as error:
            removal.errors.append(error)
        except OSError as error:
            removal.errors.append(system_error(name, error))


@contextlib.contextmanager
def _nobody_pulls(store: Store, entry: LockedAsset, *, wait: float, reporter: Reporter) -> Iterator[None]:
    """Be the only one that puts files at places of their own, or takes them away.

    Raises
    ------
    BusyError
        While a pull is under way: what it finds at its places may have no receipt yet.
    """
    if entry.origin == "hub":
        yield
        return
    own = store.guard(entry).name
    purpose = f"removing {entry.name}"
    with held(store.removing, purpose, wait=max(wait, _BRIEFLY)):
        # Who takes such a lock from here on waits for us before it looks at anything.
        for path in sorted(Path(store.state, "mutex").glob("files-*.lock")):
            if path.name != own:
                with held(path, purpose, wait=wait, say=reporter.say):
                    pass
        yield


def _check_free(store: Store, entry: LockedAsset) -> None:
    """Raise the `BusyError` that removing an entry would end with now."""
    others = () if entry.origin == "hub" else sorted(Path(store.state, "mutex").glob("files-*.lock"))
    for path in (store.guard(entry), *others):
        check_free(path, f"removing {entry.name}")


def _clear(
    store: Store,
    receipt: Receipt,
    removal: Removal,
    why: str,
    reporter: Reporter,
    *,
    wait: float,
) -> None:
    """Remove what a receipt that is no more speaks of, and what shows it elsewhere. For who holds its locks."""
    refuse_damaged(store)
    name = receipt.entry.name
    others = [other for other in store.receipts() if store.receipt_path(other) not in removal.foretold]
    is_hidden = True
    if all(other.entry.name != name for other in others):
        # What a dry run takes for gone shows nothing any more.
        staying = {other.entry.name for other in others} if removal.dry_run else None
        is_hidden = _hide(store, name, removal, reporter, why, staying, wait=wait)
    _remove(store, receipt, others, removal, why)
    if not is_hidden and not _hide(store, name, removal, reporter, why, None, wait=wait):
        raise DiskSpaceError(
            f"{name}: what shows it could not be taken away", mend="free some space, then: assetmgr gc"
        )


def _remove(store: Store, receipt: Receipt, others: Sequence[Receipt], removal: Removal, why: str) -> None:
    going = footprint(store, receipt)
    # Names of a repo are its assets' alone.
    repo = Layout(receipt.entry).repo
    staying = [footprint(store, other) for other in others if Layout(other.entry).repo == repo]
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
            removal.leave(store, path, "handed in by hand" if placed.by_hand else said)
    if going.repo:
        _remove_marks(store, going, staying, removal, why, folders)
    if not removal.dry_run:
        for folder, stop in folders.items():
            remove_empty_folders(folder, stop)


def _hide(
    store: Store,
    name: str,
    removal: Removal,
    reporter: Reporter,
    why: str,
    staying: Collection[str] | None,
    *,
    wait: float,
) -> bool:
    """Take out of folders outside the store what shows an asset there; False where no record could be written."""
    is_done = True
    for view in all_views(store):
        shown = {path: own for path, own in view.files.items() if name in own.owners}
        if not shown and name not in view.asked:
            continue
        if staying is not None:
            shown = {
                path: own.owned_by(own.owners.intersection(staying) | {name}) or own for path, own in shown.items()
            }
        removed, left = views.leave(name, shown, views.look(view.folder, shown))
        paths = [os.path.join(view.folder, *path.split("/")) for path in removed]
        found = [(path, os.lstat(path)) for path in paths]
        if not removal.dry_run:
            try:
                _let_go(store, view, name, reporter, wait=wait)
            except OSError as error:
                # It is another user's folder: what it shows is theirs to take away.
                removal.leave(store, view.folder, f"{name} is shown there, and may not be removed: {error.strerror}")
            except DiskSpaceError:
                is_done = False
        for path, status in found:
            if removal.dry_run or not os.path.lexists(path):
                removal.note(store, path, status, why)
        for path in left:
            removal.leave(store, os.path.join(view.folder, *path.split("/")), "changed since")
    return is_done


def _let_go(store: Store, view: View, name: str, reporter: Reporter, *, wait: float) -> None:
    for user in view.asked.get(name) or ("",):
        let_go(store, Release(user, (), ((name, view.folder),)), reporter, wait=max(wait, _BRIEFLY))


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
