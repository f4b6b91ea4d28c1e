"""Locking and pulling what was never here, from a hub served by nginx, beside ``hf download``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.nginx_hub import served
from tests.benchmarks.runner import Bench, Row, alternate, at_most, process
from tests.benchmarks.transfer import SERVER_ABSENT, is_absent
from tests.benchmarks.workplace import ASSETMGR, HF, hub_project, write_files, write_large

SMALL, LARGE = 0.2, 0.35


def pull_cold(bench: Bench) -> Iterator[Row]:
    """`assetmgr lock` and `pull` into an empty store, against `hf download` into an empty cache."""
    if is_absent("nginx"):
        bench.note(f"pull-cold: skipped, for {SERVER_ABSENT}")
        return
    count, size = (200, 20_000_000) if bench.quick else (2000, 2_000_000_000)
    write_files(bench.place / "many", count, 2000)
    write_large(bench.place / "one" / "x.bin", size)
    with served(bench.place / "nginx", many=bench.place / "many", one=bench.place / "one") as endpoint:
        yield from _cold(bench, endpoint, "many", f"{count:,} x 2 kB", SMALL)
        yield from _cold(bench, endpoint, "one", f"1 x {size // 1_000_000:,} MB", LARGE)


def _cold(bench: Bench, endpoint: str, repo: str, words: str, bound: float) -> Iterator[Row]:
    project = hub_project(bench.place / f"project-{repo}", endpoint, f"bench/{repo}")
    env = project.environment()

    def empty() -> None:
        project.lock_file.unlink(missing_ok=True)
        for folder in (project.root, Path(env["HF_HOME"])):
            shutil.rmtree(folder, ignore_errors=True)

    lock = process(ASSETMGR, "lock", cwd=project.folder, env=env, before=empty)
    pull = process(ASSETMGR, "pull", cwd=project.folder, env=env)
    took = alternate(
        bench.rounds(3),
        ours=lambda: lock() + pull(),
        peer=process(HF, "download", f"bench/{repo}", cwd=project.folder, env=env, before=empty),
    )
    yield at_most(f"cold lock + pull, {words} / hf download", took["ours"], took["peer"], bound)
    empty()
