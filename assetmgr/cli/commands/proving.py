"""`verify`: prove what is there, and mend it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from assetmgr.cli.options import add_mirrors, add_names, add_network, duration, named, open_workspace
from assetmgr.cli.output import Output, plural, size
from assetmgr.cli.reports import hosts, moved, tell_of_bad_sources
from assetmgr.errors import IntegrityError, SeveralErrors, UsageError

if TYPE_CHECKING:
    import argparse

    from assetmgr.cli.parser import Commands
    from assetmgr.proving import Verification


def register(commands: Commands) -> None:
    """Add what this file does to the command line."""
    verify = commands.add(
        "verify",
        "prove what is installed",
        _verify,
        "assetmgr verify                       # by stamps: seconds",
        "assetmgr verify --full --repair       # by hashes, and fetch anew what is damaged",
        "assetmgr verify --full --budget 10m   # ten minutes of it each night; the next run goes on from there",
    )
    add_names(verify)
    verify.add_argument("--full", action="store_true", help="hash every file, not only those whose stamp does not fit")
    verify.add_argument("--repair", action="store_true", help="fetch anew what is damaged, and nothing else")
    verify.add_argument(
        "--budget",
        metavar="TIME",
        type=duration,
        default=None,
        help="with --full: stop hashing after so long (90s, 10m, 1h30m); the next run goes on, oldest proof first",
    )
    add_network(verify)
    add_mirrors(verify)


def _verify(options: argparse.Namespace, output: Output) -> int:
    if options.budget is not None and not options.full:
        raise UsageError("--budget is the time for hashing every file", mend="assetmgr verify --full --budget 10m")
    workspace = open_workspace(options, output)
    started = time.monotonic()
    wanted = named(options, workspace)
    result = workspace.verify(wanted, full=options.full, repair=options.repair, budget=options.budget)
    code = _verify_code(result)
    if output.json:
        from msgspec import UNSET

        from assetmgr.cli.documents import VerifyDocument, told_errors, told_findings

        output.document(
            VerifyDocument(
                code=code,
                full=options.full,
                assets=result.assets,
                files=result.files,
                bytes=result.bytes,
                hashed_bytes=result.hashed_bytes,
                coverage=result.coverage or UNSET,
                findings=told_findings(result.findings),
                repaired=told_findings(result.repaired),
                errors=told_errors(result.errors),
                **moved(workspace),
            )
        )
        return code
    tell_of_bad_sources(workspace, output)
    for finding in result.repaired:
        output.data(f"repaired: {finding}")
    for finding in result.findings:
        output.data(str(finding))
    origins = hosts(workspace)
    output.say(_summary(result, origins, full=options.full, seconds=time.monotonic() - started))
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


def _summary(result: Verification, origins: str, *, full: bool, seconds: float) -> str:
    """What was done, in one line."""
    findings = plural(len(result.findings), "finding")
    repaired = f"; {plural(len(result.repaired), 'finding')} repaired{origins}" if result.repaired else ""
    if result.coverage is None:
        how = "hashed in full" if full else f"by stamps, {size(result.hashed_bytes)} hashed"
        proved = "all proved" if result.assets else "nothing verified"
        files = f"{plural(result.assets, 'asset')}, {plural(result.files, 'file')}, {size(result.bytes)}"
        return f"{files}: {findings if result.findings else proved} ({how}){repaired}; {seconds:.1f} s"
    covered = result.coverage
    parts = [f"verified {size(covered.bytes)} of {size(covered.bytes + covered.left_bytes)} in {_lasting(seconds)}"]
    if covered.unproved_files:
        parts.append(f"{plural(covered.unproved_files, 'file')} without a proof")
    if covered.oldest_proof is not None:
        parts.append(f"oldest proof now {time.strftime('%Y-%m-%d', time.localtime(covered.oldest_proof))}")
    return "; ".join([*parts, findings]) + repaired


def _lasting(seconds: float) -> str:
    """A duration for a person: ``9.4s``, ``10m00s``, ``1h30m00s``."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m{rest:02}s" if hours else f"{minutes}m{rest:02}s"
