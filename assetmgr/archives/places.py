"""Where the members of an archive lie, and one of them read from there: what reads an archive that stays packed needs.

Of a zip the directory alone is read. A plain tar has none: it is read once, from front to back, and each member's
crc32 is taken with it, since the format has none. Members of a compressed tar have no place of their own.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from assetmgr.archives.codecs import codec_of
from assetmgr.archives.limits import ArchiveLimits
from assetmgr.archives.members import refuse
from assetmgr.archives.source import Source, Stream, opened
from assetmgr.archives.tar import BLOCK, is_header, tar_members
from assetmgr.archives.zip_directory import ZipEntry, read_directory
from assetmgr.archives.zip_member import ZipMember
from assetmgr.digests import CHUNK
from assetmgr.errors import UsageError

SUFFIXES = (".zip", ".tar")
COMPRESSED = (".tar.gz", ".tgz", ".tar.xz", ".tar.zst", ".tar.bz2", ".tar.zstd", ".txz", ".tbz2")
PLAIN = -1
"""The method of a member whose bytes stand in the archive as they are, with nothing of its own before them."""
_LIMITS = ArchiveLimits()


class MemberPlace(NamedTuple):
    """One file of an archive, and where it is.

    Attributes
    ----------
    path
        Its name, checked.
    size, packed
        Its bytes, and those that they take in the archive.
    crc32
        None where nobody knows it.
    method
        A zip's, or `PLAIN`.
    offset, end, raw_name, has_descriptor
        See `ZipEntry`; of a plain member its bytes begin at ``offset``. ``raw_name`` is written in hex.
    """

    path: str
    size: int
    packed: int
    crc32: int | None
    method: int
    offset: int
    end: int
    raw_name: str = ""
    has_descriptor: int = 0


def member_places(
    archive: str | os.PathLike[str], *, name: str | None = None, sums: bool = True, limits: ArchiveLimits = _LIMITS
) -> Iterator[MemberPlace]:
    """Where the files of a zip or a plain tar lie, in its order.

    Parameters
    ----------
    sums
        Whether all of a tar is read, for its members' crc32; else its headers alone are.

    Raises
    ------
    IntegrityError
        When it is damaged, or holds what must not be extracted.
    UsageError
        When it is compressed as a whole.
    """
    with opened(archive, name) as source:
        head = source.read_at(0, BLOCK)
        if head.startswith((b"PK\3\4", b"PK\5\6")):
            for entry in read_directory(source, limits):
                yield MemberPlace(
                    entry.path,
                    entry.size,
                    entry.compressed_size,
                    entry.crc32,
                    entry.method,
                    entry.offset,
                    entry.end,
                    entry.raw_name.hex(),
                    int(entry.has_descriptor),
                )
        elif codec := codec_of(head):
            raise UsageError(
                f"{source.name}: compressed as a whole ({codec.name}): a member can be read only by unpacking all that "
                "stands before it",
                mend="unpack it (in the manifest: `extract:`), or pack it anew as a zip or a plain tar",
            )
        elif is_header(head):
            stream = Stream(source)
            for member in tar_members(stream, source.name, limits):
                size, offset = member.size or 0, stream.position
                crc = 0 if sums else None
                if crc is not None:
                    reader = member.open()
                    while data := reader.read(CHUNK):
                        crc = zlib.crc32(data, crc)
                yield MemberPlace(member.path, size, size, crc, PLAIN, offset, offset + size)
        else:
            refuse(source.name, f"is no zip and no plain tar: it begins with {head[:16]!r}")


def read_member(source: Source, place: MemberPlace, limits: ArchiveLimits = _LIMITS) -> bytes:
    """All of one member. What is known of its size and crc32 is checked.

    Raises
    ------
    IntegrityError
        When it is not what its place says.
    """
    if place.method == PLAIN:
        data = source.read_at(place.offset, place.size)
        if len(data) < place.size:
            refuse(source.name, "is cut off", place.path)
        if place.crc32 is not None and zlib.crc32(data) != place.crc32:
            refuse(source.name, "is damaged: its crc32 is another than when its archive was proved", place.path)
        return data
    entry = ZipEntry(
        place.path,
        place.size,
        place.packed,
        place.crc32 or 0,
        place.method,
        place.offset,
        place.end,
        bytes.fromhex(place.raw_name),
        bool(place.has_descriptor),
    )
    reader, pieces = ZipMember(source, entry, limits), []
    while data := reader.read(max(place.size, 1)):
        pieces.append(data)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
