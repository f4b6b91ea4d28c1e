"""Which files a verification with a time budget hashes, decided without I/O.

Files without a proof come first, in an order that chance gives, and take half of the budget while others wait: one
that is damaged gets no proof, and would otherwise keep the others waiting in every run. Then come the others, oldest
proof first, so that the next run goes on where this one stopped. The first of either sort is begun whatever its size:
it is the one that has waited longest, and no later run would have more time for it. Any other is begun only where it is
expected to end in time. A file that was begun is hashed to its end.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import NamedTuple

# Bytes a second that one thread is taken to hash before anything was measured: what a slow disk gives.
ASSUMED_RATE = 100e6
# Bytes that must be hashed before their rate says anything: the time of small files goes into opening them.
MEASURED = 32 << 20


class Due(NamedTuple):
    """One file that may be hashed; ``key`` is the caller's own. ``proved_at`` is None where no proof fits it."""

    size: int
    proved_at: int | None
    key: int


def in_turn(files: Iterable[Due], chance: int) -> tuple[list[Due], list[Due]]:
    """The files without a proof, in an order that depends on ``chance``, and the others, oldest proof first."""
    unproved: list[Due] = []
    proved: list[Due] = []
    for due in files:
        (unproved if due.proved_at is None else proved).append(due)
    random.Random(chance).shuffle(unproved)  # noqa: S311 - whose turn it is is no secret
    return unproved, sorted(proved, key=lambda due: (due.proved_at or 0, due.key))


def shares(budget: float, *, is_anything_proved: bool) -> tuple[float, float]:
    """The seconds since the run's beginning at which the turn of each sort ends."""
    return (budget / 2 if is_anything_proved else budget), budget


def rate_of(size: int, seconds: float) -> float | None:
    """Bytes a second of what was hashed; None where that is too little to tell."""
    return size / seconds if size >= MEASURED and seconds > 0 else None


def is_begun(size: int, *, is_first: bool, spent: float, end: float, rate: float | None) -> bool:
    """Whether the next file of a sort is begun.

    Parameters
    ----------
    size
        Its bytes.
    is_first
        Whether none of its sort was begun in this run.
    spent, end
        Seconds since the run's beginning, now and at the end of the sort's turn.
    rate
        Bytes a second that one thread has hashed so far; None before anything was measured.
    """
    return is_first or spent + size / (rate or ASSUMED_RATE) <= end
