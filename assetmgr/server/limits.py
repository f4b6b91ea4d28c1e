"""Every limit of the server as one field of one config, and the rate that each client address shares."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of the server one client, and all of them, may have.

    Attributes
    ----------
    connections
        At once. Beyond it the one that has been idle longest is closed; where none is, a new one is refused.
    rate
        Bytes a second that one client address may take, over all its connections; None is all there is.
    head_seconds
        In which a request's head, and then its body, must have come: dripping does not extend it.
    idle_seconds
        For which a connection that asks nothing is kept.
    stall_seconds, stall_bytes
        A client that takes fewer bytes than this in so many seconds is cut off.
    grace_seconds
        What a stop gives those who are still being answered.
    flight_seconds
        How long a pull for a client is waited for; it goes on without.
    """

    connections: int = 1024
    rate: float | None = None
    head_seconds: float = 15.0
    idle_seconds: float = 75.0
    stall_seconds: float = 30.0
    stall_bytes: int = 16 << 10
    grace_seconds: float = 5.0
    flight_seconds: float = 6 * 3600.0


class Rates:
    """A bucket of bytes for each client address."""

    _MOST = 10_000

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._free_at: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def piece(self) -> int:
        """How many bytes go at a time, so that connections take turns and none starts with a burst."""
        return max(1024, min(1 << 20, int(self._rate / 8)))

    def take(self, address: str, count: int) -> float:
        """Take so many bytes; return the seconds to wait before they may be sent."""
        now = time.monotonic()
        with self._lock:
            if len(self._free_at) > self._MOST:
                self._free_at = {one: free for one, free in self._free_at.items() if free > now}
            begins = max(now, self._free_at.get(address, 0.0))
            self._free_at[address] = begins + count / self._rate
        return begins - now
