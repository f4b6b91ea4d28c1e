"""`rm` and `gc`: what is asked for, from the question whether it may go to what is left."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from assetmgr.claims import wants
from assetmgr.errors import AssetError, NotInstalledError, UsageError, raise_all
from assetmgr.housekeeping.deciding import Standing, decide_old, requiring
from assetmgr.housekeeping.removing import Removal, clear_retired, refuse_damaged, retire
from assetmgr.housekeeping.rubbish import own_locks, sweep
from assetmgr.lock import Lock, LockedFile, load_lock
from assetmgr.network import Network
from assetmgr.receipt import Receipt
from assetmgr.releasing import Release, let_go
from assetmgr.reporting import Reporter
from assetmgr.store import Store
from assetmgr.view_records import all_views
from assetmgr.whereabouts import holders


def rm(
    store: Store,
    network: Network,
    names: Sequence[str],
    reporter: Reporter,
    *,
    wait: float,
    force: bool,
    copies: int | None,
    dry_run: bool,
    timeout: float = 10.0,
) -> Removal:
    """See `Workspace.rm`."""
    receipts = [receipt for name in dict.fromkeys(names) for receipt in store.receipts_of(name)]
    there = {receipt.entry.name for receipt in receipts}
    refuse_damaged(store)
    raise_all(
        [
            NotInstalledError(f"{name}: not installed; nothing is removed", mend="assetmgr status")
            for name in dict.fromkeys(names)
            if name not in there
        ]
    )
    if not force:
        for name, others in requiring(there, store.receipts()).items():
            raise UsageError(
                f"{name}: {', '.join(others)} requires it; nothing is removed",
                mend=f"assetmgr rm {' '.join([*others, *names])}, or assetmgr rm --force {' '.join(names)}",
            )
        if error := _last_copies(store, network, receipts, copies=copies, timeout=timeout):
            raise error
    removal = Removal(dry_run)
    if not dry_run:
        _hide(store, there, reporter, wait=wait)
    retire(store, receipts, removal, reporter, wait=wait, why="removed")
    return removal


def _last_copies(
    store: Store, network: Network, receipts: Iterable[Receipt], *, copies: int | None, timeout: float
) -> UsageError | None:
    """The refusal of what could not be had again, or None.

    Without ``copies`` a file is safe at one mirror, or at its origin where that may be asked; with it, at so many
    mirrors. Where no mirror is configured, and no number asked for, nobody said that copies are to be kept.
    """
    mirrors = network.mirror_names()
    if not mirrors and not copies:
        return None
    for receipt in receipts:
        published = {file.sha256 for file in receipt.entry.files if _is_published(receipt, file)}
        if not copies and not network.is_offline:
            found = {file.sha256: file for file in store.contents(receipt.entry).files}
            if published.issuperset(found) or published.issuperset(file.sha256 for file in receipt.entry.files):
                continue
        files = {file.sha256: file for file in store.contents(receipt.entry).files if file.sha256}
        held = holders(network, list(files.values()), timeout)
        needed = copies or 1
        for sha256, file in files.items():
            origin = not copies and not network.is_offline and sha256 in published
            if not origin and len(held.get(sha256, ())) < needed:
                have = len(held.get(sha256, ()))
                return UsageError(
                    f"{receipt.entry.name}: {file.path} is on {have} of {len(mirrors)} mirrors, and {needed} "
                    f"{'is' if needed == 1 else 'are'} asked for: nothing is removed",
                    mend=f"assetmgr mirror push {mirrors[0] if mirrors else 'FOLDER'} {receipt.entry.name}, "
                    f"or assetmgr rm --force {receipt.entry.name}",
                )
    return None


def _is_published(receipt: Receipt, file: LockedFile) -> bool:
    """Whether it can be had again from where it came."""
    if receipt.entry.origin == "hub":
        return True
    return file.ask is None and any(not url.lower().startswith("file:") for url in file.urls)


def _hide(store: Store, names: Collection[str], reporter: Reporter, *, wait: float) -> None:
    """Take out of folders outside the store what shows there of assets that are to go."""
    for view in all_views(store):
        for name in sorted(names & view.asked.keys()):
            for user in view.asked[name]:
                for done in let_go(store, Release(user, (), ((name, view.folder),)), reporter, wait=wait):
                    if done.left:
                        reporter.say(f"{done.folder}: somebody changed {', '.join(done.left[:5])}: left there")


def gc(store: Store, reporter: Reporter, *, wait: float, old: bool, dry_run: bool) -> Removal:
    """See `Workspace.gc`."""
    refuse_damaged(store)
    removal = Removal(dry_run)
    clear_retired(store, removal, reporter, wait=wait)
    if old:
        retire(store, decide_old(_standings(store)), removal, reporter, wait=wait, why="replaced, and nobody wants it")
    sweep(store, removal)
    return removal


def _standings(store: Store) -> list[Standing]:
    locks: list[Lock] = []
    for path in own_locks(store):
        lock = load_lock(path, check=False)
        if lock is not None:
            locks.append(lock)
    found = []
    for receipt in store.receipts():
        entry = receipt.entry
        named = [lock.assets[entry.name] for lock in locks if entry.name in lock.assets]
        locked = any(one.admits(entry) for one in named) if named else None
        found.append(Standing(receipt, any(wants(user, entry) for user in receipt.wanted_by), locked))
    return found


def first_error(removal: Removal) -> AssetError | None:
    """What a command ends with."""
    from assetmgr.errors import SeveralErrors

    if not removal.errors:
        return None
    return removal.errors[0] if len(removal.errors) == 1 else SeveralErrors(removal.errors)
