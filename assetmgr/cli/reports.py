"""What several commands tell in the same words."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from assetmgr.cli.output import Output, size

if TYPE_CHECKING:
    from assetmgr.workspace import Workspace


def traffic(workspace: Workspace) -> dict[str, Any]:
    """What came from where, for a document; nothing where there are no mirrors."""
    moved = workspace.traffic()
    if not moved.mirrors:
        return {}
    return {
        "mirrors": [dataclasses.asdict(one) for one in moved.mirrors],
        "origin": {"files": moved.origin_files, "bytes": moved.origin_bytes},
    }


def shares(workspace: Workspace) -> str:
    """What came from where, in words: of each mirror how much."""
    moved = workspace.traffic()
    if not moved.mirrors:
        return hosts(workspace)
    parts = [(f"mirror {one.mirror}", one.files, one.bytes) for one in moved.mirrors]
    parts.append(("their origins", moved.origin_files, moved.origin_bytes))
    return "".join(f"; {files:,} from {name} ({size(amount)})" for name, files, amount in parts if files)


def hosts(workspace: Workspace) -> str:
    """Which origins were asked, in words; nothing where none was."""
    asked = workspace.traffic().origins
    if len(asked) > 3:
        return f" from {', '.join(asked[:2])} and {len(asked) - 2} more hosts"
    return f" from {', '.join(asked)}" if asked else ""


def tell_mirrors(workspace: Workspace, output: Output) -> None:
    """Name the mirrors that were no good, and why, once a command."""
    for one in workspace.traffic().mirrors:
        if complaint := one.complaint():
            output.say(complaint)
