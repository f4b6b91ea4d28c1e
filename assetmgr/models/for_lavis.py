"""What `load_model` says of a checkpoint that LAVIS alone reads: which twin of it transformers loads."""

from __future__ import annotations

from typing import Any, cast

from assetmgr.errors import UsageError
from assetmgr.manifest import Asset, HubSource


def refuse_lavis(asset: Asset | None) -> None:
    """Refuse a model that is declared in LAVIS's own form, installed or not: nobody is to fetch it in vain.

    Raises
    ------
    UsageError
        With the twins that transformers loads, and how LAVIS itself does it.
    """
    options = cast("dict[str, Any]", asset.use.get("load", {})) if asset else {}
    if asset is None or "lavis" not in options or "backend" in options or isinstance(asset.source, HubSource):
        return
    name, said = asset.name, options["lavis"]
    call = f"lavis.models.load_model_and_preprocess({said.get('name')!r}, {said.get('model_type')!r})"
    there = f"in LAVIS's environment call {call} under: assetmgr run --needs {name} -- python YOUR_SCRIPT"
    what = f"{name} is a checkpoint in LAVIS's own form, which load_model does not read"
    if not asset.twins:
        raise UsageError(f"{what}; it has no twin on the hub", mend=there)
    raise UsageError(
        f"{what}; its twin on the hub is {' or '.join(asset.twins)}",
        mend=f"assetmgr pull {asset.twins[0]}, then assetmgr.load_model({asset.twins[0]!r}); or {there}",
    )
