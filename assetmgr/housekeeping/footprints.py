"""What a receipt has put into the store, by name: all that is to be known of it to decide what may go with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from assetmgr.names import fold
from assetmgr.receipt import Receipt, Stamp
from assetmgr.store import Layout, Store


class Placed(NamedTuple):
    """One name in the store, relative to its root.

    ``blob`` is, of a name in a hub's snapshot, the blob that it leads to; ``is_blob`` that it is one itself: its
    name is made of its bytes' digest, so that nothing else can stand there. ``by_hand`` files were put there by a user.
    """

    name: str
    size: int
    sha256: str | None
    stamp: Stamp | None
    blob: str = ""
    is_blob: bool = False
    by_hand: bool = False


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one receipt has put into the store.

    Attributes
    ----------
    files
        Every name; those in a snapshot before their blobs.
    repo, commit
        Of a hub asset: the folder of its repo in the store, and its commit.
    tree, ref
        Of a hub asset: the documents that tell other tools of it.
    unknown
        Folders that may hold more of it: those of archives whose listing is lost.
    """

    asset: str
    files: tuple[Placed, ...]
    repo: str = ""
    commit: str = ""
    tree: str = ""
    ref: str = ""
    unknown: tuple[str, ...] = ()


def footprint(store: Store, receipt: Receipt) -> Footprint:
    """The footprint of a receipt.

    Raises
    ------
    LockError
        When a listing is not what the entry says of it.
    """
    entry, layout = receipt.entry, Layout(receipt.entry)
    found = store.contents(entry)
    names: list[Placed] = []
    blobs: dict[str, Placed] = {}
    for file, stamp in zip(found.files, found.of_receipt(receipt.stamps), strict=True):
        blob = layout.bytes(file) if layout.repo else ""
        names.append(Placed(layout.name(file), file.size, file.sha256, stamp, blob=blob, by_hand=file.ask is not None))
        if blob:
            blobs.setdefault(blob, Placed(blob, file.size, file.sha256, None, is_blob=True))
    return Footprint(
        entry.name,
        (*names, *blobs.values()),
        layout.repo,
        entry.commit,
        layout.tree if layout.repo and entry.listing is not None else "",
        layout.ref or "",
        tuple(layout.prefix(each.extract.place) for each in found.unlisted),
    )


def unnamed(going: Footprint, staying: Iterable[Footprint]) -> tuple[Placed, ...]:
    """The names of one footprint that no other has, on any file system, in their order."""
    named: set[str] = set()
    folders: list[str] = []
    for other in staying:
        named.update(fold(placed.name) for placed in other.files)
        folders += map(fold, other.unknown)
    free = (placed for placed in going.files if fold(placed.name) not in named)
    return tuple(placed for placed in free if not fold(placed.name).startswith(tuple(folders)))
