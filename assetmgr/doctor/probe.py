"""A child that is asked one thing: it may crash, hang or print without end, and we go on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import IO, NamedTuple

from assetmgr.origins.child import end

# Kept of what a child prints: of its answer the beginning, of its words the end.
_ANSWER_MOST = 1 << 18
_WORDS_MOST = 4096
# A child that prints more than this is not read any further, so that it ends by itself.
_FLOOD = 16 << 20


class Ended(NamedTuple):
    """How a child ended. ``code`` is None where it did not by itself; ``fault`` says why it gives no answer."""

    code: int | None
    answer: bytes
    words: str
    fault: str = ""


class Probes(contextlib.AbstractContextManager["Probes"]):
    """Runs children; at the end of the context none is left."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._is_over = False

    def run(self, command: Sequence[str], *, seconds: float, environ: Mapping[str, str], given: bytes = b"") -> Ended:
        """Run a program for so many seconds at most. What it started ends with it."""
        with self._lock:
            if self._is_over:
                return Ended(None, b"", "", "was not begun")
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=dict(environ),
                    start_new_session=os.name != "nt",
                )
            except (OSError, ValueError) as error:
                return Ended(None, b"", "", f"cannot be run: {getattr(error, 'strerror', None) or error}")
            self._running.add(process)
        try:
            return _attend(process, seconds, given)
        finally:
            end(process)
            with self._lock:
                self._running.discard(process)

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._is_over = True
            left = list(self._running)
        for process in left:
            end(process)


def _attend(process: subprocess.Popen[bytes], seconds: float, given: bytes) -> Ended:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    answer, words = bytearray(), bytearray()
    readers = [
        threading.Thread(target=_read, args=(process.stdout, answer, _ANSWER_MOST, True), daemon=True),
        threading.Thread(target=_read, args=(process.stderr, words, _WORDS_MOST, False), daemon=True),
    ]
    for reader in readers:
        reader.start()
    late = False
    with contextlib.suppress(OSError):
        process.stdin.write(given)
        process.stdin.flush()  # and not closed: it ends when we do
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        late = True
    code = process.poll()
    end(process)
    with contextlib.suppress(OSError):
        process.stdin.close()
    for reader in readers:
        reader.join(1.0)
    said = bytes(words).decode("utf-8", "replace")
    if late:
        return Ended(None, bytes(answer), said, f"gives no answer within {seconds:g} s")
    return Ended(code, bytes(answer), said, _fault(code))


def _read(pipe: IO[bytes], kept: bytearray, most: int, beginning: bool) -> None:
    total = 0
    with contextlib.suppress(OSError, ValueError), pipe:
        while total < _FLOOD and (block := os.read(pipe.fileno(), 1 << 16)):
            total += len(block)
            kept += block
            del kept[slice(most, None) if beginning else slice(None, -most)]


def _fault(code: int | None) -> str:
    if not code:
        return ""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"is ended by {signal.Signals(-code).name}"
    return f"ends with code {code}"


def last_line(words: str) -> str:
    """The last line that says anything."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
