"""What other tools and people have put into the store's folders: all that no receipt and no ledger of ours names."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator

from assetmgr.housekeeping.footprints import footprint
from assetmgr.housekeeping.removal import Removal, system_error
from assetmgr.housekeeping.rubbish import AGE, OURS, entries
from assetmgr.names import fold
from assetmgr.placing import remove_empty_folders
from assetmgr.store import Store
from assetmgr.verify import read_ref

# The folders whose layout is other tools' own. What else lies in the root is nobody's business here.
_SHARED = ("torch/hub/checkpoints", "lavis", "clip", "files")


def foreign(store: Store) -> list[str]:
    """The files and links that are not ours, as paths, sorted."""
    named, unknown, commits = _named(store)
    found = [path for path in _below(store) if not _is_ours(store, path, named, unknown, commits)]
    return sorted(found)


def remove_foreign(store: Store, removal: Removal, agreed: Collection[str] | None) -> None:
    """Remove what is not ours; of several paths those that were agreed to, where they are."""
    for path in foreign(store):
        if agreed is not None and path not in agreed:
            continue
        try:
            removal.take(store, path, "not put there by assetmgr")
            if not removal.dry_run:
                top = os.path.relpath(path, store.root).split(os.sep, 1)[0]
                remove_empty_folders(os.path.dirname(path), store.at(top))
        except OSError as error:
            removal.errors.append(system_error(os.path.basename(path), error))


def _named(store: Store) -> tuple[set[str], tuple[str, ...], set[tuple[str, str]]]:
    """The names that are ours, the folders where more of ours may be, and our (repo, commit)."""
    named: set[str] = set()
    unknown: list[str] = []
    commits: set[tuple[str, str]] = set()
    for receipt in (*store.receipts(), *(one for _, one in store.unreceipted())):
        ours = footprint(store, receipt)
        named.update(fold(placed.name) for placed in ours.files)
        named.update(fold(name) for name in (ours.tree, ours.ref) if name)
        unknown += map(fold, ours.unknown)
        if ours.repo:
            commits.add((ours.repo, ours.commit))
    return named, tuple(unknown), commits


def _below(store: Store) -> Iterator[str]:
    """Every file and link in the folders that others share with us."""
    for repo in entries(store.at("hub")):
        if os.path.basename(repo).partition("--")[0] in ("models", "datasets", "spaces"):
            yield from _files(repo)
    for name in _SHARED:
        yield from _files(store.at(name))
    for folder in entries(store.at("prepared/datasets")):
        for path in entries(folder) if os.path.isdir(folder) and not os.path.islink(folder) else ():
            if not OURS["datasets"].fullmatch(os.path.basename(path)):
                yield from _files(path)


def _files(folder: str) -> Iterator[str]:
    if os.path.islink(folder) or os.path.isfile(folder):
        yield folder
        return
    for at, inside, names in os.walk(folder):
        yield from (os.path.join(at, name) for name in names)
        yield from (path for name in inside if os.path.islink(path := os.path.join(at, name)))


def _is_ours(store: Store, path: str, named: set[str], unknown: tuple[str, ...], commits: set[tuple[str, str]]) -> bool:
    name = os.path.relpath(path, store.root).replace(os.sep, "/")
    if fold(name) in named or (unknown and fold(name).startswith(unknown)):
        return True
    if os.path.islink(path) and any(one.startswith(f"{fold(name)}/") for one in named):
        return True  # somebody has moved a folder to another disk, with what is ours in it
    parts = name.split("/")
    if parts[0] == "hub" and len(parts) > 3:
        repo = "/".join(parts[:2])
        if parts[2] == "refs" and (repo, read_ref(path)) in commits:
            return True  # another name of a commit that is ours
        if parts[2] == "trees" and (repo, parts[3].removesuffix(".json")) in commits:
            return True
        if name.endswith(".incomplete"):  # somebody may be fetching it
            return os.lstat(path).st_mtime > time.time() - AGE
    return False
