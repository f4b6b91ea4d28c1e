"""What several commands tell in the same words."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from assetmgr.cli.output import Output, plural, size

if TYPE_CHECKING:
    from assetmgr.workspace import Workspace


def moved(workspace: Workspace) -> dict[str, Any]:
    """What came from where, as the fields of a `Moved` document; none where there are no mirrors and no cache gave."""
    from assetmgr.cli.documents import Amount

    traffic, adopted = workspace.traffic(), workspace.adopted()
    found: dict[str, Any] = {"caches": adopted} if adopted else {}
    if not traffic.mirrors:
        return found
    return found | {"mirrors": traffic.mirrors, "origin": Amount(traffic.origin_files, traffic.origin_bytes)}


def shares(workspace: Workspace) -> str:
    """What came from where, in words: of each mirror how much."""
    moved = workspace.traffic()
    if not moved.mirrors:
        return hosts(workspace)
    parts = [(f"mirror {one.mirror}", one.files, one.bytes) for one in moved.mirrors]
    parts.append(("their origins", moved.origin_files, moved.origin_bytes))
    return "".join(f"; {files:,} from {name} ({size(amount)})" for name, files, amount in parts if files)


def from_caches(workspace: Workspace) -> list[str]:
    """What was taken from other tools' caches, in words."""
    parts = []
    for one in workspace.adopted():
        ways = (("linked", one.linked_files, one.linked_bytes), ("copied", one.copied_files, one.copied_bytes))
        for way, files, amount in ways:
            if files:
                parts.append(f"{plural(files, 'file')} ({size(amount)}) {way} from {at_home(one.cache)}")
    return parts


def at_home(folder: str) -> str:
    """A folder as its user writes it: ``~`` for theirs."""
    home = os.path.expanduser("~")
    return f"~{folder[len(home) :]}" if folder.startswith(home + os.sep) else folder


def hosts(workspace: Workspace) -> str:
    """Which origins were asked, in words; nothing where none was."""
    asked = workspace.traffic().origins
    if len(asked) > 3:
        return f" from {', '.join(asked[:2])} and {len(asked) - 2} more hosts"
    return f" from {', '.join(asked)}" if asked else ""


def tell_of_bad_sources(workspace: Workspace, output: Output) -> None:
    """Name the mirrors and the caches that were no good, and why, once a command."""
    for cache in workspace.adopted():
        if cache.wrong_files:
            are = "is not what its name says" if cache.wrong_files == 1 else "are not what their names say"
            output.say(f"{at_home(cache.cache)}: {plural(cache.wrong_files, 'file')} there {are}; passed over")
    for one in workspace.traffic().mirrors:
        if complaint := one.complaint():
            output.say(complaint)
