"""What can be had or made again, and nobody needs: partial downloads, listings, prepared results, short forms."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import unquote

import msgspec

from assetmgr.errors import AssetError, BusyError
from assetmgr.housekeeping.removal import Removal, system_error
from assetmgr.lock import Lock, load_lock, lock_path
from assetmgr.mutex import check_free, held
from assetmgr.placing import remove_empty_folders
from assetmgr.receipt import asset_of
from assetmgr.store import Store

AGE = 86400.0
"""Seconds for which nothing has touched what goes: a run that needs it has touched it since."""


def locks_known(store: Store) -> list[Lock]:
    """The locks that the store knows of: its own, and those beside the manifests that have pulled.

    Raises
    ------
    AssetError
        When one of the store's own cannot be read: what it names is not known.
    """
    found = [lock for path in own_locks(store) if (lock := load_lock(path, check=False)) is not None]
    for manifest in sorted({user for receipt in store.receipts() for user in receipt.wanted_by}):
        with contextlib.suppress(AssetError, OSError):
            if (lock := load_lock(lock_path(Path(manifest)), check=False)) is not None:
                found.append(lock)
    return found


def own_locks(store: Store) -> list[Path]:
    """The store's own locks: for what was pulled without a manifest."""
    return sorted(Path(store.state, "lockfiles").rglob("*.lock.json"))


def sweep(store: Store, removal: Removal, *, now: float | None = None) -> None:
    """Remove what nobody needs; what a run may go on with, as far as nobody has touched it for a day."""
    before = (time.time() if now is None else now) - AGE
    _sweep_partials(store, removal, before)
    _sweep_listings(store, removal, before)
    sweep_prepared(store, removal, before)
    _sweep_summaries(store, removal, before)
    _sweep_unwritten(store, removal, before)


def _sweep_partials(store: Store, removal: Removal, before: float) -> None:
    for path in entries(store.partial()):
        name = os.path.basename(path)
        if name == "hub":
            for repo in entries(path):
                guard = store.mutex(f"staging-{os.path.basename(repo)}")
                _sweep_partial(store, guard, repo, removal, before)
        else:
            _sweep_partial(store, store.bytes_guard(name.split(".")[0]), path, removal, before)


def _sweep_partial(store: Store, guard: Path, path: str, removal: Removal, before: float) -> None:
    if _touched(path) >= before:
        return
    purpose = "removing old partial downloads"
    with contextlib.suppress(BusyError), contextlib.ExitStack() as stack:
        if removal.dry_run:
            check_free(guard, purpose)
        else:
            stack.enter_context(held(guard, purpose, wait=0))
        if _touched(path) < before:
            _take(store, path, removal, "a download that nobody went on with for a day", stop=store.partial())


def _sweep_listings(store: Store, removal: Removal, before: float) -> None:
    try:
        locks = locks_known(store)
    except AssetError as error:
        removal.errors.append(error)
        return
    locked = [entry for lock in locks for entry in lock.assets.values()]
    locked += [receipt.entry for receipt in store.receipts()]
    locked += [receipt.entry for _, receipt in store.unreceipted()]
    named = {entry.listing for entry in locked}
    named |= {file.extract.listing for entry in locked for file in entry.files if file.extract}
    for path in entries(os.path.join(store.state, "listings")):
        if os.path.basename(path) not in named and _touched(path) < before:
            _take(store, path, removal, "a listing that no lock or receipt names")


class _Record(msgspec.Struct):
    """A prepared table's record, as far as it is read here."""

    inputs: tuple[str, ...]


# What assetmgr keeps below an asset's folder; `datasets` and others may keep things there, too.
OURS = {
    "tables": re.compile(r".+-[0-9a-f]{16}\.arrow(\.json)?"),
    "weights": re.compile("[0-9a-f]{16}"),
    "datasets": re.compile("[0-9a-f]{16}"),
}


def sweep_prepared(store: Store, removal: Removal, before: float, only: Collection[str] | None = None) -> None:
    """Remove what was made of assets that are not installed; with ``only``, of these alone, as far as they are not."""
    going = {os.path.basename(path) for path in removal.foretold}
    names = {name for file in store.receipt_files() if file not in going and (name := asset_of(file))}
    digests: set[str | None] | None = None
    for kind, ours in OURS.items():
        for folder in entries(store.at(f"prepared/{kind}")):
            if not os.path.isdir(folder) or os.path.islink(folder):
                continue
            asset = unquote(os.path.basename(folder))
            made = [path for path in entries(folder) if ours.fullmatch(os.path.basename(path))]
            if only is not None and asset not in only:
                continue
            if asset not in names:
                for path in made:
                    _take(
                        store, path, removal, f"made of {asset}, which is not installed", stop=os.path.dirname(folder)
                    )
                continue
            for path in made if kind == "tables" else ():
                record = f"{path}.json"
                if path.endswith(".json") or not os.path.isfile(record) or _touched(path) >= before:
                    continue
                digests = _digests(store) if digests is None else digests
                with contextlib.suppress(OSError, msgspec.MsgspecError):
                    if not digests.issuperset(msgspec.json.decode(Path(record).read_bytes(), type=_Record).inputs):
                        for each in (path, record):
                            _take(store, each, removal, f"made of files that {asset} has no more")


def _digests(store: Store) -> set[str | None]:
    found: set[str | None] = set()
    for receipt in store.receipts():
        with contextlib.suppress(AssetError):
            found.update(file.sha256 for file in store.contents(receipt.entry).files)
        found.update(file.sha256 for file in receipt.entry.files)
    return found


def _sweep_summaries(store: Store, removal: Removal, before: float) -> None:
    for path in entries(os.path.join(store.state, "summaries")):
        if _touched(path) < before - 29 * AGE:
            _take(store, path, removal, "a short form that no look has renewed for a month")


def _sweep_unwritten(store: Store, removal: Removal, before: float) -> None:
    """What killed processes left of documents that they were writing; lock files of users of what is gone."""
    receipts = {file.removesuffix(".json") for file in store.receipt_files()}
    for folder in ("receipts", "placed", "listings", "lockfiles", "views", "pins", "summaries", "mutex", "uses"):
        for path in entries(os.path.join(store.state, folder)):
            name = os.path.basename(path)
            unused = name.endswith(".use") and name.removesuffix(".use") not in receipts
            if (name.startswith(".writing-") or unused) and _touched(path) < before:
                _take(store, path, removal, "what an ended process left")


def _take(store: Store, path: str, removal: Removal, why: str, stop: str | None = None) -> None:
    """Remove a file, or a folder with all that is in it."""
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            for folder, inside, files in os.walk(path, topdown=False):
                for name in (*files, *(name for name in inside if os.path.islink(os.path.join(folder, name)))):
                    removal.take(store, os.path.join(folder, name), why)
                if not removal.dry_run:
                    remove_empty_folders(folder, stop or os.path.dirname(path))
        else:
            removal.take(store, path, why)
            if stop and not removal.dry_run:
                remove_empty_folders(os.path.dirname(path), stop)
    except OSError as error:
        removal.errors.append(system_error(os.path.basename(path), error))


def _touched(path: str) -> float:
    """When something was last written there, or below it."""
    latest = 0.0
    with contextlib.suppress(OSError):
        latest = os.lstat(path).st_mtime
        for each in _below(path):
            latest = max(latest, os.lstat(each).st_mtime)
    return latest


def _below(path: str) -> Iterator[str]:
    for folder, inside, files in os.walk(path):
        yield from (os.path.join(folder, name) for name in (*inside, *files))


def entries(folder: str) -> list[str]:
    """The paths of what is in a folder, sorted; none where there is no folder."""
    try:
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    except (FileNotFoundError, NotADirectoryError):
        return []
