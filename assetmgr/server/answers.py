"""What is answered: a status, fields, and bytes or a part of a held file. Ranges and conditions (RFC 9110)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple

import msgspec

from assetmgr.receipt import Stamp
from assetmgr.server.requests import RefusedError, Request

Headers = tuple[tuple[str, str], ...]
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_RANGE = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*\Z", re.ASCII)
_DIGITS_MOST = 18


class Held(NamedTuple):
    """A file of the store that a receipt proves: where it lies, its stamp, and what it is called in words.

    ``use`` is where it is noted that it is used.
    """

    path: str
    stamp: Stamp
    label: str
    mend: str
    use: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. ``held`` stands for a body that lies in the store; its ``etag`` makes it conditional and divisible."""

    status: int
    headers: Headers = ()
    body: bytes = b""
    held: Held | None = None
    etag: str = ""

    @property
    def size(self) -> int:
        return len(self.body) if self.held is None else self.held.stamp.size


class Part(NamedTuple):
    """How much of an answer is sent: the status, and the bytes from ``start`` to before ``end``."""

    status: int
    start: int
    end: int


def json_answer(value: object, headers: Headers = (), *, status: int = 200) -> Answer:
    return Answer(status, (("Content-Type", "application/json; charset=utf-8"), *headers), msgspec.json.encode(value))


def text_answer(text: str, kind: str = "text/plain", headers: Headers = (), *, status: int = 200) -> Answer:
    return Answer(status, (("Content-Type", f"{kind}; charset=utf-8"), *headers), text.encode())


def refusal(error: RefusedError) -> Answer:
    """A refusal as the hub's clients read it: in fields, and as JSON."""
    line = " ".join(error.words.split())
    told = line.encode("ascii", "backslashreplace").decode()  # a field has no other letters that all clients read alike
    code: Headers = (("X-Error-Code", error.code),) if error.code else ()
    return json_answer({"error": line}, (*code, ("X-Error-Message", told), *error.headers), status=error.status)


def part_of(method: str, headers: Mapping[str, str], size: int, etag: str) -> Part:
    """Which part of so many bytes a request is given. ``etag``, with its quotes, is that of the whole."""
    match = headers.get("if-match")
    if match is not None and not _names(match, etag, weakly=False):
        return Part(412, 0, 0)
    known = headers.get("if-none-match")
    if known is not None and _names(known, etag, weakly=True):
        return Part(304, 0, 0)
    asked = headers.get("range")
    if asked is None or method != "GET":
        return Part(200, 0, size)
    condition = headers.get("if-range")
    if condition is not None and condition != etag:
        return Part(200, 0, size)
    found = _RANGE.match(asked)
    # Several ranges, or what is none, may be answered by the whole.
    if found is None or not (found[1] or found[2]):
        return Part(200, 0, size)
    first, last = (text.lstrip("0") or text[:1] for text in found.groups())
    if not first:
        count = size if len(last) > _DIGITS_MOST else int(last)
        start, end = max(0, size - count), size
    else:
        start = size if len(first) > _DIGITS_MOST else int(first)
        end = size if not last or len(last) > _DIGITS_MOST else min(size, int(last) + 1)
        if last and (len(last), last) < (len(first), first):
            return Part(200, 0, size)
    return Part(206, start, end) if start < end else Part(416, 0, 0)


def _names(field: str, etag: str, *, weakly: bool) -> bool:
    if field.strip() == "*":
        return True
    tags = (tag.strip() for tag in field.split(","))
    return etag in ((tag.removeprefix("W/") for tag in tags) if weakly else tags)


def head_of(request: Request, answer: Answer, part: Part, *, keeps: bool) -> bytes:
    """The head of an answer, of which a part is sent."""
    lines = [f"HTTP/1.1 {part.status} {_PHRASES[part.status]}", f"Date: {_now()}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    size = answer.size
    if answer.etag:
        lines.append(f"ETag: {answer.etag}")
        lines.append("Accept-Ranges: bytes")
        if part.status == 206:
            lines.append(f"Content-Range: bytes {part.start}-{part.end - 1}/{size}")
        elif part.status == 416:
            lines.append(f"Content-Range: bytes */{size}")
    if part.status != 304:
        lines.append(f"Content-Length: {part.end - part.start}")
    lines.append("X-Content-Type-Options: nosniff")
    if not keeps:
        lines.append("Connection: close")
    elif not request.minor:
        lines.append("Connection: keep-alive")
    lines.append("\r\n")
    return "\r\n".join(lines).encode("latin-1", "replace")


_date: tuple[int, str] = (0, "")


def _now() -> str:
    """The date, made once a second."""
    import time

    global _date
    second = int(time.time())
    if _date[0] != second:
        _date = (second, formatdate(second, usegmt=True))
    return _date[1]
