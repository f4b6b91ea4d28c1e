"""One command on a terminal of any size: what it shows while it runs, and what it leaves behind."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Mapping

import pexpect
import pyte

from tests.support import Project


class Screen:
    """`assetmgr` with these arguments, on a terminal that draws what it writes."""

    def __init__(
        self,
        project: Project,
        *arguments: str,
        columns: int = 120,
        lines: int = 30,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.screen = pyte.Screen(max(columns, 80), max(lines, 24))
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.process: pexpect.spawn[bytes] = pexpect.spawn(
            sys.executable,
            ["-m", "assetmgr", *arguments],
            cwd=str(project.folder),
            env=project.environment(**{"TERM": "xterm", **(env or {})}),
            dimensions=(lines, columns),
        )

    @property
    def shown(self) -> list[str]:
        """The lines that are not empty."""
        return [line.rstrip() for line in self.screen.display if line.strip()]

    def until(self, is_so: Callable[[list[str]], object], timeout: float = 30.0) -> list[str]:
        """Draw until the screen is as wanted; return it."""
        deadline = time.monotonic() + timeout
        while not is_so(self.shown):
            assert self._draw() or self.process.isalive(), self.shown
            assert time.monotonic() < deadline, self.shown
        return self.shown

    def _draw(self) -> bool:
        try:
            data = self.process.read_nonblocking(1 << 16, 0.1)
        except pexpect.TIMEOUT:
            return False
        except pexpect.EOF:
            self.process.wait()
            return False
        self.raw += data
        self._stream.feed(data)
        return True

    def interrupt(self) -> tuple[int, float]:
        """Ctrl-C; return the exit code, and the seconds until the command has ended."""
        started = time.monotonic()
        self.process.kill(signal.SIGINT)
        return self.end(), time.monotonic() - started

    def end(self, timeout: float = 60.0) -> int:
        """Draw to the end of the command; return its exit code."""
        deadline = time.monotonic() + timeout
        while self._draw() or self.process.isalive():
            assert time.monotonic() < deadline, self.shown
        self.process.close()
        status = self.process.exitstatus
        return -(self.process.signalstatus or 0) if status is None else int(status)
