"""`rm` and `gc`: what is asked for, from the question whether it may go to what is left."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from assetmgr.claims import wants
from assetmgr.errors import AssetError, NotInstalledError, SeveralErrors, UsageError, raise_all
from assetmgr.housekeeping.copies import last_copy
from assetmgr.housekeeping.deciding import Standing, decide_old, requiring
from assetmgr.housekeeping.evicting import evict
from assetmgr.housekeeping.foreign import remove_foreign
from assetmgr.housekeeping.pins import pin, pinned, unpin
from assetmgr.housekeeping.removal import Removal
from assetmgr.housekeeping.removing import clear_unreceipted, refuse_damaged, retire
from assetmgr.housekeeping.rubbish import AGE, own_locks, sweep, sweep_prepared
from assetmgr.lock import Lock, load_lock
from assetmgr.mutex import held
from assetmgr.network import Network
from assetmgr.placing import make_folder
from assetmgr.plan import Plan
from assetmgr.receipt import Receipt
from assetmgr.reporting import Reporter
from assetmgr.store import Store

# Seconds to wait for another process's housekeeping: one at a time tidies a store.
_TURN = 600.0


@dataclass(frozen=True, slots=True)
class Permission:
    """What `rm` is told to remove all the same.

    Attributes
    ----------
    force
        What another installed asset requires, or another project wants.
    last_copy
        What no mirror has.
    copies
        How many mirrors must have every file; None: one, where there are mirrors.
    mine
        The manifests whose projects ask for the removal.
    """

    force: bool = False
    last_copy: bool = False
    copies: int | None = None
    mine: Collection[str] = ()


def rm(
    store: Store,
    network: Network,
    names: Sequence[str],
    reporter: Reporter,
    permission: Permission,
    *,
    wait: float,
    dry_run: bool,
) -> Removal:
    """See `Workspace.rm`."""
    removal = Removal(dry_run)
    with _alone(store, "removing assets", reporter, wait=wait, dry_run=dry_run):
        refuse_damaged(store)
        if not dry_run:
            store.identify()
        receipts = [receipt for name in dict.fromkeys(names) for receipt in store.receipts_of(name)]
        raise_all(_refusals(store, network, tuple(dict.fromkeys(names)), receipts, permission))
        retire(store, receipts, removal, reporter, wait=wait, why="removed")
        sweep_prepared(store, removal, time.time() - AGE, only=names)
    return removal


def _refusals(
    store: Store, network: Network, names: Sequence[str], receipts: Sequence[Receipt], permission: Permission
) -> list[AssetError]:
    there = {receipt.entry.name for receipt in receipts}
    errors: list[AssetError] = [
        store.unreadable(name) or NotInstalledError(f"{name}: not installed", mend="assetmgr status")
        for name in names
        if name not in there
    ]
    errors += [
        UsageError(f"{name}: it is pinned; nothing is removed", mend=f"assetmgr unpin {name}")
        for name in names
        if name in there & pinned(store)
    ]
    if not permission.force:
        typed = " ".join(names)
        errors += [
            UsageError(
                f"{name}: {', '.join(others)} requires it; nothing is removed",
                mend=f"assetmgr rm {' '.join([*others, *names])}, or assetmgr rm --force {typed}",
            )
            for name, others in requiring(there, store.receipts()).items()
        ]
        errors += [
            UsageError(
                f"{receipt.entry.name}: {user} wants it; nothing is removed",
                mend=f"have it taken out of that manifest, or assetmgr rm --force {typed}",
            )
            for receipt in receipts
            for user in receipt.wanted_by
            if user not in permission.mine and wants(user, receipt.entry)
        ]
    if not errors and not permission.last_copy:
        errors += [
            refusal for receipt in receipts if (refusal := last_copy(store, network, receipt, permission.copies))
        ]
    return errors


@contextlib.contextmanager
def _alone(store: Store, purpose: str, reporter: Reporter, *, wait: float, dry_run: bool) -> Iterator[None]:
    """Tidy a store while nobody else does. A dry run looks, and holds nobody up.

    Raises
    ------
    NotInstalledError
        Where there is no store: its disk may not be mounted.
    """
    if not os.path.isdir(store.state):
        mend = "check --root, ASSETMGR_ROOT, and that the disk is mounted"
        raise NotInstalledError(f"there is no store in {store.root}", mend=mend)
    if dry_run:
        yield
    else:
        with held(store.mutex("housekeeping"), purpose, wait=max(wait, _TURN), say=reporter.say):
            yield


@dataclass(frozen=True, slots=True)
class Scope:
    """What `gc` is asked to remove besides what no receipt names.

    Attributes
    ----------
    old
        What was replaced, and nobody wants.
    max_size
        What was used longest ago, until what assetmgr has put into the store takes no more bytes.
    foreign
        What assetmgr has not put there: all of it, or these paths.
    """

    old: bool = False
    max_size: int | None = None
    foreign: bool | frozenset[str] = False


def gc(store: Store, network: Network, reporter: Reporter, scope: Scope, *, wait: float, dry_run: bool) -> Removal:
    """See `Workspace.gc`."""
    removal = Removal(dry_run)
    with _alone(store, "tidying the store", reporter, wait=wait, dry_run=dry_run):
        refuse_damaged(store)
        clear_unreceipted(store, removal, reporter, wait=wait, before=time.time() - AGE)
        if scope.old:
            going = [receipt for receipt in decide_old(_standings(store)) if receipt.entry.name not in pinned(store)]
            why = "replaced, and nobody wants it"
            retire(store, going, removal, reporter, wait=wait, why=why, spares=True)
        if scope.max_size is not None:
            evict(store, network, scope.max_size, removal, reporter)
        sweep(store, removal)
        if scope.foreign:
            remove_foreign(store, removal, None if scope.foreign is True else scope.foreign)
    return removal


def make_room(store: Store, network: Network, limit: int, plan: Plan, reporter: Reporter) -> None:
    """Remove what was used longest ago, so that a store takes no more than ``limit`` bytes when a plan is carried out.

    Raises
    ------
    DiskSpaceError
        When that cannot be. Nothing is removed then.
    """
    coming = {asset.entry.name: asset.fetch_bytes + asset.copied + asset.unpack_bytes for asset in plan.assets}
    make_folder(store.state)
    with _alone(store, "making room", reporter, wait=0, dry_run=False):
        foretold, removal = Removal(dry_run=True), Removal()
        for each in (foretold, removal):
            evict(store, network, limit, each, reporter, coming)
            raise_all(each.errors)
    if removal.gone:
        reporter.say(f"{len(removal.gone):,} files that were used longest ago removed to make room")


def change_pins(store: Store, names: Iterable[str], *, stays: bool) -> tuple[str, ...]:
    """See `Workspace.pin`."""
    names = tuple(dict.fromkeys(names))
    there, pins = store.installed_names(), pinned(store)
    raise_all(
        [
            store.unreadable(name) or NotInstalledError(f"{name}: not installed", mend=f"assetmgr pull {name}")
            for name in names
            if name not in there and (stays or name not in pins)
        ]
    )
    for name in names:
        if stays and name not in pins:
            pin(store, name)
        elif not stays:
            unpin(store, name)
    return tuple(sorted(pinned(store)))


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
    if not removal.errors:
        return None
    return removal.errors[0] if len(removal.errors) == 1 else SeveralErrors(removal.errors)
