"""`doctor`: is this machine ready?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from assetmgr.cli.options import open_workspace, seconds
from assetmgr.cli.output import Output, plural

if TYPE_CHECKING:
    import argparse

    from assetmgr.cli.parser import Commands


def register(commands: Commands) -> None:
    """Add what this file does to the command line."""
    doctor = commands.add(
        "doctor",
        "look whether this machine is ready: store, token, driver, libraries; each finding with its mend",
        _doctor,
        "assetmgr doctor                       # exit code 1 where anything is wrong",
        "assetmgr -q doctor                    # only what is wrong",
        "assetmgr doctor --json | jq -r '.findings[] | select(.level == \"error\") | .mend'",
    )
    doctor.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=20.0,
        help="how long the import of a library may take (20)",
    )


def _doctor(options: argparse.Namespace, output: Output) -> int:
    from assetmgr.examining import examination

    started = time.monotonic()
    found = examination(lambda: open_workspace(options, output), options.root, options.timeout)
    if output.json:
        output.document(found)
        return found.code
    for finding in found.findings:
        if finding.is_wrong or not output.quiet:
            mend = f"; mend: {output.typed(finding.mend)}" if finding.mend else ""
            output.data(f"{finding.level:<9}{finding.check}: {finding.message}{mend}".replace("\n", " "))
    levels = [finding.level for finding in found.findings]
    told = [plural(levels.count(level), level) for level in ("error", "warning", "note") if level in levels]
    output.say(f"{', '.join(told) or 'nothing to say'}; {levels.count('ok')} ok; {time.monotonic() - started:.1f} s")
    return found.code
