"""An http or https address as a mirror: any server of plain files, and assetmgr's own."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from assetmgr.carried import Carriage, Told
from assetmgr.lock import LockedFile
from assetmgr.mirrors import Read, blob_path, telling
from assetmgr.transfer.source import Source


class HttpMirror:
    is_local = False

    def __init__(self, base: str) -> None:
        self.name = base

    def sources(self, file: LockedFile) -> Sequence[Source]:
        return [self._source(blob_path(file.sha256 or ""))]

    def carriage(self, name: str, read: Read) -> Carriage | None:
        return telling.carriage(self._source, name, read)

    def listed(self, read: Read) -> Sequence[Told] | None:
        return telling.listed(self._source, read)

    def _source(self, path: str) -> Source:
        return Source(f"{self.name}/{quote(path, safe='/+')}", logins=False)
