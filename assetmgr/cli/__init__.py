"""The command line: parse, call the workspace, print. No logic, and nothing heavy on the way to ``--help``."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # as type checkers know it: `typing` itself is not worth its milliseconds here
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    if arguments is None:
        _collect_rarely()
    try:
        from assetmgr.cli.running import run

        return run(arguments)
    except KeyboardInterrupt:
        # From the first import to the last word: a second Ctrl-C ends the process without one.
        if arguments is None:
            import signal

            signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            os.write(2, b"assetmgr: interrupted; what has arrived is kept, and the same command goes on from there\n")
        except OSError:
            return 130  # nobody is there to be told
        return 130


def _collect_rarely() -> None:
    """Look for garbage rarely, and at the end not at all: a look at a large store makes many objects, and few circles.

    As Python has it, a tenth of such a command's time would go into that.
    """
    import atexit
    import gc

    gc.set_threshold(100_000, 20, 20)
    atexit.register(gc.freeze)  # what is frozen is not looked through once more while the process ends
