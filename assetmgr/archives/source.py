"""Where an archive's bytes are read from: a file, or anything that can seek and read, at any offset, by any thread."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol


class Seekable(Protocol):
    """A binary file, as far as it is needed: a file object, or a reader of ranges over HTTP."""

    def seek(self, offset: int, whence: int = ..., /) -> int: ...
    def read(self, size: int = ..., /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Source:
    """An open archive.

    Attributes
    ----------
    name
        What people call it, for messages; also tells what a bare compressed file holds.
    size
        Its length in bytes.
    read_at
        ``read_at(offset, size)``: that many bytes, fewer only at the end of the file. Any thread may call it.
    descriptor
        Of the file; -1 where it is none.
    """

    name: str
    size: int
    read_at: Callable[[int, int], bytes]
    descriptor: int = -1


@contextmanager
def opened(archive: str | os.PathLike[str] | Seekable, name: str | None = None) -> Iterator[Source]:
    """Open an archive by path, or wrap a file that is open already and stays open."""
    if not isinstance(archive, (str, os.PathLike)):
        yield _shared(archive, name or str(getattr(archive, "name", "archive")))
        return
    with open(archive, "rb", buffering=0) as file:
        name = name or os.path.basename(os.fspath(archive))
        if not hasattr(os, "pread"):
            yield replace(_shared(file, name), descriptor=file.fileno())
            return
        descriptor = file.fileno()

        def read_at(offset: int, size: int) -> bytes:
            return _whole(lambda rest, done: os.pread(descriptor, rest, offset + done), size)

        yield Source(name, os.fstat(descriptor).st_size, read_at, descriptor)


def _shared(file: Seekable, name: str) -> Source:
    """A file has one position: threads take turns."""
    turn = threading.Lock()
    size = file.seek(0, io.SEEK_END)

    def read_at(offset: int, size: int) -> bytes:
        with turn:
            file.seek(offset)
            return _whole(lambda rest, done: file.read(rest), size)

    return Source(name, size, read_at)


def _whole(read: Callable[[int, int], bytes], size: int) -> bytes:
    """A read may give less than was asked for; only nothing means the end."""
    data = read(size, 0)
    if len(data) == size or not data:
        return data
    pieces, done = [data], len(data)
    while done < size and (data := read(size - done, done)):
        pieces.append(data)
        done += len(data)
    return b"".join(pieces)


class Stream:
    """A source, or a part of it, read from front to back."""

    def __init__(self, source: Source, start: int = 0, end: int | None = None) -> None:
        self._source = source
        self.position = start
        self._end = source.size if end is None else end

    def read(self, size: int) -> bytes:
        data = self._source.read_at(self.position, max(min(size, self._end - self.position), 0))
        self.position += len(data)
        return data

    def skip(self, size: int) -> int:
        """Pass over bytes without reading them; return how many there were."""
        size = max(min(size, self._end - self.position), 0)
        self.position += size
        return size
