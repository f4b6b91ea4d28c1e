"""An http or https address as a mirror: any server of plain files, and assetmgr's own."""

from __future__ import annotations

from collections.abc import Sequence

from assetmgr.lock import LockedFile
from assetmgr.mirrors import blob_path
from assetmgr.transfer.source import Source


class HttpMirror:
    is_local = False

    def __init__(self, base: str) -> None:
        self.name = base

    def sources(self, file: LockedFile) -> Sequence[Source]:
        return [Source(f"{self.name}/{blob_path(file.sha256 or '')}", logins=False)]
