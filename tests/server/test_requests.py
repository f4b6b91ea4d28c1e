"""What is a request, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assetmgr.server.requests import FIELDS_MOST, HEAD_MOST, LINE_MOST, RefusedError, check_begin, parse_head

HOST = b"Host: h"


def head(line: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join([line, *fields])


def test_an_honest_request_is_read() -> None:
    request = parse_head(head(b"GET /a%20b/c?d=e%2Ff&g HTTP/1.1", HOST, b"Range:bytes=0-1 ", b"X: 1", b"x: 2"))
    assert (request.method, request.segments, dict(request.query)) == ("GET", ("a b", "c"), {"d": "e/f", "g": ""})
    assert (request.headers["range"], request.headers["x"], request.keeps) == ("bytes=0-1", "1, 2", True)
    assert not parse_head(head(b"GET / HTTP/1.0")).keeps
    assert not parse_head(head(b"GET / HTTP/1.1", HOST, b"Connection: Close")).keeps
    assert parse_head(head(b"POST /x HTTP/1.1", HOST, b"Content-Length: 3")).length == 3
    assert parse_head(head(b"GET /a/refs%2Fpr%2F1 HTTP/1.1", HOST)).segments == ("a", "refs/pr/1")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (head(b"GET  / HTTP/1.1", HOST), 400),
        (head(b"GET / HTTP/2.0", HOST), 400),
        (head(b"GET / HTTP/1.1 ", HOST), 400),
        (head(b"get / HTTP/1.1", HOST), 400),
        (head(b"GET /\x00 HTTP/1.1", HOST), 400),
        (head(b"GET /\xff HTTP/1.1", HOST), 400),
        (head(b"GET http://other.example/ HTTP/1.1", HOST), 400),
        (head(b"GET //other.example@/#a HTTP/1.1", HOST), 400),
        (head(b"GET other HTTP/1.1", HOST), 400),
        (head(b"CONNECT other.example:443 HTTP/1.1", HOST), 405),
        (head(b"PUT /x HTTP/1.1", HOST), 405),
        (head(b"OPTIONS * HTTP/1.1", HOST), 405),
        (head(b"GET / HTTP/1.1"), 400),
        (head(b"GET / HTTP/1.1", b"Host: a/../b"), 400),
        (head(b"GET / HTTP/1.1", b"Host: a\tb"), 400),
        (head(b"GET / HTTP/1.1", HOST, HOST), 400),
        (head(b"GET / HTTP/1.1", HOST, b" folded: 1"), 400),
        (head(b"GET / HTTP/1.1", HOST, b"Space : 1"), 400),
        (head(b"GET / HTTP/1.1", HOST, b"no colon"), 400),
        (head(b"GET / HTTP/1.1", HOST, b"A: b\nC: d"), 400),
        (head(b"GET / HTTP/1.1", HOST, b"A: b\rC: d"), 400),
        (head(b"GET / HTTP/1.1", HOST, b"A: \x00"), 400),
        (head(b"GET / HTTP/1.1", HOST, b"Content-Length: 5"), 400),
        (head(b"POST / HTTP/1.1", HOST, b"Content-Length: 5", b"Transfer-Encoding: chunked"), 400),
        (head(b"POST / HTTP/1.1", HOST, b"Content-Length: 5", b"Content-Length: 5"), 400),
        (head(b"POST / HTTP/1.1", HOST, b"Content-Length: +5"), 400),
        (head(b"POST / HTTP/1.1", HOST, b"Content-Length: -5"), 400),
        (head(b"POST / HTTP/1.1", HOST, b"Transfer-Encoding: chunked"), 411),
        (head(b"POST / HTTP/1.1", HOST, b"Content-Length: 99999999"), 413),
        (head(b"GET /" + b"a" * LINE_MOST + b" HTTP/1.1", HOST), 414),
        (head(b"GET / HTTP/1.1", HOST, *(b"A%d: 1" % at for at in range(FIELDS_MOST))), 431),
    ],
)
def test_what_could_be_read_in_two_ways_or_not_at_all_is_refused(data: bytes, status: int) -> None:
    with pytest.raises(RefusedError) as refused:
        parse_head(data)
    assert refused.value.status == status


@pytest.mark.parametrize(
    "target",
    ["/a/%2e%2e/b", "/a/../b", "/%2e", "/a%2f..%2fb", "/a%00", "/a%0a", "/a%5cb", "/%ff", "/%zz", "/%", "/a%c2%85"],
)
def test_a_path_that_climbs_or_hides_something_is_refused(target: str) -> None:
    request = parse_head(head(f"GET {target} HTTP/1.1".encode(), HOST))
    with pytest.raises(RefusedError) as refused:
        _ = request.segments
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("begin", "status"),
    [(b"a" * (LINE_MOST + 1), 414), (b"GET / HTTP/1.1\nHost: h\n\n", 400), (b"a\r\n" * HEAD_MOST, 431)],
)
def test_what_can_become_no_request_is_refused_before_it_ends(begin: bytes, status: int) -> None:
    with pytest.raises(RefusedError) as refused:
        check_begin(begin)
    assert refused.value.status == status
    check_begin(b"GET / HT")


@given(st.binary(max_size=300))
@example(b"GET / HTTP/1.1\r\nHost: h")
def test_any_bytes_are_a_request_or_a_refusal(data: bytes) -> None:
    try:
        request = parse_head(data)
        climbing = {".", ".."}.intersection(request.segments)
        readable = isinstance(request.query, dict)
    except RefusedError as refused:
        error = refused
    else:
        assert readable
        assert not climbing
        return
    assert 400 <= error.status < 500
