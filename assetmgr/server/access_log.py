"""The access log: one line a request, whatever is in it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable


class AccessLog:
    """Collects lines and writes them together. Each time the file is opened anew, so that it may be rotated away.

    Parameters
    ----------
    path
        The file; ``-`` is standard output.
    say
        Is told, once, when lines cannot be written.
    """

    def __init__(self, path: str, say: Callable[[str], None]) -> None:
        self._path, self._say = path, say
        self._lines: list[str] = []
        self._writing = threading.Lock()
        self._failed = False

    def add(self, address: str, line: str, status: int, sent: int, seconds: float, agent: str) -> None:
        """Note a request: the client's address, request line, status, bytes of body sent, seconds, and its program."""
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._lines.append(f'{address} {when} "{harmless(line)}" {status} {sent} {seconds:.3f} "{harmless(agent)}"\n')

    def flush(self) -> None:
        """Write what has collected."""
        with self._writing:
            lines, self._lines = self._lines, []
            if not lines:
                return
            try:
                if self._path == "-":
                    sys.stdout.write("".join(lines))
                    sys.stdout.flush()
                else:
                    with open(self._path, "a", encoding="utf-8", opener=_open_at_once) as file:
                        file.write("".join(lines))
                self._failed = False
            except (OSError, ValueError) as error:
                if not self._failed:
                    self._say(f"the access log cannot be written to {self._path}: {error}; requests are not logged")
                self._failed = True


def _open_at_once(path: str, flags: int) -> int:
    # A pipe that nobody reads must not be waited for.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)


def harmless(text: str) -> str:
    """A text as a line of a log may have it between quotes: nothing ends the line, the quotes, or drives a terminal."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    escaped = text.encode("unicode_escape").decode()  # backslashes too
    return escaped.replace('"', '\\"')
