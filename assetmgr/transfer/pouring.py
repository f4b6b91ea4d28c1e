"""The first stream of a file: what one answer brings, from piece to piece, while nobody else has the next one."""

from __future__ import annotations

import time

from assetmgr.errors import IntegrityError
from assetmgr.transfer.connection import Answer
from assetmgr.transfer.judging import refuse_page
from assetmgr.transfer.pieces import Claim
from assetmgr.transfer.rate import Pace
from assetmgr.transfer.retry import PassingError
from assetmgr.transfer.segments import Gathering, Helpers
from assetmgr.transfer.source import Source, Task
from assetmgr.transfer.urls import safe_url


def pour(task: Task, source: Source, answer: Answer, claim: Claim, at: Gathering, helpers: Helpers | None) -> None:
    """Take what an answer brings, beginning at the claim. The claim, or the one it ran on into, is given back.

    The order of the steps is what makes a kill harmless: the data, then its mark.

    Raises
    ------
    PassingError
        When the body ends early, or the connection breaks or stalls.
    IntegrityError
        When it goes on after the file's end.
    """
    pieces, follower = at.pieces, at.follower
    pace = Pace(at.wire.limits_of(source))
    try:
        while True:
            offset = claim.at
            buffer = follower.borrow()
            view = memoryview(buffer)
            try:
                began = time.monotonic()
                count, waited, fault = at.wire.fill(answer, view[: claim.end - offset])
                received = time.monotonic() - began - waited
                if not count:
                    raise PassingError(f"the body ended after {offset} of {pieces.size} bytes")
                if not offset:
                    refuse_page(task, source, view[:count])
                at.partial.write_at(offset, view[:count])
            except BaseException:
                follower.give_back(buffer)
                raise
            follower.offer(offset, buffer, count)
            pieces.advance(claim, count)
            follower.reach(pieces.frontier())
            at.count(count)
            if fault is not None:
                raise fault
            pace.count(count, waited)
            if helpers is not None:
                helpers.look(claim, received)
            if claim.at == claim.end:
                if claim.end == pieces.size:
                    _expect_end(source, answer, pieces.size)
                    return
                streams = 1 + (helpers.alive() if helpers is not None else 0)
                if answer.length == 0 or (following := pieces.follow(claim, streams)) is None:
                    return
                claim = following
    finally:
        pieces.release(claim)


def _expect_end(source: Source, answer: Answer, size: int) -> None:
    if answer.length is None and answer.receive(memoryview(bytearray(1))):
        raise IntegrityError(f"{safe_url(source.url)}: more than the {size} bytes expected")
