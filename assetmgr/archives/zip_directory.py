"""A zip's directory: what is in it, where each member's bytes lie, and whether that can be true.

The format: PKWARE's APPNOTE 6.3.10, sections 4.3 and 4.5. The end record and the central directory alone are read,
a few hundred kilobytes for 100,000 members, so that a reader of HTTP ranges can use it too. Everything that readers of
zips are known to disagree about is refused: bytes before the first member, two end records, members that overlap.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import attrgetter

from assetmgr.archives.limits import ArchiveLimits
from assetmgr.archives.members import Census, refuse
from assetmgr.archives.source import Seekable, Source, Stream, opened
from assetmgr.digests import CHUNK

LOCAL_HEADER = 30
_END = struct.Struct("<4sHHHHIIH")
_LOCATOR64 = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_ENTRY = struct.Struct("<4s4B4HL2L5H2L")
_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13  # bits of the flags; 13 hides the names too
_PATCHED = 1 << 5
_UTF8 = 1 << 11
_DOS_FOLDER = 0x10
_METHOD_AES = 99
_MOST16, _MOST32 = 0xFFFF, 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """One file in a zip.

    Attributes
    ----------
    path
        Its name, checked.
    size, compressed_size, crc32
        As the central directory has them.
    method
        0 stored, 8 deflate, 12 bzip2, 93 zstd.
    offset, end
        Its local header begins at the one; its data ends before the other, where the next member or the directory is.
    raw_name
        Its name as it is written; the local header must say the same.
    has_descriptor
        Whether the sizes stand behind the data, and the local header may leave them out.
    """

    path: str
    size: int
    compressed_size: int
    crc32: int
    method: int
    offset: int
    end: int
    raw_name: bytes
    has_descriptor: bool


def zip_directory(
    file: str | os.PathLike[str] | Seekable, *, name: str | None = None, limits: ArchiveLimits | None = None
) -> tuple[ZipEntry, ...]:
    """Every file of a zip, in the order of the archive.

    Parameters
    ----------
    file
        A path, or anything that can ``seek`` and ``read``.

    Raises
    ------
    IntegrityError
        When it is no zip, is damaged, or holds what must not be extracted.
    """
    with opened(file, name) as source:
        return read_directory(source, limits or ArchiveLimits())


def read_directory(source: Source, limits: ArchiveLimits) -> tuple[ZipEntry, ...]:
    """See `zip_directory`."""
    count, start, size = _end_record(source)
    if count > limits.entries:
        refuse(source.name, f"has more than {limits.entries} entries, the limit")
    found = sorted(_entries(source, count, start, size), key=attrgetter("offset"))
    ends = [*(entry.offset for entry in found), start][1:]
    placed = [replace(entry, end=end) for entry, end in zip(found, ends, strict=False)]
    for entry, after in pairwise([*placed, None]):
        assert entry is not None
        if entry.offset + LOCAL_HEADER + len(entry.raw_name) + entry.compressed_size > entry.end:
            with_what = repr(after.path) if after else "the directory"
            refuse(source.name, f"overlaps {with_what}: a decompression bomb", entry.path)
    if first := placed[0].offset if placed else start:
        refuse(source.name, f"has {first} bytes before its first member")
    census = Census(source.name, limits)
    files = []
    for entry in placed:
        if entry.path.endswith("/"):
            census.folder(entry.path)
        else:
            files.append(replace(entry, path=census.file(entry.path, entry.size)))
    unpacked = sum(entry.size for entry in files)
    if unpacked > max(limits.ratio_from, limits.ratio * source.size):
        refuse(
            source.name,
            f"unpacks to more than {limits.ratio} times its size: a decompression bomb, "
            "or a limit that is too low for it",
        )
    return tuple(files)


def _end_record(source: Source) -> tuple[int, int, int]:
    """How many entries there are, and the central directory's offset and size."""
    tail_at = max(source.size - _END.size - _MOST16, 0)
    tail = source.read_at(tail_at, source.size - tail_at)
    found = []
    at = tail.rfind(b"PK\5\6")
    while at >= 0:
        if at + _END.size <= len(tail) and at + _END.size + int.from_bytes(tail[at + 20 : at + 22], "little") == len(
            tail
        ):
            found.append(at)
        at = tail.rfind(b"PK\5\6", 0, at)
    if len(found) != 1:
        refuse(
            source.name,
            "has two ends: readers disagree what is in it"
            if found
            else "is a zip that is cut off or has more at its end",
        )
    end_at = tail_at + found[0]
    _, disk, start_disk, here, count, size, start, _ = _END.unpack_from(tail, found[0])
    locator = source.read_at(max(end_at - _LOCATOR64.size, 0), _LOCATOR64.size)
    if len(locator) == _LOCATOR64.size and locator.startswith(b"PK\6\7"):
        narrow = disk, start_disk, here, count, size, start
        record_at = _LOCATOR64.unpack(locator)[2]
        record = source.read_at(min(record_at, source.size), _END64.size)
        if len(record) < _END64.size or not record.startswith(b"PK\6\6"):
            refuse(source.name, "has a zip64 locator that leads nowhere")
        _, length, _, _, disk, start_disk, here, count, size, start = _END64.unpack(record)
        end_at -= _LOCATOR64.size
        if record_at + 12 + length != end_at:
            refuse(source.name, "has a zip64 end record of the wrong length")
        end_at = record_at
        # Some writers (torch's) add the wide record where the narrow one has room: the two must say the same.
        wide = disk, start_disk, here, count, size, start
        if any(few not in (many, _MOST16, _MOST32) for few, many in zip(narrow, wide, strict=True)):
            refuse(source.name, "has two ends: readers disagree what is in it")
    if disk or start_disk or here != count:
        refuse(source.name, "is one part of a zip of several files")
    if start + size != end_at:
        refuse(source.name, "has other bytes before or within it, or a directory of the wrong size")
    return count, start, size


def _entries(source: Source, count: int, start: int, size: int) -> Iterator[ZipEntry]:
    """The central directory's entries as they stand; the path of a folder ends with a slash."""
    stream = Stream(source, start, start + size)
    buffer, at = b"", 0

    def take(length: int) -> bytes:
        nonlocal buffer, at
        while len(buffer) - at < length:
            data = stream.read(8 * CHUNK)
            if not data:
                refuse(source.name, "has a directory that is cut off")
            buffer, at = buffer[at:] + data, 0
        at += length
        return buffer[at - length : at]

    for _ in range(count):
        fields = _ENTRY.unpack(take(_ENTRY.size))
        signature, flags, method, crc = fields[0], fields[5], fields[6], fields[9]
        packed, unpacked, name_length, extra_length, comment_length, disk = fields[10:16]
        attributes, offset = fields[17], fields[18]
        if signature != b"PK\1\2":
            refuse(source.name, "has a damaged directory")
        raw = take(name_length)
        extra = take(extra_length)
        take(comment_length)
        path = _text(raw, flags)
        if flags & _ENCRYPTED or method == _METHOD_AES:
            refuse(source.name, "is encrypted", path)
        if flags & _PATCHED:
            refuse(source.name, "is a patch, not a file", path)
        unpacked, packed, offset, disk = _zip64(source.name, path, extra, unpacked, packed, offset, disk)
        if disk:
            refuse(source.name, "lies in another part of a zip of several files", path)
        path = _typed(source.name, path, attributes, unpacked)
        yield ZipEntry(path, unpacked, packed, crc, method, offset, 0, raw, bool(flags & 8))
    if len(buffer) - at or stream.read(1):
        refuse(source.name, "has more in its directory than it counts")


def _text(raw: bytes, flags: int) -> str:
    """A name is UTF-8 where it says so, and mostly also where it does not; else code page 437, as the format has it."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "surrogateescape") if flags & _UTF8 else raw.decode("cp437")


def _zip64(
    archive: str, path: str, extra: bytes, unpacked: int, packed: int, offset: int, disk: int
) -> tuple[int, int, int, int]:
    """Replace each value that did not fit by that of the zip64 extra field, which has them in this order."""
    values = [unpacked, packed, offset, disk]
    wanted = [number for number in range(4) if values[number] == (_MOST16 if number == 3 else _MOST32)]
    at = 0
    while wanted and at + 4 <= len(extra):
        tag, length = struct.unpack_from("<HH", extra, at)
        body = extra[at + 4 : at + 4 + length]
        at += 4 + length
        if tag != 1:
            continue
        for number in wanted:
            width = 4 if number == 3 else 8
            if len(body) < width:
                refuse(archive, "has a zip64 field that is cut off", path)
            values[number] = int.from_bytes(body[:width], "little")
            body = body[width:]
        break
    return values[0], values[1], values[2], values[3]


def _typed(archive: str, path: str, attributes: int, size: int) -> str:
    """The path, with a slash at the end when it is a folder. The upper half of the attributes is Unix's mode."""
    kind = stat.S_IFMT(attributes >> 16)
    if kind == stat.S_IFLNK:
        refuse(archive, "is a symbolic link", path)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        refuse(archive, "is neither a file nor a folder", path)
    named = path.endswith("/")
    if kind == stat.S_IFREG and named:
        refuse(archive, "is a file with the name of a folder", path)
    if not named and kind != stat.S_IFDIR and not (kind == 0 and attributes & _DOS_FOLDER):
        return path
    if size:
        refuse(archive, "is a folder with content", path)
    return path if named else path + "/"
