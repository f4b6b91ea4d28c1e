"""Hashing everything: `verify --full` against what hashlib can do on this machine."""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.runner import Bench, Row, alternate, process
from tests.benchmarks.workplace import ASSETMGR, NAME
from tests.support import Project

FILES = 4
BOUND = 0.9


def verify_full(bench: Bench) -> Iterator[Row]:
    """`assetmgr verify --full` of large files, against hashlib on bytes in memory."""
    size = 64 << 20 if bench.quick else 512 << 20
    project = _pulled(bench.place, size)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    data = random.Random(1).randbytes(64 << 20)
    times = max(1, FILES * size // len(data) // cores)
    took = alternate(
        bench.rounds(7),
        ours=process(ASSETMGR, "verify", "--full", cwd=project.folder, env=project.environment()),
        one=lambda: _hash_in_memory(data, times, 1),
        all=lambda: _hash_in_memory(data, times, cores),
    )
    ours = FILES * size / took["ours"]
    one = len(data) * times / took["one"]
    together = len(data) * times * cores / took["all"]
    what = f"verify --full, {FILES} x {size >> 20} MiB"
    for words, peer in ((f"{cores} x one core's hashlib", cores * one), (f"{cores} threads of hashlib", together)):
        yield Row(
            f"{what} / {words}", _rate(ours), _rate(peer), f"{ours / peer:.3f}", f">= {BOUND:g}", ours / peer >= BOUND
        )
    bench.note(
        f"{cores} threads that hash at once, in memory, reach {together / one:.2f} times the rate of one. Where "
        f"that is far from {cores}, the cores share what hashes, and the second of the two rows is the ceiling."
    )


def _hash_in_memory(data: bytes, times: int, threads: int) -> float:
    def run() -> None:
        for _ in range(times):
            hashlib.sha256(data)

    workers = [threading.Thread(target=run) for _ in range(threads)]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return time.perf_counter() - started


def _pulled(place: Path, size: int) -> Project:
    """A project whose store holds the files, pulled from local paths."""
    published = place / "published"
    published.mkdir()
    source = random.Random(2)
    digests = []
    for number in range(FILES):
        digest = hashlib.sha256()
        with (published / f"{number}.bin").open("wb") as file:
            for _ in range(size >> 20):
                piece = source.randbytes(1 << 20)
                digest.update(piece)
                file.write(piece)
        digests.append(digest.hexdigest())
    project = Project(place / "project")
    sources = "".join(
        f"      - {{url: 'file://{published}/{number}.bin', size: {size}, sha256: '{digest}'}}\n"
        for number, digest in enumerate(digests)
    )
    project.write(f"version: 1\ndatasets:\n  {NAME}:\n    files:\n{sources}")
    project.run("lock")
    project.run("pull")
    for path in published.iterdir():
        path.unlink()  # the store has them; the room may be needed
    return project


def _rate(value: float) -> str:
    return f"{value / 1e9:.2f} GB/s"
