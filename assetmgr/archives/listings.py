"""The listing of an archive: every member's path, size and sha256, as a document that a lock names by its own sha256.

It is taken in one reading of the archive, and it is what any machine proves extracted files against. Equal content,
equal bytes: members are sorted, one a line, and neither the order of the archive, nor its kind, nor how well it is
compressed, nor the name of the file leave a trace.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from assetmgr.archives.formats import Archive, open_archive
from assetmgr.archives.limits import ArchiveLimits
from assetmgr.archives.members import Member, Names, member_fault, selected
from assetmgr.archives.source import Seekable
from assetmgr.digests import CHUNK, Hasher, in_parallel
from assetmgr.errors import AssetError, LockError, LockVersionError, UnsafeNameError
from assetmgr.names import check_digest, check_distinct

VERSION = 1


class ListedMember(msgspec.Struct, frozen=True):
    """One file of an archive, pinned. ``path`` is where it goes, after stripping; ``size`` is in bytes."""

    path: str
    size: int
    sha256: str


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    members: tuple[ListedMember, ...]


def listing(
    archive: str | os.PathLike[str] | Seekable,
    *,
    strip: int = 0,
    prefix_filter: str | None = None,
    name: str | None = None,
    limits: ArchiveLimits | None = None,
    progress: Callable[[int], object] | None = None,
) -> tuple[ListedMember, ...]:
    """Read an archive once and list its files, sorted by path.

    Parameters
    ----------
    strip
        How many leading parts each path loses; files with no more parts than that are left out.
    prefix_filter
        A folder in the archive: only what lies below it is listed. It is not itself stripped.
    name
        See `open_archive`.
    progress
        Called with the size of each piece as it is read, in unpacked bytes.

    Raises
    ------
    IntegrityError
        When the archive is damaged or holds what must not be extracted, or two members become one by stripping.
    """
    with open_archive(archive, limits, name=name) as opened:
        found = _hashed(opened, chosen(opened, strip, prefix_filter), progress)
        return tuple(sorted(found, key=lambda member: member.path))


def chosen(archive: Archive, strip: int, prefix: str | None) -> Iterator[tuple[str, Member]]:
    """The members of a selection, each with where it goes."""
    names = Names(archive.name)
    for member in archive.members:
        target = selected(member.path, strip, prefix)
        if target is not None:
            # Names that were distinct may not be so without their first parts.
            yield names.file(target) if strip else target, member


def _hashed(
    archive: Archive, members: Iterable[tuple[str, Member]], progress: Callable[[int], object] | None
) -> Iterator[ListedMember]:
    def work(item: tuple[str, Member]) -> ListedMember:
        target, member = item
        reader, hasher = member.open(), Hasher()
        while data := reader.read(CHUNK):
            hasher.update(data)
            if progress is not None:
                progress(len(data))
        return ListedMember(target, hasher.count, hasher.digests()["sha256"])

    if archive.independent:
        return (listed for _, listed in in_parallel(work, members))
    return map(work, members)


def extracted_size(members: Iterable[ListedMember]) -> int:
    """The bytes that a listing's files take on disk, before the file system rounds each up to its blocks."""
    return sum(member.size for member in members)


def dump_listing(members: Iterable[ListedMember]) -> bytes:
    """The document's bytes."""
    lines = [msgspec.json.encode(member) for member in sorted(members, key=lambda member: member.path)]
    return b'{"version":%d,"members":[\n' % VERSION + b",\n".join(lines) + b"\n]}\n"


def parse_listing(data: bytes, where: str) -> tuple[ListedMember, ...]:
    """Parse a listing, whoever wrote it. ``where`` names the document in every complaint.

    Raises
    ------
    LockVersionError
        When a newer assetmgr wrote it.
    LockError
        When it is no listing, or a path, size or digest in it is not what a listing may hold.
    """
    mend = "make it anew from the archive: assetmgr lock"
    try:
        document = msgspec.json.decode(data, type=_Document)
        if document.version == VERSION:
            check_members(document.members)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LockError(f"{where}: not a listing of an archive: {error}", mend=mend) from None
    except AssetError as error:
        raise LockError(f"{where}: {error.message}", mend=mend) from None
    if document.version != VERSION:
        raise LockVersionError(
            f"{where}: version {document.version} of the listing format; this assetmgr reads version {VERSION}",
            mend="pip install --upgrade assetmgr",
        )
    return document.members


def check_members(members: Sequence[ListedMember]) -> None:
    """Check every path, size and digest.

    Raises
    ------
    UnsafeNameError, LockError
    """
    for member in members:
        if fault := member_fault(member.path):
            raise UnsafeNameError(f"unsafe path in a listing {member.path!r}: {fault}")
        check_digest(member.sha256, "sha256", f"{member.path}: sha256")
        if member.size < 0:
            raise LockError(f"{member.path}: negative size {member.size}")
    check_distinct((member.path for member in members), "paths in a listing")
