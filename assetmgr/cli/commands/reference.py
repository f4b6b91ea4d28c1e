"""`schema`: what can be read about assetmgr itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assetmgr.cli.output import Output

if TYPE_CHECKING:
    import argparse

    from assetmgr.cli.parser import Commands


def register(commands: Commands) -> None:
    """Add what this file does to the command line."""
    commands.add(
        "schema",
        "print the manifest format as a JSON Schema",
        _schema,
        "assetmgr schema > assets.schema.json  # for your editor's YAML completion",
    )


def _schema(options: argparse.Namespace, output: Output) -> int:
    from assetmgr.manifest import json_schema

    output.document(json_schema())
    return 0
