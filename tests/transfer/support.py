"""What the transfer tests share: bodies, patient limits, one fetch with all it said, a client to kill."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from assetmgr.reporting import Silent
from assetmgr.transfer.fetch import fetch
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.source import Fetched
from tests.support import REPOSITORY, clean_environment

# Big files, to these tests, are small ones: a journal from 64 kB, pieces of 64 kB, several connections from 256 kB.
SMALL = {"resume_from": 1 << 16, "split_from": 1 << 18, "piece_least": 1 << 16, "progress_least": 1 << 16}
QUICK = Limits(attempts=3, backoff=0.001, connect_timeout=5, read_timeout=5, **SMALL)


def body(size: int, seed: int = 0) -> bytes:
    return Random(seed).randbytes(size)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Attempt:
    """Fetches into one partial, with what was said and counted."""

    partial: Path
    said: list[str] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def __call__(self, *urls: str, limits: Limits = QUICK, **options: Any) -> Fetched:
        return fetch(
            urls,
            str(self.partial),
            limits=limits,
            progress=self.steps.append,
            say=self.said.append,
            sleep=self.waits.append,
            **options,
        )

    @property
    def journal(self) -> Path:
        return Path(f"{self.partial}.journal")

    def assert_whole(self, fetched: Fetched, data: bytes) -> None:
        assert self.partial.read_bytes() == data
        assert (fetched.size, fetched.digests["sha256"]) == (len(data), sha256(data))
        assert sum(self.steps) == len(data)
        assert not self.journal.exists()


CLIENT = """
import json, sys
from assetmgr.errors import AssetError
from assetmgr.reporting import Silent
from assetmgr.transfer.engine import Engine
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.source import Source, Task

class Words(Silent):
    def say(self, text):
        print(text, file=sys.stderr, flush=True)

job = json.loads(sys.argv[1])
tasks = [
    Task(task["label"], tuple(Source(url) for url in task["urls"]), task["partial"], task["size"], task["sha256"])
    for task in job["tasks"]
]
code = 0
print("ready", flush=True)
try:
    with Engine(Limits(**job["limits"]), Words()) as engine:
        for outcome in engine.fetch(tasks):
            if outcome.error is not None:
                print(f"{type(outcome.error).__name__}: {outcome.error}", file=sys.stderr, flush=True)
                code = 5
except KeyboardInterrupt:
    sys.exit(130)
sys.exit(code)
"""


class Client:
    """A process that fetches files with an engine, and can be killed."""

    def __init__(self, tasks: Sequence[dict[str, Any]], limits: dict[str, Any], home: Path) -> None:
        import json

        self.process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, json.dumps({"tasks": list(tasks), "limits": limits})],
            cwd=REPOSITORY,
            env=clean_environment(HOME=str(home)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def kill(self) -> None:
        """End it as the kernel would: nothing of it runs on."""
        self.process.kill()
        self.process.communicate()

    def finish(self, timeout: float = 60) -> tuple[int, str]:
        _, err = self.process.communicate(timeout=timeout)
        assert "Traceback" not in err, err
        return self.process.returncode, err

    def finishes_within(self, seconds: float) -> bool:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


def wait_for_bytes(path: Path, least: int, timeout: float = 30) -> None:
    """Wait until so much of a file is on disk."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if path.exists() and path.stat().st_blocks * 512 >= least:
            return
        time.sleep(0.005)
    raise AssertionError(f"{path} never held {least} bytes")


class Words(Silent):
    """A reporter that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str, /) -> None:
        self.said.append(text)
