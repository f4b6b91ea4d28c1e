"""`bundle`: make, look at, prove and load what a stick carries to a machine without network."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING

from assetmgr.cli import streams
from assetmgr.cli.options import add_jobs, add_wait, byte_count, named, open_workspace
from assetmgr.cli.output import Output, plural, size
from assetmgr.cli.reports import tell_of_bad_sources
from assetmgr.cli.tables import table
from assetmgr.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assetmgr.bundle.checking import Opened
    from assetmgr.bundle.signing import Signer
    from assetmgr.carried import Told
    from assetmgr.cli.parser import Commands

# Which options an action takes besides those of every command.
_TAKES = {
    "create": {"output", "name", "serial", "since", "max_size", "sign", "drop", "full", "dry_run", "group", "jobs"},
    "inspect": {"verify_with"},
    "verify": {"verify_with"},
    "load": {"verify_with", "others", "allow_older", "jobs"},
}
_OPTIONS = {"others": "--with", "max_size": "--max-size", "dry_run": "--dry-run"}


def register(commands: Commands) -> None:
    """Add what this file does to the command line."""
    bundle = commands.add(
        "bundle",
        "carry installed assets to machines without network",
        _bundle,
        "assetmgr bundle create -o /media/stick/bundle     # all of assets.yaml; once more: only what is new",
        "assetmgr bundle create minilm -o minilm.tar --sign ~/.ssh/id_ed25519",
        "assetmgr bundle create -o /media/stick/new --since last-month.tar    # only what that one has not",
        "assetmgr bundle inspect /media/stick/bundle       # what is in it",
        "assetmgr bundle verify /media/stick/bundle        # every byte of it",
        "assetmgr bundle load /media/stick/bundle --verify-with allowed_signers    # there; no network, no manifest",
    )
    bundle.add_argument("action", choices=list(_TAKES), help="what to do")
    bundle.add_argument(
        "more",
        metavar="WORD",
        nargs="*",
        default=[],
        help="create: assets (all that the manifest declares); load: a bundle, then assets of it (all); "
        "else: bundles, by their folder or tar; of volumes, each or the folder that they are in",
    )
    create = bundle.add_argument_group("create")
    create.add_argument("-o", "--output", metavar="DIR", help="where to: a folder, or a file whose name ends in .tar")
    create.add_argument("--group", metavar="GROUP", action="append", default=[], help="the assets of a group")
    create.add_argument("--since", metavar="OLD", help="leave out what this bundle has; to load it, that one is needed")
    create.add_argument(
        "--max-size", metavar="SIZE", type=byte_count, help="split over volumes of at most so many bytes, such as 25G"
    )
    create.add_argument("--sign", metavar="KEY", help="sign with this SSH key, by ssh-keygen")
    create.add_argument("--name", metavar="LINE", help="which line of bundles it is of (the name of its folder or tar)")
    create.add_argument(
        "--serial", metavar="NUMBER", type=_serial, help="which one of that line: higher is later (the time, as digits)"
    )
    create.add_argument("--drop", action="store_true", help="take out what is in the bundle there and not named now")
    create.add_argument("--full", action="store_true", help="hash what is there already, and replace what is wrong")
    create.add_argument("--dry-run", action="store_true", help="tell what would be written, and write nothing")
    load = bundle.add_argument_group("inspect, verify, load")
    load.add_argument(
        "--verify-with",
        metavar="KEYS",
        help="refuse what is not signed by one of these: an allowed_signers file, a public SSH key, a folder of those",
    )
    load.add_argument(
        "--with", metavar="OLD", dest="others", action="append", default=[], help="load: the bundle that has the rest"
    )
    load.add_argument("--allow-older", action="store_true", help="load: also one older than the last that was loaded")
    add_jobs(bundle)
    add_wait(bundle)


def _bundle(options: argparse.Namespace, output: Output) -> int:
    takes = _TAKES[options.action]
    for one in sorted(set().union(*_TAKES.values()) - takes):
        if getattr(options, one):
            option = _OPTIONS.get(one, f"--{one.replace('_', '-')}")
            others = " and ".join(action for action, taken in _TAKES.items() if one in taken)
            raise UsageError(
                f"bundle {options.action} takes no {option}: it is for {others}", mend="assetmgr bundle --help"
            )
    return {"create": _create, "inspect": _inspect, "verify": _verify, "load": _load}[options.action](options, output)


# --- create ----------------------------------------------------------------------------------------------------------


def _create(options: argparse.Namespace, output: Output) -> int:
    from assetmgr.bundle.creating import Order

    if not options.output:
        raise UsageError("where to is not said", mend="assetmgr bundle create -o DIR, or -o FILE.tar")
    options.names = options.more
    workspace = open_workspace(options, output)
    started = time.monotonic()
    order = Order(
        options.output,
        name=options.name,
        serial=options.serial,
        since=options.since,
        volume_size=options.max_size,
        key=options.sign,
        drop=options.drop,
        full=options.full,
        dry_run=options.dry_run,
    )
    done = workspace.create_bundle(order, named(options, workspace))
    if output.json:
        from assetmgr.cli.bundle_documents import BundleDocument, volumes_written

        output.document(
            BundleDocument(
                code=0,
                action="create",
                name=done.name,
                serial=done.serial,
                since=done.since or None,
                signed=done.signed,
                volumes=volumes_written(done.parts),
                assets=done.assets,
                changed=done.changed,
                dropped=done.dropped,
            )
        )
        return 0
    would = " (a dry run: nothing is written)" if options.dry_run else ""
    for part in done.parts:
        written = part.written
        told = [f"{plural(written.files, 'file')} written ({size(written.bytes)})"]
        if written.present_files:
            told.append(f"{plural(written.present_files, 'file')} already there ({size(written.present_bytes)})")
        if written.removed_files:
            told.append(
                f"{plural(written.removed_files, 'file')} removed that it has no more ({size(written.removed_bytes)})"
            )
        output.say(f"{part.path}: {', '.join(told)}{would}")
    if done.dropped:
        output.say(f"no more in it: {', '.join(done.dropped)}")
    volumes = f" on {len(done.parts)} volumes" if len(done.parts) > 1 else ""
    delta = f", since {options.since}" if done.since else ""
    same = "" if done.changed else ", as it was"
    signed = "signed" if done.signed else "not signed"
    output.say(
        f"{done.name} {done.serial}{volumes}: {plural(len(done.assets), 'asset')}{delta}{same}; {signed}; "
        f"{time.monotonic() - started:.1f} s"
    )
    return 0


# --- inspect, verify -------------------------------------------------------------------------------------------------


def _opened(options: argparse.Namespace) -> tuple[list[Opened], Signer | None]:
    from assetmgr.bundle.checking import open_parts, signers

    if not options.more:
        raise UsageError("no bundle is named", mend=f"assetmgr bundle {options.action} DIR")
    opened = open_parts(options.more)
    found = signers(opened, options.verify_with) if options.verify_with else []
    return opened, found[0] if found else None


def _inspect(options: argparse.Namespace, output: Output) -> int:
    from assetmgr.bundle.checking import faults_of_shape
    from assetmgr.carried import told

    opened, signer = _opened(options)
    faults = faults_of_shape(opened)
    first = opened[0].part
    assets = [told(each.entry) for each in first.carriage.assets]
    if output.json:
        from assetmgr.cli.bundle_documents import document_of

        output.document(document_of("inspect", opened, signer, findings=faults))
        return 0
    facts = [("bundle", f"{first.name or '-'} {first.serial or ''}".rstrip())]
    facts += [("since", f"the bundle with the config {first.since[:12]}")] if first.since else []
    facts += [("signed", _signature(opened, signer))]
    for each in opened:
        number = f"volume {each.part.volume} of {each.part.volumes}: " if each.part.volumes > 1 else ""
        amount = f"{plural(len(each.part.layers), 'file')}, {size(sum(each.part.layers.values()))}"
        facts.append(("in", f"{each.part.where}: {number}{amount}"))
    output.data(table(facts))
    output.data("")
    output.data(_assets(assets))
    for fault in faults[:10]:
        output.say(f"it is not whole: {fault}")
    return 0


def _assets(assets: Sequence[Told]) -> str:
    rows = [("asset", "kind", "revision", "files", "size")]
    for each in assets:
        pinned = f"{each.revision} {each.commit[:12]}" if each.commit else each.digest[:12]
        rows.append((each.name, each.kind, pinned, f"{each.files:,}", size(each.bytes)))
    screen = streams.size(sys.stdout)
    return table(rows, right=(3, 4), room=screen.columns if screen else None, flexible=(0, 2))


def _signature(opened: Sequence[Opened], signer: Signer | None) -> str:
    if signer is not None:
        return f"by {signer}"
    if all(each.part.signature for each in opened):
        return "yes (by whom, --verify-with KEYS tells)"
    return "in part" if any(each.part.signature for each in opened) else "no"


def _verify(options: argparse.Namespace, output: Output) -> int:
    from assetmgr.bundle.checking import faults_of_bytes, faults_of_contents, faults_of_shape, is_whole, told

    started = time.monotonic()
    opened, signer = _opened(options)
    faults = [*faults_of_shape(opened), *faults_of_contents(opened), *faults_of_bytes(opened, output)]
    code = IntegrityError.exit_code if faults else 0
    if output.json:
        from assetmgr.cli.bundle_documents import document_of

        output.document(document_of("verify", opened, signer, findings=faults, code=code))
        return code
    for fault in faults:
        output.data(str(fault))
    first = opened[0].part
    files, amount = (
        sum(len(each.part.layers) for each in opened),
        sum(sum(each.part.layers.values()) for each in opened),
    )
    label = first.label if len(opened) == 1 else f"{first.name} {first.serial}"
    result = plural(len(faults), "finding") if faults else "every byte is as its index says"
    output.say(
        f"{label}: {plural(len(first.carriage.assets), 'asset')}, {plural(files, 'file')}, {size(amount)}: {result}; "
        f"signed: {_signature(opened, signer)}; {time.monotonic() - started:.1f} s"
    )
    if first.since:
        output.say("it was made since another bundle: what that one has is not looked at")
    elif not is_whole(opened):
        output.say(f"the other volumes of {first.volumes} are not looked at")
    if faults:
        output.words(f"mend: {told(faults[:1])[0].mend}")
    return code


# --- load ------------------------------------------------------------------------------------------------------------


def _load(options: argparse.Namespace, output: Output) -> int:
    if not options.more:
        raise UsageError("no bundle is named", mend="assetmgr bundle load DIR")
    bundles = [options.more[0]]
    names = options.more[1:]
    while names and _is_bundle(names[0]):
        bundles.append(names.pop(0))
    workspace = open_workspace(options, output)
    started = time.monotonic()
    done = workspace.load_bundle(
        bundles, names, others=options.others, verify_with=options.verify_with, allow_older=options.allow_older
    )
    if output.json:
        from assetmgr.cli.bundle_documents import document_of

        output.document(document_of("load", done.opened, done.signer, pulled=done.assets, awaited=done.awaited))
        return 0
    tell_of_bad_sources(workspace, output)
    fetched, amount = sum(one.fetched_files for one in done.assets), sum(one.fetched_bytes for one in done.assets)
    kept = sum(one.kept_files + one.linked_files for one in done.assets)
    parts = [f"{plural(fetched, 'file')} loaded ({size(amount)})"] * bool(fetched or not kept)
    parts += [f"{plural(kept, 'file')} already there"] * bool(kept)
    output.say(
        f"{done.label}: {plural(len(done.assets), 'asset')} proved in {workspace.store.root}: {', '.join(parts)}; "
        f"signed: {_signature(done.opened, done.signer)}; {time.monotonic() - started:.1f} s"
    )
    for each in done.awaited:
        output.say(f"{each.name}: not whole yet: {plural(each.files, 'file')} ({size(each.bytes)}) on other volumes")
    return 0


def _is_bundle(word: str) -> bool:
    """Whether a word is one more bundle, and not the name of an asset."""
    from assetmgr.bundle.checking import paths_of

    if os.path.isabs(word) or word.startswith((".", "~")) or word.endswith(".tar"):
        return True
    return os.path.exists(os.path.join(word, "index.json")) or paths_of(word) != [word]


def _serial(text: str) -> int:
    from assetmgr.bundle.reading import serial_fault

    if fault := serial_fault(text):
        raise argparse.ArgumentTypeError(fault)
    return int(text)
