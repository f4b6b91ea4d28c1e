"""Many clients, slow clients, greedy clients."""

from __future__ import annotations

import os
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from assetmgr.server.limits import Limits, Rates
from assetmgr.server.server import Server
from assetmgr.workspace import Workspace
from tests.server.support import FILES, WEIGHTS, Client, get, serving
from tests.support import eventually

SMALL = "/org/name/resolve/v1/config.json"
LARGE = "/org/name/resolve/v1/model.safetensors"


def metric(server: Server, name: str) -> float:
    for line in get(server, "/metrics").body.decode().splitlines():
        if line.startswith(f"{name} "):
            return float(line.rpartition(" ")[2])
    raise AssertionError(name)


def test_two_hundred_clients_at_once_get_every_byte(server: Server) -> None:
    together = threading.Barrier(200)

    def client(_: int) -> bool:
        with Client(server.port, timeout=60) as client:
            together.wait(60)
            return (client.get(SMALL).body, client.get(LARGE).body) == (FILES["config.json"], WEIGHTS)

    with ThreadPoolExecutor(200) as pool:
        assert all(pool.map(client, range(200)))


def test_one_more_than_may_connect_takes_the_place_of_an_idle_one_or_is_told(workspace: Workspace) -> None:
    with serving(workspace, Limits(connections=2)) as server:
        first, second = Client(server.port), Client(server.port)
        assert first.get("/healthz").status == second.get("/healthz").status == 200
        third = Client(server.port)
        assert third.get("/healthz").status == 200
        assert first.is_closed()
        for begun in (second, third):
            begun.send(b"GET /healthz HTTP/1.1\r\n")  # both are in the middle of something
        assert eventually(lambda: server.connections("head") == 2)
        with Client(server.port) as fourth:
            refused = fourth.read()
            assert (refused.status, refused.headers["retry-after"]) == (503, "2")
        for begun in (second, third):
            begun.send(b"Host: h\r\n\r\n")
            assert begun.read().status == 200
            begun.socket.close()


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\nHost: h\r\nX-Slow: ", b"POST /x HTTP/1.1\r\nHost: h\r\n"])
def test_who_drips_a_request_or_sends_none_is_let_go(workspace: Workspace, begin: bytes) -> None:
    with serving(workspace, Limits(head_seconds=0.3, idle_seconds=0.3)) as server, Client(server.port) as client:
        stop = threading.Event()

        def drip() -> None:
            while begin and not stop.wait(0.05):
                try:
                    client.send(b"a")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        if begin:
            client.send(begin)
        dripping.start()
        try:
            if begin:
                assert client.read().status in (400, 408)
            assert client.is_closed()
        finally:
            stop.set()
            dripping.join()


def test_who_sends_no_body_is_let_go(workspace: Workspace) -> None:
    with serving(workspace, Limits(head_seconds=0.2)) as server, Client(server.port) as client:
        client.send(b"POST /api/models/org/name/paths-info/main HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{")
        assert client.read().status == 408
        assert client.is_closed()


def test_a_body_is_read_where_it_is_asked_for_alone_and_only_so_many_at_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = "POST /{} HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n{}\r\n"
    paths_info = "api/models/org/name/paths-info/main"
    with serving(workspace, token="sesame") as server:
        for target, field, status in [
            (paths_info, "", 401),
            (paths_info, "Authorization: Bearer wrong\r\n", 401),
            ("org/name/resolve/main/config.json", "Authorization: Bearer sesame\r\n", 405),
        ]:
            with Client(server.port) as client:
                client.send(begin.format(target, field).encode())
                assert client.read().status == status  # nothing of the body was waited for
                assert client.is_closed()
    monkeypatch.setattr("assetmgr.server.exchange._BODIES_MOST", 5_000_000)
    with serving(workspace) as server, Client(server.port) as first, Client(server.port) as second:
        first.send(begin.format(paths_info, "").encode())
        assert eventually(lambda: server.connections("busy") == 1)
        second.send(begin.format(paths_info, "").encode())
        refused = second.read()
        assert (refused.status, refused.headers["retry-after"]) == (503, "2")
        first.send(b"paths=config.json&x=" + b"x" * 3_999_980)
        assert first.read().status == 200
        with Client(server.port) as third:
            third.send(begin.format(paths_info, "").encode() + b" " * 4_000_000)
            assert third.read().status == 200


def test_who_takes_nothing_is_cut_off(workspace: Workspace) -> None:
    limits = Limits(stall_seconds=0.3)
    with serving(workspace, limits) as server, Client(server.port) as client:
        request = f"GET {LARGE} HTTP/1.1\r\nHost: h\r\n\r\n".encode()
        client.send(request * 50)  # more than all buffers between them hold
        assert eventually(lambda: metric(server, "assetmgr_slow_clients_total") == 1)


def test_a_client_address_is_held_to_its_rate_over_all_connections(workspace: Workspace) -> None:
    rate = 1_500_000
    with serving(workspace, Limits(rate=rate)) as server:
        started = time.monotonic()
        with ThreadPoolExecutor(2) as pool:
            bodies = list(pool.map(lambda _: get(server, LARGE).body, range(2)))
        taken = time.monotonic() - started
    assert bodies == [WEIGHTS] * 2
    assert taken > 0.8 * (2 * len(WEIGHTS) - 2 * rate / 8) / rate


def test_a_rate_is_shared_and_forgotten() -> None:
    rates = Rates(1000.0)
    assert rates.take("a", 500) == 0
    assert rates.take("a", 500) == pytest.approx(0.5, abs=0.1)
    assert rates.take("b", 10) == 0
    assert Rates(10.0).piece >= 1024


def test_a_stop_lets_what_runs_end_and_cuts_what_does_not(workspace: Workspace) -> None:
    for grace, ends in ((20.0, True), (0.2, False)):
        with serving(workspace, Limits(rate=2_000_000, grace_seconds=grace)) as server:
            client = Client(server.port)
            client.send(f"GET {LARGE} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            assert eventually(lambda: server.connections("busy") == 1)
            began = time.monotonic()
            server.stop()
            if ends:
                assert client.read().body == WEIGHTS
            else:
                with pytest.raises(ConnectionError):
                    client.read()
                assert time.monotonic() - began < 5
            client.socket.close()


def test_what_happens_is_counted_and_logged_on_one_line_each(workspace: Workspace, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with serving(workspace, access_log=str(log)) as server:
        with Client(server.port) as client:
            assert client.get(SMALL, 'User-Agent: a\x1b[31m"b\\'.replace("\x1b", "\xe9")).status == 200
            assert client.get(SMALL, "Range: bytes=0-3").status == 206
            assert client.get("/none%0a%22x").status == 400
        assert get(server, "/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")
        text = get(server, "/metrics").body.decode()
        assert 'assetmgr_requests_total{method="GET",status="206"} 1\n' in text
        assert metric(server, "assetmgr_connections_total") >= 3
        assert metric(server, "assetmgr_assets") == 5
        assert eventually(lambda: log.exists() and log.read_text().count("\n") >= 3)
        log.rename(tmp_path / "rotated.log")
        assert get(server, "/healthz").status == 200
    lines = (tmp_path / "rotated.log").read_text().splitlines()
    assert ['"GET /none%0a%22x HTTP/1.1" 400' in line for line in lines].count(True) == 1
    assert lines[0].endswith('"a\\xc3\\xa9[31m\\"b\\\\"')
    assert '"GET /healthz HTTP/1.1" 200 3' in log.read_text()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
def test_a_log_that_nobody_reads_holds_up_nothing(workspace: Workspace, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    began = time.monotonic()
    with serving(workspace, access_log=str(pipe)) as server:
        assert get(server, SMALL).status == 200
    assert time.monotonic() - began < 5


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for this machine alone, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"]
    try:
        subprocess.run([*command.split(), *names], cwd=folder, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no openssl to make a certificate")
    return str(folder / "cert.pem"), str(folder / "key.pem")


def test_over_tls_it_is_the_same_server(workspace: Workspace, certificate: tuple[str, str]) -> None:
    limits = Limits(head_seconds=0.5, idle_seconds=5)
    with serving(workspace, limits, tls_certificate=certificate[0], tls_key=certificate[1]) as server:
        assert server.address.startswith("https://")
        context = ssl.create_default_context(cafile=certificate[0])
        with Client(server.port) as client:
            client.socket = context.wrap_socket(client.socket, server_hostname="127.0.0.1")
            for _ in range(2):
                assert client.get(SMALL).body == FILES["config.json"]
                assert client.get(LARGE).body == WEIGHTS
            assert client.get(LARGE, "Range: bytes=5-9").body == WEIGHTS[5:10]
            tree = client.get("/api/models/org/name/tree/v1?recursive=1&limit=1")
            assert tree.headers["link"].startswith("<https://127.0.0.1/api/")
        with Client(server.port) as plain, pytest.raises(ConnectionError):
            plain.get(SMALL)
        with Client(server.port) as silent:
            assert silent.is_closed()


def test_over_tls_too_one_more_takes_the_place_of_the_longest_silent(
    workspace: Workspace, certificate: tuple[str, str]
) -> None:
    context = ssl.create_default_context(cafile=certificate[0])

    def asking(server: Server) -> Client:
        client = Client(server.port)
        client.socket = context.wrap_socket(client.socket, server_hostname="127.0.0.1")
        assert client.get(SMALL).body == FILES["config.json"]
        return client

    settings = {"tls_certificate": certificate[0], "tls_key": certificate[1]}
    with (
        serving(workspace, Limits(connections=2), **settings) as server,
        asking(server) as first,
        asking(server) as second,
    ):
        assert eventually(lambda: server.connections("silent") == 2)  # they have their answers a moment before that
        with asking(server):
            assert first.is_closed()
            assert second.get(SMALL).body == FILES["config.json"]
