"""The locks that belong to the manifests in force: which one names an asset, and how one is made and checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import msgspec

from assetmgr.catalog import Catalog, shipped_manifests
from assetmgr.digests import sha256_text
from assetmgr.errors import (
    AssetError,
    FetchByHandError,
    LockError,
    LockVersionError,
    NotInstalledError,
    NotLockedError,
    SeveralErrors,
    StaleLockError,
    UsageError,
    raise_all,
)
from assetmgr.lock import Lock, LockedAsset, changes, check_entry, check_refs, dump_lock, load_lock, lock_path
from assetmgr.manifest import Asset, HubSource, Manifest, ScriptSource, UrlListSource
from assetmgr.mutex import held
from assetmgr.names import asset_name_fault
from assetmgr.origins import Origin, Origins
from assetmgr.placing import write_document
from assetmgr.store import Store, check_places


@dataclass(frozen=True, slots=True)
class Sheet:
    """A lock and the manifest that it pins. The store's own sheet, for commands without any user manifest, has none."""

    manifest: Manifest | None
    lock_file: Path


@dataclass(frozen=True, slots=True)
class LockChange:
    """What `lock` did to one lock file. ``by_hand`` are the assets that wait for a user to hand a file in."""

    path: Path
    changes: tuple[str, ...]
    assets: int
    by_hand: tuple[AssetError, ...] = ()


class Sheets:
    """The user's manifests with the locks beside them, and the store's own lock for names that they do not declare."""

    def __init__(self, manifests: Sequence[Manifest], store: Store) -> None:
        self.manifests = tuple(manifests)
        self.catalog = Catalog(self.manifests, shipped_manifests())
        self._store = store
        own = Sheet(None, Path(store.state, "lockfiles", "assets.lock.json"))
        self._sheets = (*(Sheet(manifest, lock_path(manifest.path)) for manifest in self.manifests), own)
        self._locks: dict[Path, Lock | None] = {}

    def locked(self, sheet: Sheet) -> Lock:
        """A sheet's lock, read once; an empty one where there is none."""
        if sheet.lock_file not in self._locks:
            # Names and digests are checked by who writes by them (`Pull`), not by every look.
            self._locks[sheet.lock_file] = load_lock(sheet.lock_file, check=False)
        return self._locks[sheet.lock_file] or Lock(assets={})

    def of(self, name: str) -> Sheet:
        """The sheet that a name belongs to: the last manifest that declares or requires it, else the store's own."""
        for sheet in reversed(self._sheets[:-1]):
            assert sheet.manifest is not None
            if any(asset.name == name for asset in sheet.manifest.assets):
                return sheet
        for sheet in reversed(self._sheets[:-1]):
            if sheet.manifest is not None and name in sheet.manifest.required_at:
                return sheet
        for sheet in self._sheets:
            if name in self.locked(sheet).assets:
                return sheet
        if not asset_name_fault(name):
            alone = self._reference_lock(name)
            if alone.exists() and self.asset(name) is None:
                return Sheet(None, alone)
        return self._sheets[-1]

    def asset(self, name: str) -> Asset | None:
        return self.catalog.find(name)

    def names(self, names: Iterable[str]) -> tuple[str, ...]:
        """The names that a command means: what was said, or all that the user's manifests declare and require."""
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
        """The names in a group: of the user's manifests where they have it, else of all that is declared."""
        own = tuple(name for name in self.catalog.user_names if group in self.catalog.get(name).groups)
        return own or self.catalog.group(group)

    def entries(self, names: Iterable[str], errors: list[AssetError]) -> list[LockedAsset]:
        """The lock entries of names and of all that they require, each once, required ones first.

        What is wrong with one name is added to ``errors``, and does not hide the others.
        """
        found: dict[str, LockedAsset] = {}
        for name in names:
            try:
                sheet = self.of(name)
                lock = self.locked(sheet)
                if name not in lock.assets:
                    self.check_known(name)
                    where = f"in {sheet.lock_file}" if sheet.lock_file.exists() else f"there is no {sheet.lock_file}"
                    raise NotLockedError(f"{name}: not locked ({where})", mend=f"assetmgr lock {name}")
                for entry in lock.closure([name]):
                    found.setdefault(entry.name, entry)
            except LockError:
                raise
            except AssetError as error:
                errors.append(error)
        return list(found.values())

    def check_known(self, name: str) -> None:
        """Raise `UnknownAssetError` for a name that no manifest and no receipt knows."""
        if self.asset(name) is None and name not in self._store.installed_names():
            self.catalog.get(name)

    def stale(self, entry: LockedAsset) -> bool:
        asset = self.asset(entry.name)
        return asset is not None and asset.digest() != entry.declared

    # --- lock ----------------------------------------------------------------------------------------------------

    def lock(
        self, origins: Origins, names: Iterable[str], *, upgrade: Iterable[str], fetch: bool, freeze: bool = False
    ) -> list[LockChange]:
        """See `Workspace.lock`. What waits for a file by hand is raised when all the rest is written."""
        names = tuple(names)
        upgraded = tuple(dict.fromkeys(upgrade))
        wanted = self.names((*names, *upgraded))
        everything = not names and not upgraded
        by_sheet: dict[Path, tuple[Sheet, list[str]]] = {}
        for name in () if everything else wanted:
            self.check_known(name)
            sheet = self.of(name)
            by_sheet.setdefault(sheet.lock_file, (sheet, []))[1].append(name)
        if everything:
            for sheet in self._sheets[:-1]:
                by_sheet.setdefault(sheet.lock_file, (sheet, [*self._wanted(sheet)]))
        report = []
        for sheet, asked in by_sheet.values():
            assets = self.catalog.closure(asked)
            report.append(
                self._lock_sheet(sheet, assets, upgraded, origins, prune=everything, fetch=fetch, freeze=freeze)
            )
        by_hand = [error for one in report for error in one.by_hand]
        for one in report if by_hand else ():
            for line in one.changes:
                origins.context.reporter.say(line)
            written = "written" if one.changes else "unchanged"
            origins.context.reporter.say(f"{one.path} {written}; it lacks what must be fetched by hand first:")
        raise_all(by_hand)
        return report

    def _wanted(self, sheet: Sheet) -> tuple[str, ...]:
        """What a whole lock is made for: the names that its manifest has the last word on, and those it requires."""
        assert sheet.manifest is not None
        required = sheet.manifest.required_at
        return tuple(name for name in sheet.manifest.wanted if name in required or self.of(name) == sheet)

    def lock_reference(self, origins: Origins, asset: Asset, *, upgrade: bool) -> LockChange:
        """Pin what no manifest declares, and a command line named by a reference, in a lock of its own in the store.

        Two references may want one repo at different times: what one of them pins says nothing of the other.
        """
        sheet = Sheet(None, self._reference_lock(asset.name))
        upgraded = [asset.name] if upgrade else []
        return self._lock_sheet(sheet, [asset], upgraded, origins, prune=True, fetch=True, freeze=False)

    def locked_reference(self, name: str) -> LockedAsset | None:
        """What a reference of this name was pinned to; None where none was, or its lock cannot be read."""
        try:
            return self.locked(Sheet(None, self._reference_lock(name))).assets.get(name)
        except LockError:
            return None

    def _reference_lock(self, name: str) -> Path:
        return Path(self._store.state, "lockfiles", "references", f"{quote(name, safe='+')}.lock.json")

    def _lock_sheet(
        self,
        sheet: Sheet,
        assets: Sequence[Asset],
        upgrade: Sequence[str],
        origins: Origins,
        *,
        prune: bool,
        fetch: bool,
        freeze: bool,
    ) -> LockChange:
        """Make one lock anew, or bring some of its names up to date. Two processes do it one after the other."""
        wait, say = origins.context.wait, origins.context.reporter.say
        key = f"lock-{sha256_text(os.path.realpath(sheet.lock_file))[:32]}"
        with held(self._store.mutex(key), f"locking {sheet.lock_file}", wait=wait, say=say):
            self._locks.pop(sheet.lock_file, None)  # another process may have written it meanwhile
            before = self._before(sheet, prune, say)
            return self._write_sheet(sheet, before, assets, upgrade, origins, prune=prune, fetch=fetch, freeze=freeze)

    def _before(self, sheet: Sheet, prune: bool, say: Callable[[str], object]) -> Lock:
        """The lock as it stands. One that cannot be read is made anew, where all of it is asked for."""
        try:
            return self.locked(sheet)
        except LockVersionError:
            raise
        except LockError as error:
            if not prune:
                raise
            say(f"{error.message}; making it anew")
            self._locks[sheet.lock_file] = None
            return Lock(assets={})

    def _write_sheet(
        self,
        sheet: Sheet,
        before: Lock,
        assets: Sequence[Asset],
        upgrade: Sequence[str],
        origins: Origins,
        *,
        prune: bool,
        fetch: bool,
        freeze: bool,
    ) -> LockChange:
        after = {} if prune else dict(before.assets)
        errors: list[AssetError] = []
        by_hand: list[AssetError] = []
        for asset in assets:
            try:
                entry = self._resolve(asset, before.assets.get(asset.name), asset.name in upgrade, origins, fetch=fetch)
                after[asset.name] = self._frozen(entry) if freeze else entry
            except AssetError as error:
                parts = error.errors if isinstance(error, SeveralErrors) else (error,)
                if all(isinstance(part, FetchByHandError) for part in parts):
                    # That may take a user days: the rest is locked now, and this asset stays as it was.
                    by_hand += parts
                    if asset.name in before.assets:
                        after[asset.name] = before.assets[asset.name]
                else:
                    errors += parts
        if errors:
            raise_all([*errors, *by_hand])
        if sheet.manifest is not None and not prune:
            declared = {asset.name for asset in self.catalog.closure(sheet.manifest.wanted)}
            after = {name: entry for name, entry in after.items() if name in declared}
        check_refs(after.values())
        check_places(map(self._store.contents, after.values()))
        lock = Lock(assets=after)
        data = dump_lock(lock)
        if not sheet.lock_file.exists() or sheet.lock_file.read_bytes() != data:
            write_document(sheet.lock_file, data)
        self._locks[sheet.lock_file] = lock
        if not by_hand:
            origins.settle()
        return LockChange(sheet.lock_file, tuple(changes(before.assets, after)), len(after), tuple(by_hand))

    def _resolve(
        self, asset: Asset, previous: LockedAsset | None, upgrade: bool, origins: Origins, *, fetch: bool
    ) -> LockedAsset:
        if previous is not None and not _is_sound(previous):
            previous = None  # a pin that nothing may be written by is no pin to keep
        complete = previous is not None and (not fetch or all(file.is_pinned for file in previous.files))
        if previous is not None and complete and not upgrade and previous.declared == asset.digest():
            return msgspec.structs.replace(previous, license=asset.license or previous.license)
        source, folder = asset.source, folder_of(asset)
        origin: Origin
        if isinstance(source, HubSource):
            origin = origins.hub(source.endpoint, source.transport)
        elif isinstance(source, UrlListSource):
            origin = origins.url_list(folder, source.tuning)
        elif isinstance(source, ScriptSource):
            origin = origins.script(folder)
        else:
            origin = origins.files(folder)
        return origin.resolve(asset, None if upgrade else previous, fetch=fetch)

    def _frozen(self, entry: LockedAsset) -> LockedAsset:
        """An entry with the outcome that this store has of it."""
        if not entry.is_open:
            return entry
        receipt = self._store.read_receipt(entry)
        if receipt is None or receipt.pulled_at <= 0:
            raise NotInstalledError(
                f"{entry.name}: what the lock is to freeze was not made here yet",
                mend=f"assetmgr lock {entry.name} && assetmgr pull {entry.name} && assetmgr lock --freeze {entry.name}",
            )
        return msgspec.structs.replace(receipt.entry, license=entry.license)

    def check(self, names: Iterable[str] = ()) -> None:
        """Raise `StaleLockError` when a lock does not say what its manifest asks for. Asks nobody, writes nothing."""
        said = tuple(names)
        self.names(said)  # something must be meant
        disagreements = []
        for sheet in self._sheets[:-1] if not said else dict.fromkeys(map(self.of, said)):
            asked = [name for name in said if self.of(name) == sheet] if said else self._wanted(sheet)
            lock = self.locked(sheet)
            declared = self.catalog.closure(asked)
            for asset in declared:
                entry = lock.assets.get(asset.name)
                if entry is not None:
                    check_entry(entry)
                if entry is None:
                    disagreements.append(f"{asset.name}: {self._asked_at(asset, sheet)}, not in {sheet.lock_file}")
                elif entry.declared != asset.digest():
                    disagreements.append(f"{asset.name}: changed at {asset.declared_at} since it was locked")
            if not said:
                extra = sorted(lock.assets.keys() - {asset.name for asset in declared})
                disagreements += [f"{name}: in {sheet.lock_file}, not asked for by the manifest" for name in extra]
        if disagreements:
            raise StaleLockError("\n".join(disagreements), mend="assetmgr lock")

    @staticmethod
    def _asked_at(asset: Asset, sheet: Sheet) -> str:
        place = sheet.manifest.required_at.get(asset.name) if sheet.manifest else None
        return f"required at {place}" if place else f"declared at {asset.declared_at}"


def folder_of(asset: Asset) -> str:
    """The folder of the manifest that declares an asset, where its relative paths begin."""
    return os.path.dirname(os.path.abspath(asset.declared_at.file))


def _is_sound(entry: LockedAsset) -> bool:
    try:
        check_entry(entry)
    except AssetError:
        return False
    return True
