"""Carry out a plan: over all assets, what is missing is brought, and what fails is told at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Sequence
from dataclasses import replace

from assetmgr import views
from assetmgr.adopting import current_user, may_link
from assetmgr.contents import Contents
from assetmgr.errors import (
    AssetError,
    ChangedOutcomeError,
    DiskSpaceError,
    LockError,
    SeveralErrors,
    about,
    raise_all,
)
from assetmgr.install import Installation, Pulled, Wish
from assetmgr.lock import LockedAsset, check_entry, check_refs
from assetmgr.making import settle
from assetmgr.mutex import held
from assetmgr.origins import Origin, Origins
from assetmgr.origins.fetching import ADOPTED, own_name
from assetmgr.origins.made import MadeOrigin
from assetmgr.placing import make_folder
from assetmgr.plan import Plan, plan_all, plan_asset
from assetmgr.receipt import Receipt
from assetmgr.store import Layout, State, Store, check_places, repo_folder
from assetmgr.transfer.engine import disk_error
from assetmgr.transfer.journal import journal_path
from assetmgr.verify import read_ref


class Pull:
    """One run over several assets."""

    def __init__(self, store: Store, origins: Origins, wishes: Sequence[Wish]) -> None:
        self._store = store
        self._origins = origins
        self._context = origins.context
        self._reporter = origins.context.reporter
        self.errors: list[AssetError] = []
        self.wishes = tuple(self._known(wish) for wish in wishes if self._is_sound(wish))
        check_refs(wish.entry for wish in self.wishes)
        self._check_places()

    def _check_places(self, settled: Sequence[Wish] = ()) -> None:
        """Refuse two entries that want one place, with those in place of their open ones that are ``settled`` now."""
        entries = {wish.entry.name: wish.entry for wish in (*self.wishes, *settled)}
        check_places(map(self._store.contents, entries.values()))

    def _is_sound(self, wish: Wish) -> bool:
        """Whether an entry can be pulled at all. One that cannot does not keep the others from being pulled."""
        entry = wish.entry
        unpinned = next((file for file in entry.files if not file.is_pinned), None)
        if unpinned is None:
            try:
                self._store.contents(entry)
            except LockError as error:
                self.errors.append(error)
                return False
            return True
        what = "no sha256" if unpinned.sha256 is None else "no listing of the archive's files"
        mend = f"assetmgr lock {entry.name}"
        self.errors.append(LockError(f"{entry.name}: {unpinned.path} has {what} in the lock", mend=mend))
        return False

    def _known(self, wish: Wish) -> Wish:
        """A wish whose lock leaves the outcome open, with the outcome that this store has, if it has one."""
        if not wish.entry.is_open:
            return wish
        receipt = self._store.read_receipt(wish.entry)
        return replace(wish, entry=receipt.entry if receipt else wish.entry, is_open=True)

    def _receipt(self, wish: Wish) -> Receipt | None:
        return wish.receipt or self._store.read_receipt(wish.entry)

    # --- plan ----------------------------------------------------------------------------------------------------

    def plan(self) -> Plan:
        """What a run would do, by a look at the disk. Nothing is read, written or asked for."""
        return self._plan([(wish, self._look(wish)[1]) for wish in self.wishes])

    def _look(self, wish: Wish) -> tuple[Receipt | None, list[State]]:
        """What is known of an entry, and the state of each file of its contents."""
        receipt, found = self._receipt(wish), self._store.contents(wish.entry)
        return receipt, self._store.survey(found.placed, self._store.known_stamps(wish.entry, receipt))

    def _plan(self, surveyed: Sequence[tuple[Wish, Sequence[State]]]) -> Plan:
        found = {wish.entry.name: self._store.contents(wish.entry) for wish, _ in surveyed}
        wanted = {
            file.sha256
            for wish, states in surveyed
            for file, state in zip(found[wish.entry.name].files, states, strict=True)
            if state is State.MISSING and file.sha256
        }
        # An archive that is not kept may be kept for another asset.
        wanted |= {each.archive.sha256 for one in found.values() for each in one.unpacked if each.archive.sha256}
        elsewhere = self._store.proved_elsewhere(wanted) if wanted else {}
        plans = []
        for wish, states in surveyed:
            brought = self._brought(wish.entry) if State.MISSING in states or found[wish.entry.name].unlisted else {}
            view = (
                views.copy_bytes(self._store, wish.entry, wish.local_dir, wish.local_dir_links, wish.yielding)
                if wish.local_dir
                else 0
            )
            cached = self._cached(found[wish.entry.name], states, elsewhere)
            plan = plan_asset(
                found[wish.entry.name], states, elsewhere=elsewhere, brought=brought, view=view, cached=cached
            )
            plans.append(replace(plan, view_folder=wish.local_dir or ""))
        return plan_all(plans)

    def _cached(
        self, found: Contents, states: Sequence[State], elsewhere: Collection[str]
    ) -> dict[tuple[str, str], bool]:
        """The missing files of which other tools' caches have one of the same size, and whether it can be linked."""
        cached, layout = {}, Layout(found.entry)
        for file, state in zip(found.files, states, strict=True):
            if state is State.MISSING and file.sha256 not in elsewhere:
                candidates = self._context.caches.candidates(found.entry, file)
                if candidates:
                    folder = os.stat(_existing(os.path.dirname(self._store.at(layout.bytes(file)))))
                    first = candidates[0]
                    linked = may_link(first.status, folder, current_user()) and first.is_inside
                    cached[file.place, file.path] = linked
        return cached

    def _brought(self, entry: LockedAsset) -> dict[str, int]:
        """Bytes of an entry that an earlier run left staged, by sha256."""
        if entry.origin == "hub":
            folder = self._store.partial("hub", repo_folder(entry.kind, entry.repo), "blobs")
            paths = {file.sha256: os.path.join(folder, file.blob) for file in entry.files}
        else:
            paths = {file.sha256: self._store.partial(file.sha256 or "") for file in entry.files}
        found = {}
        for sha256, path in paths.items():
            with contextlib.suppress(OSError):
                status = os.stat(path)
                size = status.st_size
                there = getattr(status, "st_blocks", size) * 512
                if there < size and os.path.exists(journal_path(path)):
                    size = there  # a partial with a journal has holes: what fills them has yet to come
                found[sha256 or ""] = size
        return found

    # --- run -----------------------------------------------------------------------------------------------------

    def run(self) -> list[Pulled]:
        """Pull everything. What can be done is done; what failed is raised at the end.

        Raises
        ------
        DiskSpaceError
            Before the first byte, when it cannot fit.
        AssetError
            The failure, or all of them as `SeveralErrors`.
        """
        errors = list(self.errors)
        surveyed = []
        done = {wish.entry.name: Pulled(wish.entry.name, kept_files=wish.entry.count) for wish in self.wishes}
        for wish in self.wishes:
            receipt, states = self._look(wish)
            if receipt is not None and self._is_right(wish, receipt, states):
                self._drop_leftovers(wish.entry)
                continue
            # Nothing of a lock becomes a path that is written to, or a URL that is asked, unchecked.
            try:
                check_entry(wish.entry)
                surveyed.append((wish, states))
            except AssetError as error:
                mend = "correct the lock by hand, or remove it and: assetmgr lock"
                errors.append(type(error)(f"{wish.entry.name}: {error.message}", mend=mend))
        if surveyed:
            plan = self._plan(surveyed)
            # Whether blocks can be shared is found out by sharing some: only where that decides.
            if room_error(self._store, plan) and (too_big := room_error(self._store, plan, self._shared(plan))):
                raise too_big
        for number, (wish, _) in enumerate(surveyed):
            later = {file.sha256 for after, _ in surveyed[number + 1 :] for file in after.entry.files if file.extract}
            try:
                done[wish.entry.name] = self._one(wish, later)
                self._drop_leftovers(wish.entry, later)
            except SeveralErrors as error:
                errors += error.errors
            except AssetError as error:
                errors.append(about(error, wish.entry.name))
            except OSError as error:
                errors.append(disk_error(wish.entry.name, error))
        raise_all(errors)
        return list(done.values())

    def _shared(self, plan: Plan) -> set[str | None]:
        """The files to be fetched that take no room: a mirror on the store's own file system shares their blocks."""
        trial = self._store.partial(f"{ADOPTED}.{own_name()}")
        files = {file.sha256: file for asset in plan.assets for file in asset.fetch}
        try:
            make_folder(os.path.dirname(trial))
        except OSError:
            return set()
        return {sha256 for sha256, file in files.items() if self._context.mirrors.shares(file, trial)}

    def _is_right(self, wish: Wish, receipt: Receipt, states: Sequence[State]) -> bool:
        """Whether nothing at all is to be done, by stamps: no request, no write."""
        entry, layout = wish.entry, Layout(wish.entry)
        if any(state is not State.PROVED for state in states) or not self._describes(wish, receipt):
            return False
        if self._store.contents(entry).unlisted:
            return False
        if layout.ref is not None and read_ref(self._store.at(layout.ref)) != entry.commit:
            return False
        if entry.listing is not None:
            try:
                if receipt.tree is None or not receipt.tree.fits(os.stat(self._store.at(layout.tree))):
                    return False
            except OSError:
                return False
        return wish.local_dir is None or views.is_shown(
            self._store, entry, wish.local_dir, wish.local_dir_links, wish.manifest or "", wish.yielding
        )

    def _describes(self, wish: Wish, receipt: Receipt) -> bool:
        return (
            receipt.pulled_at > 0
            and receipt.use == dict(wish.use)
            and receipt.endpoint == wish.endpoint
            and (wish.local_dir is None or wish.local_dir in receipt.local_dirs)
            and (wish.manifest is None or wish.manifest in receipt.wanted_by)
            and (not wish.pins or receipt.pins == dict(wish.pins))
        )

    def _drop_leftovers(self, entry: LockedAsset, later: Collection[str | None] = ()) -> None:
        """What is in place, and archives that are not kept, leave nothing behind: also what `lock` fetched to look."""
        with contextlib.suppress(FileNotFoundError):
            left = {name[:64] for name in os.listdir(self._store.partial())}
            for file in entry.files if left else ():
                if file.sha256 in left and (file.is_placed or file.sha256 not in later):
                    self._origins.fetcher().drop(file)

    def _one(self, wish: Wish, later: Collection[str | None] = ()) -> Pulled:
        """Bring one asset to its whole and proved state, under the locks that keep others from doing it too."""
        entry = wish.entry
        with held(self._store.guard(entry), f"pulling {entry.name}", wait=self._context.wait, say=self._reporter.say):
            # Two assets may have a place in common: who takes away sees our lock from here on, or is waited for.
            try:
                with held(self._store.removing, f"pulling {entry.name}", wait=self._context.wait):
                    pass
            except FileNotFoundError:
                raise AssetError(
                    f"{self._store.root}: the store has gone while somebody was waited for",
                    mend="see where it was moved to: --root, or ASSETMGR_ROOT",
                ) from None
            # Whoever held the lock before us may have done it all.
            wish = self._known(wish)
            receipt, states = self._look(wish)
            if receipt is not None and self._is_right(wish, receipt, states):
                return Pulled(entry.name, kept_files=wish.entry.count)
            origin = self._origin(wish)
            if isinstance(origin, MadeOrigin) and wish.is_open:
                job = self._made_here(origin, wish, receipt, states)
            else:
                job = self._fill(origin, wish, receipt, states, later)
            if wish.local_dir is not None:
                views.show(
                    self._store,
                    job.entry,
                    wish.local_dir,
                    wish.local_dir_links,
                    self._reporter,
                    wait=self._context.wait,
                    by=wish.manifest or "",
                    yielding=wish.yielding,
                )
            return job.pulled()

    def _origin(self, wish: Wish) -> Origin:
        if wish.entry.origin == "hub":
            return self._origins.hub(wish.endpoint, wish.transport)
        if wish.entry.origin == "url_list":
            return self._origins.url_list(wish.base, wish.tuning)
        if wish.entry.origin == "script":
            return self._origins.script(wish.base)
        return self._origins.files(wish.base)

    def _made_here(
        self, origin: MadeOrigin, wish: Wish, receipt: Receipt | None, states: Sequence[State]
    ) -> Installation:
        """Bring an asset whose outcome the lock leaves to this machine: the one that is known, else a new one."""
        if not wish.entry.is_open:
            try:
                return self._fill(origin, wish, receipt, states)
            except ChangedOutcomeError:
                self._reporter.say(f"{wish.entry.name}: what is published has changed, and the lock freezes nothing")
        known = receipt if receipt is not None and not wish.entry.is_open else None
        opened = replace(wish, entry=wish.entry.opened(), receipt=None, replaces=known)
        wish = settle(self._context, origin, opened, known)
        self._check_places([wish])
        receipt, states = self._look(wish)
        return self._fill(origin, wish, receipt, states)

    def _fill(
        self,
        origin: Origin,
        wish: Wish,
        receipt: Receipt | None,
        states: Sequence[State],
        later: Collection[str | None] = (),
    ) -> Installation:
        job = Installation(self._context, origin, wish, receipt, states, self._check_places)
        try:
            job.fill()
            job.mark()
        finally:
            try:
                job.save()
            finally:
                job.archives.release(whole=job.whole, later=later)
        return job


def room_error(store: Store, plan: Plan, shared: Collection[str | None] = ()) -> DiskSpaceError | None:
    """Say that a plan cannot fit, or None. Each file system is asked for what will go there.

    ``shared`` are the sha256 of files that take no room where they are staged.
    """
    needed: dict[int, int] = {}
    folders: dict[int, str] = {}
    for asset in plan.assets:
        layout = Layout(asset.entry)
        staged, final = store.partial(), store.at(layout.repo or layout.folder)
        if _device(final) != _device(staged):  # a layout's folder that lies on another disk
            _add(needed, folders, final, asset.fetch_bytes + asset.copied)
        spared = {file.sha256: file.size for file in asset.fetch if file.sha256 in shared}
        _add(needed, folders, staged, asset.fetch_bytes + asset.copied - sum(spared.values()))
        for unpacking in asset.unpack:
            _add(needed, folders, store.at(layout.prefix(unpacking.unpacked.extract.place)), unpacking.size)
        _add(needed, folders, asset.view_folder or staged, asset.view)
    for device, count in needed.items():
        free = free_bytes(folders[device])
        if count > free:
            most = max(plan.assets, key=lambda asset: asset.disk_bytes)
            return DiskSpaceError(
                f"{folders[device]}: {count:,} bytes are needed and {free:,} are free; the most for "
                f"{most.entry.name} ({most.disk_bytes:,})",
                mend="free some space, name fewer assets, or use another disk with --root",
            )
    return None


def _add(needed: dict[int, int], folders: dict[int, str], folder: str, count: int) -> None:
    device = _device(folder)
    needed[device] = needed.get(device, 0) + count
    folders.setdefault(device, _existing(folder))


def _existing(folder: str) -> str:
    """The folder, or the nearest one above it that exists."""
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    return folder


def _device(folder: str) -> int:
    return os.stat(_existing(folder)).st_dev


def free_bytes(folder: str) -> int:
    """Bytes that this user may still write where a folder is, or will be."""
    return shutil.disk_usage(_existing(folder)).free
