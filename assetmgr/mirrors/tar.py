"""A tar as a mirror: a bundle in one file, read where it lies."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

from assetmgr.archives.positions import Positions, tar_positions
from assetmgr.archives.source import opened
from assetmgr.carried import Carriage, Told
from assetmgr.errors import AccessError, AssetError, OriginError
from assetmgr.lock import LockedFile
from assetmgr.mirrors import Read, blob_path, telling
from assetmgr.transfer.evidence import Headers, local_headers
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.source import Source


class TarMirror:
    """A tar that is not compressed, by its absolute path."""

    is_local = True

    def __init__(self, path: str) -> None:
        self.name = path
        self._lock = threading.Lock()
        self._found: Positions | None = None

    def sources(self, file: LockedFile) -> Sequence[Source]:
        path = blob_path(file.sha256 or "")
        return [self._source(path)] if path in self._positions() else []

    def carriage(self, name: str, read: Read) -> Carriage | None:
        return telling.carriage(self._source, name, read)

    def listed(self, read: Read) -> Sequence[Told] | None:
        return telling.listed(self._source, read)

    def _source(self, path: str) -> Source:
        def open_member(start: int, end: int | None, stop: threading.Event, limits: Limits, /) -> _Answer:
            at = self._positions().get(path)
            if at is None:
                absent = OriginError(f"{self.name}: there is no {path} in it")
                absent.is_absent = True
                raise absent
            return _Answer(self.name, *at, start, end)

        return Source(f"{Path(self.name).as_uri()}#{path}", logins=False, opener=open_member)

    def _positions(self) -> Positions:
        with self._lock:
            if self._found is None:
                try:
                    with opened(self.name, self.name) as source:
                        self._found = tar_positions(source)
                except OSError as error:
                    raise _unreadable(self.name, error) from None
            return self._found


class _Answer:
    """A member's bytes, as a server would send them."""

    def __init__(self, tar: str, at: int, size: int, start: int, end: int | None) -> None:
        try:
            self._file = open(tar, "rb", buffering=0)  # noqa: SIM115 - closed by close()
            said = dict(local_headers(os.fstat(self._file.fileno())))
            self._file.seek(at + start)
        except OSError as error:
            raise _unreadable(tar, error) from None
        last = size if end is None else min(end, size)
        self.url = ""
        self.status = 200 if start == 0 and last == size else 206 if start < size else 416
        if self.status == 206:
            said["Content-Range"] = f"bytes {start}-{last - 1}/{size}"
        self.headers: Headers = said
        self._tar = tar
        self._left = max(last - start, 0) if self.status != 416 else 0

    @property
    def length(self) -> int | None:
        return self._left

    def receive(self, view: memoryview) -> int:
        try:
            count = self._file.readinto(view[: self._left])
        except OSError as error:
            raise _unreadable(self._tar, error) from None
        self._left -= count
        return count

    def close(self) -> None:
        self._file.close()

    def cut(self) -> None:
        """A local file keeps nobody waiting."""


def _unreadable(tar: str, error: OSError) -> AssetError:
    if isinstance(error, PermissionError):
        return AccessError(f"{tar}: {error.strerror}", mend="make it readable for this user")
    return OriginError(f"{tar}: {error.strerror or error}")
