"""What assets list below a folder: each file's size and sha256, found by its name, however many there are.

A few are kept in memory. Many, such as the 123,000 members of an archive, become an index under ``prepared/``, so that
a load reads neither the listing nor the lock's entry again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from assetmgr.datasets.annotations import Annotation
from assetmgr.datasets.index import Index, sorted_rows
from assetmgr.datasets.prepared import Recipe, Rows, opened
from assetmgr.datasets.table import Field, Shape
from assetmgr.errors import AssetError, IntegrityError
from assetmgr.store import Layout, Store
from assetmgr.verify import Installed, check_listings

VERSION = 1
# An asset of so many files is kept in memory, and travels with a pickle.
_FEW = 1000
_SHAPE = Shape((Field("name", "text"), Field("size", "int"), Field("sha256", "text"), Field("number", "int")))


class Expected(NamedTuple):
    """What a file must be. ``number`` is its place in the asset's contents, where its stamp is."""

    size: int
    sha256: str
    number: int


class Owner(NamedTuple):
    """An asset in a store: who is asked to mend a medium."""

    root: str
    name: str
    digest: str

    @classmethod
    def of(cls, asset: Installed) -> Owner:
        return cls(asset.store.root, asset.name, asset.entry.digest())

    def mend(self, number: int, path: str) -> str:
        """What to type. A change that left the file's stamp as it was (a disk that fails) is found by hashing alone."""
        repair = f"assetmgr verify {self.name} --repair"
        store = Store(self.root)
        receipt = store.receipt_by_digest(self.name, self.digest)
        if receipt is None:
            return repair
        try:
            stamps = store.contents(receipt.entry).of_receipt(receipt.stamps)
            stamp = stamps[number] if number < len(stamps) else None
            unseen = stamp is not None and stamp.fits(os.stat(path))
        except (OSError, AssetError):
            return repair
        return f"assetmgr verify {self.name} --full --repair" if unseen else repair


class Listed:
    """The files of one asset that lie below a folder, by their names in it.

    Parameters
    ----------
    prefix
        What stands before the folder's names in the store, with the slash.
    """

    def __init__(self, owner: Owner, prefix: str, files: Mapping[str, Expected] | Index) -> None:
        self.owner, self._prefix, self._files = owner, prefix, files

    def find(self, name: str) -> Expected | None:
        key = self._prefix + name
        if isinstance(self._files, Index):
            row = self._files.find(key)
            return None if row is None else Expected(*row[1:])
        return self._files.get(key)


def listed_below(asset: Installed, folder: str) -> Listed | None:
    """What an asset lists below a folder of the store; None where its files lie elsewhere.

    Raises
    ------
    IntegrityError
        When it has archives whose members nobody knows here.
    """
    relative = os.path.relpath(folder, asset.store.root).replace(os.sep, "/")
    prefix = "" if relative == "." else f"{relative}/"
    layout = Layout(asset.entry)
    places = {file.place for file in asset.entry.files if file.is_placed}
    places |= {file.extract.place for file in asset.entry.files if file.extract}
    roots = [layout.prefix(place) for place in places]
    if not any(prefix.startswith(root) or root.startswith(prefix) for root in roots):
        return None
    if asset.entry.count > _FEW:
        return Listed(Owner.of(asset), prefix, _index(asset))
    return Listed(Owner.of(asset), prefix, {name: Expected(*rest) for name, *rest in _rows(asset)})


def _rows(asset: Installed) -> Iterator[tuple[Any, ...]]:
    contents = asset.store.contents(asset.entry)
    if unlisted := check_listings(contents):
        raise IntegrityError(str(unlisted[0]), mend=f"assetmgr verify {asset.name} --repair")
    layout = Layout(asset.entry)
    for number, file in enumerate(contents.files):
        yield layout.name(file), file.size, file.sha256 or "", number


def _index(asset: Installed) -> Index:
    def reading(_: Sequence[Annotation]) -> Rows:
        return sorted_rows(_SHAPE, _rows(asset))

    entry = asset.entry
    # What is listed depends on the entry, and on the outcome of what was made here.
    made = [file.extract.listing for file in entry.files if file.extract]
    known = Annotation(asset.name, "listed", "", f"{entry.digest()} {made}")
    return Index(opened(asset.store, Recipe(asset.name, "listed", (known,), f"listed {VERSION}", reading)))
