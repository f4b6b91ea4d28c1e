"""A folder as a mirror: on a stick, on a share, or a bundle."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from assetmgr.carried import Carriage, Told
from assetmgr.errors import OriginError
from assetmgr.lock import LockedFile
from assetmgr.mirrors import Read, blob_path, telling
from assetmgr.transfer.source import Source


class FolderMirror:
    """A folder, by its absolute path. What is wrong with a blob (absent, rotten, a pipe) is found by who opens it."""

    is_local = True

    def __init__(self, folder: str) -> None:
        self.name = folder

    def sources(self, file: LockedFile) -> Sequence[Source]:
        self._check()
        return [self._source(blob_path(file.sha256 or ""))]

    def carriage(self, name: str, read: Read) -> Carriage | None:
        self._check()
        return telling.carriage(self._source, name, read)

    def listed(self, read: Read) -> Sequence[Told] | None:
        self._check()
        return telling.listed(self._source, read)

    def _check(self) -> None:
        if not os.path.isdir(self.name):
            raise OriginError(f"{self.name}: there is no such folder; is its disk mounted?")

    def _source(self, path: str) -> Source:
        return Source(Path(self.name, *path.split("/")).as_uri(), logins=False)
