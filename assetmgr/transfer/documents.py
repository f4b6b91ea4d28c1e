"""A small document, such as an API's answer, into memory: asked as patiently as a file is, and never half of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from assetmgr.errors import OriginError
from assetmgr.transfer.connection import Answer
from assetmgr.transfer.evidence import Headers, content_range
from assetmgr.transfer.rate import Pace
from assetmgr.transfer.retry import Attempts, PassingError
from assetmgr.transfer.source import Source
from assetmgr.transfer.urls import safe_url
from assetmgr.transfer.wire import Wire

_CHUNK = 256 << 10
_T = TypeVar("_T")


class Document(NamedTuple):
    """The body, the answer's headers, and the URL that gave it, after redirects."""

    data: bytes
    headers: Headers
    url: str


def read_document(source: Source, wire: Wire, *, most: int, label: str, say: Callable[[str], object]) -> Document:
    """Ask for a document until it is there.

    Parameters
    ----------
    most
        In bytes. More than that is refused.

    Raises
    ------
    AccessError, OriginError
    """
    where = safe_url(source.url)

    def read() -> Document:
        with contextlib.closing(wire.ask(source)) as answer:
            if answer.status != 200:
                raise OriginError(f"{label}: {where}: HTTP {answer.status} to a request for the whole document")
            body = _body(answer, most, where, Pace(wire.limits_of(source)))
            return Document(body, answer.headers, answer.url)

    return _patiently(read, wire, source, f"{label}: {where}", say)


def published_size(source: Source, wire: Wire, *, label: str, say: Callable[[str], object]) -> int | None:
    """The size of a file that a source has, without its bytes; None where the source does not tell it.

    Raises
    ------
    AccessError, OriginError
        When it is not to be had there.
    """

    def look() -> int | None:
        with contextlib.closing(wire.ask(source, 0, 1)) as answer:
            span = content_range(answer.headers)
            if answer.status == 200:
                return answer.length
            return span.size if span else None

    return _patiently(look, wire, source, f"{label}: {safe_url(source.url)}", say)


def _patiently(ask: Callable[[], _T], wire: Wire, source: Source, label: str, say: Callable[[str], object]) -> _T:
    attempts = Attempts(wire.limits_of(source))
    while True:
        try:
            return ask()
        except PassingError as error:
            wait = attempts.failed(0, error.asked)
            if wait is None:
                told = attempts.given_up(error)
                raise OriginError(f"{label}: {told.message}", mend=told.mend) from None
            if source.watch is None:
                say(f"{label}: {error}; again in {wait:.1f} s")
            wire.stop.wait(wait)


def _body(answer: Answer, most: int, where: str, pace: Pace) -> bytes:
    expected, parts, count = answer.length, [], 0
    view = memoryview(bytearray(_CHUNK))
    while size := answer.receive(view):
        parts.append(bytes(view[:size]))
        count += size
        pace.count(size, 0.0)
        if count > most:
            raise OriginError(f"{where}: more than the {most:,} bytes that such a document may have")
    if expected is not None and count != expected:
        raise PassingError(f"the body ended after {count} of {expected} bytes")
    return b"".join(parts)
