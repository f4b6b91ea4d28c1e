"""Many files at once: shared connections, bounds, rates, pages for files, and several connections for one file."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assetmgr.errors import AccessError, AssetError, IntegrityError, OriginError
from assetmgr.transfer.engine import Engine
from assetmgr.transfer.evidence import looks_like_html
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.source import Outcome, Source, Task
from tests.hub import Fault, Hub
from tests.transfer.relay import Relay
from tests.transfer.support import QUICK, SMALL, Attempt, Words, body, sha256

BODY = body(3_000_000)
SHA256 = sha256(BODY)


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    hub.publish("/w.bin", BODY)
    with hub.serve():
        yield hub


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    return Attempt(tmp_path / "partial" / "file")


def limits(**changes: Any) -> Limits:
    return Limits(**{**SMALL, "attempts": 3, "backoff": 0.001, "read_timeout": 5, **changes})


def tasks(hub: Hub, folder: Path, bodies: dict[str, bytes]) -> list[Task]:
    for name, data in bodies.items():
        hub.publish(f"/many/{name}", data)
    return [
        Task(name, (Source(f"{hub.endpoint}/many/{name}"),), str(folder / name), len(data), sha256(data))
        for name, data in bodies.items()
    ]


def run(wanted: list[Task], with_limits: Limits = QUICK) -> dict[str, Outcome]:
    with Engine(with_limits, Words()) as engine:
        outcomes = list(engine.fetch(wanted))
    assert sorted(outcome.task.label for outcome in outcomes) == sorted(task.label for task in wanted), "each once"
    return {outcome.task.label: outcome for outcome in outcomes}


# --- many files -------------------------------------------------------------------------------------------------------


def test_each_file_comes_out_once_whole_and_hashed(hub: Hub, tmp_path: Path) -> None:
    bodies = {str(number): body(number * 997, number) for number in range(120)}
    outcomes = run(tasks(hub, tmp_path, bodies))
    for name, data in bodies.items():
        fetched = outcomes[name].fetched
        assert fetched is not None, outcomes[name].error
        assert fetched.digests["sha256"] == sha256(data)
        assert (tmp_path / name).read_bytes() == data
        assert fetched.status is not None
        found = (tmp_path / name).stat()
        assert (found.st_size, found.st_mtime_ns, found.st_ino) == (
            fetched.status.st_size,
            fetched.status.st_mtime_ns,
            fetched.status.st_ino,
        ), "the proof fits the file"
    assert len(hub.requests) == len(bodies), "one request a file"


def test_connections_are_shared_by_files(tmp_path: Path) -> None:
    hub = Hub()
    with hub.serve():
        wanted = tasks(hub, tmp_path, {str(number): b"x" * number for number in range(50)})
        relay = Relay(int(hub.endpoint.rpartition(":")[2]))
        wanted = [
            Task(task.label, (Source(f"http://127.0.0.1:{relay.port}/many/{task.label}"),), task.partial, task.size)
            for task in wanted
        ]
        outcomes = run(wanted, limits(jobs=2))
        relay.close()
    assert all(outcome.fetched for outcome in outcomes.values())
    assert 1 <= relay.accepted <= 2


def test_one_failure_leaves_the_others_alone(hub: Hub, tmp_path: Path) -> None:
    wanted = tasks(hub, tmp_path, {str(number): body(100, number) for number in range(20)})
    hub.faults.add(Fault(match="/many/7", status=404, times=None))
    hub.faults.add(Fault(match="/many/8", status=403, times=None))
    outcomes = run(wanted)
    assert type(outcomes["7"].error) is OriginError
    assert type(outcomes["8"].error) is AccessError
    assert "7: http" in str(outcomes["7"].error), "the file is named"
    assert sum(outcome.fetched is not None for outcome in outcomes.values()) == 18


def test_a_disk_that_refuses_is_an_outcome(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (wanted,) = tasks(hub, tmp_path / "file" / "below", {"a": b"x"})
    assert isinstance(run([wanted])["a"].error, AssetError)


def test_no_more_than_the_jobs_run_at_once(hub: Hub, tmp_path: Path) -> None:
    wanted = tasks(hub, tmp_path, {str(number): body(1000, number) for number in range(12)})
    stall = hub.faults.add(Fault(match="/many/", stall_after=10, times=None))
    done: list[dict[str, Outcome]] = []
    thread = threading.Thread(target=lambda: done.append(run(wanted, limits(jobs=3))))
    thread.start()
    assert hub.faults.wait_stalled(3)
    assert not hub.faults.wait_stalled(4, timeout=0.3)
    hub.faults.remove(stall)
    thread.join(20)
    assert all(outcome.fetched for outcome in done[0].values())


def test_a_distant_server_is_soon_asked_for_as_many_files_as_there_are_jobs(hub: Hub, tmp_path: Path) -> None:
    wanted = tasks(hub, tmp_path, {str(number): body(100, number) for number in range(64)})
    hub.faults.add(Fault(match="/many/", delay=0.1, times=None))
    began = time.monotonic()
    outcomes = run(wanted, limits(jobs=16))
    assert all(outcome.fetched for outcome in outcomes.values())
    assert time.monotonic() - began < 3.2, "one at a time needs 6.4 s"


def test_a_wrong_small_file_is_never_on_disk(hub: Hub, tmp_path: Path) -> None:
    (wanted,) = tasks(hub, tmp_path, {"a": b"right"})
    hub.publish("/many/a", b"wrong")
    assert isinstance(run([wanted])["a"].error, IntegrityError)
    assert not (tmp_path / "a").exists()


def test_a_small_file_is_held_to_every_digest_that_is_pinned(hub: Hub, tmp_path: Path) -> None:
    (wanted,) = tasks(hub, tmp_path, {"a": b"right"})
    wanted = dataclasses.replace(wanted, algorithms=("sha256", "md5"), pins={"md5": "0" * 32})
    assert isinstance(run([wanted])["a"].error, IntegrityError)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("before", [b"right", b"wrong", b"longer than it", b""])
def test_a_small_file_that_stands_already_is_asked_for_only_where_it_is_not_right(
    hub: Hub, tmp_path: Path, before: bytes
) -> None:
    (wanted,) = tasks(hub, tmp_path, {"a": b"right"})
    (tmp_path / "a").write_bytes(before)
    fetched = run([wanted])["a"].fetched
    assert fetched is not None
    assert (tmp_path / "a").read_bytes() == b"right"
    assert fetched.status is not None
    assert fetched.status.st_ino == (tmp_path / "a").stat().st_ino
    assert len(hub.requests) == (before != b"right")


def test_tasks_are_taken_as_there_is_room(hub: Hub, tmp_path: Path) -> None:
    taken = 0

    def endless() -> Iterator[Task]:
        nonlocal taken
        hub.publish("/many/a", b"x")
        while True:
            taken += 1
            yield Task(str(taken), (Source(f"{hub.endpoint}/many/a"),), str(tmp_path / str(taken)), 1)

    with Engine(QUICK) as engine:
        for _, _ in zip(range(50), engine.fetch(endless()), strict=False):
            pass
    assert taken < 150


def test_leaving_early_stops_all_within_a_second(hub: Hub, tmp_path: Path) -> None:
    wanted = tasks(hub, tmp_path, {"a": b"x", "b": body(100)})
    hub.faults.add(Fault(match="/many/b", stall_after=10, times=None, stall_seconds=60))
    with Engine(limits(read_timeout=60)) as engine:
        for _ in engine.fetch(wanted):
            break
        began = time.monotonic()
    assert time.monotonic() - began < 1
    assert not [thread for thread in threading.enumerate() if thread.name == "assetmgr-part"]


# --- credentials ------------------------------------------------------------------------------------------------------


def test_a_token_goes_to_its_own_address_only(hub: Hub, tmp_path: Path) -> None:
    other = Hub()
    other.publish("/w.bin", BODY)
    with other.serve() as endpoint:
        hub.redirect("/a", "/b")
        hub.redirect("/b", f"{endpoint}/w.bin")
        source = Source(f"{hub.endpoint}/a", token="canary-1")
        assert "canary" not in repr(source)
        outcome = run([Task("a", (source,), str(tmp_path / "a"), len(BODY), SHA256)])["a"]
    assert outcome.fetched, outcome.error
    assert [record.headers.get("authorization") for record in hub.requests] == ["Bearer canary-1"] * 2
    assert "authorization" not in other.requests[0].headers


def test_a_mirror_gets_no_login(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password canary-2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    run([Task("a", (Source(f"{hub.endpoint}/w.bin", logins=False),), str(tmp_path / "a"), len(BODY), SHA256)])
    assert "authorization" not in hub.requests[0].headers
    run([Task("b", (Source(f"{hub.endpoint}/w.bin"),), str(tmp_path / "b"), len(BODY), SHA256)])
    assert "authorization" in hub.requests[-1].headers


# --- bounds in time ---------------------------------------------------------------------------------------------------


def test_a_limit_on_the_rate_holds_for_all_files_together(hub: Hub, tmp_path: Path) -> None:
    wanted = tasks(hub, tmp_path, {str(number): body(250_000, number) for number in range(4)})
    began = time.monotonic()
    outcomes = run(wanted, limits(rate=1e6, jobs=4))
    assert time.monotonic() - began > 0.8
    assert all(outcome.fetched for outcome in outcomes.values())


def test_a_connection_that_drips_counts_as_stalled(hub: Hub, attempt: Attempt) -> None:
    hub.faults.add(Fault(throttle=200.0))
    began = time.monotonic()
    fetched = attempt(
        f"{hub.endpoint}/w.bin", size=len(BODY), sha256=SHA256, limits=limits(read_timeout=0.5, least_rate=10_000)
    )
    assert time.monotonic() - began < 5
    attempt.assert_whole(fetched, BODY)
    assert "stalled" in attempt.said[0]


def test_what_came_before_a_stall_is_kept_and_the_stall_waited_for_once(hub: Hub, attempt: Attempt) -> None:
    hub.faults.add(Fault(stall_after=1_000_000, stall_seconds=30))
    began = time.monotonic()
    fetched = attempt(f"{hub.endpoint}/w.bin", size=len(BODY), sha256=SHA256, limits=limits(read_timeout=1))
    assert time.monotonic() - began < 1.9
    attempt.assert_whole(fetched, BODY)
    assert hub.requests[-1].headers["range"] == "bytes=1000000-"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_asked_again(hub: Hub, attempt: Attempt, status: int) -> None:
    hub.faults.add(Fault(status=status, retry_after=0))
    attempt.assert_whole(attempt(f"{hub.endpoint}/w.bin", size=len(BODY), sha256=SHA256), BODY)
    assert attempt.waits == [0.0]


# --- pages for files --------------------------------------------------------------------------------------------------

PAGE = b"<!DOCTYPE html>\n<html><body>Google Drive - Virus scan warning</body></html>"


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
@pytest.mark.parametrize("known", [{}, {"size": 5000, "sha256": SHA256}, {"size": len(PAGE), "sha256": SHA256}])
def test_a_page_instead_of_a_file_is_named_as_that(
    hub: Hub, attempt: Attempt, kind: str, known: dict[str, Any]
) -> None:
    hub.publish("/w.zip", PAGE, headers={"Content-Type": kind})
    with pytest.raises(OriginError, match="HTML page") as caught:
        attempt(f"{hub.endpoint}/w.zip", **known)
    assert "mend:" in str(caught.value)
    assert sum(attempt.steps) == 0


def test_a_page_that_is_wanted_arrives(hub: Hub, attempt: Attempt) -> None:
    hub.publish("/index.html", PAGE, headers={"Content-Type": "text/html"})
    attempt.assert_whole(attempt(f"{hub.endpoint}/index.html"), PAGE)


def test_a_file_that_its_server_calls_a_page_arrives_where_the_lock_proves_it(hub: Hub, attempt: Attempt) -> None:
    hub.publish("/v.bin", BODY, headers={"Content-Type": "text/html"})
    attempt.assert_whole(attempt(f"{hub.endpoint}/v.bin", size=len(BODY), sha256=SHA256), BODY)


@pytest.mark.parametrize(
    ("start", "page"),
    [
        (b"<html>", True),
        (b"\n  <!DOCTYPE HTML PUBLIC", True),
        (b"<!-- x --><html lang", True),
        (b"<htmlish", False),
        (b"<?xml version", False),
        (b"PK\x03\x04<html>", False),
        (b"", False),
    ],
)
def test_what_looks_like_a_page(start: bytes, page: bool) -> None:
    assert looks_like_html(start) is page


# --- several connections for one file ---------------------------------------------------------------------------------


def ranges(hub: Hub) -> set[str]:
    return {record.headers.get("range", "all") for record in hub.requests}


def test_a_slow_file_comes_over_several_connections(hub: Hub, attempt: Attempt) -> None:
    hub.faults.add(Fault(throttle=1e6, times=None))
    began = time.monotonic()
    attempt.assert_whole(attempt(f"{hub.endpoint}/w.bin", size=len(BODY), sha256=SHA256), BODY)
    assert time.monotonic() - began < 2.5, "one connection needs 3 s"
    assert len(ranges(hub)) > 4
    assert all("if-range" in record.headers for record in hub.requests if "range" in record.headers)


def test_a_fast_file_comes_over_one(hub: Hub, attempt: Attempt) -> None:
    attempt.assert_whole(attempt(f"{hub.endpoint}/w.bin", size=len(BODY), sha256=SHA256, limits=limits(slow=1.0)), BODY)
    assert ranges(hub) == {"all"}


@pytest.mark.parametrize("publish", [{"ranges": False}, {"headers": {"Accept-Ranges": "none"}}])
def test_a_slow_server_without_ranges_gives_one_stream(hub: Hub, attempt: Attempt, publish: dict[str, Any]) -> None:
    hub.publish("/w.bin", BODY, **{"ranges": False, **publish})
    hub.faults.add(Fault(throttle=3e6, times=None))
    attempt.assert_whole(attempt(f"{hub.endpoint}/w.bin", size=len(BODY), sha256=SHA256), BODY)
    assert ranges(hub) == {"all"}


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429, times=2),
        Fault(drop=True, times=2),
        Fault(reset_after=10_000, times=2),
        Fault(truncate_after=10_000, times=2),
        Fault(stall_after=10_000, times=2, stall_seconds=2),
        Fault(status=206, body=b"", times=2),
        Fault(headers={"Content-Range": "bytes 5-6/7"}, times=2),
        Fault(flip_at=1_500_000, times=1),
    ],
    ids=["429", "drop", "reset", "truncate", "stall", "206 of nothing", "lie", "flip"],
)
def test_faults_among_connections_are_survived(hub: Hub, attempt: Attempt, fault: Fault) -> None:
    first = hub.faults.add(Fault(throttle=2e6, times=1))
    hub.faults.add(Fault(**{**_fields(fault), "after": 1}))
    hub.faults.add(Fault(throttle=2e6, times=None))
    attempt.assert_whole(
        attempt(f"{hub.endpoint}/w.bin", size=len(BODY), sha256=SHA256, limits=limits(read_timeout=1)), BODY
    )
    assert hub.faults.fired(first) == 1


def _fields(fault: Fault) -> dict[str, Any]:
    return {name: getattr(fault, name) for name in fault.__dataclass_fields__}


def test_the_connections_of_all_files_together_are_bounded(hub: Hub, tmp_path: Path) -> None:
    wanted = tasks(hub, tmp_path, {str(number): body(600_000, number) for number in range(3)})
    hub.faults.add(Fault(throttle=4e5, times=None))
    outcomes = run(wanted, limits(connections_most=4, jobs=3))
    assert all(outcome.fetched for outcome in outcomes.values())


def test_a_larger_file_than_the_bound_is_given_up(hub: Hub, attempt: Attempt) -> None:
    with pytest.raises(IntegrityError, match="more than"):
        attempt(f"{hub.endpoint}/w.bin", limits=limits(largest=1_000_000))
    assert sum(record.sent for record in hub.requests) <= len(BODY)
