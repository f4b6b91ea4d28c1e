"""`status` and `path`: what is installed, and where."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from assetmgr.cli.options import add_names, named, open_workspace
from assetmgr.cli.output import Output, size, table

if TYPE_CHECKING:
    import argparse

    from assetmgr.cli.parser import Commands


def register(commands: Commands) -> None:
    """Add what this file does to the command line."""
    status = commands.add(
        "status",
        "show the state of each asset",
        _status,
        "assetmgr status --json | jq -r '.[] | select(.state != \"installed\") | .name'",
    )
    add_names(status)
    path = commands.add(
        "path",
        "print where a proved asset lies",
        _path,
        'cd "$(assetmgr path minilm)"',
    )
    path.add_argument("name", metavar="NAME")


def _status(options: argparse.Namespace, output: Output) -> int:
    workspace = open_workspace(options, output)
    rows = workspace.status(named(options, workspace))
    if output.json:
        output.document([dataclasses.asdict(row) for row in rows])
        return 0
    if not rows:
        output.say(f"nothing is installed in {workspace.store.root}")
        return 0
    lines = [("asset", "kind", "state", "files", "size", "revision", "proved")]
    for row in rows:
        revision = f"{row.revision}@{row.commit[:8]}" if row.commit else "-"
        proved = time.strftime("%Y-%m-%d %H:%M", time.localtime(row.proved_at)) if row.proved_at else "-"
        state = row.state + (", lock stale" if row.stale else "")
        lines.append((row.name, row.kind, state, f"{row.files:,}", size(row.bytes), revision, proved))
    output.data(table(lines, right=(3, 4)))
    return 0


def _path(options: argparse.Namespace, output: Output) -> int:
    path = open_workspace(options, output).path(options.name)
    if output.json:
        output.document({"name": options.name, "path": path})
    else:
        output.data(path, exact=True)
    return 0
