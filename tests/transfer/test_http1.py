"""What is HTTP/1.1 and what is not: heads, lengths, chunks, and when a connection may be used again."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr.transfer.http1 import Connection, Fields, HttpError, Response
from assetmgr.transfer.urls import Address

HERE = Address("http", "127.0.0.1", 80)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def answer(sent: bytes, *, key: Address = HERE) -> tuple[Response, Connection, bytes]:
    """What becomes of ``sent``, after which the server hangs up, as the answer to a request; and the request."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(sent)
        theirs.shutdown(socket.SHUT_WR)
        connection = Connection(key, ours, 5)
        try:
            response = connection.ask("/x", {"Accept": "*/*"})
        except BaseException:
            connection.close()
            raise
        return response, connection, theirs.recv(4096)


def body_of(response: Response, step: int = 7) -> bytes:
    view, whole = memoryview(bytearray(step)), b""
    while count := response.receive(view):
        whole += bytes(view[:count])
    return whole


@pytest.mark.parametrize(
    ("head", "body", "found", "last"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"hello", b"hello", False),
        (b"HTTP/1.1 200\r\ncontent-length:5 \r\n\r\n", b"hello", b"hello", False),
        (b"HTTP/1.1 200 OK\nContent-Length: 5\n\n", b"hello", b"hello", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", b"hello", b"hello", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", b"", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", b"", False),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"hi", b"hi", False),
        (
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
            b"hi",
            b"hi",
            False,
        ),
        (b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nno field\r\nContent-Length: 2\r\n\r\n", b"hi", b"hi", False),
        (b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive, Close\r\nContent-Length: 2\r\n\r\n", b"hi", b"hi", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n", b"hi", b"hi", True),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n", b"hi", b"hi", False),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"to the end", b"to the end", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n", b"abc", False),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n",
            b"A ;x=y\r\n0123456789\r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\n",
            b"0123456789!",
            False,
        ),
        # Both lengths: the chunks count, and the connection is not trusted any more.
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            b"3\r\nabc\r\n0\r\n\r\n",
            b"abc",
            True,
        ),
    ],
)
def test_a_body_ends_where_its_head_says(head: bytes, body: bytes, found: bytes, last: bool) -> None:
    response, connection, request = answer(head + body)
    assert request == b"GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n"
    assert body_of(response) == found
    assert response.is_done
    assert response.is_last is last
    connection.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"<html>\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1e3\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 40 + b"\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_said(sent: bytes) -> None:
    with pytest.raises(HttpError):
        answer(sent)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"3",
        b"3\r\nab",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabc\r\n",
        b"3\r\nabc\r\n0\r\n",
        b"xyz\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"\r\n",
        b"1" * 100 + b"\r\n",
        b"3;" + b"x" * 100_000,
    ],
)
def test_broken_chunks_are_no_body(body: bytes) -> None:
    response, connection, _ = answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    with pytest.raises(HttpError):
        body_of(response)
    connection.close()


def test_a_body_that_ends_early_is_not_done() -> None:
    response, connection, _ = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")
    assert body_of(response) == b"hello"
    assert not response.is_done
    assert (response.length, response.is_last) == (45, True)
    connection.close()


def test_a_server_that_hangs_up_instead_of_answering_is_told_from_one_that_babbles() -> None:
    with pytest.raises(ConnectionResetError):
        answer(b"")


def test_what_came_unasked_makes_a_connection_dead(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    connection = Connection(HERE, ours, 5)
    theirs.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    response = connection.ask("/x", {})
    assert body_of(response) == b"hi"
    assert not connection.is_dead()
    theirs.sendall(b"more")
    assert connection.is_dead()


def test_what_came_behind_a_body_is_the_next_answers_or_nobodys() -> None:
    response, connection, _ = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhimore")
    assert body_of(response) == b"hi"
    assert connection.is_dead()
    connection.close()


@pytest.mark.parametrize(
    ("key", "host"),
    [
        (Address("http", "h.example", 80), "h.example"),
        (Address("http", "h.example", 443), "h.example:443"),
        (Address("https", "h.example", 443), "h.example"),
        (Address("http", "::1", 8080), "[::1]:8080"),
        (Address("http", "bücher.example", 80), "xn--bcher-kva.example"),
    ],
)
def test_the_host_is_named_as_it_must_be(key: Address, host: str) -> None:
    _, connection, request = answer(b"HTTP/1.1 204 No\r\n\r\n", key=key)
    assert f"\r\nHost: {host}\r\n".encode() in request
    connection.close()


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    ],
)
def test_what_drips_is_not_waited_for_longer_than_what_is_silent(
    ends: tuple[socket.socket, socket.socket], start: bytes
) -> None:
    """A head, interim answers, the line before a chunk, the trailers: none of them ever ends."""
    ours, theirs = ends
    stop = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError):
            theirs.sendall(start)
            while not stop.wait(0.05):
                theirs.sendall(start if b"100" in start else b"1\n" if start.endswith(b"\r\n0\r\n") else b"1")

    thread = threading.Thread(target=drip)
    thread.start()
    connection = Connection(HERE, ours, 0.4)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        body_of(connection.ask("/x", {}))
    assert time.monotonic() - began < 5
    stop.set()
    thread.join()


def test_a_header_with_a_line_break_is_never_sent(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    with pytest.raises(ValueError, match="line break"):
        Connection(HERE, ours, 5).ask("/x", {"If-Range": "a\r\nX: b"})
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(1)


def test_fields_are_found_in_any_case_and_joined() -> None:
    fields = Fields(["X-Goog-Hash: crc32c=AA==", "x-goog-hash:md5=BB==", "bad name: x", ": x", 'ETag:\t"a" '])
    assert fields.get("X-GOOG-HASH") == "crc32c=AA==, md5=BB=="
    assert fields.get("etag") == '"a"'
    assert fields.get("bad name") == ""
    assert fields.get("none", "default") == "default"


@given(st.binary(max_size=300), st.booleans())
def test_no_answer_is_a_crash(noise: bytes, begins_well: bool) -> None:
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" if begins_well else b""
    with contextlib.suppress(HttpError, ConnectionResetError):
        response, connection, _ = answer(start + noise)
        with contextlib.closing(connection):
            assert len(body_of(response)) <= len(noise)
