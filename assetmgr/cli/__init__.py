"""The command line: parse, call the workspace, print. No logic, and nothing heavy on the way to ``--help``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    from assetmgr.cli.parser import WrongUsage, make_parser

    try:
        options = make_parser().parse_args(arguments)
    except WrongUsage as wrong:
        if "--json" in (sys.argv[1:] if arguments is None else arguments):
            from assetmgr.cli.output import Output

            error = {"type": "UsageError", "code": 2, "message": wrong.message, "mend": "assetmgr --help"}
            Output(json=True).document({"code": 2, "errors": [error]})
        raise
    from assetmgr.cli.output import Output
    from assetmgr.errors import AssetError

    chosen = ["--root", options.root] if options.root else []
    for manifest in options.manifest or ():
        chosen += ["--manifest", manifest]
    output = Output(
        json=options.json, quiet=options.quiet, verbose=options.verbose, options=chosen, commands=options.commands
    )
    try:
        code: int = options.run(options, output)
        sys.stdout.flush()
        return code
    except AssetError as error:
        output.fail(error)
        return error.code
    except KeyboardInterrupt:
        output.words("interrupted; what has arrived is kept, and the same command goes on from there")
        return 130
    except BrokenPipeError:
        # Who read our output has gone. Nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except OSError as error:
        output.fail(AssetError(f"{error.filename or 'the system'}: {error.strerror or error}"))
        if options.verbose:
            raise
        return 1
