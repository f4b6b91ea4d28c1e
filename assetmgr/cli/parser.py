"""The commands and their options."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from assetmgr.cli.commands import (
    bundling,
    doctoring,
    editing,
    environment,
    housekeeping,
    locking,
    looking,
    mirror,
    proving,
    pulling,
    reference,
    serving,
    syncing,
    trying,
)
from assetmgr.cli.options import add_common

if TYPE_CHECKING:
    from assetmgr.cli.output import Output

    Run = Callable[[argparse.Namespace, Output], int]


# How `--help` shows the commands: who is new finds the verb. What is in none of these comes last.
GROUPS = (
    ("every day", ("init", "add", "remove", "lock", "pull", "sync")),
    ("look", ("status", "list", "show", "diff", "whereis", "plan", "path")),
    ("use", ("try", "env", "run", "requirements")),
    ("keep", ("verify", "doctor", "mirror", "bundle", "serve", "rm", "gc", "pin", "unpin", "root")),
    ("learn", ("help", "schema", "completion")),
)

# What other tools call it: words to suggest, never to run.
ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("install", "setup", "restore"), ("sync", "pull")),
    **dict.fromkeys(("download", "fetch", "get", "clone", "checkout", "snapshot"), ("pull",)),
    **dict.fromkeys(("uninstall", "delete", "del", "drop"), ("remove", "rm")),
    **dict.fromkeys(("ls", "search", "find"), ("list", "status")),
    **dict.fromkeys(("info", "view", "describe", "inspect", "cat"), ("show", "status")),
    **dict.fromkeys(("check", "fsck", "validate", "test", "prove"), ("verify",)),
    **dict.fromkeys(("repair", "fix", "heal"), ("verify --repair",)),
    **dict.fromkeys(("upgrade", "update"), ("lock --upgrade",)),
    **dict.fromkeys(("freeze", "compile", "resolve"), ("lock",)),
    **dict.fromkeys(("push", "upload", "copy"), ("mirror push",)),
    **dict.fromkeys(("export", "pack", "save"), ("bundle",)),
    **dict.fromkeys(("import", "load", "unpack"), ("bundle",)),
    **dict.fromkeys(("where", "which", "dir", "locate"), ("path",)),
    **dict.fromkeys(("new", "create", "start"), ("init",)),
    **dict.fromkeys(("man", "docs", "topics", "?"), ("help",)),
    **dict.fromkeys(("diagnose", "health", "env-check"), ("doctor",)),
    **dict.fromkeys(("prune", "clean", "cleanup", "purge"), ("gc",)),
    "dry-run": ("plan",),
}


class WrongUsage(SystemExit):
    """A command line that says nothing that can be done: told on stderr as argparse does, with exit code 2."""

    def __init__(self, message: str) -> None:
        super().__init__(2)
        self.message = message


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        from assetmgr.cli.output import shown

        with contextlib.suppress(OSError):
            self.print_usage(sys.stderr)
            sys.stderr.write(f"error: {shown(message)}\n")
        raise WrongUsage(message)

    def _print_message(self, message: str, file: Any = None) -> None:
        (file or sys.stderr).write(message)  # argparse's own would lose it without a word

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is no choice, and say the nearest."""
        if action.choices is None or value in action.choices:
            return
        known = tuple(action.choices)
        if isinstance(action, argparse._SubParsersAction):
            hint = nearest(value, known) or f"; see {self.prog} --help"
            self.error(f"there is no command {value!r}{hint}")
        raise argparse.ArgumentError(
            action, f"{value!r} is none of {', '.join(map(repr, known))}{nearest(value, known)}"
        )


class CommandLine(_Parser):
    """The parser of the whole line: its help has the commands in groups."""

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> argparse.Namespace:
        words = sys.argv[1:] if args is None else args
        if not words:
            self.print_help(sys.stderr)  # who types the name alone wants to know what there is
            raise WrongUsage("no command is given")
        self._refuse_before_command(words)
        options: argparse.Namespace
        options, left = self.parse_known_args(words, namespace)
        if left and hasattr(options, "more") and not any(word.startswith("-") and word != "-" for word in left):
            options.more = [*options.more, *left]  # argparse takes a list of words to end at an option
            left = []
        if left:
            self._refuse(left, options.command)
        # A command's own options would hide those before its name: both count.
        after = options.__dict__.pop("manifest_after", ())
        options.manifest = [*(options.manifest or ()), *after] or None
        return options

    def _refuse_before_command(self, words: Sequence[str]) -> None:
        """Refuse an option that there is not, whose value would be taken for the command."""
        values = iter(words)
        for word in values:
            if not word.startswith("--") or word == "--":
                if word.startswith("-"):
                    continue  # -q, -v, -h, or told by argparse
                return
            option, equals, _ = word.partition("=")
            action = self._option_string_actions.get(option)
            takers = self._takers(option)
            if takers:
                self.error(f"{option} stands behind its command: assetmgr {takers[0]} {option}")
            if action is None:
                self.error(f"there is no {option} before the command{nearest(option, self._option_string_actions)}")
            if action.nargs is None and not equals:
                next(values, None)

    @property
    def commands(self) -> Mapping[str, argparse.ArgumentParser]:
        (action,) = (one for one in self._actions if isinstance(one, argparse._SubParsersAction))
        return action.choices

    def _takers(self, option: str) -> list[str]:
        """The commands that take an option which not every command takes."""
        if option in self._option_string_actions:
            return []
        return [name for name, one in self.commands.items() if option in one._option_string_actions]

    def _refuse(self, left: Sequence[str], command: str) -> NoReturn:
        """Say which words the command does not take, what was meant, and which commands take them."""
        parser = self.commands[command]
        unknown = [word.partition("=")[0] for word in left if word.startswith("-") and word != "-"]
        if not unknown:
            parser.error(f"{command} does not take {' '.join(left)!r}")
        said = unknown[0]
        takers = self._takers(said)
        hint = f"; {', '.join(takers)} do{'es' * (len(takers) == 1)}" if takers else ""
        parser.error(f"{command} takes no {said}{hint or nearest(said, parser._option_string_actions)}")

    def format_help(self) -> str:
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        (action,) = (one for one in self._actions if isinstance(one, argparse._SubParsersAction))
        told = {one.dest: one for one in action._get_subactions()}
        grouped = {name for _, names in GROUPS for name in names}
        for title, names in (*GROUPS, ("more", [name for name in told if name not in grouped])):
            formatter.start_section(title)
            formatter.add_arguments([told[name] for name in names if name in told])
            formatter.end_section()
        for group in self._action_groups:
            formatter.start_section(group.title)
            formatter.add_arguments([one for one in group._group_actions if one is not action])
            formatter.end_section()
        formatter.add_text(self.epilog)
        return formatter.format_help()


def nearest(said: str, known: Iterable[str]) -> str:
    """Which known words may have been meant, as the end of a sentence; nothing where none is near."""
    import difflib

    there = list(known)
    meant = [word for word in ELSEWHERE.get(said, ()) if word.split()[0] in there][:1]
    begun = [word for word in there if len(said) > 2 and word.startswith(said)][:2]
    close = meant or difflib.get_close_matches(said, there, n=2) or begun
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


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


def make_parser() -> CommandLine:
    """The whole command line as a parser."""
    parser = CommandLine(
        prog="assetmgr",
        description="A lockfile for model weights and datasets: declare, lock, pull, verify, repair, load.",
        epilog="assetmgr COMMAND --help has examples. "
        "Exit codes: 0 done; 1 unexpected; 2 manifest or usage; 3 integrity; 4 not installed or not locked; "
        "5 origin or network; 6 disk or memory space; 7 access; 8 busy; 130 interrupted",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version)
    add_common(parser, defaults=True)
    parsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    commands = Commands(parsers)
    families = (
        editing,
        locking,
        pulling,
        syncing,
        proving,
        looking,
        trying,
        environment,
        doctoring,
        mirror,
        bundling,
        serving,
        housekeeping,
        reference,
    )
    for module in families:
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
