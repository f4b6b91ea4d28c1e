"""The facade that the command line and the Python API share: manifests, their locks, and one store."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from assetmgr.catalog import user_manifests
from assetmgr.errors import (
    AssetError,
    NotInstalledError,
    OriginError,
    StaleLockError,
    UnknownAssetError,
    UsageError,
    raise_all,
)
from assetmgr.inventory import Inventory
from assetmgr.inventory_rows import AssetStatus, ListedAsset, ShownAsset, ShownSheet
from assetmgr.lock import LockedAsset, LockedFile, lock_path
from assetmgr.manifest import HubSource, Manifest, UrlListSource, load_manifest
from assetmgr.network import Network
from assetmgr.owners import is_shared
from assetmgr.receipt import Receipt
from assetmgr.reporting import Reporter, Silent
from assetmgr.sheets import LockChange, Sheets, folder_of
from assetmgr.store import Layout, Store, default_root
from assetmgr.uses import Use, touch, use

if TYPE_CHECKING:
    import torch

    from assetmgr.asked import Pinned
    from assetmgr.bundle.creating import Created, Order
    from assetmgr.bundled import Loaded
    from assetmgr.caches.looking import CacheReport
    from assetmgr.carried import Carriage
    from assetmgr.datasets import Dataset, VisPath
    from assetmgr.differences import Differences
    from assetmgr.environment import Changes
    from assetmgr.housekeeping.moving import RootMove
    from assetmgr.housekeeping.removal import Removal
    from assetmgr.install import Pulled, Wish
    from assetmgr.mirrored import Asking
    from assetmgr.mirrors.pushing import PushReport
    from assetmgr.mirrors.run import TrafficReport
    from assetmgr.models import LoadedModel
    from assetmgr.origins import Origins
    from assetmgr.plan import Plan
    from assetmgr.prover import Prover
    from assetmgr.proving import Verification
    from assetmgr.pull import Pull
    from assetmgr.references import Details
    from assetmgr.server.server import Server, Settings
    from assetmgr.syncing import Synced
    from assetmgr.verify import Finding, Installed
    from assetmgr.whereabouts import Whereabouts

Check = Literal["quick", "full", "none"]
# What a command means, each with its receipt where it has one.
Receipts = Mapping[str, "Receipt | None"]


class Workspace:
    """Manifests, locks and a store.

    Parameters
    ----------
    manifests
        The user's manifests. None: ``ASSETMGR_MANIFEST`` (several, separated as in PATH), then the nearest
        ``assets.yaml`` from the working folder upward; there may be none. One may be read already.
    root
        The store. None: ``ASSETMGR_ROOT``, then the manifest's ``cache_root``, then the platform's cache folder.
    offline
        Never ask the network. True also while ``HF_HUB_OFFLINE`` is set.
    jobs
        How many files move at once.
    rate
        Bytes a second that a whole run may fetch. None: ``ASSETMGR_LIMIT_RATE``, else no limit.
    wait
        Seconds to wait for what another process holds.
    mirrors
        Asked before the origins, in order: folders (from the working folder), http(s) addresses, buckets. Those of
        ``ASSETMGR_MIRRORS`` (separated by blanks; quotes keep a blank) and then those of the manifests come after them.
    local_caches
        Whether the caches of other tools on this machine are looked into before anything is fetched: those of
        huggingface_hub, torch, CLIP and LAVIS, and the folders of ``ASSETMGR_LOCAL_CACHES`` (separated as in PATH; off:
        none).
    frozen
        For `sync` alone: the manifests are not read, and may be gone; the locks beside them decide.
    """

    def __init__(
        self,
        manifests: str | os.PathLike[str] | Sequence[str | os.PathLike[str] | Manifest] | None = None,
        root: str | os.PathLike[str] | None = None,
        *,
        offline: bool = False,
        jobs: int | None = None,
        rate: float | None = None,
        wait: float = 3600.0,
        reporter: Reporter | None = None,
        mirrors: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
        local_caches: bool = True,
        frozen: bool = False,
    ) -> None:
        self._chosen = manifests is not None
        if manifests is None:
            manifests = user_manifests(or_lock=frozen)
        elif isinstance(manifests, str | os.PathLike):
            manifests = [manifests]
        self.manifests = tuple(
            manifest
            if isinstance(manifest, Manifest)
            else Manifest(Path(manifest), ())
            if frozen
            else load_manifest(Path(manifest))
            for manifest in manifests
        )
        roots = [manifest.cache_root for manifest in self.manifests if manifest.cache_root]
        self.store = Store(default_root(os.fspath(root) if root else None, roots[-1] if roots else None))
        self.reporter = reporter or Silent()
        asked = [mirrors] if isinstance(mirrors, str | os.PathLike) else mirrors
        self._network = Network(
            self.store,
            self.reporter,
            offline=offline,
            jobs=jobs,
            rate=rate,
            wait=wait,
            mirrors=[os.fspath(mirror) for mirror in asked],
            declared=[mirror for manifest in self.manifests for mirror in manifest.mirrors],
            local_caches=local_caches,
        )
        self.wait = wait
        self._frozen = frozen
        self._sheets = Sheets(self.manifests, self.store, frozen=frozen)
        self._inventory = Inventory(self._sheets, self.store)
        self.catalog = self._sheets.catalog

    @functools.cached_property
    def _prover(self) -> Prover:
        from assetmgr.prover import Prover

        return Prover(self.store, self.reporter, self.wait)

    def group(self, group: str) -> tuple[str, ...]:
        """The names in a group: of the user's manifests where they have it, else of all that is declared."""
        return self._sheets.group(group)

    # --- lock ----------------------------------------------------------------------------------------------------

    def lock(
        self,
        names: Iterable[str] = (),
        *,
        upgrade: Iterable[str] = (),
        fetch: bool = True,
        freeze: bool = False,
    ) -> list[LockChange]:
        """Pin assets, and all that they require, to exact bytes; write the locks that changed.

        A pin that the manifest still allows is kept, without asking anybody. Names in ``upgrade`` move to the newest
        commit of their revision. ``fetch=False`` leaves the sha256 of files open for which the origin publishes none.
        ``freeze`` pins what was made here of lists and scripts, so that every machine gets these very bytes.
        """
        self._network.renew()
        with self._network.origins() as origins:
            return self._sheets.lock(origins, names, upgrade=upgrade, fetch=fetch, freeze=freeze)

    def check_lock(self, names: Iterable[str] = ()) -> list[LockChange]:
        """Raise `StaleLockError` when a lock does not say what its manifest asks for. Asks nobody, writes nothing.

        Returns
        -------
        The locks that were looked at; nothing changed in them.
        """
        return self._sheets.check(names)

    def prune_lock(self) -> list[LockChange]:
        """Take out of the locks what their manifests no longer ask for, and leave all else. Asks nobody."""
        return self._sheets.prune(self.wait, self.reporter.say)

    def locked(self, names: Iterable[str] = ()) -> list[LockedAsset]:
        """The lock entries of names and of all that they require, required ones first."""
        errors: list[AssetError] = []
        entries = self._sheets.entries(self._sheets.names(names), errors)
        raise_all(errors)
        return entries

    def look_up(self, name: str) -> list[LockedAsset]:
        """What an asset and all that it requires are now, where they are published: itself last. Nothing is locked.

        The sha256 of files stays open, and so does a size that nobody tells.
        """
        self._network.renew()
        with self._network.origins() as origins:
            return self._sheets.look_up(origins, name)

    # --- pull ----------------------------------------------------------------------------------------------------

    def plan(self, names: Iterable[str] = ()) -> Plan:
        """What `pull` would do, and the bytes and disk it would take."""
        errors: list[AssetError] = []
        wishes = self._wishes(names, errors)
        raise_all(errors)
        with self._network.origins() as origins:
            pull = self._pull(wishes, origins)
            raise_all(pull.errors)
            return pull.plan()

    def pull(self, names: Iterable[str] = (), *, locked: bool = False, max_size: int | None = None) -> list[Pulled]:
        """Bring assets, and all that they require, from the lock into the store, proved.

        The lock of a manifest of yours is never written. A name that only a shipped manifest declares is pinned in the
        store, the first time that it is asked for. A name that no manifest and no lock here knows is pulled as the
        first mirror has it that tells of it, and a word says whose pins these are.

        ``locked=True`` refuses both, and a lock that the manifest has outrun; otherwise the locked bytes are pulled and
        a word is said. ``max_size`` makes room first, as that of `gc` does, so that the store takes no more
        with what is pulled.
        """
        self._network.renew()
        errors: list[AssetError] = []
        said = self._sheets.names(names)
        with self._network.origins() as origins:
            asking = self._asking(origins, said, errors, locked=locked)
            said = tuple(name for name in said if name not in asking)
            if not locked:
                said = self._lock_shipped(origins, said, errors, asking)
            wishes = self._declared(said, errors, locked=locked) if said else []
            known = {wish.entry.name for wish in wishes}
            told = [wish for wish in asking.wishes.values() if wish.entry.name not in known]
            pull = self._pull([*wishes, *told], origins)
            pull.errors += errors
            return self._run(pull, max_size)

    def _asking(self, origins: Origins, names: Sequence[str], errors: list[AssetError], *, locked: bool) -> Asking:
        """What mirrors tell of the names that no manifest and no lock here knows, or what was pulled of them before."""
        from assetmgr.mirrored import Asking, is_unknown

        asking = Asking(self._sheets, origins, self._pulled_before, self._pinned)
        known = () if origins.context.mirrors else self.store.installed_names()
        unknown = [name for name in names if is_unknown(name, self._sheets)]
        mirrors = origins.context.mirrors
        asked = [name for name in unknown if name in known or mirrors or mirrors.forbidden]
        asking.want_all(asked, errors, locked=locked)
        return asking

    def _lock_shipped(
        self, origins: Origins, names: Sequence[str], errors: list[AssetError], asking: Asking
    ) -> tuple[str, ...]:
        """Pin what only a shipped manifest declares; where no origin answers for that, mirrors are asked."""
        failed: list[AssetError] = []
        pinned = self._sheets.lock_shipped(origins, names, failed)
        left = [name for name in names if name not in pinned]
        if origins.context.mirrors and failed and all(isinstance(error, OriginError) for error in failed):
            untold: list[AssetError] = []
            asking.want_all(left, untold, locked=False)
            if not untold:
                self.reporter.say(f"{', '.join(left)}: pinned as a mirror has it, since: {failed[0].message}")
                failed = []
        errors += failed
        return pinned

    def _pinned(self, name: str) -> list[Wish]:
        errors: list[AssetError] = []
        wishes = self._wishes([name], errors)
        raise_all(errors)
        return wishes

    def _pulled_before(self, name: str) -> list[Wish]:
        if name not in self.store.installed_names():
            return []
        found = [receipt for _, receipt in self._receipts([name])]
        whole = [receipt for receipt in found if receipt is not None]
        return [self._wish(receipt.entry, receipt) for receipt in reversed(whole)] if len(whole) == len(found) else []

    def _run(self, pull: Pull, max_size: int | None = None) -> list[Pulled]:
        """Pull, and take the steps that follow a pull for all that came, whatever else failed."""
        from assetmgr.following import follow

        def make_room() -> None:
            from assetmgr.housekeeping.commands import make_room

            if max_size is not None:
                make_room(self.store, self._network, max_size, pull.plan(), self.reporter)

        make_room()
        errors: list[AssetError] = []
        done: list[Pulled] = []
        try:
            done = pull.run()
        except AssetError as error:
            errors += error.parts
        errors += follow(self.store, pull.wishes, self.reporter, wait=self.wait)
        raise_all(errors)
        make_room()  # what was to be linked to what then went had to be fetched
        return done

    def _declared(self, names: Iterable[str], errors: list[AssetError], *, locked: bool) -> list[Wish]:
        """What the locks say of names; a word, or an error, where a manifest has outrun them."""
        wishes = self._wishes(names, errors)
        stale = [wish.entry.name for wish in wishes if self._sheets.stale(wish.entry)]
        if stale and locked:
            raise StaleLockError(
                f"{', '.join(stale)}: the manifest changed since the lock was made",
                mend=f"assetmgr lock {' '.join(stale)}",
            )
        if stale:
            self.reporter.say(
                f"{', '.join(stale)}: the manifest changed since the lock was made; pulling what is locked "
                f"(to follow the manifest: assetmgr lock {' '.join(stale)})"
            )
        return wishes

    def sync(
        self,
        names: Iterable[str] = (),
        *,
        locked: bool = False,
        upgrade: Iterable[str] | None = None,
        dry_run: bool = False,
    ) -> Synced:
        """Make this machine as the manifests say: lock what they changed, pull, tidy folders outside the store, verify.

        Parameters
        ----------
        names
            The assets that it is about; by default all that the manifests want.
        locked
            Refuse a lock that the manifests have outrun.
        upgrade
            Names to move to the newest commit of their revision; an empty one is all of them, None is no name.
        dry_run
            Tell what would be done. An origin may be asked; nothing is written, and nothing fetched.
        """
        from assetmgr.syncing import Desk, Follow, foretell, sync

        if self._frozen and (locked or upgrade is not None):
            raise UsageError("a frozen workspace follows no manifest", mend="leave out --locked and --upgrade")
        self._network.renew()
        follow = Follow.FROZEN if self._frozen else Follow.LOCKED if locked else Follow.MANIFEST
        newest = None if upgrade is None else tuple(upgrade)
        desk = Desk(
            self.store,
            self._network,
            self.reporter,
            self._prover,
            self.wait,
            lambda entry, sheets: self._wish(entry, sheets=sheets),
        )
        if dry_run:
            sheets = Sheets(self.manifests, self.store, frozen=self._frozen)
            return foretell(desk, sheets, names, follow=follow, upgrade=newest)
        return sync(desk, self._sheets, names, follow=follow, upgrade=newest)

    def pull_references(
        self,
        references: Sequence[str],
        names: Iterable[str] = (),
        *,
        details: Details | None = None,
        locked: bool = False,
        max_size: int | None = None,
    ) -> tuple[list[Pulled], list[Pinned]]:
        """Pull what no manifest declares: each reference is resolved, pinned in the store, brought and proved.

        Parameters
        ----------
        references
            ``hub:ORG/NAME[@REVISION]``, ``hub-dataset:ORG/NAME[@REVISION]``, URLs, local paths.
        names
            Declared assets to pull in the same run.
        details
            What else is said of the references.
        locked
            Take only what is pinned already, and ask no origin what is new.
        max_size
            See `pull`.

        Returns
        -------
        What was pulled; and each reference with the name by which it is found from now on.
        """
        from assetmgr.asked import pin, told
        from assetmgr.references import Details, parse_references

        self._network.renew()
        parsed = parse_references(references, details or Details())
        errors: list[AssetError] = []
        pinned: list[Pinned] = []
        said = tuple(names)
        with self._network.origins() as origins:
            if said and not locked:
                said = self._sheets.lock_shipped(origins, said, errors)
            wishes = self._declared(said, errors, locked=locked) if said else []
            for reference in parsed:
                try:
                    pinned.append(pin(reference, self._sheets, self.store, origins, locked=locked))
                except AssetError as error:
                    errors += error.parts
            pull = self._pull([*wishes, *map(self._asked_for, pinned)], origins)
            pull.errors += errors
            try:
                return self._run(pull, max_size), pinned
            except AssetError as error:
                for one in pinned:
                    error = told(error, one.reference, one.asset)
                raise error from None

    def carriage(self, names: Iterable[str] = ()) -> Carriage:
        """What another machine is to be told of installed assets, and of all that they require.

        Raises
        ------
        NotInstalledError
            When one is not in the store.
        """
        from assetmgr.carried import carriage

        found = self._receipts(names)
        raise_all([self._not_installed(name) for name, receipt in found if receipt is None])
        return carriage(receipt for _, receipt in found if receipt is not None)

    def _asked_for(self, pinned: Pinned) -> Wish:
        from assetmgr.install import Wish

        asset, receipt = pinned.asset, self.store.read_receipt(pinned.entry)
        return Wish(
            pinned.entry,
            # What a manifest said of the same bytes under this name stays said.
            use=receipt.use if receipt else {},
            endpoint=receipt.endpoint if receipt else None,
            base=folder_of(asset),
            receipt=receipt,
            local_dir=asset.local_dir,
            local_dir_links=asset.local_dir_links,
        )

    def _wishes(self, names: Iterable[str], errors: list[AssetError]) -> list[Wish]:
        return [self._wish(entry) for entry in self._sheets.entries(self._sheets.names(names), errors)]

    def _wish(self, entry: LockedAsset, receipt: Receipt | None = None, sheets: Sheets | None = None) -> Wish:
        from assetmgr.install import Wish

        sheets = sheets or self._sheets
        asset = sheets.asset(entry.name)
        if asset is None:
            # Not declared here (any more): what the receipt remembers is all there is.
            if receipt is None:
                return Wish(entry)
            return Wish(entry, use=receipt.use, endpoint=receipt.endpoint, base=receipt.base, receipt=receipt)
        sheet = sheets.of(entry.name)
        locked = sheets.locked(sheet).assets
        return Wish(
            entry,
            receipt=receipt,
            pins={name: locked[name].digest() for name in entry.requires if name in locked},
            use=dict(asset.use),
            endpoint=asset.source.endpoint if isinstance(asset.source, HubSource) else None,
            transport=asset.source.transport if isinstance(asset.source, HubSource) else "auto",
            tuning=asset.source.tuning if isinstance(asset.source, UrlListSource) else {},
            base=folder_of(asset),
            local_dir=asset.local_dir,
            local_dir_links=asset.local_dir_links,
            manifest=os.path.realpath(sheet.manifest.path) if sheet.manifest else None,
        )

    def _pull(self, wishes: Sequence[Wish], origins: Origins) -> Pull:
        from assetmgr.pull import Pull

        return Pull(self.store, origins, wishes)

    # --- housekeeping --------------------------------------------------------------------------------------------

    def rm(
        self,
        names: Sequence[str],
        *,
        force: bool = False,
        last_copy: bool = False,
        copies: int | None = None,
        dry_run: bool = False,
    ) -> Removal:
        """Take assets out of the store: their receipts, and the files that no other receipt names.

        Parameters
        ----------
        force
            Also what another installed asset requires, or another project wants.
        last_copy
            Also what no mirror has.
        copies
            Refuse unless so many mirrors have every file. None: one mirror, where there are mirrors.
        dry_run
            Tell what would go.

        Returns
        -------
        What went, what stays and why, and the errors.

        Raises
        ------
        NotInstalledError, UsageError
            When one is not installed, or may not go. Nothing is removed then.
        """
        from assetmgr.housekeeping.commands import Permission, rm

        self._network.renew()
        mine = frozenset(os.path.realpath(manifest.path) for manifest in self.manifests)
        permission = Permission(force, last_copy, copies, mine)
        return rm(self.store, self._network, names, self.reporter, permission, wait=self.wait, dry_run=dry_run)

    def gc(
        self,
        *,
        old: bool = False,
        max_size: int | None = None,
        foreign: bool | Iterable[str] = False,
        dry_run: bool = False,
    ) -> Removal:
        """Remove from the store what assetmgr has put there and no receipt names any more; see README.

        Parameters
        ----------
        old
            Also what was replaced and nobody wants.
        max_size
            Also what was used longest ago, until what assetmgr has put into the store takes no more bytes. What is
            pinned, in use, required by what stays, or cannot be had again, stays.
        foreign
            Also what assetmgr has not put there: all of it, or these paths of it; see `foreign`.
        dry_run
            Tell what would go.

        Returns
        -------
        What went, what stays and why, and the errors.
        """
        from assetmgr.housekeeping.commands import Scope, gc

        scope = Scope(old, max_size, foreign if isinstance(foreign, bool) else frozenset(foreign))
        self._network.renew()
        return gc(self.store, self._network, self.reporter, scope, wait=self.wait, dry_run=dry_run)

    def foreign(self) -> list[str]:
        """The files in the store's folders that assetmgr has not put there, by their paths."""
        from assetmgr.housekeeping.foreign import foreign

        return foreign(self.store)

    def move_root(self, new: str | os.PathLike[str], *, dry_run: bool = False) -> RootMove:
        """Move the whole store to another folder, which is empty or not there; see README.

        What interrupts it, the same call goes on from there. This workspace is of the old root still.

        Raises
        ------
        UsageError
            When it cannot go there.
        BusyError
            While somebody pulls into it, or uses what is in it.
        DiskSpaceError, AccessError, IntegrityError
            When it cannot be copied; the store is where it was then.
        """
        from assetmgr.housekeeping.moving import move

        return move(self.store, os.fspath(new), self.reporter, dry_run=dry_run)

    def pin(self, names: Iterable[str]) -> tuple[str, ...]:
        """Let nobody remove assets, until they are unpinned; returns the names of all that is pinned.

        Raises
        ------
        NotInstalledError
            When one is not in the store.
        """
        from assetmgr.housekeeping.commands import change_pins

        return change_pins(self.store, names, stays=True)

    def unpin(self, names: Iterable[str]) -> tuple[str, ...]:
        """Let assets be removed again; returns the names of all that is pinned still."""
        from assetmgr.housekeeping.commands import change_pins

        return change_pins(self.store, names, stays=False)

    # --- mirrors -------------------------------------------------------------------------------------------------

    def traffic(self) -> TrafficReport:
        """What came from which mirror and from the origins in the last `lock`, `pull` or `verify`."""
        return self._network.traffic()

    def adopted(self) -> tuple[CacheReport, ...]:
        """What came from other tools' caches on this machine in the last `lock`, `pull` or `verify`."""
        return self._network.adopted()

    def push(self, target: str, names: Iterable[str] = (), *, full: bool = False) -> PushReport:
        """Fill a mirror (a folder, a bucket, a registry's tag) with the bytes and listings of installed assets.

        Besides them it gets what tells of the assets.

        What is there in its size is not sent again, unless ``full`` finds other bytes in it. What is damaged in the
        store is told in the report's errors, and the rest is pushed.

        Raises
        ------
        UsageError
            When nothing can be pushed there.
        OriginError, AccessError, DiskSpaceError
            When the target fails. What was pushed stays, and is not sent again.
        """
        from assetmgr.carried import carriage
        from assetmgr.mirrors.pushing import HeldFile, held_files, open_target, whole

        place = open_target(target, self.store, self._network.limits(), self.reporter, wait=self.wait)
        errors: list[AssetError] = []
        damaged: set[str] = set()
        files: dict[str, list[HeldFile]] = {}
        receipts = self._receipts(names)
        using = use(self.store, (receipt for _, receipt in receipts if receipt is not None), is_noted=False)
        for name, receipt in receipts:
            if receipt is None:
                errors.append(self._not_installed(name))
                continue
            found = list(held_files(self.store, receipt, self.reporter))
            faults = [held for held in found if not isinstance(held, HeldFile)]
            files.setdefault(name, []).extend(held for held in found if isinstance(held, HeldFile))
            if faults:
                errors += faults
                damaged.add(name)
        with contextlib.closing(using):
            report = place.put([held for each in files.values() for held in each], full=full)
        sound = {name: held for name, held in files.items() if name not in damaged}
        if told := whole((receipt for _, receipt in receipts if receipt is not None), sound, report.lacking):
            place.tell(carriage(told))
        return dataclasses.replace(report, errors=(*errors, *report.errors))

    # --- bundles -------------------------------------------------------------------------------------------------

    def create_bundle(self, order: Order, names: Iterable[str] = ()) -> Created:
        """Make a bundle of installed assets, and of all that they require: see `assetmgr.bundle.creating`.

        Raises
        ------
        NotInstalledError
            When one is not in the store.
        UsageError
            When the place holds something else, or a file fits on no volume.
        IntegrityError
            When the store does not hold what a receipt says. What was there before stands.
        DiskSpaceError, AccessError
            When it cannot be written. The same call goes on.
        """
        from assetmgr.bundle.creating import create

        found = self._receipts(names)
        raise_all([self._not_installed(name) for name, receipt in found if receipt is None])
        receipts = [receipt for _, receipt in found if receipt is not None]
        with contextlib.closing(use(self.store, receipts, is_noted=False)):
            return create(order, receipts, self.store, self._network.limits(), self.reporter, wait=self.wait)

    def load_bundle(
        self,
        paths: Sequence[str | os.PathLike[str]],
        names: Iterable[str] = (),
        *,
        others: Sequence[str | os.PathLike[str]] = (),
        verify_with: str | None = None,
        allow_older: bool = False,
    ) -> Loaded:
        """Pull from a bundle alone, in just the bytes that it tells of: nobody is asked, and no lock has a say.

        Where one here names other bytes, that is said.

        Parameters
        ----------
        paths
            A bundle, or some volumes of one.
        names
            Assets of it; by default all.
        others
            Mirrors on this machine that have the rest of a delta, or of volumes: an older bundle.
        verify_with
            An allowed signers' file: one of those must have signed it.
        allow_older
            Load it also where a later one of its line was loaded here.

        Raises
        ------
        IntegrityError
            When it is not what its documents say, or not signed as it must be.
        NotLockedError, StaleLockError, NotInstalledError
            When it has not what was asked for; a later one was loaded; what it was made since is not here.
        """
        from assetmgr.bundled import load

        self._network.renew()
        return load(
            [os.fspath(path) for path in paths],
            tuple(names),
            self.store,
            self._network,
            self.reporter,
            lambda wishes, origins: self._run(self._pull(wishes, origins)),
            others=[os.fspath(other) for other in others],
            keys=verify_with,
            allow_older=allow_older,
            pinned=lambda name: self._sheets.locked(self._sheets.of(name)).assets.get(name),
        )

    def server(self, settings: Settings, *, fresh: Callable[[], Workspace] | None = None) -> Server:
        """A server of what is installed, which listens already; its `run` serves.

        ``fresh`` makes a workspace like this one: with it, what the locks name and is not here is pulled when a client
        asks for it.

        Raises
        ------
        UsageError, AccessError, BusyError
            When it cannot listen there, or a certificate cannot be read.
        """
        from assetmgr.server.server import Server

        if fresh is None:
            return Server(self.store, settings, report=self.reporter.say)
        from assetmgr.through import Through

        through = Through(fresh, self.reporter.say)
        return Server(self.store, settings, pinned=through.pinned, pull=through.pull, report=self.reporter.say)

    # --- look and prove ------------------------------------------------------------------------------------------

    def _receipts(self, names: Iterable[str]) -> list[tuple[str, Receipt | None]]:
        """Each meant asset with its receipt: of the lock's entry where a lock names it, else the one pulled last."""
        meant = Inventory(self._sheets, self.store).meant(names)
        return [(known.name, self.store.receipt_in(known.file) if known.file else None) for known in meant]

    def verify(
        self,
        names: Iterable[str] = (),
        *,
        full: bool = False,
        repair: bool = False,
        budget: float | None = None,
    ) -> Verification:
        """Prove what is installed; with ``repair``, fetch anew what is damaged, and nothing else.

        ``full`` hashes every file. With a ``budget`` in seconds it hashes as many as that allows, and goes on where the
        last run stopped.
        """
        from assetmgr.proving import mend_asset, verify_all, verify_within

        if budget is not None and not (full and budget > 0):
            raise UsageError(
                "a budget is of seconds, and for a full verification", mend="verify(full=True, budget=600)"
            )
        self._network.renew()
        said = tuple(names)
        errors: list[AssetError] = []
        findings: list[Finding] = []
        if not said and not self.manifests:
            self._prover.look_at_receipts(findings, errors)
        receipts = []
        for name, receipt in self._receipts(said):
            if receipt is None:
                errors.append(self._not_installed(name))
            else:
                receipts.append(receipt)

        def mend(receipt: Receipt) -> None:
            wish = self._wish(receipt.entry, receipt)
            mend_asset(wish, receipt, self._network, self.store, self.reporter, wait=self.wait)

        mends = mend if repair else None
        if budget is None:
            return verify_all(self._prover, receipts, mends, full=full, findings=findings, errors=errors)
        return verify_within(
            self.store, self._prover, receipts, mends, self.reporter, budget=budget, findings=findings, errors=errors
        )

    def status(self, names: Iterable[str] = (), *, check: bool = False) -> list[AssetStatus]:
        """The state of each asset, by a look at names and stamps.

        Of large stores not every file is looked at, and each row says so; ``check`` looks at every file.
        """
        return self._inventory.status(names, check=check)

    def assets(
        self,
        pattern: str | None = None,
        *,
        kind: str | None = None,
        installed: bool = False,
        groups: Iterable[str] = (),
    ) -> list[ListedAsset]:
        """All that is declared, locked or installed, by name. A pattern is a glob or a part of a name."""
        return self._inventory.listed(pattern, kind=kind, installed=installed, groups=groups)

    def on_mirrors(
        self, mirrors: Sequence[str], pattern: str | None = None, *, kind: str | None = None
    ) -> list[ListedAsset]:
        """What mirrors tell that they have, by name; the ``state`` is that of the same bytes here.

        Raises
        ------
        OriginError
            When none of them tells.
        """
        from assetmgr.mirrored import on_mirrors
        from assetmgr.mirrors.chosen import named_mirrors

        with self._network.origins(mirrors=named_mirrors(mirrors)) as origins:
            return on_mirrors(origins, Inventory(self._sheets, self.store), pattern, kind=kind)

    def lock_file(self) -> str:
        """The lock of the user's manifest, of several the last one's.

        Raises
        ------
        UsageError
            Where there is no manifest.
        """
        self._sheets.names(())
        return os.fspath(lock_path(self.manifests[-1].path))

    def differences(self, names: Iterable[str] = ()) -> Differences:
        """What is installed against what the lock names: which assets, commits and files differ. Nobody is asked."""
        return self._inventory.differences(names)

    def whereis(self, name: str, *, timeout: float = 10.0) -> Whereabouts:
        """Where the files of an asset are: in this store, in its caches, and how many of them on each mirror.

        The mirrors are asked whether they have each file, for no longer than ``timeout`` seconds; nothing is fetched.

        Raises
        ------
        UnknownAssetError, NotLockedError
            When nothing knows the name, or no lock or receipt says which files these are.
        """
        from assetmgr.whereabouts import whereabouts

        return whereabouts(self._inventory, self.store, self._network, name, timeout=timeout)

    def nearest(self, name: str) -> str:
        """The end of a complaint about a name that nothing has: the nearest ones that are declared or installed."""
        return self._inventory.nearest(name)

    def show(self, name: str, *, all_files: bool = False) -> ShownAsset:
        """All that is known of one asset.

        Raises
        ------
        UnknownAssetError
            When no manifest, no lock and no receipt knows the name.
        """
        shown = self._inventory.show(name, all_files=all_files, mirrors=self._network.mirror_names())
        if shown.kind != "model" or shown.state not in ("installed", "unproved"):
            return shown
        import msgspec

        from assetmgr.models.fitting import fitness

        return msgspec.structs.replace(shown, fit=fitness(self.installed(name, check="none")))

    def installed(self, name: str, *, check: Check = "quick") -> Installed:
        """One proved asset, for who loads it.

        Raises
        ------
        NotInstalledError
            When it is not in the store.
        IntegrityError
            When a file is not what the lock says.
        """
        return self._installed(name, dict(self._receipts([name])).get(name), check)

    def _installed(self, name: str, receipt: Receipt | None, check: Check) -> Installed:
        if check not in ("quick", "full", "none"):
            raise UsageError(f"verify={check!r} is none of 'quick', 'full', 'none'")
        if receipt is None:
            raise self._not_installed(name)
        from assetmgr.verify import installed

        found, fresh = installed(self.store, receipt, check=check)
        if fresh is not receipt:
            self._prover.remember(fresh)
        asset = self._sheets.asset(name)
        if asset is not None and name in self._sheets.locked(self._sheets.of(name)).assets:
            found = dataclasses.replace(found, use=dict(asset.use))
        return found

    def _not_installed(self, name: str) -> AssetError:
        if unreadable := self.store.unreadable(name):
            return unreadable
        locked = name in self._sheets.locked(self._sheets.of(name)).assets
        steps = f"assetmgr pull {name}" if locked else f"assetmgr lock {name} && assetmgr pull {name}"
        return NotInstalledError(f"{name}: not installed", mend=steps)

    def path(self, name: str) -> str:
        """The folder (or the one file) of a proved asset."""
        found = self._receipts([name])
        folder = self._installed(name, dict(found).get(name), "quick").folder
        touch(self.store, (receipt for _, receipt in found if receipt is not None))
        return folder

    def folder_of(self, entry: LockedAsset) -> str:
        """Where an entry's files lie, or will."""
        return self.store.at(Layout(entry).folder)

    # --- other people's programs ---------------------------------------------------------------------------------

    def environment(self, *, online: bool = False, hook: bool = False) -> Changes:
        """The changes to the environment by which other libraries use the store: see `assetmgr.environment`."""
        from assetmgr.environment import changes

        manifests = [os.path.abspath(manifest.path) for manifest in self.manifests] if self._chosen else []
        writable = not os.path.isdir(self.store.root) or os.access(self.store.root, os.W_OK)
        # `datasets` shuts the group out of what it makes, and stops at what another user made.
        writable = writable and not is_shared(self.store.root)
        return changes(self.store.root, os.environ, manifests=manifests, writable=writable, online=online, hook=hook)

    def require(self, names: Iterable[str]) -> Use:
        """Prove assets, and all that they require, by a quick look, before something is begun that needs them.

        Returns
        -------
        Their use: until it is closed, or handed on to another program that ends, nobody removes them.

        Raises
        ------
        NotInstalledError
            When one is not in the store.
        IntegrityError
            When a file is not what the lock says.
        """
        receipts = {name: self._receipts([name]) for name in names}
        used = use(self.store, (receipt for each in receipts.values() for _, receipt in each if receipt is not None))
        faults = self._prover.faults
        raise_all([fault for name, each in receipts.items() for fault in faults(name, each, self._not_installed)])
        return used

    # --- load ----------------------------------------------------------------------------------------------------

    def load_model(
        self,
        name: str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        quantize: str | None = None,
        into: object = None,
        verify: Check = "quick",
    ) -> LoadedModel:
        """See `assetmgr.load_model`."""
        from assetmgr import models

        if into is None:
            models.refuse_lavis(self._sheets.asset(name))
        found, receipts = self._of_kind(name, "model", verify)
        used = use(self.store, filter(None, receipts.values()))
        for_lavis = models.is_for_lavis(found.use.get("load") or {}, of_a_hub=bool(found.entry.repo))
        required = self._required(name, receipts, verify) if for_lavis and into is None else ()
        with contextlib.closing(used):
            return models.load(found, required, device=device, dtype=dtype, quantize=quantize, into=into)

    def load_model_and_preprocess(
        self, name: str, model_type: str, *, is_eval: bool = False, device: str | torch.device = "cpu"
    ) -> tuple[Any, Any, Any]:
        """See `assetmgr.load_model_and_preprocess`."""
        from assetmgr import models

        asset = models.called_by_lavis(self._sheets.catalog, name, model_type)
        models.refuse_lavis(asset)
        found, receipts = self._of_kind(asset.name, "model", "quick")
        required = self._required(asset.name, receipts, "quick")
        with contextlib.closing(use(self.store, filter(None, receipts.values()))):
            return models.load_as_lavis_does(found, required, is_eval=is_eval, device=device)

    def load_dataset(
        self,
        name: str,
        *,
        split: str | None = None,
        vis_path: VisPath | None = None,
        missing: Literal["defer", "error", "skip"] = "defer",
        transform: Callable[[dict[str, Any]], Any] | None = None,
        config_name: str | None = None,
        verify: Check = "quick",
    ) -> dict[str, Dataset] | Dataset:
        """See `assetmgr.load_dataset`."""
        from assetmgr import datasets

        # A quick look proves what is about to be read; media are checked when they are touched.
        few = verify == "quick"
        whole: Check = "none" if few else verify
        found, receipts = self._form(name, whole)
        used = use(self.store, filter(None, receipts.values()))
        required = [self._installed(other, receipts.get(other), whole) for other in found.entry.requires]
        opened = datasets.load(
            found,
            required,
            split=split,
            vis_path=vis_path,
            missing=missing,
            transform=transform,
            config_name=config_name,
            check=verify != "none",
            prove=functools.partial(self._prove_needed, receipts) if few else datasets.trusted,
        )
        # What is made of a dataset has its table, too: nothing of it is removed before the last of them has gone.
        used.keep_for(*(one.table for one in (opened.values() if isinstance(opened, dict) else [opened])))
        return opened

    def contact_sheet(self, name: str, path: str, *, count: int = 12, split: str | None = None) -> ShownSheet:
        """Write some samples of a dataset to a page; those that cannot be had are on it, and told.

        Raises
        ------
        UsageError
            When the page cannot be written there.
        """
        from assetmgr.datasets.contact_sheet import cells_of, check_name, write_sheet

        check_name(path)
        opened = self.load_dataset(name, split=split)
        cells = cells_of(opened if isinstance(opened, dict) else {opened.split: opened}, count)
        write_sheet(path, f"{name}: {len(cells)} samples", cells)
        return ShownSheet(name, os.path.abspath(path), len(cells), tuple(cell.fault for cell in cells if cell.fault))

    def _prove_needed(self, receipts: Receipts, asset: Installed, files: Sequence[LockedFile]) -> None:
        from assetmgr.needed import prove_needed

        receipt = receipts.get(asset.name)
        assert receipt is not None
        if fresh := prove_needed(self.store, receipt, files):
            self._prover.keep(receipt, fresh)

    def _required(self, name: str, receipts: Receipts, check: Check) -> list[Installed]:
        """All that an asset requires, and what those require, proved."""
        return [self._installed(other, receipt, check) for other, receipt in receipts.items() if other != name]

    def _form(self, name: str, check: Check) -> tuple[Installed, Receipts]:
        """The dataset of a name, or of ``NAME/FORM`` that form of it; and what it requires, with their receipts."""
        base, _, form = name.rpartition("/")
        try:
            return self._of_kind(name, "dataset", check)
        except UnknownAssetError as error:
            if not base:
                raise
            try:
                found, receipts = self._of_kind(base, "dataset", check)
            except UnknownAssetError:
                raise error from None
        from assetmgr.datasets.variants import variant_of

        return variant_of(found, form), receipts

    def _of_kind(self, name: str, kind: str, check: Check) -> tuple[Installed, Receipts]:
        receipts = dict(self._receipts([name]))
        found = self._installed(name, receipts.get(name), check)
        if found.entry.kind != kind:
            raise UsageError(
                f"{name} is a {found.entry.kind}, not a {kind}",
                mend=f"assetmgr.load_{found.entry.kind}({name!r})",
            )
        return found, receipts
