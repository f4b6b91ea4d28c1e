"""Who was asked for what, a line a request, to the logger ``assetmgr.http``: what `-v` shows. No line has a secret.

Nothing of a request's headers is told, and of a URL no user, no password, and no value of its query but those known to
be harmless: a signature may have any name.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from assetmgr.transfer.connection import Answer
from assetmgr.transfer.urls import clean, printable, safe_url

_LOG = logging.getLogger("assetmgr.http")

_HARMLESS = frozenset({"recursive", "expand", "limit", "blobs", "alt", "download", "full", "files_metadata"})
# What is a token by its looks, wherever it stands.
_TOKEN = re.compile(r"\b(?:hf|api_org|gh[a-z]|github_pat|glpat|sk|xox[a-z])[_-][A-Za-z0-9_-]{8,}")


def is_wanted() -> bool:
    """Whether anybody looks."""
    return _LOG.isEnabledFor(logging.DEBUG)


def told_url(url: str) -> str:
    """A URL as it may be shown, with the names of what its query asks for."""
    shown = safe_url(url).removesuffix("?...")
    try:
        query = urlsplit(url).query
    except ValueError:
        query = ""
    pairs = []
    for part in query.split("&") if query else ():
        name, equals, value = part.partition("=")
        if not equals:
            pairs.append("***")
        else:
            pairs.append(f"{name}={value if name in _HARMLESS and value.isalnum() else '***'}")
    return printable(_TOKEN.sub("***", shown + ("?" + "&".join(pairs) if pairs else "")))


def tell(method: str, url: str, came: str, *, size: int = 0, seconds: float = 0.0, whose: str = "") -> None:
    """Tell of one request that is over. ``came`` is the status, or what went wrong; ``whose`` says who was asked."""
    if is_wanted():
        came = _TOKEN.sub("***", clean(came))
        who = f", {whose}" if whose else ""
        _LOG.debug("%s %s: %s, %s bytes, %.2f s%s", method, told_url(url), came, f"{size:,}", seconds, who)


def traced(url: str, whose: str, ask: Callable[[], Answer], method: str = "GET") -> Answer:
    """Ask, and tell of the request when its answer is done with."""
    if not is_wanted():
        return ask()
    begun = time.monotonic()
    try:
        answer = ask()
    except Exception as error:
        tell(method, url, f"{type(error).__name__}: {error}", seconds=time.monotonic() - begun, whose=whose)
        raise
    return _TracedAnswer(answer, url, whose, begun, method)


class _TracedAnswer:
    """An answer whose bytes are counted."""

    def __init__(self, answer: Answer, url: str, whose: str, begun: float, method: str) -> None:
        self._answer, self._url, self._whose, self._begun, self._method = answer, url, whose, begun, method
        self.status, self.url, self.headers = answer.status, answer.url, answer.headers
        self._count = 0
        self._is_told = False

    @property
    def length(self) -> int | None:
        return self._answer.length

    def receive(self, view: memoryview) -> int:
        count = self._answer.receive(view)
        self._count += count
        return count

    def close(self) -> None:
        self._answer.close()
        if not self._is_told:
            self._is_told = True
            part = self.headers.get("Content-Range", "") if self.status == 206 else ""
            came = f"{self.status} ({part})" if part else str(self.status)
            seconds = time.monotonic() - self._begun
            tell(self._method, self._url, came, size=self._count, seconds=seconds, whose=self._whose)

    def cut(self) -> None:
        self._answer.cut()
