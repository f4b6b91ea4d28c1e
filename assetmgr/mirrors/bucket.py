"""A bucket as a mirror, by fsspec: ``s3://name/prefix``, ``gs://...``, and whatever else fsspec has a library for.

Who asks for a bucket has its login where that library looks for it (for S3: the AWS variables and profiles, and
``AWS_ENDPOINT_URL`` for a server of one's own). None of it is ours to know.

A library may sit for minutes in one call. Each stream is read ahead by a thread of its own, and who takes from it
waits no longer than the limits say, and not at all once the run is stopped.
"""

from __future__ import annotations

import contextlib
import importlib.util
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assetmgr.carried import Carriage, Told
from assetmgr.errors import AccessError, AssetError, MissingExtraError, OriginError, UsageError
from assetmgr.lock import LockedFile
from assetmgr.mirrors import Read, blob_path, telling
from assetmgr.transfer.connection import reason
from assetmgr.transfer.evidence import Headers
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.retry import PassingError
from assetmgr.transfer.source import Source
from assetmgr.transfer.wire import StoppedError

# Bytes of one request. A file of no more than this needs one request, and no question for its size before.
PIECE = 2 << 20
_S3 = ("s3", "s3a")


class BucketMirror:
    is_local = False

    def __init__(self, url: str) -> None:
        check_library(url)
        self.name = url
        self._lock = threading.Lock()
        self._opened: tuple[Any, str] | None = None

    def sources(self, file: LockedFile) -> Sequence[Source]:
        return [self._source(blob_path(file.sha256 or ""), file.size)]

    def carriage(self, name: str, read: Read) -> Carriage | None:
        return telling.carriage(self._source, name, read)

    def listed(self, read: Read) -> Sequence[Told] | None:
        return telling.listed(self._source, read)

    def _source(self, path: str, size: int = -1) -> Source:
        url = f"{self.name}/{path}"
        return Source(url, logins=False, opener=_Opener(self, url, path, size))

    def filesystem(self) -> tuple[Any, str]:
        """fsspec's file system, and the prefix in it."""
        with self._lock:
            if self._opened is None:
                self._opened = open_filesystem(self.name)
            return self._opened


def check_library(url: str) -> None:
    """Raise where fsspec, or its library for this kind of bucket, is not there. S3's is not imported for that."""
    scheme = url.partition(":")[0]
    if scheme in _S3 and importlib.util.find_spec("s3fs") and importlib.util.find_spec("fsspec"):
        return
    try:
        import fsspec

        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        also = "" if scheme in _S3 else f", and what serves {scheme}: ({error})"
        raise MissingExtraError(
            f"mirror {url}: no library for {scheme}: buckets is installed", mend=f"pip install 'assetmgr[bucket]'{also}"
        ) from None
    except ValueError:
        raise UsageError(
            f"mirror {url}: nobody knows the scheme {scheme!r}",
            mend="name a folder, http(s)://host/path, or a bucket such as s3://name/prefix",
        ) from None


def open_filesystem(url: str) -> tuple[Any, str]:
    """fsspec's file system for a bucket's URL, and the path in it."""
    import fsspec.core

    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except Exception as error:  # noqa: BLE001 - every library raises what it likes
        raise OriginError(f"{url}: {reason(error)}", mend="see what its library says of its settings") from None
    return filesystem, str(path).rstrip("/")


def bucket_failure(url: str, error: Exception) -> AssetError | PassingError:
    """What a library raised, as one of ours: absent, forbidden, or worth another attempt."""
    if isinstance(error, FileNotFoundError):
        absent = OriginError(f"{url}: {reason(error)}")
        absent.is_absent = True
        return absent
    if isinstance(error, PermissionError):
        return AccessError(f"{url}: {reason(error)}", mend="see which login the bucket's library uses")
    return PassingError(reason(error))


@dataclass(frozen=True, slots=True)
class _Announced:
    """What is known of an object before its bytes come."""

    size: int | None
    etag: str = ""


class _Opener:
    """Opens one blob, as often as it is asked for; its size is asked for once."""

    def __init__(self, mirror: BucketMirror, url: str, path: str, size: int) -> None:
        self._mirror, self._url, self._in_bucket, self._size = mirror, url, path, size
        self._announced: _Announced | None = None

    def __call__(self, start: int, end: int | None, stop: threading.Event, limits: Limits, /) -> _Answer:
        small = 0 < self._size <= PIECE and start == 0 and end is None
        if small:
            # One byte more than is wanted: it would show that there is more.
            return _Answer(_Stream(self, 0, self._size + 1, stop, limits), _Announced(None), 0, None)
        if self._announced is None:
            first = _Stream(self, None, None, stop, limits).take()
            assert isinstance(first, _Announced)
            self._announced = first
        known = self._announced
        last = known.size if end is None or known.size is None else min(end, known.size)
        if known.size is not None and start >= known.size:
            return _Answer(None, known, start, last)
        return _Answer(_Stream(self, start, last, stop, limits), known, start, last)

    def announce(self) -> _Announced:
        filesystem, prefix = self._mirror.filesystem()
        info: Mapping[str, Any] = filesystem.info(self._path(prefix))
        if info.get("type") == "directory":
            raise IsADirectoryError(f"{self._url} is a folder")
        size, etag = info.get("size"), info.get("ETag")
        return _Announced(size if isinstance(size, int) else None, etag if isinstance(etag, str) else "")

    def read(self, start: int, end: int) -> bytes:
        filesystem, prefix = self._mirror.filesystem()
        data: bytes = filesystem.cat_file(self._path(prefix), start=start, end=end)
        return data

    def failure(self, error: Exception) -> AssetError | PassingError:
        return error if isinstance(error, AssetError) else bucket_failure(self._url, error)

    def _path(self, prefix: str) -> str:
        return f"{prefix}/{self._in_bucket}"


class _Stream:
    """What a thread reads of a blob, piece by piece and one ahead. Without a start, it only asks what there is."""

    def __init__(
        self, opener: _Opener, start: int | None, end: int | None, stop: threading.Event, limits: Limits
    ) -> None:
        self._opener, self._start, self._end = opener, start, end
        self._stop, self._limits = stop, limits
        self._closed = threading.Event()
        self._pieces: queue.Queue[bytes | _Announced | Exception] = queue.Queue(maxsize=1)
        threading.Thread(target=self._run, name="assetmgr-bucket", daemon=True).start()

    def _run(self) -> None:
        try:
            if self._start is None:
                self._put(self._opener.announce())
                return
            offset = self._start
            while not self._closed.is_set():
                most = offset + PIECE if self._end is None else min(offset + PIECE, self._end)
                data = self._opener.read(offset, most) if offset < most else b""
                offset += len(data)
                self._put(data)
                if not data or offset < most:
                    break
            self._put(b"")
        except Exception as error:  # noqa: BLE001 - raised where the pieces are taken
            self._put(error)

    def _put(self, item: bytes | _Announced | Exception) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._pieces.put(item, timeout=0.5)
                return

    def take(self) -> bytes | _Announced:
        """The next piece; empty at the end.

        Raises
        ------
        PassingError, AssetError
            As the library failed, or where it is silent for as long as the limits allow.
        """
        until = time.monotonic() + self._limits.read_timeout
        while True:
            if self._stop.is_set() or self._closed.is_set():
                raise StoppedError
            try:
                item = self._pieces.get(timeout=0.1)
            except queue.Empty:
                if time.monotonic() > until:
                    self.close()
                    raise PassingError(f"stalled: nothing came in {self._limits.read_timeout:.0f} s") from None
                continue
            if isinstance(item, Exception):
                self.close()
                raise self._opener.failure(item)
            return item

    def close(self) -> None:
        """Let the thread end once its library lets go of it. Nobody waits for that."""
        self._closed.set()


class _Answer:
    """A blob's bytes, as a server would send them."""

    def __init__(self, stream: _Stream | None, known: _Announced, start: int, end: int | None) -> None:
        self._stream = stream
        self._piece = memoryview(b"")
        self.url = ""
        self.length: int | None = None if end is None else max(end - start, 0)
        said = {"Accept-Ranges": "bytes"} | ({"ETag": known.etag} if known.etag else {})
        self.status = 200 if start == 0 and end == known.size else 206
        if start and stream is None:
            self.status = 416
        elif self.status == 206:
            said["Content-Range"] = f"bytes {start}-{(end or 0) - 1}/{known.size}"
        self.headers: Headers = said

    def receive(self, view: memoryview) -> int:
        if not self._piece:
            if self._stream is None or self.length == 0:
                return 0
            piece = self._stream.take()
            assert isinstance(piece, bytes)
            self._piece = memoryview(piece)
        count = min(len(view), len(self._piece), len(self._piece) if self.length is None else self.length)
        view[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        if self.length is not None:
            self.length -= count
        return count

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def cut(self) -> None:
        self.close()
