"""A shell in a real terminal, and what its screen shows: bars redrawn, lines rewritten, exactly as a person sees it."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pyte

from tests.support import Done

_PROMPT = r"\[(\d+)\] ready> "


class Terminal:
    """Bash in a terminal of 110 columns, `assetmgr` and `python` on its PATH.

    Every command's screen is read from a terminal that was cleared before it, by a terminal emulator: what `run` gives
    is what is left on the screen when the prompt is back.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], *, columns: int = 110, rows: int = 200) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.Stream(self.screen)
        self.transcript: list[str] = []
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        bash = shutil.which("bash")
        assert bash, "a shell is needed to have a session in"
        self._shell: pexpect.spawn[str] = pexpect.spawn(
            bash,
            ["--norc", "--noprofile"],
            cwd=str(folder),
            env={**environment, "PATH": path, "PS1": "[$?] ready> ", "TERM": "xterm", "LC_ALL": "C.UTF-8"},
            dimensions=(rows, columns),
            encoding="utf-8",
            codec_errors="replace",
            timeout=120,
        )
        self._shell.logfile_read = self
        self._shell.expect(_PROMPT)

    # pexpect writes all that it reads to a file-like object: this one is a screen.
    def write(self, text: str) -> None:
        self._stream.feed(text)

    def flush(self) -> None:
        return None

    def shown(self) -> str:
        """What is on the screen now."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip("\n")

    def send(self, line: str) -> None:
        """Type a line, without waiting for what comes of it."""
        self.screen.reset()
        self._shell.sendline(line)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._shell.sendintr()

    def wait_for(self, pattern: str, timeout: float = 120) -> None:
        """Wait until the terminal is sent a text that fits."""
        self._shell.expect(pattern, timeout=timeout)

    def finish(self, timeout: float = 120) -> Done:
        """Wait for the prompt: what the screen shows above it, and the exit code."""
        self._shell.expect(_PROMPT, timeout=timeout)
        assert isinstance(self._shell.match, re.Match)
        code = int(self._shell.match.group(1))
        shown = self.shown().rpartition("\n")[0]
        self.transcript.append(self.shown())
        return Done(code, shown, "")

    def run(self, line: str, *, code: int = 0, timeout: float = 120) -> str:
        """Type a command, wait for it to end, and give what it left on the screen below the line itself."""
        self.send(line)
        done = self.finish(timeout)
        assert done.code == code, f"{line}: {done.code}\n{done.out}"
        assert "Traceback" not in done.out, done.out
        # A terminal wraps a long line: how many rows the echo takes follows from its length alone.
        rows = max(1, -(-len(line) // self.screen.columns))
        return "\n".join(done.out.split("\n")[rows:])

    def close(self) -> None:
        self._shell.close(force=True)


@contextmanager
def terminal(folder: Path, environment: Mapping[str, str], *, columns: int = 110) -> Iterator[Terminal]:
    """A terminal that is closed at the end, whatever happens."""
    folder.mkdir(parents=True, exist_ok=True)
    opened = Terminal(folder, environment, columns=columns)
    try:
        yield opened
    finally:
        opened.close()
