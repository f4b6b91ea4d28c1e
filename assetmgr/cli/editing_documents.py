"""What `init`, `add` and `remove` print with ``--json``, as types: like `documents`, for commands that edit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

if TYPE_CHECKING:
    from pathlib import Path

    from assetmgr.editing import Added, Removed
    from assetmgr.lock import LockedAsset
    from assetmgr.scan.project import Scan


class OpenRemark(msgspec.Struct, frozen=True):
    """What a scan has seen and could not decide: where, and what."""

    where: str
    what: str


class InitDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The manifest that was begun: null where it was printed alone. ``hides`` is one above it that no longer counts.

    With ``--scan`` also: how many files were read, what was found in them, and the manifest's text.
    """

    manifest: str | None
    hides: str | None
    files: int | UnsetType = UNSET
    models: int | UnsetType = UNSET
    datasets: int | UnsetType = UNSET
    requires: int | UnsetType = UNSET
    slips: tuple[str, ...] | UnsetType = UNSET
    open: tuple[OpenRemark, ...] | UnsetType = UNSET
    text: str | UnsetType = UNSET

    @classmethod
    def of(cls, path: Path | None, above: Path | None, scanned: Scan | None) -> InitDocument:
        manifest, hides = str(path) if path else None, str(above) if above else None
        if scanned is None:
            return cls(manifest=manifest, hides=hides)
        draft = scanned.draft
        return cls(
            manifest=manifest,
            hides=hides,
            files=scanned.files,
            models=draft.models,
            datasets=draft.datasets,
            requires=draft.requires,
            slips=tuple(draft.slips),
            open=tuple(OpenRemark(remark.where, remark.text) for remark in draft.remarks),
            text=draft.text,
        )


class AddedFile(msgspec.Struct, frozen=True):
    """One file of what was added. ``size`` is null where nobody tells it before it is fetched."""

    path: str
    size: int | None


class AddedAsset(msgspec.Struct, frozen=True):
    """What was added, or what it requires. What does not apply, or is not stated, is null."""

    name: str
    kind: str
    repo: str | None
    revision: str | None
    commit: str | None
    license: str | None
    files: tuple[AddedFile, ...]

    @classmethod
    def of(cls, entry: LockedAsset) -> AddedAsset:
        files = tuple(AddedFile(file.path, file.size if file.size >= 0 else None) for file in entry.files)
        return cls(
            entry.name,
            entry.kind,
            entry.repo or None,
            entry.revision or None,
            entry.commit or None,
            entry.license,
            files,
        )


class MemoryFit(msgspec.Struct, frozen=True):
    """Whether a model's weights fit into one memory; ``instead`` is the widest dtype in which they would."""

    where: str
    free: int
    fits: bool
    instead: str | None


class AddDocument(msgspec.Struct, frozen=True):
    """What was added, what it takes, and whether disk and memory have room for it.

    ``required`` says that its name alone was written, under ``requires``; ``lock_stale`` that the lock lacks something
    else that the manifest asks for. ``assets`` has what it requires first, and itself last.
    """

    manifest: str
    created: bool
    name: str
    required: bool
    locked: bool
    lock_stale: bool
    assets: tuple[AddedAsset, ...]
    disk_bytes: int
    free_bytes: int
    fits: bool
    weight_bytes: int
    memory: tuple[MemoryFit, ...]

    @classmethod
    def of(cls, done: Added) -> AddDocument:
        return cls(
            manifest=str(done.manifest),
            created=done.created,
            name=done.name,
            required=done.required,
            locked=bool(done.locks),
            lock_stale=done.stale,
            assets=tuple(map(AddedAsset.of, done.entries)),
            disk_bytes=done.disk_bytes,
            free_bytes=done.free_bytes,
            fits=done.full is None,
            weight_bytes=done.weights,
            memory=tuple(MemoryFit(*fit) for fit in done.fits),
        )


class ChangedLock(msgspec.Struct, frozen=True):
    """What changed in one lock, in words."""

    lock: str
    changes: tuple[str, ...]


class RemoveDocument(msgspec.Struct, frozen=True):
    """What was taken out of the manifest; ``kept`` stays locked, because something else requires it."""

    manifest: str
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    locks: tuple[ChangedLock, ...]

    @classmethod
    def of(cls, done: Removed) -> RemoveDocument:
        locks = tuple(ChangedLock(str(one.path), one.changes) for one in done.locks)
        return cls(str(done.manifest), tuple(done.names), tuple(done.kept), locks)
