"""The one retry policy: what is tried again, and when."""

from __future__ import annotations

import re
import time

from assetmgr.errors import OriginError
from assetmgr.transfer.evidence import Headers
from assetmgr.transfer.limits import Limits

# A server that is busy or broken for now. Everything else it says is an answer.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class PassingError(Exception):
    """A failure that may pass: worth another attempt.

    ``asked`` is the server's Retry-After; ``mend`` is what to do where it never passes, and more than to wait is known.
    """

    def __init__(self, why: str, asked: str | None = None, *, mend: str = "") -> None:
        super().__init__(why)
        self.asked = asked
        self.mend = mend


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110 10.2.3: seconds or a date), or None."""
    if not value:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    import email.utils  # rarely needed, and not cheap

    try:
        date = email.utils.parsedate_to_datetime(value)
        return max(0.0, date.timestamp() - now)
    except (TypeError, ValueError, OverflowError):
        return None


def window_end(headers: Headers) -> str:
    """Seconds until a server that counts requests counts anew, where it says that none is left; else nothing.

    The ``RateLimit`` field of the IETF's draft, as the Hugging Face hub sends it: ``"api";r=0;t=55``.
    """
    ends = []
    for policy in _POLICY.findall(headers.get("RateLimit", "")):
        parameters = _QUOTED.sub("", policy)
        end = _WINDOW.search(parameters)
        if end and _NONE_LEFT.search(parameters):
            ends.append(end[1])
    return max(ends, key=int, default="")


# Of several policies, each has its own parameters.
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_POLICY = re.compile(rf'(?:{_QUOTED.pattern}|[^",])+')
_NONE_LEFT = re.compile(r";\s*r=0\s*(?:;|$)", re.ASCII)
_WINDOW = re.compile(r";\s*t=([0-9]{1,9})\s*(?:;|$)", re.ASCII)


def delay(attempt: int, asked: str | None, limits: Limits, *, now: float | None = None) -> float | None:
    """How long to wait after the given attempt (the first is 1) failed; None: do not try again.

    A server's Retry-After is honoured up to ``limits.retry_after_most``; one that asks for more has said no.
    """
    if attempt >= limits.attempts:
        return None
    wanted = retry_after(asked, time.time() if now is None else now)
    if wanted is not None:
        return wanted if wanted <= limits.retry_after_most else None
    import random

    most: float = min(limits.backoff * 2 ** (attempt - 1), limits.backoff_most)
    return most * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret


class Attempts:
    """The failures of one source of one file. An attempt that got on begins the count anew, up to a bound."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._vain = 0
        self.total = 0

    def failed(self, gained: int, asked: str | None) -> float | None:
        """Count a failed attempt that brought ``gained`` bytes; return the wait before the next, or None."""
        self.total += 1
        self._vain = 1 if gained >= self._limits.progress_least else self._vain + 1
        if self.total >= self._limits.attempts_most:
            return None
        return delay(self._vain, asked, self._limits)

    def given_up(self, error: PassingError) -> OriginError:
        """The last failure as a final one, with how often it was tried."""
        times = "once" if self.total == 1 else f"{self.total} times"
        asked = f", which asks to come back after {error.asked[:40]!r}" if error.asked else ""
        mend = error.mend or "repeat the command when the server is well again"
        return OriginError(f"{error}{asked}, {times}", mend=mend)
