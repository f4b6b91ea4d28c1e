"""A tar, read from front to back: files and folders, by the headers of POSIX (ustar, pax) and GNU.

Formats: POSIX.1-2017, pax, "pax Interchange Format" and "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
The standard library's tarfile is not used: it reads extension headers of any size into memory, stops without a word
at a damaged header, and what its filters refuse depends on the patch release of Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from assetmgr.archives.limits import ArchiveLimits
from assetmgr.archives.members import Census, Member, refuse
from assetmgr.digests import CHUNK

BLOCK = 512
_ZEROS = bytes(BLOCK)
_EXTENSION_BYTES = 1 << 20
_EXTENSIONS_IN_A_ROW = 8
_REFUSED = {
    b"1": "is a hard link",
    b"2": "is a symbolic link",
    b"3": "is a character device",
    b"4": "is a block device",
    b"6": "is a fifo",
    b"S": "is a sparse file",
    b"D": "is a folder dump of GNU tar",
    b"M": "is one part of a tar of several files",
    b"V": "is a volume label",
}


class Bytes(Protocol):
    """What a tar is read from: a plain file or a decompressed one."""

    def read(self, size: int, /) -> bytes: ...
    def skip(self, size: int, /) -> int: ...


class _TarMember:
    """A reader of the member that the stream stands at."""

    def __init__(self, tar: _Tar, path: str, size: int) -> None:
        self._tar, self._path, self.left = tar, path, size

    def opened(self) -> _TarMember:
        return self

    def read(self, size: int) -> bytes:
        if self._tar.current is not self:
            raise ValueError(f"{self._path}: a member of a tar can be read only until the next one is drawn")
        data = self._tar.stream.read(min(size, self.left)) if self.left else b""
        if not data and self.left:
            refuse(self._tar.archive, "is cut off", self._path)
        self.left -= len(data)
        return data


class _Tar:
    """The state of one reading."""

    def __init__(self, stream: Bytes, archive: str, limits: ArchiveLimits) -> None:
        self.stream, self.archive = stream, archive
        self.census = Census(archive, limits)
        self.current: _TarMember | None = None

    def members(self) -> Iterator[Member]:
        while (header := self._header()) is not None:
            path, kind, size = header
            padding = -size % BLOCK
            if kind == b"5" or (kind in (b"0", b"\0") and path.endswith("/")):
                if size:
                    refuse(self.archive, "is a folder with content", path)
                self.census.folder(path)
                continue
            if kind not in (b"0", b"\0", b"7"):
                refuse(self.archive, _REFUSED.get(kind, f"is of the unknown type {kind!r}"), path)
            path = self.census.file(path, size)
            self.current = reader = _TarMember(self, path, size)
            yield Member(path, size, reader.opened)
            self.current = None
            if self.stream.skip(reader.left + padding) != reader.left + padding:
                refuse(self.archive, "is cut off", path)
        self._end()

    def _header(self) -> tuple[str, bytes, int] | None:
        """The next member's name, type and size, with what extension headers say of it; None at the end mark."""
        said: dict[str, str] = {}
        for _ in range(_EXTENSIONS_IN_A_ROW):
            block = self._block()
            if block == _ZEROS:
                if said:
                    refuse(self.archive, "ends after an extension header")
                return None
            if not is_header(block):
                refuse(self.archive, "has a damaged header")
            kind, size = block[156:157], self._number(block[124:136])
            if kind in (b"x", b"g"):
                records = self._pax(self._extension(size))
                if kind == b"g" and records.keys() & {"path", "linkpath", "size"}:
                    refuse(self.archive, "gives one name or size to all its members")
                said.update(records if kind == b"x" else {})
            elif kind in (b"L", b"K"):
                text = self._text(self._extension(size).rstrip(b"\0"))
                said["path" if kind == b"L" else "linkpath"] = text
            else:
                path = said.get("path") or self._name(block)
                if any(key.startswith("GNU.sparse.") or key == "SCHILY.realsize" for key in said):
                    refuse(self.archive, "is a sparse file", path)
                if "size" in said:
                    if not (said["size"].isascii() and said["size"].isdigit() and len(said["size"]) < 20):
                        refuse(self.archive, f"has the size {said['size'][:80]!r}", path)
                    size = int(said["size"])
                return path, kind, size
        refuse(self.archive, f"has {_EXTENSIONS_IN_A_ROW} extension headers in a row")

    def _block(self) -> bytes:
        block = self._exactly(BLOCK)
        if len(block) < BLOCK:
            refuse(self.archive, "is cut off: a tar ends with a mark, and this one has none")
        return block

    def _exactly(self, size: int) -> bytes:
        """That many bytes, fewer only at the end."""
        data = self.stream.read(size)
        while data and len(data) < size and (more := self.stream.read(size - len(data))):
            data += more
        return data

    def _extension(self, size: int) -> bytes:
        if size > _EXTENSION_BYTES:
            refuse(self.archive, f"has an extension header of {size} bytes; {_EXTENSION_BYTES} are allowed")
        data = self._exactly(size + -size % BLOCK)
        if len(data) < size:
            refuse(self.archive, "is cut off in an extension header")
        return data[:size]

    def _pax(self, data: bytes) -> dict[str, str]:
        """Records of the form ``LENGTH KEY=VALUE\\n``, where the length counts the whole record."""
        records: dict[str, str] = {}
        at = 0
        while at < len(data):
            digits = data[at : at + 9].partition(b" ")[0]
            length = int(digits) if digits.isdigit() else 0
            key, equals, value = data[at + len(digits) + 1 : at + length - 1].partition(b"=")
            if length <= len(digits) + 2 or data[at + length - 1 : at + length] != b"\n" or not equals:
                refuse(self.archive, "has a damaged pax header")
            # Binary attributes of other tools are of no concern; a name must be text.
            records[key.decode("utf-8", "replace")] = self._text(value) if key == b"path" else value.decode("latin-1")
            at += length
        return records

    def _name(self, block: bytes) -> str:
        name = block[:100].partition(b"\0")[0]
        if block[257:263] == b"ustar\0" and (prefix := block[345:500].partition(b"\0")[0]):
            name = prefix + b"/" + name
        return self._text(name)

    def _text(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            refuse(self.archive, f"has a member whose name is not UTF-8: {raw[:200]!r}")

    def _number(self, field: bytes) -> int:
        """Octal digits, or GNU's binary form with the top bit set."""
        if field[0] == 0x80:
            return int.from_bytes(field[1:], "big")
        number = _octal(field)
        if number is None:
            refuse(self.archive, f"has a header with the size {field!r}")
        return number

    def _end(self) -> None:
        """After the end mark only zeros may come; all is read, so that a compressed file's own checksum is checked."""
        while data := self.stream.read(CHUNK):
            if data.count(0) != len(data):
                refuse(self.archive, "has more after its end mark: readers disagree what is in it")


def is_header(block: bytes) -> bool:
    """Whether a block is a tar header: its checksum is right, as unsigned or, from some old writers, signed bytes."""
    if len(block) < BLOCK:
        return False
    said = _octal(block[148:156]) if block[148:156].strip(b" \0") else None
    rest = block[:148] + b" " * 8 + block[156:]
    plain = sum(rest)
    return said is not None and (said == plain or said == plain - 256 * sum(byte > 127 for byte in rest))


def _octal(field: bytes) -> int | None:
    digits = field.strip(b" \0")
    if not digits:
        return 0
    # int() alone would take signs, underscores and 0o.
    return int(digits, 8) if digits.isdigit() and not set(digits) & set(b"89") else None


def tar_members(stream: Bytes, archive: str, limits: ArchiveLimits) -> Iterator[Member]:
    """The files of a tar, in its order."""
    return _Tar(stream, archive, limits).members()
