"""What to do, decided without I/O: from the lock's entries and what the store holds to actions and bytes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.store import State


@dataclass(frozen=True, slots=True)
class AssetPlan:
    """What is to be done for one entry. Each file of the entry stands in exactly one of the four lists.

    Attributes
    ----------
    keep
        Proved where they are.
    prove
        There, and to be hashed before anything is fetched: a stamp no longer fits, or another tool put them there.
    link
        The same bytes are in the store under another name.
    fetch
        To be brought from the origin.
    brought
        Bytes that an earlier run has brought already, by sha256.
    view, view_folder
        Bytes that copies in a ``local_dir`` will take, and that folder.
    """

    entry: LockedAsset
    keep: tuple[LockedFile, ...]
    prove: tuple[LockedFile, ...]
    link: tuple[LockedFile, ...]
    fetch: tuple[LockedFile, ...]
    brought: Mapping[str, int] = field(default_factory=dict)
    view: int = 0
    view_folder: str = ""

    @property
    def staged(self) -> int:
        """Bytes of ``fetch`` that an earlier run has brought already."""
        return sum(min(size, self.brought.get(sha256 or "", 0)) for sha256, size in _once(self.fetch).items())

    @property
    def fetch_bytes(self) -> int:
        """Bytes to bring; files of equal content count once."""
        return sum(_once(self.fetch).values()) - self.staged

    @property
    def held_bytes(self) -> int:
        return sum(file.size for file in (*self.keep, *self.prove, *self.link))

    @property
    def disk_bytes(self) -> int:
        """Bytes that the disk must still have room for."""
        return self.fetch_bytes + self.view


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a whole run."""

    assets: tuple[AssetPlan, ...]

    @property
    def fetch_bytes(self) -> int:
        return sum(asset.fetch_bytes for asset in self.assets)

    @property
    def disk_bytes(self) -> int:
        return sum(asset.disk_bytes for asset in self.assets)


def _once(files: Sequence[LockedFile]) -> dict[str | None, int]:
    return {file.sha256: max(file.size, 0) for file in files}


def plan_asset(
    entry: LockedAsset,
    states: Sequence[State],
    *,
    elsewhere: Collection[str] = (),
    brought: Mapping[str, int] | None = None,
    view: int = 0,
) -> AssetPlan:
    """Decide for one entry.

    Parameters
    ----------
    states
        What the store holds of each file, in the entry's order.
    elsewhere
        The sha256 that can be linked from somewhere else in the store.
    brought
        Bytes that an earlier run has brought already, by sha256.
    view
        Bytes that copies outside the store will take.
    """
    keep: list[LockedFile] = []
    prove: list[LockedFile] = []
    link: list[LockedFile] = []
    fetch: list[LockedFile] = []
    for file, state in zip(entry.files, states, strict=True):
        if state is State.PROVED:
            keep.append(file)
        elif state is State.MISSING:
            (link if file.sha256 in elsewhere else fetch).append(file)
        else:
            prove.append(file)
    return AssetPlan(entry, tuple(keep), tuple(prove), tuple(link), tuple(fetch), brought or {}, view)


def plan_all(plans: Sequence[AssetPlan]) -> Plan:
    """Put the assets' plans together: what one of them fetches, the next ones link."""
    coming: set[str | None] = set()
    merged = []
    for plan in plans:
        again = [file for file in plan.fetch if file.sha256 in coming]
        if again:
            fetch = tuple(file for file in plan.fetch if file.sha256 not in coming)
            plan = replace(plan, link=(*plan.link, *again), fetch=fetch)
        coming.update(file.sha256 for file in plan.fetch)
        merged.append(plan)
    return Plan(tuple(merged))
