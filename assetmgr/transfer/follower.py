"""Hashes a file while it arrives, in a thread of its own: what is read from the network is not read again."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Mapping

from assetmgr.digests import Hasher
from assetmgr.transfer.partial import BUFFER, Partial

BUFFERS = 8


class Follower:
    """Hashes in order what is written in any order.

    A buffer that continues what has been seen is hashed from memory. What came out of order, or in an earlier run, is
    read back from the partial as soon as everything before it is there; it is in the page cache then.
    """

    def __init__(self, partial: Partial, hasher: Hasher) -> None:
        self._partial = partial
        self._hasher = hasher
        self._changed = threading.Condition()
        self._queue: deque[tuple[bytearray, int]] = deque()
        self._done = 0  # hashed
        self._tail = 0  # hashed, in the queue or being read
        self._frontier = 0
        self._closed = False
        self._error: BaseException | None = None
        self._free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        self._lent = 0
        self._thread = threading.Thread(target=self._run, name="assetmgr-hash", daemon=True)
        self._thread.start()

    def borrow(self) -> bytearray:
        """A buffer to fill. Waits for one to come back when the hash is slower than the network."""
        if self._lent < BUFFERS and self._free.empty():
            self._lent += 1
            return bytearray(BUFFER)
        while True:
            try:
                return self._free.get(timeout=1.0)
            except queue.Empty:
                self._raise()

    def give_back(self, buffer: bytearray) -> None:
        self._free.put(buffer)

    def offer(self, offset: int, buffer: bytearray, count: int) -> None:
        """Give a filled buffer, whose bytes are in the file too. It comes back to be borrowed when it is hashed."""
        with self._changed:
            if offset == self._tail and self._error is None:
                self._tail += count
                self._queue.append((buffer, count))
                self._changed.notify()
                return
        self.give_back(buffer)

    def reach(self, frontier: int) -> None:
        """Tell up to where everything is in the file."""
        with self._changed:
            if frontier > self._frontier:
                self._frontier = frontier
                if frontier > self._tail:
                    self._changed.notify()

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    while not self._closed and not self._queue and self._frontier <= self._tail:
                        self._changed.wait()
                    if self._closed:
                        return
                    filled = self._queue.popleft() if self._queue else None
                    if filled is None:
                        start, count = self._tail, min(self._frontier - self._tail, BUFFER)
                        self._tail += count
                    else:
                        start, count = 0, filled[1]
                if filled is not None:
                    self._hasher.update(memoryview(filled[0])[:count])
                    self._free.put(filled[0])
                else:
                    data = self._partial.read_at(start, count)
                    if len(data) != count:
                        raise OSError(5, "the partial file was cut while it was fetched", self._partial.path)
                    self._hasher.update(data)
                with self._changed:
                    self._done += count
                    if not self._queue and self._done == self._tail:
                        self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - raised where the digests are asked for
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def finish(self, size: int) -> Mapping[str, str]:
        """Wait until all is hashed; return the digests."""
        with self._changed:
            while self._done < size:
                self._raise()
                self._changed.wait(1.0)
        return self._hasher.digests()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(2.0)
