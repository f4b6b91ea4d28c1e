"""An annotation file: read in bounded pieces, hashed as it is read, decoded against a type, complained about by row."""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec

from assetmgr.errors import IntegrityError, UnsafeNameError
from assetmgr.names import path_fault

T = TypeVar("T")

# An image's id as annotation files have it. A number must fit the 64 bits in which it is kept.
Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | str

# How msgspec ends a complaint: ... - at `$[12].caption`
_WHERE = re.compile(r" - at `\$\.?(.+)`\Z")
_ROW = re.compile(r"\A\[(\d+)\]")
_BLOCK = 4 << 20
# Where a list of rows may be cut, tried from the end: each try decodes the piece once.
_TRIES = 32


class Annotation(NamedTuple):
    """One annotation file of a split. ``sha256`` is what its bytes must have; empty: whatever they are."""

    asset: str
    split: str
    path: str
    sha256: str = ""

    def blocks(self) -> Iterator[bytes]:
        """The file's bytes, in pieces; less the mark that some editors of Windows put before UTF-8.

        Raises
        ------
        IntegrityError
            When it cannot be read, or, after the last piece, when its bytes are not those of the lock.
        """
        digest = hashlib.sha256()
        try:
            with open(self.path, "rb") as file:
                block = file.read(_BLOCK)
                digest.update(block)
                yield block.removeprefix(codecs.BOM_UTF8)
                while block := file.read(_BLOCK):
                    digest.update(block)
                    yield block
        except OSError as error:
            raise self.fault(f"cannot be read: {error.strerror}") from None
        if self.sha256 and digest.hexdigest() != self.sha256:
            raise self.fault(f"altered: expected sha256 {self.sha256}, found {digest.hexdigest()}")

    def read(self) -> bytes:
        """All of the file's bytes. Raises as `blocks` does."""
        return b"".join(self.blocks())

    def first(self, *, within: bytes = b"") -> bytes:
        """The first byte that is not blank, or none; ``within`` is one that may stand before it."""
        try:
            with open(self.path, "rb") as file:
                head = file.read(4096).removeprefix(codecs.BOM_UTF8)
                return head.lstrip().removeprefix(within).lstrip()[:1]
        except OSError as error:
            raise self.fault(f"cannot be read: {error.strerror}") from None

    def document(self, kind: type[T]) -> T:
        """The whole file's JSON as a typed value.

        Raises
        ------
        IntegrityError
            When it is not JSON, or not of that shape; names the row.
        """
        return self._decode(self.read(), msgspec.json.Decoder(kind), 0)

    def rows(self, kind: type[T]) -> Iterator[list[T]]:
        """The rows of a JSON list as typed values, some thousands at a time: a long file never stands whole in memory.

        Raises
        ------
        IntegrityError
            As `document`, at the piece that is wrong.
        """
        decoder = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]
        pending, done, cut = b"", 0, None
        opened, enough = False, _BLOCK // 2
        for block in self.blocks():
            pending += block
            if not opened:
                pending = pending.lstrip()
                if not pending.startswith(b"["):
                    continue  # blank so far, or no list: told at the end
                opened, pending = True, pending[1:]
            cut = cut or _cut_of(pending)
            if cut is None or len(pending) < enough:
                continue
            for at in _from_the_end(cut, pending):
                try:
                    rows: list[T] = decoder.decode(b"[" + pending[:at] + b"]")
                except msgspec.ValidationError:
                    rows = self._decode(b"[" + pending[:at] + b"]", decoder, done)
                except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                    continue  # not between two rows of the list: inside a text, or a list inside a row
                yield rows
                done, pending, enough = done + len(rows), pending[at + 1 :], _BLOCK // 2
                break
            else:
                enough = 2 * len(pending)  # rows of another kind than the first, or very long ones
        rows = self._decode((b"[" if opened else b"") + pending, decoder, done)
        if done and not rows:
            raise self.fault("not JSON: a comma ends the list")
        yield rows

    def _decode(self, data: bytes, decoder: msgspec.json.Decoder[T], before: int) -> T:
        """Decode; in a complaint, rows are counted from the ``before`` that came earlier."""
        try:
            return decoder.decode(data)
        except msgspec.ValidationError as error:
            message = str(error)
            place = _WHERE.search(message)
            row = _ROW.sub(lambda match: f"[{int(match[1]) + before}]", place[1]) if place else ""
            raise self.fault(_WHERE.sub("", message), f"row {row}" if row else "") from None
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise self.fault(f"not JSON: {error}") from None

    def check_names(self, names: Sequence[str], before: int = 0, *, row: str = "[{}]") -> None:
        """Raise `UnsafeNameError` where a name of a medium must not become a path; ``before`` rows came earlier."""
        for name in dict.fromkeys(names):
            if fault := path_fault(name):
                where = row.format(names.index(name) + before)
                raise UnsafeNameError(f"{self._at(f'row {where}')}: unsafe image name {name!r}: {fault}")

    def fault(self, what: str, row: str = "") -> IntegrityError:
        """An error about this file, to be raised."""
        return IntegrityError(
            f"{self._at(row)}: {what}",
            mend=f"assetmgr verify {self.asset} --full --repair; if the file is whole, "
            f"correct `splits:` or `samples:` of {self.asset} in the manifest",
        )

    def _at(self, row: str) -> str:
        return f"{self.asset}, split {self.split}: {self.path}" + (f", {row}" if row else "")


def _cut_of(pending: bytes) -> re.Pattern[bytes] | None:
    """What stands between two rows: the end of one, a comma, and the beginning that the first row has."""
    match = re.match(rb'\s*(\{\s*"(?:[^"\\]|\\.){0,200}"\s*:|\[)', pending)
    if match is None:
        return None
    beginning = rb"\s*".join(re.escape(part) for part in re.split(rb"(?<=\{)\s*|\s*(?=:)", match[1]))
    return re.compile((rb"\}" if match[1].startswith(b"{") else rb"\]") + rb"\s*(,)\s*" + beginning)


def _from_the_end(cut: re.Pattern[bytes], pending: bytes) -> Iterator[int]:
    """Where the commas between rows may be, the last ones first."""
    window = 1 << 16
    stop = len(pending)
    tries = 0
    while stop > 0 and tries < _TRIES:
        start = max(0, stop - window)
        # A cut may lie across the edge of the window: look a little further than it.
        found: list[Any] = [match.start(1) for match in cut.finditer(pending, start, min(len(pending), stop + 1024))]
        for at in reversed([at for at in found if start <= at < stop]):
            yield at
            tries += 1
            if tries >= _TRIES:
                return
        stop = start
