"""The forms of a dataset, of its manifest's ``variants``: ``coco_vqa/eval`` is the form ``eval`` of coco_vqa."""

from __future__ import annotations

import dataclasses

from assetmgr.errors import UnknownAssetError
from assetmgr.manifest_reader import nearest
from assetmgr.verify import Installed


def variant_of(found: Installed, form: str) -> Installed:
    """The asset as this form of it says; what the form leaves out is as in the asset itself.

    Raises
    ------
    UnknownAssetError
        When it has no such form.
    """
    variants = found.use.get("variants") or {}
    if form not in variants:
        known = f"its forms are {', '.join(variants)}" if variants else "it has one form alone"
        raise UnknownAssetError(
            f"{found.name} has no form {form!r}{nearest(form, variants)}",
            mend=f"load_dataset({found.name!r}), or declare {found.name}/{form}: {known}",
        )
    return dataclasses.replace(found, use={**found.use, **variants[form]})
