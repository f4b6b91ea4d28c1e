"""`list`, `show`, `status` and `path`: what there is, in which state, and where. Nobody is asked."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from assetmgr.cli import streams
from assetmgr.cli.options import add_mirrors, add_names, amount, named, open_workspace, seconds
from assetmgr.cli.output import Output, plural, size
from assetmgr.cli.tables import table
from assetmgr.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    import argparse

    from assetmgr.cli.parser import Commands
    from assetmgr.inventory_rows import AssetStatus, ListedAsset, ShownAsset
    from assetmgr.memory import Fitness, FreeRoom
    from assetmgr.workspace import Workspace


def register(commands: Commands) -> None:
    """Add what this file does to the command line."""
    listing = commands.add(
        "list",
        "list the catalog and what is installed",
        _list,
        "assetmgr list                         # all that is declared or installed",
        "assetmgr list 'blip*' --kind model    # by a pattern, or a part of a name",
        "assetmgr list --installed --json      # for a program",
        "assetmgr list --mirror http://lab-server:8470  # what is to be had there",
    )
    listing.add_argument("pattern", metavar="PATTERN", nargs="?", help="a glob, or a part of a name; case is ignored")
    listing.add_argument("--kind", choices=["model", "dataset"], help="only these")
    listing.add_argument("--installed", action="store_true", help="only what is in the store, whole or in part")
    listing.add_argument("--group", metavar="GROUP", action="append", default=[], help="the assets of a group")
    listing.add_argument(
        "--mirror",
        metavar="MIRROR",
        action="append",
        default=[],
        help="list what this mirror tells that it has, and nothing else; may be repeated",
    )
    show = commands.add(
        "show",
        "show all that is known of one asset",
        _show,
        "assetmgr show minilm                  # origin, revision, files, licence, state, why it is there",
        "assetmgr show minilm --files          # with every file",
        "assetmgr show coco_caption --samples 12 -o sheet.html  # a look at some samples of a dataset",
    )
    show.add_argument("name", metavar="NAME")
    show.add_argument("--files", action="store_true", help="show every file, not only the largest")
    show.add_argument("--samples", metavar="N", type=amount, help="of a dataset: write so many samples to a sheet (12)")
    show.add_argument("--split", metavar="SPLIT", help="samples of this split alone")
    show.add_argument("-o", "--output", metavar="FILE", help="the sheet: FILE.html or FILE.png; one there is replaced")
    status = commands.add(
        "status",
        "show the state of each asset",
        _status,
        "assetmgr status --json | jq -r '.[] | select(.state != \"installed\") | .name'",
    )
    add_names(status)
    status.add_argument(
        "--check", action="store_true", help="look at every file, also where there are more than a moment allows"
    )
    diff = commands.add(
        "diff",
        "show what differs: two locks, or what is installed and the lock",
        _diff,
        "assetmgr diff                         # what is installed against the lock: what would pull change?",
        "assetmgr diff old.lock.json assets.lock.json",
        "git show HEAD~1:assets.lock.json | assetmgr diff - assets.lock.json",
    )
    diff.add_argument("old", metavar="OLD", nargs="?", help="a lock; - is standard input; none: what is installed")
    diff.add_argument("new", metavar="NEW", nargs="?", help="a lock (else that of the nearest manifest)")
    diff.add_argument("--group", metavar="GROUP", action="append", default=[], help="the assets of a group")
    diff.set_defaults(names=[])
    diff.add_argument("--files", action="store_true", help="name every file, not only the first of each asset")
    whereis = commands.add(
        "whereis",
        "show where an asset's files are: on this machine, and on which mirrors",
        _whereis,
        "assetmgr whereis minilm",
        "assetmgr whereis minilm --mirror /media/stick/mirror",
    )
    whereis.add_argument("name", metavar="NAME")
    whereis.add_argument("--offline", action="store_true", help="never ask the network")
    whereis.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, default=10.0, help="how long the mirrors may take (10)"
    )
    add_mirrors(whereis)
    path = commands.add(
        "path",
        "print where a proved asset lies",
        _path,
        'cd "$(assetmgr path minilm)"',
    )
    path.add_argument("name", metavar="NAME")


def _list(options: argparse.Namespace, output: Output) -> int:
    workspace = open_workspace(options, output)
    if options.mirror and (options.installed or options.group):
        raise UsageError("--mirror lists what a mirror has", mend="leave out --installed and --group")
    if options.mirror:
        rows = workspace.on_mirrors(options.mirror, options.pattern, kind=options.kind)
    else:
        rows = workspace.assets(options.pattern, kind=options.kind, installed=options.installed, groups=options.group)
    if output.json:
        output.document(rows)
        return 0
    if rows:
        told = any(row.description for row in rows)
        lines = [("asset", "kind", "state", "size", "groups", "origin", *(["description"] if told else []))]
        for row in rows:
            amount = "-" if row.bytes is None else size(row.bytes)
            groups = ",".join(row.groups) or "-"
            also = [row.description or ""] if told else []
            lines.append((row.name, row.kind, row.state, amount, groups, row.origin, *also))
        screen = streams.size(sys.stdout)
        room, flexible = screen.columns if screen else None, (5, 4, 6) if told else (5, 4)
        output.data(table(lines, right=(3,), room=room, flexible=flexible))
    output.say(_summary(rows))
    if not rows and options.pattern and not options.mirror:
        near = workspace.nearest(options.pattern)
        output.say(f"nothing is called {options.pattern!r}{near}")
    return 0


def _status(options: argparse.Namespace, output: Output) -> int:
    workspace = open_workspace(options, output)
    rows = workspace.status(named(options, workspace), check=options.check)
    if output.json:
        output.document(rows)
        return 0
    if not rows:
        output.say(f"nothing is installed in {workspace.store.root}")
        return 0
    lines = [("asset", "kind", "state", "files", "size", "revision", "proved")]
    for row in rows:
        revision = f"{row.revision}@{row.commit[:8]}" if row.commit else "-"
        state = row.state + (", lock stale" if row.stale else "")
        lines.append((row.name, row.kind, state, f"{row.files:,}", size(row.bytes), revision, _when(row.proved_at)))
    output.data(table(lines, right=(3, 4)))
    for row in rows:
        for count in row.media:
            output.data(f"{row.name}: {count}")
    output.say(_summary(rows))
    return 0


def _summary(rows: Sequence[AssetStatus | ListedAsset]) -> str:
    """How many assets are in which state, how much they hold, and what was not looked at."""
    states: dict[str, int] = {}
    for row in rows:
        states[row.state] = states.get(row.state, 0) + 1
    # Of what is incomplete nobody has counted how much is there.
    held = sum(row.bytes or 0 for row in rows if row.state in ("installed", "unproved"))
    words = [f"{count:,} {state}" for state, count in states.items()]
    line = f"{plural(len(rows), 'asset')}" + (f": {', '.join(words)}; {size(held)} in the store" if rows else "")
    unseen = [row for row in rows if row.not_looked_at]
    if not unseen:
        return line
    count = sum(row.not_looked_at for row in unseen)
    since = min(row.looked_at or 0 for row in unseen)
    return (
        f"{line}; as of {_when(since)}: {plural(count, 'file')} not looked at since, but for their folders "
        "(assetmgr verify looks at each)"
    )


def _when(seconds: int | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else "-"


def _show(options: argparse.Namespace, output: Output) -> int:
    workspace = open_workspace(options, output)
    if options.output or options.samples or options.split:
        return _sheet(options, workspace, output)
    shown = workspace.show(options.name, all_files=options.files)
    if output.json:
        output.document(shown)
        return 0
    facts = [(label, text) for label, text in _facts(shown) if text]
    output.data(table(facts))
    if shown.shown_files:
        rows = [(file.path, size(file.size) if file.size >= 0 else "?") for file in shown.shown_files]
        output.data(table([(f"  {path}", amount) for path, amount in rows], right=(1,)))
    left = (shown.files or 0) - len(shown.shown_files)
    if left > 0 and not options.files:
        output.say(output.typed(f"and {plural(left, 'more file')}: assetmgr show {shown.name} --files"))
    if shown.next:
        output.say(output.typed(f"next: {shown.next}"))
    return 0


def _sheet(options: argparse.Namespace, workspace: Workspace, output: Output) -> int:
    if options.output is None:
        raise UsageError("samples go to a file", mend=f"assetmgr show {options.name} --samples 12 -o sheet.html")
    sheet = workspace.contact_sheet(options.name, options.output, count=options.samples or 12, split=options.split)
    if output.json:
        output.document(sheet)
    else:
        output.data(sheet.path, exact=True)
        output.say(f"{plural(sheet.samples, 'sample')} of {options.name}")
    for fault in sheet.faults:
        output.words(fault)
    return IntegrityError.exit_code if sheet.faults else 0


def _facts(shown: ShownAsset) -> Iterable[tuple[str, str]]:
    yield shown.kind or "asset", shown.name
    yield "about", shown.description or ""
    state = shown.state + (", lock stale" if shown.stale else "")
    if shown.not_looked_at:
        state += f" (as of {_when(shown.looked_at)}; {plural(shown.not_looked_at, 'file')} not looked at since)"
    yield "state", state
    yield "proved", _when(shown.proved_at) if shown.proved_at else ""
    yield "origin", shown.origin + (f" on {shown.endpoint}" if shown.endpoint else "")
    yield "revision", f"{shown.revision} ({shown.commit})" if shown.commit else shown.revision
    yield "licence", shown.license or "not stated"
    yield "size", "" if shown.bytes is None else f"{size(shown.bytes)} in {plural(shown.files or 0, 'file')}"
    for number, count in enumerate(shown.media):
        yield "" if number else "media", str(count)
    if shown.fit:
        for number, room in enumerate(shown.fit.rooms):
            yield "" if number else "fits", _fits(shown.fit, room)
    yield "path", shown.path
    yield "shown in", ", ".join(shown.local_dirs)
    yield "groups", ", ".join(shown.groups)
    yield "requires", ", ".join(shown.requires)
    yield "twins", ", ".join(shown.twins)
    for number, reason in enumerate(shown.reasons):
        yield "" if number else "why", reason
    yield "mirrors", ", ".join(shown.mirrors)
    for other in shown.other_revisions:
        yield "also", f"{other} is installed"


def _fits(fit: Fitness, room: FreeRoom) -> str:
    """Whether a model fits somewhere as it is loaded, and what it takes in the other precisions."""
    said = f"{fit.precision} {size(fit.needs[fit.precision])} of {size(room.free)} free ({room.where})"
    if fit.precision not in room.fits:
        said = f"not in {said}"
    others = [f"{name} {size(fit.needs[name])}" for name in room.fits if fit.needs[name] < fit.needs[fit.precision]]
    return f"{said}; {', '.join(others)}" if others else said


def _diff(options: argparse.Namespace, output: Output) -> int:
    if options.old is None:
        workspace = open_workspace(options, output)
        found = workspace.differences(named(options, workspace))
    else:
        from assetmgr.inventory import lock_differences

        # Two locks need no manifest, and nothing that may be wrong with one.
        new = options.new or open_workspace(options, output).lock_file()
        found = lock_differences(options.old, new, sys.stdin.buffer)
    if output.json:
        output.document(found)
        return 0
    from assetmgr.differences import in_words

    for line in in_words(found.assets, most=None if options.files else 10):
        output.data(line)
    changes = [asset.change for asset in found.assets]
    told = [f"{changes.count(change)} {change}" for change in ("added", "removed", "changed") if change in changes]
    amount = sum(asset.changed_bytes for asset in found.assets)
    output.say(
        f"{found.old} -> {found.new}: {', '.join(told) or 'no asset differs'}; {found.same:,} the same"
        + (f"; {size(amount)} in files that are new or differ" if amount else "")
    )
    if found.unlocked:
        output.say(output.typed(f"not locked: {', '.join(found.unlocked)}; next: assetmgr lock"))
    return 0


def _whereis(options: argparse.Namespace, output: Output) -> int:
    found = open_workspace(options, output).whereis(options.name, timeout=options.timeout)
    if output.json:
        output.document(found)
        return 0
    rows = [("where", "files", "size", "place")]
    for folder in found.folders:
        place = f"{folder.path} ({folder.name})" if folder.name else folder.path
        rows.append((folder.kind, f"{folder.files:,} of {found.files:,}", "", place))
    for mirror in found.mirrors:
        asked = mirror.state in ("whole", "part", "none")
        count = f"{mirror.files:,} of {mirror.asked:,}" if asked else mirror.state
        rows.append(("mirror", count, size(mirror.bytes) if asked else "", mirror.mirror))
    if len(rows) > 1:
        output.data(table(rows, right=(1, 2)))
    for mirror in found.mirrors:
        if mirror.why:
            output.say(f"mirror {mirror.mirror}: {mirror.why}")
    held = sum(mirror.state == "whole" for mirror in found.mirrors)
    there = f"whole on {plural(held, 'mirror')} of {len(found.mirrors)}" if found.mirrors else "no mirror is declared"
    output.say(f"{found.name}: {found.state}; {plural(found.files, 'file')}, {size(found.bytes)}; {there}")
    return 0


def _path(options: argparse.Namespace, output: Output) -> int:
    path = open_workspace(options, output).path(options.name)
    if output.json:
        from assetmgr.cli.documents import PathDocument

        output.document(PathDocument(options.name, path))
    else:
        output.data(path, exact=True)
    return 0
