"""Which kind of archive a file is, told by its content, and its members."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from assetmgr.archives.codecs import Codec, Decompressed, codec_of
from assetmgr.archives.limits import ArchiveLimits
from assetmgr.archives.members import Census, Member, Reader, refuse
from assetmgr.archives.source import Seekable, Source, Stream, opened
from assetmgr.archives.tar import BLOCK, is_header, tar_members
from assetmgr.archives.zip_directory import read_directory
from assetmgr.archives.zip_member import ZipMember


@dataclass(frozen=True, slots=True)
class Archive:
    """An open archive.

    Attributes
    ----------
    name
        For messages.
    kind
        ``zip``, ``tar``, ``tar.gzip`` and so on, or the codec's name for a bare compressed file.
    independent
        Whether members can be opened in any order and by several threads at once.
    members
        In the order of the archive, to be drawn once.
    """

    name: str
    kind: str
    independent: bool
    members: Iterator[Member]


@contextmanager
def open_archive(
    archive: str | os.PathLike[str] | Seekable, limits: ArchiveLimits | None = None, *, name: str | None = None
) -> Iterator[Archive]:
    """Open an archive, whatever kind it is.

    Parameters
    ----------
    name
        What it is called, when its path (a partial file, say) does not tell. A bare ``data.json.gz`` has one member,
        ``data.json``.

    Raises
    ------
    IntegrityError
        When it is none of the known kinds, or is damaged.
    """
    limits = limits or ArchiveLimits()
    with opened(archive, name) as source:
        head = source.read_at(0, BLOCK)
        if head.startswith((b"PK\3\4", b"PK\5\6")):
            yield Archive(source.name, "zip", True, _zip_members(source, limits))
        elif codec := codec_of(head):
            stream = _decompressed(source, codec, limits)
            if _is_tar(_first_block(_decompressed(source, codec, limits)), source.name):
                members = tar_members(stream, source.name, limits)
                yield Archive(source.name, f"tar.{codec.name}", False, members)
            else:
                yield Archive(source.name, codec.name, False, _one_member(source, codec, stream, limits))
        elif _is_tar(head, source.name):
            yield Archive(source.name, "tar", False, tar_members(Stream(source), source.name, limits))
        else:
            refuse(source.name, f"is no zip, tar, gzip, xz, zstd or bzip2 file: it begins with {head[:16]!r}")


def read_members(
    archive: str | os.PathLike[str] | Seekable, limits: ArchiveLimits | None = None, *, name: str | None = None
) -> Iterator[Member]:
    """The files of an archive in its order, read as a stream. See `open_archive`.

    Raises
    ------
    IntegrityError
        At the member that is a link or a device, climbs out of its folder, stands there twice or in another case,
        is encrypted, or exceeds a limit.
    """
    with open_archive(archive, limits, name=name) as opened_archive:
        yield from opened_archive.members


def _decompressed(source: Source, codec: Codec, limits: ArchiveLimits) -> Decompressed:
    return Decompressed(Stream(source), codec, source.name, limits)


def _first_block(stream: Decompressed) -> bytes:
    block = b""
    while len(block) < BLOCK and (piece := stream.read(BLOCK - len(block))):
        block += piece
    return block


def _is_tar(head: bytes, name: str) -> bool:
    """A tar of nothing is zeros and no more; that it is a tar, only its name can say."""
    empty = len(head) == BLOCK and not head.strip(b"\0") and (".tar" in name or name.endswith(".tgz"))
    return empty or is_header(head)


def _zip_members(source: Source, limits: ArchiveLimits) -> Iterator[Member]:
    for entry in read_directory(source, limits):
        yield Member(entry.path, entry.size, partial(ZipMember, source, entry, limits))


def _one_member(source: Source, codec: Codec, stream: Decompressed, limits: ArchiveLimits) -> Iterator[Member]:
    """The one file of a bare compressed file, named after it: the name that gzip keeps inside is anybody's word."""
    base = source.name.replace("\\", "/").rpartition("/")[2]
    stem = next((base[: -len(suffix)] for suffix in codec.suffixes if base.lower().endswith(suffix)), base)
    path = Census(source.name, limits).file(stem, None)
    yield Member(path, None, lambda: _Counted(stream, source.name, path, limits))


class _Counted:
    """A reader of a member that may be of any size, up to the limit."""

    def __init__(self, stream: Reader, archive: str, path: str, limits: ArchiveLimits) -> None:
        self._stream, self._archive, self._path = stream, archive, path
        self._left = self._most = min(limits.member_bytes, limits.total_bytes)

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            refuse(self._archive, f"unpacks to more than the limit of {self._most} bytes", self._path)
        return data
