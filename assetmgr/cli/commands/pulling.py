"""`pull`: bring what the lock names."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from assetmgr.cli.options import add_mirrors, add_names, add_network, named, open_workspace
from assetmgr.cli.output import Output, plural, size
from assetmgr.cli.reports import shares, tell_mirrors, traffic
from assetmgr.errors import AssetError

if TYPE_CHECKING:
    import argparse

    from assetmgr.cli.parser import Commands


def register(commands: Commands) -> None:
    """Add what this file does to the command line."""
    pull = commands.add(
        "pull",
        "bring what the lock names into the store, proved",
        _pull,
        "assetmgr pull                         # all of assets.yaml, from the lock",
        "assetmgr pull minilm coco_caption     # these, and what they require",
        "assetmgr pull --limit-rate 20M        # and leave the others some of the line",
    )
    add_names(pull)
    pull.add_argument("--locked", action="store_true", help="fail when the manifest changed since the lock was made")
    add_network(pull)
    add_mirrors(pull)


def _pull(options: argparse.Namespace, output: Output) -> int:
    workspace = open_workspace(options, output)
    started = time.monotonic()
    try:
        done = workspace.pull(named(options, workspace), locked=options.locked)
    except AssetError as error:
        tell_mirrors(workspace, output)
        output.fail(error, **traffic(workspace))
        return error.code
    seconds = round(time.monotonic() - started, 3)
    if output.json:
        assets = [dataclasses.asdict(one) for one in done]
        output.document({"seconds": seconds, "assets": assets, **traffic(workspace)})
        return 0
    tell_mirrors(workspace, output)
    fetched = sum(one.fetched_files for one in done)
    unpacked = sum(one.unpacked_files for one in done)
    linked = sum(one.linked_files for one in done)
    kept = sum(one.kept_files for one in done)
    parts = []
    if fetched:
        amount = sum(one.fetched_bytes for one in done)
        parts.append(f"{plural(fetched, 'file')} fetched ({size(amount)}{shares(workspace)})")
    if unpacked:
        parts.append(f"{plural(unpacked, 'file')} unpacked")
    if linked:
        parts.append(f"{plural(linked, 'file')} linked")
    if kept:
        parts.append(f"{plural(kept, 'file')} already there")
    output.say(f"{plural(len(done), 'asset')} proved in {workspace.store.root}: {', '.join(parts)}; {seconds:.1f} s")
    return 0
