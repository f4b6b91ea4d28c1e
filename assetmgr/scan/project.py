"""A whole scan: files, finds, draft."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from assetmgr.catalog import Catalog, nearest_names
from assetmgr.manifest import Asset, HubSource
from assetmgr.scan.documents import pieces_of
from assetmgr.scan.draft import Draft, draft
from assetmgr.scan.finds import Find, Remark
from assetmgr.scan.lavis_config import find_configured
from assetmgr.scan.python_calls import find_calls
from assetmgr.scan.walking import Found, read_files


class Scan(NamedTuple):
    draft: Draft
    files: int


def scan(paths: Sequence[str], catalog: Catalog, manifest: Path) -> Scan:
    """Draft a manifest of what the files at and below some paths say."""
    finds: list[Find] = []
    files = 0
    for found in read_files(paths):
        files += not found.fault
        finds += _finds(found)
    return Scan(draft(finds, Known(catalog), " ".join(paths), manifest), files)


def _finds(found: Found) -> list[Find]:
    if found.fault:
        return [Remark(f"{found.name}:1", found.fault)]
    if found.path.lower().endswith((".yaml", ".yml")):
        return find_configured(found.name, found.text)
    folder = os.path.dirname(found.path) or "."

    def is_local(text: str) -> bool:
        return any(os.path.isdir(os.path.join(base, text)) for base in (folder, "."))

    try:
        return find_calls(pieces_of(found.name, found.text), is_local)
    except ValueError:
        return [Remark(f"{found.name}:1", "this is no notebook")]


class Known:
    """The catalog, as a draft asks it."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._repos: dict[str, Asset] | None = None

    def find(self, name: str) -> Asset | None:
        return self._catalog.find(name)

    def nearest(self, name: str) -> str:
        return nearest_names(name, self._catalog.names())

    def of_repo(self, repo: str) -> Asset | None:
        if self._repos is None:
            sources = ((asset, asset.source) for asset in self._catalog)
            self._repos = {source.repo: asset for asset, source in sources if isinstance(source, HubSource)}
        return self._repos.get(repo)
