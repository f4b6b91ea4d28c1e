"""`init`, `add` and `remove`: a user's manifest and its lock are edited together, so that they go on agreeing.

What is added is looked up first: a manifest names only what is there. The lock is written before the manifest, and put
back where the manifest cannot be written.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from assetmgr.catalog import MANIFEST_NAME, find_manifest, user_manifests
from assetmgr.digests import sha256_text
from assetmgr.errors import (
    AssetError,
    DiskSpaceError,
    FetchByHandError,
    OfflineError,
    SeveralErrors,
    StaleLockError,
    UnknownAssetError,
    UsageError,
    WrongKindError,
)
from assetmgr.lock import LockedAsset
from assetmgr.manifest import Manifest, load_manifest, parse_manifest
from assetmgr.manifest_edit import add_asset, add_required, edited, read_manifest, remove, write_back
from assetmgr.memory import Fit, judge, rooms, stored_dtype, weight_bytes
from assetmgr.mutex import held
from assetmgr.names import is_repo
from assetmgr.placing import make_folder, write_document
from assetmgr.references import Details, is_reference, parse_reference, rebased
from assetmgr.sheets import LockChange
from assetmgr.store import Layout
from assetmgr.workspace import Workspace

Open = Callable[[Sequence[Manifest]], Workspace]

STARTER = """\
# What this project needs of models and datasets. The whole format: assetmgr schema
version: 1

# models:
#   minilm:                             # the name is yours
#     hub: sentence-transformers/all-MiniLM-L6-v2
#     revision: main                    # a branch, tag or commit; the lock pins the commit
#     allow_patterns: ["*.json", "*.txt", "model.safetensors"]
#     groups: [demo]                    # assetmgr pull --group demo

# datasets:
#   captions:
#     files:
#       - url: https://example.org/captions.json
#         sha256: 0123...               # what is known is checked

# What is declared elsewhere, such as what ships with assetmgr, is wanted by its name:
# requires: [coco_caption]
"""


@dataclass(frozen=True, slots=True)
class Added:
    """What `add` did.

    Attributes
    ----------
    entries
        What was added and all that it requires, itself last: as locked, or as it is published.
    locks
        What changed in the locks; none with ``lock=False``.
    disk_bytes, free_bytes, full
        What a pull takes, what is free for it, and what is wrong where it does not fit.
    stale
        Whether the locks lack or disagree on something else of the manifests.
    weights, fits
        For a model: the bytes of its weights, and whether they fit into memory.
    """

    manifest: Path
    created: bool
    name: str
    required: bool
    entries: tuple[LockedAsset, ...]
    locks: tuple[LockChange, ...]
    disk_bytes: int
    free_bytes: int
    full: DiskSpaceError | None
    stale: bool
    weights: int
    fits: tuple[Fit, ...]


@dataclass(frozen=True, slots=True)
class Removed:
    """What `remove` did. ``kept`` are names that stay locked, because something else requires them."""

    manifest: Path
    names: tuple[str, ...]
    locks: tuple[LockChange, ...]
    kept: tuple[str, ...]


def init(path: Path, text: str = STARTER) -> Path | None:
    """Write a manifest to begin with. Returns the one of a folder above that it hides now, if there is one.

    Raises
    ------
    UsageError
        When there is one already: it is never overwritten.
    """
    write_new(path, text)
    return find_manifest(path.absolute().parent.parent) if path.name == MANIFEST_NAME else None


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet, whole or not at all; never over another."""
    make_folder(path.parent)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        raise UsageError(
            f"{path} is there already, and is not overwritten", mend="add to it: assetmgr add REFERENCE"
        ) from None
    try:
        write_document(path, text.encode())
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def add(
    word: str,
    open_workspace: Open,
    *,
    given: Sequence[str | os.PathLike[str]] | None = None,
    details: Details | None = None,
    name: str | None = None,
    groups: Sequence[str] = (),
    lock: bool = True,
) -> Added:
    """Add what a reference or a declared name means to the user's manifest, the last of several, and to its lock.

    Parameters
    ----------
    word
        ``hub:ORG/NAME[@REVISION]``, ``hub-dataset:ORG/NAME[@REVISION]``, a URL or a local path, or the name of what
        the catalog or another manifest declares.
    given
        The manifests that were named on the command line. Where there is none in sight, one is begun here.

    Raises
    ------
    UsageError
        When the name is taken, or the manifest cannot be edited safely.
    AssetError
        When what is to be added is not there, or not for this user. Nothing is written then.
    """
    paths = user_manifests(given) or [Path(MANIFEST_NAME)]
    path, created = paths[-1], not os.path.lexists(paths[-1])
    if created and given:
        load_manifest(path)  # says that it is not there
    others = [load_manifest(one) for one in paths[:-1]]
    now = read_manifest(path)
    before = [*others, now] if now else others
    if is_reference(word):
        scheme = word.partition(":")[0]
        kind = {"hub": "model", "hub-dataset": "dataset"}.get(scheme)
        if details and kind and details.kind not in (None, kind):
            other = "hub" if scheme == "hub-dataset" else "hub-dataset"
            raise UsageError(
                f"{word!r} is a {kind}, not a {details.kind}", mend=f"assetmgr add {other}:{word[len(scheme) + 1 :]}"
            )
        reference = rebased(parse_reference(word, details or Details()), os.getcwd(), str(path.absolute().parent))
        declaration = {**reference.declaration, **({"groups": list(groups)} if groups else {})}
        chosen = name or reference.name
    else:
        if name or groups or any(details or ()):
            raise UsageError(
                f"{word!r} is taken as it is declared: it gets no other name, group, files or folder",
                mend=f"assetmgr add {word}",
            )
        _check_declared(word, now, open_workspace(before))
        reference, declaration, chosen = None, {}, word

    def change(data: bytes) -> bytes:
        if reference is None:
            return add_required(data, path, chosen)
        return add_asset(data, path, reference.kind, chosen, declaration)

    with _editing(path, others, change, open_workspace) as (workspace, data):
        try:
            entries = workspace.look_up(chosen)
        except WrongKindError as error:
            raise _other_kind(error, word) from None
        except OfflineError as error:
            mend = "it must be looked up once: repeat the command without --offline"
            raise OfflineError(error.message, mend=mend) from None
        locks: list[LockChange] = []
        by_hand: AssetError | None = None
        if lock:
            try:
                locks = workspace.lock([chosen])
            except (FetchByHandError, SeveralErrors) as error:
                if not all(isinstance(one, FetchByHandError) for one in getattr(error, "errors", (error,))):
                    raise
                by_hand = error  # that may take days: it is declared, and the rest is locked
        try:
            write_back(path, data)
        except BaseException:
            # The lock must not say what the manifest does not.
            open_workspace(before or [Manifest(path, ())]).prune_lock()
            raise
        if by_hand is not None:
            raise by_hand
        return _added(workspace, path, created, chosen, reference is None, entries, locks)


def _check_declared(name: str, manifest: Manifest | None, workspace: Workspace) -> None:
    """Refuse a name that nothing declares, or this very manifest does."""
    try:
        asset = workspace.catalog.get(name)
    except UnknownAssetError as error:
        mend = f"assetmgr add hub:{name}" if "/" in name and is_repo(name) else "assetmgr add hub:ORG/NAME, or a URL"
        raise UnknownAssetError(error.message, mend=mend) from None
    if manifest is not None and any(one.name == name for one in manifest.assets):
        raise UsageError(f"{asset.declared_at}: {name!r} is declared there already", mend=f"assetmgr lock {name}")


@contextlib.contextmanager
def _editing(
    path: Path, others: Sequence[Manifest], change: Callable[[bytes], bytes], open_workspace: Open
) -> Iterator[tuple[Workspace, bytes]]:
    """A workspace as it is after a change, and the manifest's bytes; nobody else edits the manifest meanwhile."""
    first = open_workspace([*others, parse_manifest(edited(path, change), path)])
    key = f"edit-{sha256_text(os.path.realpath(path))[:32]}"
    with held(first.store.mutex(key), f"editing {path}", wait=first.wait, say=first.reporter.say):
        data = edited(path, change)
        yield open_workspace([*others, parse_manifest(data, path)]), data


def _other_kind(error: WrongKindError, word: str) -> WrongKindError:
    """The same error, with the command that would be right."""
    scheme, _, rest = word.partition(":")
    other = "hub" if scheme == "hub-dataset" else "hub-dataset"
    return WrongKindError(error.message, mend=f"assetmgr add {other}:{rest}")


def _added(
    workspace: Workspace,
    path: Path,
    created: bool,
    name: str,
    required: bool,
    entries: Sequence[LockedAsset],
    locks: Sequence[LockChange],
) -> Added:
    from assetmgr.pull import free_bytes, room_error

    full: DiskSpaceError | None = None
    free = free_bytes(workspace.store.root)
    if locks:
        entries = workspace.locked([name])
        plan = workspace.plan([name])
        needed, full = plan.disk_bytes, room_error(workspace.store, plan)
    else:
        needed = sum(max(entry.size, 0) for entry in entries)
        if needed > free:
            full = DiskSpaceError(f"{workspace.store.root}: {needed:,} bytes are needed and {free:,} are free")
    weights = sum(weight_bytes(entry) for entry in entries if entry.kind == "model")
    fits = judge(weights, rooms(), _stored(workspace, entries[-1])) if weights else []
    stale = False
    try:
        workspace.check_lock()
    except StaleLockError:
        stale = True
    locked = tuple(locks)
    return Added(path, created, name, required, tuple(entries), locked, needed, free, full, stale, weights, tuple(fits))


def _stored(workspace: Workspace, entry: LockedAsset) -> str:
    config = next((file for file in entry.files if file.path == "config.json" and file.is_pinned), None)
    return stored_dtype(workspace.store.at(Layout(entry).bytes(config)) if config else "")


def take_out(
    names: Sequence[str], open_workspace: Open, *, given: Sequence[str | os.PathLike[str]] | None = None
) -> Removed:
    """Remove names from the user's manifest, the last one that has all of them, and from its lock.

    Raises
    ------
    UnknownAssetError
        When no manifest of the user's has a name.
    UsageError
        When something that stays requires one of them, or the manifest cannot be edited safely. Nothing is written.
    """
    paths = user_manifests(given)
    if not paths:
        raise UsageError("no manifest here (assets.yaml, --manifest or ASSETMGR_MANIFEST)", mend="assetmgr init")
    wanted = tuple(dict.fromkeys(names))
    manifests = [load_manifest(path) for path in paths]
    workspace = open_workspace(manifests)
    having = [manifest for manifest in manifests if set(wanted) <= set(manifest.wanted)]
    if not having:
        known = {name for manifest in manifests for name in manifest.wanted}
        raise _not_there(next((name for name in wanted if name not in known), wanted[0]), workspace, known, paths)
    path = having[-1].path

    def change(data: bytes) -> bytes:
        for name in wanted:
            data = remove(data, path, name)
        return data

    others = [one for one in manifests if one.path != path]
    with _editing(path, others, change, open_workspace) as (after, data):
        _check_unrequired(wanted, after)
        old = path.read_bytes()
        write_back(path, data)
        try:
            locks = after.prune_lock()
        except BaseException:
            write_back(path, old)
            raise
        closure = {asset.name for asset in after.catalog.closure(after.catalog.user_names)}
        return Removed(path, wanted, tuple(locks), tuple(name for name in wanted if name in closure))


def _check_unrequired(names: Sequence[str], after: Workspace) -> None:
    """Refuse to remove what is then declared nowhere, and still required."""
    gone = [name for name in names if name not in after.catalog]
    told: list[str] = []
    users: list[str] = []
    for manifest in after.manifests:
        for asset in manifest.assets:
            for name in gone:
                if name in asset.requires:
                    told.append(f"{asset.declared_at}: {asset.name} requires {name}")
                    users.append(asset.name)
        for name in gone:
            if name in manifest.required_at:
                told.append(f"{manifest.required_at[name]}: the manifest requires {name}")
    if told:
        both = " ".join(dict.fromkeys([*users, *names]))
        mend = f"remove what requires it too: assetmgr remove {both}" if users else "take it out there first"
        raise UsageError("\n".join(told), mend=mend)


def _not_there(name: str, workspace: Workspace, known: set[str], paths: Sequence[Path]) -> AssetError:
    where = ", ".join(map(str, paths))
    if name in known:
        return UsageError(f"the names are in several manifests: {where}", mend="remove them one by one")
    closure = {asset.name: asset for asset in workspace.catalog.closure(workspace.catalog.user_names)}
    if name in closure:
        users = [asset.name for asset in closure.values() if name in asset.requires]
        return UsageError(
            f"{name} is not in {where}: it is there because {' and '.join(users)} require{'s' * (len(users) == 1)} it",
            mend=f"assetmgr remove {users[0]}",
        )
    import difflib

    close = difflib.get_close_matches(name, sorted(known), n=3)
    near = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    return UnknownAssetError(f"no asset {name!r} in {where}{near}", mend="assetmgr status")
