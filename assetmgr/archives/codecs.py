"""Compressed streams, decompressed within bounds: gzip, xz, zstd, bzip2.

A decompressor is never asked for more than a piece at a time, so that a bomb costs no more memory than an honest file
does; and it is stopped when what came out is out of proportion to what went in. Streams that follow one another
in a file are one stream, as gzip (RFC 1952, 2.2), xz and zstd (RFC 8878, 3.1) define it.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from assetmgr.archives.limits import ArchiveLimits
from assetmgr.archives.members import Reader, refuse
from assetmgr.digests import CHUNK
from assetmgr.errors import MissingExtraError


class Decoder(Protocol):
    """The decompressor of one stream, as bz2, lzma and zstd of the standard library have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class Inflate:
    """zlib's decompressor with the manners of the others. ``wbits`` is 31 for gzip, -15 for a bare deflate stream."""

    def __init__(self, wbits: int) -> None:
        self._stream = zlib.decompressobj(wbits)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._stream.decompress(self._stream.unconsumed_tail + data, max_length)
        # A full piece may have more behind it, even when all input was taken.
        self.needs_input = len(piece) < max_length and not self._stream.unconsumed_tail
        return piece


class Unzstd:
    """The standard library's zstd (Python 3.14) or its backport, with errors that have a name before it is loaded."""

    def __init__(self, limits: ArchiveLimits) -> None:
        try:
            from compression import zstd
        except ImportError:
            try:
                from backports import zstd
            except ImportError as error:
                raise MissingExtraError(
                    "a zstd archive needs the backports.zstd library before Python 3.14",
                    mend="pip install 'assetmgr[zstd]'",
                ) from error
        window = min(limits.memory_bytes.bit_length() - 1, 31)
        self._stream: Decoder = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: window})
        self._error: type[Exception] = zstd.ZstdError

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def needs_input(self) -> bool:
        return self._stream.needs_input

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        try:
            return self._stream.decompress(data, max_length)
        except self._error as error:
            raise ValueError(str(error)) from None


@dataclass(frozen=True, slots=True)
class Codec:
    """How one kind of compressed stream is known and decompressed; ``suffixes`` are what its file names end with."""

    name: str
    magic: tuple[bytes, ...]
    suffixes: tuple[str, ...]
    decoder: Callable[[ArchiveLimits], Decoder]
    padded: bool = False  # zeros may stand between and after its streams


# zstd's second magic begins a frame of no content, which any of 16 numbers may open.
CODECS = (
    Codec("gzip", (b"\x1f\x8b\x08",), (".gz", ".gzip"), lambda limits: Inflate(31), padded=True),
    Codec(
        "xz",
        (b"\xfd7zXZ\0",),
        (".xz",),
        lambda limits: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=limits.memory_bytes),
        padded=True,
    ),
    Codec(
        "zstd",
        (b"\x28\xb5\x2f\xfd", *(bytes([low]) + b"\x2a\x4d\x18" for low in range(0x50, 0x60))),
        (".zst", ".zstd"),
        Unzstd,
    ),
    Codec("bzip2", (b"BZh",), (".bz2",), lambda limits: bz2.BZ2Decompressor()),
)


def codec_of(head: bytes) -> Codec | None:
    """The codec of a file that begins with these bytes."""
    return next((codec for codec in CODECS if head.startswith(codec.magic)), None)


def decode(decoder: Decoder, data: bytes, most: int, archive: str, member: str | None = None) -> bytes:
    """One step of a decompressor; damage becomes `IntegrityError`."""
    try:
        return decoder.decompress(data, most)
    except (zlib.error, lzma.LZMAError, EOFError, ValueError, OSError) as error:  # OSError is bz2's for damaged data
        refuse(archive, f"cannot be decompressed: {error}", member)


class Decompressed:
    """The bytes of a compressed file, front to back."""

    def __init__(self, raw: Reader, codec: Codec, archive: str, limits: ArchiveLimits) -> None:
        self._raw, self._codec, self._archive, self._limits = raw, codec, archive, limits
        self._decoder: Decoder | None = codec.decoder(limits)
        self._fed = b""
        self._in = self._out = 0

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; nothing only at the end of a whole file."""
        while self._decoder is not None:
            if self._decoder.eof:
                self._next_stream(self._decoder.unused_data)
                continue
            if self._decoder.needs_input and not self._fed:
                self._fed = self._take()
                if not self._fed:
                    refuse(self._archive, "is cut off in the middle of its compressed data")
            fed, self._fed = self._fed, b""
            piece = decode(self._decoder, fed, size, self._archive)
            if piece:
                self._out += len(piece)
                if self._out > max(self._limits.ratio_from, self._limits.ratio * self._in):
                    refuse(
                        self._archive,
                        f"unpacks to more than {self._limits.ratio} times its size: a decompression bomb, "
                        "or a limit that is too low for it",
                    )
                return piece
        return b""

    def skip(self, size: int) -> int:
        """Pass over bytes; return how many there were."""
        done = 0
        while done < size and (piece := self.read(min(size - done, CHUNK))):
            done += len(piece)
        return done

    def _take(self) -> bytes:
        data = self._raw.read(CHUNK)
        self._in += len(data)
        return data

    def _next_stream(self, rest: bytes) -> None:
        """Begin the stream that follows one that has ended, or end."""
        if self._codec.padded:
            rest = rest.lstrip(b"\0")
        while len(rest) < 8 and (data := self._take()):
            rest += data
            if self._codec.padded:
                rest = rest.lstrip(b"\0")
        if not rest:
            self._decoder = None
        elif rest.startswith(self._codec.magic):
            self._decoder = self._codec.decoder(self._limits)
            self._fed = rest
        else:
            refuse(self._archive, f"has other bytes after the end of its {self._codec.name} data")
