"""A program of another Python in a session of its own: whatever it starts ends with it, and it ends with us."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO


class Child(contextlib.AbstractContextManager["Child"]):
    """A running child. Its standard input is a pipe: the child ends when that does, also when we are killed.

    Parameters
    ----------
    log
        The file that takes what it prints; what it prints to standard output too, unless that is ``piped``.
    """

    def __init__(
        self, command: Sequence[str], *, folder: str, environment: Mapping[str, str], log: str, piped: bool = False
    ) -> None:
        self._log = log
        with open(log, "wb") as words:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if piped else words,
                stderr=words,
                # Ctrl-C reaches us alone, and we end the child.
                start_new_session=os.name != "nt",
            )

    @property
    def input(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def output(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def is_done(self, patience: float) -> bool:
        """Whether it has ended, after a look of some seconds."""
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            return False
        return True

    def last_words(self, lines: int = 3) -> str:
        """The end of what it printed."""
        with contextlib.suppress(OSError), open(self._log, "rb") as file:
            file.seek(max(os.path.getsize(self._log) - 4096, 0))
            words = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
            return " / ".join(words[-lines:])[:500] or "no word"
        return "no word"

    def __exit__(self, *exception: object) -> None:
        end(self.process)
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()


def end(process: subprocess.Popen[bytes]) -> None:
    """End a child that has a session of its own, and all that it started."""
    if os.name == "nt":
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True, check=False)
    else:
        # The group may outlive its leader.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
