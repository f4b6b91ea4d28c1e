"""A folder as a mirror: on a stick, on a share, or a bundle."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from assetmgr.errors import OriginError
from assetmgr.lock import LockedFile
from assetmgr.mirrors import blob_path
from assetmgr.transfer.source import Source

_ABSENT = "there is no such folder; is its disk mounted?"


class FolderMirror:
    """A folder, by its absolute path."""

    is_local = True

    def __init__(self, folder: str) -> None:
        self.name = folder

    def sources(self, file: LockedFile) -> Sequence[Source]:
        path = os.path.join(self.name, *blob_path(file.sha256 or "").split("/"))
        try:
            os.lstat(path)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and os.path.isdir(self.name):
                return []
            raise OriginError(
                f"{self.name}: {_ABSENT if isinstance(error, FileNotFoundError) else error.strerror}"
            ) from None
        # What is there but no plain file (a pipe, a folder) is found wanting by who opens it.
        return [Source(Path(path).as_uri(), logins=False)]
