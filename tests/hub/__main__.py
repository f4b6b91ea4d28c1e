"""``python -m tests.hub --model ORG/NAME=FOLDER``: serve folders as repositories until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from .faults import Fault
from .hub import Hub


def pair(text: str, sign: str, form: str) -> tuple[str, str]:
    left, found, right = text.partition(sign)
    if not (left and found and right):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form {form}")
    return left, right


def named_folder(text: str) -> tuple[str, Path]:
    name, folder = pair(text, "=", "ORG/NAME=FOLDER")
    if not Path(folder).is_dir():
        raise argparse.ArgumentTypeError(f"{folder} is not a folder")
    return name, Path(folder)


def named_tag(text: str) -> tuple[str, str]:
    return pair(text, ":", "ORG/NAME:TAG")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hub", description=__doc__)
    parser.add_argument("--model", action="append", default=[], type=named_folder, metavar="ORG/NAME=FOLDER")
    parser.add_argument("--dataset", action="append", default=[], type=named_folder, metavar="ORG/NAME=FOLDER")
    parser.add_argument("--tag", action="append", default=[], type=named_tag, metavar="ORG/NAME:TAG")
    parser.add_argument("--static", type=Path, metavar="FOLDER", help="serve its files as they are under /static/")
    parser.add_argument("--throttle", type=float, metavar="BYTES_PER_S", help="of each connection")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", type=Path, help="where to write the port once the hub answers")
    options = parser.parse_args(arguments)

    hub = Hub()
    for name, folder in options.model:
        hub.create(name, "model").commit_folder(folder)
    for name, folder in options.dataset:
        hub.create(name, "dataset").commit_folder(folder)
    for name, tag in options.tag:
        repos = [repo for (_, repo_id), repo in hub.repos.items() if repo_id == name]
        if not repos:
            parser.error(f"--tag {name}:{tag}: no --model or --dataset is called {name}")
        for repo in repos:
            repo.tag(tag)
    if options.static:
        for file in sorted(options.static.rglob("*")):
            if file.is_file():
                hub.publish(f"/static/{file.relative_to(options.static).as_posix()}", file)
    if options.throttle:
        hub.faults.add(Fault(method="GET", times=None, throttle=options.throttle))

    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    with hub.serve(options.port) as endpoint:
        if options.port_file:
            unfinished = options.port_file.with_name(options.port_file.name + ".tmp")
            unfinished.write_text(f"{endpoint.rpartition(':')[2]}\n")
            unfinished.replace(options.port_file)
        sys.stdout.write(endpoint + "\n")
        sys.stdout.flush()
        done.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
