"""Threads for what takes its time: made when none is free, and gone when nothing has come for a while."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

_IDLE_SECONDS = 20.0


class Crew:
    """As many threads as there are jobs at once, up to a most; further jobs wait. They end with the process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._free = 0

    def do(self, job: Callable[[], None]) -> None:
        """Have a job done. It must raise nothing."""
        with self._lock:
            if self._free > 0:
                self._free -= 1
                begin = False
            else:
                begin = self._threads < self._most
                self._threads += begin
        self._jobs.put(job)
        if begin:
            threading.Thread(target=self._work, name="serve-crew", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if self._free > 0:
                        self._free -= 1
                        self._threads -= 1
                        return
                continue
            job()
            with self._lock:
                self._free += 1
