"""Pulling again what is there and right."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.hub_process import served
from tests.benchmarks.runner import Bench, Row, alternate, at_most, process
from tests.benchmarks.workplace import ASSETMGR, HF, hub_project, write_files

BOUND = 0.25


def pull_warm(bench: Bench) -> Iterator[Row]:
    """`assetmgr pull` of 2,000 small files that are there, against `hf download` of the same."""
    count = 200 if bench.quick else 2000
    write_files(bench.place / "published", count, 2000)
    with served(many=bench.place / "published") as (endpoint, requests):
        project = hub_project(bench.place / "project", endpoint, "bench/many")
        env = project.environment()
        process(ASSETMGR, "lock", cwd=project.folder, env=env)()
        ours = process(ASSETMGR, "pull", cwd=project.folder, env=env)
        peer = process(HF, "download", "bench/many", cwd=project.folder, env=env)
        ours()
        peer()
        requests()
        ours()
        our_requests = requests()
        peer()
        their_requests = requests()
        took = alternate(bench.rounds(11), ours=ours, peer=peer)
        row = at_most(f"warm pull, {count:,} files / hf download", took["ours"], took["peer"], BOUND)
        yield Row(row.what, row.ours, row.peer, row.ratio, row.bound, bool(row.holds) and our_requests == 0)
        yield Row("  its requests", str(our_requests), str(their_requests), "", "0", our_requests == 0)
