"""Archives that the tests build: honest ones of every kind, and hostile ones byte by byte."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import pytest

KINDS = ("zip", "tar", "tar.gz", "tgz", "tar.xz", "tar.bz2", "tar.zst")


def zstd_compress(data: bytes) -> bytes:
    """Skips the test where zstd is not there."""
    try:
        from compression import zstd
    except ImportError:
        zstd = pytest.importorskip("backports.zstd")
    packed: bytes = zstd.compress(data)
    return packed


def build(kind: str, files: Mapping[str, bytes], *, folders: Iterable[str] = ()) -> bytes:
    """An archive as the usual tools write it."""
    if kind == "zip":
        return zip_of(files, folders)
    plain = tar_of(files, folders)
    if kind == "tar":
        return plain
    packers: dict[str, Callable[[bytes], bytes]] = {
        "tar.gz": gzip.compress,
        "tgz": gzip.compress,
        "tar.xz": lzma.compress,
        "tar.bz2": bz2.compress,
        "tar.zst": zstd_compress,
    }
    return packers[kind](plain)


def zip_of(files: Mapping[str, bytes], folders: Iterable[str] = (), method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for folder in folders:
            file.writestr(folder + "/", b"")
        for path, data in files.items():
            file.writestr(path, data)
    return buffer.getvalue()


def tar_of(files: Mapping[str, bytes], folders: Iterable[str] = (), form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as file:
        for folder in folders:
            info = tarfile.TarInfo(folder)
            info.type = tarfile.DIRTYPE
            file.addfile(info)
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


# --- tars, block by block ------------------------------------------------------------------------------------------


def tar_header(name: bytes, size: int = 0, kind: bytes = b"0", *, link: bytes = b"", size_field: bytes = b"") -> bytes:
    """One ustar header with a right checksum, whatever it says."""
    block = bytearray(512)
    block[: len(name)] = name
    block[100:108] = b"0000644\0"
    block[124:136] = size_field or b"%011o\0" % size
    block[156:157] = kind
    block[157 : 157 + len(link)] = link
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def tar_entry(name: bytes, data: bytes = b"", kind: bytes = b"0", *, link: bytes = b"") -> bytes:
    return tar_header(name, len(data), kind, link=link) + data + bytes(-len(data) % 512)


def pax(kind: bytes = b"x", **records: str) -> bytes:
    """A pax header; ``_`` in a key stands for a dot."""
    data = b""
    for key, value in records.items():
        body = f" {key.replace('_', '.')}={value}\n".encode()
        length = len(body) + 1
        while len(str(length)) + len(body) != length:
            length = len(str(length)) + len(body)
        data += str(length).encode() + body
    return tar_entry(b"pax", data, kind)


def tar_end(*entries: bytes) -> bytes:
    return b"".join(entries) + bytes(1024)


# --- zips, record by record ----------------------------------------------------------------------------------------


@dataclass
class ZipPart:
    """One member of a zip, with what its two headers say. None means the truth."""

    name: bytes
    data: bytes = b""
    method: int = 8
    size: int | None = None
    packed_size: int | None = None
    crc: int | None = None
    flags: int = 0
    mode: int = 0
    attributes: int = 0
    local_name: bytes | None = None
    local_size: int | None = None
    offset: int | None = None
    packed: bytes | None = None
    extra: bytes = b""
    local_method: int | None = None

    def packed_data(self) -> bytes:
        if self.packed is not None:
            return self.packed
        if self.method == 8:
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            return packer.compress(self.data) + packer.flush()
        return self.data


def zip_parts(*parts: ZipPart, before: bytes = b"", comment: bytes = b"", count: int | None = None) -> bytes:
    """A zip of members whose headers may lie."""
    body, directory = before, b""
    for part in parts:
        packed = part.packed_data()
        crc = zlib.crc32(part.data) if part.crc is None else part.crc
        size = len(part.data) if part.size is None else part.size
        packed_size = len(packed) if part.packed_size is None else part.packed_size
        name = part.name if part.local_name is None else part.local_name
        local_size = size if part.local_size is None else part.local_size
        method = part.method if part.local_method is None else part.local_method
        offset = len(body) if part.offset is None else part.offset
        if part.offset is None:
            local = (b"PK\3\4", 20, part.flags, method, 0, 0x21, crc, packed_size, local_size, len(name), 0)
            body += struct.pack("<4s5H3L2H", *local) + name + packed
        attributes = part.mode << 16 | part.attributes
        directory += (
            struct.pack(
                "<4s4B4HL2L5H2L",
                *(b"PK\1\2", 20, 3, 20, 0, part.flags, part.method, 0, 0x21, crc, packed_size, size),
                *(len(part.name), len(part.extra), 0, 0, 0, attributes, offset),
            )
            + part.name
            + part.extra
        )
    number = len(parts) if count is None else count
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, number, number, len(directory), len(body), len(comment))
    return body + directory + end + comment


SYMLINK = stat.S_IFLNK | 0o777
