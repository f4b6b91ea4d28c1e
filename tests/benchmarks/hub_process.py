"""The loopback hub in a process of its own, so that it does not share an interpreter with what is measured."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.hub import Hub
from tests.support import REPOSITORY


@contextlib.contextmanager
def served(**repos: Path) -> Iterator[tuple[str, Callable[[], int]]]:
    """Serve folders as models ``bench/NAME``; give the endpoint and a counter of the requests since its last call."""
    with subprocess.Popen(
        [sys.executable, "-m", __name__, *(f"{name}={folder}" for name, folder in repos.items())],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as hub:
        assert hub.stdin is not None
        assert hub.stdout is not None
        asks, answers = hub.stdin, hub.stdout

        def requests() -> int:
            asks.write("count\n")
            return int(answers.readline())

        yield answers.readline().strip(), requests
        asks.close()  # ends it


def main(arguments: list[str]) -> None:
    hub = Hub()
    hub.page_size = 10_000  # each page is cut from the whole listing: let there be few
    for argument in arguments:
        name, _, folder = argument.partition("=")
        hub.create(f"bench/{name}").commit_folder(Path(folder))
    with hub.serve() as endpoint:
        print(endpoint, flush=True)
        for _ in sys.stdin:
            print(hub.count(), flush=True)
            hub.reset_log()


if __name__ == "__main__":
    main(sys.argv[1:])
