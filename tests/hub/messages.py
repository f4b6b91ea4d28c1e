"""A request, a response, and the rules of RFC 9110 that turn the one into a part of the other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote

from .content import Content

Headers = tuple[tuple[str, str], ...]
EMPTY = Content(b"", 0)


@dataclass(frozen=True)
class Request:
    """A request as it came.

    `target` is as on the wire, percent-encoded and with its query; header names are lower-case.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def line(self) -> str:
        return f"{self.method} {self.target}"

    @property
    def raw_path(self) -> str:
        return self.target.partition("?")[0]

    @cached_property
    def segments(self) -> list[str]:
        """The path's segments, split first and decoded after: an encoded slash stays in its segment."""
        return [unquote(part) for part in self.raw_path.lstrip("/").split("/")]

    @cached_property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def origin(self) -> str:
        return f"http://{self.headers.get('host', '127.0.0.1')}"

    def asks(self, flag: str) -> bool:
        return self.query.get(flag, "").lower() in ("true", "1")


@dataclass(frozen=True)
class Response:
    """What to answer. The body is ``content[start:end]``; `claimed` is its length in the answer to HEAD."""

    status: int
    headers: Headers = ()
    content: Content = EMPTY
    start: int = 0
    end: int = 0
    ranges: bool = False
    claimed: int | None = None

    @classmethod
    def whole(
        cls,
        content: Content,
        headers: Headers = (),
        *,
        status: int = 200,
        ranges: bool = False,
        claimed: int | None = None,
    ) -> Response:
        return cls(status, headers, content, 0, content.size, ranges, claimed)

    @classmethod
    def text(cls, status: int, words: str, headers: Headers = ()) -> Response:
        content = Content.of(words.encode())
        return cls.whole(content, (("Content-Type", "text/plain; charset=utf-8"), *headers), status=status)

    @classmethod
    def json(cls, value: Any, headers: Headers = (), *, status: int = 200) -> Response:
        content = Content.of(json.dumps(value, separators=(",", ":")).encode())
        return cls.whole(content, (("Content-Type", "application/json; charset=utf-8"), *headers), status=status)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def over(self, changes: Mapping[str, str | None]) -> Response:
        """Return the response with headers replaced, or with None removed."""
        names = {name.lower() for name in changes}
        kept = tuple(pair for pair in self.headers if pair[0].lower() not in names)
        return replace(self, headers=kept + tuple((k, v) for k, v in changes.items() if v is not None))


def narrowed(request: Request, response: Response) -> Response:
    """Apply If-None-Match, If-Range and a single Range to a whole response."""
    if response.status != 200:
        return response
    etag = response.header("ETag")
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if etag and (etag in known or "*" in known):
        return replace(response, status=304, content=EMPTY, start=0, end=0, claimed=None)
    if not response.ranges:
        return response
    response = replace(response, headers=(*response.headers, ("Accept-Ranges", "bytes")))
    asked = request.headers.get("range")
    condition = request.headers.get("if-range")
    if request.method != "GET" or asked is None:
        return response
    if condition is not None and condition not in (etag, response.header("Last-Modified")):
        return response
    span = _span(asked, response.content.size)
    if span is None:
        return response
    size = response.content.size
    if span[0] >= span[1]:
        headers = (*response.headers, ("Content-Range", f"bytes */{size}"))
        return Response(416, headers)
    headers = (*response.headers, ("Content-Range", f"bytes {span[0]}-{span[1] - 1}/{size}"))
    return replace(response, status=206, headers=headers, start=span[0], end=span[1])


def _span(asked: str, size: int) -> tuple[int, int] | None:
    """Return ``[start, end)`` of a single range: empty if it cannot be met, None if it is to be ignored."""
    unit, _, spec = asked.partition("=")
    first, dash, last = spec.strip().partition("-")
    if unit.strip().lower() != "bytes" or not dash or "," in spec:
        return None
    if not all(part == "" or part.isdecimal() for part in (first, last)) or not (first or last):
        return None
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size
