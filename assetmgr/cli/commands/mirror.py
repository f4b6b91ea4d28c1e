"""`mirror`: fill a mirror with what is installed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from assetmgr.cli.options import add_jobs, add_names, add_wait, named, open_workspace
from assetmgr.cli.output import Output, error_document, plural, size
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
    )
    mirror.add_argument("action", choices=["push"], help="push: copy what is not there yet, proved")
    mirror.add_argument("target", metavar="TARGET", help="a folder, or a bucket such as s3://name/prefix")
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
