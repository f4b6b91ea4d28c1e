"""One HTTP/1.1 request from its bytes, strictly: what two readers could understand in two ways is refused.

RFC 9112. Bare line feeds, folded lines, a length twice or beside a transfer coding, absolute targets, encoded NULs
and climbing paths are all refused, since nobody with honest aims sends them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import parse_qsl, unquote_to_bytes

# Bytes. A line of a request, all of its head, the body of the one request that has one; and how many fields.
LINE_MOST = 8 << 10
HEAD_MOST = 32 << 10
BODY_MOST = 4 << 20
FIELDS_MOST = 100
END = b"\r\n\r\n"

_LINE = re.compile(rb"([A-Z]{1,20}) ([!-~]+) HTTP/1\.([01])\Z")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE = re.compile(rb"[\t -~\x80-\xff]*\Z")
_HOST = re.compile(r"(?:[A-Za-z0-9._~-]{1,255}|\[[0-9A-Fa-f:.]{2,64}\])(?::[0-9]{1,5})?\Z")
_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_LENGTH = re.compile(rb"[0-9]{1,12}\Z")
# Fields of which two would mean two things.
_SINGLE = {b"content-length", b"host", b"authorization", b"range", b"if-range", b"transfer-encoding", b"expect"}


class RefusedError(Exception):
    """A request that gets no more than a refusal.

    Attributes
    ----------
    status, words
        Of the answer.
    code
        The hub's own word for it, by which its clients raise their error.
    """

    def __init__(self, status: int, words: str, code: str = "", headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(words)
        self.status, self.words, self.code, self.headers = status, words, code, headers


@dataclass(frozen=True)
class Request:
    """A request as it came.

    Attributes
    ----------
    target
        As on the wire: percent-encoded, with its query.
    headers
        By lower-case name.
    length
        How many bytes of body follow.
    keeps
        Whether the client would ask more on the connection.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    minor: int = 1
    length: int = 0
    keeps: bool = True
    body: bytes = b""

    @cached_property
    def segments(self) -> tuple[str, ...]:
        """The path's parts, split before they are decoded: an encoded slash stays within its part.

        Raises
        ------
        RefusedError
            When one cannot be part of an honest path.
        """
        return tuple(_decoded(part) for part in self.target.partition("?")[0][1:].split("/"))

    @cached_property
    def query(self) -> Mapping[str, str]:
        """The query's fields; of several of one name, the last."""
        text = self.target.partition("?")[2]
        try:
            found = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=50)
        except (ValueError, UnicodeError):
            raise RefusedError(400, "the query is not to be read") from None
        return dict(found)

    def asks(self, flag: str) -> bool:
        return self.query.get(flag, "").lower() in ("true", "1")


def parse_head(head: bytes) -> Request:
    """The request of a head, without its closing empty line.

    Raises
    ------
    RefusedError
        When it is not one that is answered.
    """
    line, *fields = head.split(b"\r\n")
    if len(line) > LINE_MOST:
        raise RefusedError(414, f"the request line is longer than {LINE_MOST:,} bytes")
    found = _LINE.match(line)
    if found is None:
        raise RefusedError(400, "that is no request line of HTTP/1.1")
    if len(fields) > FIELDS_MOST:
        raise RefusedError(431, f"there are more than {FIELDS_MOST} header fields")
    headers: dict[bytes, bytes] = {}
    for field in fields:
        name, colon, value = field.partition(b":")
        if not colon or _NAME.match(name) is None:
            raise RefusedError(400, "that is no header field")
        value = value.strip(b" \t")
        if _VALUE.match(value) is None:
            raise RefusedError(400, "a header field has a control character")
        name = name.lower()
        if name in headers:
            if name in _SINGLE:
                raise RefusedError(400, f"the header field {name.decode()} is there twice")
            value = headers[name] + b", " + value
        headers[name] = value
    method, target, minor = found[1].decode(), found[2].decode(), int(found[3])
    length = _length(headers)
    if method not in ("GET", "HEAD", "POST"):
        raise RefusedError(
            405, f"{method} is not answered: this server is read-only", headers=(("Allow", "GET, HEAD"),)
        )
    if target[0] != "/":
        raise RefusedError(400, "only paths of this server are answered, nothing of other servers")
    if "#" in target:
        raise RefusedError(400, "a path has no '#'")
    if length and method != "POST":
        raise RefusedError(400, f"{method} has no body")
    host = headers.get(b"host")
    if host is None and minor:
        raise RefusedError(400, "the header field host is missing")
    if host and not _HOST.match(host.decode("latin-1")):
        raise RefusedError(400, "the header field host names no host")
    connection = headers.get(b"connection", b"").lower()
    keeps = b"close" not in connection if minor else b"keep-alive" in connection
    texts = {name.decode(): value.decode("latin-1") for name, value in headers.items()}
    return Request(method, target, texts, minor, length, keeps)


def _length(headers: Mapping[bytes, bytes]) -> int:
    said = headers.get(b"content-length")
    if b"transfer-encoding" in headers:
        if said is not None:
            raise RefusedError(400, "a body has one length: content-length and transfer-encoding are both there")
        raise RefusedError(411, "a body needs its content-length; no transfer coding is taken")
    if said is None:
        return 0
    if not _LENGTH.match(said):
        raise RefusedError(400, "content-length is no number")
    if int(said) > BODY_MOST:
        raise RefusedError(413, f"the body is larger than {BODY_MOST:,} bytes")
    return int(said)


def check_begin(buffer: bytes) -> None:
    """Refuse what can no longer become a head, before all of it is there.

    Raises
    ------
    RefusedError
    """
    end = buffer.find(b"\n")
    if end < 0 and len(buffer) > LINE_MOST:
        raise RefusedError(414, f"the request line is longer than {LINE_MOST:,} bytes")
    if end >= 0 and buffer[end - 1 : end] != b"\r":
        raise RefusedError(400, "a line ends in a line feed alone")
    if len(buffer) > HEAD_MOST:
        raise RefusedError(431, f"the head is larger than {HEAD_MOST:,} bytes")


def _decoded(part: str) -> str:
    if _BAD_ESCAPE.search(part):
        raise RefusedError(400, "a '%' in the path begins no escape")
    try:
        text = unquote_to_bytes(part).decode() if "%" in part else part
    except UnicodeDecodeError:
        raise RefusedError(400, "the path is not UTF-8") from None
    if any(character < " " or "\x7f" <= character < "\xa0" for character in text) or "\\" in text:
        raise RefusedError(400, "the path has a character that no path here has")
    if any(piece in (".", "..") for piece in text.split("/")):
        raise RefusedError(400, "the path climbs")
    return text
