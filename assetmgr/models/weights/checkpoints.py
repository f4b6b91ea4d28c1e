"""What torch's checkpoints (.pth, .pt, .bin, .ckpt) are made of, and whether they are nothing but tensors.

`torch.save` has had three formats: since 1.6 a zip of one pickle and one record a tensor; before, five pickles in a
row with the tensors behind them; before 0.2 a tar. A zip may also be TorchScript, which holds code. Each pickle goes
through `pickles.scan`; whatever else is in the file that `torch.save` does not write, or that readers could understand
in two ways, is refused. Where it cannot be told, the answer is no.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Sequence

from assetmgr.archives.limits import ArchiveLimits
from assetmgr.archives.source import Source, opened
from assetmgr.archives.zip_directory import ZipEntry, read_directory
from assetmgr.archives.zip_member import ZipMember
from assetmgr.errors import IntegrityError
from assetmgr.models.weights.pickles import DamagedPickleError, PickleLimits, is_opcode, scan

PICKLED = (".pth", ".pt", ".bin", ".ckpt")

_ZIP = b"PK\3\4"
# The first of the pickles in a row.
_MAGIC = 0x1950A86A20F9469CFC6C
_ROW = 5
_RECORDS = frozenset({"version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id"})
_SCRIPT = ("constants.pkl", "code/")
_LIMITS = PickleLimits()
_ARCHIVE = ArchiveLimits(entries=2_000_000)


class _Refusal(Exception):
    """The file is no checkpoint that is read here. ``whole``: it is as its publisher made it, as far as can be told."""

    def __init__(self, what: str, *, whole: bool) -> None:
        super().__init__(what)
        self.whole = whole


def check_pickled(asset: str, name: str, path: str | os.PathLike[str]) -> None:
    """Refuse a file of pickled weights that is anything but tensors. Nothing of it is executed, and no torch is needed.

    Parameters
    ----------
    asset, name
        What people call it.

    Raises
    ------
    IntegrityError
        With what was found: the functions that the file would have called, by name.
    """
    try:
        with opened(path, name) as source:
            _check(source)
    except _Refusal as refusal:
        mend = (
            "ask its publisher for safetensors, or take another file of the same model"
            if refusal.whole
            else f"assetmgr verify {asset} --full --repair; if it is as it was published, ask for safetensors"
        )
        raise IntegrityError(f"{asset}: {name} {refusal}; it was not executed", mend=mend) from None


def _check(source: Source) -> None:
    head = source.read_at(0, 4)
    if not head:
        raise _Refusal("is empty", whole=False)
    if head == _ZIP:
        _check_zip(source)
    elif (member := _of_tar(source)) is not None:
        found = _scanned(member, source.size, "its pickle")
        told = f", and names {_listed(found)}" if found else ""
        raise _Refusal(f"is a tar of torch before 0.2, which is not read{told}", whole=True)
    else:
        _check_row(source)


# --- zip -------------------------------------------------------------------------------------------------------------


def _check_zip(source: Source) -> None:
    try:
        entries = read_directory(source, _ARCHIVE)
    except IntegrityError as error:
        raise _Refusal(f"is no zip that torch.save writes: {_after(error.message, source.name)}", whole=False) from None
    root = entries[0].path.partition("/")[0] if entries else ""
    records = {entry.path.removeprefix(f"{root}/"): entry for entry in entries}
    if any(name.startswith(_SCRIPT) for name in records):
        raise _Refusal("is TorchScript: it holds code to execute, which is never done here", whole=True)
    if "data.pkl" not in records:
        raise _Refusal("is a zip without data.pkl: no checkpoint of torch", whole=True)
    for name, entry in records.items():
        _check_record(source, root, name, entry)
    pickle = records["data.pkl"]
    if pickle.size > _LIMITS.size:
        raise _Refusal(f"has a pickle of {pickle.size:,} bytes, beyond all that tensors need", whole=True)
    found = _scanned(io.BytesIO(_content(source, pickle)), source.size, "its data.pkl", whole=True)
    if found:
        raise _Refusal(f"holds more than tensors: {_listed(found)}", whole=True)


def _check_record(source: Source, root: str, name: str, entry: ZipEntry) -> None:
    what = f"{entry.path!r} in it"
    if entry.path != f"{root}/{name}" or not (name == "data.pkl" or name in _RECORDS or _is_tensor(name)):
        raise _Refusal(f"is a zip with more than torch.save writes: {entry.path!r}", whole=True)
    if entry.method:
        raise _Refusal(f"is packed anew: {what} is compressed, and torch.save compresses nothing", whole=True)
    if _is_tensor(name) and _begins(source, entry) == _ZIP:
        raise _Refusal(f"holds more than tensors: {what} is a zip in itself", whole=True)


def _is_tensor(name: str) -> bool:
    folder, _, key = name.partition("/")
    return folder == "data" and key.isascii() and key.isalnum()


def _begins(source: Source, entry: ZipEntry) -> bytes:
    try:
        return ZipMember(source, entry, _ARCHIVE).read(4)
    except IntegrityError as error:
        raise _Refusal(_after(error.message, source.name), whole=False) from None


def _content(source: Source, entry: ZipEntry) -> bytes:
    """All of a record, of the size and crc32 that the directory says."""
    member, pieces = ZipMember(source, entry, _ARCHIVE), []
    try:
        while data := member.read(1 << 20):
            pieces.append(data)
    except IntegrityError as error:
        raise _Refusal(f"is damaged: {_after(error.message, source.name)}", whole=False) from None
    return b"".join(pieces)


def _after(message: str, name: str) -> str:
    return message.removeprefix(f"{name}: ")


# --- pickles in a row, tar -------------------------------------------------------------------------------------------


def _check_row(source: Source) -> None:
    """The format before 1.6: a number, a version, the machine, the object, the keys of its tensors; then these."""
    stream = io.BufferedReader(_Raw(source), 1 << 16)
    found: list[str] = []
    first: object = None
    for number in range(_ROW):
        try:
            result = scan(stream, source.size, _LIMITS)
        except DamagedPickleError as error:
            found += error.findings
            if not found:
                known = "is damaged: a pickle in it" if number else "is no checkpoint of torch: it"
                raise _Refusal(f"{known} cannot be read: {error}", whole=False) from None
            break
        found += result.findings
        first = result.value if number == 0 else first
        if first != _MAGIC and number == 0 and not found:
            raise _Refusal("is no checkpoint of torch: it is a pickle of another program", whole=True)
    # What it names says more than the opcodes by which it does.
    found.sort(key=is_opcode)
    if found:
        raise _Refusal(f"holds more than tensors: {_listed(found)}", whole=True)


class _Raw(io.RawIOBase):
    """A source as a file that is read from front to back."""

    def __init__(self, source: Source) -> None:
        self._source, self._at = source, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = self._source.read_at(self._at, len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


def _of_tar(source: Source) -> io.BytesIO | None:
    """The pickle in a tar, as far as it is there; None when the file is no tar."""
    head = source.read_at(0, tarfile.BLOCKSIZE)
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    found = io.BytesIO()
    at = 0
    for _ in range(64):
        try:
            member = tarfile.TarInfo.frombuf(source.read_at(at, tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            break
        if os.path.basename(member.name) == "pickle":
            found = io.BytesIO(source.read_at(at + tarfile.BLOCKSIZE, min(member.size, _LIMITS.size)))
        at += tarfile.BLOCKSIZE * (1 + -(-max(member.size, 0) // tarfile.BLOCKSIZE))
    return found


def _scanned(stream: io.BytesIO, size: int, what: str, *, whole: bool = False) -> Sequence[str]:
    try:
        result = scan(stream, size, _LIMITS)
    except DamagedPickleError as error:
        if error.findings or not whole:
            return error.findings
        raise _Refusal(f"is damaged: {what} cannot be read: {error}", whole=False) from None
    if whole and stream.read(1):
        raise _Refusal(f"is damaged: {what} has bytes behind its end", whole=False)
    return result.findings


def _listed(findings: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(findings[: _LIMITS.findings]))
