"""The commands and their options."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from assetmgr.cli.commands import locking, looking, mirror, proving, pulling, reference, syncing
from assetmgr.cli.options import add_common

if TYPE_CHECKING:
    from assetmgr.cli.output import Output

    Run = Callable[[argparse.Namespace, Output], int]


class WrongUsage(SystemExit):
    """A command line that says nothing that can be done: told on stderr as argparse does, with exit code 2."""

    def __init__(self, message: str) -> None:
        super().__init__(2)
        self.message = message


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self._print_message(f"error: {message}\n", sys.stderr)
        raise WrongUsage(message)

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        options = super().parse_args(args, namespace)
        # A command's own options would hide those before its name: both count.
        options.manifest = [*(options.manifest or ()), *vars(options).pop("manifest_after", ())] or None
        return options


class Commands:
    """Where the commands put themselves."""

    def __init__(self, parsers: argparse._SubParsersAction[_Parser]) -> None:
        self._parsers = parsers

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._parsers.choices)

    def add(self, name: str, text: str, run: Run, *examples: str) -> argparse.ArgumentParser:
        """Add a command: its one-line help, what runs it, and examples of its use."""
        parser = self._parsers.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog="examples:\n" + "\n".join(f"  {line}" for line in examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        add_common(parser, defaults=False)
        parser.set_defaults(run=run)
        return parser


def make_parser() -> argparse.ArgumentParser:
    """The whole command line as a parser."""
    parser = _Parser(
        prog="assetmgr",
        description="A lockfile for model weights and datasets: declare, lock, pull, verify, repair, load.",
        epilog="exit codes: 0 done; 1 unexpected; 2 manifest or usage; 3 integrity; 4 not installed or not locked; "
        "5 origin or network; 6 disk space; 7 access; 8 busy; 130 interrupted",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version)
    add_common(parser, defaults=True)
    parsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands = Commands(parsers)
    for module in (locking, pulling, syncing, proving, looking, mirror, reference):
        module.register(commands)
    parser.set_defaults(commands=commands.names)
    return parser


class _Version(argparse.Action):
    def __init__(self, option_strings: list[str], dest: str, **_: object) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from assetmgr import __version__

        sys.stdout.write(f"assetmgr {__version__}\n")
        parser.exit()
