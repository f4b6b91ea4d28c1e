"""Assets whose outcome is made here: until it is known, and until its files are at their places."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from assetmgr.archives import parse_listing
from assetmgr.contents import Unpacked
from assetmgr.digests import sha256_text
from assetmgr.errors import AssetError, ChangedOutcomeError, raise_all
from assetmgr.filling import Filling, merged
from assetmgr.lock import LockedFile
from assetmgr.origins import Context
from assetmgr.origins.made import MadeOrigin
from assetmgr.receipt import Receipt
from assetmgr.store import State

if TYPE_CHECKING:
    from assetmgr.install import Wish


def settle(context: Context, origin: MadeOrigin, wish: Wish, known: Receipt | None = None) -> Wish:
    """Make the outcome of an open entry: the same wish, of the entry that names it.

    ``known`` is the receipt of an outcome that was, of which what is proved is kept.
    """
    entry = wish.entry
    states = context.store.survey(context.store.contents(entry).placed, None)
    files = Filling(context, origin, entry, None, states)
    pending = files.link_same(files.prove_present(files.missing()))
    failed = files.bring(pending)
    raise_all(merged([error for _, error in failed]))
    files.sync()
    if known is None:
        outcome = origin.make(entry)
    else:
        old = Filling(context, origin, known.entry, None, _surveyed(context, known))
        outcome = origin.make(known.entry, without=old.prove_present(old.missing()), facts=known.made)
    data = outcome.listing()
    parse_listing(data, f"{entry.name}: what was made of it")
    listing = context.store.write_listing(data)
    settled = entry.with_outcome(listing, len(outcome.files), sum(file.size for file in outcome.files))
    return dataclasses.replace(wish, entry=settled, made=dict(outcome.facts))


def _surveyed(context: Context, receipt: Receipt) -> Sequence[State]:
    return context.store.survey(context.store.contents(receipt.entry).placed, None)


class Making:
    """What is made, in the place of `Unpacking`: the outcome of an entry that names it by a listing."""

    def __init__(self, context: Context, origin: MadeOrigin, files: Filling, check: Callable[[], None]) -> None:
        self._store, self._origin, self._files, self._check = context.store, origin, files, check
        self.count = 0

    def bytes_of(self, file: LockedFile) -> str | None:
        """Where the bytes are that others are made of: at their own place."""
        return self._files.at(file)

    def release(self, *, whole: bool, later: Collection[str | None]) -> None:
        return None

    def learn(self) -> bool:
        """Have the listing that a lock freezes: from a mirror, or by making the same again."""
        files = self._files
        unlisted = files.contents.unlisted
        for each in unlisted:
            self._learn(each)
        if unlisted:
            files.look()
            self._check()
        for each in self.short():  # whatever is done about them goes by their names
            digest = each.extract.listing or ""
            parse_listing(self._store.read_listing(digest) or b"", f"{files.entry.name}: its listing {digest}")
        return bool(unlisted)

    def _learn(self, each: Unpacked) -> None:
        entry, wanted = self._files.entry, each.extract.listing or ""
        if self._origin.mirrored_listing(entry, wanted) is not None:
            return
        files = self._files
        failed = files.bring(files.link_same(files.prove_present(files.missing())))
        raise_all(merged([error for _, error in failed]))
        files.sync()
        data = self._origin.make(entry).listing()
        if sha256_text(data) != wanted:
            raise ChangedOutcomeError(
                f"{entry.name}: the lock freezes an outcome of {each.extract.members} files that no mirror has, and "
                "what is published now gives another",
                mend=f"name a mirror that it was pushed to by --mirror, or take what is published now: "
                f"assetmgr lock --upgrade {entry.name} && assetmgr pull {entry.name}",
            )
        self._store.write_listing(data)

    def short(self) -> list[Unpacked]:
        """What is to be made, since files of its outcome are not there."""
        return [each for each in self._files.contents.unpacked if self._missing(each)]

    def _missing(self, each: Unpacked) -> list[LockedFile]:
        return [file for file in each.members or () if not self._files.is_proved(file)]

    def unpack(self, short: Sequence[Unpacked]) -> list[AssetError]:
        """Bring what is missing: what was made in this run, what mirrors have, what can be made again."""
        errors: list[AssetError] = []
        for each in short:
            if self._origin.facts(self._files.entry) is None:
                self._files.bring_mirrored(self._missing(each))
            errors += [error for _, error in self._files.bring(self._missing(each))]
        self._files.sync()
        return merged(errors)
