"""Failures at the wire: which request meets one, and what then happens to the answer."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from .messages import Request, Response

Match: TypeAlias = str | re.Pattern[str] | Callable[[str], bool]


def matches(match: Match, line: str) -> bool:
    """Say whether a match fits ``"METHOD /target"``: part of it, found in it, or true of it."""
    if isinstance(match, str):
        return match in line
    return match.search(line) is not None if isinstance(match, re.Pattern) else bool(match(line))


@dataclass(frozen=True, eq=False)
class Fault:
    """One failure. The first fault of the hub that fits a request and is not used up is applied, alone.

    Attributes
    ----------
    match, method
        Which requests: see `matches`. The target is as on the wire, percent-encoded.
    times, after
        How often (None: always), and how many fitting requests pass first.
    status, retry_after, body
        Answer this status instead. `body` without a status: serve these bytes as the file, headers unchanged.
    drop
        Close the connection before a response.
    reset_after, truncate_after
        After so many body bytes: a TCP reset; a close, though Content-Length promised more.
    stall_after, stall_seconds
        After so many body bytes: silence until `Faults.release`, the hub's close, or so many seconds; then
        go on.
    flip_at
        Invert the byte at this offset of the file. A range without that byte is no fit.
    headers
        Replace or add headers; None removes one.
    delay, throttle
        Seconds of silence before the response; bytes a second of body.
    endless
        No Content-Length: the file, then zeros until the client hangs up.

    What is done to a body (reset, truncate, stall, flip, other bytes, throttle, endless) never fits a HEAD.
    """

    match: Match = ""
    method: str | None = None
    times: int | None = 1
    after: int = 0
    status: int | None = None
    retry_after: float | str | None = None
    body: bytes | None = None
    drop: bool = False
    reset_after: int | None = None
    truncate_after: int | None = None
    stall_after: int | None = None
    stall_seconds: float = 30.0
    flip_at: int | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    delay: float = 0.0
    throttle: float | None = None
    endless: bool = False

    @property
    def needs_body(self) -> bool:
        cut = (self.reset_after, self.truncate_after, self.stall_after, self.flip_at, self.throttle)
        return self.endless or any(part is not None for part in cut) or (self.body is not None and self.status is None)

    def fits(self, request: Request, response: Response) -> bool:
        if self.method not in (None, request.method) or (self.needs_body and request.method == "HEAD"):
            return False
        if self.flip_at is not None and not response.start <= self.flip_at < response.end:
            return False
        return matches(self.match, request.line)


NO_FAULT = Fault()


class Faults:
    """The faults of one hub, in the order in which they were added, and the threads that stall in one."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._seen: Counter[Fault] = Counter()
        self._fired: Counter[Fault] = Counter()
        self._stalled: dict[threading.Event, Fault] = {}
        self._changed = threading.Condition()

    def add(self, fault: Fault) -> Fault:
        with self._changed:
            self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """Remove a fault and let those go on that stall in it."""
        with self._changed:
            self._faults.remove(fault)
        self.release(fault)

    def clear(self) -> None:
        """Remove every fault and let all go on that stall."""
        with self._changed:
            self._faults.clear()
            self._seen.clear()
            self._fired.clear()
        self.release()

    def fired(self, fault: Fault) -> int:
        """Return how many requests met the fault."""
        with self._changed:
            return self._fired[fault]

    def pick(self, request: Request, response: Response) -> Fault:
        """Return the fault that this request meets, or `NO_FAULT`."""
        if not self._faults:
            return NO_FAULT
        with self._changed:
            for fault in self._faults:
                spent = fault.times is not None and self._fired[fault] >= fault.times
                if spent or not fault.fits(request, response):
                    continue
                self._seen[fault] += 1
                if self._seen[fault] > fault.after:
                    self._fired[fault] += 1
                    return fault
        return NO_FAULT

    def stall(self, fault: Fault, closing: threading.Event) -> None:
        """Hold the calling thread as the fault asks."""
        event = threading.Event()
        with self._changed:
            if closing.is_set():
                return
            self._stalled[event] = fault
            self._changed.notify_all()
        event.wait(fault.stall_seconds)
        with self._changed:
            self._stalled.pop(event, None)

    def release(self, fault: Fault | None = None) -> None:
        """Let those go on that stall at this moment, in one fault or in any."""
        with self._changed:
            for event, holder in list(self._stalled.items()):
                if fault is None or holder is fault:
                    event.set()

    def wait_stalled(self, count: int = 1, timeout: float = 10.0) -> bool:
        """Wait until so many requests stall; return whether they do."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._stalled) >= count, timeout)
