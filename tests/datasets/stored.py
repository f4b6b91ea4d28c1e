"""Assets as they stand in a store after a pull, without pulling: what a loader is given."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.store import Layout, Store
from assetmgr.verify import Installed

DATA = Path(__file__).resolve().parent.parent / "data"
COMMIT = "5" * 40

Content = bytes | Path


def files_of(folder: Path) -> dict[str, Content]:
    """A folder of `tests/data` as an asset's files."""
    return {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}


def store_asset(
    root: Path,
    name: str,
    files: Mapping[str, Content],
    use: Mapping[str, Any],
    *,
    kind: Literal["model", "dataset"] = "dataset",
    origin: Literal["hub", "files"] = "hub",
    place: str = "files",
    places: Mapping[str, str] | None = None,
    upstream: Iterable[str] = (),
    allow_patterns: tuple[str, ...] | None = None,
) -> Installed:
    """Lay an asset out in the store at ``root``, hub files as blobs and links, and describe it to a loader.

    ``upstream`` are files of the commit that a pattern left out. ``places`` are of files that are not at ``place``.
    """
    store = Store(root)
    hub = origin == "hub"
    locked = []
    for path, content in files.items():
        data = content if isinstance(content, bytes) else content.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        where = "" if hub else (places or {}).get(path, place)
        locked.append(LockedFile(path=path, size=len(data), sha256=sha256, place=where))
    listing = None
    if hub:
        rows = [{"path": path, "size": 1, "git_sha1": "0" * 40} for path in sorted({*files, *upstream})]
        listing = store.write_listing(json.dumps(rows).encode())
    entry = LockedAsset(
        kind=kind,
        origin=origin,
        declared="0" * 64,
        files=tuple(locked),
        name=name,
        repo=f"org/{name}" if hub else "",
        commit=COMMIT if hub else "",
        revision="main" if hub else "",
        allow_patterns=allow_patterns,
        listing=listing,
    )
    layout = Layout(entry)
    for file, content in zip(locked, files.values(), strict=True):
        final = Path(store.at(layout.name(file)))
        final.parent.mkdir(parents=True, exist_ok=True)
        there = Path(store.at(layout.bytes(file)))
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        if there != final:
            final.unlink(missing_ok=True)
            final.symlink_to(os.path.relpath(there, final.parent))
    return Installed(entry, store.at(layout.folder), use, store)
