"""What a machine is to have where no manifest is looked at: locks say it, and receipts remember the rest."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from assetmgr.errors import AssetError, NotLockedError, UsageError
from assetmgr.lock import LockedAsset
from assetmgr.sheets import Sheet, Sheets
from assetmgr.store import Store
from assetmgr.view_records import View, all_views

if TYPE_CHECKING:
    from assetmgr.install import Wish


def frozen_wishes(store: Store, sheets: Sheets, said: Sequence[str], errors: list[AssetError]) -> list[Wish]:
    """The locked assets that are meant, required ones first. What is wrong with one name is added to ``errors``.

    Raises
    ------
    NotLockedError
        When there is no lock.
    """
    if not sheets.of_manifests():
        raise UsageError(
            "no lock here (assets.lock.json, or the one beside --manifest or ASSETMGR_MANIFEST)",
            mend="assetmgr sync, where there is a manifest",
        )
    held: dict[str, Sheet] = {}
    for sheet in sheets.of_manifests():
        if not sheet.lock_file.exists():
            raise NotLockedError(f"there is no lock {sheet.lock_file}", mend="assetmgr lock")
        held |= dict.fromkeys(sheets.locked(sheet).assets, sheet)
    for name in said:
        if name not in held:
            where = ", ".join(str(sheet.lock_file) for sheet in sheets.of_manifests())
            errors.append(NotLockedError(f"{name}: not locked (in {where})", mend=f"assetmgr lock {name}"))
    entries = sheets.entries([name for name in said if name in held] if said else list(held), errors)
    shown = all_views(store)
    return [_wish(store, sheets, entry, held[entry.name], shown) for entry in entries]


def _wish(store: Store, sheets: Sheets, entry: LockedAsset, sheet: Sheet, shown: Sequence[View]) -> Wish:
    """An asset as it was wanted when the manifest was last looked at, for who has the lock alone."""
    from assetmgr.install import Wish

    assert sheet.manifest is not None
    manifest = os.path.realpath(sheet.manifest.path)
    known = store.read_receipt(entry)
    last = known or next((one for one in store.receipts_of(entry.name) if manifest in one.wanted_by), None)
    view = next((one for one in shown if manifest in one.asked.get(entry.name, ())), None)
    styles = [own.asked for own in view.files.values() if entry.name in own.owners] if view else []
    locked = sheets.locked(sheet).assets
    return Wish(
        entry,
        use=last.use if last else {},
        endpoint=last.endpoint if last else None,
        base=os.path.dirname(os.path.abspath(sheet.manifest.path)),
        receipt=known,
        pins={name: locked[name].digest() for name in entry.requires if name in locked},
        local_dir=view.folder if view else None,
        local_dir_links=styles[0] if styles else "symlink",
        manifest=manifest,
    )
