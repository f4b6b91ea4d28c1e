"""What of a partial file has arrived, written so that kill -9 at any moment leaves it true.

A header that binds the partial to one content, then for each piece of the file how many of its bytes are written,
counted from the piece's start: a little-endian u32, 4 bytes on a 4-byte boundary. The data is written first, then the
mark. After a crash of the machine a mark may be there without its data; the sha256 tells then.

::

    {"etag": ..., "piece": ..., "sha256": ..., "size": ..., "url": ..., "version": 1}   padded with blanks
    \\n
    u32 u32 u32 ...
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from collections.abc import Collection
from dataclasses import dataclass

import msgspec

from assetmgr.placing import remove_file
from assetmgr.transfer.partial import open_own
from assetmgr.transfer.urls import safe_url

_LONGEST_HEADER = 8192
_MOST_PIECES = 1 << 24


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a partial is a part of.

    Attributes
    ----------
    url
        See `name_url`.
    size
        Of the whole file.
    etag
        What If-Range can hold the server to; empty where it gave nothing.
    piece
        Bytes a piece; the last may be shorter.
    sha256
        What the lock says, or None where nobody knows it yet.
    """

    url: str
    size: int
    etag: str
    piece: int
    sha256: str | None = None
    version: int = 1

    @property
    def pieces(self) -> int:
        return -(-self.size // self.piece)


def name_url(url: str) -> str:
    """A URL for the header: as it may be shown, and a digest of it all, which tells two queries apart."""
    return f"{safe_url(url)}#{hashlib.sha256(url.encode()).hexdigest()[:16]}"


def journal_path(partial: str) -> str:
    """Where the journal of a partial stands."""
    return f"{partial}.journal"


@dataclass(frozen=True, slots=True)
class Noted:
    """A journal as it was read."""

    header: Header
    marks: tuple[int, ...]

    @property
    def reach(self) -> int:
        """Up to where the partial must go for the marks to be true."""
        return max(
            (number * self.header.piece + mark for number, mark in enumerate(self.marks) if mark),
            default=0,
        )


def parse_journal(data: bytes) -> Noted | None:
    """A journal's content; None for anything that is not one, whole and consistent."""
    head, newline, body = data.partition(b"\n")
    if not newline or len(head) >= _LONGEST_HEADER:
        return None
    try:
        header = msgspec.json.decode(head, type=Header)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if header.version != 1 or header.size <= 0 or not 0 < header.piece < 1 << 32 or header.pieces > _MOST_PIECES:
        return None
    if len(body) != 4 * header.pieces:
        return None
    marks = struct.unpack(f"<{header.pieces}I", body)
    last = header.size - (header.pieces - 1) * header.piece
    if any(mark > header.piece for mark in marks) or marks[-1] > last:
        return None
    return Noted(header, marks)


def is_part_of(noted: Noted, urls: Collection[str], size: int | None, sha256: str | None) -> bool:
    """Whether what arrived earlier is a part of what is wanted now.

    Bytes are bytes, whoever gave them, where the lock names a sha256 that proves them in the end. Where it does not,
    the same URL must vouch for them by its etag.
    """
    header = noted.header
    if (size is not None and size != header.size) or sha256 != header.sha256:
        return False
    return sha256 is not None or bool(header.etag and header.url in {name_url(url) for url in urls})


def render_journal(header: Header) -> bytes:
    """The content of a journal of which nothing has arrived. The marks begin on a 64-byte boundary."""
    head = msgspec.json.encode(header, order="sorted")
    length = -(-(len(head) + 1) // 64) * 64
    return head.ljust(length - 1) + b"\n" + bytes(4 * header.pieces)


def read_journal(partial: str) -> Noted | None:
    """The journal of a partial, or None where there is none to go by."""
    descriptor = open_own(journal_path(partial), create=False)
    if descriptor is None:
        return None
    with open(descriptor, "rb") as file:
        return parse_journal(file.read(_LONGEST_HEADER + 4 * _MOST_PIECES + 1))


class Journal:
    """An open journal."""

    def __init__(self, partial: str, header: Header, *, fresh: bool) -> None:
        self.header = header
        self._path = journal_path(partial)
        content = render_journal(header)
        self._base = len(content) - 4 * header.pieces
        descriptor = open_own(self._path)
        assert descriptor is not None
        self._descriptor: int | None = descriptor
        if fresh:
            # Cut first: a journal of before must not stand with this one's marks.
            os.ftruncate(descriptor, 0)
            self._write(0, content)

    def mark(self, piece: int, count: int) -> None:
        """Note that the first ``count`` bytes of a piece are written."""
        self._write(self._base + 4 * piece, count.to_bytes(4, "little"))

    def _write(self, offset: int, data: bytes) -> None:
        assert self._descriptor is not None
        if hasattr(os, "pwrite"):
            count = os.pwrite(self._descriptor, data, offset)
        else:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            count = os.write(self._descriptor, data)
        if count != len(data):
            raise OSError(28, "No space left on device", self._path)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def forget_journal(partial: str) -> None:
    """Remove the journal of a partial, which is whole now or begins anew."""
    with contextlib.suppress(IsADirectoryError):
        remove_file(journal_path(partial))
