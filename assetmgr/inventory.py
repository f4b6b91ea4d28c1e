"""What there is: the catalog, the locks and the store beside each other, by documents and a look at the disk.

Nothing here asks the network or reads an asset's bytes.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from assetmgr.catalog import nearest_names
from assetmgr.differences import Differences, compare
from assetmgr.errors import NotLockedError, UsageError
from assetmgr.inventory_rows import AssetState, AssetStatus, ListedAsset, MediaCount, ShownAsset, ShownFile
from assetmgr.lock import Lock, LockedAsset, LockedFile, parse_differing, read_lock_file
from assetmgr.manifest import Asset, FilesSource, HubSource, ScriptSource, UrlListSource
from assetmgr.media_counts import media_counts
from assetmgr.receipt import Receipt, asset_of, receipt_name
from assetmgr.sheets import Sheet, Sheets
from assetmgr.store import Layout, Store
from assetmgr.summaries import LARGEST, EntrySummary, Receipts, ReceiptSummary, Sight, largest, lock_summaries

if TYPE_CHECKING:
    from assetmgr.verify import Installed


class Known(NamedTuple):
    """What is known of one name. ``file`` is its receipt's document: of the lock's entry where a lock names it."""

    name: str
    asset: Asset | None
    locked: EntrySummary | None
    file: str | None


class Inventory:
    """Manifests, their locks and one store, to be looked at."""

    def __init__(self, sheets: Sheets, store: Store) -> None:
        self._sheets, self._store = sheets, store
        self._locks: dict[Path, Mapping[str, EntrySummary]] = {}
        self._short: dict[Path, Lock] = {}
        self._files: dict[str, list[str]] | None = None

    # --- what is meant ------------------------------------------------------------------------------------------------

    def locked(self, sheet: Sheet) -> Mapping[str, EntrySummary]:
        """A sheet's lock in short."""
        path = sheet.lock_file
        if path not in self._locks:
            found = lock_summaries(self._store, path)
            if found is None:
                found = lock_summaries(self._store, path, self._sheets.locked(sheet)) or {}
            self._locks[path] = found
            self._short[path] = Lock({name: summary.entry for name, summary in found.items()})
        return self._locks[path]

    def _receipt_files(self) -> dict[str, list[str]]:
        """The receipts' documents by the asset's name."""
        if self._files is None:
            self._files = {}
            for file in self._store.receipt_files():
                if name := asset_of(file):
                    self._files.setdefault(name, []).append(file)
        return self._files

    def installed_names(self) -> Iterable[str]:
        return self._receipt_files().keys()

    def known(self, name: str) -> Known:
        """What is known of a name, whether anything knows it or not."""
        locked = self.locked(self._sheets.of(name, self.locked)).get(name)
        return Known(name, self._sheets.asset(name), locked, self._file_of(name, locked))

    def _file_of(self, name: str, locked: EntrySummary | None) -> str | None:
        """The receipt's document of a lock's entry; without a lock, of the asset that was pulled last."""
        files = self._receipt_files().get(name, [])
        if locked is not None:
            file = receipt_name(name, locked.digest)
            return file if file in files else None
        if len(files) < 2:
            return files[0] if files else None
        receipts = Receipts(self._store, files)
        dated = [(found.receipt.pulled_at, file) for file in files if (found := receipts.get(file))]
        return max(dated)[1] if dated else files[0]

    def meant(self, names: Iterable[str]) -> list[Known]:
        """What a command means by names: they and all that they require; without any, all that is wanted here.

        Raises
        ------
        UnknownAssetError
            For a name that nothing knows.
        """
        said = tuple(names)
        if not said and not self._sheets.manifests:
            return [
                Known(name, self._sheets.asset(name), None, file)
                for name, files in sorted(self._receipt_files().items())
                for file in files
            ]
        found: dict[str, Known] = {}
        for name in self._sheets.names(said):
            sheet = self._sheets.of(name, self.locked)
            locked = self.locked(sheet)
            if name in locked:
                for entry in self._short[sheet.lock_file].closure([name]):
                    of = locked[entry.name]
                    file = self._file_of(entry.name, of)
                    found[entry.name] = Known(entry.name, self._sheets.asset(entry.name), of, file)
                continue
            known = self.known(name)
            if known.file is None:
                self.check_known(name)
            self._add_required(known, found)
        return list(found.values())

    def _add_required(self, known: Known, found: dict[str, Known]) -> None:
        """Add what is installed and what it requires: the very entries that its lock named, where it says so."""
        if known.name in found:
            return
        found[known.name] = known
        summary = Receipts(self._store, [known.file]).get(known.file) if known.file else None
        for required in summary.of.entry.requires if summary else ():
            pin = summary.receipt.pins.get(required) if summary else None
            file = receipt_name(required, pin) if pin else self._file_of(required, None)
            there = file if file in self._receipt_files().get(required, []) else None
            self._add_required(Known(required, self._sheets.asset(required), None, there), found)

    def check_known(self, name: str) -> None:
        """Raise `UnknownAssetError` for a name that no manifest, no lock and no receipt knows; with the nearest."""
        if self._sheets.asset(name) is None and name not in self._receipt_files():
            self._sheets.catalog.get(name, also=self.installed_names())

    def nearest(self, name: str) -> str:
        """See `Workspace.nearest`."""
        return nearest_names(name, self._all_names())

    # --- status -------------------------------------------------------------------------------------------------------

    def status(self, names: Iterable[str] = (), *, check: bool = False) -> list[AssetStatus]:
        """See `Workspace.status`."""
        return [self._status(known, receipts) for known, receipts in self._with_receipts(self.meant(names), check)]

    def status_of(self, meant: Iterable[Known]) -> list[AssetStatus]:
        """The states of what was found, as `status` tells them."""
        return [self._status(known, receipts) for known, receipts in self._with_receipts(meant)]

    def whole(self, known: Known) -> tuple[LockedAsset, Receipt | None]:
        """The whole entry of a name, and its receipt: as it is locked, else as it was pulled.

        Raises
        ------
        NotLockedError
            When neither can be read.
        """
        receipt = self._store.receipt_in(known.file) if known.file else None
        if receipt is not None:
            return receipt.entry, receipt
        if known.locked is not None:
            return self._sheets.locked(self._sheets.of(known.name, self.locked)).assets[known.name], None
        raise NotLockedError(f"{known.name}: its receipt cannot be read", mend=f"assetmgr pull {known.name}")

    def _with_receipts(self, meant: Iterable[Known], check: bool = False) -> Iterator[tuple[Known, Receipts]]:
        """Each with the receipts of all; what is found out about them is kept at the end."""
        meant = list(meant)
        receipts = Receipts(self._store, [known.file for known in meant if known.file], check=check)
        for known in meant:
            yield known, receipts
        receipts.keep()

    def _status(self, known: Known, receipts: Receipts) -> AssetStatus:
        name, asset, locked, _ = known
        held = self._held(known, receipts)
        of = held.of if held else locked
        if of is None:
            return AssetStatus(name, asset.kind if asset else "", "not locked")
        entry = of.entry
        sight = self._look(known, receipts)
        return AssetStatus(
            name,
            entry.kind,
            sight.state if sight else "not installed",
            self._sheets.stale(entry) if locked else False,
            of.count,
            of.size,
            entry.revision,
            entry.commit,
            held.proved_at if held else None,
            self._store.at(Layout(entry).folder) if held else "",
            sight.looked_at if sight else None,
            sight.not_looked_at if sight else 0,
            self._media(known, held, anew=False),
        )

    def _media(self, known: Known, held: ReceiptSummary | None, *, anew: bool) -> tuple[MediaCount, ...]:
        """How many of the media that a dataset's annotations name are there."""
        if held is None or held.of.entry.kind != "dataset":
            return ()
        use = known.asset.use if known.asset and known.locked else held.receipt.use
        if not use.get("samples"):
            return ()
        found: dict[str, Known] = {}
        if held.of.entry.requires:
            found = {one.name: one for one in self.meant([known.name]) if one.name in held.of.entry.requires}

        def opening() -> tuple[Installed, list[Installed]] | None:
            from assetmgr.verify import Installed

            assets = [self._store.receipt_in(one.file) for one in (known, *found.values()) if one.file]
            opened = [
                Installed(
                    receipt.entry,
                    self._store.at(Layout(receipt.entry).folder),
                    use if receipt.entry.name == known.name else self._use_of(receipt),
                    self._store,
                )
                for receipt in assets
                if receipt is not None
            ]
            return (opened[0], opened[1:]) if opened and opened[0].name == known.name else None

        told = [known.file, [one.file for one in found.values()]]
        return media_counts(self._store, known.name, told, use, opening, anew=anew)

    def _use_of(self, receipt: Receipt) -> Mapping[str, Any]:
        asset = self._sheets.asset(receipt.entry.name)
        return receipt.use if asset is None else asset.use

    def _held(self, known: Known, receipts: Receipts) -> ReceiptSummary | None:
        found, locked = receipts.get(known.file) if known.file else None, known.locked
        if found is None or locked is None:
            return found
        # Of what is made here, the store may have another outcome than the one that a lock freezes.
        same = locked.entry.is_open or (found.of.count, found.of.size) == (locked.count, locked.size)
        return found if same and found.of.digest == locked.digest else None

    def _look(self, known: Known, receipts: Receipts) -> Sight | None:
        return receipts.look(known.file) if known.file and self._held(known, receipts) else None

    def states_of(self, digests: Mapping[str, str]) -> dict[str, AssetState]:
        """The states of assets of which the entries' digests are given, whatever locks and manifests say."""
        files = {name: receipt_name(name, digest) for name, digest in digests.items()}
        there = {name: file for name, file in files.items() if file in self._receipt_files().get(name, [])}
        receipts = Receipts(self._store, there.values())
        seen = {name: receipts.look(file) for name, file in there.items() if receipts.get(file)}
        receipts.keep()
        return {name: seen[name].state if name in seen else "not installed" for name in files}

    # --- list ---------------------------------------------------------------------------------------------------------

    def listed(
        self,
        pattern: str | None = None,
        *,
        kind: str | None = None,
        installed: bool = False,
        groups: Iterable[str] = (),
        check: bool = False,
    ) -> list[ListedAsset]:
        """See `Workspace.assets`."""
        named: set[str] = set()
        for group in groups:
            named.update(self._sheets.group(group))
        names = self._all_names() if not groups else named
        chosen = [self.known(name) for name in sorted(names) if matches(name, pattern)]
        if installed:
            chosen = [known for known in chosen if known.file]
        rows = [self._listed(known, receipts) for known, receipts in self._with_receipts(chosen, check)]
        return [row for row in rows if kind in (None, row.kind) and not (installed and row.looked_at is None)]

    def _all_names(self) -> set[str]:
        names = {*self._sheets.catalog.names(), *self.installed_names()}
        for sheet in self._sheets:
            names.update(self.locked(sheet))
        return names

    def _listed(self, known: Known, receipts: Receipts) -> ListedAsset:
        asset, held = known.asset, self._held(known, receipts)
        of = held.of if held else known.locked
        sight = self._look(known, receipts)
        return ListedAsset(
            known.name,
            of.entry.kind if of else asset.kind if asset else "",
            sight.state if sight else "not installed" if of else "not locked",
            origin_of(asset, of),
            asset.groups if asset else (),
            of.count if of else None,
            of.size if of else None,
            license_of(asset, known.locked, held),
            asset.description if asset else None,
            str(asset.declared_at) if asset else "",
            sight.looked_at if sight else None,
            sight.not_looked_at if sight else 0,
        )

    # --- show ---------------------------------------------------------------------------------------------------------

    def show(self, name: str, *, all_files: bool = False, mirrors: Iterable[str] = ()) -> ShownAsset:
        """See `Workspace.show`."""
        known = self.known(name)
        if known.locked is None and known.file is None:
            self.check_known(name)
        ((_, receipts),) = self._with_receipts([known])
        held, sight, asset = self._held(known, receipts), self._look(known, receipts), known.asset
        receipts.keep()
        of = held.of if held else known.locked
        receipt = held.receipt if held else None
        entry = of.entry if of else None
        layout = Layout(entry) if entry else None
        source = asset.source if asset else None
        stale = bool(known.locked and self._sheets.stale(known.locked.entry))
        return ShownAsset(
            name=name,
            kind=entry.kind if entry else asset.kind if asset else "",
            state=sight.state if sight else "not installed" if of else "not locked",
            stale=stale,
            origin=origin_of(asset, of),
            endpoint=source.endpoint if isinstance(source, HubSource) else receipt.endpoint if receipt else None,
            revision=entry.revision if entry else source.revision if isinstance(source, HubSource) else "",
            commit=entry.commit if entry else "",
            license=license_of(asset, known.locked, held),
            description=asset.description if asset else None,
            groups=asset.groups if asset else (),
            requires=entry.requires if entry else asset.requires if asset else (),
            twins=asset.twins if asset else (),
            files=of.count if of else None,
            bytes=of.size if of else None,
            shown_files=self._files_of(known, receipts, of, held, all_files=all_files),
            path=self._store.at(layout.folder) if layout and held else "",
            local_dirs=receipt.local_dirs if receipt else (),
            proved_at=held.proved_at if held else None,
            looked_at=sight.looked_at if sight else None,
            not_looked_at=sight.not_looked_at if sight else 0,
            reasons=tuple(self._reasons(known, held)),
            other_revisions=self._others(known),
            mirrors=tuple(mirrors),
            next=_next(name, known, sight, stale=stale),
            media=self._media(known, held, anew=True),
        )

    def _files_of(
        self,
        known: Known,
        receipts: Receipts,
        of: EntrySummary | None,
        held: ReceiptSummary | None,
        *,
        all_files: bool,
    ) -> tuple[ShownFile, ...]:
        files: Iterable[LockedFile] = of.entry.files if of else ()
        if all_files or (of is not None and of.count <= LARGEST):
            whole = receipts.whole(known.file) if held and known.file else None
            if whole is not None:
                files = self._store.contents(whole.entry).files
            elif known.locked is not None:
                sheet = self._sheets.of(known.name, self.locked)
                files = self._store.contents(self._sheets.locked(sheet).assets[known.name]).files
        listed = list(files)
        if not all_files:
            listed = largest(listed, LARGEST)
        return tuple(ShownFile(file.path, file.size, file.sha256) for file in listed)

    def _reasons(self, known: Known, held: ReceiptSummary | None) -> Iterator[str]:
        """Why an asset is there."""
        name, declared = known.name, known.asset is not None
        if known.asset is not None:
            yield f"declared at {known.asset.declared_at}"
        by = {asset.name for manifest in self._sheets.manifests for asset in manifest.assets if name in asset.requires}
        for sheet in self._sheets:
            locked = self.locked(sheet)
            by |= {each for each, summary in locked.items() if name in summary.entry.requires}
            if name in locked:
                yield f"locked in {sheet.lock_file}"
        for required in sorted(by):
            yield f"required by {required}"
        if held is not None:
            for manifest in held.receipt.wanted_by:
                gone = "" if os.path.exists(manifest) else " (which is not there now)"
                yield f"pulled by {manifest}{gone}"
            if not held.receipt.wanted_by:
                by_reference = not declared and self._sheets.locked_reference(name) is not None
                told = "pulled by reference" if by_reference else "pulled as a mirror or a bundle tells of it"
                yield "pulled by name" if declared else told

    def _others(self, known: Known) -> tuple[str, ...]:
        """The other revisions of the name that are installed, by commit or by the digest of their entry."""
        others = [file for file in self._receipt_files().get(known.name, []) if file != known.file]
        receipts = Receipts(self._store, others)
        found = [summary for file in others if (summary := receipts.get(file))]
        return tuple(
            sorted(
                f"{one.of.entry.revision}@{one.of.entry.commit}" if one.of.entry.commit else one.of.digest
                for one in found
            )
        )

    # --- diff ---------------------------------------------------------------------------------------------------------

    def differences(self, names: Iterable[str] = ()) -> Differences:
        """See `Workspace.differences`."""
        said = tuple(names)
        old: dict[str, LockedAsset] = {}
        new: dict[str, LockedAsset] = {}
        same, unlocked = 0, []
        for known, receipts in self._with_receipts(self.meant(self._sheets.names(said))):
            held = self._held(known, receipts)
            if known.locked is not None and held is not None and held.receipt.pulled_at > 0:
                same += 1  # a whole receipt of the lock's very entry
                continue
            other = known.file
            if known.locked is not None:
                new[known.name] = self._sheets.locked(self._sheets.of(known.name, self.locked)).assets[known.name]
                # A receipt of the very entry is of a pull that did not end, or cannot be read: nothing is installed.
                other = None if known.file else self._file_of(known.name, None)
            elif known.asset is not None:
                unlocked.append(known.name)
            receipt = self._store.receipt_in(other) if other else None
            if receipt is not None and (known.locked is not None or self._sheets.manifests):
                old[known.name] = receipt.entry
        for name, entry in () if said else self._left_over():
            old.setdefault(name, entry)
        where, found = f"installed in {self._store.root}", compare(old, new)
        return Differences(where, "the lock", same, found, tuple(unlocked))

    def _left_over(self) -> Iterator[tuple[str, LockedAsset]]:
        """What the manifests here have pulled, and no lock of theirs names any more."""
        users = {os.path.realpath(sheet.manifest.path) for sheet in self._sheets if sheet.manifest}
        for name in self._receipt_files():
            if any(name in self.locked(sheet) for sheet in self._sheets) or self._sheets.asset(name) is not None:
                continue
            file = self._file_of(name, None)
            receipt = self._store.receipt_in(file) if file else None
            if receipt is not None and users.intersection(receipt.wanted_by):
                yield name, receipt.entry


def lock_differences(old: str, new: str, standard_input: BinaryIO) -> Differences:
    """What differs between two locks, by their paths; ``-`` is the standard input.

    Raises
    ------
    UsageError
        When there is no such file.
    LockError
        When one is no lock.
    """
    if old == new == "-":
        raise UsageError("two locks cannot both come by the standard input", mend="name one of them by its path")
    documents = []
    for path in (old, new):
        try:
            with contextlib.nullcontext(standard_input) if path == "-" else open(path, "rb") as file:
                documents.append(read_lock_file(file, path))
        except FileNotFoundError:
            raise UsageError(
                f"{path}: there is no such lock",
                mend="of a revision in git: git show REVISION:assets.lock.json | assetmgr diff - assets.lock.json",
            ) from None
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    names = ["standard input" if path == "-" else path for path in (old, new)]
    before, after, same = parse_differing(documents[0], names[0], documents[1], names[1])
    found = compare(before.assets, after.assets)
    same += len(before.assets.keys() & after.assets.keys()) - sum(one.change == "changed" for one in found)
    return Differences(names[0], names[1], same, found)


def matches(name: str, pattern: str | None) -> bool:
    """Whether a name is meant by a pattern: a glob, else a part of the name; case does not matter."""
    if not pattern:
        return True
    name, pattern = name.lower(), pattern.lower()
    return fnmatch.fnmatchcase(name, pattern) if any(mark in pattern for mark in "*?[") else pattern in name


def origin_of(asset: Asset | None, of: EntrySummary | None) -> str:
    """Where an asset is published: ``hub:ORG/NAME``, or the first URL (of how many)."""
    from assetmgr.transfer.urls import safe_url

    if of is not None and of.entry.origin == "hub":
        return f"{'hub-dataset' if of.entry.kind == 'dataset' else 'hub'}:{of.entry.repo}"
    if asset is not None and isinstance(asset.source, HubSource):
        return f"{'hub-dataset' if asset.kind == 'dataset' else 'hub'}:{asset.source.repo}"
    if asset is not None and isinstance(asset.source, ScriptSource):
        return f"script:{asset.source.script}"
    if asset is not None and isinstance(asset.source, UrlListSource):
        return f"url_list:{safe_url(next(iter(asset.source.file.written), asset.source.file.path))}"
    if asset is not None and isinstance(asset.source, FilesSource):
        urls = [(file.written or file.urls or (f"by hand: {file.path}",))[0] for file in asset.source.files]
    else:
        urls = [file.urls[0] for file in of.entry.files if file.urls] if of else []
    more = f" and {len(urls) - 1} more" if len(urls) > 1 else ""
    return f"{safe_url(urls[0])}{more}" if urls else "files"


def license_of(asset: Asset | None, locked: EntrySummary | None, held: ReceiptSummary | None) -> str | None:
    """What the manifest says, else the lock, else what was pulled."""
    said = (asset.license if asset else None, locked.entry.license if locked else None)
    return said[0] or said[1] or (held.of.entry.license if held else None)


def _next(name: str, known: Known, sight: Sight | None, *, stale: bool) -> str:
    """What to type to have an asset whole; empty where it is."""
    if sight is None:
        return f"assetmgr pull {name}" if known.locked else f"assetmgr lock {name} && assetmgr pull {name}"
    if sight.state in ("incomplete", "damaged"):
        return f"assetmgr verify {name} --repair" if sight.state == "damaged" else f"assetmgr pull {name}"
    if sight.state == "unproved":
        return f"assetmgr verify {name}"
    return f"assetmgr lock {name}" if stale else ""
