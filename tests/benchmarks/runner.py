"""Runs ours and the peer's by turns, and sets the medians side by side.

The machine is shared and noisy, so the sides alternate (A B A B), medians are compared, and a noisy measurement goes on
for longer. Nothing fails for being slow: whether a bound holds is a word in the table.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NOISY = 0.05
"""A side whose middle half spreads wider than this share of its median is run again."""

Run = Callable[[], float]
"""Does the thing once; returns what it took, in seconds."""


@dataclass(frozen=True)
class Row:
    """One line of the table. ``holds`` is None where there is no bound."""

    what: str
    ours: str
    peer: str
    ratio: str
    bound: str = "-"
    holds: bool | None = None


@dataclass
class Bench:
    """What a benchmark works with.

    Attributes
    ----------
    place
        A folder for what it makes; removed after it.
    quick
        Smaller, fewer rounds: to see that it works, not to quote.
    notes
        Sentences printed below the table.
    """

    place: Path
    quick: bool = False
    notes: list[str] = field(default_factory=list)

    def rounds(self, count: int) -> int:
        return min(count, 3) if self.quick else count

    def note(self, text: str) -> None:
        self.notes.append(text)


def alternate(rounds: int, **sides: Run) -> dict[str, float]:
    """Run every side once a round; return each side's median in seconds.

    A first round is thrown away (cold caches, .pyc files). While a side is noisy, up to as many rounds are added.
    """
    for run in sides.values():
        run()
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for done in range(1, 2 * rounds + 1):
        for name, run in sides.items():
            taken[name].append(run())
        if done >= rounds and all(_spread(seconds) <= NOISY for seconds in taken.values()):
            break
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _spread(seconds: Sequence[float]) -> float:
    if len(seconds) < 4:
        return 0.0
    low, middle, high = statistics.quantiles(seconds, n=4)
    return (high - low) / middle


def process(
    *command: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    before: Callable[[], object] | None = None,
) -> Run:
    """A whole process, from its start to its end. ``before`` makes ready and is not counted.

    Raises
    ------
    RuntimeError
        When the command fails: a fast failure is not a time.
    """

    def run() -> float:
        if before is not None:
            before()
        with tempfile.TemporaryFile() as words:
            started = time.perf_counter()
            code = subprocess.run(
                [str(part) for part in command],
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=words,
                check=False,
            ).returncode
            taken = time.perf_counter() - started
            if code:
                words.seek(0)
                raise RuntimeError(f"{' '.join(map(str, command))}: {code}\n{words.read().decode(errors='replace')}")
        return taken

    return run


def at_most(what: str, ours: float, peer: float, bound: float | None) -> Row:
    """A row of two times, of which the lower is the better."""
    ratio = ours / peer
    if bound is None:
        return Row(what, seconds(ours), seconds(peer), f"{ratio:.3f}")
    return Row(what, seconds(ours), seconds(peer), f"{ratio:.3f}", f"<= {bound:g}", ratio <= bound)


def seconds(value: float) -> str:
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"


def table(rows: Sequence[Row]) -> str:
    """The rows as plain text, in columns."""
    cells = [("what", "ours", "peer", "ratio", "bound", "holds")]
    said = {True: "yes", False: "NO", None: "-"}
    cells += [(row.what, row.ours, row.peer, row.ratio, row.bound, said[row.holds]) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(6)]
    lines = []
    for line in cells:
        first, *middle, last = (
            text.ljust(width) if column in (0, 5) else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        lines.append("  ".join((first, *middle, last)).rstrip())
    return "\n".join(lines)
