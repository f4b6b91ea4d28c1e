"""Pulling what is in huggingface_hub's cache already, into an empty store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.benchmarks.hub_process import served
from tests.benchmarks.runner import Bench, Row, alternate, at_most, process
from tests.benchmarks.workplace import ASSETMGR, HF, hash_files, hub_project, together, write_large

FILES = 4
BOUND = 1.2


def adopt(bench: Bench) -> Iterator[Row]:
    """`assetmgr pull` of files that `hf download` has in its cache, against one full hash of them by all cores."""
    size = (64 if bench.quick else 1024) << 20
    published = bench.place / "published"
    for number in range(FILES):
        write_large(published / f"{number}.safetensors", size + number)
    with served(large=published) as (endpoint, requests):
        project = hub_project(bench.place / "project", endpoint, "bench/large")
        env = project.environment()
        process(HF, "download", "bench/large", cwd=project.folder, env=env)()
        process(ASSETMGR, "lock", cwd=project.folder, env=env)()
        shutil.rmtree(published)  # the cache has it; the room may be needed

        def empty() -> None:
            shutil.rmtree(project.root, ignore_errors=True)

        blobs = sorted(path for path in Path(env["HF_HOME"], "hub").rglob("blobs/*") if path.stat().st_size >= size)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        pull = process(ASSETMGR, "pull", cwd=project.folder, env=env, before=empty)
        requests()
        pull()
        asked = requests()
        if not all(
            os.path.samefile(blob, project.root / "hub/models--bench--large/blobs" / blob.name) for blob in blobs
        ):
            raise RuntimeError("what was to be linked is not")
        took = alternate(
            bench.rounds(5),
            pull=pull,
            hash=lambda: together([partial(hash_files, blobs[n::cores]) for n in range(cores)]),
            hf=process(HF, "download", "bench/large", cwd=project.folder, env=env),
        )
        what = f"pull from a hub cache, {FILES} x {size >> 20} MiB"
        row = at_most(f"{what} / {cores} threads that read and hash", took["pull"], took["hash"], BOUND)
        yield Row(row.what, row.ours, row.peer, row.ratio, row.bound, bool(row.holds) and asked == 0)
        yield Row("  its requests", str(asked), "", "", "0", asked == 0)
        yield at_most("  the same / hf download, which hashes nothing", took["pull"], took["hf"], None)
