"""Bytes that the hub serves: held in memory, or a file on disk that is never read whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

CHUNK = 1 << 18


@dataclass(frozen=True)
class Content:
    """Some bytes and where they are."""

    source: bytes | Path = field(repr=False)
    size: int

    @classmethod
    def of(cls, source: bytes | Path) -> Content:
        return cls(source, len(source) if isinstance(source, bytes) else source.stat().st_size)

    def chunks(self, start: int = 0, end: int | None = None, chunk: int = CHUNK) -> Iterator[bytes]:
        """Yield the bytes ``[start, end)`` in pieces of at most `chunk`."""
        stop = self.size if end is None else end
        if isinstance(self.source, bytes):
            for at in range(start, stop, chunk):
                yield self.source[at : min(at + chunk, stop)]
            return
        with self.source.open("rb") as file:
            file.seek(start)
            left = stop - start
            while left > 0 and (piece := file.read(min(chunk, left))):
                left -= len(piece)
                yield piece

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes ``[start, end)``; for short spans."""
        return b"".join(self.chunks(start, end))

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        for piece in self.chunks():
            digest.update(piece)
        return digest.hexdigest()

    @cached_property
    def git_sha1(self) -> str:
        """The digest that git gives a blob of these bytes."""
        digest = hashlib.sha1(b"blob %d\0" % self.size)
        for piece in self.chunks():
            digest.update(piece)
        return digest.hexdigest()
