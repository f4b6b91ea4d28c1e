"""Mirrors: places that give bytes by their sha256, asked before the origin. One module a kind, behind one Protocol.

Every mirror has the same layout, that of an OCI image: a blob lies at ``blobs/sha256/<64 hex digits>`` below the
folder, the http address or the bucket's prefix; a registry has its own names for the same. Beside the blobs may stand
what it tells of assets (`assetmgr.mirrors.telling`). Nothing of a mirror is believed: what it gives is hashed as it
arrives, and a mirror that lies, stalls or fails is left out for the rest of the run. No login and no token of a hub's
is ever sent to one; a server gets the token that was named for its very address, a bucket is asked as its own library's
settings say, and a registry as ``docker login`` has it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

from assetmgr.carried import Carriage, Told
from assetmgr.errors import UsageError
from assetmgr.lock import LockedFile
from assetmgr.manifest_urls import is_mirror_url, mirror_fault
from assetmgr.names import check_digest
from assetmgr.registry_urls import is_registry
from assetmgr.transfer.source import Source


class Read(Protocol):
    """Reads a small document of a mirror."""

    def __call__(self, source: Source, /, *, most: int) -> bytes | None:
        """Its bytes; None where it is not there. Raises `OriginError`, `AccessError` where it cannot be had."""


class Mirror(Protocol):
    """One mirror.

    Attributes
    ----------
    name
        As it was given, for messages. It holds no secret: `mirror_fault` refuses those.
    is_local
        Whether it is on this machine, and so not forbidden offline.
    """

    @property
    def name(self) -> str: ...
    @property
    def is_local(self) -> bool: ...

    def sources(self, file: LockedFile) -> Sequence[Source]:
        """The ways to a file's bytes. Empty where a look that costs nothing shows that it has none.

        Raises
        ------
        OriginError
            When the mirror is not there at all.
        """

    def carriage(self, name: str, read: Read) -> Carriage | None:
        """What it tells of an asset and of all that this requires; None where it tells nothing of it.

        Raises
        ------
        LockError
            When what it tells is not to be used.
        OriginError, AccessError
        """

    def listed(self, read: Read) -> Sequence[Told] | None:
        """The assets that it tells of, in short; None where it is one of bytes alone.

        Raises
        ------
        LockError, OriginError, AccessError
        """


def blob_path(sha256: str) -> str:
    """Where a blob lies in any mirror."""
    return f"blobs/sha256/{check_digest(sha256, 'sha256', 'blob')}"


def open_mirror(text: str) -> Mirror:
    """The mirror that a text names, as `assetmgr.manifest_urls.resolve_mirror` returns it. Nobody is asked.

    Raises
    ------
    UsageError
        When it names none.
    MissingExtraError
        When the library for its kind of bucket is not installed.
    """
    check_mirror(text)
    if not is_mirror_url(text):
        if os.path.isfile(text):
            from assetmgr.mirrors.tar import TarMirror

            return TarMirror(text)
        from assetmgr.mirrors.folder import FolderMirror

        return FolderMirror(text)
    if text.startswith(("http:", "https:")):
        from assetmgr.mirrors.http import HttpMirror

        return HttpMirror(text)
    if is_registry(text):
        from assetmgr.mirrors.registry import RegistryMirror

        return RegistryMirror(text)
    from assetmgr.mirrors.bucket import BucketMirror

    return BucketMirror(text)


def check_mirror(text: str) -> None:
    """Raise `UsageError` for a text that names no mirror."""
    fault = mirror_fault(text) if text else "it is empty"
    if fault:
        raise UsageError(
            f"mirror {text.rpartition('@')[2]!r}: {fault}",
            mend="name a folder, http(s)://host/path, oci://host/repository:tag, or a bucket such as s3://name/prefix",
        )
