"""`assetmgr serve` beside nginx, both with an access log: a large file to one client and to eight, and small files."""

from __future__ import annotations

import contextlib
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.benchmarks.runner import Bench, Row, alternate
from tests.benchmarks.transfer import SERVER_ABSENT, is_absent
from tests.benchmarks.workplace import NAME, hub_project, write_files, write_large
from tests.hub import Hub
from tests.support import Project
from tests.transfer.nginx import running

_LARGE, _SMALL = "large.bin", 200
# wrk asks for each of the small files in its turn.
_SCRIPT = """
local at = 0
request = function()
    at = at + 1
    local number = at % {count}
    return wrk.format("GET", string.format("{prefix}/%03d/%06d.bin", math.floor(number / 100), number))
end
"""


def serve(bench: Bench) -> Iterator[Row]:
    """Throughput by curl, requests a second by wrk."""
    if is_absent("nginx") or is_absent("curl"):
        bench.note(f"serve: skipped, for {SERVER_ABSENT} (or no curl)")
        return
    size = 50_000_000 if bench.quick else 2_000_000_000
    with running(bench.place / "nginx") as nginx:
        write_large(nginx.www / _LARGE, size)
        write_files(nginx.www / "small", _SMALL, 2000)
        hub = Hub()
        hub.create("bench/served").commit_folder(nginx.www)
        with hub.serve() as endpoint:
            project = hub_project(bench.place / "project", endpoint, "bench/served")
            project.run("lock")
            project.run("pull", NAME)
        with _served(project) as address:
            base = f"{address}/bench/served/resolve/main"
            for clients in (1, 8):
                yield _throughput(bench, size, clients, ours=f"{base}/{_LARGE}", nginx=f"{nginx.url}/{_LARGE}")
            if is_absent("wrk"):
                bench.note("serve: small files not measured, for there is no wrk: apt-get install wrk")
                return
            for clients, bound in ((1, 0.4), (16, 0.2)):
                yield _requests(bench, clients, bound, ours=f"{base}/small", nginx=f"{nginx.url}/small")


@contextlib.contextmanager
def _served(project: Project) -> Iterator[str]:
    """The project's store, served by a process of its own."""
    process = project.start("serve", "--port", "0", "--access-log", "access.log")
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip().partition("=")[2]
    finally:
        process.terminate()
        process.communicate()


def _throughput(bench: Bench, size: int, clients: int, **urls: str) -> Row:
    def fetch(url: str) -> float:
        began = time.perf_counter()
        running = [subprocess.Popen(["curl", "-sf", "-o", "/dev/null", url]) for _ in range(clients)]
        codes = [process.wait() for process in running]
        if any(codes):
            raise RuntimeError(f"curl {url} failed")
        return time.perf_counter() - began

    took = alternate(
        bench.rounds(7 if clients == 1 else 3), **{name: (lambda url=url: fetch(url)) for name, url in urls.items()}
    )
    ours, peer = (clients * size / took[name] for name in ("ours", "nginx"))
    what = f"serve, {size // 1_000_000:,} MB to {clients} / nginx"
    return _at_least(what, ours, peer, 0.9, lambda rate: f"{rate / 1e9:.2f} GB/s")


def _requests(bench: Bench, clients: int, bound: float, **bases: str) -> Row:
    found: Mapping[str, list[float]] = {name: [] for name in bases}
    for _ in range(bench.rounds(5)):
        for name, base in bases.items():
            found[name].append(_wrk(bench.place, base, clients, seconds=1 if bench.quick else 3))
    ours, peer = (statistics.median(found[name]) for name in ("ours", "nginx"))
    what = f"serve, 2 kB files to {clients} / nginx"
    return _at_least(what, ours, peer, bound, lambda rate: f"{rate:,.0f}/s")


def _wrk(place: Path, base: str, clients: int, *, seconds: int) -> float:
    """Requests a second."""
    prefix = "/" + base.split("/", 3)[3]
    script = place / "script.lua"
    script.write_text(_SCRIPT.format(count=_SMALL, prefix=prefix))
    threads = min(2, clients)
    command = ["wrk", f"-t{threads}", f"-c{clients}", f"-d{seconds}s", "-s", str(script), base]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+([0-9.]+)", said)
    if rate is None or "Non-2xx" in said:
        raise RuntimeError(f"{' '.join(command)}\n{said}")
    return float(rate[1])


def _at_least(what: str, ours: float, peer: float, bound: float, shown: Callable[[float], str]) -> Row:
    ratio = ours / peer
    return Row(what, shown(ours), shown(peer), f"{ratio:.3f}", f">= {bound:g}", ratio >= bound)
