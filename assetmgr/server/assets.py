"""Assetmgr's own part: blobs by sha256, and what is told of assets to another assetmgr."""

from __future__ import annotations

from typing import Any

from assetmgr.digests import sha256_text
from assetmgr.errors import AssetError
from assetmgr.names import is_digest
from assetmgr.server.answers import Answer, json_answer
from assetmgr.server.catalog import Catalog, Shelf
from assetmgr.server.requests import RefusedError
from assetmgr.store import NEW_STORE, STORE_HEADER

VERSION = 1


def blob(catalog: Catalog, sha256: str) -> Answer:
    """Answer ``/blobs/sha256/DIGEST``."""
    if not is_digest(sha256, "sha256"):
        raise RefusedError(400, "a blob is named by 64 lower-case hex digits")
    held = catalog.blob(sha256)
    if held is None:
        raise RefusedError(404, f"this server holds no blob {sha256}")
    headers = ("Content-Type", "application/octet-stream"), (STORE_HEADER, catalog.store.identity or NEW_STORE)
    return Answer(200, headers, held=held, etag=f'"{sha256}"')


def listed(catalog: Catalog) -> Answer:
    """Answer ``/assetmgr/v1/assets``: every asset, by name."""
    return json_answer({"version": VERSION, "assets": [told(shelf) for shelf in catalog.assets.values()]})


def told(shelf: Shelf) -> dict[str, Any]:
    """One asset, in plain values. Times are Unix seconds; ``proved_at`` is the oldest proof, None while one lacks."""
    entry, receipt = shelf.entry, shelf.receipt
    return {
        "name": entry.name,
        "kind": entry.kind,
        "origin": entry.origin,
        "repo": entry.repo or None,
        "revision": entry.revision or None,
        "commit": entry.commit or None,
        "digest": shelf.digest,
        "files": entry.count,
        "bytes": entry.size,
        "requires": list(entry.requires),
        "license": entry.license,
        "pulled_at": receipt.pulled_at,
        "proved_at": receipt.proved_at(),
    }


def carried(catalog: Catalog, name: str) -> Answer:
    """Answer ``/assetmgr/v1/assets/NAME[.json]``: all that another assetmgr needs besides the bytes."""
    if name not in catalog.assets:
        name = name.removesuffix(".json")  # as a folder of plain files has it
    if name not in catalog.assets:
        raise RefusedError(404, f"this server holds no asset {name!r}")
    try:
        document = catalog.document(name)
    except AssetError as error:
        raise RefusedError(404, f"{name}: {error.message}") from None
    if document is None:
        raise RefusedError(404, f"{name} requires what this server does not hold; on the server: assetmgr pull {name}")
    etag = f'"{sha256_text(document)}"'
    return Answer(200, (("Content-Type", "application/json; charset=utf-8"),), document, etag=etag)
