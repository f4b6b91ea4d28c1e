"""What the doctor finds: one line each, and what mends it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Level = Literal["ok", "note", "warning", "error"]


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    ``level``: ``error`` is what cannot work, ``warning`` what works otherwise than is meant, ``note`` what may be worth
    knowing, ``ok`` what is well. ``mend`` says what to type or to change; it may be empty.
    """

    level: Level
    check: str
    message: str
    mend: str = ""

    @property
    def is_wrong(self) -> bool:
        return self.level in ("warning", "error")


class Examination(msgspec.Struct, frozen=True):
    """All that was found. ``code`` is the exit code: 1 where a finding is a warning or an error, else 0."""

    code: int
    python: str
    store: str
    findings: tuple[Finding, ...]


def exit_code(findings: Iterable[Finding]) -> int:
    """0 where nothing is wrong."""
    return int(any(finding.is_wrong for finding in findings))


def some(names: Iterable[str], most: int = 4) -> str:
    """A few names, and how many there are beyond them."""
    there = list(names)
    left = f" and {len(there) - most} more" if len(there) > most else ""
    return ", ".join(there[:most]) + left
