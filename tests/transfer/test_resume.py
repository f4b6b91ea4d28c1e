"""Going on inside a file: after a failure, in another process, with another source; and when that must not be done."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from assetmgr.errors import AssetError, IntegrityError, OriginError
from assetmgr.transfer.journal import journal_path, read_journal
from assetmgr.transfer.limits import Limits
from tests.hub import Fault, Hub
from tests.transfer.support import SMALL, Attempt, Client, body, sha256, wait_for_bytes

BODY = body(2_000_000)
OTHER = body(2_000_000, seed=1)
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


def url(hub: Hub) -> str:
    return f"{hub.endpoint}/w.bin"


def begin(hub: Hub, attempt: Attempt, after: int = 1_000_000, **options: Any) -> None:
    """Leave a partial of about ``after`` bytes, as a process leaves it whose server went away."""
    fault = hub.faults.add(Fault(truncate_after=after))
    with pytest.raises(AssetError):
        attempt(url(hub), limits=Limits(attempts=1, **SMALL), **options)
    hub.faults.remove(fault)
    assert attempt.journal.exists()
    attempt.said.clear()
    attempt.steps.clear()
    hub.reset_log()


def asked(hub: Hub) -> list[str]:
    return [record.headers.get("range", "all") for record in hub.requests]


# --- going on ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [{"size": len(BODY), "sha256": SHA256}, {}], ids=["locked", "unknown"])
def test_a_later_run_asks_for_the_rest_only(hub: Hub, attempt: Attempt, known: dict[str, Any]) -> None:
    begin(hub, attempt, **known)
    attempt.assert_whole(attempt(url(hub), **known), BODY)
    assert asked(hub) == ["bytes=1000000-"]
    assert hub.requests[0].headers["if-range"].startswith('"')
    assert "going on after 1,000,000 of 2,000,000 bytes" in attempt.said[0]


def test_a_broken_connection_is_gone_on_with_in_the_same_run(hub: Hub, attempt: Attempt) -> None:
    hub.faults.add(Fault(reset_after=300_000, times=5))
    attempt.assert_whole(attempt(url(hub), size=len(BODY), sha256=SHA256), BODY)
    assert sum(record.sent for record in hub.requests) < len(BODY) + 5 * 300_000, "not from the start each time"
    assert len(attempt.waits) == 5, "five failures are more than three attempts, but each brought something"


def test_attempts_that_bring_nothing_are_bounded(hub: Hub, attempt: Attempt) -> None:
    hub.faults.add(Fault(truncate_after=1000, times=None))
    with pytest.raises(OriginError, match="3 times"):
        attempt(url(hub), size=len(BODY), sha256=SHA256)
    assert len(hub.requests) == 3
    assert sum(attempt.steps) == 0


def test_attempts_that_bring_something_are_bounded_too(hub: Hub, attempt: Attempt) -> None:
    hub.faults.add(Fault(truncate_after=70_000, times=None))
    limits = Limits(attempts=3, attempts_most=7, backoff=0.001, **SMALL)
    with pytest.raises(OriginError, match="7 times"):
        attempt(url(hub), size=len(BODY), sha256=SHA256, limits=limits)
    assert len(hub.requests) == 7


def test_a_locked_file_is_gone_on_with_from_another_source(hub: Hub, attempt: Attempt) -> None:
    begin(hub, attempt, size=len(BODY), sha256=SHA256)
    mirror = Hub()
    mirror.publish("/blobs/x", BODY)
    with mirror.serve() as endpoint:
        attempt.assert_whole(attempt(f"{endpoint}/blobs/x", size=len(BODY), sha256=SHA256), BODY)
    assert asked(mirror) == ["bytes=1000000-"]
    assert "if-range" not in mirror.requests[0].headers, "one server's etag means nothing to another"


def test_a_locked_file_is_gone_on_with_from_the_second_source_when_the_first_dies(hub: Hub, attempt: Attempt) -> None:
    hub.faults.add(Fault(truncate_after=1_000_000))
    hub.faults.add(Fault(status=404, times=None, match="/w.bin", after=0))
    mirror = Hub()
    mirror.publish("/blobs/x", BODY)
    with mirror.serve() as endpoint:
        attempt.assert_whole(attempt(url(hub), f"{endpoint}/blobs/x", size=len(BODY), sha256=SHA256), BODY)
    assert asked(mirror) == ["bytes=1000000-"]


def test_a_file_that_was_whole_is_not_asked_for(hub: Hub, attempt: Attempt) -> None:
    attempt(url(hub), size=len(BODY), sha256=SHA256)
    attempt.steps.clear()
    hub.reset_log()
    attempt.assert_whole(attempt(url(hub), size=len(BODY), sha256=SHA256), BODY)
    assert hub.requests == []


def test_a_local_file_is_gone_on_with(attempt: Attempt, tmp_path: Path, hub: Hub) -> None:
    begin(hub, attempt, size=len(BODY), sha256=SHA256)
    (tmp_path / "w").write_bytes(BODY)
    attempt.assert_whole(attempt((tmp_path / "w").as_uri(), size=len(BODY), sha256=SHA256), BODY)


# --- starting over ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False], ids=["locked", "unknown"])
def test_a_changed_remote_starts_over_and_says_so(hub: Hub, attempt: Attempt, known: bool) -> None:
    begin(hub, attempt)
    hub.publish("/w.bin", OTHER)
    locked: dict[str, Any] = {"size": len(OTHER), "sha256": sha256(OTHER)} if known else {}
    attempt.assert_whole(attempt(url(hub), **locked), OTHER)
    assert any("starting over" in text for text in attempt.said)
    assert sum(record.sent for record in hub.requests) == len(OTHER), "the answer that told so is used"


def test_a_remote_that_shrank_starts_over(hub: Hub, attempt: Attempt) -> None:
    begin(hub, attempt)
    hub.publish("/w.bin", OTHER[:700_000])
    attempt.assert_whole(attempt(url(hub)), OTHER[:700_000])
    assert any("starting over" in text for text in attempt.said)


def test_a_server_that_ignores_if_range_is_caught_by_its_etag(hub: Hub, attempt: Attempt) -> None:
    begin(hub, attempt)
    hub.publish("/w.bin", OTHER, etag='"new"')
    # As aiohttp's FileResponse does: 206 of the new file to an If-Range of the old.
    hub.faults.add(
        Fault(
            status=206,
            body=OTHER[1_000_000:],
            headers={"Content-Range": f"bytes 1000000-1999999/{len(OTHER)}", "ETag": '"new"'},
        )
    )
    attempt.assert_whole(attempt(url(hub)), OTHER)
    assert any("has changed" in text for text in attempt.said)


def test_other_bytes_under_the_same_etag_are_caught_by_the_sha256(hub: Hub, attempt: Attempt) -> None:
    hub.publish("/w.bin", OTHER, etag='"same"')
    begin(hub, attempt, size=len(BODY), sha256=SHA256)
    hub.publish("/w.bin", BODY, etag='"same"')
    attempt.assert_whole(attempt(url(hub), size=len(BODY), sha256=SHA256), BODY)
    assert any("once more" in text for text in attempt.said)


def test_a_file_without_etag_and_sha256_is_not_gone_on_with(hub: Hub, attempt: Attempt) -> None:
    hub.publish("/w.bin", BODY, etag=False)
    begin(hub, attempt)
    attempt.assert_whole(attempt(url(hub)), BODY)
    assert asked(hub) == ["all"]


def test_a_file_of_unknown_sha256_is_not_gone_on_with_from_another_url(hub: Hub, attempt: Attempt) -> None:
    begin(hub, attempt)
    hub.publish("/other.bin", OTHER)
    attempt.assert_whole(attempt(f"{hub.endpoint}/other.bin"), OTHER)
    assert asked(hub) == ["all"]


def test_two_queries_are_two_files(hub: Hub, attempt: Attempt) -> None:
    hub.publish("/w.bin", BODY, etag='"same"')
    fault = hub.faults.add(Fault(truncate_after=500_000))
    with pytest.raises(OriginError):
        attempt(f"{hub.endpoint}/w.bin?id=1", limits=Limits(attempts=1, **SMALL))
    hub.faults.remove(fault)
    hub.publish("/w.bin", OTHER, etag='"same"')
    attempt.steps.clear()
    attempt.assert_whole(attempt(f"{hub.endpoint}/w.bin?id=2"), OTHER)


def test_a_server_without_ranges_starts_over_on_one_stream(hub: Hub, attempt: Attempt) -> None:
    begin(hub, attempt, size=len(BODY), sha256=SHA256)
    hub.publish("/w.bin", BODY, ranges=False)
    attempt.assert_whole(attempt(url(hub), size=len(BODY), sha256=SHA256), BODY)
    assert len(hub.requests) == 1, "its answer is used"
    assert any("no parts" in text for text in attempt.said)


def test_a_broken_connection_to_a_server_without_ranges_starts_over(hub: Hub, attempt: Attempt) -> None:
    hub.publish("/w.bin", BODY, ranges=False)
    hub.faults.add(Fault(truncate_after=1_000_000))
    attempt.assert_whole(attempt(url(hub), size=len(BODY), sha256=SHA256), BODY)


@pytest.mark.parametrize(
    "said",
    [
        None,
        "bytes 0-999999/2000000",
        "bytes 999999-1999998/2000000",
        "bytes 1000001-1999999/2000000",
        "bytes 1000000-1999999/*",
        "bytes 1000000-1999999/3000000",
        "bytes 1000000-1999999",
        "octets 1000000-1999999/2000000",
        "bytes 1000000-1500000/2000000",
        "bytes 1000000-1999999/2000000, bytes 0-1/2000000",
        "bytes \u00b2000000-1999999/2000000",
    ],
)
def test_a_wrong_content_range_is_not_believed(hub: Hub, attempt: Attempt, said: str | None) -> None:
    begin(hub, attempt, size=len(BODY), sha256=SHA256)
    hub.faults.add(Fault(headers={"Content-Range": said}, times=1))
    attempt.assert_whole(attempt(url(hub), size=len(BODY), sha256=SHA256), BODY)
    assert any("starting over" in text for text in attempt.said)


def test_a_remote_that_changes_at_each_request_is_given_up(hub: Hub, attempt: Attempt) -> None:
    begin(hub, attempt)
    counter = iter(range(1000))

    def change(line: str) -> bool:
        number = next(counter)
        hub.publish("/w.bin", body(2_000_000, number), etag=f'"{number}"')
        return True

    hub.faults.add(Fault(match=change, truncate_after=100_000, times=None))
    with pytest.raises(OriginError):
        attempt(url(hub))
    assert len(hub.requests) < 30


def test_a_partial_of_another_sha256_starts_over(hub: Hub, attempt: Attempt) -> None:
    begin(hub, attempt, size=len(BODY), sha256=SHA256)
    hub.publish("/w.bin", OTHER)
    attempt.assert_whole(attempt(url(hub), size=len(OTHER), sha256=sha256(OTHER)), OTHER)
    assert asked(hub) == ["all"]


def test_wrong_bytes_are_fetched_once_more_and_then_told(hub: Hub, attempt: Attempt) -> None:
    hub.publish("/w.bin", OTHER)
    with pytest.raises(IntegrityError) as caught:
        attempt(url(hub), size=len(BODY), sha256=SHA256)
    assert SHA256 in str(caught.value)
    assert sha256(OTHER) in str(caught.value)
    assert len(hub.requests) == 2
    assert not attempt.journal.exists()
    assert sum(attempt.steps) == 0


def test_bytes_that_were_wrong_once_come_right(hub: Hub, attempt: Attempt) -> None:
    hub.faults.add(Fault(flip_at=1_234_567))
    attempt.assert_whole(attempt(url(hub), size=len(BODY), sha256=SHA256), BODY)


# --- damage to what was left ------------------------------------------------------------------------------------------


def _truncate_partial(attempt: Attempt) -> None:
    os.truncate(attempt.partial, 10)


def _flip_partial(attempt: Attempt) -> None:
    with attempt.partial.open("r+b") as file:
        file.write(b"x")


DAMAGE: dict[str, Callable[[Attempt], object]] = {
    "no partial": lambda attempt: attempt.partial.unlink(),
    "a cut partial": _truncate_partial,
    "a changed partial": _flip_partial,
    "no journal": lambda attempt: attempt.journal.unlink(),
    "an empty journal": lambda attempt: attempt.journal.write_bytes(b""),
    "a cut journal": lambda attempt: os.truncate(attempt.journal, attempt.journal.stat().st_size - 1),
    "a long journal": lambda attempt: attempt.journal.write_bytes(attempt.journal.read_bytes() + b"\0"),
    "a wild journal": lambda attempt: attempt.journal.write_bytes(attempt.journal.read_bytes()[:-8] + b"\xff" * 8),
    "no text": lambda attempt: attempt.journal.write_bytes(b"\xff" * 100 + b"\n"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_rest_never_makes_a_wrong_file(hub: Hub, attempt: Attempt, damage: str) -> None:
    begin(hub, attempt, size=len(BODY), sha256=SHA256)
    DAMAGE[damage](attempt)
    attempt.assert_whole(attempt(url(hub), size=len(BODY), sha256=SHA256), BODY)


@pytest.mark.parametrize("hard", [True, False], ids=["hard link", "symlink"])
@pytest.mark.parametrize("which", ["partial", "journal"])
def test_a_planted_link_is_replaced_and_never_written_through(
    hub: Hub, attempt: Attempt, tmp_path: Path, which: str, hard: bool
) -> None:
    begin(hub, attempt, size=len(BODY), sha256=SHA256)
    path = attempt.partial if which == "partial" else attempt.journal
    victim = tmp_path / "victim"
    victim.write_bytes(path.read_bytes())
    before = victim.read_bytes()
    path.unlink()
    if hard:
        os.link(victim, path)
    else:
        path.symlink_to(victim)
    attempt.assert_whole(attempt(url(hub), size=len(BODY), sha256=SHA256), BODY)
    assert victim.read_bytes() == before
    assert not attempt.partial.is_symlink()


def test_what_is_left_is_for_its_owner_only(hub: Hub, attempt: Attempt) -> None:
    begin(hub, attempt)
    assert attempt.partial.stat().st_mode & 0o777 == 0o600
    assert attempt.journal.stat().st_mode & 0o777 == 0o600


# --- kill -9, Ctrl-C --------------------------------------------------------------------------------------------------


def client(hub: Hub, attempt: Attempt, data: bytes, tmp_path: Path, **limits: Any) -> Client:
    task = {
        "label": "a: w.bin",
        "urls": [url(hub)],
        "partial": str(attempt.partial),
        "size": len(data),
        "sha256": sha256(data),
    }
    return Client([task], limits, tmp_path)


def test_thirty_kills_fetch_little_again(attempt: Attempt, tmp_path: Path) -> None:
    """Counted at the server: what it gave to its sockets, less what was there before."""
    data = body(200_000_000, 3)
    (tmp_path / "w").write_bytes(data)
    hub = Hub()
    hub.publish("/w.bin", tmp_path / "w")
    random = Random(0)
    kills = 0
    with hub.serve():
        # So slow that thirty kills fall inside the file, each connection at the same pace.
        hub.faults.add(Fault(throttle=30e6, times=None))
        arrived = 0
        while kills < 30:
            one = client(hub, attempt, data, tmp_path, slow=0)
            wait_for_bytes(attempt.partial, arrived + random.randrange(1_000_000, 6_000_000))
            one.kill()
            kills += 1
            noted = read_journal(str(attempt.partial))
            assert noted is not None
            assert sum(noted.marks) >= arrived
            arrived = sum(noted.marks)
        assert arrived < len(data)
        hub.faults.clear()
        code, err = client(hub, attempt, data, tmp_path).finish()
    assert code == 0, err
    assert sha256(attempt.partial.read_bytes()) == sha256(data)
    again = sum(record.sent for record in hub.requests) - len(data)
    assert again <= kills * 4_000_000, f"{again / kills / 1e6:.2f} MB a kill"
    print(f"{again / kills / 1e6:.3f} MB fetched again a kill")


def test_kills_among_many_connections_fetch_at_most_a_piece_a_stream_again(attempt: Attempt, tmp_path: Path) -> None:
    data = body(60_000_000, 4)
    hub = Hub()
    hub.publish("/w.bin", data)
    random = Random(1)
    with hub.serve():
        hub.faults.add(Fault(throttle=4e6, times=None))
        arrived = 0
        for _ in range(6):
            one = client(hub, attempt, data, tmp_path)
            wait_for_bytes(attempt.partial, min(arrived + random.randrange(4_000_000, 8_000_000), 55_000_000))
            one.kill()
            noted = read_journal(str(attempt.partial))
            assert noted is not None
            arrived = sum(noted.marks)
        hub.faults.clear()
        code, err = client(hub, attempt, data, tmp_path).finish()
    assert code == 0, err
    assert attempt.partial.read_bytes() == data
    again = sum(record.sent for record in hub.requests) - len(data)
    # At most what lay in the buffers of eight connections: never more than the piece that each was at.
    assert again <= 6 * 8 * 1_100_000, f"{again / 6 / 1e6:.2f} MB a kill"


def test_ctrl_c_ends_within_a_second_and_leaves_the_rest_for_later(hub: Hub, attempt: Attempt, tmp_path: Path) -> None:
    data = body(20_000_000, 5)
    hub.publish("/w.bin", data)
    stall = hub.faults.add(Fault(stall_after=5_000_000, times=None, stall_seconds=60))
    one = client(hub, attempt, data, tmp_path)
    wait_for_bytes(attempt.partial, 4_900_000)
    assert hub.faults.wait_stalled()
    one.process.send_signal(signal.SIGINT)
    assert one.finishes_within(1.0), "Ctrl-C while a server is silent"
    assert one.finish()[0] == 130
    hub.faults.remove(stall)
    hub.reset_log()
    code, err = client(hub, attempt, data, tmp_path).finish()
    assert code == 0, err
    assert attempt.partial.read_bytes() == data
    assert sum(record.sent for record in hub.requests) <= 15_100_000
    assert not os.path.exists(journal_path(str(attempt.partial)))
