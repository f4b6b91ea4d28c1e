"""The command line: parse, call the workspace, print. No logic, and nothing heavy on the way to ``--help``."""

from __future__ import annotations

import _thread
import os
import time

TYPE_CHECKING = False  # as type checkers know it: `typing` itself is not worth its milliseconds here
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

# How long Ctrl-C waits for an import, in seconds, and when it was told that there is one.
_PATIENCE = 0.3
_waiting: list[float] = []


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    try:
        if arguments is None:
            _on_interrupt(_interrupt)
            _collect_rarely()
        from assetmgr.cli.running import run

        code = run(arguments)
        if arguments is None:
            _on_interrupt("SIG_IGN")  # all is done
        return code
    except KeyboardInterrupt:
        if arguments is None:
            _on_interrupt("SIG_DFL")  # a second one waits for nothing
        _tell()
        return 130


def _tell() -> None:
    try:
        os.write(2, b"assetmgr: interrupted; what has arrived is kept, and the same command goes on from there\n")
    except OSError:
        return  # nobody is there to be told


def _collect_rarely() -> None:
    """Look for garbage rarely, and at the end not at all: a look at a large store makes many objects, and few circles.

    As Python has it, a tenth of such a command's time would go into that.
    """
    import atexit
    import gc

    gc.set_threshold(100_000, 20, 20)
    atexit.register(gc.freeze)  # what is frozen is not looked through once more while the process ends


def _on_interrupt(what: Callable[[int, FrameType | None], object] | str) -> None:
    """What Ctrl-C does from here on: a function, or a name of the signal module. Where it was ignored it stays so."""
    import signal

    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _interrupt):
        signal.signal(signal.SIGINT, getattr(signal, what) if isinstance(what, str) else what)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ctrl-C: at once, or when an import is over. A class that C code is making does not survive an exception.

    An import that takes longer, as torch's and transformers' do, is ended with the process: as kill -9 would, which
    harms nothing that is kept.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            _waiting.append(time.monotonic())
            if _waiting[-1] - _waiting[0] > _PATIENCE:
                _tell()
                os._exit(130)
            _thread.start_new_thread(_once_more, ())
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def _once_more() -> None:
    time.sleep(0.01)
    if os.name == "nt":
        _thread.interrupt_main()
    else:
        os.kill(os.getpid(), 2)  # which also wakes a main thread that waits for the system
