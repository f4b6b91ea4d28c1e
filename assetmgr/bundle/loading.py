"""What a bundle has to give to a store: it is looked at, its signature and its age are judged, before any is taken."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from assetmgr.bundle.checking import Opened, faults_of_contents, faults_of_shape, is_whole, open_parts, signers, told
from assetmgr.bundle.holding import holdings, listing_of
from assetmgr.bundle.serials import refuse_older
from assetmgr.bundle.signing import Signer
from assetmgr.carried import Carriage
from assetmgr.contents import contents
from assetmgr.errors import NotInstalledError, NotLockedError, raise_all
from assetmgr.store import Store


@dataclass(frozen=True, slots=True)
class Offer:
    """What is to be loaded.

    Attributes
    ----------
    opened
        The bundle, or the parts of it that are at hand.
    carriage
        The assets that were asked for, and what these require.
    signer
        Who signed it, where that was to be proved.
    """

    opened: tuple[Opened, ...]
    carriage: Carriage
    signer: Signer | None

    @property
    def label(self) -> str:
        first = self.opened[0].part
        several = len(self.opened) > 1
        return f"{first.name or 'bundle'} {first.serial or ''}".rstrip() if several else first.label

    @property
    def needs_others(self) -> bool:
        """Whether some of it is elsewhere: on other volumes, or in the bundle that it was made since."""
        return bool(self.opened[0].part.since) or not is_whole(self.opened)

    @property
    def layers(self) -> set[str]:
        return {sha256 for each in self.opened for sha256 in each.part.layers}


def offer(
    paths: Sequence[str], names: Sequence[str], store: Store, *, keys: str | None = None, allow_older: bool = False
) -> Offer:
    """Look at a bundle.

    Parameters
    ----------
    names
        Assets of it; all where there are none.
    keys
        An allowed signers' file: one of those must have signed it.
    allow_older
        Load it also where a later one of its line was loaded here.

    Raises
    ------
    IntegrityError
        When it is not what its documents say, or not signed as it must be.
    NotLockedError
        When it has not what was asked for.
    StaleLockError
        When a later one was loaded.
    """
    opened = open_parts(paths)
    found = signers(opened, keys) if keys is not None else []
    raise_all(told([*faults_of_shape(opened), *faults_of_contents(opened)]))
    first = opened[0].part
    if not allow_older:
        refuse_older(first, store)
    carriage = first.carriage
    if unknown := set(names) - {each.name for each in carriage.assets}:
        has = ", ".join(each.name for each in carriage.assets[:8])
        raise NotLockedError(
            f"{first.where}: there is no {', '.join(sorted(unknown))} in it; it has {has}",
            mend=f"assetmgr bundle inspect {first.where}",
        )
    return Offer(tuple(opened), carriage.of(names) if names else carriage, found[0] if found else None)


def unread(wanted: Offer, store: Store) -> set[str]:
    """What a pull would not read, and so not prove, of assets that are not in the store yet.

    Members of archives that it unpacks, and listings, which it can do without.
    """
    read = listing_of([each.place for each in wanted.opened], store.read_listing)
    found: set[str] = set()
    for each in wanted.carriage.assets:
        receipt = store.read_receipt(each.entry)
        if receipt is None or receipt.pulled_at == 0:
            made_of = contents(each.entry, read)
            own = {file.sha256 for file in each.entry.files}
            found |= {file.sha256 for file in made_of.files if file.sha256 is not None and file.sha256 not in own}
            found |= {one.extract.listing for one in made_of.unpacked if one.extract.listing is not None}
            found |= {each.entry.listing} if each.entry.listing is not None else set()
    return found & wanted.layers


def refuse_without_base(wanted: Offer, store: Store) -> None:
    """Raise where a delta is of no use, since what it was made since is not in the store.

    Raises
    ------
    NotInstalledError
        Before anything was taken.
    """
    first = wanted.opened[0].part
    if not first.since or not is_whole(wanted.opened):
        return
    read = listing_of([each.place for each in wanted.opened], store.read_listing)
    needs = holdings(wanted.carriage, read)
    sizes = {sha256: size for need in needs.values() for sha256, size in need.files.items()}
    left = sizes.keys() - wanted.layers
    left -= store.proved_elsewhere(left).keys() if left else set()
    if left:
        amount = sum(sizes[each] for each in left)
        raise NotInstalledError(
            f"{first.where}: it was made since another bundle, and {len(left):,} files ({amount:,} bytes) are neither "
            "in it nor in this store",
            mend=f"load that bundle first; or name it too: assetmgr bundle load {shlex.quote(first.where)} --with OLD",
        )
