"""How one mirror does in one run: what it gave, what it lacked, and whether it is still worth asking."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from assetmgr.errors import AssetError, IntegrityError
from assetmgr.transfer.limits import Limits


class Turn(Enum):
    """When a mirror is asked for a file."""

    FIRST = "first"
    LAST = "last"  # after the origin
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class MirrorReport:
    """What became of one mirror in a run.

    Attributes
    ----------
    mirror
        Its address.
    files, bytes
        What came from it, proved.
    lacked
        How many files it was asked for in vain.
    state
        ``used``; ``unused``; ``lacking``, where it lacked so many files that it was asked after the origin, or all that
        it was asked for; ``damaged``, where blobs of a folder were no good and its others stayed in use; ``left out``,
        where something was wrong with it.
    why
        What was wrong.
    """

    mirror: str
    state: Literal["used", "unused", "lacking", "damaged", "left out"] = "unused"
    files: int = 0
    bytes: int = 0
    lacked: int = 0
    why: str = ""

    def complaint(self) -> str | None:
        """A sentence on a mirror that was no good, or None."""
        if self.state == "left out":
            return f"mirror {self.mirror} was left out of this run: {self.why}"
        if self.state == "damaged":
            return f"mirror {self.mirror} holds what is no good, which was passed over: {self.why}"
        if self.state == "lacking":
            return f"mirror {self.mirror} lacked {self.lacked} of the {self.lacked + self.files} files it was asked for"
        return None


class Standing:
    """One mirror's. Thread-safe.

    A mirror that once lied, stalled or failed is asked no more. Of one on this machine a single blob may be rotten:
    that one is passed over, and the others stay in use; only where it is not there at all, or several blobs in a row
    cannot be read, it is asked after the origin. One that lacks several files in a row is asked after the origin too,
    and tried again now and then.
    """

    def __init__(self, name: str, limits: Limits, *, is_local: bool) -> None:
        self._name, self._limits, self._is_local = name, limits, is_local
        self._lock = threading.Lock()
        self._files = self._bytes = self._lacked = 0
        self._in_a_row = 0
        self._gap = 1
        self._passed_files = self._passed_bytes = 0
        self._why = self._bad_why = ""
        self._unreadable = 0
        self._is_lacking = False

    def turn(self, size: int) -> Turn:
        """When to ask it for a file of so many bytes. Counts the files that pass it by."""
        with self._lock:
            if self._why:
                return Turn.LAST if self._is_local else Turn.NEVER
            if self._is_local or self._in_a_row < self._limits.mirror_misses:
                return Turn.FIRST
            self._is_lacking = True
            enough = self._passed_bytes + max(size, 0) >= self._limits.mirror_probe
            if enough or (self._files and self._passed_files >= self._gap):
                self._gap = min(2 * self._gap, self._limits.mirror_gap)
                self._passed_files = self._passed_bytes = 0
                return Turn.FIRST
            self._passed_files += 1
            self._passed_bytes += max(size, 0)
            return Turn.LAST

    def is_wanted(self) -> bool:
        """Whether it is asked at all."""
        return self._is_local or not self._why

    def gave(self, size: int) -> None:
        """A whole and proved file came from it."""
        with self._lock:
            self._files += 1
            self._bytes += size
            self._in_a_row, self._gap, self._unreadable = 0, 1, 0

    def lacks(self) -> None:
        """It has no such file. That is no fault."""
        with self._lock:
            self._lacked += 1
            self._in_a_row += 1

    def fails(self, error: AssetError) -> None:
        """Something is wrong with it."""
        with self._lock:
            self._why = self._why or error.message

    def has_bad(self, error: AssetError) -> None:
        """One blob of it, on this machine, is no good. A disk that fails may take long to say so of each."""
        with self._lock:
            self._bad_why = self._bad_why or error.message
            self._unreadable += not isinstance(error, IntegrityError)
            if self._unreadable >= self._limits.mirror_misses:
                self._why = self._why or error.message

    def report(self) -> MirrorReport:
        with self._lock:
            state: Literal["used", "unused", "lacking", "damaged", "left out"] = "used" if self._files else "unused"
            if self._why:
                state = "left out"
            elif self._bad_why:
                state = "damaged"
            elif self._is_lacking or (self._lacked and not self._files):
                state = "lacking"
            return MirrorReport(self._name, state, self._files, self._bytes, self._lacked, self._why or self._bad_why)
