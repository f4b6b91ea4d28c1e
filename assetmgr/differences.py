"""What one set of lock entries has that another has not: commits, files and bytes. Nothing is read from disk here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from assetmgr.lock import LockedAsset, LockedFile

Change = Literal["added", "removed", "changed"]


class FileDifference(msgspec.Struct, frozen=True):
    """One file that differs. ``detail`` says what else than its bytes: where it is extracted to."""

    path: str
    change: Change
    old_bytes: int | None
    bytes: int | None
    detail: str = ""


class AssetDifference(msgspec.Struct, frozen=True):
    """One asset that differs. What it was and what it is; ``files`` are those that differ.

    ``changed_bytes`` is the size of all files that were added or have other bytes: what a pull may have to fetch.
    """

    name: str
    change: Change
    old_revision: str
    old_commit: str
    revision: str
    commit: str
    old_license: str | None
    license: str | None
    old_bytes: int
    bytes: int
    added: int
    removed: int
    changed: int
    changed_bytes: int
    files: tuple[FileDifference, ...]


class Differences(msgspec.Struct, frozen=True):
    """What differs between two sides. ``same`` counts the assets that do not; ``unlocked`` are in no lock yet."""

    old: str
    new: str
    same: int
    assets: tuple[AssetDifference, ...]
    unlocked: tuple[str, ...] = ()


def compare(old: Mapping[str, LockedAsset], new: Mapping[str, LockedAsset]) -> tuple[AssetDifference, ...]:
    """The assets that differ, by name."""
    differing = (name for name in sorted(old.keys() | new.keys()) if not _is_same(old.get(name), new.get(name)))
    return tuple(_asset(name, old.get(name), new.get(name)) for name in differing)


def _is_same(old: LockedAsset | None, new: LockedAsset | None) -> bool:
    return old is not None and new is not None and old == new and old.license == new.license


def _asset(name: str, old: LockedAsset | None, new: LockedAsset | None) -> AssetDifference:
    files = tuple(_files(old.files if old else (), new.files if new else ()))
    changes = [file.change for file in files]
    return AssetDifference(
        name,
        "added" if old is None else "removed" if new is None else "changed",
        old.revision if old else "",
        old.commit if old else "",
        new.revision if new else "",
        new.commit if new else "",
        old.license if old else None,
        new.license if new else None,
        old.size if old else 0,
        new.size if new else 0,
        changes.count("added"),
        changes.count("removed"),
        changes.count("changed"),
        sum(max(file.bytes or 0, 0) for file in files if file.change != "removed" and not file.detail),
        files,
    )


def _files(old: Sequence[LockedFile], new: Sequence[LockedFile]) -> Iterator[FileDifference]:
    before = {(file.place, file.path): file for file in old}
    after = {(file.place, file.path): file for file in new}
    for key in sorted(before.keys() | after.keys()):
        was, now = before.get(key), after.get(key)
        if was is None:
            assert now is not None
            yield FileDifference(key[1], "added", None, now.size)
        elif now is None:
            yield FileDifference(key[1], "removed", was.size, None)
        elif was.sha256 != now.sha256:
            yield FileDifference(key[1], "changed", was.size, now.size)
        elif was.extract != now.extract:
            detail = "no longer extracted"
            if now.extract is not None and now.extract.made and now.extract.listing is None:
                detail = f"what is made of it goes to {now.extract.place}, and is not frozen"
            elif now.extract is not None:
                count = now.extract.members
                detail = f"{count} file{'' if count == 1 else 's'} to {now.extract.place}"
            yield FileDifference(key[1], "changed", was.size, now.size, detail)


_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


def in_words(differences: Sequence[AssetDifference], *, most: int | None = None) -> list[str]:
    """The same a line a fact; of the files of one asset no more than ``most``."""
    lines: list[str] = []
    for asset in differences:
        sign = _SIGNS[asset.change]
        if asset.change == "added":
            at = f" at {asset.commit[:12]}" if asset.commit else ""
            lines.append(f"{sign} {asset.name}{at}: {asset.added} file{'' if asset.added == 1 else 's'}")
            continue
        if asset.change == "removed":
            lines.append(f"{sign} {asset.name}")
            continue
        moved = "" if asset.old_commit == asset.commit else f" {asset.old_commit[:12]} -> {asset.commit[:12]}"
        lines.append(f"{sign} {asset.name}{moved}")
        if asset.old_license != asset.license:
            lines.append(f"    licence: {asset.old_license or 'not stated'} -> {asset.license or 'not stated'}")
        for file in asset.files[:most]:
            detail = file.detail or f"{file.old_bytes} -> {file.bytes} bytes"
            lines.append(f"    {_SIGNS[file.change]} {file.path}" + (f": {detail}" if file.change == "changed" else ""))
        if most is not None and len(asset.files) > most:
            lines.append(f"    ... and {len(asset.files) - most:,} more files")
    return lines
