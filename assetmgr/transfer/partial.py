"""The file that bytes are gathered in: written at offsets by several threads, and never through a planted link."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import threading

from assetmgr.owners import give, is_shared
from assetmgr.placing import file_mode, make_folder, remove_file

# The most that is received, written and hashed at a time. Measured: 64 to 256 kB are best.
BUFFER = 256 * 1024

_FLAGS = (
    os.O_RDWR
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a planted pipe must not hold us
)


def open_own(path: str, *, create: bool = True) -> int | None:
    """Open a file for reading and writing that is a plain file of its own; return its descriptor.

    What is anything else (a link, a pipe, another name of a file elsewhere) is replaced, never followed; so is another
    user's, by a copy of it, where it may be read. Without ``create``, None where there is no such file.
    """
    with contextlib.suppress(OSError):
        descriptor = _opened(path, _FLAGS)
        if descriptor is not None:
            return descriptor
    with contextlib.suppress(OSError):
        descriptor = _opened(path, _FLAGS & ~os.O_RDWR)
        if descriptor is not None:
            return _taken_over(descriptor, path)
    if not create:
        return None
    make_folder(os.path.dirname(path))
    remove_file(path)
    return _new(path)


def _opened(path: str, flags: int) -> int | None:
    descriptor = os.open(path, flags)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
        return descriptor
    os.close(descriptor)
    return None


def _taken_over(theirs: int, path: str) -> int:
    """What another user of a shared store has gathered, as a file of our own: theirs could not be made read-only."""
    name = f"{path}.taken"  # only by who holds the lock of the path; what a killed process left of it is replaced
    with open(theirs, "rb") as file:
        remove_file(name)
        own = _new(name)
        try:
            with open(own, "wb", closefd=False) as copy:
                shutil.copyfileobj(file, copy, BUFFER)
            os.replace(name, path)
            os.lseek(own, 0, os.SEEK_SET)
        except BaseException:
            os.close(own)
            with contextlib.suppress(OSError):
                remove_file(name)
            raise
    return own


def _new(path: str) -> int:
    """Make a file for its owner alone; in a shared store for the group too, whose other members may go on with it."""
    descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
    if hasattr(os, "fchmod"):
        folder = os.path.dirname(path)
        give(descriptor, folder)
        if is_shared(folder):
            with contextlib.suppress(OSError):
                os.fchmod(descriptor, file_mode(folder) | 0o600)
    return descriptor


def read_own(path: str, size: int) -> tuple[bytes, os.stat_result] | None:
    """Up to ``size`` bytes of a plain file of its own, and its status; None where there is none."""
    descriptor = open_own(path, create=False)
    if descriptor is None:
        return None
    with open(descriptor, "rb") as file:
        return file.read(size), os.fstat(descriptor)


def write_own(path: str, data: bytes | bytearray) -> os.stat_result:
    """Make a plain file of its own that holds these bytes; return its status. After a failure there is none."""
    try:
        descriptor = _new(path)
    except (FileNotFoundError, FileExistsError):
        make_folder(os.path.dirname(path))
        remove_file(path)
        descriptor = _new(path)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        return os.fstat(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            remove_file(path)
        raise
    finally:
        os.close(descriptor)


class Partial:
    """An open partial file."""

    def __init__(self, path: str) -> None:
        self.path = path
        descriptor = open_own(path)
        assert descriptor is not None
        self.descriptor = descriptor
        self._lock = threading.Lock()

    def size(self) -> int:
        return os.fstat(self.descriptor).st_size

    def clear(self) -> None:
        os.ftruncate(self.descriptor, 0)

    def write_at(self, offset: int, data: memoryview) -> None:
        """Write all of ``data``. Other threads may write and read elsewhere meanwhile."""
        while data:
            if hasattr(os, "pwrite"):
                count = os.pwrite(self.descriptor, data, offset)
            else:
                with self._lock:
                    os.lseek(self.descriptor, offset, os.SEEK_SET)
                    count = os.write(self.descriptor, data)
            data, offset = data[count:], offset + count

    def read_at(self, offset: int, count: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self.descriptor, count, offset)
        with self._lock:
            os.lseek(self.descriptor, offset, os.SEEK_SET)
            return os.read(self.descriptor, count)

    def status(self) -> os.stat_result:
        return os.fstat(self.descriptor)

    def close(self) -> None:
        os.close(self.descriptor)
