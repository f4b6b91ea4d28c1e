"""Kill -9 at a random point of a large file: what nginx sends again, by its own log."""

from __future__ import annotations

import random
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path

from assetmgr.digests import hash_file
from tests.benchmarks.runner import Bench, Row
from tests.benchmarks.transfer import SERVER_ABSENT, is_absent
from tests.benchmarks.workplace import write_large
from tests.transfer.nginx import Nginx, running
from tests.transfer.support import Client, wait_for_bytes

BOUND = 4.0


def kills(bench: Bench) -> Iterator[Row]:
    """Thirty times: fetch, kill at a random point, fetch the rest; bytes sent less bytes of the file."""
    if is_absent("nginx"):
        bench.note(f"kills: skipped, for {SERVER_ABSENT}")
        return
    size, rounds = (50_000_000, 3) if bench.quick else (1_000_000_000, 30)
    source = random.Random(0)
    with running(bench.place / "nginx") as nginx:
        write_large(nginx.www / "x.bin", size)
        _, digests = hash_file(nginx.www / "x.bin")
        again = [
            _once(nginx, bench.place / "out", size, digests["sha256"], source.randrange(size)) for _ in range(rounds)
        ]
    mean, most = statistics.mean(again) / 1e6, max(again) / 1e6
    yield Row(
        f"fetched again after kill -9 in {size // 1_000_000:,} MB, mean of {rounds}",
        f"{mean:.2f} MB",
        "",
        "",
        f"<= {BOUND:g} MB",
        mean <= BOUND,
    )
    yield Row("  the most of them", f"{most:.2f} MB", "", "")
    bench.note(
        "kills: counted is what nginx gave to its socket. What the kernels held of that when the client died, up to "
        "tcp_wmem's 4 MB at the server, is lost whatever the client does."
    )


def _once(nginx: Nginx, out: Path, size: int, sha256: str, at: int) -> int:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    nginx.forget()
    task = {
        "label": "x",
        "urls": [f"{nginx.url}/x.bin"],
        "partial": str(out / "x"),
        "size": size,
        "sha256": sha256,
    }
    client = Client([task], {}, out)
    wait_for_bytes(out / "x", at)
    client.kill()
    code, err = Client([task], {}, out).finish()
    if code:
        raise RuntimeError(err)
    return nginx.sent() - size
