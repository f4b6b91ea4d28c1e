"""`serve`: give what is installed to other machines."""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import signal
import threading
from typing import TYPE_CHECKING

from assetmgr.cli.options import add_jobs, add_mirrors, add_wait, open_workspace, rate
from assetmgr.cli.output import Output, plural
from assetmgr.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from assetmgr.cli.parser import Commands
    from assetmgr.server.server import Server, Settings

TOKEN = "ASSETMGR_SERVE_TOKEN"  # noqa: S105 - the variable's name
_TOKEN_MOST = 4096


def register(commands: Commands) -> None:
    """Add what this file does to the command line."""
    serve = commands.add(
        "serve",
        "give what is installed to other machines, in the hub's own protocol and to assetmgr",
        _serve,
        "assetmgr serve                                  # for this machine alone, at port 8470",
        "assetmgr serve --host 0.0.0.0 --token-file /etc/assetmgr.token",
        "assetmgr serve --host 0.0.0.0 --pull-through    # what is locked and not here yet is fetched when asked for",
        "HF_ENDPOINT=http://lab-server:8470 hf download ORG/NAME    # on any other machine",
    )
    serve.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="where to listen (127.0.0.1)")
    serve.add_argument("--port", metavar="N", type=_port, default=8470, help="at which port; 0: any free one (8470)")
    token = serve.add_mutually_exclusive_group()
    token.add_argument("--token", metavar="TOKEN", help="only who shows it is answered; all users here can see it")
    token.add_argument("--token-file", metavar="FILE", help=f"the same out of a file's first line (else {TOKEN})")
    serve.add_argument("--tls-cert", metavar="FILE", help="a PEM certificate: https in place of http")
    serve.add_argument("--tls-key", metavar="FILE", help="its PEM key, where it is not in the same file")
    serve.add_argument(
        "--pull-through", action="store_true", help="fetch what the manifest's lock names when it is asked for"
    )
    serve.add_argument(
        "--max-connections", metavar="N", type=_connections, default=1024, help="connections at once (1024)"
    )
    serve.add_argument(
        "--rate-limit", metavar="RATE", type=rate, help="bytes a second for each client address: 500K or 20M"
    )
    serve.add_argument("--access-log", metavar="FILE", help="a line for each request; -: on standard output")
    serve.add_argument("--offline", action="store_true", help="never ask the network: pull through from mirrors alone")
    add_jobs(serve)
    add_wait(serve)
    add_mirrors(serve)


def _serve(options: argparse.Namespace, output: Output) -> int:
    from assetmgr.server.server import is_loopback

    settings = _settings(options)
    if settings.access_log == "-" and output.json:
        raise UsageError("standard output has the JSON document", mend="name a file: --access-log FILE")
    workspace = open_workspace(options, output)
    server = workspace.server(
        settings, fresh=(lambda: open_workspace(options, output)) if options.pull_through else None
    )
    held = len(workspace.store.installed_names())
    with _StoppedBySignals(server):
        if output.json:
            from assetmgr.cli.documents import ServeDocument

            output.document(ServeDocument(server.address, server.port, workspace.store.root, held, os.getpid()))
        else:
            output.data(f"export HF_ENDPOINT={server.address}")
            if settings.token is not None:
                output.data("export HF_TOKEN=...  # the server's token, for the hub's clients")
                output.data(f"export ASSETMGR_MIRROR_TOKENS='{server.address} ...'  # the same, for assetmgr")
            output.data(f"assetmgr pull NAME --mirror {server.address}")
        output.flush()
        output.say(f"{plural(held, 'asset')} of {workspace.store.root} served at {server.address}; Ctrl-C ends it")
        if not is_loopback(settings.host) and settings.token is None:
            output.say("whoever reaches this address may read them all; --token-file asks for a token")
        server.run()
    output.say("the server has ended")
    return 0


def _settings(options: argparse.Namespace) -> Settings:
    from assetmgr.server.limits import Limits
    from assetmgr.server.server import Settings

    return Settings(
        host=options.host,
        port=options.port,
        token=_token(options),
        tls_certificate=options.tls_cert,
        tls_key=options.tls_key,
        access_log=options.access_log,
        limits=dataclasses.replace(Limits(), connections=options.max_connections, rate=options.rate_limit),
    )


def _token(options: argparse.Namespace) -> str | None:
    """The token of the options or the environment; one that cannot be sent is refused before it locks everybody out."""
    token: str | None = options.token
    where = "--token"
    if options.token_file is not None:
        where = options.token_file
        try:
            with open(where, encoding="utf-8") as file:
                token = file.read(_TOKEN_MOST + 1).partition("\n")[0].strip()
        except (OSError, UnicodeDecodeError) as error:
            words = error.strerror if isinstance(error, OSError) else "it is not text"
            raise UsageError(f"{where}: the token cannot be read: {words}") from None
    elif token is None and TOKEN in os.environ:
        token, where = os.environ[TOKEN], TOKEN
    if token is not None and not re.fullmatch("[!-~]{1,4096}", token):
        raise UsageError(f"{where}: a token is one word of letters, digits and signs", mend="openssl rand -hex 32")
    return token


class _StoppedBySignals:
    """Within it SIGTERM and Ctrl-C let the server end; a second one ends the process at once."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) == signal.SIG_IGN:
                    continue  # as nohup, or a shell's background, has it
                self._before[number] = signal.signal(number, self._stop)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        self._server.stop()


def _port(text: str) -> int:
    if re.fullmatch("[0-9]{1,5}", text) and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError("a port from 0 to 65535")


def _connections(text: str) -> int:
    if re.fullmatch("[0-9]{1,5}", text) and int(text):
        return int(text)
    raise argparse.ArgumentTypeError("a number from 1 to 99999")
