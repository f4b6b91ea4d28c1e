"""Filling a mirror: what of the store goes there, and how a push is told about."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from assetmgr.carried import Carriage
from assetmgr.digests import Hasher
from assetmgr.errors import AssetError, IntegrityError, OriginError, UsageError
from assetmgr.manifest_urls import is_mirror_url, resolve_mirror
from assetmgr.mirrors import check_mirror
from assetmgr.receipt import Receipt
from assetmgr.registry_urls import is_registry
from assetmgr.reporting import Reporter
from assetmgr.store import Layout, Store
from assetmgr.transfer.limits import Limits


@dataclass(frozen=True, slots=True)
class HeldFile:
    """One content that the store holds, by a path that shows it."""

    asset: str
    file: str
    path: str
    sha256: str
    size: int

    @property
    def label(self) -> str:
        return f"{self.asset}: {self.file}"


@dataclass(frozen=True, slots=True)
class PushReport:
    """What a push did: what was sent, what was there already, and what the store could not give.

    ``lacking`` are the sha256 of what is not there, for the ``errors``.
    """

    target: str
    files: int = 0
    bytes: int = 0
    present_files: int = 0
    present_bytes: int = 0
    errors: tuple[AssetError, ...] = ()
    lacking: frozenset[str] = frozenset()


class PushTarget(Protocol):
    def put(self, files: Iterable[HeldFile], *, full: bool = False) -> PushReport:
        """Bring files there that are not, each hashed as it is read: what is not what its name says is not sent.

        A blob is there or not, never in part. ``full`` reads what is there already, and replaces what is wrong.

        Raises
        ------
        AssetError
            When the target fails. A fault of the store is in the report.
        """

    def tell(self, told: Carriage) -> None:
        """Write down there what is to be told of assets that are there whole; what it tells of others stays."""


def open_target(text: str, store: Store, limits: Limits, reporter: Reporter, *, wait: float = 3600.0) -> PushTarget:
    """The target that a text names; a relative folder begins at the working folder.

    ``wait`` is how many seconds to wait for another push from the same store into the same folder.

    Raises
    ------
    UsageError
        When it names none, or one that cannot be pushed to.
    MissingExtraError
        When the library for its kind of bucket is not installed.
    """
    check_mirror(text)
    target = resolve_mirror(text, os.getcwd())
    if target.startswith(("http:", "https:")):
        raise UsageError(
            f"mirror {target}: an http address is read from, not pushed to",
            mend="push to the folder or the bucket that its server serves, or to a registry: oci://host/repository:tag",
        )
    if is_registry(target):
        from assetmgr.mirrors.registry_target import RegistryTarget

        return RegistryTarget(target, limits, reporter)
    if is_mirror_url(target):
        from assetmgr.mirrors.bucket_target import BucketTarget

        return BucketTarget(target, limits, reporter)
    from assetmgr.mirrors.folder_target import FolderTarget

    inside, root = os.path.realpath(target), os.path.realpath(store.root)
    if inside == root or inside.startswith(root + os.sep):
        raise UsageError(f"mirror {target} lies inside the store {store.root}", mend="choose a folder outside")
    return FolderTarget(target, store, limits, reporter, wait=wait)


def held_files(store: Store, receipt: Receipt, reporter: Reporter) -> Iterator[HeldFile | IntegrityError]:
    """What of an asset another machine needs besides manifest and lock: its files, and the listings its entry names.

    Of an archive that is not kept these are its members. In place of an archive's listing that is lost comes the error
    that says so: without it nobody knows what is in the archive.
    """
    entry, layout = receipt.entry, Layout(receipt.entry)
    for file in store.contents(entry).files:
        if file.sha256 is not None:
            yield HeldFile(entry.name, file.path, store.at(layout.name(file)), file.sha256, file.size)
    named = {"the commit": entry.listing}
    named |= {file.path: file.extract.listing for file in entry.files if file.extract is not None}
    for whose, digest in named.items():
        data = store.read_listing(digest) if digest is not None else b""
        if data is None and whose == "the commit":
            # A pull without the hub has none, and all the files: who pulls from this mirror gets as much.
            reporter.say(f"{entry.name}: the listing of {whose} is not in the store, and is left out")
        elif digest is not None:
            listing = HeldFile(entry.name, f"the listing of {whose}", store.listing(digest), digest, len(data or b""))
            yield listing if data is not None else damaged(listing, f"{listing.path} is missing or damaged")


def whole(
    receipts: Iterable[Receipt], held: Mapping[str, Iterable[HeldFile]], lacking: Collection[str]
) -> list[Receipt]:
    """The receipts of the assets that are whole where their ``held`` files were pushed to, with all that they require.

    Of an asset of several revisions it is the one pulled last.
    """
    found: dict[str, Receipt] = {}
    for receipt in sorted(receipts, key=lambda each: each.pulled_at):
        name = receipt.entry.name
        if name in held and all(file.sha256 not in lacking for file in held[name]):
            found[name] = receipt
    while short := [name for name, each in found.items() if not found.keys() >= set(each.entry.requires)]:
        for name in short:
            del found[name]
    return list(found.values())


def unique(files: Iterable[HeldFile]) -> list[HeldFile]:
    """Each content once."""
    return list({file.sha256: file for file in files}.values())


def damaged(file: HeldFile, why: str) -> IntegrityError:
    """What a push says of a file that the store does not hold as it should."""
    return IntegrityError(
        f"{file.label}: not pushed: {why}", mend=f"assetmgr verify {file.asset} --repair, and push again"
    )


def store_fault(file: HeldFile, error: AssetError) -> IntegrityError:
    """The same, of an error of the engine that read it."""
    what = error.message.removeprefix(f"{file.label}: ")
    is_absent = isinstance(error, OriginError) and error.is_absent
    return damaged(file, f"{file.path} is missing" if is_absent else what)


def open_held(file: HeldFile) -> int:
    """Open a file of the store that is a plain one, without waiting."""
    try:
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(file.path, flags)
    except OSError as error:
        raise damaged(file, f"{file.path}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise damaged(file, f"{file.path} is no plain file")
    return descriptor


def check_held(file: HeldFile, hasher: Hasher) -> None:
    """Raise where what was read of a file is not what it should be."""
    found = hasher.digests()["sha256"]
    if hasher.count != file.size or found != file.sha256:
        raise damaged(
            file,
            f"{file.path}: expected {file.size} bytes of sha256 {file.sha256}, found {hasher.count} of {found}",
        )
