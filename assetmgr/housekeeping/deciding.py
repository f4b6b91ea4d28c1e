"""What may go out of the store, and why: decided of what is known, without a look at the disk."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from assetmgr.receipt import Receipt


class Fate(Enum):
    """What becomes of one file."""

    REMOVE = "remove"
    PROVE = "hash it: ours where the bytes are those of the receipt"
    LEAVE = "leave: it is somebody's own by now"
    GONE = "it is not there"


def decide_file(
    *, there: bool, is_regular: bool, is_blob: bool, fits: bool, same_size: bool, by_hand: bool, linked: bool = False
) -> Fate:
    """Decide what becomes of a name that no receipt has any more.

    Parameters
    ----------
    fits
        Whether it is as it was when it was proved: a file's stamp, or where a link leads.
    linked
        Of a blob: whether a name that stays leads to it, such as one of a snapshot that huggingface_hub made.
    """
    if not there:
        return Fate.GONE
    if by_hand or linked:
        return Fate.LEAVE
    if is_blob:
        return Fate.REMOVE if is_regular else Fate.LEAVE
    if fits:
        return Fate.REMOVE
    return Fate.PROVE if is_regular and same_size else Fate.LEAVE


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one receipt's use.

    Attributes
    ----------
    wanted
        Whether a manifest that pulled it wants it still, as far as that can be told.
    locked
        By the store's own locks: whether one names this very entry; None where none has its name.
    """

    receipt: Receipt
    wanted: bool
    locked: bool | None


def decide_old(standings: Iterable[Standing]) -> tuple[Receipt, ...]:
    """The receipts that were replaced, and that nobody wants: what ``gc --old`` removes.

    One was replaced where every manifest that pulled it is gone or names other bytes now, or where the store's own lock
    has moved on. What came without a manifest and has no lock here (from a bundle, or let go of by `sync`) is its
    user's: only `rm` takes it away. What an asset that stays requires, stays.
    """
    every = tuple(standings)
    old = {
        _key(each.receipt): each.receipt
        for each in every
        if not each.wanted and not each.locked and (each.receipt.wanted_by or each.locked is False)
    }
    kept = [each.receipt for each in every if _key(each.receipt) not in old]
    while kept:  # what is required by what stays, and by that, ...
        receipt = kept.pop()
        for name, digest in receipt.pins.items():
            if (required := old.pop((name, digest), None)) is not None:
                kept.append(required)
    return tuple(old.values())


def _key(receipt: Receipt) -> tuple[str, str]:
    return receipt.entry.name, receipt.entry.digest()


def requiring(names: Collection[str], receipts: Iterable[Receipt]) -> Mapping[str, tuple[str, ...]]:
    """Of names that are to go: the installed assets that stay and require them."""
    found: dict[str, set[str]] = {}
    for receipt in receipts:
        if receipt.entry.name not in names:
            for name in set(receipt.entry.requires) & set(names):
                found.setdefault(name, set()).add(receipt.entry.name)
    return {name: tuple(sorted(found[name])) for name in sorted(found)}
