"""A repository of an OCI registry as a mirror: any registry, and whatever put the blobs there.

What it tells of assets is the image that its tag names: one that `assetmgr.mirrors.registry_target` pushed, or a bundle
that another tool carried there.
"""

from __future__ import annotations

from collections.abc import Sequence

from assetmgr.carried import Carriage, Told, told
from assetmgr.errors import LockError, OriginError
from assetmgr.images import INDEX, MANIFEST, MANIFEST_MOST
from assetmgr.lock import LockedFile
from assetmgr.mirrors import Read
from assetmgr.mirrors.telling import in_image
from assetmgr.names import check_digest
from assetmgr.registry_urls import parse_repository
from assetmgr.transfer.admission import Admission
from assetmgr.transfer.source import Source

# What is none of ours is asked for too: a registry that may not give it says that the tag is not there.
ACCEPT = (
    f"{MANIFEST}, {INDEX}, application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, */*;q=0.1"
)


class RegistryMirror:
    is_local = False

    def __init__(self, text: str) -> None:
        self.name = text
        self._repository = parse_repository(text)
        self._admission = Admission(self._repository.base, self._repository.name)

    def sources(self, file: LockedFile) -> Sequence[Source]:
        return [self._source(self._repository.blob(check_digest(file.sha256 or "", "sha256", "blob")))]

    def carriage(self, name: str, read: Read) -> Carriage | None:
        for one in self._told(read):
            if any(each.name == name for each in one.assets):
                return one.of([name])
        return None

    def listed(self, read: Read) -> Sequence[Told] | None:
        return list({each.name: told(each.entry) for one in reversed(self._told(read)) for each in one.assets}.values())

    def _source(self, url: str) -> Source:
        return Source(url, logins=False, accept=ACCEPT if "/manifests/" in url else "*/*", admission=self._admission)

    def _told(self, read: Read) -> list[Carriage]:
        repository = self._repository
        data = read(self._source(repository.manifest(repository.tag)), most=MANIFEST_MOST)
        if data is None:
            error = OriginError(
                f"there is no tag {repository.tag} of {repository.name}",
                mend=f"name a tag that is there; where the assets are installed: assetmgr mirror push {self.name}",
            )
            error.is_absent = True
            raise error

        def blob(digest: str, most: int) -> bytes | None:
            found = read(self._source(repository.blob(digest)), most=most)
            # The manifests that an index names are no blobs to a registry.
            return read(self._source(repository.manifest(f"sha256:{digest}")), most=most) if found is None else found

        found = list(in_image(data, blob, self.name))
        if not found:
            raise foreign(self.name, repository.tag)
        return found


def foreign(text: str, tag: str) -> LockError:
    """What is said of a tag that names what is none of ours."""
    return LockError(
        f"mirror {text}: its tag {tag} names an image that tells of no assets",
        mend="name another tag: one that `assetmgr mirror push` made, or, to push, one that is not there yet",
    )
