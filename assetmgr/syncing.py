"""`sync`: a machine is made as its manifests say.

What is stale is locked, what is missing is brought, what nobody wants any more goes out of the folders outside the
store, and all of it is proved.

Nothing is removed before all that is wanted is there. Each step looks at what is, not at what an earlier run did: one
that was killed is gone on with by the next.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from assetmgr import following, views
from assetmgr.errors import (
    AssetError,
    FetchByHandError,
    LockConflictError,
    LockError,
    LockVersionError,
    NotLockedError,
    StaleLockError,
    UnsafeNameError,
    raise_all,
)
from assetmgr.frozen import frozen_wishes
from assetmgr.lock import LockedAsset
from assetmgr.manifest import FilesSource
from assetmgr.network import Network
from assetmgr.plan import is_pinned, stand_in
from assetmgr.prover import Prover
from assetmgr.receipt import Receipt
from assetmgr.releasing import Release, Wants, Withdrawn, decide_release, foresee, let_go, yielded
from assetmgr.reporting import Reporter
from assetmgr.sheets import LockChange, Sheet, Sheets
from assetmgr.store import Store
from assetmgr.view_records import all_views

if TYPE_CHECKING:
    from assetmgr.install import Pulled, Wish
    from assetmgr.origins import Origins
    from assetmgr.proving import Verification


class Follow(Enum):
    """How far a run follows the manifest."""

    MANIFEST = "lock what it changed"
    LOCKED = "refuse a lock that it has outrun"
    FROZEN = "do not look at it: the lock beside it decides"


@dataclass(frozen=True, slots=True)
class FolderChange:
    """What was, or would be, done in one folder for one asset: names put, taken away, and left since they were changed.

    ``added`` are somebody's own names, for which a folder stays that shows nothing any more.
    """

    asset: str
    folder: str
    put: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.put or self.removed)


@dataclass(frozen=True, slots=True)
class Synced:
    """What a run did, or would do.

    Attributes
    ----------
    locks
        The locks that were made anew, with what that changed in them.
    assets
        What became of each asset's files; ``unknown`` names those of which a dry run can only tell a part: fetching
        alone would show how large they are, or what their URLs give now.
    folders
        What changed outside the store.
    released
        Receipts that no longer say that the manifests want them. Their bytes stay in the store.
    verification
        The proof of all that is wanted; None for a dry run.
    problems
        What would keep a dry run from being carried out.
    """

    dry_run: bool
    locks: tuple[LockChange, ...]
    assets: tuple[Pulled, ...]
    folders: tuple[FolderChange, ...]
    released: tuple[Receipt, ...]
    verification: Verification | None = None
    problems: tuple[AssetError, ...] = ()
    unknown: tuple[str, ...] = field(default=())

    @property
    def is_idle(self) -> bool:
        """Whether there was nothing to do."""
        moved = any(
            one.fetched_files or one.linked_files or one.unpacked_files or one.adopted_files for one in self.assets
        )
        return not (
            moved or self.unknown or any(one.changes for one in self.locks) or any(self.folders) or self.released
        )


@dataclass(frozen=True, slots=True)
class Desk:
    """What a run works with. ``wish`` says how the manifests want a locked asset on this machine."""

    store: Store
    network: Network
    reporter: Reporter
    prover: Prover
    wait: float
    wish: Callable[[LockedAsset, Sheets], Wish]


def sync(desk: Desk, sheets: Sheets, names: Iterable[str], *, follow: Follow, upgrade: Sequence[str] | None) -> Synced:
    """Carry it out. ``upgrade`` are the names to move to what is newest; an empty one means all of them.

    Raises
    ------
    StaleLockError
        When the lock must not be made, and is stale.
    AssetError
        The failure, or all of them as `SeveralErrors`. Nothing was removed then.
    """
    from assetmgr.proving import verify_all
    from assetmgr.pull import Pull

    said, errors = tuple(names), list[AssetError]()
    with desk.network.origins() as origins:
        locks = _lock(sheets, origins, said, follow, upgrade, errors, write=True)
        wishes = _taking_over(desk.store, sheets, said, _wishes(desk, sheets, said, follow, errors), follow)
        folders = [_showing(desk.store, wish) for wish in wishes]
        pull = Pull(desk.store, origins, wishes)
        pull.errors += errors
        done = pull.run()
    raise_all(following.follow(desk.store, wishes, desk.reporter, wait=desk.wait))
    releases = _releases(desk.store, sheets, said, wishes, follow)
    try:
        shown = _shown(desk.store, wishes)
        withdrawn = [
            one
            for release in releases
            for one in let_go(desk.store, release, desk.reporter, wait=desk.wait, shown=shown)
        ]
    except OSError as error:
        what = f"{error.filename or 'a folder'}: {error.strerror or error}"
        raise AssetError(what, mend="see who may write there, then: assetmgr sync") from error
    receipts = [receipt for wish in wishes if (receipt := desk.store.read_receipt(wish.entry))]
    return Synced(
        False,
        tuple(locks),
        tuple(done),
        _folders(folders, withdrawn),
        tuple(receipt for release in releases for receipt in release.receipts),
        verify_all(desk.prover, receipts, None, full=False),
    )


def foretell(
    desk: Desk, sheets: Sheets, names: Iterable[str], *, follow: Follow, upgrade: Sequence[str] | None
) -> Synced:
    """What `sync` would do. An origin may be asked what it has now; nothing is written, and nothing fetched.

    ``sheets`` are for this alone: they say afterwards what the locks would be.
    """
    from assetmgr.install import Pulled
    from assetmgr.pull import Pull, room_error

    said, errors = tuple(names), list[AssetError]()
    with tempfile.TemporaryDirectory(prefix="assetmgr-") as scratch, desk.network.origins(Store(scratch)) as origins:
        locks = _lock(sheets, origins, said, follow, upgrade, errors, write=False)
        wishes = _taking_over(desk.store, sheets, said, _wishes(desk, sheets, said, follow, errors), follow)
        upgraded = _upgraded(sheets, said, upgrade)
        sized = [replace(wish, entry=stand_in(wish.entry)) for wish in wishes]
        pull = Pull(desk.store, origins, sized)
        plan = pull.plan()
        errors += pull.errors
    for one in plan.assets:
        for file in one.fetch:
            if file.ask and not file.urls:
                errors.append(
                    FetchByHandError(
                        f"{one.entry.name}: {file.path}: {file.ask}", mend=f"assetmgr lock {one.entry.name}"
                    )
                )
    for wish in wishes:
        try:
            if wish.local_dir:
                views.check_folder(desk.store, wish.entry, wish.local_dir)
        except AssetError as error:
            errors.append(error)
    if too_big := room_error(desk.store, plan):
        errors.append(too_big)
    releases = _releases(desk.store, sheets, said, wishes, follow)
    shown = _shown(desk.store, sized)
    return Synced(
        True,
        tuple(locks),
        tuple(
            Pulled(
                one.entry.name,
                len(one.fetch),
                one.fetch_bytes,
                len(one.link),
                len(one.keep) + len(one.prove),
                one.unpack_files,
            )
            for one in plan.assets
        ),
        _folders(
            [_showing(desk.store, wish) for wish in sized],
            [one for release in releases for one in foresee(desk.store, release, shown)],
        ),
        tuple(receipt for release in releases for receipt in release.receipts),
        problems=tuple(errors),
        unknown=tuple(wish.entry.name for wish in wishes if _is_unknown(sheets, wish.entry, upgraded)),
    )


def _lock(
    sheets: Sheets,
    origins: Origins,
    said: Sequence[str],
    follow: Follow,
    upgrade: Sequence[str] | None,
    errors: list[AssetError],
    *,
    write: bool,
) -> list[LockChange]:
    """Make the locks that must be made; what waits for a file by hand does not keep the rest from being brought."""
    if not _must_lock(sheets, said, follow, upgrade):
        return []
    upgraded = _upgraded(sheets, said, upgrade)
    try:
        return sheets.lock(origins, said, upgrade=upgraded, fetch=write, whole=not said, write=write)
    except AssetError as error:
        if not all(isinstance(part, FetchByHandError) for part in error.parts):
            raise
        errors += error.parts
        return []


# --- decisions -------------------------------------------------------------------------------------------------------


def _must_lock(sheets: Sheets, said: Sequence[str], follow: Follow, upgrade: Sequence[str] | None) -> bool:
    """Whether a lock is to be made. What is locked as the manifest says asks nobody and writes nothing."""
    if follow is Follow.FROZEN:
        return False
    try:
        disagreements = sheets.disagreements(said)
    except (LockConflictError, LockVersionError):
        raise
    except (LockError, UnsafeNameError):
        if follow is Follow.LOCKED or said:
            raise
        return True
    if follow is Follow.LOCKED and disagreements:
        raise StaleLockError("\n".join(disagreements), mend="assetmgr lock")
    return bool(disagreements) or upgrade is not None or not all(map(is_pinned, _held(sheets, said)))


def _held(sheets: Sheets, said: Sequence[str]) -> list[LockedAsset]:
    return sheets.entries(sheets.names(said), [])


def _upgraded(sheets: Sheets, said: Sequence[str], upgrade: Sequence[str] | None) -> Sequence[str]:
    if upgrade is None:
        return ()
    return upgrade or [asset.name for asset in sheets.catalog.closure(sheets.names(said))]


def _is_unknown(sheets: Sheets, entry: LockedAsset, upgraded: Sequence[str]) -> bool:
    """Whether only fetching would tell what an asset is to be: a URL's size, or what it gives by now."""
    asset = sheets.asset(entry.name)
    source = asset.source if asset is not None else None
    moves = isinstance(source, FilesSource) and any(file.sha256 is None for file in source.files)
    return any(file.size < 0 for file in entry.files) or (moves and entry.name in upgraded)


def _wishes(
    desk: Desk, sheets: Sheets, said: Sequence[str], follow: Follow, errors: list[AssetError]
) -> Sequence[Wish]:
    """What is to be on this machine, required assets first."""
    if follow is not Follow.FROZEN:
        waiting = bool(errors)
        missing: list[AssetError] = []
        entries = sheets.entries(sheets.names(said), missing)
        # Of what waits for a file by hand it is said already that it is not locked.
        errors += [error for error in missing if not (waiting and isinstance(error, NotLockedError))]
        return [desk.wish(entry, sheets) for entry in entries]
    return frozen_wishes(desk.store, sheets, said, errors)


def _taking_over(
    store: Store, sheets: Sheets, said: Sequence[str], wishes: Sequence[Wish], follow: Follow
) -> Sequence[Wish]:
    """The wishes, each with the assets that its folder is to show no more: a folder may go from one to another."""
    if not any(wish.local_dir for wish in wishes):
        return wishes
    free = yielded(store, _releases(store, sheets, said, wishes, follow, receipts=()))
    return [replace(wish, yielding=free.get(wish.local_dir or "", frozenset())) for wish in wishes]


def _shown(store: Store, wishes: Sequence[Wish]) -> dict[str, frozenset[str]]:
    """The names that are wanted in each folder."""
    shown: dict[str, frozenset[str]] = {}
    for wish in wishes:
        if folder := wish.local_dir:
            shown[folder] = shown.get(folder, frozenset()) | views.wanted_files(store, wish.entry).keys()
    return shown


def _releases(
    store: Store,
    sheets: Sheets,
    said: Sequence[str],
    wishes: Sequence[Wish],
    follow: Follow,
    *,
    receipts: Iterable[Receipt] | None = None,
) -> list[Release]:
    """What each manifest lets go of, by what its lock names now."""
    only = {*said, *(wish.entry.name for wish in wishes)} if said else None
    receipts, shown = list(store.receipts() if receipts is None else receipts), all_views(store)
    releases = []
    for sheet in sheets.of_manifests():
        assert sheet.manifest is not None
        folders = None if follow is Follow.FROZEN else folders_of(sheet, sheets)
        entries = sheets.locked(sheet).assets
        wants = Wants(os.path.realpath(sheet.manifest.path), entries, folders, only)
        releases.append(decide_release(wants, receipts, shown))
    return [release for release in releases if release]


def folders_of(sheet: Sheet, sheets: Sheets) -> dict[str, str]:
    """The local_dirs that a manifest wants. One that another manifest declares anew is its own still."""
    assert sheet.manifest is not None
    required = [asset for name in sheets.locked(sheet).assets if (asset := sheets.asset(name)) is not None]
    declared = [*required, *sheet.manifest.assets]
    return {asset.name: asset.local_dir for asset in declared if asset.local_dir}


def _showing(store: Store, wish: Wish) -> FolderChange:
    if wish.local_dir is None:
        return FolderChange(wish.entry.name, "")
    changes = views.changes_of(store, wish.entry, wish.local_dir, wish.local_dir_links, wish.yielding)
    return FolderChange(wish.entry.name, wish.local_dir, changes.put, changes.remove, changes.left)


def _folders(shown: Iterable[FolderChange], withdrawn: Iterable[Withdrawn]) -> tuple[FolderChange, ...]:
    gone = [FolderChange(one.asset, one.folder, (), one.removed, one.left, one.added) for one in withdrawn]
    return tuple(one for one in (*shown, *gone) if one or one.left or one.added)
