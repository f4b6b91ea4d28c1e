"""`schema` and `requirements`: what ships with assetmgr to be read."""

from __future__ import annotations

from pathlib import Path
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


def _requirements(options: argparse.Namespace, output: Output) -> int:
    import assetmgr

    name = f"{options.library}-overrides.txt" if options.overrides else f"{options.library}.txt"
    text = Path(assetmgr.__file__).with_name("requirements").joinpath(name).read_text(encoding="utf-8")
    if output.json:
        lines = [line.partition("  #")[0] for line in text.splitlines()]
        output.document([line for line in lines if not line.startswith("#")])
    else:
        output.data(text.rstrip("\n"))
    return 0
