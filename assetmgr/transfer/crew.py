"""How many threads fetch files: few while files come faster than threads can take turns, all where they wait.

One thread fetches small files from a near server faster than eight, which contend for the interpreter. From a distant
server, or for large files, eight bring eight times as much. So a run begins with one, and others join it as it is seen
that the network, and not the interpreter, is waited for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

# Seconds without a finished file after which the crew is doubled; over which its use of the processor is looked at; the
# share of one processor below which another thread will find room.
_TICK = 0.01
_LOOK = 0.02
_BUSY = 0.7


class Crew:
    """Threads that do the same work until there is none. At most ``most`` of them; none before `grow`."""

    def __init__(self, most: int, work: Callable[[], object]) -> None:
        self._most, self._work = most, work
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._since, self._used = time.monotonic(), time.process_time()

    def __len__(self) -> int:
        return len(self._threads)

    def grow(self, by: int = 1) -> None:
        """Let more join, up to the most."""
        with self._lock:
            for _ in range(min(by, self._most - len(self._threads))):
                thread = threading.Thread(target=self._work, name="assetmgr-fetch", daemon=True)
                self._threads.append(thread)  # first: it may be done at once, and is to be counted then
                try:
                    thread.start()
                except RuntimeError:  # the system gives no more: those who are there do the work
                    self._threads.remove(thread)
                    if not self._threads:
                        raise
                    self._most = len(self._threads)
                    return

    @property
    def patience(self) -> float:
        """How long to wait for a file before `nothing_came` is to be told."""
        return _TICK if len(self._threads) < self._most else 0.5

    def nothing_came(self) -> None:
        """All of them wait for something."""
        self.grow(len(self._threads))

    def one_came(self, *, are_others_waiting: bool) -> None:
        """Look now and then whether the processor is idle although nobody is behind with taking what is done."""
        now = time.monotonic()
        if len(self._threads) == self._most or now - self._since < _LOOK:
            return
        used = time.process_time()
        share = (used - self._used) / (now - self._since)
        self._since, self._used = now, used
        if share < _BUSY and not are_others_waiting:
            self.grow()

    def join(self, seconds: float) -> None:
        """Wait for all of them, but no longer than this."""
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
