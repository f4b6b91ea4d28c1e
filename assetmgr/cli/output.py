"""The command line's one sink: data on stdout, words and bars on stderr, colours and bars only on a terminal."""

from __future__ import annotations

import json as json_module
import os
import re
import shlex
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from assetmgr.errors import AssetError, ManifestError, SeveralErrors

if TYPE_CHECKING:
    from assetmgr.reporting import Progress


class Output:
    """Implements `assetmgr.reporting.Reporter` for a person at a terminal, or for a pipe."""

    def __init__(
        self,
        *,
        json: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        options: Sequence[str] = (),
        commands: Sequence[str] = (),
    ) -> None:
        self.json = json
        self._options = shlex.join(options)
        self._command = re.compile(rf"\bassetmgr (?=({'|'.join(commands)})\b)")
        self.quiet = quiet
        self.verbose = verbose
        self._bars = sys.stderr.isatty() and not quiet and not json

    def data(self, text: str) -> None:
        """Print what was asked for."""
        print(text)

    def document(self, value: object) -> None:
        """Print the one JSON document."""
        print(json_module.dumps(value, indent=1, ensure_ascii=False))

    def words(self, text: str) -> None:
        """Tell a person, whatever is piped where."""
        print(f"assetmgr: {text}", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        if self.quiet:
            return
        if self._bars:
            from tqdm import tqdm

            tqdm.write(f"assetmgr: {text}", file=sys.stderr)
        else:
            self.words(text)

    def progress(self, label: str, total: int, *, unit: str = "B") -> Progress:
        return _Bar(label, total, unit, shown=self._bars)

    def fail(self, error: AssetError, *, documented: bool = False, **more: object) -> None:
        """Tell an error: words for a person, and a document for a program unless it has one already.

        ``more`` goes into the document.
        """
        errors: Sequence[AssetError] = error.errors if isinstance(error, SeveralErrors) else (error,)
        if self.json and not documented:
            self.document({"code": error.code, "errors": [error_document(one) for one in errors], **more})
        for one in errors:
            told = self.typed(f"\n  mend: {one.mend}") if one.mend else ""
            print(f"error: {one.message}{told}", file=sys.stderr)

    def typed(self, words: str) -> str:
        """Words that name a command of ours, as it must be typed to mean the same store and manifests."""
        if not self._options:
            return words
        return self._command.sub(f"assetmgr {self._options} ", words)


def error_document(error: AssetError) -> dict[str, Any]:
    """An error as ``--json`` tells it."""
    document: dict[str, Any] = {
        "type": type(error).__name__,
        "code": error.code,
        "message": error.message,
        "mend": error.mend,
    }
    if isinstance(error, ManifestError):
        document["problems"] = [problem._asdict() for problem in error.problems]
    return document


class _Bar:
    """A tqdm bar, of bytes or of another unit, that appears once the work takes a moment; nothing at all in a pipe."""

    def __init__(self, label: str, total: int, unit: str, *, shown: bool) -> None:
        self._label, self._total, self._unit, self._shown = label, total, unit, shown
        self._count = 0
        self._bar: Any = None
        self._lock = threading.Lock()
        self._due = time.monotonic() + 0.3

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def add(self, amount: int) -> None:
        if self._shown:
            with self._lock:
                self._move(self._count + amount)

    def reach(self, amount: int) -> None:
        if self._shown:
            with self._lock:
                self._move(amount)

    def _move(self, count: int) -> None:
        step, self._count = count - self._count, count
        if self._bar is not None:
            self._bar.update(step)
        elif time.monotonic() >= self._due and count < self._total:
            from tqdm import tqdm

            # A terminal that does not know its size says 0, and tqdm would draw nothing in it.
            known = 0 not in os.get_terminal_size(sys.stderr.fileno())
            self._bar = tqdm(
                total=self._total,
                initial=count,
                desc=self._label,
                unit=self._unit,
                unit_scale=True,
                leave=False,
                file=sys.stderr,
                **({"dynamic_ncols": True} if known else {"ncols": 80, "nrows": 24}),
            )


def size(count: int) -> str:
    """Bytes for a person: ``4.2 MB``."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < (1000 if unit == "B" else 999.95):
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Columns that line up; the columns named in ``right`` are numbers."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def plural(count: int, noun: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
