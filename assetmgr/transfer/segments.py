"""More connections for one file, where one is slow: each takes pieces from the same queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from assetmgr.errors import AssetError
from assetmgr.transfer.connection import Answer
from assetmgr.transfer.follower import Follower
from assetmgr.transfer.growth import Growth
from assetmgr.transfer.partial import Partial
from assetmgr.transfer.parts import part_fault
from assetmgr.transfer.pieces import Claim, Pieces
from assetmgr.transfer.rate import Pace
from assetmgr.transfer.retry import PassingError
from assetmgr.transfer.source import Source
from assetmgr.transfer.wire import StoppedError, Wire

# How often the flow is looked at, in seconds, and how long new streams are given to get going first.
_LOOK = 0.025
_SETTLE = 0.15
# What share of that time must have been spent waiting for bytes.
_WAITING = 0.5
_BUFFER = 128 * 1024


@dataclass(frozen=True)
class Gathering:
    """One file under way: what every stream of it works with."""

    wire: Wire
    partial: Partial
    pieces: Pieces
    follower: Follower
    count: Callable[[int], object]


class Helpers:
    """The further streams of a file. A helper that fails gives its piece back and is not replaced."""

    def __init__(self, gathering: Gathering, source: Source, valid: str) -> None:
        self._at = gathering
        self.source, self._valid = source, valid
        self._threads: list[threading.Thread] = []
        self._answers: dict[threading.Thread, Answer] = {}
        self._stop = threading.Event()
        self._done_growing = False
        self._since = time.monotonic()
        self._next_look = self._since + _LOOK
        self._before = gathering.pieces.arrived
        self._growth = Growth(gathering.wire.limits)
        self._received = 0.0
        self.error: OSError | None = None

    def alive(self) -> int:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        return len(self._threads)

    def look(self, claim: Claim, received: float) -> None:
        """Look at the flow now and then; while it is slow for each stream and growing helps, add streams.

        ``claim`` is the first stream's, which is left its share. ``received`` are the seconds that it has just waited
        for bytes: where it is the disk or the hash that is waited for, more streams only let more lie in the buffers of
        the system.
        """
        self._received += received
        now = time.monotonic()
        if self._done_growing or now < self._next_look:
            return
        wire = self._at.wire
        share, self._received = self._received / (now - self._since), 0.0
        arrived = self._at.pieces.arrived
        flow = (arrived - self._before) / (now - self._since)
        self._since, self._before, self._next_look = now, arrived, now + _LOOK
        streams = 1 + self.alive()
        if share < _WAITING:
            return
        if wire.bucket.rate is not None and flow > 0.7 * wire.bucket.rate:
            return
        more = min(self._growth.wanted(flow, streams), max(self._at.pieces.open() - streams, 0))
        more = wire.join_streams(more, wanted=True)
        if not more:
            return
        self._next_look = now + _SETTLE
        self._at.pieces.extend(claim, streams + more)
        for _ in range(more):
            thread = threading.Thread(target=self._run, name="assetmgr-part", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set() and (claim := self._claim()) is not None:
                try:
                    self._bring(claim)
                finally:
                    self._at.pieces.release(claim)
        except (PassingError, AssetError, StoppedError):
            self._done_growing = True  # what one may not have, two may not
        except OSError as error:
            self.error = error
        finally:
            self._at.wire.leave_streams(1)

    def _claim(self) -> Claim | None:
        return self._at.pieces.claim(1 + len(self._threads))

    def _bring(self, claim: Claim) -> None:
        at, wire, end = self._at, self._at.wire, claim.end
        answer = wire.ask(self.source, claim.start, end, self._valid)
        self._answers[threading.current_thread()] = answer
        try:
            if wrong := part_fault(answer, claim.start, end, at.pieces.size, self._valid):
                raise PassingError(wrong)
            view = memoryview(bytearray(min(_BUFFER, end - claim.start)))
            pace = Pace(wire.limits_of(self.source))
            while claim.at < claim.end:
                count, waited, fault = wire.fill(answer, view[: claim.end - claim.at])
                if not count:
                    raise PassingError("the body ended early")
                if self._stop.is_set():
                    raise StoppedError
                at.partial.write_at(claim.at, view[:count])
                at.pieces.advance(claim, count)
                at.follower.reach(at.pieces.frontier())
                at.count(count)
                if fault is not None:
                    raise fault
                pace.count(count, waited)
        finally:
            self._answers.pop(threading.current_thread(), None)
            answer.close()

    def close(self) -> None:
        """Stop them all, and wait until none writes any more."""
        self._stop.set()
        self._done_growing = True
        while self.alive():
            for answer in list(self._answers.values()):
                answer.cut()
            for thread in self._threads:
                thread.join(0.2)
