"""Random faults and kills: a round ends in proved bytes or a clear error, and the next clean run succeeds.

The seed is printed with a failure; ``ASSETMGR_CHAOS_SEED=N`` runs its rounds again (the timing of threads differs).
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.hub import Fault, Hub
from tests.transfer.support import SMALL, Client, body, sha256

SIZES = [0, 1, 1000, 65_536, 65_537, 300_000, 1_000_000, 3_000_000]
LIMITS: dict[str, Any] = {
    **SMALL,
    "attempts": 3,
    "backoff": 0.01,
    "backoff_most": 0.05,
    "read_timeout": 0.4,
    "connect_timeout": 2,
    "retry_after_most": 0.2,
    "jobs": 4,
}
NAMED = re.compile(r"^(OriginError|AccessError|IntegrityError): \w+: ", re.M)


def random_fault(random: Random, bodies: dict[str, bytes]) -> Fault:
    """One thing that goes wrong with one file, or with any."""
    name = random.choice([*bodies, ""])
    size = len(bodies.get(name, b"x" * 1_000_000))
    at = random.randrange(size + 1)
    kind: dict[str, Any] = random.choice(
        [
            {"drop": True},
            {"truncate_after": at},
            {"reset_after": at},
            {"stall_after": at, "stall_seconds": 1.0},
            {"flip_at": at},
            {"endless": True},
            {"throttle": random.uniform(2e5, 5e6)},
            {"status": random.choice([429, 500, 503, 404, 403, 416, 206, 204, 302])},
            {"status": 503, "retry_after": random.choice([0, "soon", 3600])},
            {"body": Random(at).randbytes(random.choice([size, max(size - 1, 0), size + 1]))},
            {"headers": {"Content-Range": random.choice([None, "bytes 0-0/1", f"bytes 0-{size}/{size}"])}},
            {"headers": {"Content-Length": random.choice(["0", "5", str(size + 7), "many", None])}},
            {"headers": {"ETag": random.choice([None, '"other"', 'W/"weak"'])}},
            {"headers": {"Accept-Ranges": "none"}},
            {"headers": {"Content-Type": "text/html"}, "body": b"<!doctype html><html>Please log in</html>"},
            {"delay": random.choice([0.05, 1.0])},
        ]
    )
    return Fault(match=f"/{name}", times=random.choice([1, 1, 2, 5, None]), after=random.choice([0, 0, 1, 3]), **kind)


def one_round(seed: int, folder: Path) -> str:
    """One hub, some files, some faults, some kills, and then a clean run. Returns what became of it."""
    random = Random(seed)
    bodies = {f"f{number}": body(random.choice(SIZES), random.randrange(1 << 30)) for number in range(3)}
    hub = Hub()
    for name, data in bodies.items():
        ranges = random.random() < 0.8
        etags: list[bool | str] = [True, True, False, '"same"']
        hub.publish(f"/{name}", data, ranges=ranges, etag=random.choice(etags))
    wanted = []
    with hub.serve() as endpoint:
        for name, data in bodies.items():
            urls = [f"{endpoint}/{name}"] * random.choice([1, 1, 2])
            partial = str(folder / "partial" / name)
            wanted.append({"label": name, "urls": urls, "partial": partial, "size": len(data), "sha256": sha256(data)})
        for _ in range(random.randrange(1, 6)):
            hub.faults.add(random_fault(random, bodies))
        ended = "ended"
        for _ in range(random.choice([0, 1, 2])):
            client = Client(wanted, LIMITS, folder)
            time.sleep(random.uniform(0, 0.3))
            client.kill()
            ended = "killed, then ended"
        if random.random() < 0.3:  # the file changes half-way, and later is again what the lock says
            name = random.choice(list(bodies))
            hub.publish(f"/{name}", body(len(bodies[name]), seed + 1))
            Client(wanted, LIMITS, folder).finish()
            hub.publish(f"/{name}", bodies[name])
        code, err = Client(wanted, LIMITS, folder).finish()
        if code:
            assert code == 5
            failures = NAMED.findall(err)
            assert 1 <= len(failures) <= len(bodies), err
        _assert_none_wrong(bodies, folder, len(bodies) - (len(NAMED.findall(err)) if code else 0), err)
        hub.faults.clear()
        clean, err = Client(wanted, LIMITS, folder).finish()
        assert clean == 0, err
    _assert_none_wrong(bodies, folder, len(bodies), err)
    return f"{ended} with {code}"


def _assert_none_wrong(bodies: dict[str, bytes], folder: Path, least: int, err: str) -> None:
    """What has no journal and its full size was given out as proved: it must be right."""
    right = 0
    for name, data in bodies.items():
        path = folder / "partial" / name
        if path.exists() and not os.path.exists(f"{path}.journal") and path.read_bytes() == data:
            right += 1
    assert right >= least, err


def rounds(count: int, folder: Path) -> None:
    seed = int(os.environ.get("ASSETMGR_CHAOS_SEED") or Random().randrange(1 << 30))
    print(f"ASSETMGR_CHAOS_SEED={seed}")
    ends: dict[str, int] = {}
    for number in range(count):
        print(f"round {number}: seed {seed + number}")
        ended = one_round(seed + number, folder / str(number))
        ends[ended] = ends.get(ended, 0) + 1
    print(ends)


def test_twenty_rounds_of_chaos_end_in_proved_bytes_or_a_clear_error(tmp_path: Path) -> None:
    rounds(20, tmp_path)


@pytest.mark.soak
def test_two_hundred_rounds_of_chaos_end_in_proved_bytes_or_a_clear_error(tmp_path: Path) -> None:
    rounds(200, tmp_path)
