"""The state of one file while it is fetched: what of it is there, and one attempt at getting the rest."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from types import TracebackType

from assetmgr.digests import Hasher, hash_descriptor
from assetmgr.placing import clone_into
from assetmgr.transfer.connection import Answer
from assetmgr.transfer.evidence import evidence, validator
from assetmgr.transfer.follower import Follower
from assetmgr.transfer.journal import Header, Journal, Noted, forget_journal, is_part_of, name_url, read_journal
from assetmgr.transfer.judging import ChangedError, WrongBytesError, judge, wrong_digest
from assetmgr.transfer.partial import BUFFER, Partial
from assetmgr.transfer.parts import gives_parts, has_changed, is_whole_again, part_fault
from assetmgr.transfer.pieces import Claim, Pieces, piece_size
from assetmgr.transfer.pouring import pour
from assetmgr.transfer.retry import PassingError
from assetmgr.transfer.segments import Gathering, Helpers
from assetmgr.transfer.source import Fetched, Source, Task
from assetmgr.transfer.straight import take_straight
from assetmgr.transfer.urls import safe_url
from assetmgr.transfer.wire import LocalAnswer, Wire


class Gatherer:
    """One partial file, its journal and the threads at work on it. A context manager: all of them end with it."""

    def __init__(self, task: Task, wire: Wire, progress: Callable[[int], object], say: Callable[[str], object]) -> None:
        self._task, self._wire, self._limits = task, wire, wire.limits
        self._progress, self._say = progress, say
        self._algorithms = tuple(dict.fromkeys((*task.algorithms, *(["sha256"] if task.sha256 else []))))
        self._partial = Partial(task.partial)
        self._journal: Journal | None = None
        self._gathering: Gathering | None = None
        self._helpers: Helpers | None = None
        self._lock = threading.Lock()
        self._counted = 0
        self._is_mixed = False  # holds bytes of an earlier run or of another source
        self._without_ranges: set[str] = set()
        self._changed: tuple[Source, Answer] | None = None  # a whole file that came where a part was asked for
        self.gained = 0

    def __enter__(self) -> Gatherer:
        self._wire.join_streams(1, wanted=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wire.leave_streams(1)
        if self._changed is not None:
            self._changed[1].close()
        self._end()
        self._partial.close()

    # --- what is there already ------------------------------------------------------------------------------------

    def held(self) -> Fetched | None:
        """Look at what an earlier run left: the whole file, a part to go on with, or nothing of use."""
        task, partial = self._task, self._partial
        size = partial.size()
        noted = None
        if task.size is None or task.size >= self._limits.resume_from:
            noted = read_journal(task.partial)
        if noted is not None:
            urls = [source.url for source in task.sources]
            if noted.reach <= size and is_part_of(noted, urls, task.size, task.sha256):
                self._resume(noted)
                return None
            if any(noted.marks):
                self._say(f"{self._label()}what has arrived earlier is of another version; starting over")
            self.start_over()
        elif size and size == task.size and task.sha256:
            hasher = Hasher(self._algorithms, size=size)
            for offset in range(0, size, BUFFER):
                hasher.update(partial.read_at(offset, BUFFER))
            if hasher.count == size and hasher.digests()["sha256"] == task.sha256:
                self._count(size)
                return Fetched(size, hasher.digests(), {}, "", partial.status())
        return None

    def _resume(self, noted: Noted) -> None:
        self._journal = Journal(self._task.partial, noted.header, fresh=False)
        self._begin(noted.header, noted.marks)
        arrived = sum(noted.marks)
        if arrived:
            self._is_mixed = True
            self._count(arrived, gained=False)
            self._say(f"{self._label()}going on after {arrived:,} of {noted.header.size:,} bytes")

    def _begin(self, header: Header, marks: tuple[int, ...] | None) -> Gathering:
        assert self._journal is not None
        hasher = Hasher(self._algorithms, size=header.size)
        pieces = Pieces(header.size, header.piece, marks, self._journal.mark, self._limits.piece_most)
        follower = Follower(self._partial, hasher)
        follower.reach(pieces.frontier())
        self._gathering = Gathering(self._wire, self._partial, pieces, follower, self._count)
        return self._gathering

    # --- beginning anew, and ending -------------------------------------------------------------------------------

    def start_over(self) -> None:
        """Forget what has arrived."""
        self._end()
        forget_journal(self._task.partial)
        self._partial.clear()
        self.forget_count()
        self._is_mixed = False

    def forget_count(self) -> None:
        """Let the bar go back by what did not count."""
        with self._lock:
            counted, self._counted = self._counted, 0
        self._progress(-counted)

    def _end(self) -> None:
        if self._helpers is not None:
            self._helpers.close()
            self._helpers = None
        if self._gathering is not None:
            self._gathering.follower.close()
            self._gathering = None
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _count(self, amount: int, *, gained: bool = True) -> None:
        with self._lock:
            self._counted += amount
            if gained:
                self.gained += amount
        self._progress(amount)

    def _label(self) -> str:
        return f"{self._task.label}: " if self._task.label else ""

    # --- one attempt ----------------------------------------------------------------------------------------------

    def attempt(self, source: Source) -> Fetched:
        """Ask a source for what is missing, and take it.

        Raises
        ------
        PassingError
            When it is worth another attempt; what came is kept where the file has a journal.
        ChangedError
            When what had arrived is not a part of what the source has. It is forgotten.
        WrongBytesError
            When the whole file has other bytes than the lock says.
        OriginError, AccessError, IntegrityError
            When it is not.
        """
        header = self._journal.header if self._journal else None
        if header is not None and (
            source.url in self._without_ranges or (self._task.sha256 is None and name_url(source.url) != header.url)
        ):
            self.start_over()
        if self._gathering is not None:
            if self._helpers is not None and self._helpers.source != source:
                self._helpers.close()
                self._helpers = None
            return self._rest(source, None)
        answer = self._take_changed(source) or self._wire.ask(source)
        with contextlib.closing(answer):
            if answer.status != 200:
                raise PassingError(f"HTTP {answer.status} to a request for the whole file")
            size = judge(self._task, source, answer, self._wire.limits_of(source))
            forget_journal(self._task.partial)
            self._partial.clear()
            self.forget_count()
            if size is None or size < self._limits.resume_from:
                hasher = Hasher(self._algorithms, size=size)

                def write(data: memoryview) -> None:
                    self._partial.write_at(hasher.count - len(data), data)

                take_straight(self._task, source, answer, self._wire, write, hasher, self._count)
                return self._proved(source, answer, hasher.count, hasher.digests())
            if isinstance(answer, LocalAnswer) and clone_into(answer.descriptor, self._partial.descriptor):
                return self._proved(source, answer, *self._hash_clone())
            piece = piece_size(size, self._limits)
            header = Header(name_url(source.url), size, validator(answer.headers), piece, self._task.sha256)
            self._journal = Journal(self._task.partial, header, fresh=True)
            self._begin(header, None)
            return self._rest(source, answer)

    def _hash_clone(self) -> tuple[int, Mapping[str, str]]:
        """Hash what shares its blocks with a local file. Whoever writes into that one from now on changes it alone."""
        bucket = self._wire.bucket

        def done(count: int) -> None:
            self._wire.check()
            bucket.take(count)
            self._count(count)

        size = self._partial.size()
        count, digests = hash_descriptor(self._partial.descriptor, self._algorithms, size=size, progress=done)
        if self._task.size not in (None, count):
            raise PassingError(f"it has {count} bytes by now")
        return count, digests

    def _take_changed(self, source: Source) -> Answer | None:
        changed, self._changed = self._changed, None
        if changed is None or changed[0] == source:
            return changed and changed[1]
        changed[1].close()
        return None

    def _rest(self, source: Source, answer: Answer | None) -> Fetched:
        """Take the pieces that are missing; the first stream of a file runs on from piece to piece."""
        assert self._gathering is not None
        pieces, follower = self._gathering.pieces, self._gathering.follower
        last = answer
        while not pieces.is_whole():
            claim = pieces.claim(self._streams())
            if claim is None:
                pieces.wait(0.1)
            else:
                try:
                    last = answer = answer or self._ask_part(source, claim)
                except BaseException:
                    pieces.release(claim)
                    raise
                with contextlib.closing(answer):
                    helpers = self._helpers or self._hire(source, answer)
                    pour(self._task, source, answer, claim, self._gathering, helpers)
                answer = None
            self._wire.check()
            if self._helpers is not None and self._helpers.error is not None:
                raise self._helpers.error
        return self._proved(source, last, pieces.size, follower.finish(pieces.size))

    def _streams(self) -> int:
        return 1 + (self._helpers.alive() if self._helpers is not None else 0)

    def _valid(self, source: Source) -> str:
        """What to hold a source to: the etag that it gave itself. Another source's etags mean nothing to it."""
        assert self._journal is not None
        header = self._journal.header
        return header.etag if header.url.startswith(safe_url(source.url) + "#") else ""

    def _ask_part(self, source: Source, claim: Claim) -> Answer:
        assert self._gathering is not None
        pieces, valid = self._gathering.pieces, self._valid(source)
        size, end = pieces.size, pieces.run(claim) if self._streams() == 1 else claim.end
        answer = self._wire.ask(source, claim.start, None if end == size else end, valid)
        if claim.start == 0 and end == size and is_whole_again(answer, size, valid):
            return answer
        fault = part_fault(answer, claim.start, end, size, valid)
        if fault is None:
            if not valid:
                self._is_mixed = True
            return answer
        changed = has_changed(answer, size, valid)
        if not changed:
            self._without_ranges.add(source.url)
        if answer.status == 200:
            # What was asked for is not to be had; what came instead is the whole file, and can be used.
            self._changed = (source, answer)
            fault = fault if changed else "the server gives no parts of a file"
        else:
            answer.close()
        if changed:
            fault = f"the file has changed: {fault}"
        self.start_over()
        raise ChangedError(fault)

    def _hire(self, source: Source, answer: Answer) -> Helpers | None:
        """Streams besides the first, where the server gives parts and something will tell if they do not fit."""
        assert self._gathering is not None
        assert self._journal is not None
        valid = self._valid(source)
        if (
            not gives_parts(answer)
            or answer.length is None
            or source.url.startswith("file:")
            or self._gathering.pieces.size < self._limits.split_from
            or not (valid or self._task.sha256)
        ):
            return None
        self._helpers = Helpers(self._gathering, source, valid)
        return self._helpers

    def _proved(self, source: Source, answer: Answer | None, size: int, digests: Mapping[str, str]) -> Fetched:
        task = self._task
        said = {} if answer is None else evidence(answer.headers, part=answer.status == 206)
        if fault := wrong_digest(task, digests, said):
            raise WrongBytesError(fault, is_fresh=not self._is_mixed, start=self._partial.read_at(0, 1024))
        said = {name: digest for name, digest in said.items() if digests.get(name, digest) == digest}
        if self._journal is not None and answer is None and self._journal.header.etag.startswith('"'):
            said["etag"] = self._journal.header.etag
        self._end()
        forget_journal(task.partial)
        digests = {name: digests[name] for name in self._algorithms}
        return Fetched(size, digests, said, source.url, self._partial.status())
