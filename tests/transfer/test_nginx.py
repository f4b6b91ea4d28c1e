"""A real static server, nginx, on loopback: ranges, changed files, encodings, kept connections, restarts and kills."""

from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from assetmgr.errors import AssetError, OriginError
from assetmgr.transfer.engine import Engine
from assetmgr.transfer.journal import read_journal
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.source import Outcome, Source, Task
from tests.support import eventually
from tests.transfer.nginx import Nginx, needed, running
from tests.transfer.relay import Relay
from tests.transfer.support import QUICK, SMALL, Attempt, Client, Words, body, sha256, wait_for_bytes

BODY = body(5_000_000)
SHA256 = sha256(BODY)
# A minute's patience, as the servers here go away and come back.
PATIENT = Limits(attempts=40, backoff=0.05, backoff_most=0.2, read_timeout=5, connect_timeout=5, **SMALL)


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    needed()
    with running(tmp_path / "nginx") as nginx:
        (nginx.www / "w.bin").write_bytes(BODY)
        yield nginx


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    return Attempt(tmp_path / "partial" / "file")


def fetch_all(wanted: list[Task], limits: Limits = QUICK) -> list[Outcome]:
    with Engine(limits, Words()) as engine:
        return list(engine.fetch(wanted))


def ended(nginx: Nginx, count: int) -> bool:
    """Whether so many requests have ended and are in the log."""
    return eventually(lambda: len(nginx.log()) >= count, 10)


def leave_a_part(nginx: Nginx, attempt: Attempt, tmp_path: Path, least: int = 1_000_000) -> int:
    """Kill a client in the middle of the file; return how many bytes its journal has."""
    relay = Relay(nginx.port, rate=2e6)
    task = {
        "label": "w",
        "urls": [f"http://127.0.0.1:{relay.port}/w.bin"],
        "partial": str(attempt.partial),
        "size": len(BODY),
        "sha256": SHA256,
    }
    client = Client([task], {**SMALL, "slow": 0}, tmp_path)
    wait_for_bytes(attempt.partial, least)
    client.kill()
    relay.close()
    noted = read_journal(str(attempt.partial))
    assert noted is not None
    assert ended(nginx, 1)
    nginx.forget()
    return sum(noted.marks)


# --- whole files ------------------------------------------------------------------------------------------------------


def test_many_files_come_over_few_kept_connections(nginx: Nginx, tmp_path: Path) -> None:
    bodies = {f"{number}.bin": body(number * 53, number) for number in range(200)}
    for name, data in bodies.items():
        (nginx.www / name).write_bytes(data)
    wanted = [
        Task(name, (Source(f"{nginx.url}/{name}"),), str(tmp_path / name), len(data), sha256(data))
        for name, data in bodies.items()
    ]
    assert all(outcome.fetched for outcome in fetch_all(wanted, Limits(jobs=4)))
    assert all((tmp_path / name).read_bytes() == data for name, data in bodies.items())
    assert ended(nginx, 200)
    log = nginx.log()
    assert len(log) == 200, "one request a file"
    assert len({served.connection for served in log}) <= 4


def test_an_empty_file_and_one_of_unknown_size_arrive(nginx: Nginx, attempt: Attempt) -> None:
    (nginx.www / "empty").write_bytes(b"")
    attempt.assert_whole(attempt(f"{nginx.url}/empty"), b"")
    attempt.assert_whole(attempt(f"{nginx.url}/w.bin"), BODY)


def test_a_missing_and_a_forbidden_file_are_told_apart(nginx: Nginx, attempt: Attempt) -> None:
    (nginx.www / "folder").mkdir()
    with pytest.raises(OriginError, match="HTTP 404"):
        attempt(f"{nginx.url}/none.bin")
    with pytest.raises(AssetError, match="HTTP 403"):
        attempt(f"{nginx.url}/folder/")
    assert ended(nginx, 2)
    assert len({served.connection for served in nginx.log()}) <= 2, "asked once each"


def test_compression_that_the_server_offers_is_not_taken(tmp_path: Path, attempt: Attempt) -> None:
    needed()
    text = b'{"a": 1}\n' * 10_000
    with running(tmp_path / "nginx", "gzip on; gzip_types *; gzip_min_length 1;") as nginx:
        (nginx.www / "a.json").write_bytes(text)
        attempt.assert_whole(attempt(f"{nginx.url}/a.json"), text)
        attempt.partial.unlink()
        attempt.steps.clear()
        attempt.assert_whole(attempt(f"{nginx.url}/a.json", size=len(text), sha256=sha256(text)), text)


def test_compression_that_the_server_forces_is_not_taken_for_the_file(tmp_path: Path, attempt: Attempt) -> None:
    needed()
    text = b'{"a": 1}\n' * 10_000
    with running(tmp_path / "nginx", "gzip_static always;") as nginx:
        (nginx.www / "a.json.gz").write_bytes(gzip.compress(text))
        with pytest.raises(OriginError, match="gzip"):
            attempt(f"{nginx.url}/a.json")
        with pytest.raises(AssetError):
            attempt(f"{nginx.url}/a.json", size=len(text), sha256=sha256(text))
        # The file that is itself compressed is another matter.
        attempt.assert_whole(attempt(f"{nginx.url}/a.json.gz"), gzip.compress(text))


# --- parts ------------------------------------------------------------------------------------------------------------


def test_a_killed_client_goes_on_with_one_conditional_range(nginx: Nginx, attempt: Attempt, tmp_path: Path) -> None:
    there = leave_a_part(nginx, attempt, tmp_path)
    fetched = attempt(f"{nginx.url}/w.bin", size=len(BODY), sha256=SHA256, limits=Limits(slow=0, **SMALL))
    attempt.assert_whole(fetched, BODY)
    assert ended(nginx, 1)
    (served,) = nginx.log()
    assert (served.status, served.range, served.sent) == (206, f"bytes={there}-", len(BODY) - there)


def test_a_file_that_changed_meanwhile_comes_anew(nginx: Nginx, attempt: Attempt, tmp_path: Path) -> None:
    other = body(5_000_000, seed=1)
    relay = Relay(nginx.port, rate=2e6)
    url = f"http://127.0.0.1:{relay.port}/w.bin"
    task = {"label": "w", "urls": [url], "partial": str(attempt.partial), "size": None, "sha256": None}
    client = Client([task], {**SMALL, "slow": 0}, tmp_path)
    wait_for_bytes(attempt.partial, 1_000_000)
    client.kill()
    (nginx.www / "new").write_bytes(other)
    os.utime(nginx.www / "new", (1_000_000_000, 1_000_000_000))
    os.replace(nginx.www / "new", nginx.www / "w.bin")
    assert ended(nginx, 1)
    nginx.forget()
    relay.close()
    # The journal is for the relay's address.
    relay = Relay(nginx.port)
    assert read_journal(str(attempt.partial)) is not None
    fetched = attempt(f"{nginx.url}/w.bin")
    attempt.assert_whole(fetched, other)
    relay.close()


def test_a_change_is_seen_by_if_range(nginx: Nginx, attempt: Attempt) -> None:
    once = Limits(attempts=1, **SMALL)
    relay = Relay(nginx.port, cut_after=1_000_000)
    url = f"http://127.0.0.1:{relay.port}/w.bin"
    with pytest.raises(AssetError):
        attempt(url, limits=once)
    other = body(5_000_000, seed=1)
    (nginx.www / "w.bin").write_bytes(other)
    os.utime(nginx.www / "w.bin", (1_000_000_000, 1_000_000_000))
    assert ended(nginx, 1)
    nginx.forget()
    relay.cut_after = None
    attempt.steps.clear()
    attempt.assert_whole(attempt(url), other)
    assert any("starting over" in text for text in attempt.said)
    assert ended(nginx, 1)
    (served,) = nginx.log()
    assert served.status == 200, "one request, which If-Range made one for the whole"
    assert served.if_range.startswith('"')
    relay.close()


def test_a_slow_file_comes_in_parts_that_add_up(nginx: Nginx, attempt: Attempt) -> None:
    relay = Relay(nginx.port, rate=2e6)
    limits = Limits(**SMALL)
    fetched = attempt(f"http://127.0.0.1:{relay.port}/w.bin", size=len(BODY), sha256=SHA256, limits=limits)
    attempt.assert_whole(fetched, BODY)
    assert relay.accepted > 4
    assert {served.status for served in nginx.log()} <= {200, 206}
    relay.close()


def test_a_server_that_is_told_to_give_no_ranges_gives_one_stream(tmp_path: Path, attempt: Attempt) -> None:
    needed()
    with running(tmp_path / "nginx", "max_ranges 0;") as nginx:
        (nginx.www / "w.bin").write_bytes(BODY)
        relay = Relay(nginx.port, rate=20e6)
        url = f"http://127.0.0.1:{relay.port}/w.bin"
        attempt.assert_whole(attempt(url, size=len(BODY), sha256=SHA256), BODY)
        assert relay.accepted == 1
        relay.close()


# --- restarts ---------------------------------------------------------------------------------------------------------


def _reload(nginx: Nginx) -> None:
    nginx.reload()


def _restart(nginx: Nginx) -> None:
    nginx.kill()
    nginx.start()


@pytest.mark.parametrize("happens", [_reload, _restart])
def test_a_restart_in_the_middle_is_survived(nginx: Nginx, tmp_path: Path, happens: Callable[[Nginx], None]) -> None:
    """Four large files and many small ones through a slow relay, while the server is restarted three times."""
    random = Random(0)
    bodies = {f"l{number}": body(1_500_000, number) for number in range(4)}
    bodies |= {f"s{number}": body(random.randrange(3000), number) for number in range(100)}
    for name, data in bodies.items():
        (nginx.www / name).write_bytes(data)
    relay = Relay(nginx.port, rate=1e6)
    wanted = [
        Task(name, (Source(f"http://127.0.0.1:{relay.port}/{name}"),), str(tmp_path / name), len(data), sha256(data))
        for name, data in bodies.items()
    ]
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.extend(fetch_all(wanted, PATIENT)))
    thread.start()
    for number in range(3):
        wait_for_bytes(tmp_path / "l0", 300_000 * (number + 1))
        happens(nginx)
    thread.join(60)
    relay.close()
    assert len(outcomes) == len(bodies)
    for outcome in outcomes:
        assert outcome.fetched, outcome.error
        assert (tmp_path / outcome.task.label).read_bytes() == bodies[outcome.task.label]


def test_thirty_kills_are_survived_and_fetch_little_again(nginx: Nginx, attempt: Attempt, tmp_path: Path) -> None:
    data = body(60_000_000, 3)
    (nginx.www / "w.bin").write_bytes(data)
    relay = Relay(nginx.port, rate=20e6)
    task = {
        "label": "w",
        "urls": [f"http://127.0.0.1:{relay.port}/w.bin"],
        "partial": str(attempt.partial),
        "size": len(data),
        "sha256": sha256(data),
    }
    random, arrived = Random(0), 0
    for _ in range(30):
        client = Client([task], {"slow": 0}, tmp_path)
        wait_for_bytes(attempt.partial, arrived + random.randrange(100_000, 1_500_000))
        client.kill()
        noted = read_journal(str(attempt.partial))
        assert noted is not None
        assert sum(noted.marks) >= arrived
        arrived = sum(noted.marks)
    code, err = Client([task], {"slow": 0}, tmp_path).finish()
    relay.close()
    assert code == 0, err
    assert attempt.partial.read_bytes() == data
    again = (nginx.sent() - len(data)) / 30
    # The kernel's buffers of nginx, of the relay's two sides, and ours.
    assert again <= 6_000_000, f"{again / 1e6:.2f} MB a kill"
