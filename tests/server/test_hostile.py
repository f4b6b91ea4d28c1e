"""Requests of who means harm, over the wire: each is refused in clear words, and the server goes on."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assetmgr.server.server import Server
from tests.server.support import Client, get

SECRET = b"root:"
TARGETS = [
    "/../../../../etc/passwd",
    "/org/name/resolve/main/../../../../../../etc/passwd",
    "/org/name/resolve/main/%2e%2e/%2e%2e/etc/passwd",
    "/org/name/resolve/main/..%2f..%2f..%2fetc%2fpasswd",
    "/org/name/resolve/main/data%2fa.txt",
    "/org/name/resolve/..%2f..%2fmain/config.json",
    "/org/name/resolve/main//etc/passwd",
    "/org/name/resolve/main/%00",
    "/org/name/resolve/main/config.json%00.txt",
    "/org/name/resolve/main/%c0%ae%c0%ae/",
    "/org%2fname/resolve/main/config.json",
    "/datasets/../models/org/name",
    "/api/models/../../etc",
    "/api/models/org/name/revision/..%2f..",
    "/api/models/org/name/tree/main?cursor=-1",
    "/api/models/org/name/tree/main?cursor=99999999999999999999",
    "/api/models/org/name/tree/main?limit=x",
    "/blobs/sha256/../../../etc/passwd",
    "/blobs/sha256/" + "A" * 64,
    "/blobs/md5/" + "a" * 32,
    "/assetmgr/v1/assets/..%2f..%2fetc%2fpasswd",
    "/assetmgr/v1/assets/",
    "//127.0.0.1/x",
    "/api/models/" + "a/" * 1000,
    "/api/models/org/name?" + "&".join(f"a{at}=1" for at in range(1000)),
]
POST = b"POST /api/models/org/name/paths-info/main HTTP/1.1\r\nHost: h\r\n"
RAW = {
    b"GET http://169.254.169.254/latest/meta-data HTTP/1.1\r\nHost: h\r\n\r\n": 400,
    b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: h\r\n\r\n": 405,
    b"GET / HTTP/1.1\nHost: h\n\n": 400,
    b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 100_000: 431,
    b"GET /" + b"a" * 100_000: 414,
    b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 200 + b"\r\n": 431,
    POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n": 400,
    POST + b"Content-Length: 99999999999\r\n\r\n": 413,
    b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n": 400,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": 400,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n": 400,
    b"\r\n\r\n": 400,
}


@pytest.mark.parametrize("target", TARGETS)
def test_a_path_that_leads_nowhere_honest_is_refused(server: Server, target: str) -> None:
    reply = get(server, target)
    assert 400 <= reply.status < 500
    assert reply.headers["x-error-message"]
    assert SECRET not in reply.body


@pytest.mark.parametrize("data", RAW, ids=lambda data: data[:20].decode("latin-1"))
def test_bytes_that_are_no_request_are_refused_and_the_connection_ends(server: Server, data: bytes) -> None:
    with Client(server.port) as client:
        client.send(data)
        assert client.read().status == RAW[data]
        assert client.is_closed()
    assert get(server, "/healthz").status == 200


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"paths=config.json&paths=data", "application/x-www-form-urlencoded", 200),
        (b'{"paths": ["config.json"], "expand": true}', "application/json", 200),
        (b'{"paths": "config.json"}', "application/json", 200),
        (b"{", "application/json", 400),
        (b"[1]", "application/json", 400),
        (b'{"paths": [1]}', "application/json", 400),
        (b'{"paths": {"a": 1}}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"\xff\xfe", "application/x-www-form-urlencoded", 400),
        (b"paths=a&" * 20_000, "application/x-www-form-urlencoded", 400),
    ],
)
def test_a_body_that_asks_for_no_paths_is_refused(server: Server, body: bytes, kind: str, status: int) -> None:
    with Client(server.port) as client:
        client.send(POST + f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        assert client.read().status == status


words = st.sampled_from(
    (
        "api models datasets org name resolve main v1 refs tree revision paths-info blobs sha256 assetmgr assets whole "
        f"config.json data . .. %2e%2e %2f %00 %ff {'a' * 300}"
    ).split(" ")
)
targets = st.lists(words | st.text(max_size=5), max_size=9).map(lambda parts: "/" + "/".join(parts))
fields = st.lists(
    st.sampled_from(
        ["Range", "If-Range", "If-None-Match", "Host", "Content-Length", "Transfer-Encoding", "Expect", "X"]
    ).flatmap(lambda name: st.text(max_size=12).map(lambda value: f"{name}: {value}")),
    max_size=4,
)


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["GET", "HEAD", "POST", "PUT"]), targets, fields, st.binary(max_size=20))
def test_no_request_makes_it_fail(server: Server, method: str, target: str, fields: list[str], tail: bytes) -> None:
    data = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: h", "Connection: close", *fields, "", ""])
    with Client(server.port) as client:
        client.send(data.encode("utf-8", "surrogatepass") + tail)
        client.socket.shutdown(1)  # SHUT_WR
        try:
            reply = client.read(has_body=False)
        except ConnectionError:
            return  # a body that never came
    assert 200 <= reply.status < 500
    assert SECRET not in reply.body
