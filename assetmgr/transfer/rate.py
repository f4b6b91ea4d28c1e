"""How fast bytes may come: a bucket for a whole run, and a watch over one connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from assetmgr.transfer.limits import Limits
from assetmgr.transfer.retry import PassingError


class Bucket:
    """A token bucket that all connections of a run draw from. It fills at ``rate`` and holds a tenth of a second."""

    def __init__(self, rate: float | None, stop: threading.Event, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._stop = stop
        self._clock = clock
        self._paid = clock()
        self._lock = threading.Lock()

    def portion(self, size: int) -> int:
        """How many of ``size`` bytes to take at once, so that the flow stays even."""
        return size if self.rate is None else min(size, max(1024, int(self.rate / 10)))

    def take(self, count: int) -> float:
        """Pay for bytes that came; wait for as long as that takes, and return it in seconds."""
        if self.rate is None:
            return 0.0
        with self._lock:
            now = self._clock()
            self._paid = max(self._paid, now - 0.1) + count / self.rate
            wait = self._paid - now
        if wait > 0:
            self._stop.wait(wait)
        return max(wait, 0.0)


class Pace:
    """Watches that a connection does not only live, but get on: one byte a minute is a stall too."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._since = time.monotonic()
        self._came = 0

    def count(self, count: int, waited: float) -> None:
        """Count bytes that came, not counting what our own limit made us wait.

        Raises
        ------
        PassingError
            When fewer came in ``read_timeout`` seconds than ``least_rate`` asks for.
        """
        self._came += count
        self._since += waited
        now = time.monotonic()
        seconds = now - self._since
        if seconds < self._limits.read_timeout:
            return
        if self._came < seconds * self._limits.least_rate:
            raise PassingError(f"stalled: {self._came} bytes in {seconds:.0f} s")
        self._since, self._came = now, 0
