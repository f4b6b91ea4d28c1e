"""`pull`: bring what the lock names, or what the command line names by a reference."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from assetmgr.cli.options import add_mirrors, add_names, add_network, byte_count, named, open_workspace
from assetmgr.cli.output import Output, plural, size
from assetmgr.cli.reports import from_caches, moved, shares, tell_of_bad_sources
from assetmgr.errors import AssetError, UsageError

if TYPE_CHECKING:
    import argparse

    from assetmgr.asked import Pinned
    from assetmgr.cli.documents import PulledReference
    from assetmgr.cli.parser import Commands
    from assetmgr.install import Pulled
    from assetmgr.references import Details
    from assetmgr.workspace import Workspace

_LINKS = ("symlink", "hardlink", "copy")


def register(commands: Commands) -> None:
    """Add what this file does to the command line."""
    pull = commands.add(
        "pull",
        "bring what the lock names into the store, proved",
        _pull,
        "assetmgr pull                         # all of assets.yaml, from the lock",
        "assetmgr pull minilm coco_caption     # these, and what they require",
        "assetmgr pull --limit-rate 20M        # and leave the others some of the line",
        "assetmgr pull hub:ORG/NAME@main --include '*.json' --local-dir ./name    # no manifest needed",
        "assetmgr pull https://example.org/weights.pth --sha256 DIGEST",
        "assetmgr pull minilm --mirror http://lab-server:8470    # as the lab has it; no manifest needed",
    )
    add_names(pull)
    pull.add_argument(
        "--max-size",
        metavar="SIZE",
        type=byte_count,
        default=None,
        help="make room first: remove what was used longest ago, until the store with this takes no more, such as 200G",
    )
    pull.add_argument("--locked", action="store_true", help="fail when the manifest changed since the lock was made")
    add_references(pull)
    add_network(pull)
    add_mirrors(pull)


def add_references(parser: argparse.ArgumentParser) -> None:
    """What is said of a reference: hub:ORG/NAME[@REVISION], hub-dataset:ORG/NAME[@REVISION], a URL or a local path."""
    group = parser.add_argument_group(
        "for hub:ORG/NAME[@REVISION], hub-dataset:ORG/NAME[@REVISION] or a URL in place of a NAME"
    )
    group.add_argument("--revision", metavar="REVISION", help="a branch, tag or commit, as after the '@'")
    group.add_argument(
        "--include", metavar="PATTERN", action="append", default=[], help="only files like this; may be repeated"
    )
    group.add_argument(
        "--exclude", metavar="PATTERN", action="append", default=[], help="no files like this; may be repeated"
    )
    group.add_argument("--local-dir", metavar="DIR", help="show the files under their own names there too")
    group.add_argument("--local-dir-links", choices=_LINKS, help="as what they stand there (symlink)")
    group.add_argument("--sha256", metavar="DIGEST", help="of a URL: the sha256 that it must have")
    group.add_argument("--path", metavar="FILENAME", help="of a URL: the file's name, if not the URL's")
    group.add_argument("--kind", choices=("model", "dataset"), help="of a URL: what it is (else by its name)")


def details_of(options: argparse.Namespace) -> Details:
    """What the options say of references."""
    from assetmgr.references import Details

    said = {name: getattr(options, name) for name in Details._fields if hasattr(options, name)}
    return Details(**said)


def _pull(options: argparse.Namespace, output: Output) -> int:
    from assetmgr.references import is_reference

    references = [word for word in options.names if is_reference(word)]
    _check_words(options, references)
    options.names = [word for word in options.names if word not in references]
    workspace = open_workspace(options, output)
    started = time.monotonic()
    pinned: Sequence[Pinned] = ()
    try:
        names = named(options, workspace)
        if references:
            done, pinned = workspace.pull_references(
                references, names, details=details_of(options), locked=options.locked, max_size=options.max_size
            )
        else:
            done = workspace.pull(names, locked=options.locked, max_size=options.max_size)
    except AssetError as error:
        tell_of_bad_sources(workspace, output)
        output.fail(error, **moved(workspace))
        return error.code
    seconds = round(time.monotonic() - started, 3)
    if output.json:
        from msgspec import UNSET

        from assetmgr.cli.documents import PullDocument

        told = tuple(_document(one, workspace) for one in pinned) or UNSET
        output.document(PullDocument(seconds=seconds, assets=tuple(done), references=told, **moved(workspace)))
        return 0
    tell_of_bad_sources(workspace, output)
    output.say(f"{_told(done, workspace)}; {seconds:.1f} s")
    for one in pinned:
        output.data(_shown_at(one, workspace))
        output.say(_keeping(one, workspace))
    return 0


def _check_words(options: argparse.Namespace, references: Sequence[str]) -> None:
    """Refuse what is said of a reference where there is none, and patterns that the shell or a habit made words."""
    if not references:
        from assetmgr.references import Details

        if given := [name for name in Details._fields if getattr(options, name, None)]:
            option = f"--{given[0].replace('_', '-')}"
            raise UsageError(f"{option} is for hub:ORG/NAME or a URL, and none is named", mend="assetmgr pull --help")
        return
    for word in options.names:
        if word not in references and any(char in word for char in "*?["):
            raise UsageError(
                f"{word!r} is no asset's name", mend=f"write an option for each pattern: --include '{word}'"
            )


def _told(done: Sequence[Pulled], workspace: Workspace) -> str:
    fetched = sum(one.fetched_files for one in done)
    unpacked = sum(one.unpacked_files for one in done)
    linked = sum(one.linked_files for one in done)
    kept = sum(one.kept_files for one in done)
    parts = []
    if fetched:
        amount = sum(one.fetched_bytes for one in done)
        parts.append(f"{plural(fetched, 'file')} fetched ({size(amount)}{shares(workspace)})")
    parts += from_caches(workspace)
    if unpacked:
        parts.append(f"{plural(unpacked, 'file')} unpacked")
    if linked:
        parts.append(f"{plural(linked, 'file')} linked")
    if kept:
        parts.append(f"{plural(kept, 'file')} already there")
    return f"{plural(len(done), 'asset')} proved in {workspace.store.root}: {', '.join(parts)}"


# --- references ------------------------------------------------------------------------------------------------------


def _document(pinned: Pinned, workspace: Workspace) -> PulledReference:
    from assetmgr.cli.documents import PulledReference

    return PulledReference(
        pinned.reference.text,
        pinned.asset.name,
        pinned.asset.kind,
        pinned.entry.revision,
        pinned.entry.commit,
        _shown_at(pinned, workspace),
        _lines(pinned, workspace),
    )


def _shown_at(pinned: Pinned, workspace: Workspace) -> str:
    return pinned.asset.local_dir or workspace.folder_of(pinned.entry)


def _manifest(workspace: Workspace) -> str:
    return str(workspace.manifests[-1].path) if workspace.manifests else "assets.yaml"


def _keeping(pinned: Pinned, workspace: Workspace) -> str:
    from assetmgr.references import typed

    lines = _lines(pinned, workspace).rstrip()
    named = "" if pinned.asset.name == pinned.reference.name else f" --name {pinned.asset.name}"
    adding = f"assetmgr add {typed(pinned.reference)}{named}"
    if workspace.manifests:
        return f"to keep {pinned.asset.name}: {adding}; or add to {_manifest(workspace)}:\n{lines}"
    first = "assetmgr init && "
    return f"to keep {pinned.asset.name}: {first}{adding}; or write into assets.yaml:\nversion: 1\n{lines}"


def _lines(pinned: Pinned, workspace: Workspace) -> str:
    """What declares a reference in the manifest in sight, or in one in the working folder."""
    from assetmgr.references import rebased, render

    folder = os.path.dirname(os.path.abspath(_manifest(workspace)))
    return render(rebased(dataclasses.replace(pinned.reference, name=pinned.asset.name), os.getcwd(), folder))
