"""`help`, `schema`, `requirements` and `completion`: what ships with assetmgr to be read, without a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assetmgr.cli.output import Output
from assetmgr.cli.shapes import SHAPES, shape
from assetmgr.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    import argparse

    from assetmgr.cli.parser import Commands


def register(commands: Commands) -> None:
    """Add what this file does to the command line."""
    about = commands.add(
        "help",
        "explain a topic or a command",
        _help,
        "assetmgr help                         # which topics there are",
        "assetmgr help manifest                # every key of assets.yaml",
        "assetmgr help pull",
    )
    about.add_argument("topic", metavar="TOPIC", nargs="?", help="a topic, or a command; none: all topics")
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
    requirements = commands.add(
        "requirements",
        "print the packages of an environment in which LAVIS works",
        _requirements,
        "assetmgr requirements lavis > lavis.txt                  # pip install --no-deps -r lavis.txt",
        "assetmgr requirements lavis --overrides > overrides.txt  # uv pip install --overrides overrides.txt ...",
    )
    requirements.add_argument("library", choices=("lavis",), help="LAVIS 1.0.2, for Python 3.11")
    requirements.add_argument(
        "--overrides", action="store_true", help="only where LAVIS's own requirements are departed from, for uv"
    )
    completion = commands.add(
        "completion",
        "print what makes a shell complete commands, options and names",
        _completion,
        "assetmgr completion bash > ~/.local/share/bash-completion/completions/assetmgr",
        "assetmgr completion fish > ~/.config/fish/completions/assetmgr.fish",
        "assetmgr completion zsh > ~/.zfunc/_assetmgr  # with that folder in fpath, before compinit",
    )
    completion.add_argument("shell", choices=["bash", "zsh", "fish"], help="for which shell")


def _help(options: argparse.Namespace, output: Output) -> int:
    from assetmgr.cli import topics
    from assetmgr.cli.parser import make_parser, nearest

    parser = make_parser()
    if options.topic is None:
        text = topics.overview(parser)
    else:
        parts = [topics.TOPICS[options.topic].text(parser)] if options.topic in topics.TOPICS else []
        if options.topic in parser.commands:
            parts.append(parser.commands[options.topic].format_help().rstrip())
        text = "\n\n".join(parts)
    if not text:
        hint = nearest(options.topic, [*topics.TOPICS, *parser.commands])
        raise UsageError(f"there is no topic and no command {options.topic!r}{hint}", mend="assetmgr help")
    if output.json:
        from assetmgr.cli.documents import HelpDocument

        output.document(HelpDocument(options.topic, text))
    else:
        output.data(text)
    return 0


def _schema(options: argparse.Namespace, output: Output) -> int:
    if options.of:
        output.document(shape(options.of))
        return 0
    from assetmgr.manifest import json_schema

    output.document(json_schema())
    return 0


def _requirements(options: argparse.Namespace, output: Output) -> int:
    from pathlib import Path

    import assetmgr

    name = f"{options.library}-overrides.txt" if options.overrides else f"{options.library}.txt"
    text = Path(assetmgr.__file__).with_name("requirements").joinpath(name).read_text(encoding="utf-8")
    if output.json:
        lines = [line.partition("  #")[0] for line in text.splitlines()]
        output.document([line for line in lines if not line.startswith("#")])
    else:
        output.data(text.rstrip("\n"), exact=True)
    return 0


def _completion(options: argparse.Namespace, output: Output) -> int:
    try:
        from assetmgr.cli.completing import script

        text = script(options.shell)
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"completion: {error}", mend="pip install argcomplete") from None
    if output.json:
        from assetmgr.cli.documents import CompletionDocument

        output.document(CompletionDocument(options.shell, text))
    else:
        output.data(text, exact=True)
    return 0
