"""The shape of each command's ``--json`` document, as a JSON Schema made of the very types that the command prints."""

from __future__ import annotations

import importlib
from typing import Any

# command -> where the type of its document is; [] around it: a list of them
SHAPES = {
    "add": "assetmgr.cli.editing_documents:AddDocument",
    "bundle": "assetmgr.cli.bundle_documents:BundleDocument",
    "completion": "assetmgr.cli.documents:CompletionDocument",
    "diff": "assetmgr.differences:Differences",
    "doctor": "assetmgr.doctor:Examination",
    "env": "assetmgr.cli.documents:Variables",
    "error": "assetmgr.cli.documents:Failed",
    "gc": "assetmgr.cli.documents:RemovalDocument",
    "help": "assetmgr.cli.documents:HelpDocument",
    "init": "assetmgr.cli.editing_documents:InitDocument",
    "list": "[assetmgr.inventory:ListedAsset]",
    "lock": "[assetmgr.cli.documents:LockDocument]",
    "mirror": "assetmgr.cli.documents:MirrorDocument",
    "path": "assetmgr.cli.documents:PathDocument",
    "pin": "[builtins:str]",
    "plan": "assetmgr.cli.documents:PlanDocument",
    "pull": "assetmgr.cli.documents:PullDocument",
    "remove": "assetmgr.cli.editing_documents:RemoveDocument",
    "requirements": "[builtins:str]",
    "root": "assetmgr.cli.documents:MovedDocument",
    "serve": "assetmgr.cli.documents:ServeDocument",
    "show": "assetmgr.inventory:ShownAsset",
    "rm": "assetmgr.cli.documents:RemovalDocument",
    "samples": "assetmgr.inventory_rows:ShownSheet",
    "status": "[assetmgr.inventory:AssetStatus]",
    "sync": "assetmgr.cli.documents:SyncDocument",
    "try": "assetmgr.cli.trying_documents:TryDocument",
    "unpin": "[builtins:str]",
    "verify": "assetmgr.cli.documents:VerifyDocument",
    "whereis": "assetmgr.whereabouts:Whereabouts",
}


def shape(command: str) -> dict[str, Any]:
    """The JSON Schema of what ``assetmgr COMMAND --json`` prints when it succeeds.

    A document has every key that its schema requires, and none that it does not have. ``error`` is what any command
    prints that fails before it has a document of its own.
    """
    import msgspec

    written = SHAPES[command]
    module, _, name = written.strip("[]").partition(":")
    kind: Any = getattr(importlib.import_module(module), name)
    schema = msgspec.json.schema(list[kind] if written.startswith("[") else kind)
    for each in schema.get("$defs", {}).values():
        if "properties" in each:
            # A default is for who makes a document; who reads one finds it written. What may be left out has none.
            always = each.get("required", ())
            properties = each["properties"]
            each["required"] = [key for key, value in properties.items() if key in always or "default" in value]
            each["additionalProperties"] = False
            for value in properties.values():
                value.pop("default", None)
        if "description" in each:
            each["description"] = " ".join(each["description"].split())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"assetmgr {command} --json",
        **schema,
    }
