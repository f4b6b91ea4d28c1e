"""The locks that belong to the manifests in force: which one names an asset, and how one is made and checked."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from assetmgr.catalog import Catalog, shipped_manifests
from assetmgr.differences import compare, in_words
from assetmgr.digests import sha256_text
from assetmgr.errors import (
    AssetError,
    FetchByHandError,
    LockConflictError,
    LockError,
    LockVersionError,
    NotInstalledError,
    NotLockedError,
    StaleLockError,
    UsageError,
    raise_all,
)
from assetmgr.lock import (
    Lock,
    LockedAsset,
    LockedFile,
    check_entry,
    check_refs,
    dump_lock,
    load_lock,
    lock_path,
)
from assetmgr.manifest import Asset, HubSource, Manifest, ScriptSource, UrlListSource
from assetmgr.mutex import held
from assetmgr.names import asset_name_fault
from assetmgr.placing import sweep_unwritten, write_document
from assetmgr.store import Store, check_places

if TYPE_CHECKING:
    from assetmgr.origins import Origin, Origins


@dataclass(frozen=True, slots=True)
class Sheet:
    """A lock and the manifest that it pins. The store's own sheet, for commands without any user manifest, has none."""

    manifest: Manifest | None
    lock_file: Path


@dataclass(frozen=True, slots=True)
class LockChange:
    """What `lock` did to one lock file. ``lacking`` says why it has not all: files wait for a user to hand them in, or,
    in the store's own lock, something failed."""

    path: Path
    changes: tuple[str, ...]
    assets: int
    lacking: tuple[AssetError, ...] = ()


class Sheets:
    """The user's manifests with the locks beside them, and the store's own lock for names that they do not declare."""

    def __init__(self, manifests: Sequence[Manifest], store: Store, *, frozen: bool = False) -> None:
        self.manifests = tuple(manifests)
        # Where no manifest is looked at, the shipped ones are none to look at either.
        self.catalog = Catalog(self.manifests, () if frozen else shipped_manifests())
        self._store = store
        own = Sheet(None, Path(store.state, "lockfiles", "assets.lock.json"))
        self._sheets = (*(Sheet(manifest, lock_path(manifest.path)) for manifest in self.manifests), own)
        self._locks: dict[Path, Lock | None] = {}
        self._declared: dict[str, Sheet] = {}
        for sheet in self._sheets[:-1]:
            assert sheet.manifest is not None
            self._declared.update(dict.fromkeys((asset.name for asset in sheet.manifest.assets), sheet))

    def __iter__(self) -> Iterator[Sheet]:
        """The manifests' sheets in their order, then the store's own."""
        return iter(self._sheets)

    def locked(self, sheet: Sheet) -> Lock:
        """A sheet's lock, read once; an empty one where there is none."""
        if sheet.lock_file not in self._locks:
            # Names and digests are checked by who writes by them (`Pull`), not by every look.
            self._locks[sheet.lock_file] = load_lock(sheet.lock_file, check=False)
        return self._locks[sheet.lock_file] or Lock(assets={})

    def of(self, name: str, named: Callable[[Sheet], Container[str]] | None = None) -> Sheet:
        """The sheet that a name belongs to: the last manifest that declares or requires it, else the store's own.

        ``named`` says which names a sheet's lock has, for who need not read it for that.
        """
        if name in self._declared:
            return self._declared[name]
        for sheet in reversed(self._sheets[:-1]):
            if sheet.manifest is not None and name in sheet.manifest.required_at:
                return sheet
        for sheet in self._sheets:
            if name in (named(sheet) if named else self.locked(sheet).assets):
                return sheet
        if not asset_name_fault(name):
            alone = self._reference_lock(name)
            if alone.exists() and self.asset(name) is None:
                return Sheet(None, alone)
        return self._sheets[-1]

    def of_manifests(self) -> tuple[Sheet, ...]:
        """The sheets of the user's manifests."""
        return self._sheets[:-1]

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
                mend="assetmgr init, or name an asset",
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
            self.catalog.get(name, also=self._store.installed_names())

    def stale(self, entry: LockedAsset) -> bool:
        asset = self.asset(entry.name)
        return asset is not None and asset.digest() != entry.declared

    # --- lock ----------------------------------------------------------------------------------------------------

    def lock(
        self,
        origins: Origins,
        names: Iterable[str],
        *,
        upgrade: Iterable[str],
        fetch: bool,
        whole: bool = False,
        write: bool = True,
        freeze: bool = False,
    ) -> list[LockChange]:
        """See `Workspace.lock`. What waits for a file by hand is raised when all the rest is written.

        ``whole`` locks all that the manifests want, whatever is upgraded. Without ``write`` nothing is written: what
        the locks would be is theirs in this object alone.
        """
        names = tuple(names)
        upgraded = tuple(dict.fromkeys(upgrade))
        wanted = self.names((*names, *upgraded))
        for name in upgraded if whole else ():
            self.check_known(name)
        everything = whole or (not names and not upgraded)
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
                self._lock_sheet(
                    sheet, assets, upgraded, origins, prune=everything, fetch=fetch, write=write, freeze=freeze
                )
            )
        lacking = [error for one in report for error in one.lacking]
        what = "must be fetched by hand first" if all(map(_is_by_hand, lacking)) else "failed"
        for one in report if lacking else ():
            for line in one.changes:
                origins.context.reporter.say(line)
            made = "written" if write else "would be written"
            written = made if one.changes else "unchanged"
            origins.context.reporter.say(f"{one.path} {written}; it lacks what {what}:")
        raise_all(lacking)
        return report

    def lock_shipped(self, origins: Origins, names: Sequence[str], errors: list[AssetError]) -> tuple[str, ...]:
        """Pin in the store's own lock what only a shipped manifest declares and nothing pins yet.

        Returns
        -------
        The names without those for which that failed; why is added to ``errors``.
        """
        own = self._sheets[-1]
        new = [name for name in names if self.of(name) == own and self.asset(name) and not self._has_all(own, name)]
        if new:
            origins.context.reporter.say(f"{', '.join(new)}: not locked yet; locking in {own.lock_file}")
            try:
                self.lock(origins, new, upgrade=(), fetch=True)
            except AssetError as error:
                errors += error.parts
        return tuple(name for name in names if name not in new or self._has_all(own, name))

    def _has_all(self, sheet: Sheet, name: str) -> bool:
        """Whether a lock has a name and all that it requires."""
        try:
            self.locked(sheet).closure([name])
        except NotLockedError:
            return False
        return True

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
        return self._lock_sheet(sheet, [asset], upgraded, origins, prune=True, fetch=True)

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
        write: bool = True,
        freeze: bool = False,
    ) -> LockChange:
        """Make one lock anew, or bring some of its names up to date. Two processes do it one after the other."""
        wait, say = origins.context.wait, origins.context.reporter.say
        if not write:
            before = self._before(sheet, prune, say)
            return self._write_sheet(sheet, before, assets, upgrade, origins, prune=prune, fetch=fetch, write=False)
        with self._guarded(sheet, wait, say):
            before = self._before(sheet, prune, say)
            return self._write_sheet(sheet, before, assets, upgrade, origins, prune=prune, fetch=fetch, freeze=freeze)

    @contextlib.contextmanager
    def _guarded(self, sheet: Sheet, wait: float, say: Callable[[str], object]) -> Iterator[None]:
        """Hold a lock file against others who write it; what was read of it before does not count."""
        key = f"lock-{sha256_text(os.path.realpath(sheet.lock_file))[:32]}"
        with held(self._store.mutex(key), f"locking {sheet.lock_file}", wait=wait, say=say):
            sweep_unwritten(sheet.lock_file)
            self._locks.pop(sheet.lock_file, None)
            yield

    def _before(self, sheet: Sheet, prune: bool, say: Callable[[str], object]) -> Lock:
        """The lock as it stands. One that cannot be read is made anew, where all of it is asked for."""
        try:
            return self.locked(sheet)
        except (LockConflictError, LockVersionError):
            raise  # what it pins is not lost, and must not be
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
        write: bool = True,
        freeze: bool = False,
    ) -> LockChange:
        after = {} if prune else dict(before.assets)
        errors: list[AssetError] = []
        lacking: list[AssetError] = []
        # Nobody commits the store's own lock: what can be pinned there is, whatever becomes of the rest.
        in_parts = sheet == self._sheets[-1]
        for asset in assets:
            try:
                entry = self._resolve(asset, before.assets.get(asset.name), asset.name in upgrade, origins, fetch=fetch)
                after[asset.name] = self._frozen(entry) if freeze else entry
            except AssetError as error:
                parts = error.parts
                if self.catalog.ships(asset):
                    parts = tuple(_of_the_catalog(part, asset) for part in parts)
                if in_parts or all(map(_is_by_hand, parts)):
                    # That may take a user days: the rest is locked now, and this asset stays as it was.
                    lacking += parts
                    if asset.name in before.assets:
                        after[asset.name] = before.assets[asset.name]
                else:
                    errors += parts
        if errors:
            raise_all([*errors, *lacking])
        if sheet.manifest is not None and not prune:
            declared = {asset.name for asset in self.catalog.closure(sheet.manifest.wanted)}
            after = {name: entry for name, entry in after.items() if name in declared}
        if not write:
            after = {name: _with_known(entry, before.assets.get(name)) for name, entry in after.items()}
        check_refs(after.values())
        check_places(map(self._store.contents, after.values()))
        lock = Lock(assets=after)
        data = dump_lock(lock) if write else b""
        if write and not (sheet.lock_file.exists() and sheet.lock_file.read_bytes() == data):
            write_document(sheet.lock_file, data)
        self._locks[sheet.lock_file] = lock
        if write and not lacking:
            origins.settle()
        return LockChange(sheet.lock_file, tuple(in_words(compare(before.assets, after))), len(after), tuple(lacking))

    def _resolve(
        self, asset: Asset, previous: LockedAsset | None, upgrade: bool, origins: Origins, *, fetch: bool
    ) -> LockedAsset:
        if previous is not None and not _is_sound(previous):
            previous = None  # a pin that nothing may be written by is no pin to keep
        complete = previous is not None and (not fetch or all(file.is_pinned for file in previous.files))
        if previous is not None and complete and not upgrade and previous.declared == asset.digest():
            return msgspec.structs.replace(previous, license=asset.license or previous.license)
        return _origin_of(asset, origins).resolve(asset, None if upgrade else previous, fetch=fetch)

    def look_up(self, origins: Origins, name: str) -> list[LockedAsset]:
        """See `Workspace.look_up`."""
        found = []
        for asset in self.catalog.closure([name]):
            found.append(_origin_of(asset, origins).look(asset))
        return found

    def prune(self, wait: float, say: Callable[[str], object]) -> list[LockChange]:
        """See `Workspace.prune_lock`."""
        report = []
        for sheet in self._sheets[:-1]:
            if not sheet.lock_file.exists():
                continue
            assert sheet.manifest is not None
            with self._guarded(sheet, wait, say):
                before = self.locked(sheet).assets
                wanted = {asset.name for asset in self.catalog.closure(sheet.manifest.wanted)}
                after = {name: entry for name, entry in before.items() if name in wanted}
                if after != before:
                    write_document(sheet.lock_file, dump_lock(Lock(assets=after)))
                    self._locks[sheet.lock_file] = Lock(assets=after)
                report.append(LockChange(sheet.lock_file, tuple(in_words(compare(before, after))), len(after)))
        return report

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

    def check(self, names: Iterable[str] = ()) -> list[LockChange]:
        """See `Workspace.check_lock`."""
        said = tuple(names)
        if disagreements := self.disagreements(said):
            raise StaleLockError("\n".join(disagreements), mend="assetmgr lock")
        return [LockChange(sheet.lock_file, (), len(self.locked(sheet).assets)) for sheet in self._meant(said)]

    def disagreements(self, names: Iterable[str] = ()) -> list[str]:
        """Where a lock does not say what its manifest asks for, a line each. Asks nobody, writes nothing."""
        said = tuple(names)
        self.names(said)  # something must be meant
        disagreements = []
        for sheet in self._meant(said):
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
        return disagreements

    def _meant(self, said: Sequence[str]) -> Iterable[Sheet]:
        """The sheets that names belong to; those of the manifests where none is said."""
        return dict.fromkeys(map(self.of, said)) if said else self._sheets[:-1]

    @staticmethod
    def _asked_at(asset: Asset, sheet: Sheet) -> str:
        place = sheet.manifest.required_at.get(asset.name) if sheet.manifest else None
        return f"required at {place}" if place else f"declared at {asset.declared_at}"


def _origin_of(asset: Asset, origins: Origins) -> Origin:
    if isinstance(asset.source, HubSource):
        return origins.hub(asset.source.endpoint, asset.source.transport)
    if isinstance(asset.source, UrlListSource):
        return origins.url_list(folder_of(asset), asset.source.tuning)
    if isinstance(asset.source, ScriptSource):
        return origins.script(folder_of(asset))
    return origins.files(folder_of(asset))


def folder_of(asset: Asset) -> str:
    """The folder of the manifest that declares an asset, where its relative paths begin."""
    return os.path.dirname(os.path.abspath(asset.declared_at.file))


def _of_the_catalog(error: AssetError, asset: Asset) -> AssetError:
    """The same error; what comes with assetmgr is not for its user to correct, but a declaration of theirs wins."""
    first, found, what = error.mend.partition("correct ")
    if not found or not what.startswith(("its digests", "the url", "`hub:`", "`revision:`")):
        return error
    own = f"declare {asset.name} in a manifest of your own, which goes before the one that comes with assetmgr"
    return type(error)(error.message, mend=f"{first or 'repeat the command when the server is well again, or '}{own}")


def _is_by_hand(error: AssetError) -> bool:
    return isinstance(error, FetchByHandError)


def _with_known(entry: LockedAsset, previous: LockedAsset | None) -> LockedAsset:
    """An entry with what an older pin knows of its files: where nobody says that one changed, it is the same."""
    held = previous.files if previous else ()
    by_blob = {(file.git_sha1 or "", file.size): file.sha256 for file in held if file.git_sha1}
    by_name = {(file.place, file.path, file.urls): file for file in held if not file.git_sha1}

    def known(file: LockedFile) -> LockedFile:
        was = by_name.get((file.place, file.path, file.urls))
        if file.sha256 is None and was is not None and file.size in (-1, was.size):
            return was
        return msgspec.structs.replace(file, sha256=file.sha256 or by_blob.get((file.git_sha1 or "", file.size)))

    return msgspec.structs.replace(entry, files=tuple(map(known, entry.files)))


def _is_sound(entry: LockedAsset) -> bool:
    try:
        check_entry(entry)
    except AssetError:
        return False
    return True
