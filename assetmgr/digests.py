"""Digests of files: one hashing loop, and many files in parallel.

sha256 is what the lock names. The others are evidence that an origin publishes: ``git_sha1`` (git's blob id, of
which a hub's small files are named), ``md5`` and ``crc32c`` (storage buckets, LAVIS's lists).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol, TypeVar

from assetmgr.errors import MissingExtraError

# Big enough to make the loop's overhead vanish, small enough to stay in a core's cache: measured best at 256-512 kB.
CHUNK = 256 * 1024

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class _Hash(Protocol):
    def update(self, data: bytes | bytearray | memoryview, /) -> object: ...
    def hexdigest(self) -> str: ...


class _Crc32c:
    """crc32c (RFC 3720, Castagnoli) as 8 hex digits, most significant first."""

    def __init__(self) -> None:
        try:
            import google_crc32c
        except ImportError as error:
            raise MissingExtraError(
                "a crc32c pin needs the google-crc32c library", mend="pip install 'assetmgr[crc32c]'"
            ) from error
        self._sum = google_crc32c.Checksum()

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        self._sum.update(bytes(data))

    def hexdigest(self) -> str:
        digest: bytes = self._sum.digest()
        return digest.hex()


def has_crc32c() -> bool:
    """Whether crc32c can be computed here."""
    return importlib.util.find_spec("google_crc32c") is not None


class Hasher:
    """Several digests over one stream.

    Parameters
    ----------
    algorithms
        Which of ``sha256``, ``md5``, ``git_sha1``, ``crc32c``.
    size
        The stream's length in bytes; git puts it in front of the content, so ``git_sha1`` needs it.
    """

    def __init__(self, algorithms: Iterable[str] = ("sha256",), *, size: int | None = None) -> None:
        self.count = 0
        self._hashes: dict[str, _Hash] = {}
        for algorithm in algorithms:
            if algorithm == "git_sha1":
                if size is None:
                    raise ValueError("git_sha1 needs the size beforehand")
                self._hashes[algorithm] = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
            elif algorithm == "crc32c":
                self._hashes[algorithm] = _Crc32c()
            elif algorithm == "md5":
                self._hashes[algorithm] = hashlib.md5(usedforsecurity=False)
            else:
                self._hashes[algorithm] = hashlib.new(algorithm)

    def update(self, data: bytes | bytearray | memoryview) -> None:
        self.count += len(data)
        for digest in self._hashes.values():
            digest.update(data)

    def digests(self) -> dict[str, str]:
        """Each algorithm's hexadecimal digest of what was seen so far."""
        return {algorithm: digest.hexdigest() for algorithm, digest in self._hashes.items()}


def sha256_text(text: bytes | str) -> str:
    """The sha256 of a small text, as hex."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def hash_descriptor(
    descriptor: int,
    algorithms: Iterable[str] = ("sha256",),
    *,
    size: int | None = None,
    progress: Callable[[int], object] | None = None,
    write: Callable[[memoryview], object] | None = None,
) -> tuple[int, Mapping[str, str]]:
    """Hash an open file from its start; return the bytes read and the digests.

    Hashing the descriptor, and not a path, means that what was hashed is what the caller opened and can still
    compare with `os.fstat`. ``progress`` is called with the size of each piece as it is done, and ``write`` with the
    piece itself.
    """
    hasher = Hasher(algorithms, size=size)
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        file.seek(0)
        while count := file.readinto(buffer):
            hasher.update(view[:count])
            if write is not None:
                write(view[:count])
            if progress is not None:
                progress(count)
    return hasher.count, hasher.digests()


def hash_file(
    path: str | os.PathLike[str],
    algorithms: Iterable[str] = ("sha256",),
    *,
    size: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> tuple[int, Mapping[str, str]]:
    """Hash a file by path. See `hash_descriptor`."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        return hash_descriptor(descriptor, algorithms, size=size, progress=progress)
    finally:
        os.close(descriptor)


def in_parallel(
    work: Callable[[_Item], _Result],
    items: Iterable[_Item],
    *,
    workers: int | None = None,
    waiting: Callable[[], object] | None = None,
) -> Iterator[tuple[_Item, _Result]]:
    """Yield ``(item, work(item))`` as each is done, in no order.

    Threads are enough: hashlib lets go of the interpreter while it hashes. An exception of ``work`` is raised here.
    When the caller stops early (Ctrl-C), no further item is begun and the threads are not waited for: they are
    daemons, and end with what they are at. ``waiting`` is called now and then while none is done, and may raise too.
    """
    import queue
    import threading

    pending = list(items)
    count = min(workers or os.cpu_count() or 1, len(pending))
    if count <= 1 and waiting is None:
        for item in pending:
            yield item, work(item)
        return
    pending.reverse()
    done: queue.SimpleQueue[tuple[_Item, _Result | None, BaseException | None]] = queue.SimpleQueue()
    stopped = threading.Event()

    def run() -> None:
        while not stopped.is_set():
            try:
                item = pending.pop()
            except IndexError:
                return
            try:
                done.put((item, work(item), None))
            except BaseException as error:  # noqa: BLE001 - raised where the results are taken
                done.put((item, None, error))

    def take() -> tuple[_Item, _Result | None, BaseException | None]:
        while True:
            with contextlib.suppress(queue.Empty):
                return done.get(timeout=0.5)  # a bounded wait: Ctrl-C gets through on every system
            if waiting is not None:
                waiting()

    total = len(pending)
    for _ in range(count):
        threading.Thread(target=run, daemon=True).start()
    try:
        for _ in range(total):
            item, result, error = take()
            if error is not None:
                raise error
            yield item, result  # type: ignore[misc]
    finally:
        stopped.set()
