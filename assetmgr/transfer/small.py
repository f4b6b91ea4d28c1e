"""A small file whose size the lock names: gathered in memory, and written in one go when it is whole and right.

Nothing of it is ever on disk before that, so there is nothing to go on with, to forget or to lock inside: with many
thousands of files, that is most of the work.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from types import TracebackType

from assetmgr.digests import Hasher
from assetmgr.placing import remove_file
from assetmgr.transfer.evidence import evidence
from assetmgr.transfer.journal import forget_journal
from assetmgr.transfer.judging import WrongBytesError, judge, wrong_digest
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.partial import read_own, write_own
from assetmgr.transfer.retry import PassingError
from assetmgr.transfer.source import Fetched, Source, Task
from assetmgr.transfer.straight import take_straight
from assetmgr.transfer.wire import Wire

_MOST = 1 << 20


def is_small(task: Task, limits: Limits) -> bool:
    """Whether a file is fetched in this way."""
    return task.size is not None and task.size < min(limits.resume_from, _MOST)


class SmallFile:
    """One small file. The same to its caller as a `gather.Gatherer`."""

    def __init__(self, task: Task, wire: Wire, progress: Callable[[int], object]) -> None:
        self._task, self._wire, self._progress = task, wire, progress
        self.gained = 0
        self._counted = 0

    def __enter__(self) -> SmallFile:
        self._wire.join_streams(1, wanted=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wire.leave_streams(1)

    def held(self) -> Fetched | None:
        """What an earlier run left, if it is the file. If not, it is removed."""
        task = self._task
        if not os.path.lexists(task.partial):
            return None
        found = read_own(task.partial, task.size or 0)
        if found is not None and task.sha256:
            data, status = found
            hasher = self._hasher()
            hasher.update(data)
            digests = hasher.digests()
            if status.st_size == task.size and wrong_digest(task, digests, {}) is None:
                forget_journal(task.partial)
                self._count(len(data))
                return Fetched(len(data), digests, {}, "", status)
        self.start_over()
        return None

    def start_over(self) -> None:
        """Forget what an earlier run left, and what has arrived."""
        forget_journal(self._task.partial)
        remove_file(self._task.partial)
        self.forget_count()

    def forget_count(self) -> None:
        """Let the bar go back by what did not count."""
        counted, self._counted = self._counted, 0
        if counted:
            self._progress(-counted)

    def _count(self, amount: int) -> None:
        self._counted += amount
        self.gained += amount
        self._progress(amount)

    def _hasher(self) -> Hasher:
        task = self._task
        algorithms = task.algorithms
        if task.sha256 and "sha256" not in algorithms:
            algorithms = (*algorithms, "sha256")
        return Hasher(algorithms, size=task.size)

    def attempt(self, source: Source) -> Fetched:
        """Ask a source for the file. Raises what `gather.Gatherer.attempt` raises, but for what comes in parts."""
        task, wire = self._task, self._wire
        self.forget_count()
        with contextlib.closing(wire.ask(source)) as answer:
            if answer.status != 200:
                raise PassingError(f"HTTP {answer.status} to a request for the whole file")
            judge(task, source, answer, wire.limits_of(source))
            data, hasher = bytearray(), self._hasher()
            take_straight(task, source, answer, wire, data.extend, hasher, self._count)
            said = evidence(answer.headers)
        digests = hasher.digests()
        if fault := wrong_digest(task, digests, said):
            raise WrongBytesError(fault, is_fresh=True, start=bytes(data[:1024]))
        said = {name: digest for name, digest in said.items() if digests.get(name, digest) == digest}
        status = write_own(task.partial, data)
        return Fetched(hasher.count, digests, said, source.url, status)
