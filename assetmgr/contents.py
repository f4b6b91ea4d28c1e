"""What an entry puts into the store: its files, and the members of its archives, which listings name.

A lock entry names an archive in one line and its members by the digest of their listing. Whoever plans, looks, proves
or shows works with all of them: `Contents.files`. Stamps in a receipt stand in the order of `Contents.files`, also
where a listing is not to be had; then its members are not among the files, and their stamps wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import msgspec

from assetmgr.errors import LockError
from assetmgr.lock import LockedAsset, LockedExtraction, LockedFile

_Item = TypeVar("_Item")


class Unpacked(NamedTuple):
    """An archive and its members; ``members`` is None where the store has no listing of them."""

    archive: LockedFile
    extract: LockedExtraction
    members: tuple[LockedFile, ...] | None


@dataclass(frozen=True, slots=True)
class Contents:
    """The files of an entry, as they stand in the store.

    Attributes
    ----------
    entry
        As it is locked.
    placed
        The same with ``files`` being all that stands in the store: without the archives that are not kept, and with
        the members of those that are listed.
    unpacked
        The archives, in the entry's order.
    """

    entry: LockedAsset
    placed: LockedAsset
    unpacked: tuple[Unpacked, ...] = ()

    @property
    def files(self) -> tuple[LockedFile, ...]:
        return self.placed.files

    @property
    def unlisted(self) -> tuple[Unpacked, ...]:
        """The archives whose members are not known here."""
        return tuple(each for each in self.unpacked if each.members is None)

    def of_receipt(self, stamps: Sequence[_Item]) -> Sequence[_Item]:
        """A receipt's stamps in the order of ``files``: those of unlisted archives are left out."""
        if not self.unlisted:
            return stamps
        at = len(stamps) - sum(each.extract.members for each in self.unpacked)
        found = list(stamps[:at])
        for each in self.unpacked:
            if each.members is not None:
                found += stamps[at : at + each.extract.members]
            at += each.extract.members
        return found

    def for_receipt(self, stamps: Sequence[_Item], before: Sequence[_Item | None]) -> tuple[_Item | None, ...]:
        """The way back: what is not known of unlisted archives stays as it was ``before``."""
        if not self.unlisted:
            return tuple(stamps)
        own = sum(file.is_placed for file in self.entry.files)
        found: list[_Item | None] = list(stamps[:own])
        at, at_before = own, own
        for each in self.unpacked:
            count = each.extract.members
            if each.members is None:
                found += before[at_before : at_before + count] or [None] * count
            else:
                found += stamps[at : at + count]
                at += count
            at_before += count
        return tuple(found)

    def archive_of(self, file: LockedFile) -> LockedFile | None:
        """The archive that a member comes out of."""
        return next((each.archive for each in self.unpacked if each.members and file in each.members), None)


def contents(entry: LockedAsset, read: Callable[[str], bytes | None]) -> Contents:
    """The contents of an entry; ``read`` gives a listing by its sha256, or None.

    Raises
    ------
    LockError
        When a listing is not what the entry says of it.
    """
    archives = [file for file in entry.files if file.extract is not None]
    if not archives:
        return Contents(entry, entry)
    unpacked = []
    for archive in archives:
        extract = archive.extract
        assert extract is not None
        data = read(extract.listing) if extract.listing is not None else None
        members = None if data is None else _members(entry, archive, extract, data)
        unpacked.append(Unpacked(archive, extract, members))
    own = [file for file in entry.files if file.is_placed]
    files = (*own, *(member for each in unpacked for member in each.members or ()))
    return Contents(entry, msgspec.structs.replace(entry, files=files), tuple(unpacked))


class _Listing(msgspec.Struct):
    members: tuple[LockedFile, ...]


_DECODER = msgspec.json.Decoder(_Listing)


def _members(entry: LockedAsset, archive: LockedFile, extract: LockedExtraction, data: bytes) -> tuple[LockedFile, ...]:
    """The members of a listing, as files of a place. Who writes by their names checks them (`parse_listing`)."""
    try:
        members = _DECODER.decode(data).members
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        members, fault = (), f"is no listing: {error}"
    else:
        size = sum(member.size for member in members)
        fault = f"names {len(members)} files of {size} bytes, and the lock says {extract.members} of {extract.size}"
        if (len(members), size) == (extract.members, extract.size):
            fault = ""
    if fault:
        raise LockError(
            f"{entry.name}: {archive.path}: its listing {extract.listing} {fault}",
            mend=f"assetmgr lock --upgrade {entry.name}",
        )
    for member in members:  # they were made a moment ago, and nobody else has seen them
        msgspec.structs.force_setattr(member, "place", extract.place)
    return members
