"""The facade that the command line and the Python API share: manifests, their locks, and one store."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from assetmgr import views
from assetmgr.catalog import Catalog, find_manifest, shipped_manifests
from assetmgr.errors import (
    AssetError,
    NotInstalledError,
    NotLockedError,
    StaleLockError,
    UnknownAssetError,
    UsageError,
    raise_all,
)
from assetmgr.lock import Lock, LockedAsset, changes, check_refs, dump_lock, load_lock, lock_path
from assetmgr.manifest import Asset, HubSource, Manifest, load_manifest
from assetmgr.mutex import held
from assetmgr.placing import write_document
from assetmgr.receipt import Receipt
from assetmgr.reporting import Reporter, Silent
from assetmgr.store import Layout, State, Store, check_places, default_root
from assetmgr.verify import Finding, Installed, claimed_refs, installed, verify

if TYPE_CHECKING:
    from assetmgr.datasets import ImageTextDataset
    from assetmgr.models import LoadedModel
    from assetmgr.origins import Origins
    from assetmgr.plan import Plan
    from assetmgr.pull import Pull, Pulled, Wish

Check = Literal["quick", "full", "none"]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A lock and the manifest that it pins. The store's own sheet, for commands without any user manifest, has none."""

    manifest: Manifest | None
    lock_file: Path


@dataclass(frozen=True, slots=True)
class LockChange:
    """What `lock` did to one lock file."""

    path: Path
    changes: tuple[str, ...]
    assets: int


@dataclass(frozen=True, slots=True)
class AssetStatus:
    """One asset's state, as `status` shows it.

    ``state`` is ``installed``, ``unproved`` (there, and to be hashed once), ``incomplete``, ``not installed`` or
    ``not locked``; ``stale`` says that the manifest changed since the lock.
    """

    name: str
    kind: str
    state: str
    stale: bool = False
    files: int = 0
    bytes: int = 0
    revision: str = ""
    commit: str = ""
    proved_at: int | None = None
    path: str = ""


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found over several assets."""

    assets: int
    files: int
    bytes: int
    hashed_bytes: int
    findings: tuple[Finding, ...] = ()
    repaired: tuple[Finding, ...] = ()
    errors: tuple[AssetError, ...] = field(default=())


class Workspace:
    """Manifests, locks and a store.

    Parameters
    ----------
    manifests
        The user's manifests. None: ``ASSETMGR_MANIFEST`` (several, separated as in PATH), then the nearest
        ``assets.yaml`` from the working folder upward; there may be none.
    root
        The store. None: ``ASSETMGR_ROOT``, then the manifest's ``cache_root``, then the platform's cache folder.
    offline
        Never ask the network. True also while ``HF_HUB_OFFLINE`` is set.
    jobs
        How many files move at once.
    wait
        Seconds to wait for what another process holds.
    """

    def __init__(
        self,
        manifests: Sequence[str | os.PathLike[str]] | None = None,
        root: str | os.PathLike[str] | None = None,
        *,
        offline: bool = False,
        jobs: int | None = None,
        wait: float = 3600.0,
        reporter: Reporter | None = None,
    ) -> None:
        if manifests is None:
            listed = os.environ.get("ASSETMGR_MANIFEST")
            nearest = find_manifest(Path.cwd()) if not listed else None
            manifests = listed.split(os.pathsep) if listed else [nearest] if nearest else []
        self.manifests = tuple(load_manifest(Path(path)) for path in manifests)
        self.catalog = Catalog(self.manifests, shipped_manifests())
        roots = [manifest.cache_root for manifest in self.manifests if manifest.cache_root]
        self.store = Store(default_root(os.fspath(root) if root else None, roots[-1] if roots else None))
        self.offline = offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
        self.reporter = reporter or Silent()
        self._jobs = jobs
        self._wait = wait
        own = Sheet(None, Path(self.store.state, "lockfiles", "assets.lock.json"))
        self._sheets = (*(Sheet(manifest, lock_path(manifest.path)) for manifest in self.manifests), own)
        self._locks: dict[Path, Lock | None] = {}

    # --- names ---------------------------------------------------------------------------------------------------

    def _locked(self, sheet: Sheet) -> Lock:
        """A sheet's lock, read once; an empty one where there is none."""
        if sheet.lock_file not in self._locks:
            # Names and digests are checked by who writes by them (`Pull`), not by every look.
            self._locks[sheet.lock_file] = load_lock(sheet.lock_file, check=False)
        return self._locks[sheet.lock_file] or Lock(assets={})

    def _sheet_of(self, name: str) -> Sheet:
        """The sheet that a name belongs to: the last manifest that declares it, else the store's own."""
        for sheet in reversed(self._sheets[:-1]):
            assert sheet.manifest is not None
            if any(asset.name == name for asset in sheet.manifest.assets):
                return sheet
        for sheet in self._sheets:
            if name in self._locked(sheet).assets:
                return sheet
        return self._sheets[-1]

    def _asset(self, name: str) -> Asset | None:
        try:
            return self.catalog.get(name)
        except UnknownAssetError:
            return None

    def _names(self, names: Iterable[str]) -> tuple[str, ...]:
        """The names that a command means: what was said, or all that the user's manifests declare."""
        said = tuple(dict.fromkeys(names))
        if said:
            return said
        if not self.manifests:
            raise UsageError(
                "no manifest here (assets.yaml, --manifest or ASSETMGR_MANIFEST), and no asset named",
                mend="name an asset, or write an assets.yaml",
            )
        return tuple(self.catalog.user_names)

    def group(self, group: str) -> tuple[str, ...]:
        """The names of the catalog's assets in a group."""
        return self.catalog.group(group)

    def _entries(self, names: Iterable[str]) -> list[LockedAsset]:
        """The lock entries of names and of all that they require, each once, required ones first."""
        found: dict[str, LockedAsset] = {}
        for name in names:
            sheet = self._sheet_of(name)
            lock = self._locked(sheet)
            if name not in lock.assets:
                self._unknown(name)
                where = f"in {sheet.lock_file}" if sheet.lock_file.exists() else f"there is no {sheet.lock_file}"
                raise NotLockedError(f"{name}: not locked ({where})", mend=f"assetmgr lock {name}")
            for entry in lock.closure([name]):
                found.setdefault(entry.name, entry)
        return list(found.values())

    def _unknown(self, name: str) -> None:
        """Raise `UnknownAssetError` for a name that no manifest and no receipt knows."""
        if self._asset(name) is None and name not in self.store.installed_names():
            self.catalog.get(name)

    def _stale(self, entry: LockedAsset) -> bool:
        asset = self._asset(entry.name)
        return asset is not None and asset.digest() != entry.declared

    # --- lock ----------------------------------------------------------------------------------------------------

    def lock(self, names: Iterable[str] = (), *, upgrade: Iterable[str] = (), fetch: bool = True) -> list[LockChange]:
        """Pin assets, and all that they require, to exact bytes; write the locks that changed.

        A pin that the manifest still allows is kept, without asking anybody. Names in ``upgrade`` move to the newest
        commit of their revision. ``fetch=False`` leaves the sha256 of files open for which the origin publishes none.
        """
        upgraded = tuple(dict.fromkeys(upgrade))
        wanted = self._names((*names, *upgraded))
        everything = not tuple(names) and not upgraded
        by_sheet: dict[Path, tuple[Sheet, list[str]]] = {}
        for name in wanted:
            self._unknown(name)
            sheet = self._sheet_of(name)
            by_sheet.setdefault(sheet.lock_file, (sheet, []))[1].append(name)
        if everything:
            for sheet in self._sheets[:-1]:
                by_sheet.setdefault(sheet.lock_file, (sheet, []))
        report = []
        with self._origins() as origins:
            for sheet, asked in by_sheet.values():
                report.append(self._lock_sheet(sheet, asked, upgraded, origins, prune=everything, fetch=fetch))
        return report

    def _lock_sheet(
        self,
        sheet: Sheet,
        names: Sequence[str],
        upgrade: Sequence[str],
        origins: Origins,
        *,
        prune: bool,
        fetch: bool,
    ) -> LockChange:
        before = self._locked(sheet)
        after = {} if prune else dict(before.assets)
        errors: list[AssetError] = []
        for asset in self.catalog.closure(names):
            try:
                after[asset.name] = self._resolve(
                    asset, before.assets.get(asset.name), asset.name in upgrade, origins, fetch=fetch
                )
            except AssetError as error:
                errors.append(error)
        raise_all(errors)
        if sheet.manifest is not None and not prune:
            declared = {asset.name for asset in self.catalog.closure([asset.name for asset in sheet.manifest.assets])}
            after = {name: entry for name, entry in after.items() if name in declared}
        check_refs(after.values())
        check_places(after.values())
        lock = Lock(assets=after)
        data = dump_lock(lock)
        if not sheet.lock_file.exists() or sheet.lock_file.read_bytes() != data:
            write_document(sheet.lock_file, data)
        self._locks[sheet.lock_file] = lock
        return LockChange(sheet.lock_file, tuple(changes(before.assets, after)), len(after))

    def _resolve(
        self, asset: Asset, previous: LockedAsset | None, upgrade: bool, origins: Origins, *, fetch: bool
    ) -> LockedAsset:
        complete = previous is not None and (not fetch or all(file.sha256 for file in previous.files))
        if previous is not None and complete and not upgrade and previous.declared == asset.digest():
            return previous
        source = asset.source
        origin = origins.hub(source.endpoint) if isinstance(source, HubSource) else origins.files(_folder(asset))
        return origin.resolve(asset, None if upgrade else previous, fetch=fetch)

    def check_lock(self, names: Iterable[str] = ()) -> None:
        """Raise `StaleLockError` when a lock does not say what its manifest asks for. Asks nobody and writes nothing."""
        said = tuple(names)
        disagreements = []
        for sheet in self._sheets[:-1] if not said else dict.fromkeys(map(self._sheet_of, said)):
            asked = [name for name in self._names(said) if self._sheet_of(name) == sheet]
            lock = self._locked(sheet)
            declared = self.catalog.closure(asked)
            for asset in declared:
                entry = lock.assets.get(asset.name)
                if entry is None:
                    disagreements.append(f"{asset.name}: declared at {asset.declared_at}, not in {sheet.lock_file}")
                elif entry.declared != asset.digest():
                    disagreements.append(f"{asset.name}: changed at {asset.declared_at} since it was locked")
            if not said:
                extra = sorted(lock.assets.keys() - {asset.name for asset in declared})
                disagreements += [f"{name}: in {sheet.lock_file}, not asked for by the manifest" for name in extra]
        if disagreements:
            raise StaleLockError("\n".join(disagreements), mend="assetmgr lock")

    # --- pull ----------------------------------------------------------------------------------------------------

    def plan(self, names: Iterable[str] = ()) -> Plan:
        """What `pull` would do, and the bytes and disk it would take."""
        with self._origins() as origins:
            return self._pull(self._wishes(names), origins).plan()

    def pull(self, names: Iterable[str] = (), *, locked: bool = False) -> list[Pulled]:
        """Bring assets, and all that they require, from the lock into the store, proved. The lock is never written.

        ``locked=True`` refuses a lock that the manifest has outrun; otherwise the locked bytes are pulled and a word
        is said.
        """
        wishes = self._wishes(names)
        stale = [wish.entry.name for wish in wishes if self._stale(wish.entry)]
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
        with self._origins() as origins:
            return self._pull(wishes, origins).run()

    def _wishes(self, names: Iterable[str]) -> list[Wish]:
        return [self._wish(entry) for entry in self._entries(self._names(names))]

    def _wish(self, entry: LockedAsset, receipt: Receipt | None = None) -> Wish:
        from assetmgr.pull import Wish

        asset = self._asset(entry.name)
        if asset is None:
            # Not declared here (any more): what the receipt remembers is all there is.
            return Wish(entry, use=receipt.use if receipt else {}, endpoint=receipt.endpoint if receipt else None)
        sheet = self._sheet_of(entry.name)
        return Wish(
            entry,
            use=dict(asset.use),
            endpoint=asset.source.endpoint if isinstance(asset.source, HubSource) else None,
            base=_folder(asset),
            local_dir=asset.local_dir,
            local_dir_links=asset.local_dir_links,
            manifest=os.path.abspath(sheet.manifest.path) if sheet.manifest else None,
        )

    def _pull(self, wishes: Sequence[Wish], origins: Origins) -> Pull:
        from assetmgr.pull import Pull

        return Pull(self.store, origins, wishes)

    def _origins(self) -> Origins:
        from assetmgr.origins import Context, Origins
        from assetmgr.transfer.limits import Limits

        limits = Limits(jobs=self._jobs) if self._jobs else Limits()
        return Origins(Context(self.store, limits, self.reporter, self.offline, self._wait))

    # --- look and prove ------------------------------------------------------------------------------------------

    def _receipts(self, names: Iterable[str]) -> list[tuple[str, Receipt | None]]:
        """Each meant asset with its receipt: of the lock's entry where a lock names it, else the one pulled last."""
        said = tuple(names)
        if not said and not self.manifests:
            return [(receipt.entry.name, receipt) for receipt in self.store.receipts()]
        found: dict[str, Receipt | None] = {}
        for name in self._names(said):
            lock = self._locked(self._sheet_of(name))
            if name in lock.assets:
                for entry in lock.closure([name]):
                    found[entry.name] = self.store.read_receipt(entry)
                continue
            receipts = self.store.receipts_of(name)
            if not receipts:
                self._unknown(name)
            found[name] = receipts[0] if receipts else None
            for required in receipts[0].entry.requires if receipts else ():
                again = self.store.receipts_of(required)
                found.setdefault(required, again[0] if again else None)
        return list(found.items())

    def verify(self, names: Iterable[str] = (), *, full: bool = False, repair: bool = False) -> Verification:
        """Prove what is installed; with ``repair``, fetch anew what is damaged, and nothing else."""
        errors: list[AssetError] = []
        findings: list[Finding] = []
        repaired: list[Finding] = []
        assets = files = size = hashed = 0
        for name, receipt in self._receipts(names):
            if receipt is None:
                errors.append(_not_installed(name))
                continue
            verdict = verify(
                self.store,
                receipt,
                full=full,
                reporter=self.reporter,
                others=lambda r=receipt: self._claims(r),  # type: ignore[misc]
            )
            assets, files = assets + 1, files + len(receipt.entry.files)
            size, hashed = size + receipt.entry.size, hashed + verdict.hashed_bytes
            if verdict.receipt != receipt:
                self._remember(verdict.receipt)
            if not verdict.findings:
                continue
            if not repair:
                findings += verdict.findings
                continue
            try:
                self._repair(verdict.receipt)
                repaired += verdict.findings
            except AssetError as error:
                findings += verdict.findings
                errors.append(error)
        return Verification(assets, files, size, hashed, tuple(findings), tuple(repaired), tuple(errors))

    def _claims(self, receipt: Receipt) -> set[tuple[str, str]]:
        return claimed_refs(self.store.receipts(), receipt.entry)

    def _repair(self, receipt: Receipt) -> None:
        wish = self._wish(receipt.entry, receipt)
        with self._origins() as origins:
            self._pull([wish], origins).run()
        for folder in receipt.local_dirs:
            shown = views.read_view(self.store, folder).files.values()
            styles = [own.asked for own in shown if own.asset == receipt.entry.name]
            if styles and folder != wish.local_dir:
                views.show(self.store, receipt.entry, folder, styles[0], self.reporter, wait=self._wait)

    def _remember(self, receipt: Receipt) -> None:
        """Keep fresh stamps, where the store may be written. A reader of a shared store proves again each time."""
        try:
            with held(self.store.mutex("receipts"), f"proving {receipt.entry.name}", wait=self._wait):
                now = self.store.read_receipt(receipt.entry)
                if now is not None and now.pulled_at > receipt.pulled_at:
                    return  # pulled anew meanwhile
                self.store.save_receipt(receipt)
        except PermissionError:
            self.reporter.say(
                f"{receipt.entry.name}: proved, but {self.store.root} is not writable: the proof is not kept"
            )
        except OSError as error:
            self.reporter.say(f"{receipt.entry.name}: proved, but the proof is not kept: {error.strerror}")

    def status(self, names: Iterable[str] = ()) -> list[AssetStatus]:
        """The state of each asset, by a look at names and stamps."""
        rows = []
        for name, receipt in self._receipts(names):
            lock = self._locked(self._sheet_of(name))
            entry = receipt.entry if receipt else lock.assets.get(name)
            if entry is None:
                asset = self._asset(name)
                rows.append(AssetStatus(name, asset.kind if asset else "", "not locked"))
                continue
            rows.append(
                AssetStatus(
                    name,
                    entry.kind,
                    self._state(receipt) if receipt else "not installed",
                    self._stale(entry) if name in lock.assets else False,
                    len(entry.files),
                    sum(max(file.size, 0) for file in entry.files),
                    entry.revision,
                    entry.commit,
                    receipt.proved_at() if receipt else None,
                    self.store.at(Layout(entry).folder) if receipt else "",
                )
            )
        return rows

    def _state(self, receipt: Receipt) -> str:
        states = set(self.store.survey(receipt.entry, receipt.stamps))
        if states & {State.MISSING, State.UNLINKED} or receipt.pulled_at <= 0:
            return "incomplete"
        damaged = any(
            stamp is None and state is not State.PROVED
            for stamp, state in zip(receipt.stamps, self.store.survey(receipt.entry, receipt.stamps), strict=True)
        )
        if damaged:
            return "damaged"
        return "unproved" if State.UNPROVED in states else "installed"

    def installed(self, name: str, *, check: Check = "quick") -> Installed:
        """One proved asset, for who loads it.

        Raises
        ------
        NotInstalledError
            When it is not in the store.
        IntegrityError
            When a file is not what the lock says.
        """
        receipts = dict(self._receipts([name]))
        receipt = receipts.get(name)
        if receipt is None:
            raise _not_installed(name)
        found, fresh = installed(self.store, receipt, check=check)
        if fresh is not receipt:
            self._remember(fresh)
        asset = self._asset(name)
        if asset is not None and name in self._locked(self._sheet_of(name)).assets:
            found = Installed(found.entry, found.folder, dict(asset.use), found.store)
        return found

    def path(self, name: str) -> str:
        """The folder (or the one file) of a proved asset."""
        return self.installed(name).folder

    # --- load ----------------------------------------------------------------------------------------------------

    def load_model(
        self,
        name: str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        quantize: str | None = None,
        verify: Check = "quick",
    ) -> LoadedModel:
        """See `assetmgr.load_model`."""
        found = self._of_kind(name, "model", verify)
        from assetmgr import models

        return models.load(found, device=device, dtype=dtype, quantize=quantize)

    def load_dataset(
        self,
        name: str,
        *,
        split: str | None = None,
        vis_path: str | os.PathLike[str] | None = None,
        missing: Literal["defer", "error", "skip"] = "defer",
        verify: Check = "quick",
    ) -> dict[str, ImageTextDataset] | ImageTextDataset:
        """See `assetmgr.load_dataset`."""
        found = self._of_kind(name, "dataset", verify)
        required = [self.installed(other, check=verify) for other in found.entry.requires]
        from assetmgr import datasets

        return datasets.load(found, required, split=split, vis_path=vis_path, missing=missing)

    def _of_kind(self, name: str, kind: str, check: Check) -> Installed:
        found = self.installed(name, check=check)
        if found.entry.kind != kind:
            raise UsageError(
                f"{name} is a {found.entry.kind}, not a {kind}",
                mend=f"assetmgr.load_{found.entry.kind}({name!r})",
            )
        return found


def _folder(asset: Asset) -> str:
    """The folder of the manifest that declares an asset, where its relative paths begin."""
    return os.path.dirname(os.path.abspath(asset.declared_at.file))


def _not_installed(name: str) -> NotInstalledError:
    return NotInstalledError(f"{name}: not installed", mend=f"assetmgr lock {name} && assetmgr pull {name}")


def load_model(
    name: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    quantize: str | None = None,
    manifest: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    verify: Check = "quick",
) -> LoadedModel:
    """Load an installed model from proved files, with its processor, without a network.

    Parameters
    ----------
    name
        The asset's name. What is installed is found by its receipt; a manifest is not needed.
    device
        ``auto`` (a CUDA device, then Apple's, then the CPU), or torch's own name: ``cpu``, ``cuda:1``, ``mps``.
    dtype
        ``float32``, ``float16``, ``bfloat16``; ``auto`` takes the manifest's ``load: {dtype: ...}``, else the one that
        the weights were saved in.
    quantize
        ``int8`` or ``nf4``, through bitsandbytes. None takes the manifest's.
    manifest, root
        See `Workspace`.
    verify
        ``quick`` proves by stamps (and by hashing what has none), ``full`` hashes every file, ``none`` trusts.

    Returns
    -------
    LoadedModel
        With ``model``, ``processor``, ``device`` and ``dtype``.

    Raises
    ------
    NotInstalledError
        When it is not in the store.
    IntegrityError
        When a file is not what the lock says.
    """
    workspace = Workspace([manifest] if manifest else None, root)
    return workspace.load_model(name, device=device, dtype=dtype, quantize=quantize, verify=verify)


def load_dataset(
    name: str,
    *,
    split: str | None = None,
    vis_path: str | os.PathLike[str] | None = None,
    missing: Literal["defer", "error", "skip"] = "defer",
    manifest: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    verify: Check = "quick",
) -> dict[str, ImageTextDataset] | ImageTextDataset:
    """Open an installed dataset from proved files: a dict of split -> map-style dataset, or one split.

    Parameters
    ----------
    name
        The asset's name. What is installed is found by its receipt; a manifest is not needed.
    split
        One split's name: that dataset alone is returned.
    vis_path
        A folder of images to use in place of the asset's own.
    missing
        What to do about images that are not there: ``defer`` raises at the sample, ``error`` before the first sample,
        ``skip`` leaves those rows out.
    manifest, root, verify
        See `load_model`.

    Raises
    ------
    NotInstalledError
        When it is not in the store.
    IntegrityError
        When a file is not what the lock says.
    """
    workspace = Workspace([manifest] if manifest else None, root)
    return workspace.load_dataset(name, split=split, vis_path=vis_path, missing=missing, verify=verify)
