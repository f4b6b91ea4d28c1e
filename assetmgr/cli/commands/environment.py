"""`env` and `run`: other people's programs on the store."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from assetmgr.cli.options import open_workspace
from assetmgr.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assetmgr.cli.parser import Commands


def register(commands: Commands) -> None:
    """Add what this file does to the command line."""
    env = commands.add(
        "env",
        "print the variables by which other libraries use the store, offline",
        _env,
        'eval "$(assetmgr env)"                                  # sh, bash, zsh',
        "assetmgr env --shell fish | source",
        "assetmgr env --shell powershell | Out-String | Invoke-Expression",
    )
    env.add_argument("--shell", choices=("sh", "fish", "powershell"), help="whose language (sh; on Windows powershell)")
    env.add_argument("--hook", action="store_true", help="add what `run` adds for Python, by PYTHONPATH")
    _add_online(env)
    run = commands.add(
        "run",
        "run a command whose libraries use the store, offline",
        _run,
        "assetmgr run -- python train.py",
        "assetmgr run --needs blip_caption/base_coco --needs coco_caption -- torchrun evaluate.py",
    )
    run.add_argument(
        "--needs",
        metavar="NAME",
        action="append",
        default=[],
        help="do not begin unless this asset, and what it requires, is proved; may be repeated",
    )
    _add_online(run)
    run.add_argument("words", metavar="-- COMMAND", nargs=argparse.REMAINDER, help="the command and its arguments")


def _add_online(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--online", action="store_true", help="let the libraries use the network for what is not there")


def _env(options: argparse.Namespace, output: Output) -> int:
    from assetmgr.environment import script

    changes = open_workspace(options, output).environment(online=options.online, hook=options.hook)
    if output.json:
        output.document(changes)
    else:
        output.data(script(changes, options.shell or ("powershell" if os.name == "nt" else "sh")), exact=True)
    return 0


def _run(options: argparse.Namespace, output: Output) -> int:
    from assetmgr.environment import applied
    from assetmgr.errors import UsageError

    command = options.words[1:] if options.words[:1] == ["--"] else options.words
    if not command or not command[0]:
        raise UsageError("run: no command is given", mend="assetmgr run -- COMMAND")
    workspace = open_workspace(options, output)
    used = workspace.require(options.needs)
    used.hand_on()
    environment = applied(os.environ, workspace.environment(online=options.online, hook=True))
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        if os.name == "nt":
            return _wait_for(command, environment)
        _become(command, environment)
    except OSError as error:
        raise UsageError(f"{command[0]}: cannot be run: {error.strerror or error}") from None


def _become(command: list[str], environment: Mapping[str, str]) -> NoReturn:
    """Be the command: signals, terminal and exit code are its own."""
    import signal

    # Python ignores these two, and what is ignored would stay so in the command.
    for name in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(name, signal.SIG_DFL)
    os.execvpe(command[0], command, environment)  # noqa: S606 - no shell is meant


def _wait_for(command: list[str], environment: Mapping[str, str]) -> int:
    """Windows has no exec: start the command and hand on its exit code. Ctrl-C reaches it by the console."""
    import signal
    import subprocess

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return subprocess.call(command, env=environment)
