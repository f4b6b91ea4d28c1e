"""Http mirrors that hold, lack, lie, stall, fail, redirect and ask for logins; counted at the servers."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from assetmgr.mirrors.run import Mirrors
from assetmgr.mirrors.standing import MirrorReport
from assetmgr.origins import Context, Origins
from assetmgr.store import Store
from assetmgr.transfer.wire import StoppedError
from tests.hub import Fault, Hub
from tests.mirrors.support import QUICK, Brought, blob, bring, locked, stock
from tests.transfer.support import body

SMALL_FILES = {f"{number:03}": body(200, number) for number in range(100)}
BIG = {"big": body(1 << 20, 7)}


@pytest.fixture
def origin() -> Iterator[Hub]:
    hub = Hub()
    with hub.serve():
        yield hub


@pytest.fixture
def mirror() -> Iterator[Hub]:
    hub = Hub()
    with hub.serve():
        yield hub


def publish(hub: Hub, contents: dict[str, bytes]) -> None:
    for path, data in contents.items():
        hub.publish(f"/f/{path}", data)


def report(brought: Brought, mirror: Hub) -> MirrorReport:
    (found,) = (one for one in brought.traffic.mirrors if one.mirror == mirror.endpoint)
    return found


@pytest.mark.parametrize("contents", [SMALL_FILES, BIG, {"empty": b""}], ids=["small", "big", "empty"])
def test_what_a_mirror_has_comes_from_it_and_nobody_asks_the_origin(
    origin: Hub, mirror: Hub, tmp_path: Path, contents: dict[str, bytes]
) -> None:
    stock(mirror, *contents.values())
    brought = bring(tmp_path, locked(contents, origin.endpoint), [mirror.endpoint])
    assert brought.contents == contents
    assert origin.requests == []
    size = sum(map(len, contents.values()))
    assert report(brought, mirror) == MirrorReport(mirror.endpoint, "used", len(contents), size)
    assert all(arrival.proof for arrival in brought.arrivals.values()), "hashed as it came, not once more"


def test_an_address_with_a_path_keeps_it(origin: Hub, mirror: Hub, tmp_path: Path) -> None:
    mirror.publish(f"/assets/v1/{blob(b'x')}", b"x")
    brought = bring(tmp_path, locked({"x": b"x"}, origin.endpoint), [f"{mirror.endpoint}/assets/v1"])
    assert brought.contents == {"x": b"x"}
    assert origin.requests == []


def test_mirrors_are_asked_in_order_and_then_the_origin(origin: Hub, mirror: Hub, tmp_path: Path) -> None:
    second = Hub()
    contents = {"a": b"a", "b": b"b", "c": b"c"}
    stock(mirror, b"a")
    publish(origin, {"c": b"c"})
    with second.serve():
        stock(second, b"a", b"b")
        limits = dataclasses.replace(QUICK, jobs=1)
        mirrors = [mirror.endpoint, second.endpoint]
        brought = bring(tmp_path, locked(contents, origin.endpoint), mirrors, limits=limits)
        assert [record.path for record in second.requests] == [f"/{blob(b'b')}", f"/{blob(b'c')}"]
        assert report(brought, second).files == 1
    assert brought.contents == contents
    assert [record.path for record in origin.requests] == ["/f/c"]
    assert (brought.traffic.origin_files, brought.traffic.origin_bytes) == (1, 1)


# --- lacking ------------------------------------------------------------------------------------------------------


def test_a_mirror_that_has_nothing_is_soon_asked_no_more(origin: Hub, mirror: Hub, tmp_path: Path) -> None:
    publish(origin, SMALL_FILES)
    brought = bring(tmp_path, locked(SMALL_FILES, origin.endpoint), [mirror.endpoint])
    assert brought.contents == SMALL_FILES
    most = QUICK.mirror_misses + QUICK.jobs
    assert mirror.count() <= most, "each job may be at its last vain request"
    assert report(brought, mirror).state == "lacking"
    assert brought.said == [], "that a mirror lacks a file is nothing to tell for every file"
    complaint = report(brought, mirror).complaint()
    assert complaint is not None
    assert f"lacked {mirror.count()} of the {mirror.count()} files" in complaint


def test_a_mirror_that_has_every_other_file_stays_in_use(origin: Hub, mirror: Hub, tmp_path: Path) -> None:
    publish(origin, SMALL_FILES)
    stock(mirror, *list(SMALL_FILES.values())[::2])
    brought = bring(tmp_path, locked(SMALL_FILES, origin.endpoint), [mirror.endpoint])
    assert brought.contents == SMALL_FILES
    assert report(brought, mirror).files >= 40, "a few may have passed it by"
    assert brought.traffic.origin_files == 100 - report(brought, mirror).files


def test_a_mirror_that_lacks_much_still_serves_what_the_origin_does_not(
    origin: Hub, mirror: Hub, tmp_path: Path
) -> None:
    names = sorted(SMALL_FILES)
    publish(origin, {name: SMALL_FILES[name] for name in names[:-1]})
    stock(mirror, SMALL_FILES[names[-1]])
    brought = bring(tmp_path, locked(SMALL_FILES, origin.endpoint), [mirror.endpoint])
    assert brought.contents == SMALL_FILES
    assert report(brought, mirror).files == 1


def test_what_the_origin_says_is_told_and_not_what_a_mirror_lacks(origin: Hub, mirror: Hub, tmp_path: Path) -> None:
    brought = bring(tmp_path, locked({"x": b"x"}, origin.endpoint), [mirror.endpoint])
    assert f"m: x: {origin.endpoint}/f/x: HTTP 404" in brought.errors["x"]


# --- lying, failing, stalling -------------------------------------------------------------------------------------

HTML = b"<!DOCTYPE html><title>Not found</title>"
WRONG = {
    "other bytes": (Fault(flip_at=3, times=None), "expected sha256"),
    "a page for a file": (Fault(body=HTML, headers={"Content-Type": "text/html"}, times=None), "HTML page"),
    "another size": (Fault(body=b"short", times=None), "expected 200 bytes, found 5"),
    "no end": (Fault(endless=True, times=None), "more than the 200 bytes expected"),
    "a server error": (Fault(status=500, times=None), "HTTP 500, 2 times"),
    "busy for an hour": (Fault(status=503, retry_after=3600, times=None), "come back after '3600'"),
    "a login wanted": (Fault(status=401, times=None), "HTTP 401"),
    "hanging up": (Fault(drop=True, times=None), "2 times"),
    "a body cut short": (Fault(truncate_after=50, times=None), "2 times"),
    "a reset": (Fault(reset_after=50, times=None), "2 times"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mirror_that_is_no_good_is_left_out_after_one_file_and_named_with_why(
    origin: Hub, mirror: Hub, tmp_path: Path, case: str
) -> None:
    fault, why = WRONG[case]
    publish(origin, SMALL_FILES)
    stock(mirror, *SMALL_FILES.values())
    mirror.faults.add(fault)
    brought = bring(tmp_path, locked(SMALL_FILES, origin.endpoint), [mirror.endpoint])
    assert brought.contents == SMALL_FILES
    assert brought.traffic.origin_files == 100
    found = report(brought, mirror)
    assert (found.state, found.files) == ("left out", 0)
    assert why in found.why
    assert mirror.endpoint in found.why
    assert mirror.count() <= 2 * QUICK.jobs, "no job begins anew with it, nor tries again"
    assert brought.said == []


def test_a_mirror_that_stalls_is_left_out(origin: Hub, mirror: Hub, tmp_path: Path) -> None:
    publish(origin, SMALL_FILES | BIG)
    stock(mirror, *SMALL_FILES.values(), *BIG.values())
    mirror.faults.add(Fault(stall_after=100, times=None, stall_seconds=60))
    limits = dataclasses.replace(QUICK, mirror_read_timeout=0.3, mirror_attempts=1)
    started = time.monotonic()
    brought = bring(tmp_path, locked(SMALL_FILES | BIG, origin.endpoint), [mirror.endpoint], limits=limits)
    assert brought.contents == SMALL_FILES | BIG
    assert report(brought, mirror).state == "left out"
    assert mirror.count() <= QUICK.jobs
    assert time.monotonic() - started < 30


def test_a_mirror_that_drips_is_left_out(origin: Hub, mirror: Hub, tmp_path: Path) -> None:
    publish(origin, BIG)
    stock(mirror, *BIG.values())
    mirror.faults.add(Fault(throttle=2000, times=None))
    limits = dataclasses.replace(QUICK, mirror_read_timeout=0.5, mirror_attempts=1, mirror_least_rate=1e6)
    brought = bring(tmp_path, locked(BIG, origin.endpoint), [mirror.endpoint], limits=limits)
    assert brought.contents == BIG
    assert "stalled" in report(brought, mirror).why


def test_a_mirror_whose_answers_never_begin_to_bring_bytes_is_left_out(origin: Hub, tmp_path: Path) -> None:
    publish(origin, SMALL_FILES)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server, contextlib.ExitStack() as stack:

        def drip(connection: socket.socket) -> None:
            with contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
                while True:
                    connection.sendall(b"x")
                    time.sleep(0.05)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection = stack.enter_context(server.accept()[0])
                    threading.Thread(target=drip, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        limits = dataclasses.replace(QUICK, mirror_read_timeout=0.3, mirror_attempts=1)
        brought = bring(tmp_path, locked(SMALL_FILES, origin.endpoint), [address], limits=limits)
    assert brought.contents == SMALL_FILES
    assert "did not end" in brought.traffic.mirrors[0].why


def test_a_mirror_where_nobody_listens_is_left_out(origin: Hub, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        dead = f"http://127.0.0.1:{server.getsockname()[1]}"
    publish(origin, SMALL_FILES)
    brought = bring(tmp_path, locked(SMALL_FILES, origin.endpoint), [dead])
    assert brought.contents == SMALL_FILES
    assert "refused" in brought.traffic.mirrors[0].why.lower()


def test_a_mirror_that_speaks_no_tls_is_left_out(origin: Hub, mirror: Hub, tmp_path: Path) -> None:
    publish(origin, SMALL_FILES)
    address = mirror.endpoint.replace("http:", "https:")
    brought = bring(tmp_path, locked(SMALL_FILES, origin.endpoint), [address])
    assert brought.contents == SMALL_FILES
    assert brought.traffic.mirrors[0].state == "left out"


def test_a_failure_that_passes_does_not_cost_the_mirror(origin: Hub, mirror: Hub, tmp_path: Path) -> None:
    stock(mirror, *SMALL_FILES.values())
    mirror.faults.add(Fault(match=blob(SMALL_FILES["005"]), status=503))
    brought = bring(tmp_path, locked(SMALL_FILES, origin.endpoint), [mirror.endpoint])
    assert brought.contents == SMALL_FILES
    assert origin.requests == []
    assert report(brought, mirror).state == "used"


def test_when_a_mirror_dies_within_a_file_the_next_goes_on_where_it_was(
    origin: Hub, mirror: Hub, tmp_path: Path
) -> None:
    publish(origin, BIG)
    stock(mirror, *BIG.values())
    mirror.faults.add(Fault(truncate_after=600_000))
    mirror.faults.add(Fault(drop=True, times=None))
    brought = bring(tmp_path, locked(BIG, origin.endpoint), [mirror.endpoint])
    assert brought.contents == BIG
    (asked,) = origin.requests
    assert asked.status == 206
    assert asked.sent <= len(BIG["big"]) - 500_000, "what the mirror gave is kept, and proved with the rest"


def test_a_lie_in_the_middle_of_a_file_is_found_and_is_not_blamed_on_the_origin(
    origin: Hub, mirror: Hub, tmp_path: Path
) -> None:
    publish(origin, BIG)
    lie = bytearray(BIG["big"])
    lie[1000] ^= 1
    mirror.publish(f"/{blob(BIG['big'])}", bytes(lie))
    mirror.faults.add(Fault(truncate_after=600_000))
    mirror.faults.add(Fault(drop=True, times=None))
    brought = bring(tmp_path, locked(BIG, origin.endpoint), [mirror.endpoint])
    assert brought.contents == BIG


# --- nothing secret -----------------------------------------------------------------------------------------------

CANARY = "canary-5d1e"


def test_no_login_goes_to_a_mirror_nor_where_it_redirects_to(
    origin: Hub, mirror: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {CANARY}\nmachine localhost login me password {CANARY}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HF_TOKEN", CANARY)
    elsewhere = Hub()
    with elsewhere.serve():
        elsewhere.publish("/there", b"y")
        stock(mirror, b"x")
        mirror.redirect(f"/{blob(b'y')}", elsewhere.endpoint.replace("127.0.0.1", "localhost") + "/there")
        entry = locked({"x": b"x", "y": b"y"}, origin.endpoint)
        brought = bring(tmp_path / "root", entry, [mirror.endpoint])
        asked = [*mirror.requests, *elsewhere.requests]
    assert brought.contents == {"x": b"x", "y": b"y"}
    assert len(asked) == 3
    for record in asked:
        assert "authorization" not in record.headers
        assert CANARY not in str(record)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "/self", "ftp://x/y", "http://"])
def test_a_mirror_that_redirects_to_nowhere_good_is_left_out(
    origin: Hub, mirror: Hub, tmp_path: Path, target: str
) -> None:
    publish(origin, {"x": b"x"})
    mirror.redirect("/self", "/self")
    mirror.redirect(f"/{blob(b'x')}", target)
    brought = bring(tmp_path, locked({"x": b"x"}, origin.endpoint), [mirror.endpoint])
    assert brought.contents == {"x": b"x"}
    assert report(brought, mirror).state == "left out"


def test_offline_no_http_mirror_is_asked(origin: Hub, mirror: Hub, tmp_path: Path) -> None:
    stock(mirror, b"x")
    brought = bring(tmp_path, locked({"x": b"x"}, origin.endpoint), [mirror.endpoint], offline=True)
    assert "forbids" in brought.errors["x"]
    assert mirror.requests == origin.requests == []


def test_a_mirror_that_keeps_a_connection_waiting_does_not_hold_up_an_interruption(mirror: Hub, tmp_path: Path) -> None:
    stock(mirror, *BIG.values())
    mirror.faults.add(Fault(stall_after=100, times=None, stall_seconds=60))
    entry = locked(BIG, "http://127.0.0.1:1")
    used = Mirrors([mirror.endpoint], QUICK)
    with Origins(Context(Store(tmp_path), QUICK, mirrors=used)) as origins:
        arrivals = origins.files("/").bring(entry, entry.files)

        def take() -> None:
            with contextlib.suppress(StoppedError):
                list(arrivals)

        taker = threading.Thread(target=take, daemon=True)
        taker.start()
        assert mirror.faults.wait_stalled()
        started = time.monotonic()
        origins.engine().close()
        taker.join(10)
        assert not taker.is_alive()
        assert time.monotonic() - started < 3
