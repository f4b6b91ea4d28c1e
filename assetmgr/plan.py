"""What to do, decided without I/O: from the lock's entries and what the store holds to actions and bytes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from assetmgr.contents import Contents, Unpacked
from assetmgr.digests import sha256_text
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.store import State

# Single members are asked for only while that is far less than the whole archive: each costs a request.
_SINGLY_MOST = 256
_SINGLY_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Unpacking:
    """Members to come out of an archive. ``members`` is empty where they are not listed here: all are to come then."""

    unpacked: Unpacked
    members: tuple[LockedFile, ...]

    @property
    def archive(self) -> LockedFile:
        return self.unpacked.archive

    @property
    def count(self) -> int:
        return len(self.members) if self.unpacked.members is not None else self.unpacked.extract.members

    @property
    def size(self) -> int:
        known = self.unpacked.members is not None
        return sum(member.size for member in self.members) if known else self.unpacked.extract.size


@dataclass(frozen=True, slots=True)
class AssetPlan:
    """What is to be done for one entry. Each file of the entry, and each member of its archives, stands in one list.

    Attributes
    ----------
    keep
        Proved where they are.
    prove
        There, and to be hashed before anything is fetched: a stamp no longer fits, or another tool put them there.
    link
        The same bytes are in the store under another name.
    found
        Files of their sizes are in other tools' caches: to be linked if they prove equal, or copied.
    fetch
        To be brought from the origin; also archives that are not kept, where members are to come out of them.
    unpack
        Members to come out of archives.
    brought
        Bytes that an earlier run has brought already, by sha256.
    copied
        Bytes of ``found`` that cannot be linked.
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
    unpack: tuple[Unpacking, ...] = ()
    found: tuple[LockedFile, ...] = ()
    copied: int = 0

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
    def found_bytes(self) -> int:
        return sum(_once(self.found).values())

    @property
    def unpack_files(self) -> int:
        return sum(unpacking.count for unpacking in self.unpack)

    @property
    def unpack_bytes(self) -> int:
        return sum(unpacking.size for unpacking in self.unpack)

    @property
    def disk_bytes(self) -> int:
        """Bytes that the disk must still have room for, while archives and their members are both there."""
        return self.fetch_bytes + self.copied + self.unpack_bytes + self.view


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a whole run."""

    assets: tuple[AssetPlan, ...]

    @property
    def fetch_bytes(self) -> int:
        return sum(asset.fetch_bytes for asset in self.assets)

    @property
    def unpack_bytes(self) -> int:
        return sum(asset.unpack_bytes for asset in self.assets)

    @property
    def disk_bytes(self) -> int:
        return sum(asset.disk_bytes for asset in self.assets)


def _once(files: Sequence[LockedFile]) -> dict[str | None, int]:
    return {file.sha256: max(file.size, 0) for file in files}


def wants_ranges(archive: LockedFile, members: Sequence[LockedFile], brought: int = 0) -> bool:
    """Whether members are better read out of an archive where it is published than by fetching it whole.

    ``brought`` are the bytes of it that an earlier run has brought already.
    """
    return brought < archive.size and archive.path.lower().endswith(".zip") and are_few(archive, members)


def are_few(archive: LockedFile, members: Sequence[LockedFile]) -> bool:
    """Whether members are better had one by one than by the whole of their archive."""
    return len(members) <= _SINGLY_MOST and sum(member.size for member in members) <= _SINGLY_SHARE * archive.size


def plan_asset(
    found: Contents,
    states: Sequence[State],
    *,
    elsewhere: Collection[str] = (),
    brought: Mapping[str, int] | None = None,
    view: int = 0,
    cached: Mapping[tuple[str, str], bool] | None = None,
) -> AssetPlan:
    """Decide for one entry.

    Parameters
    ----------
    states
        What the store holds of each file, in the order of the contents.
    elsewhere
        The sha256 that can be linked from somewhere else in the store.
    brought
        Bytes that an earlier run has brought already, by sha256.
    view
        Bytes that copies outside the store will take.
    cached
        The place and path of files of which another tool's cache has one of their size, and whether it can be linked.
    """
    cached = cached or {}
    found_in_caches: list[LockedFile] = []
    keep: list[LockedFile] = []
    prove: list[LockedFile] = []
    link: list[LockedFile] = []
    fetch: list[LockedFile] = []
    missing: list[LockedFile] = []
    own = len(found.files) - sum(len(each.members or ()) for each in found.unpacked)
    for number, (file, state) in enumerate(zip(found.files, states, strict=True)):
        if state is State.PROVED:
            keep.append(file)
        elif state is not State.MISSING:
            prove.append(file)
        elif file.sha256 in elsewhere:
            link.append(file)
        elif (file.place, file.path) in cached:
            found_in_caches.append(file)
        else:
            (fetch if number < own else missing).append(file)
    unpack = []
    wanted = {(file.place, file.path) for file in missing}
    for each in found.unpacked:
        archive = each.archive
        # Two archives may have one file: it comes out of the first.
        members = tuple(file for file in each.members or () if (file.place, file.path) in wanted) if wanted else ()
        wanted -= {(file.place, file.path) for file in members}
        if each.members is not None and not members:
            continue
        there = archive.sha256 in elsewhere or (archive.is_placed and archive not in fetch)
        there = there or archive in fetch
        so_far = (brought or {}).get(archive.sha256 or "", 0)
        if each.members is not None and not there and wants_ranges(archive, members, so_far):
            fetch += members
            continue
        unpack.append(Unpacking(each, members))
        if not there:
            fetch.append(archive)
    to_copy = [file for file in found_in_caches if not cached[file.place, file.path]]
    return AssetPlan(
        found.entry,
        tuple(keep),
        tuple(prove),
        tuple(link),
        tuple(fetch),
        brought or {},
        view,
        unpack=tuple(unpack),
        found=tuple(found_in_caches),
        copied=sum(_once(to_copy).values()),
    )


def plan_all(plans: Sequence[AssetPlan]) -> Plan:
    """Put the assets' plans together: what one of them fetches or unpacks, the next ones link."""
    coming: set[str | None] = set()
    merged = []
    for plan in plans:
        plan = _without(plan, coming) if coming else plan
        coming.update(file.sha256 for file in (*plan.fetch, *plan.found))
        coming.update(file.sha256 for unpacking in plan.unpack for file in unpacking.members)
        merged.append(plan)
    return Plan(tuple(merged))


def _without(plan: AssetPlan, coming: Collection[str | None]) -> AssetPlan:
    """A plan without what is coming for another asset: that is linked, or unpacked once more."""
    link = [file for file in plan.fetch if file.sha256 in coming and file.is_placed]
    unpack, idle = [], []
    for unpacking in plan.unpack:
        members = tuple(file for file in unpacking.members if file.sha256 not in coming)
        link += [file for file in unpacking.members if file.sha256 in coming]
        if members or unpacking.unpacked.members is None:
            unpack.append(replace(unpacking, members=members))
        else:
            idle.append(unpacking.archive)
    fetch = [file for file in plan.fetch if file.sha256 not in coming and (file.is_placed or file not in idle)]
    return replace(plan, link=(*plan.link, *link), fetch=tuple(fetch), unpack=tuple(unpack))


def is_pinned(entry: LockedAsset) -> bool:
    """Whether every byte of an entry has its digest."""
    return all(file.is_pinned for file in entry.files)


def stand_in(entry: LockedAsset) -> LockedAsset:
    """An entry that can be planned with: a digest that nobody knows yet is made up, one for each content.

    What an archive holds that nobody has looked into is left out.
    """

    def known(file: LockedFile) -> LockedFile:
        sha256 = file.sha256 or sha256_text(f"unknown {file.git_sha1 or f'{entry.name} {file.place} {file.path}'}")
        extract = file.extract if file.extract and file.extract.listing else None
        return msgspec.structs.replace(file, sha256=sha256, size=max(file.size, 0), extract=extract)

    return entry if is_pinned(entry) else msgspec.structs.replace(entry, files=tuple(map(known, entry.files)))
