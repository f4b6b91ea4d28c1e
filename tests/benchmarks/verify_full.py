"""Hashing everything: `verify --full` against what hashlib can do on this machine."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from assetmgr import Workspace
from tests.benchmarks.runner import Bench, Row, alternate, process
from tests.benchmarks.workplace import ASSETMGR, NAME, hash_files, together
from tests.support import Project

FILES = 4
BOUND = 0.9


def verify_full(bench: Bench) -> Iterator[Row]:
    """Hashing large files again, against hashlib on bytes in memory, and against the plainest loop that reads them."""
    size = 64 << 20 if bench.quick else 512 << 20
    total = FILES * size
    project = _pulled(bench.place, size)
    workspace = Workspace([project.folder / "assets.yaml"], project.root)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    data = random.Random(1).randbytes(64 << 20)
    times = max(1, total // len(data) // cores)
    paths = sorted(Path(workspace.path(NAME)).iterdir())

    def ours() -> float:
        started = time.perf_counter()
        found = workspace.verify(full=True)
        if found.hashed_bytes != total or found.findings:
            raise RuntimeError(f"not what was to be measured: {found}")
        return time.perf_counter() - started

    took = alternate(
        bench.rounds(7),
        ours=ours,
        process=process(ASSETMGR, "verify", "--full", cwd=project.folder, env=project.environment()),
        one=lambda: together([partial(_hash, data, times)]),
        all=lambda: together([partial(_hash, data, times)] * cores),
        files=lambda: together([partial(hash_files, paths[n::cores]) for n in range(cores)]),
    )
    rate = total / took["ours"]
    one = len(data) * times / took["one"]
    in_all = len(data) * times * cores / took["all"]
    what = f"verify --full, {FILES} x {size >> 20} MiB"
    yield _row(f"{what} / {cores} x one core's hashlib", rate, cores * one, BOUND)
    yield _row(f"{what} / {cores} threads of hashlib", rate, in_all, BOUND)
    yield _row(f"{what} / {cores} threads that read and hash", rate, total / took["files"])
    yield _row("  the whole process, with its start / the same", total / took["process"], total / took["files"])
    bench.note(
        f"{cores} threads that hash at once, in memory, reach {in_all / one:.2f} times the rate of one; far from "
        f"{cores}, the cores (or other work\non them) share what hashes, and the second row is the ceiling. Reading "
        f"costs a copy: the plainest loop that reads the\nfiles reaches {total / took['files'] / in_all:.3f} of it."
    )


def _row(what: str, ours: float, peer: float, bound: float | None = None) -> Row:
    """A row of two rates, of which the higher is the better."""
    cells = (what, f"{ours / 1e9:.2f} GB/s", f"{peer / 1e9:.2f} GB/s", f"{ours / peer:.3f}")
    return Row(*cells) if bound is None else Row(*cells, f">= {bound:g}", ours / peer >= bound)


def _hash(data: bytes, times: int) -> None:
    for _ in range(times):
        hashlib.sha256(data)


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
