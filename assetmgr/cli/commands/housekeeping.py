"""`rm`, `gc`, `pin` and `unpin`: take out of the store what is not wanted, and keep what is."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from assetmgr.cli.options import amount, byte_count, open_workspace, seconds
from assetmgr.cli.output import Output, plural, size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from assetmgr.cli.parser import Commands
    from assetmgr.housekeeping.removal import Removal
    from assetmgr.workspace import Workspace


def register(commands: Commands) -> None:
    """Add what this file does to the command line."""
    rm = commands.add(
        "rm",
        "take assets out of the store; manifests and locks stay as they are",
        _rm,
        "assetmgr rm minilm                # its receipt, and the files that nothing else there has",
        "assetmgr rm --dry-run minilm      # what would go",
        "assetmgr rm --copies 2 minilm     # only where two mirrors have every file",
    )
    rm.add_argument("names", metavar="NAME", nargs="+", help="installed assets")
    rm.add_argument("--dry-run", action="store_true", help="tell what would go")
    rm.add_argument(
        "--force", action="store_true", help="also what another asset requires, or another project's manifest wants"
    )
    rm.add_argument("--last-copy", action="store_true", help="also what no mirror has")
    rm.add_argument("--copies", metavar="N", type=amount, default=None, help="refuse unless N mirrors have every file")
    rm.add_argument(
        "--mirror", metavar="MIRROR", action="append", default=[], help="a mirror to ask, before those of the manifests"
    )
    rm.add_argument("--offline", action="store_true", help="never ask the network")
    _add_wait(rm)
    gc = commands.add(
        "gc",
        "remove from the store what assetmgr put there and nothing names any more",
        _gc,
        "assetmgr gc --dry-run   # what would go, and why",
        "assetmgr gc --old       # also what newer revisions replaced and no manifest wants",
        "assetmgr gc --max-size 200G   # also what was used longest ago, until the rest takes no more",
    )
    gc.add_argument("--dry-run", action="store_true", help="tell what would go")
    gc.add_argument("--old", action="store_true", help="also what was replaced, and no known manifest or lock wants")
    gc.add_argument(
        "--max-size",
        metavar="SIZE",
        type=byte_count,
        default=None,
        help="also what was used longest ago, until the rest takes no more, such as 200G",
    )
    gc.add_argument(
        "--foreign",
        action="store_true",
        help="also what assetmgr did not put into the store's folders; asks first",
    )
    gc.add_argument("--yes", action="store_true", help="do not ask")
    _add_wait(gc)
    pin = commands.add(
        "pin",
        "let nobody remove assets from the store; without names, show what is pinned",
        _pin,
        "assetmgr pin minilm",
        "assetmgr pin            # what is pinned",
    )
    pin.add_argument("names", metavar="NAME", nargs="*", help="installed assets")
    unpin = commands.add("unpin", "let pinned assets be removed again", _unpin, "assetmgr unpin minilm")
    unpin.add_argument("names", metavar="NAME", nargs="+", help="pinned assets")

    root = commands.add(
        "root",
        "move the whole store to another folder",
        _root,
        "assetmgr root move /srv/assets             # and say what to set from now on",
        "assetmgr root move --dry-run /srv/assets   # how it would go",
    )
    root.add_argument("action", choices=["move"], help="move: by a rename, or a proved copy to another file system")
    root.add_argument("new", metavar="FOLDER", help="where it is to be; empty, or not there yet")
    root.add_argument("--dry-run", action="store_true", help="tell how it would go")


def _add_wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wait", metavar="SECONDS", type=seconds, default=0.0, help="how long to wait for what is in use (0)"
    )


def _rm(options: argparse.Namespace, output: Output) -> int:
    workspace = open_workspace(options, output)
    removal = workspace.rm(
        options.names,
        force=options.force,
        last_copy=options.last_copy,
        copies=options.copies,
        dry_run=options.dry_run,
    )
    return _told(removal, workspace, output)


def _gc(options: argparse.Namespace, output: Output) -> int:
    workspace = open_workspace(options, output)
    agreed: bool | list[str] = options.foreign
    if options.foreign and not options.dry_run and not options.yes:
        agreed = workspace.foreign()
        if agreed and not _agrees(agreed, workspace, output):
            output.say("nothing is removed")
            return 0
    removal = workspace.gc(old=options.old, max_size=options.max_size, foreign=agreed, dry_run=options.dry_run)
    return _told(removal, workspace, output)


def _agrees(paths: Sequence[str], workspace: Workspace, output: Output) -> bool:
    """Ask whether what others put into the store may go."""
    from assetmgr.cli.streams import is_terminal
    from assetmgr.errors import UsageError

    if output.json or not is_terminal(sys.stdin) or not is_terminal(sys.stderr):
        raise UsageError(
            f"{plural(len(paths), 'file')} in {workspace.store.root} that assetmgr did not put there would be removed, "
            "and nobody is there to be asked: nothing is removed",
            mend="assetmgr gc --foreign --dry-run shows them; assetmgr gc --foreign --yes removes them",
        )
    for path in paths[:_SHOWN]:
        output.say(path)
    more = f", {len(paths) - _SHOWN:,} more than these" if len(paths) > _SHOWN else ""
    output.say(f"{plural(len(paths), 'file')} that assetmgr did not put there{more}. Remove for good? (yes/no)")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


# How many files of others are shown before it asks.
_SHOWN = 40


def _pin(options: argparse.Namespace, output: Output) -> int:
    return _pinned(open_workspace(options, output).pin(options.names), output)


def _unpin(options: argparse.Namespace, output: Output) -> int:
    return _pinned(open_workspace(options, output).unpin(options.names), output)


def _pinned(names: Sequence[str], output: Output) -> int:
    if output.json:
        output.document(list(names))
    for name in names if not output.json else ():
        output.data(name)
    return 0


def _root(options: argparse.Namespace, output: Output) -> int:
    from assetmgr.cli.documents import MovedDocument

    workspace = open_workspace(options, output)
    moved = workspace.move_root(options.new, dry_run=options.dry_run)
    cache_root = next((one for one in reversed(workspace.manifests) if one.cache_root), None)
    setting = _setting(options.root, os.fspath(cache_root.path) if cache_root else "", moved.new)
    if output.json:
        output.document(MovedDocument(0, options.dry_run, moved, setting))
        return 0
    would = "would be " if options.dry_run else ""
    how = "by a copy that is proved" if moved.way == "copy" else "by a rename"
    output.say(
        f"{moved.new}: {plural(moved.files, 'file')} ({size(moved.bytes)}) {would}moved {how}, "
        f"{plural(moved.links, 'link')} {would}led there"
    )
    for path in moved.left:
        output.say(f"left: {path} (changed or came while it was copied)")
    output.data(setting)
    return 0


def _setting(chosen: str | None, manifest: str, new: str) -> str:
    """What the user has to change to find the store where it is now."""
    import shlex

    if chosen:
        return f"from now on: --root {shlex.quote(new)}, wherever --root {shlex.quote(chosen)} is said"
    if os.environ.get("ASSETMGR_ROOT"):
        return f"from now on: export ASSETMGR_ROOT={shlex.quote(new)}, wherever that is set"
    if manifest:
        return f"from now on, in {manifest}: cache_root: {new}"
    return f"from now on: export ASSETMGR_ROOT={shlex.quote(new)}, which is not set yet"


def _told(removal: Removal, workspace: Workspace, output: Output) -> int:
    from assetmgr.housekeeping.commands import first_error

    error = first_error(removal)
    code = error.code if error else 0
    if output.json:
        from assetmgr.cli.documents import RemovalDocument, told_errors

        output.document(
            RemovalDocument(
                code,
                removal.dry_run,
                workspace.store.root,
                len(removal.gone),
                removal.freed,
                tuple(removal.gone),
                tuple(removal.left),
                told_errors(removal.errors),
            )
        )
    else:
        if removal.dry_run:
            for gone in removal.gone:
                output.data(f"{gone.path}  {size(gone.bytes)}  ({gone.why})")
        for left in removal.left:
            output.say(f"left: {left.path} ({left.why})")
        would = "would be " if removal.dry_run else ""
        output.say(f"{plural(len(removal.gone), 'file')} {would}removed, {size(removal.freed)} {would}freed")
    if error is not None:
        output.fail(error, documented=True)
    return code
