"""The page at ``/``: what is here, for people."""

from __future__ import annotations

import time
from collections.abc import Iterable
from html import escape
from typing import Any

_COLUMNS = ("name", "kind", "from", "revision", "commit", "files", "bytes", "proved")
_STYLE = (
    "body{font:15px sans-serif;margin:2em}table{border-collapse:collapse}td.n{text-align:right}"
    "td,th{padding:.3em .8em;text-align:left;border-bottom:1px solid #ddd}"
)


def page(assets: Iterable[dict[str, Any]], address: str) -> str:
    """The page of some assets as `assetmgr.server.assets.told` tells them."""
    rows = "".join(_row(asset) for asset in assets)
    body = (
        f"<table><tr>{''.join(f'<th>{name}</th>' for name in _COLUMNS)}</tr>{rows}</table>"
        if rows
        else "<p>No asset is installed in this store yet.</p>"
    )
    lines = (f"export HF_ENDPOINT={address}", f"assetmgr pull NAME --mirror {address}")
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>assetmgr serve</title>"
        f"<style>{_STYLE}</style><h1>assetmgr serve</h1>"
        f"<p>On a machine of this network:</p><pre>{escape(chr(10).join(lines))}</pre>{body}</html>\n"
    )


def _row(asset: dict[str, Any]) -> str:
    proved = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(asset["proved_at"])) if asset["proved_at"] else "not whole"
    words = (
        asset["name"],
        asset["kind"],
        asset["repo"] or asset["origin"],
        asset["revision"] or "",
        (asset["commit"] or "")[:12],
    )
    numbers = (asset["files"], asset["bytes"])
    cells = "".join(f"<td>{escape(word)}</td>" for word in words)
    return f"<tr>{cells}{''.join(f'<td class=n>{one:,}</td>' for one in numbers)}<td>{proved}</td></tr>"
