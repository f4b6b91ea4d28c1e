"""The transfer engine from nginx on loopback, beside `curl` and `aria2c`, which hash nothing."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from assetmgr.digests import hash_file
from tests.benchmarks.runner import Bench, Row, Run, alternate, at_most, process
from tests.benchmarks.workplace import write_files, write_large
from tests.support import REPOSITORY
from tests.transfer.nginx import Nginx, running

SERVER_ABSENT = "there is no nginx: apt-get install nginx-light"

# python -c OURS BASE FOLDER SIZE NAME...: the engine as a process of its own.
OURS = """
import os, sys
from assetmgr.transfer.engine import Engine
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.source import Source, Task
base, folder, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
tasks = [Task(n, (Source(f"{base}/{n}"),), f"{folder}/{i}", size) for i, n in enumerate(sys.argv[4:])]
os.makedirs(folder, exist_ok=True)
with Engine(Limits()) as engine:
    for outcome in engine.fetch(tasks):
        if outcome.error is not None:
            raise outcome.error
"""


def is_absent(program: str) -> bool:
    return shutil.which(program) is None


def transfer(bench: Bench) -> Iterator[Row]:
    """One large file, one large file over slow connections, and many small ones."""
    if is_absent("nginx"):
        bench.note(f"transfer: skipped, for {SERVER_ABSENT}")
        return
    for peer in ("curl", "aria2c"):
        if is_absent(peer):
            bench.note(f"transfer: not measured beside {peer}, which is not installed")
    size, slow_size = (50_000_000, 20_000_000) if bench.quick else (2_000_000_000, 200_000_000)
    with running(bench.place / "nginx") as nginx:
        write_large(nginx.www / "one.bin", size)
        write_large(nginx.www / "slow.bin", slow_size)
        write_files(nginx.www / "many", 2000, 2000)
        yield from _one(bench, nginx, size)
        with _throttled(nginx.port, 20e6) as slow:
            yield from _slow(bench, slow, slow_size)
        yield from _many(bench, nginx)


def _ours(base: str, folder: Path, size: int, *names: str) -> Run:
    command: tuple[str | Path, ...] = (sys.executable, "-c", OURS, base, folder, str(size), *names)
    return process(*command, cwd=REPOSITORY, before=lambda: _fresh(folder))


def _aria2c(url: str, out: Path, *options: str) -> Run:
    fixed = ("-q", "-x8", "-s8", "--file-allocation=none")
    return process("aria2c", *fixed, *options, "-d", out, "-o", "x", url, before=lambda: _fresh(out))


def _fresh(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def _one(bench: Bench, nginx: Nginx, size: int) -> Iterator[Row]:
    out, url = bench.place / "out", f"{nginx.url}/one.bin"

    def hashing() -> float:
        began = time.perf_counter()
        hash_file(nginx.www / "one.bin")
        return time.perf_counter() - began

    sides = {"ours": _ours(nginx.url, out, size, "one.bin"), "sha256": hashing}
    if not is_absent("curl"):
        sides["curl"] = process("curl", "-s", "-o", out / "x", url, before=lambda: _fresh(out))
    if not is_absent("aria2c"):
        sides["aria2c -x8"] = _aria2c(url, out)
    took = alternate(bench.rounds(5), **sides)
    words = f"1 x {size // 1_000_000:,} MB, hashed"
    for peer in ("curl", "aria2c -x8"):
        if peer in took:
            yield at_most(f"{words} / {peer}, not hashed", took["ours"], took[peer], 1.0)
    # At least 75 % of one core's rate of hashing is at most 1 / 0.75 of the time that hashing takes.
    yield at_most(f"{words} / sha256 of it alone", took["ours"], took["sha256"], 1.333)


def _slow(bench: Bench, base: str, size: int) -> Iterator[Row]:
    if is_absent("aria2c"):
        return
    out = bench.place / "out"
    took = alternate(
        bench.rounds(5),
        ours=_ours(base, out, size, "slow.bin"),
        aria2=_aria2c(f"{base}/slow.bin", out, "-k1M"),
    )
    words = f"{size // 1_000_000:,} MB, 20 MB/s a connection, hashed / aria2c -x8, not hashed"
    yield at_most(words, took["ours"], took["aria2"], 1.1)


def _many(bench: Bench, nginx: Nginx) -> Iterator[Row]:
    if is_absent("aria2c"):
        return
    out, listed = bench.place / "out", bench.place / "urls"
    base = f"{nginx.url}/many"
    names = [f"{number // 100:03}/{number:06}.bin" for number in range(2000)]
    listed.write_text("".join(f"{base}/{name}\n  out={at}\n" for at, name in enumerate(names)))
    took = alternate(
        bench.rounds(5),
        ours=_ours(base, out, 2000, *names),
        aria2=process("aria2c", "-q", "-j8", "-i", listed, "-d", out, before=lambda: _fresh(out)),
    )
    yield at_most("2,000 x 2 kB, hashed / aria2c -j8, not hashed", took["ours"], took["aria2"], None)


@contextlib.contextmanager
def _throttled(port: int, rate: float) -> Iterator[str]:
    """A relay that holds every connection to a rate, which nginx's own limit does not do."""
    command = [sys.executable, "-m", "tests.transfer.relay", str(port), str(rate)]
    relay = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert relay.stdin is not None
    assert relay.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(relay.stdout.readline())}"
    finally:
        relay.stdin.close()
        relay.wait()
