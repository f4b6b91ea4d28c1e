"""An annotation file: read whole, decoded against a type, and complained about by file and row."""

from __future__ import annotations

import re
from typing import Annotated, NamedTuple, TypeVar

import msgspec

from assetmgr.errors import IntegrityError, UnsafeNameError
from assetmgr.names import path_fault

T = TypeVar("T")

# An image's id as annotation files have it. A number must fit the 64 bits in which it is kept.
Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | str

# How msgspec ends a complaint: ... - at `$[12].caption`
_WHERE = re.compile(r" - at `\$\.?(.+)`\Z")


class Annotation(NamedTuple):
    """One annotation file of a split."""

    asset: str
    split: str
    path: str

    def read(self) -> bytes:
        """The file's bytes.

        Raises
        ------
        IntegrityError
            When it cannot be read.
        """
        try:
            with open(self.path, "rb") as file:
                return file.read()
        except OSError as error:
            raise self.fault(f"cannot be read: {error.strerror}") from None

    def decode(self, data: bytes, kind: type[T]) -> T:
        """The file's JSON as a typed value.

        Raises
        ------
        IntegrityError
            When it is not JSON, or not of that shape; names the row.
        """
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.ValidationError as error:
            message = str(error)
            place = _WHERE.search(message)
            raise self.fault(_WHERE.sub("", message), f"row {place[1]}" if place else "") from None
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise self.fault(f"not JSON: {error}") from None

    def check_name(self, name: str, row: int | str) -> str:
        """Return the name of an image, or raise `UnsafeNameError` when it must not become a path."""
        fault = path_fault(name)
        if fault:
            raise UnsafeNameError(f"{self._at(f'row {row}')}: unsafe image name {name!r}: {fault}")
        return name

    def fault(self, what: str, row: str = "") -> IntegrityError:
        """An error about this file, to be raised."""
        return IntegrityError(
            f"{self._at(row)}: {what}",
            mend=f"assetmgr verify {self.asset} --full --repair; if the file is whole, "
            f"correct `splits:` or `samples:` of {self.asset} in the manifest",
        )

    def _at(self, row: str) -> str:
        return f"{self.asset}, split {self.split}: {self.path}" + (f", {row}" if row else "")
