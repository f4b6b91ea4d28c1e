"""What the assets of a carriage are made of: which contents a store has that has pulled them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from assetmgr.bundle.places import Place
from assetmgr.carried import Carriage
from assetmgr.contents import contents
from assetmgr.digests import sha256_text
from assetmgr.mirrors import blob_path

# Bytes of a listing up to which it is read: some million files.
LISTING_MOST = 1 << 28

ReadListing: TypeAlias = "Callable[[str], bytes | None]"


@dataclass(frozen=True, slots=True)
class Holding:
    """Contents by sha256.

    Attributes
    ----------
    files
        The size of each file; those of archives without a listing at hand are not among them.
    listings
        What tells of an archive's members.
    trees
        What tells of a hub's whole commit. A store may do without.
    unlisted
        Assets of which a listing was not at hand, once for each archive.
    """

    files: dict[str, int]
    listings: frozenset[str]
    trees: frozenset[str]
    unlisted: tuple[str, ...]

    @property
    def all(self) -> set[str]:
        return {*self.files, *self.listings, *self.trees}


def holding(carriage: Carriage, read: ReadListing) -> Holding:
    """What the assets are made of; ``read`` gives a listing by its sha256, or None.

    Raises
    ------
    LockError
        When a listing is not what an entry says of it.
    """
    files: dict[str, int] = {}
    listings: set[str] = set()
    trees: set[str] = set()
    unlisted: list[str] = []
    for each in carriage.assets:
        found = contents(each.entry, read)
        files.update((file.sha256, file.size) for file in found.files if file.sha256 is not None)
        listings.update(one.extract.listing for one in found.unpacked if one.extract.listing is not None)
        unlisted += [each.name] * len(found.unlisted)
        if each.entry.listing is not None:
            trees.add(each.entry.listing)
    return Holding(files, frozenset(listings), frozenset(trees), tuple(unlisted))


def listing_of(places: Iterable[Place], otherwise: ReadListing) -> ReadListing:
    """Listings out of bundles, else of wherever they are. What is not what its digest says is not there."""

    def read(digest: str) -> bytes | None:
        for place in places:
            data = place.read(blob_path(digest), LISTING_MOST)
            if data is not None and sha256_text(data) == digest:
                return data
        return otherwise(digest)

    return read
