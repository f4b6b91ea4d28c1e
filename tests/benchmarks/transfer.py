"""The transfer engine from nginx on loopback, beside `curl` and `aria2c`, which hash nothing."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from assetmgr.digests import hash_file
from tests.benchmarks.runner import Bench, Row, alternate, at_most, process
from tests.benchmarks.workplace import write_files
from tests.support import REPOSITORY

_NGINX = """
daemon off; worker_processes 2; pid {place}/nginx.pid; error_log {place}/error.log;
events {{ worker_connections 512; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000;
 client_body_temp_path {place}/b; proxy_temp_path {place}/p; fastcgi_temp_path {place}/f;
 uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;
 server {{ listen 127.0.0.1:{port}; root {place}/www; }} }}
"""

_OURS = """
import sys
from assetmgr.transfer.engine import Engine
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.source import Source, Task
base, folder, count, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
names = sys.argv[5:] or [f"{n // 100:03}/{n:06}.bin" for n in range(count)]
tasks = [Task(n, (Source(f"{base}/{n}"),), f"{folder}/{i}", size) for i, n in enumerate(names)]
with Engine(Limits()) as engine:
    for outcome in engine.fetch(tasks):
        if outcome.error is not None:
            raise outcome.error
"""


def transfer(bench: Bench) -> Iterator[Row]:
    """One large file, one large file over slow connections, and many small ones."""
    missing = [name for name in ("nginx", "curl", "aria2c") if shutil.which(name) is None]
    if missing:
        bench.note(f"transfer: skipped, for there is no {', '.join(missing)}: apt-get install nginx-light curl aria2")
        return
    size = 200_000_000 if bench.quick else 2_000_000_000
    for name, length in (("one", size), ("slow", 200_000_000)):
        large = bench.place / "www" / name / "000" / "000000.bin"
        large.parent.mkdir(parents=True)
        source = random.Random(name)
        with large.open("wb") as file:
            for _ in range(length // 100_000_000):
                file.write(source.randbytes(100_000_000))
    write_files(bench.place / "www" / "many", 2000, 2000)
    with _nginx(bench.place) as base:
        yield from _one(bench, base, size)
        with _throttled(base, 20e6) as slow:
            yield from _slow(bench, slow)
        yield from _many(bench, base)


def _ours(base: str, folder: Path, count: int, size: int, *names: str) -> tuple[str | Path, ...]:
    return (sys.executable, "-c", _OURS, base, folder, str(count), str(size), *names)


def _fresh(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def _one(bench: Bench, base: str, size: int) -> Iterator[Row]:
    out, name = bench.place / "out", "one/000/000000.bin"

    def empty() -> None:
        _fresh(out)

    def hashing() -> float:
        began = time.perf_counter()
        hash_file(bench.place / "www" / name)
        return time.perf_counter() - began

    aria2 = ("aria2c", "-q", "-x8", "-s8", "--file-allocation=none", "-d", out, "-o", "x", f"{base}/{name}")
    took = alternate(
        bench.rounds(5),
        ours=process(*_ours(base, out, 1, size, name), cwd=REPOSITORY, before=empty),
        curl=process("curl", "-s", "-o", out / "x", f"{base}/{name}", before=empty),
        aria2=process(*aria2, before=empty),
        sha256=hashing,
    )
    words = f"1 x {size // 1_000_000} MB, hashed"
    yield at_most(f"{words} / curl, not hashed", took["ours"], took["curl"], 1.0)
    yield at_most(f"{words} / aria2c -x8, not hashed", took["ours"], took["aria2"], 1.0)
    # At least 75 % of one core's rate of hashing is at most 1 / 0.75 of the time that hashing takes.
    yield at_most(f"{words} / sha256 of it alone", took["ours"], took["sha256"], 1.333)


def _slow(bench: Bench, base: str) -> Iterator[Row]:
    out, name = bench.place / "out", "slow/000/000000.bin"

    def empty() -> None:
        _fresh(out)

    aria2 = ("aria2c", "-q", "-x8", "-s8", "-k1M", "--file-allocation=none", "-d", out, "-o", "x", f"{base}/{name}")
    took = alternate(
        bench.rounds(5),
        ours=process(*_ours(base, out, 1, 200_000_000, name), cwd=REPOSITORY, before=empty),
        aria2=process(*aria2, before=empty),
    )
    yield at_most("200 MB, 20 MB/s a connection / aria2c -x8", took["ours"], took["aria2"], 1.1)


def _many(bench: Bench, base: str) -> Iterator[Row]:
    out, listed = bench.place / "out", bench.place / "urls"
    names = [f"{number // 100:03}/{number:06}.bin" for number in range(2000)]
    listed.write_text("".join(f"{base}/many/{name}\n  out={at}\n" for at, name in enumerate(names)))

    def empty() -> None:
        _fresh(out)

    took = alternate(
        bench.rounds(5),
        ours=process(*_ours(f"{base}/many", out, 2000, 2000), cwd=REPOSITORY, before=empty),
        aria2=process("aria2c", "-q", "-j8", "-i", listed, "-d", out, before=empty),
    )
    yield at_most("2,000 x 2 kB, hashed / aria2c -j8, not hashed", took["ours"], took["aria2"], None)


@contextlib.contextmanager
def _nginx(place: Path) -> Iterator[str]:
    """nginx as a process of ours, with its own configuration, on loopback."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (place / "nginx.conf").write_text(_NGINX.format(place=place, port=port))
    for folder in (place, place.parent):  # ours, and its workers may be another user
        folder.chmod(0o755)
    server = subprocess.Popen(
        ["nginx", "-c", place / "nginx.conf", "-p", place], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def _throttled(base: str, rate: float) -> Iterator[str]:
    """A relay that holds every connection to a rate, which nginx's own limit does not do."""
    command = [sys.executable, "-m", "tests.transfer.relay", base.rpartition(":")[2], str(rate)]
    relay = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert relay.stdin is not None
    assert relay.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(relay.stdout.readline())}"
    finally:
        relay.stdin.close()
        relay.wait()
