"""The Receipt document: what assetmgr placed for one lock entry, and when each file was proved.

A receipt carries the whole entry and what the loaders need, so that what is installed can be used, served and
bundled with no manifest in sight. Receipts are keyed by the asset's name and the entry's digest: projects that want
one name at different revisions share a store.
"""

from __future__ import annotations

import os
import time
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from assetmgr.errors import IntegrityError, LockVersionError
from assetmgr.lock import LockedAsset

VERSION = 1


class Stamp(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What `os.stat` said of a file when its bytes were proved, and when that was (Unix seconds).

    A stamp that does not fit means *unproved*, not broken: the file is hashed again and stamped anew.
    """

    size: int
    mtime_ns: int
    inode: int
    proved_at: int

    @classmethod
    def of(cls, status: os.stat_result, proved_at: int | None = None) -> Stamp:
        """The stamp of a file of this status, proved now or at a time that is known."""
        when = int(time.time()) if proved_at is None else proved_at
        return cls(status.st_size, status.st_mtime_ns, status.st_ino, when)

    def fits(self, found: os.stat_result) -> bool:
        return found.st_size == self.size and found.st_mtime_ns == self.mtime_ns and found.st_ino == self.inode


class Receipt(msgspec.Struct, frozen=True):
    """One receipt.

    Attributes
    ----------
    entry
        The lock entry that was pulled.
    stamps
        One a file, in the order of `Contents.files`; None where the file is missing or was found damaged.
    use
        What the manifest says to loaders: ``load``, ``splits``, ``samples``, ``media``, ``variants``.
    pulled_at
        When the last pull completed (Unix seconds).
    endpoint
        For `hub` assets: where it came from, when that was not the hub of the environment.
    local_dirs
        The folders outside the store that show this asset; each has its own record.
    wanted_by
        The manifests that pulled it.
    base
        The folder where relative local paths begin, on the machine that pulled it.
    pins
        The entry digest of each asset that this one requires, as its lock named them.
    tree
        For `hub` assets: the stamp of huggingface_hub's listing of the commit, as it was written or last checked.
    made
        For `url_list` and `script` assets: how the outcome came about.
    """

    entry: LockedAsset
    stamps: tuple[Stamp | None, ...]
    pulled_at: int
    use: dict[str, Any] = {}
    endpoint: str | None = None
    local_dirs: tuple[str, ...] = ()
    wanted_by: tuple[str, ...] = ()
    base: str = ""
    pins: dict[str, str] = {}
    tree: Stamp | None = None
    made: dict[str, Any] = {}
    version: int = VERSION

    @property
    def complete(self) -> bool:
        """Whether every file was proved once. Whether it still is, only the stamps against the disk can say."""
        return None not in self.stamps

    def proved_at(self) -> int | None:
        """The oldest proof among the files, or None while one has none."""
        if not self.complete:
            return None
        return min((stamp.proved_at for stamp in self.stamps if stamp), default=self.pulled_at)


def receipt_name(name: str, digest: str) -> str:
    """The document's file name. A name's own slashes are quoted, so that all receipts lie in one folder."""
    return f"{quote(name, safe='+')}@{digest[:32]}.json"


def asset_of(file_name: str) -> str | None:
    """The asset of a receipt's file name, or None when it is no receipt."""
    stem, at, rest = file_name.rpartition("@")
    return unquote(stem) if at and rest.endswith(".json") else None


def dump_receipt(receipt: Receipt) -> bytes:
    return msgspec.json.encode(receipt) + b"\n"


_DECODER = msgspec.json.Decoder(Receipt)


def parse_receipt(data: bytes, where: str) -> Receipt:
    """Parse a receipt.

    Raises
    ------
    IntegrityError
        When the document is damaged.
    LockVersionError
        When a newer assetmgr wrote it.
    """
    try:
        receipt = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise IntegrityError(
            f"{where}: damaged receipt: {error}", mend="assetmgr pull writes it anew from what is on disk"
        ) from None
    if receipt.version != VERSION:
        raise LockVersionError(
            f"{where}: version {receipt.version} of the receipt format; this assetmgr reads version {VERSION}",
            mend="pip install --upgrade assetmgr",
        )
    if len(receipt.stamps) != receipt.entry.count:
        raise IntegrityError(
            f"{where}: damaged receipt: {len(receipt.stamps)} stamps for {receipt.entry.count} files",
            mend="assetmgr pull writes it anew from what is on disk",
        )
    return receipt
