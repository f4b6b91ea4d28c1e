"""What the assets of a carriage are made of: which contents a store has that has pulled them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from assetmgr.bundle.places import Place
from assetmgr.carried import Carriage
from assetmgr.contents import contents
from assetmgr.digests import sha256_text
from assetmgr.lock import LockedAsset
from assetmgr.mirrors import blob_path

# Bytes of a listing up to which it is read: some million files.
LISTING_MOST = 1 << 28

ReadListing: TypeAlias = "Callable[[str], bytes | None]"


@dataclass(frozen=True)
class Holding:
    """The contents of one asset, by sha256.

    Attributes
    ----------
    files
        The size of each file; those of archives without a listing at hand are not among them.
    listings
        What tells of an archive's members.
    tree
        What tells of a hub's whole commit, if anything does. A store may do without.
    unlisted
        Of how many archives the listing was not at hand.
    """

    files: Mapping[str, int]
    listings: frozenset[str]
    tree: str | None
    unlisted: int

    @functools.cached_property
    def all(self) -> frozenset[str]:
        return frozenset({*self.files, *self.listings, *filter(None, [self.tree])})


def holding(entry: LockedAsset, read: ReadListing) -> Holding:
    """What an asset is made of; ``read`` gives a listing by its sha256, or None.

    Raises
    ------
    LockError
        When a listing is not what the entry says of it.
    """
    found = contents(entry, read)
    return Holding(
        {file.sha256: file.size for file in found.files if file.sha256 is not None},
        frozenset(each.extract.listing for each in found.unpacked if each.extract.listing is not None),
        entry.listing,
        len(found.unlisted),
    )


def holdings(carriage: Carriage, read: ReadListing) -> dict[str, Holding]:
    """What each asset is made of, by its name."""
    return {each.name: holding(each.entry, read) for each in carriage.assets}


def listing_of(places: Iterable[Place], otherwise: ReadListing) -> ReadListing:
    """Listings out of bundles, else of wherever they are. What is not what its digest says is not there."""
    found = list(places)

    def read(digest: str) -> bytes | None:
        for place in found:
            data = place.read(blob_path(digest), LISTING_MOST)
            if data is not None and sha256_text(data) == digest:
                return data
        return otherwise(digest)

    return read
