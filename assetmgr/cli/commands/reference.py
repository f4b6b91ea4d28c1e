"""`schema`: what can be read about assetmgr itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assetmgr.cli.output import Output
from assetmgr.cli.shapes import SHAPES, shape

if TYPE_CHECKING:
    import argparse

    from assetmgr.cli.parser import Commands


def register(commands: Commands) -> None:
    """Add what this file does to the command line."""
    schema = commands.add(
        "schema",
        "print the format of the manifest, or of a command's --json, as a JSON Schema",
        _schema,
        "assetmgr schema > assets.schema.json  # for your editor's YAML completion",
        "assetmgr schema status                # what `status --json` prints",
    )
    schema.add_argument(
        "of", metavar="COMMAND", nargs="?", choices=[*SHAPES], help=f"one of {', '.join(SHAPES)}; none: the manifest"
    )


def _schema(options: argparse.Namespace, output: Output) -> int:
    if options.of:
        output.document(shape(options.of))
        return 0
    from assetmgr.manifest import json_schema

    output.document(json_schema())
    return 0
