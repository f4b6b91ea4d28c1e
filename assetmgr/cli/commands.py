"""One function a command."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from assetmgr.cli.output import Output, error_document, plural, size, table
from assetmgr.errors import AssetError, IntegrityError, SeveralErrors

if TYPE_CHECKING:
    from assetmgr.plan import Plan
    from assetmgr.workspace import Verification, Workspace


def run(options: argparse.Namespace, output: Output) -> int:
    """Run the chosen command; return its exit code."""
    return _COMMANDS[options.command](options, output)


def _workspace(options: argparse.Namespace, output: Output) -> Workspace:
    from assetmgr.workspace import Workspace

    return Workspace(
        options.manifest,
        options.root,
        offline=getattr(options, "offline", False),
        jobs=getattr(options, "jobs", None),
        rate=getattr(options, "limit_rate", None),
        wait=getattr(options, "wait", 3600.0),
        reporter=output,
        mirrors=getattr(options, "mirror", ()),
    )


def _names(options: argparse.Namespace, workspace: Workspace) -> list[str]:
    return [*options.names, *(name for group in options.group for name in workspace.group(group))]


def _lock(options: argparse.Namespace, output: Output) -> int:
    workspace = _workspace(options, output)
    names = _names(options, workspace)
    if options.check:
        workspace.check_lock(names)
        if output.json:
            output.document({"fresh": True})
        else:
            output.say("the lock says what the manifest asks for")
        return 0
    started = time.monotonic()
    try:
        report = workspace.lock(names, upgrade=options.upgrade, fetch=not options.no_fetch)
    finally:
        _tell_mirrors(workspace, output)
    if output.json:
        output.document([{"lock": str(one.path), "assets": one.assets, "changes": one.changes} for one in report])
        return 0
    for one in report:
        for line in one.changes:
            output.data(line)
        changed = "written" if one.changes else "unchanged"
        output.say(f"{one.path} {changed}: {plural(one.assets, 'asset')} in {time.monotonic() - started:.1f} s")
    return 0


def _plan(options: argparse.Namespace, output: Output) -> int:
    from assetmgr.pull import free_bytes, room_error

    workspace = _workspace(options, output)
    plan = workspace.plan(_names(options, workspace))
    free = free_bytes(workspace.store.root)
    error = room_error(workspace.store, plan)
    if output.json:
        output.document(
            {
                "root": workspace.store.root,
                "fetch_bytes": plan.fetch_bytes,
                "unpack_bytes": plan.unpack_bytes,
                "disk_bytes": plan.disk_bytes,
                "free_bytes": free,
                "fits": error is None,
                "assets": [
                    {
                        "name": asset.entry.name,
                        "files": asset.entry.count,
                        "keep": [file.path for file in asset.keep],
                        "prove": [file.path for file in asset.prove],
                        "link": [file.path for file in asset.link],
                        "fetch": [file.path for file in asset.fetch],
                        "unpack": [
                            {
                                "archive": unpacking.archive.path,
                                "to": unpacking.unpacked.extract.place,
                                "files": unpacking.count,
                                "bytes": unpacking.size,
                            }
                            for unpacking in asset.unpack
                        ],
                        "held_bytes": asset.held_bytes,
                        "staged_bytes": asset.staged,
                        "fetch_bytes": asset.fetch_bytes,
                        "unpack_bytes": asset.unpack_bytes,
                        "disk_bytes": asset.disk_bytes,
                    }
                    for asset in plan.assets
                ],
            }
        )
    else:
        output.data(_plan_table(plan))
        output.data(f"disk: {size(plan.disk_bytes)} needed, {size(free)} free in {workspace.store.root}")
    if error is None:
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
                f"{len(asset.link):,}",
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
            f"{sum(len(asset.link) for asset in plan.assets):,}",
            f"{sum(asset.unpack_files for asset in plan.assets):,}",
            size(plan.disk_bytes),
        )
    )
    return table(rows, right=range(1, 9))


def _pull(options: argparse.Namespace, output: Output) -> int:
    workspace = _workspace(options, output)
    started = time.monotonic()
    try:
        done = workspace.pull(_names(options, workspace), locked=options.locked)
    except AssetError as error:
        _tell_mirrors(workspace, output)
        output.fail(error, **_traffic(workspace))
        return error.code
    seconds = round(time.monotonic() - started, 3)
    if output.json:
        assets = [dataclasses.asdict(one) for one in done]
        output.document({"seconds": seconds, "assets": assets, **_traffic(workspace)})
        return 0
    _tell_mirrors(workspace, output)
    fetched = sum(one.fetched_files for one in done)
    unpacked = sum(one.unpacked_files for one in done)
    linked = sum(one.linked_files for one in done)
    kept = sum(one.kept_files for one in done)
    parts = []
    if fetched:
        amount = sum(one.fetched_bytes for one in done)
        parts.append(f"{plural(fetched, 'file')} fetched ({size(amount)}{_shares(workspace)})")
    if unpacked:
        parts.append(f"{plural(unpacked, 'file')} unpacked")
    if linked:
        parts.append(f"{plural(linked, 'file')} linked")
    if kept:
        parts.append(f"{plural(kept, 'file')} already there")
    output.say(f"{plural(len(done), 'asset')} proved in {workspace.store.root}: {', '.join(parts)}; {seconds:.1f} s")
    return 0


def _traffic(workspace: Workspace) -> dict[str, Any]:
    """What came from where, for a document; nothing where there are no mirrors."""
    traffic = workspace.traffic()
    if not traffic.mirrors:
        return {}
    return {
        "mirrors": [dataclasses.asdict(one) for one in traffic.mirrors],
        "origin": {"files": traffic.origin_files, "bytes": traffic.origin_bytes},
    }


def _shares(workspace: Workspace) -> str:
    """What came from where, in words; nothing where there are no mirrors."""
    traffic = workspace.traffic()
    if not traffic.mirrors:
        return ""
    shares = [(f"mirror {one.mirror}", one.files, one.bytes) for one in traffic.mirrors]
    shares.append(("their origins", traffic.origin_files, traffic.origin_bytes))
    return "".join(f"; {files:,} from {name} ({size(amount)})" for name, files, amount in shares if files)


def _tell_mirrors(workspace: Workspace, output: Output) -> None:
    """Name the mirrors that were no good, and why, once a command."""
    for one in workspace.traffic().mirrors:
        if complaint := one.complaint():
            output.say(complaint)


def _verify(options: argparse.Namespace, output: Output) -> int:
    workspace = _workspace(options, output)
    started = time.monotonic()
    result = workspace.verify(_names(options, workspace), full=options.full, repair=options.repair)
    code = _verify_code(result)
    if output.json:
        output.document(
            {
                "code": code,
                "full": options.full,
                "assets": result.assets,
                "files": result.files,
                "bytes": result.bytes,
                "hashed_bytes": result.hashed_bytes,
                "findings": [finding._asdict() for finding in result.findings],
                "repaired": [finding._asdict() for finding in result.repaired],
                "errors": [error_document(error) for error in result.errors],
                **_traffic(workspace),
            }
        )
        return code
    _tell_mirrors(workspace, output)
    for finding in result.repaired:
        output.data(f"repaired: {finding}")
    for finding in result.findings:
        output.data(str(finding))
    how = "hashed in full" if options.full else f"by stamps, {size(result.hashed_bytes)} hashed"
    proved = "all proved" if result.assets else "nothing verified"
    verdict = f"{plural(len(result.findings), 'finding')}" if result.findings else proved
    output.say(
        f"{plural(result.assets, 'asset')}, {plural(result.files, 'file')}, {size(result.bytes)}: {verdict} "
        f"({how}); {time.monotonic() - started:.1f} s"
    )
    if result.errors:
        output.fail(SeveralErrors(result.errors) if len(result.errors) > 1 else result.errors[0])
    elif result.findings:
        names = " ".join(dict.fromkeys(finding.asset for finding in result.findings))
        full = " --full" if options.full else ""
        output.words(output.typed(f"mend: assetmgr verify {names} --repair{full}"))
    return code


def _verify_code(result: Verification) -> int:
    errors = list(result.errors)
    if result.findings:
        errors.append(IntegrityError("findings"))
    return SeveralErrors(errors).code if errors else 0


def _status(options: argparse.Namespace, output: Output) -> int:
    workspace = _workspace(options, output)
    rows = workspace.status(_names(options, workspace))
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
    path = _workspace(options, output).path(options.name)
    if output.json:
        output.document({"name": options.name, "path": path})
    else:
        output.data(path)
    return 0


def _mirror(options: argparse.Namespace, output: Output) -> int:
    workspace = _workspace(options, output)
    started = time.monotonic()
    report = workspace.push(options.target, _names(options, workspace), full=options.full)
    error = SeveralErrors(report.errors) if report.errors else None
    if output.json:
        output.document(
            {
                "code": error.code if error else 0,
                "target": report.target,
                "pushed": {"files": report.files, "bytes": report.bytes},
                "present": {"files": report.present_files, "bytes": report.present_bytes},
                "errors": [error_document(one) for one in report.errors],
            }
        )
    else:
        output.say(
            f"{report.target}: {plural(report.files, 'blob')} pushed ({size(report.bytes)}), "
            f"{plural(report.present_files, 'blob')} already there ({size(report.present_bytes)}); "
            f"{time.monotonic() - started:.1f} s"
        )
    if error is None:
        return 0
    output.fail(error, documented=True)
    return error.code


def _schema(options: argparse.Namespace, output: Output) -> int:
    from assetmgr.manifest import json_schema

    output.document(json_schema())
    return 0


_COMMANDS: dict[str, Callable[[argparse.Namespace, Output], int]] = {
    "lock": _lock,
    "plan": _plan,
    "pull": _pull,
    "verify": _verify,
    "status": _status,
    "path": _path,
    "mirror": _mirror,
    "schema": _schema,
}
