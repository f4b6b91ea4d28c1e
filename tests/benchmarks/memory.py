"""The most memory that whole processes take, for many files and for large ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.benchmarks.hub_process import served
from tests.benchmarks.runner import Bench, Row
from tests.benchmarks.transfer import OURS, SERVER_ABSENT, is_absent
from tests.benchmarks.workplace import ASSETMGR, hub_project, write_large
from tests.support import REPOSITORY
from tests.transfer.nginx import running

BOUND = 500


def memory(bench: Bench) -> Iterator[Row]:
    """`assetmgr lock` and `pull` of 100,000 files; the engine on small and large files, few and many at once."""
    count = 1000 if bench.quick else 100_000
    published = bench.place / "published"
    for number in range(count):
        path = published / f"{number // 1000:03}" / f"{number:06}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(str(number).encode())
    with served(many=published) as (endpoint, _):
        project = hub_project(bench.place / "project", endpoint, "bench/many")
        for command in ("lock", "pull"):
            peak = most_memory(ASSETMGR, command, cwd=project.folder, env=project.environment())
            yield Row(f"memory, {command} of {count:,} files", f"{peak} MB", "", "", f"<= {BOUND} MB", peak <= BOUND)
    if is_absent("nginx"):
        bench.note(f"memory: the engine alone is left out, for {SERVER_ABSENT}")
        return
    small, large = (20_000_000, 60_000_000) if bench.quick else (100_000_000, 2_000_000_000)
    with running(bench.place / "nginx") as nginx:
        for size in (small, large):
            write_large(nginx.www / str(size), size)
        peaks = {}
        for size, at_once in ((small, 1), (large, 1), (small, 8)):
            out = bench.place / "out"
            names = [str(size)] * at_once
            peaks[size, at_once] = most_memory(
                sys.executable, "-c", OURS, nginx.url, out, str(size), *names, cwd=REPOSITORY, env=os.environ
            )
            shutil.rmtree(out)
    for (size, at_once), peak in peaks.items():
        flat = peak - peaks[small, 1]
        words = f"memory, engine, {at_once} x {size // 1_000_000:,} MB at once"
        # Each file under way has its ring of buffers, 2 MB, and threads; nothing depends on its size.
        most = 3 * at_once
        yield Row(words, f"{peak} MB", "", f"{flat:+} MB", f"<= +{most} MB", flat <= most)


# A child counts the memory of the process that it was forked from as its own most: so it is forked from a small one.
_MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def most_memory(*command: str | Path, cwd: Path, env: Mapping[str, str]) -> int:
    """Run a command; return the most resident memory that it had, in MB."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", _MEASURE, *map(str, command)],
        cwd=cwd,
        env=dict(env),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stderr}")
    return round(int(done.stdout) / (1e6 if sys.platform == "darwin" else 1e3))
