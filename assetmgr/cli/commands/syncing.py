"""`sync`: the one verb for a machine."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import TYPE_CHECKING

from assetmgr.cli.options import add_mirrors, add_names, add_network, named, open_workspace
from assetmgr.cli.output import Output, plural, size
from assetmgr.cli.reports import from_caches, moved, shares, tell_of_bad_sources
from assetmgr.errors import AssetError, IntegrityError, SeveralErrors, UsageError

if TYPE_CHECKING:
    import argparse

    from assetmgr.cli.documents import SyncDocument
    from assetmgr.cli.parser import Commands
    from assetmgr.syncing import FolderChange, Synced
    from assetmgr.workspace import Workspace

# How many names of one folder are told to a person.
_NAMED = 20


def register(commands: Commands) -> None:
    """Add what this file does to the command line."""
    sync = commands.add(
        "sync",
        "make this machine as the manifest says: lock what changed, pull, tidy local_dirs, verify",
        _sync,
        "assetmgr sync                         # after every edit of assets.yaml",
        "assetmgr sync --dry-run               # what would that do?",
        "assetmgr sync --locked                # in CI: fail when the lock is stale",
        "assetmgr sync --frozen                # the lock alone decides, whatever assets.yaml says",
        "assetmgr sync --upgrade minilm        # everything, and this one at its newest commit",
    )
    add_names(sync)
    how = sync.add_mutually_exclusive_group()
    how.add_argument("--locked", action="store_true", help="fail when the lock is stale; write none")
    how.add_argument("--frozen", action="store_true", help="do not look at the manifest: the lock beside it decides")
    how.add_argument(
        "--upgrade",
        metavar="NAME",
        nargs="?",
        const="",
        action="append",
        help="move NAME, or without a name all, to the newest commit of its revision",
    )
    sync.add_argument("--dry-run", action="store_true", help="tell what would be done; write and fetch nothing")
    add_network(sync)
    add_mirrors(sync)


def _sync(options: argparse.Namespace, output: Output) -> int:
    if options.frozen and options.group:
        raise UsageError("--group is what the manifest says, and --frozen does not look at it", mend="name the assets")
    from assetmgr.references import is_reference

    for word in filter(is_reference, options.names):
        mend = f"assetmgr pull {word}, or assetmgr add {word} and then assetmgr sync"
        raise UsageError(f"{word!r}: sync is about what the manifest declares", mend=mend)
    workspace = open_workspace(options, output)
    started = time.monotonic()
    upgrade = options.upgrade
    if upgrade is not None and "" in upgrade:
        upgrade = []
    try:
        names = named(options, workspace)
        result = workspace.sync(names, locked=options.locked, upgrade=upgrade, dry_run=options.dry_run)
    except AssetError as error:
        tell_of_bad_sources(workspace, output)
        output.fail(error, **moved(workspace))
        return error.code
    errors = [*result.problems, *(result.verification.errors if result.verification else ())]
    findings = result.verification.findings if result.verification else ()
    code = (
        SeveralErrors([*errors, *([IntegrityError("findings")] if findings else [])]).code if errors or findings else 0
    )
    seconds = round(time.monotonic() - started, 3)
    if output.json:
        output.document(_document(result, workspace, code, seconds))
        return code
    tell_of_bad_sources(workspace, output)
    if not output.quiet or result.dry_run:
        for line in _lines(result):
            output.data(line)
    for finding in findings:
        output.data(str(finding))
    output.say(f"{_summary(result, workspace)}; {seconds:.1f} s")
    if errors:
        output.fail(SeveralErrors(errors) if len(errors) > 1 else errors[0])
    elif findings:
        wrong = " ".join(dict.fromkeys(finding.asset for finding in findings))
        output.words(output.typed(f"mend: assetmgr verify {wrong} --repair"))
    return code


def _document(result: Synced, workspace: Workspace, code: int, seconds: float) -> SyncDocument:
    from assetmgr.cli import documents as told

    proof = result.verification
    return told.SyncDocument(
        code=code,
        dry_run=result.dry_run,
        changed=not result.is_idle,
        root=workspace.store.root,
        lock=tuple(told.LockDocument(str(one.path), one.assets, one.changes) for one in result.locks),
        assets=tuple(
            told.SyncedAsset(
                one.name,
                one.fetched_files,
                one.fetched_bytes,
                one.linked_files,
                one.kept_files,
                one.unpacked_files,
                one.adopted_files,
                one.adopted_bytes,
                one.name not in result.unknown,
            )
            for one in result.assets
        ),
        folders=tuple(told.ChangedFolder(**dataclasses.asdict(one)) for one in result.folders),
        released=tuple(
            told.ReleasedAsset(one.entry.name, one.entry.revision, one.entry.commit, one.entry.size)
            for one in result.released
        ),
        verified=told.ProvedFiles(proof.files, proof.bytes, proof.hashed_bytes) if proof else None,
        findings=told.told_findings(proof.findings if proof else ()),
        errors=told.told_errors([*result.problems, *(proof.errors if proof else ())]),
        seconds=seconds,
        **moved(workspace),
    )


def _lines(result: Synced) -> list[str]:
    """What was done, or would be, a line a fact."""
    would = "would be " if result.dry_run else ""
    lines = [line for one in result.locks for line in one.changes]
    for asset in result.assets if result.dry_run else ():
        if asset.fetched_files:
            least = "at least " if asset.name in result.unknown else ""
            files = plural(asset.fetched_files, "file")
            lines.append(f"{asset.name}: {files} would be fetched ({least}{size(asset.fetched_bytes)})")
        elif asset.name in result.unknown:
            lines.append(f"{asset.name}: only fetching would tell what its URLs give now")
        if asset.linked_files:
            lines.append(f"{asset.name}: {plural(asset.linked_files, 'file')} would be linked")
        if asset.unpacked_files:
            lines.append(f"{asset.name}: {plural(asset.unpacked_files, 'file')} would be unpacked")
    for folder in result.folders:
        lines += _folder_lines(folder, would)
    held = {asset.name for asset in result.assets}
    for receipt in result.released:
        if receipt.entry.name not in held:
            lines.append(f"{receipt.entry.name}: no longer wanted; its {size(receipt.entry.size)} stay in the store")
    return lines


def _folder_lines(folder: FolderChange, would: str) -> list[str]:
    lines = []
    if folder.put:
        lines.append(f"{folder.asset}: {plural(len(folder.put), 'file')} {would}shown in {folder.folder}")
    for names, what in (
        (folder.removed, f"{would}removed"),
        (folder.left, "changed since it was put there, and stays"),
    ):
        lines += [f"{os.path.join(folder.folder, *name.split('/'))}: {what}" for name in names[:_NAMED]]
        if names[_NAMED:]:
            lines.append(f"{folder.folder}: and {plural(len(names) - _NAMED, 'more file')}: {what}")
    if folder.added:
        more = ", ..." if folder.added[5:] else ""
        lines.append(f"{folder.folder}: stays, with what is not of assetmgr: {', '.join(folder.added[:5])}{more}")
    return lines


def _summary(result: Synced, workspace: Workspace) -> str:
    """What was done, from where: one line."""
    assets, root = plural(len(result.assets), "asset"), workspace.store.root
    if result.dry_run:
        amount = size(sum(one.fetched_bytes for one in result.assets))
        files = plural(sum(one.fetched_files for one in result.assets), "file")
        least = "at least " if result.unknown else ""
        idle = "nothing to do" if result.is_idle else f"{files} to fetch ({least}{amount})"
        return f"dry run: {idle} for {assets} in {root}; nothing was written"
    files = plural(sum(one.kept_files for one in result.assets), "file")
    if result.is_idle:
        return f"nothing to do: {assets}, {files}, proved in {root}"
    fetched = sum(one.fetched_files for one in result.assets)
    amount = size(sum(one.fetched_bytes for one in result.assets))
    counted = (
        (sum(bool(one.changes) for one in result.locks), "lock", "written", ""),
        (fetched, "file", "fetched", f" ({amount}{shares(workspace)})"),
        (sum(one.unpacked_files for one in result.assets), "file", "unpacked", ""),
        (sum(one.linked_files for one in result.assets), "file", "linked", ""),
        (sum(len(one.put) for one in result.folders), "file", "shown", ""),
        (sum(len(one.removed) for one in result.folders), "file", "removed from folders", ""),
        (sum(one.kept_files for one in result.assets), "file", "already there", ""),
    )
    done = [f"{plural(count, noun)} {what}{more}" for count, noun, what, more in counted if count]
    done += from_caches(workspace)
    return f"{assets} proved in {root}: {', '.join(done) or 'all was there'}"
