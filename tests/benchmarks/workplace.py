"""What several benchmarks set up: the commands, files to publish, a project that wants them."""

from __future__ import annotations

import hashlib
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support import Project, hub_manifest

BIN = Path(sys.executable).parent
ASSETMGR = BIN / "assetmgr"
HF = BIN / "hf"
NAME = "asset"


def write_files(folder: Path, count: int, size: int) -> None:
    """Write files of random bytes, the same in every run, a hundred a folder."""
    source = random.Random(0)
    for number in range(count):
        path = folder / f"{number // 100:03}" / f"{number:06}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.randbytes(size))


def write_large(path: Path, size: int) -> None:
    """Write one file of random bytes, the same in every run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source, step = random.Random(size), 50_000_000
    with path.open("wb") as file:
        for at in range(0, size, step):
            file.write(source.randbytes(min(step, size - at)))


def hub_project(folder: Path, endpoint: str, repo: str) -> Project:
    """A project that declares one hub repo. Its environment serves ``hf`` as well, with a cache of its own."""
    project = Project(folder, endpoint, env={"HF_HUB_DISABLE_UPDATE_CHECK": "1"})
    project.write(hub_manifest(NAME, repo))
    return project


def hash_files(paths: Sequence[Path]) -> None:
    """Read and hash files by the plainest loop."""
    buffer = bytearray(256 << 10)
    view = memoryview(buffer)
    for path in paths:
        digest = hashlib.sha256()
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(view[:count])


def together(works: Sequence[Callable[[], object]]) -> float:
    """Do things at once, a thread each; return the seconds until all are done."""
    workers = [threading.Thread(target=work) for work in works]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return time.perf_counter() - started
