"""What is locked and not here is pulled when it is asked for: once, and nothing else ever."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from assetmgr.carried import parse_carriage
from assetmgr.server.server import Server
from assetmgr.workspace import Workspace
from tests.hub import Fault, Hub
from tests.server.support import FILES, WEIGHTS, Client, get, manifest, serving, stocked_hub
from tests.server.test_given_out import BLOB


@pytest.fixture
def hub() -> Hub:
    return stocked_hub()


@pytest.fixture
def through(hub: Hub, tmp_path: Path) -> Iterator[Server]:
    """A server of an empty store beside a lock."""
    with hub.serve() as endpoint:
        path = manifest(tmp_path, endpoint)

        def fresh() -> Workspace:
            return Workspace(path, tmp_path / "store", local_caches=False)

        Workspace(path, tmp_path / "other", local_caches=False).lock()
        hub.reset_log()
        with serving(fresh(), fresh=fresh) as server:
            yield server


def test_many_who_wait_for_one_asset_get_it_from_one_pull(hub: Hub, through: Server) -> None:
    hub.faults.add(Fault("model.safetensors", delay=0.5))
    targets = [f"/org/name/resolve/main/{name}" for name in ("config.json", "model.safetensors", "data/a.txt")] * 8
    targets += ["/api/models/org/name", "/api/models/org/name/tree/main?recursive=true"] * 4
    with ThreadPoolExecutor(len(targets)) as pool:
        replies = list(pool.map(lambda target: get(through, target), targets))
    assert {reply.status for reply in replies} == {200}
    assert replies[1].body == WEIGHTS
    assert hub.count("GET", "resolve/") == len({record.line for record in hub.requests if "/resolve/" in record.line})
    assert get(through, "/api/models/org/name/tree/main/nowhere").status == 404
    assert get(through, "/org/name/resolve/main/none.txt").status == 404
    assert b"assetmgr_pulls_total 1\n" in get(through, "/metrics").body


@pytest.mark.parametrize(
    ("target", "asset"),
    [
        (BLOB, "part"),
        ("/assetmgr/v1/assets/rows", "rows"),
        ("/org/name/resolve/v1/empty.txt", "tagged"),
        ("/api/datasets/org/rows/revision/main", "rows"),
        ("/org/part/resolve/main/config.json", "part"),
    ],
)
def test_whatever_way_it_is_asked_for_it_comes(through: Server, target: str, asset: str) -> None:
    reply = get(through, target)
    assert reply.status == 200
    if target.startswith("/assetmgr"):
        assert [each.name for each in parse_carriage(reply.body, "it").assets] == ["whole", "rows"]
    pulled = {one["name"] for one in json.loads(get(through, "/assetmgr/v1/assets").body)["assets"]}
    assert asset in pulled or target == BLOB


@pytest.mark.parametrize(
    "target",
    [
        "/org/none/resolve/main/config.json",
        "/org/name/resolve/v9/config.json",
        "/org/name/resolve/main/none.txt",
        "/org/part/resolve/main/model.safetensors",
        "/api/models/org/rows",
        f"/blobs/sha256/{'0' * 64}",
        "/assetmgr/v1/assets/http://127.0.0.1/x",
        "/http://127.0.0.1:1/x",
    ],
)
def test_what_is_not_locked_is_never_fetched(hub: Hub, through: Server, target: str) -> None:
    assert get(through, target).status in (400, 403, 404)
    # At the most what is locked of the same repo was pulled, to see what there is.
    assert all("v9" not in record.line and "none" not in record.line for record in hub.requests)
    assert not [
        record for record in hub.requests if "/org/part/resolve" in record.line and "safetensors" in record.line
    ]


def test_a_pull_that_fails_is_told_to_who_waits_and_not_repeated_at_once(hub: Hub, through: Server) -> None:
    hub.faults.add(Fault("org/rows", status=403, times=None))
    for _ in range(3):
        reply = get(through, "/datasets/org/rows/resolve/main/train.csv")
        assert (reply.status, reply.headers["x-error-code"]) == (502, "RevisionNotFound")
        assert "rows could not be pulled" in reply.headers["x-error-message"]
    assert b"assetmgr_pulls_total 1\n" in get(through, "/metrics").body
    assert get(through, "/org/name/resolve/main/data/a.txt").body == FILES["data/a.txt"]


def test_who_waits_is_told_that_it_goes_on(hub: Hub, through: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assetmgr.server.pull_through._BEAT", 0.05)
    hub.faults.add(Fault("model.safetensors", delay=0.5))
    with Client(through.port) as client:
        client.send(b"GET /org/name/resolve/main/config.json HTTP/1.1\r\nHost: h\r\n\r\n")
        assert client.socket.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert client.read().status == 200


def test_who_waits_for_a_pull_is_told_at_once_that_the_server_stops(hub: Hub, through: Server) -> None:
    hub.faults.add(Fault("model.safetensors", stall_after=1, times=None))
    with Client(through.port) as client:
        client.send(b"GET /org/name/resolve/main/config.json HTTP/1.1\r\nHost: h\r\n\r\n")
        assert hub.faults.wait_stalled()
        began = time.monotonic()
        through.stop()
        assert (client.read().status, client.is_closed()) == (503, True)
        assert time.monotonic() - began < 2
    hub.faults.clear()


def test_a_server_that_is_its_own_mirror_does_not_wait_for_itself(hub: Hub, tmp_path: Path) -> None:
    with hub.serve() as endpoint:
        path = manifest(tmp_path, endpoint)
        Workspace(path, tmp_path / "other", local_caches=False).lock()
        addresses: list[str] = []

        def fresh() -> Workspace:
            return Workspace(path, tmp_path / "store", mirrors=addresses, local_caches=False)

        with serving(fresh(), fresh=fresh) as server:
            addresses.append(server.address)
            began = time.monotonic()
            assert get(server, "/org/name/resolve/main/config.json").body == b'{"model_type": "gpt2"}'
            assert time.monotonic() - began < 15
