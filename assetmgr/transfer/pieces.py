"""Who fetches which part of a file: runs of pieces, claimed in order, each piece with how far it has come.

A piece is what the journal notes; a claim is a run of them that one stream asks for at once. Claims are large while
much is left, so that few requests are made, and small in the end, so that all streams end together. When nothing is
left to claim, a stream that is done takes over the end of the claim that lacks most.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from assetmgr.transfer.limits import Limits
from assetmgr.transfer.partial import BUFFER

_PIECES = 4096


def piece_size(size: int, limits: Limits) -> int:
    """Small enough to lose little by a kill, but not so small that a huge file has countless ones."""
    return max(limits.piece_least, min(-(-size // _PIECES), limits.piece_most))


@dataclass(eq=False)
class Claim:
    """What a stream has taken of a file: the bytes from ``start``, of which those before ``at`` are written.

    ``end`` may come nearer while the stream is at work, but never so near as the next buffer that it writes.
    """

    start: int
    end: int
    at: int


class Pieces:
    """The pieces of one file. Every method may be called from any thread.

    Parameters
    ----------
    marks
        How many bytes of each piece are there, from its start; None: nothing is.
    note
        Called with a piece and its new mark, under a lock.
    claim_most
        The most bytes that one claim is made of, but for a single piece.
    buffer
        The most bytes that a stream writes at a time.
    """

    def __init__(
        self,
        size: int,
        piece: int,
        marks: Sequence[int] | None,
        note: Callable[[int, int], object],
        claim_most: int,
        buffer: int = BUFFER,
    ) -> None:
        self.size, self.piece = size, piece
        self.count = -(-size // piece)
        self._marks = list(marks or [0] * self.count)
        self._note = note
        self._claim_most, self._buffer = claim_most, buffer
        self._claims: set[Claim] = set()
        self._claimed: set[int] = set()
        self._first = 0  # the first piece that may be incomplete
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self.arrived = sum(self._marks)
        self._open = sum(mark < self._length(piece) for piece, mark in enumerate(self._marks))
        self._move_first()

    def _length(self, piece: int) -> int:
        return min(self.piece, self.size - piece * self.piece)

    def _move_first(self) -> None:
        while self._first < self.count and self._marks[self._first] == self._length(self._first):
            self._first += 1

    def claim(self, streams: int = 1) -> Claim | None:
        """Take the first pieces that lack bytes and are nobody's: a fair share of what is left among the streams.

        One that is alone takes a single piece, for it can run on.
        """
        with self._lock:
            if self._open:
                for piece in range(self._first, self.count):
                    if piece not in self._claimed and self._marks[piece] < self._length(piece):
                        return self._take(piece, streams)
            return self._take_over()

    def follow(self, claim: Claim, streams: int = 1) -> Claim | None:
        """Take what comes after a claim, if nobody has it and nothing of it is there: a stream can run on into it."""
        with self._lock:
            after = claim.end // self.piece
            return self._take(after, streams) if claim.end < self.size and self._is_untouched(after) else None

    def run(self, claim: Claim) -> int:
        """Up to where a stream could run on after a claim, as things are."""
        with self._lock:
            after = -(-claim.end // self.piece)
            while after < self.count and self._is_untouched(after):
                after += 1
            return min(after * self.piece, self.size)

    def _is_untouched(self, piece: int) -> bool:
        return piece not in self._claimed and not self._marks[piece]

    def _take(self, first: int, streams: int) -> Claim:
        self._claimed.add(first)
        self._open -= 1
        start = first * self.piece + self._marks[first]
        claim = self._add(Claim(start, min((first + 1) * self.piece, self.size), start))
        if streams > 1:
            self._extend(claim, streams)
        return claim

    def extend(self, claim: Claim, streams: int) -> None:
        """Let a claim go on over what nobody has touched, up to a fair share of what is left."""
        with self._lock:
            self._extend(claim, streams)
            if claim.at < claim.end:
                self._claims.add(claim)  # it may have been done

    def _extend(self, claim: Claim, streams: int) -> None:
        most = min((self._open + 1) * self.piece // streams, self._claim_most)
        while claim.end < self.size and claim.end + self.piece - claim.at <= most:
            after = claim.end // self.piece
            if not self._is_untouched(after):
                break
            self._claimed.add(after)
            self._open -= 1
            claim.end = min(claim.end + self.piece, self.size)

    def _take_over(self) -> Claim | None:
        slowest = max(self._claims, key=lambda claim: claim.end - claim.at, default=None)
        if slowest is None:
            return None
        # What its stream has begun to write, whatever it is at now, is left to it.
        least = max((slowest.at + slowest.end) // 2, slowest.at + self._buffer)
        start = -(-least // self.piece) * self.piece
        if start >= slowest.end:
            return None
        taken = Claim(start, slowest.end, start)
        slowest.end = start
        return self._add(taken)

    def _add(self, claim: Claim) -> Claim:
        self._claims.add(claim)
        return claim

    def advance(self, claim: Claim, count: int) -> None:
        """Note bytes that are written."""
        with self._lock:
            self.arrived += count
            while count:
                piece = claim.at // self.piece
                step = min(count, self._length(piece) - self._marks[piece])
                self._marks[piece] += step
                self._note(piece, self._marks[piece])
                claim.at += step
                count -= step
                if self._marks[piece] == self._length(piece):
                    self._claimed.discard(piece)
                    if piece == self._first:
                        self._move_first()
            if claim.at == claim.end:
                self._claims.discard(claim)
            if self._first == self.count:
                self._changed.notify_all()

    def release(self, claim: Claim) -> None:
        """Give back what a stream could not finish."""
        with self._lock:
            if claim in self._claims:
                self._claims.discard(claim)
                left = range(claim.at // self.piece, -(-claim.end // self.piece))
                self._claimed.difference_update(left)
                self._open += len(left)
                self._changed.notify_all()

    def frontier(self) -> int:
        """Up to where everything is there."""
        with self._lock:
            if self._first == self.count:
                return self.size
            return self._first * self.piece + self._marks[self._first]

    def open(self) -> int:
        """How many pieces lack bytes and are nobody's."""
        with self._lock:
            return self._open

    def is_whole(self) -> bool:
        with self._lock:
            return self._first == self.count

    def wait(self, seconds: float) -> None:
        """Wait until the file is whole or a claim is given back, or for so long."""
        with self._changed:
            if self._first < self.count:
                self._changed.wait(seconds)
