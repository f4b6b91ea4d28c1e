"""Bars on a terminal: how far the whole is, and a line for each file in flight. They leave nothing behind."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any, TextIO

from tqdm import tqdm
from tqdm.utils import disp_len

from assetmgr.cli import streams

# Work that is done sooner needs no bar.
_MOMENT = 0.3
# What stands behind a label: the share, the bytes, the time left and the rate.
_FIGURES = 48
_LEAST = 10


class Bars:
    """The bars of one command. Thread-safe.

    A file's line stands in the highest free row. Where the terminal has no more, it is not shown; there are no more
    lines than files move at once.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.RLock()
        self._rows: dict[int, tqdm[Any]] = {}
        self._is_open = True
        tqdm.set_lock(threading.RLock())  # its own would be shared with processes that we do not have
        tqdm.monitor_interval = 0  # nor is a thread of its own needed

    def whole(self, label: str, total: int, unit: str = "B") -> Bar:
        return Bar(self, label, total, unit)

    def file(self, label: str, total: int) -> Bar:
        return Bar(self, f"  {label}", total)

    def show(self, label: str, total: int, unit: str, count: int, begun: float) -> tqdm[Any] | None:
        """Put a bar into a row, where there is one. The work began before it, at ``begun`` of the clock."""
        with self._lock:
            # A terminal that does not know its size says 0, and tqdm would draw nothing in it.
            size = streams.size(self._stream)
            row = next(number for number in range(len(self._rows) + 1) if number not in self._rows)
            if not self._is_open or row >= (size.lines if size else 24) - 1:
                return None
            self._rows[row] = bar = _Line(
                total=total if total > 0 else None,
                desc=label,
                delay=_MOMENT,  # it has passed: only, nothing is drawn before the count is known
                unit=unit,
                unit_scale=True,
                leave=False,
                position=row,
                file=self._stream,
                **({"dynamic_ncols": True} if size else {"ncols": 80, "nrows": 24}),
            )
            bar.start_t = bar.last_print_t = begun
            _quietly(lambda: bar.update(count))
            _quietly(bar.refresh)
            return bar

    def remove(self, bar: tqdm[Any]) -> None:
        """Take a bar off the screen."""
        with self._lock:
            for row, shown in list(self._rows.items()):
                if shown is bar:
                    del self._rows[row]
                    _quietly(bar.close)

    def move(self, bar: tqdm[Any], step: int) -> None:
        with self._lock:
            if bar in self._rows.values():
                _quietly(lambda: bar.update(step))

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Bars are off the screen while something else is written."""
        with self._lock:
            if not self._rows:
                yield
                return
            with contextlib.ExitStack() as stack:
                with contextlib.suppress(OSError):
                    stack.enter_context(tqdm.external_write_mode(file=self._stream))
                yield

    def close(self) -> None:
        """Take all off the screen; nothing more is shown."""
        with self._lock:
            self._is_open = False
            for bar in reversed(list(self._rows.values())):
                self.remove(bar)


class Bar:
    """A bar that appears only when the work takes a moment."""

    def __init__(self, bars: Bars, label: str, total: int, unit: str = "B") -> None:
        self._bars, self._label, self._total, self._unit = bars, label, total, unit
        self._count = 0
        self._bar: tqdm[Any] | None = None
        self._lock = threading.Lock()
        self._begun = time.time()  # tqdm's clock
        self._due = time.monotonic() + _MOMENT

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._due = float("inf")
            if self._bar is not None:
                self._bars.remove(self._bar)
                self._bar = None

    def add(self, amount: int) -> None:
        with self._lock:
            self._move(self._count + amount)

    def reach(self, amount: int) -> None:
        with self._lock:
            self._move(amount)

    def _move(self, count: int) -> None:
        step, self._count = count - self._count, count
        if self._bar is not None:
            self._bars.move(self._bar, step)
        elif time.monotonic() >= self._due and (count < self._total or self._total <= 0):
            self._bar = self._bars.show(self._label, self._total, self._unit, count, self._begun)


class _Line(tqdm):  # type: ignore[type-arg] # generic for a checker alone
    """A bar whose label is cut to the terminal's width, and not its figures: of a path the end tells more."""

    @property
    def format_dict(self) -> Any:
        told = super().format_dict
        label, room = told["prefix"], max((told["ncols"] or 80) - _FIGURES, _LEAST)
        if disp_len(label) > room:
            cut = label.lstrip()
            while disp_len(cut) > room - 3:
                cut = cut[1:]
            told["prefix"] = f"...{cut}"
        return told


def _quietly(draw: Any) -> None:
    """A terminal that is gone is drawn on no more."""
    with contextlib.suppress(OSError, ValueError):
        draw()
