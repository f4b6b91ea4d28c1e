"""The commands and their options."""

from __future__ import annotations

import argparse

_EXAMPLES = {
    "lock": "assetmgr lock                         # pin all that assets.yaml declares\n"
    "assetmgr lock --upgrade minilm        # move one asset to the newest commit of its revision\n"
    "assetmgr lock --check                 # in CI: does the lock say what the manifest asks for?",
    "plan": "assetmgr plan                         # what would pull fetch, and is there room?",
    "pull": "assetmgr pull                         # all of assets.yaml, from the lock\n"
    "assetmgr pull minilm coco_caption     # these, and what they require",
    "verify": "assetmgr verify                       # by stamps: seconds\n"
    "assetmgr verify --full --repair       # by hashes, and fetch anew what is damaged",
    "status": "assetmgr status --json | jq -r '.[] | select(.state != \"installed\") | .name'",
    "path": 'cd "$(assetmgr path minilm)"',
    "schema": "assetmgr schema > assets.schema.json  # for your editor's YAML completion",
}


def make_parser() -> argparse.ArgumentParser:
    """The whole command line as a parser."""
    parser = argparse.ArgumentParser(
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

    plan = _command(commands, "plan", "show what pull would do, and the bytes and disk it takes")
    _add_names(plan)

    pull = _command(commands, "pull", "bring what the lock names into the store, proved")
    _add_names(pull)
    pull.add_argument("--locked", action="store_true", help="fail when the manifest changed since the lock was made")
    _add_network(pull)

    verify = _command(commands, "verify", "prove what is installed")
    _add_names(verify)
    verify.add_argument("--full", action="store_true", help="hash every file, not only those whose stamp does not fit")
    verify.add_argument("--repair", action="store_true", help="fetch anew what is damaged, and nothing else")
    _add_network(verify)

    status = _command(commands, "status", "show the state of each asset")
    _add_names(status)

    path = _command(commands, "path", "print where a proved asset lies")
    path.add_argument("name", metavar="NAME")

    _command(commands, "schema", "print the manifest format as a JSON Schema")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
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
        help="assets; none: all that the manifest declares, and what they require",
    )
    parser.add_argument("--group", metavar="GROUP", action="append", default=[], help="the assets of a group")


def _add_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--offline", action="store_true", help="never ask the network")
    parser.add_argument("--jobs", metavar="N", type=_count, default=None, help="files that move at once (8)")
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=float,
        default=3600.0,
        help="how long to wait for what another process holds (3600)",
    )


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 256:
        raise argparse.ArgumentTypeError("a number from 1 to 256")
    return number


class _Version(argparse.Action):
    def __init__(self, option_strings: list[str], dest: str, **_: object) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from assetmgr import __version__

        parser.exit(message=f"assetmgr {__version__}\n")
