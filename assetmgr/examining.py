"""The doctor's visit: what the manifests ask of this machine, and what the checks then find.

It comes also where a manifest is broken, a lock cannot be read, or no store is named: that is what it is for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from assetmgr.doctor import Examination, Finding, Machine, Wanted, examine, exit_code
from assetmgr.errors import AssetError
from assetmgr.manifest import Asset, FilesSource, HubSource, UrlListSource
from assetmgr.store import default_root

if TYPE_CHECKING:
    from assetmgr.workspace import Workspace

_BUCKETS = ("s3://", "gs://", "az://", "abfs://")


def examination(open_workspace: Callable[[], Workspace], root: str | None, seconds: float) -> Examination:
    """Look at this machine; ``open_workspace`` may fail."""
    findings: list[Finding] = []
    store, wanted = None, Wanted()
    try:
        workspace = open_workspace()
        store = os.fspath(workspace.store.root)
        wanted = _wanted(workspace)
    except (AssetError, OSError) as error:
        findings.append(_told("manifest", error))
    if store is None:
        try:
            store = os.fspath(default_root(root))
        except AssetError as error:
            findings.append(_told("store", error))
    # What two have to say is said once.
    findings = list(dict.fromkeys([*findings, *examine(Machine(store, wanted, seconds=seconds))]))
    return Examination(exit_code(findings), sys.executable, store or "", tuple(findings))


def _told(check: str, error: AssetError | OSError) -> Finding:
    if isinstance(error, AssetError):
        return Finding("error", check, "; ".join(error.message.splitlines()), error.mend or f"correct the {check}")
    said = f"{error.filename or ''}: {error.strerror or error}".removeprefix(": ")
    return Finding("error", check, said, "make it readable for you" if error.filename else "")


def _wanted(workspace: Workspace) -> Wanted:
    assets = [asset for manifest in workspace.manifests for asset in manifest.assets]
    rows = workspace.status() if workspace.manifests else []
    missing = [row for row in rows if row.state in ("not installed", "incomplete", "damaged", "not locked")]
    return Wanted(
        _endpoints(assets),
        _extras(assets, [mirror for manifest in workspace.manifests for mirror in manifest.mirrors]),
        sum(row.bytes for row in missing),
        bool(missing),
        next((manifest.cache_root for manifest in reversed(workspace.manifests) if manifest.cache_root), None),
    )


def _endpoints(assets: Iterable[Asset]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for asset in assets:
        if isinstance(asset.source, HubSource) and asset.source.endpoint:
            found[asset.source.endpoint] = (*found.get(asset.source.endpoint, ()), asset.name)
    return found


def _extras(assets: Iterable[Asset], mirrors: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The extras that are needed, with what needs them."""
    found: dict[str, tuple[str, ...]] = {}

    def need(extra: str, who: str) -> None:
        if who not in found.get(extra, ()):
            found[extra] = (*found.get(extra, ()), who)

    for mirror in mirrors:
        if mirror.startswith(_BUCKETS):
            need("bucket", mirror)
    for asset in assets:
        load = asset.use.get("load")
        if isinstance(load, dict) and load.get("backend", "transformers") == "transformers" and "lavis" not in load:
            need("transformers", asset.name)
            if load.get("quantize", "none") != "none":
                need("quantize", asset.name)
        if asset.use.get("samples"):
            need("datasets", asset.name)
        if isinstance(asset.source, UrlListSource):
            need("url-list", asset.name)
        if isinstance(asset.source, FilesSource):
            for url in (url for file in asset.source.files for url in file.urls):
                scheme = url.partition(":")[0]
                if scheme in ("gdrive", "kaggle"):
                    need(scheme, asset.name)
    return found
