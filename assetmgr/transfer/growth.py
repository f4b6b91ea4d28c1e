"""How many streams a file is given: one while it is fast, more while each is slow and more of them bring more."""

from __future__ import annotations

from assetmgr.transfer.limits import Limits

# How far below what is slow the flow must be for all streams to be had at once; by how much it must have grown for a
# step to have been worth it; how many steps may be in vain, for the flow before the first may have been a burst.
_CRAWL = 0.25
_WORTH = 1.15
_VAIN = 2


class Growth:
    """Decides from one look at the flow to the next."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._before: float | None = None  # the flow when streams were last added
        self._vain = 0
        self._was_slow = False

    def wanted(self, flow: float, streams: int) -> int:
        """How many streams to add to so many, which together bring ``flow`` bytes a second."""
        if self._before is not None:
            self._vain = self._vain + 1 if flow < self._before * _WORTH else 0
            self._before = None
        if self._vain == _VAIN:
            return 0
        each, slow = flow / streams, self._limits.slow
        is_slow, was_slow, self._was_slow = each < slow, self._was_slow, each < slow
        if each < _CRAWL * slow:
            more = self._limits.connections - streams
        elif is_slow and was_slow:  # twice in a row: one look may have been at a bad moment
            more = min(streams, self._limits.connections - streams)
        else:
            return 0
        if more > 0:
            self._before, self._was_slow = flow, False
        return max(more, 0)
