"""`lock` and `plan`: which bytes, and what it takes to have them."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

from assetmgr.cli.options import add_local_caches, add_mirrors, add_names, add_network, named, open_workspace
from assetmgr.cli.output import Output, plural, size
from assetmgr.cli.reports import hosts, tell_of_bad_sources
from assetmgr.cli.tables import table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from assetmgr.cli.parser import Commands
    from assetmgr.plan import Plan
    from assetmgr.sheets import LockChange


def register(commands: Commands) -> None:
    """Add what this file does to the command line."""
    lock = commands.add(
        "lock",
        "pin assets to exact bytes",
        _lock,
        "assetmgr lock                         # pin all that assets.yaml declares",
        "assetmgr lock --upgrade minilm        # move one asset to the newest commit of its revision",
        "assetmgr lock --check                 # in CI: does the lock say what the manifest asks for?",
    )
    add_names(lock)
    lock.add_argument(
        "--upgrade",
        metavar="NAME",
        action="append",
        default=[],
        help="move NAME to the newest commit of its revision",
    )
    lock.add_argument(
        "--check",
        action="store_true",
        help="fail when the lock does not say what the manifest asks for; write nothing",
    )
    lock.add_argument(
        "--no-fetch",
        action="store_true",
        help="leave sha256 open where the origin publishes none; pull refuses such a lock",
    )
    lock.add_argument(
        "--freeze",
        action="store_true",
        help="also pin what pull has made here of lists and scripts: other machines get these very bytes",
    )
    add_network(lock)
    add_mirrors(lock)
    plan = commands.add(
        "plan",
        "show what pull would do, and the bytes and disk it takes",
        _plan,
        "assetmgr plan                         # what would pull fetch, and is there room?",
    )
    add_names(plan)
    add_local_caches(plan)


def _lock(options: argparse.Namespace, output: Output) -> int:
    workspace = open_workspace(options, output)
    names = named(options, workspace)
    if options.check:
        checked = workspace.check_lock(names)
        if output.json:
            _document(checked, output)
        else:
            output.say("the lock says what the manifest asks for")
        return 0
    started = time.monotonic()
    try:
        report = workspace.lock(names, upgrade=options.upgrade, fetch=not options.no_fetch, freeze=options.freeze)
    finally:
        tell_of_bad_sources(workspace, output)
    if output.json:
        _document(report, output)
        return 0
    seconds = time.monotonic() - started
    for one in report:
        for line in one.changes:
            output.data(line)
        changed = "written" if one.changes else "unchanged"
        what = f"{one.path} {changed}: {plural(one.assets, 'asset')}{hosts(workspace)} in {seconds:.1f} s"
        output.say(what + (output.typed("; next: assetmgr pull") if one.changes else ""))
    return 0


def _document(report: Sequence[LockChange], output: Output) -> None:
    from assetmgr.cli.documents import LockDocument

    output.document([LockDocument(str(one.path), one.assets, one.changes) for one in report])


def _plan(options: argparse.Namespace, output: Output) -> int:
    from assetmgr.pull import free_bytes, room_error

    workspace = open_workspace(options, output)
    plan = workspace.plan(named(options, workspace))
    free = free_bytes(workspace.store.root)
    error = room_error(workspace.store, plan)
    if output.json:
        from assetmgr.cli.documents import PlanDocument, PlannedAsset

        assets = tuple(map(PlannedAsset.of, plan.assets))
        root, fits = workspace.store.root, error is None
        output.document(PlanDocument(root, plan.fetch_bytes, plan.unpack_bytes, plan.disk_bytes, free, fits, assets))
    else:
        output.data(_plan_table(plan))
        if found := sum(len(asset.found) for asset in plan.assets):
            amount = size(sum(asset.found_bytes for asset in plan.assets))
            output.data(f"in other tools' caches: {plural(found, 'file')} found ({amount}); linked if they prove equal")
        output.data(f"disk: {size(plan.disk_bytes)} needed, {size(free)} free in {workspace.store.root}")
    if error is None:
        if plan.fetch_bytes or plan.unpack_bytes:
            output.say(output.typed(f"next: {shlex.join(['assetmgr', 'pull', *options.names])}"))
        return 0
    output.fail(error, documented=True)
    return error.code


def _plan_table(plan: Plan) -> str:
    rows = [("asset", "files", "to fetch", "bytes", "there", "to prove", "to link", "to unpack", "disk")]
    for asset in plan.assets:
        rows.append(
            (
                asset.entry.name,
                f"{asset.entry.count:,}",
                f"{len(asset.fetch):,}",
                size(asset.fetch_bytes),
                size(asset.held_bytes + asset.staged),
                f"{len(asset.prove):,}",
                f"{len(asset.link) + len(asset.found):,}",
                f"{asset.unpack_files:,}",
                size(asset.disk_bytes),
            )
        )
    rows.append(
        (
            "in all",
            f"{sum(asset.entry.count for asset in plan.assets):,}",
            f"{sum(len(asset.fetch) for asset in plan.assets):,}",
            size(plan.fetch_bytes),
            size(sum(asset.held_bytes + asset.staged for asset in plan.assets)),
            f"{sum(len(asset.prove) for asset in plan.assets):,}",
            f"{sum(len(asset.link) + len(asset.found) for asset in plan.assets):,}",
            f"{sum(asset.unpack_files for asset in plan.assets):,}",
            size(plan.disk_bytes),
        )
    )
    return table(rows, right=range(1, 9))
