"""What commands print with ``--json``, as types: the document and its JSON Schema are made of the same ones.

A field that is `UNSET` is not in the document.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import UNSET, UnsetType

from assetmgr.caches.looking import CacheReport
from assetmgr.errors import AssetError, ManifestError
from assetmgr.housekeeping.moving import RootMove
from assetmgr.housekeeping.removal import Gone, Left
from assetmgr.install import Pulled
from assetmgr.lock import LockedFile
from assetmgr.mirrors.standing import MirrorReport
from assetmgr.nightly import Coverage
from assetmgr.plan import AssetPlan
from assetmgr.verify import Finding


class ToldProblem(msgspec.Struct, frozen=True):
    """One mistake in a manifest."""

    file: str
    line: int
    column: int
    message: str


class ToldError(msgspec.Struct, frozen=True):
    """One error: its class, its exit code, what happened, and what to type or to change."""

    type: str
    code: int
    message: str
    mend: str
    problems: tuple[ToldProblem, ...] | UnsetType = UNSET


def told_errors(errors: Iterable[AssetError]) -> tuple[ToldError, ...]:
    return tuple(
        ToldError(
            type(error).__name__,
            error.code,
            error.message,
            error.mend,
            tuple(ToldProblem(*problem) for problem in error.problems) if isinstance(error, ManifestError) else UNSET,
        )
        for error in errors
    )


class ToldFinding(msgspec.Struct, frozen=True):
    """One thing that is not as the lock says."""

    asset: str
    path: str
    kind: str
    detail: str


def told_findings(findings: Iterable[Finding]) -> tuple[ToldFinding, ...]:
    return tuple(ToldFinding(*finding) for finding in findings)


class Amount(msgspec.Struct, frozen=True):
    """So many files, of so many bytes together."""

    files: int
    bytes: int


# --- lock, plan -------------------------------------------------------------------------------------------------------


class LockDocument(msgspec.Struct, frozen=True):
    """One lock that was made or looked at: how many assets it has, and what changed in it, in words."""

    lock: str
    assets: int
    changes: tuple[str, ...]


class PlannedUnpacking(msgspec.Struct, frozen=True):
    """Files that would come out of an archive."""

    archive: str
    to: str
    files: int
    bytes: int


class PlannedAsset(msgspec.Struct, frozen=True):
    """What a pull would do for one asset: paths by what becomes of them, and bytes."""

    name: str
    files: int
    keep: tuple[str, ...]
    prove: tuple[str, ...]
    link: tuple[str, ...]
    found: tuple[str, ...]
    fetch: tuple[str, ...]
    unpack: tuple[PlannedUnpacking, ...]
    held_bytes: int
    found_bytes: int
    staged_bytes: int
    fetch_bytes: int
    unpack_bytes: int
    disk_bytes: int

    @classmethod
    def of(cls, asset: AssetPlan) -> PlannedAsset:
        return cls(
            asset.entry.name,
            asset.entry.count,
            keep=_paths(asset.keep),
            prove=_paths(asset.prove),
            link=_paths(asset.link),
            found=_paths(asset.found),
            fetch=_paths(asset.fetch),
            unpack=tuple(
                PlannedUnpacking(each.archive.path, each.unpacked.extract.place, each.count, each.size)
                for each in asset.unpack
            ),
            held_bytes=asset.held_bytes,
            found_bytes=asset.found_bytes,
            staged_bytes=asset.staged,
            fetch_bytes=asset.fetch_bytes,
            unpack_bytes=asset.unpack_bytes,
            disk_bytes=asset.disk_bytes,
        )


def _paths(files: Iterable[LockedFile]) -> tuple[str, ...]:
    return tuple(file.path for file in files)


class PlanDocument(msgspec.Struct, frozen=True):
    """What a pull would do, and whether the disk has room for it."""

    root: str
    fetch_bytes: int
    unpack_bytes: int
    disk_bytes: int
    free_bytes: int
    fits: bool
    assets: tuple[PlannedAsset, ...]


# --- what moved -------------------------------------------------------------------------------------------------------


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """Where bytes came from: ``caches`` where other tools' caches gave some, the rest where there are mirrors."""

    caches: tuple[CacheReport, ...] | UnsetType = UNSET
    mirrors: tuple[MirrorReport, ...] | UnsetType = UNSET
    origin: Amount | UnsetType = UNSET


class Failed(Moved, frozen=True, kw_only=True):
    """What any command prints that fails before it has a document of its own."""

    code: int
    errors: tuple[ToldError, ...]


class PulledReference(msgspec.Struct, frozen=True):
    """What a reference on the command line was pinned to, and the lines that would declare it."""

    reference: str
    name: str
    kind: str
    revision: str
    commit: str
    path: str
    declare: str


class PullDocument(Moved, frozen=True, kw_only=True):
    """What became of each asset, and where the bytes came from."""

    seconds: float
    assets: tuple[Pulled, ...]
    references: tuple[PulledReference, ...] | UnsetType = UNSET


class SyncedAsset(msgspec.Struct, frozen=True):
    """What became of one asset, or would. ``size_known`` is false where only fetching would tell all of it."""

    name: str
    fetched_files: int
    fetched_bytes: int
    linked_files: int
    kept_files: int
    unpacked_files: int
    adopted_files: int
    adopted_bytes: int
    size_known: bool


class ChangedFolder(msgspec.Struct, frozen=True):
    """What changed in a folder outside the store for one asset, or would: names by what becomes of them.

    ``left`` were changed by somebody since they were put; for ``added``, somebody's own, the folder stays.
    """

    asset: str
    folder: str
    put: tuple[str, ...]
    removed: tuple[str, ...]
    left: tuple[str, ...]
    added: tuple[str, ...]


class ReleasedAsset(msgspec.Struct, frozen=True):
    """What the manifest wants no more. Its bytes stay in the store."""

    name: str
    revision: str
    commit: str
    bytes: int


class ProvedFiles(msgspec.Struct, frozen=True):
    """What was proved at the end, and how much of it had to be hashed."""

    files: int
    bytes: int
    hashed_bytes: int


class SyncDocument(Moved, frozen=True, kw_only=True):
    """What was done to make a machine as its manifests say; or, of a dry run, what would be done."""

    code: int
    dry_run: bool
    changed: bool
    root: str
    lock: tuple[LockDocument, ...]
    assets: tuple[SyncedAsset, ...]
    folders: tuple[ChangedFolder, ...]
    released: tuple[ReleasedAsset, ...]
    verified: ProvedFiles | None
    findings: tuple[ToldFinding, ...]
    errors: tuple[ToldError, ...]
    seconds: float


class VerifyDocument(Moved, frozen=True, kw_only=True):
    """What was proved, found and repaired. ``coverage`` is there where a budget was given."""

    code: int
    full: bool
    assets: int
    files: int
    bytes: int
    hashed_bytes: int
    coverage: Coverage | UnsetType = UNSET
    findings: tuple[ToldFinding, ...]
    repaired: tuple[ToldFinding, ...]
    errors: tuple[ToldError, ...]


class ServeDocument(msgspec.Struct, frozen=True):
    """A server that listens: by which address clients reach it, and how many assets it has to give."""

    address: str
    port: int
    root: str
    assets: int
    pid: int


class MirrorDocument(msgspec.Struct, frozen=True):
    """What was pushed to a mirror, and what was there already."""

    code: int
    target: str
    pushed: Amount
    present: Amount
    errors: tuple[ToldError, ...]


class RemovalDocument(msgspec.Struct, frozen=True):
    """What went out of the store, or would; and what stays of it, with the reason."""

    code: int
    dry_run: bool
    root: str
    files: int
    bytes: int
    removed: tuple[Gone, ...]
    left: tuple[Left, ...]
    errors: tuple[ToldError, ...]


class MovedDocument(msgspec.Struct, frozen=True):
    """A store that was moved, or would be; ``setting`` says what is to be changed to find it."""

    code: int
    dry_run: bool
    moved: RootMove
    setting: str


class PathDocument(msgspec.Struct, frozen=True):
    """Where a proved asset lies."""

    name: str
    path: str


# --- env, and what is read --------------------------------------------------------------------------------------------

Variables = dict[str, str | None]
"""Variables of an environment; null where one must not be set."""


class HelpDocument(msgspec.Struct, frozen=True):
    """The text of a topic or a command; of the list of topics where ``topic`` is null."""

    topic: str | None
    text: str


class CompletionDocument(msgspec.Struct, frozen=True):
    """What a shell has to read once to complete our lines."""

    shell: str
    script: str
