"""What an answer's headers say of the bytes, and whether to believe them. All of it comes from outside."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})", re.ASCII)
_DIGEST_BYTES = {"sha256": 32, "md5": 16, "crc32c": 4}
_MD5_ETAG = re.compile(r'"([0-9a-f]{32})"', re.ASCII)
_HTML_START = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!--.{0,500}?-->\s*)?<(?:!doctype\s+html|html|head)\b",
    re.I | re.S,
)
_CODED_NAMES = (".gz", ".tgz", ".svgz", ".z", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".br")
_HTML_NAMES = (".html", ".htm", ".xhtml", ".shtml")


class Headers(Protocol):
    """Header fields by name, in any case."""

    def get(self, name: str, default: str, /) -> str: ...


class Span(NamedTuple):
    """What a Content-Range says: the bytes ``[start, end)`` of ``size``."""

    start: int
    end: int
    size: int


def content_range(headers: Headers) -> Span | None:
    """The span of a 206 answer; None where it is missing or says anything but one known span."""
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if found is None:
        return None
    first, last, size = (int(text) for text in found.groups())
    return Span(first, last + 1, size) if first <= last < size else None


def etag(headers: Headers) -> str:
    """The etag as it was sent, or nothing where it is no etag that can be kept."""
    text = headers.get("ETag", "")
    return text if len(text) < 200 and text.isascii() and text.isprintable() else ""


def validator(headers: Headers) -> str:
    """What If-Range can hold an answer to: a strong etag, else the date of the last change, else nothing."""
    tag = etag(headers)
    if tag and not tag.startswith("W/"):
        return tag
    date = headers.get("Last-Modified", "")
    return date if len(date) < 64 and date.isascii() and date.isprintable() else ""


def evidence(headers: Headers, *, part: bool = False) -> dict[str, str]:
    """What a server says of the whole file: ``sha256``, ``md5``, ``crc32c`` in hex, and its ``etag``.

    Only what says which bytes it is of is believed. Of the answer to a request for a ``part`` most is the part's own.
    """
    found: dict[str, str] = {}

    def add(name: str, value: str) -> None:
        if digest := _from_base64(name, value):
            found.setdefault(name, digest)

    # A bucket of Google's that unpacks a gzipped object on the way names the digests of what it keeps.
    coding = headers.get("Content-Encoding", "").strip().lower() or "identity"
    if headers.get("x-goog-stored-content-encoding", coding).strip().lower() == coding:
        for name, value in _pairs(headers, "x-goog-hash"):
            add(name, value)
    for name, value in _pairs(headers, "Repr-Digest"):  # RFC 9530, of the whole whatever part is sent
        add(_IN_FIELDS.get(name, ""), value.strip(":"))
    if not part:
        for field in ("Digest", "Content-Digest"):  # RFC 3230, RFC 9530
            for name, value in _pairs(headers, field):
                add(_IN_FIELDS.get(name, ""), value.strip(":"))
        add("md5", headers.get("Content-MD5", ""))
        if headers.get("x-amz-checksum-type", "FULL_OBJECT") == "FULL_OBJECT":
            for name in ("sha256", "crc32c"):
                add(name, headers.get(f"x-amz-checksum-{name}", ""))
    if coding == "identity" and (md5 := _s3_md5(headers)):
        found.setdefault("md5", md5)
    if tag := etag(headers):
        found["etag"] = tag
    return found


_IN_FIELDS = {"sha-256": "sha256", "md5": "md5", "crc32c": "crc32c"}


def _pairs(headers: Headers, field: str) -> list[tuple[str, str]]:
    """The ``name=value`` of a field, names in lower case."""
    pairs = (pair.strip().partition("=") for pair in headers.get(field, "").split(","))
    return [(name.strip().lower(), value.strip()) for name, _, value in pairs]


def _s3_md5(headers: Headers) -> str:
    """The md5 that an S3 bucket's etag is: of an object put in one piece, and not encrypted with a customer's key.

    Anything else that looks like one, from any other server, may be of anything.
    """
    tag = _MD5_ETAG.fullmatch(headers.get("ETag", ""))
    is_s3 = headers.get("x-amz-request-id", "") or headers.get("Server", "").startswith(("AmazonS3", "MinIO"))
    plain = (
        headers.get("x-amz-server-side-encryption", "AES256") == "AES256"
        and not headers.get("x-amz-server-side-encryption-customer-algorithm", "")
        and headers.get("x-amz-storage-class", "") != "EXPRESS_ONEZONE"
    )
    return tag[1] if tag and is_s3 and plain else ""


def _from_base64(name: str, value: str) -> str:
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return digest.hex() if len(digest) == _DIGEST_BYTES.get(name) else ""


def expects_html(url: str, label: str) -> bool:
    """Whether a page is what was asked for, by its name."""
    names = (urlsplit(url).path, label)
    return any(name.lower().endswith(_HTML_NAMES) for name in names)


def coded(headers: Headers) -> str:
    """How a body is encoded besides; nothing where it is the file as it stands."""
    coding = headers.get("Content-Encoding", "").strip().lower()
    return "" if coding == "identity" else coding[:40]


def expects_coding(*names: str) -> bool:
    """Whether a file is compressed by its name: many servers announce a .gz file as another one, encoded."""
    return any(urlsplit(name).path.lower().endswith(_CODED_NAMES) for name in names)


def says_html(headers: Headers) -> bool:
    return headers.get("Content-Type", "").partition(";")[0].strip().lower() in ("text/html", "application/xhtml+xml")


def looks_like_html(start: bytes) -> bool:
    """Whether bytes begin like a page: an expired link, a login form, a download warning."""
    return _HTML_START.match(start) is not None


def local_headers(status: os.stat_result) -> Mapping[str, str]:
    """What a local file's status says, as a server would: it is gone on with only if it did not change."""
    return {"ETag": f'"{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ino:x}"'}
