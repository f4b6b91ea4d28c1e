"""What was asked of the hub."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from .faults import Match, matches
from .messages import Request


@dataclass(frozen=True)
class Record:
    """One request.

    `path` is the target on the wire, with its query; `status` is 0 where none was sent; `sent` counts body
    bytes; header names are lower-case.
    """

    method: str
    path: str
    status: int
    sent: int
    headers: Mapping[str, str]
    time: float

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"


class RequestLog:
    """Records in the order in which their answers began.

    A record is there before the last byte of its answer leaves: a client that has an answer finds it here.
    """

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._changed = threading.Condition()
        self._begun = 0

    def add(self, request: Request, status: int, sent: int) -> tuple[int, int]:
        """Record an answer that is about to be sent; return what `correct` wants."""
        record = Record(request.method, request.target, status, sent, request.headers, time.time())
        with self._changed:
            self._records.append(record)
            self._changed.notify_all()
            return self._begun, len(self._records) - 1

    def correct(self, place: tuple[int, int], sent: int) -> None:
        """Write what was sent in truth, unless the log was reset meanwhile."""
        begun, index = place
        with self._changed:
            if begun == self._begun:
                self._records[index] = replace(self._records[index], sent=sent)

    def reset(self) -> None:
        with self._changed:
            self._records.clear()
            self._begun += 1

    def records(self) -> list[Record]:
        with self._changed:
            return list(self._records)

    def count(self, method: str | None = None, match: Match = "") -> int:
        return sum(r.method == (method or r.method) and matches(match, r.line) for r in self.records())

    def wait(self, count: int, method: str | None, match: Match, timeout: float) -> bool:
        """Wait until so many answers that fit have begun; return whether they have."""
        with self._changed:
            return self._changed.wait_for(lambda: self.count(method, match) >= count, timeout)
