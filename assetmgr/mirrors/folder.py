"""A folder as a mirror: on a stick, on a share, or a bundle."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from assetmgr.errors import OriginError
from assetmgr.lock import LockedFile
from assetmgr.mirrors import blob_path
from assetmgr.transfer.source import Source


class FolderMirror:
    """A folder, by its absolute path. What is wrong with a blob (absent, rotten, a pipe) is found by who opens it."""

    is_local = True

    def __init__(self, folder: str) -> None:
        self.name = folder

    def sources(self, file: LockedFile) -> Sequence[Source]:
        if not os.path.isdir(self.name):
            raise OriginError(f"{self.name}: there is no such folder; is its disk mounted?")
        path = os.path.join(self.name, *blob_path(file.sha256 or "").split("/"))
        return [Source(Path(path).as_uri(), logins=False)]
