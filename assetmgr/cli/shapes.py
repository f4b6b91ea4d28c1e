"""The shape of each command's ``--json`` document, as a JSON Schema made of the very types that the command prints."""

from __future__ import annotations

import importlib
from typing import Any

# command -> where the type of its document is; [] around it: a list of them
SHAPES = {
    "diff": "assetmgr.differences:Differences",
    "list": "[assetmgr.inventory:ListedAsset]",
    "show": "assetmgr.inventory:ShownAsset",
    "status": "[assetmgr.inventory:AssetStatus]",
    "whereis": "assetmgr.whereabouts:Whereabouts",
}


def shape(command: str) -> dict[str, Any]:
    """The JSON Schema of what ``assetmgr COMMAND --json`` prints when it succeeds.

    A document has every key that its schema has, and no other.
    """
    import msgspec

    written = SHAPES[command]
    module, _, name = written.strip("[]").partition(":")
    kind: Any = getattr(importlib.import_module(module), name)
    schema = msgspec.json.schema(list[kind] if written.startswith("[") else kind)
    for each in schema.get("$defs", {}).values():
        if "properties" in each:
            each["required"] = list(each["properties"])
            each["additionalProperties"] = False
            for key, value in each["properties"].items():
                value.pop("default", None)
                each["properties"][key] = value
        if "description" in each:
            each["description"] = " ".join(each["description"].split())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"assetmgr {command} --json",
        **schema,
    }
