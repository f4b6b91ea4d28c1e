"""`verify`: prove what is there, and mend it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from assetmgr.cli.options import add_mirrors, add_names, add_network, named, open_workspace
from assetmgr.cli.output import Output, error_document, plural, size
from assetmgr.cli.reports import tell_mirrors, traffic
from assetmgr.errors import IntegrityError, SeveralErrors

if TYPE_CHECKING:
    import argparse

    from assetmgr.cli.parser import Commands
    from assetmgr.workspace import Verification


def register(commands: Commands) -> None:
    """Add what this file does to the command line."""
    verify = commands.add(
        "verify",
        "prove what is installed",
        _verify,
        "assetmgr verify                       # by stamps: seconds",
        "assetmgr verify --full --repair       # by hashes, and fetch anew what is damaged",
    )
    add_names(verify)
    verify.add_argument("--full", action="store_true", help="hash every file, not only those whose stamp does not fit")
    verify.add_argument("--repair", action="store_true", help="fetch anew what is damaged, and nothing else")
    add_network(verify)
    add_mirrors(verify)


def _verify(options: argparse.Namespace, output: Output) -> int:
    workspace = open_workspace(options, output)
    started = time.monotonic()
    result = workspace.verify(named(options, workspace), full=options.full, repair=options.repair)
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
                **traffic(workspace),
            }
        )
        return code
    tell_mirrors(workspace, output)
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
