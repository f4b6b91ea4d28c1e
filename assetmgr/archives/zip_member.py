"""One member of a zip, unpacked: at most the bytes that the directory promised, and no fewer."""

from __future__ import annotations

import struct
import zlib
from typing import NoReturn

from assetmgr.archives.codecs import CODECS, Decoder, Inflate, decode
from assetmgr.archives.limits import ArchiveLimits
from assetmgr.archives.members import refuse
from assetmgr.archives.source import Source
from assetmgr.archives.zip_directory import LOCAL_HEADER, ZipEntry
from assetmgr.digests import CHUNK

_LOCAL = struct.Struct("<4sHHHHH3LHH")
_STORED, _DEFLATE = 0, 8
_CODEC_NAMES = {12: "bzip2", 93: "zstd"}
_MOST32 = 0xFFFFFFFF
_EXTRA_GUESS = 64


class ZipMember:
    """A reader of one member. Reads of the archive are in order and adjacent: one request for a small member."""

    def __init__(self, source: Source, entry: ZipEntry, limits: ArchiveLimits) -> None:
        self._source, self._entry = source, entry
        self._decoder = self._open_decoder(limits)
        self._ahead, self._at = self._local_header()
        self._packed_left = entry.compressed_size
        self._left = entry.size
        self._crc = 0
        self._ended = False

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; nothing only at the end, when size and crc32 are right."""
        if self._ended:
            return b""
        data = self._piece(size)
        if len(data) > self._left:
            self._refuse(f"holds more than the {self._entry.size} bytes that the directory says")
        self._left -= len(data)
        self._crc = zlib.crc32(data, self._crc)
        if not data:
            self._ended = True
            if self._left:
                self._refuse(f"holds {self._left} bytes fewer than the {self._entry.size} that the directory says")
            if self._packed_left or (self._decoder is not None and self._decoder.unused_data):
                self._refuse("has other bytes after the end of its compressed data")
            if self._crc != self._entry.crc32:
                self._refuse(f"is damaged: its crc32 is {self._crc:08x}, the directory says {self._entry.crc32:08x}")
        return data

    def _piece(self, size: int) -> bytes:
        decoder = self._decoder
        if decoder is None:
            return self._take(size)
        while not decoder.eof:
            packed = self._take(CHUNK) if decoder.needs_input else b""
            if decoder.needs_input and not packed:
                self._refuse("is cut off in the middle of its compressed data")
            if data := decode(decoder, packed, size, self._source.name, self._entry.path):
                return data
        return b""

    def _take(self, size: int) -> bytes:
        """The next of the member's packed bytes."""
        size = min(size, self._packed_left)
        if not self._ahead and size:
            self._ahead = self._source.read_at(self._at, min(max(size, CHUNK), self._packed_left))
            if not self._ahead:
                self._refuse("is cut off")
            self._at += len(self._ahead)
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        self._packed_left -= len(data)
        return data

    def _local_header(self) -> tuple[bytes, int]:
        """Check the header before the data; return what was read of the data with it, and where the rest is."""
        entry = self._entry
        shortest = LOCAL_HEADER + len(entry.raw_name)
        guess = min(shortest + _EXTRA_GUESS + entry.compressed_size, CHUNK, entry.end - entry.offset)
        head = self._source.read_at(entry.offset, max(guess, shortest))
        if len(head) < shortest or not head.startswith(b"PK\3\4"):
            self._refuse("has no header before its data")
        _, _, flags, method, _, _, crc, packed, unpacked, name_length, extra_length = _LOCAL.unpack_from(head)
        if flags & 1:
            self._refuse("is encrypted")
        if name_length != len(entry.raw_name) or head[LOCAL_HEADER:shortest] != entry.raw_name:
            self._refuse("has another name before its data than in the directory")
        if method != entry.method:
            self._refuse("is packed another way than the directory says")
        if not entry.has_descriptor:
            said = ((crc, entry.crc32), (packed, entry.compressed_size), (unpacked, entry.size))
            if any(local != central and local != _MOST32 for local, central in said):
                self._refuse("has other sizes before its data than in the directory")
        start = shortest + extra_length
        if entry.offset + start + entry.compressed_size > entry.end:
            self._refuse("overlaps what follows it: a decompression bomb")
        return head[start : start + entry.compressed_size], entry.offset + max(start, len(head))

    def _open_decoder(self, limits: ArchiveLimits) -> Decoder | None:
        method = self._entry.method
        if method == _STORED:
            return None
        if method == _DEFLATE:
            return Inflate(-15)
        for codec in CODECS:
            if codec.name == _CODEC_NAMES.get(method):
                return codec.decoder(limits)
        self._refuse(f"is packed by method {method}, which is not supported: stored, deflate, bzip2 and zstd are")

    def _refuse(self, what: str) -> NoReturn:
        refuse(self._source.name, what, self._entry.path)
