"""Keep a store within a size: what was used longest ago goes first; what is pinned, in use or irreplaceable stays."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from assetmgr.errors import AssetError, DiskSpaceError
from assetmgr.housekeeping.copies import has_copies
from assetmgr.housekeeping.footprints import footprint
from assetmgr.housekeeping.pins import pinned
from assetmgr.housekeeping.removal import Removal
from assetmgr.housekeeping.removing import retire
from assetmgr.network import Network
from assetmgr.receipt import Receipt
from assetmgr.reporting import Reporter
from assetmgr.store import Store
from assetmgr.uses import last_use


@dataclass(frozen=True, slots=True)
class Tenant:
    """One receipt, as far as it counts who goes first.

    Attributes
    ----------
    key
        Its receipt's document.
    contents
        Its files, by what the system knows each by, with their bytes: equal ones of several tenants are one.
    requires
        The keys of what it requires.
    """

    key: str
    last_use: float
    contents: Mapping[object, int]
    requires: tuple[str, ...] = ()


def total(tenants: Iterable[Tenant]) -> int:
    """The bytes of all together."""
    return sum({key: size for tenant in tenants for key, size in tenant.contents.items()}.values())


def decide_next(tenants: Sequence[Tenant], limit: int, stays: Iterable[str] = ()) -> Tenant | None:
    """The next one to go: of those that nothing that stays requires the one used longest ago; None where all fits.

    ``stays`` are the keys of those that may not go.
    """
    if total(tenants) <= limit:
        return None
    kept = {*stays}
    required = {key for tenant in tenants for key in tenant.requires}
    free = [tenant for tenant in tenants if tenant.key not in kept | required and tenant.contents]
    return min(free, key=lambda tenant: (tenant.last_use, tenant.key), default=None)


def evict(
    store: Store,
    network: Network,
    limit: int,
    removal: Removal,
    reporter: Reporter,
    coming: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Remove what was used longest ago, until what assetmgr has put into the store takes no more than ``limit`` bytes.

    ``coming`` are the assets that are about to be pulled, each with the bytes that will: they count, and stay. Where it
    cannot be, the removal gets an error that says what stays.
    """
    needed = sum(coming.values())
    receipts = {store.receipt_path(one): one for one in store.receipts()}
    receipts = {path: one for path, one in receipts.items() if path not in removal.foretold}
    tenants = {path: _tenant(store, receipt) for path, receipt in receipts.items()}
    pins, stays = pinned(store), dict[str, str]()
    for path, receipt in receipts.items():
        if receipt.entry.name in coming:
            stays[path] = "to be pulled"
        elif receipt.entry.name in pins:
            stays[path] = "pinned"
    while (going := decide_next(list(tenants.values()), limit - needed, stays)) is not None:
        receipt = receipts[going.key]
        if not has_copies(store, network, receipt):
            stays[going.key] = "it cannot be had again"
            continue
        before = len(removal.left), len(removal.errors)
        retire(store, [receipt], removal, reporter, wait=0, why="used longest ago", spares=True)
        if (len(removal.left), len(removal.errors)) != before and _is_kept(removal, receipt.entry.name, before):
            stays[going.key] = "in use"
            continue
        del tenants[going.key]
    if (taken := total(tenants.values()) + needed) > limit:
        removal.errors.append(_too_large(taken, limit, {receipts[path].entry.name: why for path, why in stays.items()}))


def _is_kept(removal: Removal, name: str, before: tuple[int, int]) -> bool:
    return len(removal.errors) > before[1] or any(left.path == name for left in removal.left[before[0] :])


def _too_large(taken: int, limit: int, stays: Mapping[str, str]) -> AssetError:
    told = "; ".join(f"{name}: {why}" for name, why in sorted(stays.items())[:10])
    return DiskSpaceError(
        f"what stays takes {taken:,} bytes, and {limit:,} are allowed" + (f" ({told})" if told else ""),
        mend="assetmgr unpin what may go, end what uses it, or assetmgr rm it by name",
    )


def _tenant(store: Store, receipt: Receipt) -> Tenant:
    contents: dict[object, int] = {}
    for placed in footprint(store, receipt).files:
        try:
            status = os.stat(store.at(placed.name))
        except OSError:
            continue
        if not placed.by_hand:  # that stays whatever happens
            contents[status.st_dev, status.st_ino] = status.st_size
    requires = []
    for name in receipt.entry.requires:
        pin = receipt.pins.get(name)
        exact = store.receipt_by_digest(name, pin) if pin else None
        requires += [store.receipt_path(one) for one in ([exact] if exact else store.receipts_of(name))]
    return Tenant(store.receipt_path(receipt), last_use(store, receipt), contents, tuple(requires))
