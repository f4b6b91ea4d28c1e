"""Models that are declared in LAVIS's own form: whether LAVIS is here to load them, and what is said if it is not."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from typing import Any, cast

from assetmgr.errors import UnknownAssetError, UsageError
from assetmgr.manifest import Asset, HubSource
from assetmgr.manifest_reader import nearest


def is_for_lavis(options: Mapping[str, Any], *, of_a_hub: bool) -> bool:
    """Whether the manifest's ``load:`` means LAVIS. What a hub has is transformers' unless it says otherwise."""
    return options.get("backend") == "lavis" or ("lavis" in options and "backend" not in options and not of_a_hub)


def is_lavis_here() -> bool:
    """Whether LAVIS is installed in this Python. It is not imported."""
    return importlib.util.find_spec("lavis") is not None


def refuse_lavis(asset: Asset | None) -> None:
    """Refuse a model in LAVIS's form where LAVIS is not, installed or not: nobody is to fetch it in vain.

    Raises
    ------
    UsageError
        With the twins that transformers loads, and how LAVIS itself does it.
    """
    options = _options(asset)
    if asset is None or "lavis" not in options or is_lavis_here():
        return
    if not is_for_lavis(options, of_a_hub=isinstance(asset.source, HubSource)):
        return
    name, said = asset.name, options["lavis"]
    call = f"lavis.models.load_model_and_preprocess({said.get('name')!r}, {said.get('model_type')!r})"
    there = f"in LAVIS's environment call {call} under: assetmgr run --needs {name} -- python YOUR_SCRIPT"
    what = f"{name} is a checkpoint in LAVIS's own form, and LAVIS is not installed here"
    if not asset.twins:
        raise UsageError(f"{what}; it has no twin on the hub", mend=there)
    raise UsageError(
        f"{what}; its twin on the hub is {' or '.join(asset.twins)}",
        mend=f"assetmgr pull {asset.twins[0]}, then assetmgr.load_model({asset.twins[0]!r}); or {there}",
    )


def called_by_lavis(assets: Iterable[Asset], name: str, model_type: str) -> Asset:
    """The asset that LAVIS calls by a name and a type.

    Raises
    ------
    UnknownAssetError
        When none is; with the nearest.
    """
    types: dict[str, dict[str, Asset]] = {}
    for asset in assets:
        said = _options(asset).get("lavis")
        if said:
            there = types.setdefault(str(said["name"]), {})
            # Where several are, the one that is called so here too.
            if str(said["model_type"]) not in there or asset.name == f"{said['name']}/{said['model_type']}":
                there[str(said["model_type"])] = asset
    if name not in types:
        raise UnknownAssetError(
            f"no model {name!r} of LAVIS is declared{nearest(name, types)}", mend="print(assetmgr.model_zoo) lists them"
        )
    if model_type not in types[name]:
        raise UnknownAssetError(
            f"LAVIS's {name} has no type {model_type!r}{nearest(model_type, types[name])}",
            mend=f"it has {', '.join(types[name])}",
        )
    return types[name][model_type]


def _options(asset: Asset | None) -> dict[str, Any]:
    return cast("dict[str, Any]", asset.use.get("load", {})) if asset else {}
