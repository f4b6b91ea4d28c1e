"""A file that is small, or whose size nobody knows: in one go and one thread, as that is quickest for it."""

from __future__ import annotations

from collections.abc import Callable

from assetmgr.digests import Hasher
from assetmgr.errors import IntegrityError
from assetmgr.transfer.connection import Answer
from assetmgr.transfer.judging import refuse_page
from assetmgr.transfer.partial import BUFFER
from assetmgr.transfer.rate import Pace
from assetmgr.transfer.retry import PassingError
from assetmgr.transfer.source import Source, Task
from assetmgr.transfer.urls import safe_url
from assetmgr.transfer.wire import Wire


def take_straight(
    task: Task,
    source: Source,
    answer: Answer,
    wire: Wire,
    write: Callable[[memoryview], object],
    hasher: Hasher,
    count_in: Callable[[int], object],
) -> None:
    """Write all that an answer brings, piece after piece, and hash it.

    Raises
    ------
    PassingError
        When the body ends early.
    IntegrityError
        When it does not end where it must. Nothing beyond is written.
    """
    bucket, expected = wire.bucket, answer.length
    limits = wire.limits_of(source)
    most = limits.largest if task.size is None else task.size
    view = memoryview(bytearray(max(1, min(BUFFER, BUFFER if expected is None else expected))))
    pace = Pace(limits)
    while True:
        room = most - hasher.count
        if room == 0 and answer.length == 0:
            break
        # With no room left, one byte is asked for: it is the end, or too much.
        count = answer.receive(view[: bucket.portion(min(len(view), room or 1))])
        if not count:
            break
        if not room:
            raise IntegrityError(f"{safe_url(source.url)}: more than the {most} bytes expected")
        wire.check()
        if not hasher.count:
            refuse_page(task, source, view[:count])
        hasher.update(view[:count])
        write(view[:count])
        count_in(count)
        pace.count(count, bucket.take(count))
    wanted = task.size if expected is None else expected
    if wanted is not None and hasher.count != wanted:
        raise PassingError(f"the body ended after {hasher.count} of {wanted} bytes")
