"""Prove some of an asset's files: those that a loader is about to read, and no others."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from assetmgr.errors import IntegrityError
from assetmgr.lock import LockedFile
from assetmgr.receipt import Receipt, Stamp
from assetmgr.store import Layout, Store
from assetmgr.verify import prove

Fresh = Mapping[int, tuple[Stamp | None, Stamp | None]]


def prove_needed(store: Store, receipt: Receipt, files: Iterable[LockedFile]) -> Fresh:
    """Take a fitting stamp for proof, and hash what has none.

    Returns
    -------
    The stamps of what was hashed, for `Prover.keep`: by the file's number, the one that was known and the fresh one.

    Raises
    ------
    IntegrityError
        At the first file that is not what the lock says.
    """
    entry, layout = receipt.entry, Layout(receipt.entry)
    own = {_key(file): number for number, file in enumerate(file for file in entry.files if file.is_placed)}
    stamps, numbers = receipt.stamps, own
    wanted = list(files)
    if any(_key(file) not in own for file in wanted):  # a member of an archive
        contents = store.contents(entry)
        numbers = {_key(file): number for number, file in enumerate(contents.files)}
        stamps = tuple(contents.of_receipt(receipt.stamps))
    fresh: dict[int, tuple[Stamp | None, Stamp | None]] = {}
    for file in wanted:
        number, path = numbers[_key(file)], store.at(layout.name(file))
        known = stamps[number]
        try:
            if known is not None and known.fits(os.stat(path)):
                continue
        except OSError:
            pass  # told by what follows
        result = prove(path, file)
        if not isinstance(result, Stamp):
            kind, detail = result
            raise IntegrityError(
                f"{entry.name}: {file.path}: {kind}: {detail}", mend=f"assetmgr verify {entry.name} --repair"
            )
        fresh[number] = known, result
    return fresh


def _key(file: LockedFile) -> tuple[str, str]:
    return file.place, file.path
