"""A repository of an OCI registry as a mirror: any registry, and whatever put the blobs there."""

from __future__ import annotations

from collections.abc import Sequence

from assetmgr.lock import LockedFile
from assetmgr.names import check_digest
from assetmgr.registry_urls import parse_repository
from assetmgr.transfer.admission import Admission
from assetmgr.transfer.source import Source


class RegistryMirror:
    is_local = False

    def __init__(self, text: str) -> None:
        self.name = text
        self._repository = parse_repository(text)
        self._admission = Admission(self._repository.base, self._repository.name)

    def sources(self, file: LockedFile) -> Sequence[Source]:
        url = self._repository.blob(check_digest(file.sha256 or "", "sha256", "blob"))
        return [Source(url, logins=False, admission=self._admission)]
