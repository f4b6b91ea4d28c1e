"""The commands and their options."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

_EXAMPLES = {
    "lock": "assetmgr lock                         # pin all that assets.yaml declares\n"
    "assetmgr lock --upgrade minilm        # move one asset to the newest commit of its revision\n"
    "assetmgr lock --check                 # in CI: does the lock say what the manifest asks for?",
    "plan": "assetmgr plan                         # what would pull fetch, and is there room?",
    "pull": "assetmgr pull                         # all of assets.yaml, from the lock\n"
    "assetmgr pull minilm coco_caption     # these, and what they require\n"
    "assetmgr pull --limit-rate 20M        # and leave the others some of the line",
    "verify": "assetmgr verify                       # by stamps: seconds\n"
    "assetmgr verify --full --repair       # by hashes, and fetch anew what is damaged",
    "mirror": "assetmgr mirror push /media/stick/mirror      # all of assets.yaml, onto a stick\n"
    "assetmgr mirror push s3://bucket/assets minilm  # one asset, into a bucket",
    "status": "assetmgr status --json | jq -r '.[] | select(.state != \"installed\") | .name'",
    "path": 'cd "$(assetmgr path minilm)"',
    "schema": "assetmgr schema > assets.schema.json  # for your editor's YAML completion",
}


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
    _add_common(parser, defaults=True)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    lock = _command(commands, "lock", "pin assets to exact bytes")
    _add_names(lock)
    lock.add_argument(
        "--upgrade",
        metavar="NAME",
        action="append",
        default=[],
        help="move NAME to the newest commit of its revision",
    )
    lock.add_argument(
        "--check",
        action="store_true",
        help="fail when the lock does not say what the manifest asks for; write nothing",
    )
    lock.add_argument(
        "--no-fetch",
        action="store_true",
        help="leave sha256 open where the origin publishes none; pull refuses such a lock",
    )
    _add_network(lock)
    _add_mirrors(lock)

    plan = _command(commands, "plan", "show what pull would do, and the bytes and disk it takes")
    _add_names(plan)

    pull = _command(commands, "pull", "bring what the lock names into the store, proved")
    _add_names(pull)
    pull.add_argument("--locked", action="store_true", help="fail when the manifest changed since the lock was made")
    _add_network(pull)
    _add_mirrors(pull)

    verify = _command(commands, "verify", "prove what is installed")
    _add_names(verify)
    verify.add_argument("--full", action="store_true", help="hash every file, not only those whose stamp does not fit")
    verify.add_argument("--repair", action="store_true", help="fetch anew what is damaged, and nothing else")
    _add_network(verify)
    _add_mirrors(verify)

    status = _command(commands, "status", "show the state of each asset")
    _add_names(status)

    path = _command(commands, "path", "print where a proved asset lies")
    path.add_argument("name", metavar="NAME")

    mirror = _command(commands, "mirror", "fill a mirror with what is installed")
    mirror.add_argument("action", choices=["push"], help="push: copy what is not there yet, proved")
    mirror.add_argument("target", metavar="TARGET", help="a folder, or a bucket such as s3://name/prefix")
    _add_names(mirror)
    mirror.add_argument("--full", action="store_true", help="hash what is there already, and replace what is wrong")
    _add_jobs(mirror)
    _add_wait(mirror)

    _command(commands, "schema", "print the manifest format as a JSON Schema")
    return parser


def _command(commands: argparse._SubParsersAction[_Parser], name: str, text: str) -> _Parser:
    parser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog="examples:\n" + "\n".join(f"  {line}" for line in _EXAMPLES[name].splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_common(parser, defaults=False)
    return parser


def _add_common(parser: argparse.ArgumentParser, *, defaults: bool) -> None:
    """The options that every command takes, before or after its name."""

    def default(value: object) -> object:
        return value if defaults else argparse.SUPPRESS

    group = parser.add_argument_group("everywhere")
    group.add_argument(
        "--root",
        metavar="DIR",
        default=default(None),
        help="the store (else ASSETMGR_ROOT, the manifest's cache_root, the user's cache folder)",
    )
    group.add_argument(
        "--manifest",
        metavar="FILE",
        action="append",
        dest="manifest" if defaults else "manifest_after",
        default=default(None),
        help="a manifest; may be repeated (else ASSETMGR_MANIFEST, the nearest assets.yaml upward)",
    )
    group.add_argument("--json", action="store_true", default=default(False), help="print one JSON document")
    group.add_argument("-q", "--quiet", action="store_true", default=default(False), help="say only what fails")
    group.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        default=default(False),
        help="show the details of unexpected errors",
    )


def _add_names(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        default=[],
        help="assets; none: all that the manifest declares, and what they require",
    )
    parser.add_argument("--group", metavar="GROUP", action="append", default=[], help="the assets of a group")


def _add_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--offline", action="store_true", help="never ask the network")
    _add_jobs(parser)
    _add_wait(parser)


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", metavar="N", type=_count, default=None, help="files that move at once (8)")


def _add_wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit-rate",
        metavar="RATE",
        type=_rate,
        default=None,
        help="bytes a second for the whole run, such as 500K or 20M (else ASSETMGR_LIMIT_RATE, else no limit)",
    )
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=_seconds,
        default=3600.0,
        help="how long to wait for what another process holds (3600)",
    )


def _add_mirrors(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mirror",
        metavar="MIRROR",
        action="append",
        default=[],
        help="ask this folder, http(s) address or bucket before the origin; may be repeated "
        "(then those of ASSETMGR_MIRRORS, then the manifest's)",
    )


def _count(text: str) -> int:
    with contextlib.suppress(ValueError):
        if 1 <= int(text) <= 256:
            return int(text)
    raise argparse.ArgumentTypeError("a number from 1 to 256")


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if math.isfinite(float(text)) and float(text) >= 0:
            return float(text)
    raise argparse.ArgumentTypeError("a number of seconds")


def _rate(text: str) -> float:
    from assetmgr.transfer.limits import parse_rate

    try:
        return parse_rate(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


class _Version(argparse.Action):
    def __init__(self, option_strings: list[str], dest: str, **_: object) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from assetmgr import __version__

        sys.stdout.write(f"assetmgr {__version__}\n")
        parser.exit()
