"""`init`, `add` and `remove`: make and edit a manifest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from assetmgr.cli.commands.pulling import add_references, details_of
from assetmgr.cli.options import add_mirrors, add_network, open_workspace
from assetmgr.cli.output import Output, plural, size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from assetmgr.cli.parser import Commands
    from assetmgr.editing import Added
    from assetmgr.manifest import Manifest
    from assetmgr.scan.project import Scan
    from assetmgr.sheets import LockChange
    from assetmgr.workspace import Workspace


def register(commands: Commands) -> None:
    """Add what this file does to the command line."""
    init = commands.add(
        "init",
        "begin a manifest",
        _init,
        "assetmgr init                         # ./assets.yaml, with comments that show how",
        "assetmgr init --scan .                # drafted of what this project's code and configs use",
    )
    init.add_argument("folder", metavar="FOLDER", nargs="?", default=".", help="where assets.yaml is to stand (here)")
    init.add_argument(
        "--scan",
        metavar="PATH",
        nargs="+",
        help="draft it of what these files and folders say: Python, notebooks, pages, LAVIS configs",
    )
    init.add_argument("--output", metavar="FILE", help="write the manifest there instead; - prints it")
    add = commands.add(
        "add",
        "add an asset to the manifest, and lock it",
        _add,
        "assetmgr add hub:sentence-transformers/all-MiniLM-L6-v2 --name minilm --exclude '*.bin'",
        "assetmgr add https://example.org/vocab.json --sha256 DIGEST --kind dataset",
        "assetmgr add coco_caption             # what is declared elsewhere, by its name",
    )
    add.add_argument(
        "reference",
        metavar="REFERENCE",
        help="hub:ORG/NAME[@REVISION], hub-dataset:ORG/NAME[@REVISION], a URL, or a name that the catalog declares",
    )
    add.add_argument("--name", metavar="NAME", help="what it is called here (else after the repo or the file)")
    add.add_argument("--group", metavar="GROUP", action="append", default=[], help="a group it is in; may be repeated")
    add.add_argument("--no-lock", action="store_true", help="leave the lock as it is; pull then asks for assetmgr lock")
    add_references(add)
    add_network(add)
    add_mirrors(add)
    remove = commands.add(
        "remove",
        "take assets out of the manifest and its lock",
        _remove,
        "assetmgr remove minilm                # its files stay in the store for now",
    )
    remove.add_argument("names", metavar="NAME", nargs="+", help="what the manifest declares, or requires by name")


def _init(options: argparse.Namespace, output: Output) -> int:
    from assetmgr.catalog import MANIFEST_NAME
    from assetmgr.editing import STARTER, init

    if options.scan and not options.output and os.path.lexists(os.path.join(options.folder, MANIFEST_NAME)):
        init(Path(options.folder, MANIFEST_NAME))  # says that it is not overwritten, before all is read
    path = Path(options.output) if options.output else Path(options.folder, MANIFEST_NAME)
    scanned = _scanned(options, output, path) if options.scan else None
    text = scanned.draft.text if scanned else STARTER
    printed = options.output == "-"
    above = None if printed else init(path, text)
    if output.json:
        from assetmgr.cli.editing_documents import InitDocument

        output.document(InitDocument.of(None if printed else path, above, scanned))
    elif printed:
        output.data(text.removesuffix("\n"))
    if scanned:
        _tell_scan(scanned, output)
    if printed or output.json:
        return 0
    if scanned:
        output.say(output.typed(f"{path} written; look through it, then: assetmgr lock"))
        return 0
    output.say(f"{path} written; next: assetmgr add hub:ORG/NAME")
    if above:
        output.say(f"below this folder it is used in place of {above}")
    return 0


def _scanned(options: argparse.Namespace, output: Output, path: Path) -> Scan:
    from assetmgr.catalog import Catalog, shipped_manifests
    from assetmgr.manifest import load_manifest
    from assetmgr.scan.project import scan

    # Of manifests, those that were named: the nearest one is not part of what is begun here.
    named = [load_manifest(Path(one)) for one in options.manifest or ()]
    return scan(options.scan, Catalog(named, shipped_manifests()), path)


def _tell_scan(scanned: Scan, output: Output) -> None:
    draft = scanned.draft
    for slip in draft.slips:
        output.say(slip)
    found = [plural(draft.models, "model"), plural(draft.datasets, "dataset")]
    found.append(f"{plural(draft.requires, 'name')} of the catalog")
    left = f"; {plural(len(draft.remarks), 'remark')} in its comments" if draft.remarks else ""
    output.say(f"{plural(scanned.files, 'file')} read: {', '.join(found)}{left}")


def _add(options: argparse.Namespace, output: Output) -> int:
    from assetmgr.editing import add

    def opened(manifests: Sequence[Manifest]) -> Workspace:
        return open_workspace(options, output, manifests)

    done = add(
        options.reference,
        opened,
        given=options.manifest,
        details=details_of(options),
        name=options.name,
        groups=options.group,
        lock=not options.no_lock,
    )
    if output.json:
        from assetmgr.cli.editing_documents import AddDocument

        output.document(AddDocument.of(done))
        return 0
    if done.created:
        output.say(f"there was no manifest here: {done.manifest} begun")
    for line in _shown(done):
        output.data(line)
    how = "required" if done.required else "added"
    output.say(f"{done.name} {how} in {done.manifest}{_of_locks(done.locks)}")
    if options.no_lock:
        output.say(output.typed(f"next: assetmgr lock {done.name} && assetmgr pull {done.name}"))
    else:
        if done.stale:
            output.say(output.typed("the lock does not say all else that the manifest asks for: assetmgr lock"))
        output.say(output.typed(f"next: assetmgr pull {done.name}"))
    return 0


def _shown(done: Added) -> list[str]:
    """What was added, in lines: the files, the licence, and what it takes."""
    lines = []
    for entry in done.entries:
        total = sum(max(file.size, 0) for file in entry.files)
        unknown = sum(file.size < 0 for file in entry.files)
        about = size(total) + (f" and {plural(unknown, 'file')} of unknown size" if unknown else "")
        at = f", {entry.repo} at {entry.commit[:12]}" if entry.commit else ""
        lines.append(f"{entry.name}: {plural(len(entry.files), 'file')}, {about}{at}")
        lines.append(f"  licence: {entry.license or 'not stated'}")
        if entry.name == done.name:
            largest = sorted(entry.files, key=lambda file: -file.size)[:5]
            lines += [f"  {file.path}  {size(file.size) if file.size >= 0 else 'size unknown'}" for file in largest]
            if len(entry.files) > len(largest):
                lines.append(f"  and {plural(len(entry.files) - len(largest), 'more file')}")
    verdict = "it fits" if done.full is None else "it does not fit"
    lines.append(f"disk: {size(done.disk_bytes)} needed, {size(done.free_bytes)} free: {verdict}")
    for fit in done.fits:
        verdict = "it fits" if fit.fits else "it does not fit as it is stored"
        if not fit.fits:
            verdict += f"; as {fit.instead} it may" if fit.instead else ", nor in any smaller dtype"
        lines.append(f"{fit.where}: {size(done.weights)} of weights, {size(fit.free)} free: {verdict}")
    return lines


def _remove(options: argparse.Namespace, output: Output) -> int:
    from assetmgr.editing import take_out

    def opened(manifests: Sequence[Manifest]) -> Workspace:
        return open_workspace(options, output, manifests)

    done = take_out(options.names, opened, given=options.manifest)
    if output.json:
        from assetmgr.cli.editing_documents import RemoveDocument

        output.document(RemoveDocument.of(done))
        return 0
    output.say(f"{', '.join(done.names)} removed from {done.manifest}{_of_locks(done.locks)}")
    for name in done.kept:
        output.say(f"{name} stays wanted as it is declared elsewhere; if that differs: assetmgr lock {name}")
    if "sync" in options.commands:
        output.say(output.typed("to clean up what they left on this machine: assetmgr sync"))
    return 0


def _of_locks(locks: Sequence[LockChange]) -> str:
    changed = [one for one in locks if one.changes]
    return "".join(f"; {one.path}: {', '.join(line for line in one.changes if line[:1] != ' ')}" for one in changed)
