"""`mirror`: fill a mirror with what is installed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from assetmgr.cli.options import add_jobs, add_names, add_wait, named, open_workspace
from assetmgr.cli.output import Output, plural, size
from assetmgr.errors import SeveralErrors

if TYPE_CHECKING:
    import argparse

    from assetmgr.cli.parser import Commands


def register(commands: Commands) -> None:
    """Add what this file does to the command line."""
    mirror = commands.add(
        "mirror",
        "fill a mirror with what is installed",
        _mirror,
        "assetmgr mirror push /media/stick/mirror      # all of assets.yaml, onto a stick",
        "assetmgr mirror push s3://bucket/assets minilm  # one asset, into a bucket",
        "assetmgr mirror push oci://lab-server:5000/lab/assets:v1  # into a registry, under a tag",
    )
    mirror.add_argument("action", choices=["push"], help="push: copy what is not there yet, proved")
    mirror.add_argument(
        "target", metavar="TARGET", help="a folder, a bucket such as s3://name/prefix, or oci://host/repository:tag"
    )
    add_names(mirror)
    mirror.add_argument("--full", action="store_true", help="hash what is there already, and replace what is wrong")
    add_jobs(mirror)
    add_wait(mirror)


def _mirror(options: argparse.Namespace, output: Output) -> int:
    workspace = open_workspace(options, output)
    started = time.monotonic()
    report = workspace.push(options.target, named(options, workspace), full=options.full)
    error = SeveralErrors(report.errors) if report.errors else None
    if output.json:
        from assetmgr.cli.documents import Amount, MirrorDocument, told_errors

        pushed, present = Amount(report.files, report.bytes), Amount(report.present_files, report.present_bytes)
        code = error.code if error else 0
        output.document(MirrorDocument(code, report.target, pushed, present, told_errors(report.errors)))
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
