"""Verification in parts: as much as a time budget allows, going on where the last run stopped.

Everything is looked at, which takes moments; what is hashed is decided by `assetmgr.budget`. Proofs are written down as
they are made: their times in the receipts are all that the next run needs to know, also after a kill.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from assetmgr.budget import Due, in_turn, is_begun, rate_of, shares
from assetmgr.digests import in_parallel
from assetmgr.errors import AssetError, about
from assetmgr.lock import LockedFile
from assetmgr.prover import Prover
from assetmgr.receipt import Receipt, Stamp
from assetmgr.reporting import Progress, Reporter
from assetmgr.store import Layout, Store
from assetmgr.verify import Finding, absent, prove

# Seconds between two times that proofs are written down.
_KEPT_EACH = 10.0


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far a run with a budget came. Names of one and the same file on the disk count once.

    Attributes
    ----------
    seconds
        How long it took.
    files, bytes
        What was hashed.
    left_files, left_bytes
        What was not.
    unproved_files
        How many of those left have no proof at all.
    oldest_proof
        When the file was proved whose proof is the oldest now (Unix seconds); None where there is none.
    """

    seconds: float
    files: int
    bytes: int
    left_files: int
    left_bytes: int
    unproved_files: int
    oldest_proof: int | None


@dataclass(slots=True)
class _Content:
    """One file on the disk, and who names it: a receipt's number, the file's number in it, and its stamp."""

    file: LockedFile
    path: str
    proved_at: int | None
    names: list[tuple[int, int, Stamp | None]] = field(default_factory=list)


class Nightly:
    """One such run over several receipts."""

    def __init__(self, store: Store, prover: Prover, reporter: Reporter, budget: float) -> None:
        self._store, self._prover, self._reporter, self._budget = store, prover, reporter, budget
        self._started = time.monotonic()
        self._receipts: list[Receipt] = []
        self._found: list[list[Finding]] = []
        self._contents: list[_Content] = []
        self._known: dict[tuple[int, int, str | None], _Content] = {}
        self._fresh: list[dict[int, tuple[Stamp | None, Stamp | None]]] = []
        self._results: dict[int, Stamp | tuple[str, str]] = {}
        self._lock = threading.Lock()
        self.errors: list[AssetError] = []

    def run(self, receipts: Sequence[Receipt]) -> list[tuple[Receipt, list[Finding]]]:
        """Look at everything, hash what is due; return each receipt with what is wrong."""
        for receipt in receipts:
            try:
                self._look(receipt)
            except AssetError as error:
                self.errors.append(about(error, receipt.entry.name))
        files = (Due(one.file.size, one.proved_at, number) for number, one in enumerate(self._contents))
        unproved, proved = in_turn(files, time.time_ns())
        total = sum(one.file.size for one in self._contents)
        try:
            with self._reporter.progress("verifying", total) as bar:
                for due, end in zip(
                    (unproved, proved), shares(self._budget, is_anything_proved=bool(proved)), strict=True
                ):
                    self._hash(due, end, bar)
        finally:
            self._keep()
        return list(zip(self._receipts, self._found, strict=True))

    def _look(self, receipt: Receipt) -> None:
        """What can be told of an entry without hashing any of it."""
        entry, contents, layout = receipt.entry, self._store.contents(receipt.entry), Layout(receipt.entry)
        number = len(self._receipts)
        found = self._prover.look_beside(receipt)
        fresh: dict[int, tuple[Stamp | None, Stamp | None]] = {}
        known = contents.of_receipt(receipt.stamps)
        for at, (file, stamp) in enumerate(zip(contents.files, known, strict=True)):
            path = self._store.at(layout.name(file))
            fault: tuple[str, str] | Stamp
            try:
                status = os.stat(path)
            except OSError:
                fault = absent(self._store, layout, file)
            else:
                if status.st_size == file.size:
                    content = self._content((status.st_dev, status.st_ino, file.sha256), file, path)
                    proof = stamp.proved_at if stamp is not None and stamp.fits(status) else None
                    if not content.names:
                        content.proved_at = proof
                    elif content.proved_at is not None:
                        content.proved_at = None if proof is None else min(proof, content.proved_at)
                    content.names.append((number, at, stamp))
                    continue
                fault = prove(path, file)  # of another size: that takes no hashing
            if isinstance(fault, tuple):
                found.append(Finding(entry.name, file.path, *fault))
                fresh[at] = (stamp, None)
        self._receipts.append(receipt)
        self._found.append(found)
        self._fresh.append(fresh)

    def _content(self, key: tuple[int, int, str | None], file: LockedFile, path: str) -> _Content:
        if key not in self._known:
            self._known[key] = _Content(file, path, None)
            self._contents.append(self._known[key])
        return self._known[key]

    def _hash(self, due: Sequence[Due], end: float, bar: Progress) -> None:
        """Hash files of one sort, in their order, until the end of its turn."""
        pace = _Pace(self._started, end)
        kept = time.monotonic()

        def work(one: Due) -> Stamp | tuple[str, str] | None:
            with pace.begun(one.size) as is_wanted:
                if not is_wanted:
                    return None
                content = self._contents[one.key]

                def count(amount: int) -> None:
                    pace.count(amount)
                    bar.add(amount)

                return prove(content.path, content.file, count)

        for one, result in in_parallel(work, due):
            if result is None:
                continue
            content, self._results[one.key] = self._contents[one.key], result
            stamp = result if isinstance(result, Stamp) else None
            for number, at, old in content.names:
                self._fresh[number][at] = (old, stamp)
                if isinstance(result, tuple):
                    entry = self._receipts[number].entry
                    file = self._store.contents(entry).files[at]
                    self._found[number].append(Finding(entry.name, file.path, *result))
            if time.monotonic() - kept > _KEPT_EACH:
                self._keep()
                kept = time.monotonic()

    def _keep(self) -> None:
        for number, receipt in enumerate(self._receipts):
            fresh, self._fresh[number] = self._fresh[number], {}
            if fresh:
                self._prover.keep(receipt, fresh)

    def coverage(self) -> Coverage:
        done = [self._contents[key] for key in self._results]
        left = [one for key, one in enumerate(self._contents) if key not in self._results]
        times = [stamp.proved_at for stamp in self._results.values() if isinstance(stamp, Stamp)]
        times += [one.proved_at for one in left if one.proved_at is not None]
        return Coverage(
            round(time.monotonic() - self._started, 3),
            len(done),
            sum(one.file.size for one in done),
            len(left),
            sum(one.file.size for one in left),
            sum(one.proved_at is None for one in left),
            min(times, default=None),
        )


class _Pace:
    """Whether another file is begun, by how fast files were hashed so far. Called from several threads."""

    def __init__(self, started: float, end: float) -> None:
        self._started, self._end = started, end
        self._lock = threading.Lock()
        self._bytes = 0
        self._busy = 0.0
        self._running: dict[int, float] = {}
        self._is_over = False
        self._is_first = True

    def count(self, amount: int) -> None:
        with self._lock:
            self._bytes += amount

    @contextlib.contextmanager
    def begun(self, size: int) -> Iterator[bool]:
        """Whether a file of so many bytes is begun; once one is not, none is, so that nobody overtakes."""
        me = threading.get_ident()
        with self._lock:
            now = time.monotonic()
            busy = self._busy + sum(now - since for since in self._running.values())
            rate, spent = rate_of(self._bytes, busy), now - self._started
            is_wanted = not self._is_over and is_begun(
                size, is_first=self._is_first, spent=spent, end=self._end, rate=rate
            )
            self._is_first, self._is_over = False, not is_wanted
            if is_wanted:
                self._running[me] = now
        try:
            yield is_wanted
        finally:
            with self._lock:
                if me in self._running:
                    self._busy += time.monotonic() - self._running.pop(me)
