"""One command from its line to its exit code. Whatever goes wrong is told in words."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Sequence

from assetmgr.cli import completing, streams
from assetmgr.cli.output import LostOutputError, Output
from assetmgr.cli.parser import WrongUsage, make_parser
from assetmgr.cli.requests_told import requests_told
from assetmgr.errors import AssetError
from assetmgr.owners import is_refusal, refused


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command of the given words, or of this process's; return its exit code."""
    if arguments is None:
        if completing.is_asked():
            completing.complete(make_parser())
        streams.steady()
    words = sys.argv[1:] if arguments is None else list(arguments)
    output = Output(json="--json" in words, verbose=not {"-v", "--verbose"}.isdisjoint(words))
    try:
        code = _run(words, output)
        output.flush()
        return code
    except BrokenPipeError:
        streams.silence(1)  # who read our output has gone
        return 141
    except LostOutputError as error:
        Output().fail(error.told)
        return error.told.code


def _run(words: Sequence[str], output: Output) -> int:
    try:
        options = make_parser().parse_args(words)
    except WrongUsage as wrong:
        if output.json:
            error = {"type": "UsageError", "code": 2, "message": wrong.message, "mend": "assetmgr --help"}
            output.document({"code": 2, "errors": [error]})
        return 2
    except SystemExit as done:  # --help and --version
        return int(done.code or 0)
    except BrokenPipeError:
        raise
    except OSError as error:
        streams.silence(1)
        raise LostOutputError(error) from error
    chosen = ["--root", options.root] if options.root else []
    for manifest in options.manifest or ():
        chosen += ["--manifest", manifest]
    output = Output(
        json=options.json, quiet=options.quiet, verbose=options.verbose, options=chosen, commands=options.commands
    )
    try:
        with output, requests_told(output) if output.verbose else contextlib.nullcontext():
            code: int = options.run(options, output)
            return code
    except (BrokenPipeError, LostOutputError):
        raise
    except AssetError as error:
        output.fail(error)
        return error.code
    except OSError as error:
        told = _of_the_system(error)
        output.fail(told)
        output.trace(error)
        return told.code
    except MemoryError:
        output.fail(AssetError("there is not enough memory", mend="end other programs, or take fewer --jobs"))
    except Exception as error:  # noqa: BLE001 - the last place where it can be told in words
        what = f"{type(error).__name__}: {error}"
        output.fail(AssetError(f"this is a bug in assetmgr: {what}", mend="report it; with -v the command shows where"))
        output.trace(error)
    return 1


def _of_the_system(error: OSError) -> AssetError:
    """What the system refused, and nobody below has told better."""
    try:
        os.getcwd()
    except OSError:
        return AssetError("the working folder is gone, or may not be read", mend="cd to a folder that is there")
    if is_refusal(error):
        return refused(error)
    mend = ""
    if error.errno in (errno.ENOTDIR, errno.ENAMETOOLONG):
        mend = "see what stands there and who may write it, or name another store: --root, or ASSETMGR_ROOT"
    return AssetError(f"{error.filename or 'the system'}: {error.strerror or error}", mend=mend)
