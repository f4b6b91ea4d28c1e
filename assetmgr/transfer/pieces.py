"""Who fetches which part of a file: an in-order queue of pieces, each with how far it has come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from assetmgr.transfer.limits import Limits


def piece_size(size: int, limits: Limits) -> int:
    """An eighth of each connection's share, within bounds: small enough to share fairly, large enough to pay."""
    return max(limits.piece_least, min(size // (8 * limits.connections), limits.piece_most))


class Claim(NamedTuple):
    """A piece that a stream has taken, and what it lacks: the bytes ``[start, end)`` of the file."""

    piece: int
    start: int
    end: int


class Pieces:
    """The pieces of one file. Every method may be called from any thread."""

    def __init__(self, size: int, piece: int, marks: Sequence[int] | None, note: Callable[[int, int], object]) -> None:
        self.size, self.piece = size, piece
        self.count = -(-size // piece)
        self._marks = list(marks or [0] * self.count)
        self._note = note
        self._claimed: set[int] = set()
        self._first = 0  # the first piece that may be incomplete
        self._lock = threading.Lock()
        self.changed = threading.Condition(self._lock)
        self.arrived = sum(self._marks)
        self._move_first()

    def _length(self, piece: int) -> int:
        return min(self.piece, self.size - piece * self.piece)

    def _move_first(self) -> None:
        while self._first < self.count and self._marks[self._first] == self._length(self._first):
            self._first += 1

    def claim(self) -> Claim | None:
        """Take the first piece that lacks bytes and is nobody's."""
        with self._lock:
            for piece in range(self._first, self.count):
                if piece not in self._claimed and self._marks[piece] < self._length(piece):
                    return self._take(piece)
        return None

    def follow(self, piece: int) -> Claim | None:
        """Take the piece after one, if nobody has it and nothing of it is there: a stream can run on into it."""
        with self._lock:
            after = piece + 1
            if after >= self.count or after in self._claimed or self._marks[after]:
                return None
            return self._take(after)

    def _take(self, piece: int) -> Claim:
        self._claimed.add(piece)
        start = piece * self.piece
        return Claim(piece, start + self._marks[piece], start + self._length(piece))

    def advance(self, piece: int, count: int) -> None:
        """Note bytes that are written. The claim ends when the piece is whole."""
        with self._lock:
            self._marks[piece] += count
            self.arrived += count
            self._note(piece, self._marks[piece])
            if self._marks[piece] == self._length(piece):
                self._claimed.discard(piece)
                self._move_first()
                self.changed.notify_all()

    def release(self, claim: Claim) -> None:
        """Give back what a stream could not finish."""
        with self._lock:
            self._claimed.discard(claim.piece)
            self.changed.notify_all()

    def frontier(self) -> int:
        """Up to where everything is there."""
        with self._lock:
            if self._first == self.count:
                return self.size
            return self._first * self.piece + self._marks[self._first]

    def open(self) -> int:
        """How many pieces lack bytes and are nobody's."""
        with self._lock:
            return sum(
                piece not in self._claimed and self._marks[piece] < self._length(piece)
                for piece in range(self._first, self.count)
            )

    def is_whole(self) -> bool:
        with self._lock:
            return self._first == self.count

    def wait(self, seconds: float) -> None:
        """Wait until a piece is whole or given back, or for so long."""
        with self.changed:
            self.changed.wait(seconds)
