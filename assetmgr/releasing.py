"""What a manifest wants no more: its folders are tidied, and receipts forget that it wanted them.

Nothing goes out of the store here. A folder outside of it loses what assetmgr has put there, as it was put: a file that
somebody changed or added stays, and is told.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from assetmgr import views
from assetmgr.claims import is_gone
from assetmgr.lock import LockedAsset
from assetmgr.mutex import held
from assetmgr.placing import remove_empty_folders, remove_file
from assetmgr.receipt import Receipt
from assetmgr.reporting import Reporter
from assetmgr.store import Store
from assetmgr.view_records import View, all_views, guard, read_view, write_view

# How many of somebody's own files in a folder are named.
_NAMED = 100


@dataclass(frozen=True, slots=True)
class Wants:
    """What a manifest wants now.

    Attributes
    ----------
    manifest
        Its real path.
    entries
        What its lock names, by asset.
    folders
        The local_dir of each asset that has one. None where the manifest was not looked at: what it had stays.
    only
        The names that are in question. None for all.
    """

    manifest: str
    entries: Mapping[str, LockedAsset]
    folders: Mapping[str, str] | None = None
    only: Collection[str] | None = None

    def is_about(self, name: str) -> bool:
        return self.only is None or name in self.only


@dataclass(frozen=True, slots=True)
class Release:
    """What a manifest is to let go of: receipts, and (asset, folder) that it had shown."""

    manifest: str
    receipts: tuple[Receipt, ...] = ()
    folders: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.receipts or self.folders)


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What became of an asset in a folder: names that went, and names that stay since somebody changed them.

    ``added`` are names that somebody put there, in a folder that shows nothing any more and stays because of them.
    """

    asset: str
    folder: str
    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


def decide_release(wants: Wants, receipts: Iterable[Receipt], shown: Iterable[View]) -> Release:
    """Decide what a manifest lets go of. What others want is theirs to let go of."""
    dropped = tuple(
        receipt
        for receipt in receipts
        if wants.manifest in receipt.wanted_by
        and wants.is_about(receipt.entry.name)
        and not (receipt.entry.name in wants.entries and wants.entries[receipt.entry.name].admits(receipt.entry))
    )
    folders = tuple(
        (asset, view.folder)
        for view in shown
        for asset, asked in sorted(view.asked.items())
        if wants.manifest in asked and wants.is_about(asset) and not _shows(wants, asset, view.folder)
    )
    return Release(wants.manifest, dropped, folders)


def _shows(wants: Wants, asset: str, folder: str) -> bool:
    return asset in wants.entries and (wants.folders is None or wants.folders.get(asset) == folder)


def yielded(store: Store, releases: Iterable[Release]) -> dict[str, frozenset[str]]:
    """The assets of each folder that nobody asks for there once the releases are carried out."""
    by: dict[tuple[str, str], set[str]] = {}
    for release in releases:
        for key in release.folders:
            by.setdefault(key, set()).add(release.manifest)
    free: dict[str, set[str]] = {}
    for (asset, folder), manifests in by.items():
        users = read_view(store, folder).asked.get(asset, ())
        if all(user in manifests or (user and is_gone(user)) for user in users):
            free.setdefault(folder, set()).add(asset)
    return {folder: frozenset(assets) for folder, assets in free.items()}


def foresee(store: Store, release: Release, shown: Mapping[str, Collection[str]] | None = None) -> list[Withdrawn]:
    """What `let_go` would remove and leave, by a look."""
    found = []
    for asset, folder in release.folders:
        view = read_view(store, folder)
        if not _others(view, asset, release.manifest):
            kept = _wanted_there(store, folder, shown or {})
            files = {name: own for name, own in view.files.items() if name not in kept}
            removed, left = views.leave(asset, files, views.look(folder, files))
            shows = kept or any(own.owners - {asset} for own in files.values())
            found.append(Withdrawn(asset, folder, removed, left, () if shows else _added(folder, view.files)))
    return found


def _wanted_there(store: Store, folder: str, shown: Mapping[str, Collection[str]]) -> set[str]:
    """The names that are wanted in a folder, also by another name of the folder: what stands there is not to go."""
    kept = {name for each, names in shown.items() if _is_same(each, folder) for name in names}
    for view in all_views(store):
        if view.folder != folder and _is_same(view.folder, folder):
            kept |= view.files.keys()
    return kept


def _is_same(one: str, other: str) -> bool:
    if one == other:
        return True
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _others(view: View, asset: str, by: str) -> tuple[str, ...]:
    """Who else asks for an asset in a folder. A project that is gone asks for nothing."""
    return tuple(user for user in view.asked.get(asset, ()) if user != by and not (user and is_gone(user)))


def let_go(
    store: Store,
    release: Release,
    reporter: Reporter,
    *,
    wait: float,
    shown: Mapping[str, Collection[str]] | None = None,
) -> list[Withdrawn]:
    """Carry a release out. Whatever interrupts it, the next one goes on from there.

    ``shown`` has the names that are wanted in each folder: they stay, whoever put them.
    """
    withdrawn = []
    for asset, folder in release.folders:
        if not _others(read_view(store, folder), asset, release.manifest):
            _forget_folder(store, asset, folder, wait=wait)
        kept = _wanted_there(store, folder, shown or {})
        withdrawn.append(_withdraw(store, asset, folder, release.manifest, reporter, wait=wait, wanted=kept))
    for receipt in release.receipts:

        def without(now: Receipt) -> Receipt:
            users = tuple(user for user in now.wanted_by if user != release.manifest)
            return msgspec.structs.replace(now, wanted_by=users)

        _amend(store, receipt.entry, without, wait=wait)
    return withdrawn


def _withdraw(
    store: Store, asset: str, folder: str, by: str, reporter: Reporter, *, wait: float, wanted: Collection[str] = ()
) -> Withdrawn:
    """Take away what an asset shows in a folder, where nobody else asks for it."""
    with held(guard(store, folder), f"removing {asset} from {folder}", wait=wait, say=reporter.say):
        view = read_view(store, folder)
        others = _others(view, asset, by)
        if others:
            write_view(store, msgspec.structs.replace(view, asked={**view.asked, asset: others}))
            return Withdrawn(asset, folder)
        files = dict(views.with_interrupted(store, asset, folder, "symlink", view).files)
        mine = {name: own for name, own in files.items() if name not in wanted}
        removed, left = views.leave(asset, mine, views.look(folder, mine))
        for name in removed:
            path = os.path.join(folder, *name.split("/"))
            remove_file(path)
            remove_empty_folders(os.path.dirname(path), folder)
        kept = {name: own.owned_by(own.owners - {asset}) for name, own in files.items()}
        files = {name: own for name, own in kept.items() if own is not None}
        asked = {name: users for name, users in view.asked.items() if name != asset}
        # Last, so that who goes on after a kill still knows whose they were.
        write_view(store, View(folder, files, {}, asked))
        if not files and not wanted:
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        return Withdrawn(asset, folder, removed, left, () if files or wanted else _added(folder, view.files))


def _added(folder: str, known: Collection[str]) -> tuple[str, ...]:
    """What somebody put into a folder where assetmgr has put something: the first names."""
    own = {*known, *(parent for name in known for parent in _parents(name))}
    folders = sorted({"", *(name.rpartition("/")[0] for name in known)})
    added = (name for inside in folders for name in _names_in(folder, inside) if name not in own)
    return tuple(itertools.islice(added, _NAMED))


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _names_in(folder: str, inside: str) -> list[str]:
    names: list[str] = []
    with contextlib.suppress(OSError):
        names = sorted(os.listdir(os.path.join(folder, *inside.split("/"))))
    return [f"{inside}/{name}" if inside else name for name in names]


def _forget_folder(store: Store, asset: str, folder: str, *, wait: float) -> None:
    def without(now: Receipt) -> Receipt:
        return msgspec.structs.replace(now, local_dirs=tuple(one for one in now.local_dirs if one != folder))

    for receipt in store.receipts_of(asset):
        if folder in receipt.local_dirs:
            _amend(store, receipt.entry, without, wait=wait)


def _amend(store: Store, entry: LockedAsset, change: Callable[[Receipt], Receipt], *, wait: float) -> None:
    """Change a receipt as it is now, while nobody else does."""
    purpose = f"changing the receipt of {entry.name}"
    with held(store.guard(entry), purpose, wait=wait), held(store.mutex("receipts"), purpose, wait=wait):
        now = store.read_receipt(entry)
        if now is not None and (fresh := change(now)) != now:
            store.save_receipt(fresh)
