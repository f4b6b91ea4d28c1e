"""Sockets and threads: HTTP/1.1 with keep-alive, one thread a connection, on loopback only.

`http.server` is not used: it parses headers with the email package and sends head and body apart, which
Nagle's algorithm turns into 23 requests a second.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import traceback
from collections.abc import Callable

from .faults import Faults
from .log import RequestLog
from .messages import Request, Response
from .sending import Wire

HEAD_LIMIT = 1 << 16
BODY_LIMIT = 1 << 24
JOIN_SECONDS = 5.0


class Server:
    """Listens from the moment it is made until `close`."""

    def __init__(self, respond: Callable[[Request], Response], faults: Faults, log: RequestLog, port: int = 0) -> None:
        self._respond = respond
        self._faults = faults
        self._log = log
        self._closing = threading.Event()
        self._connections: dict[threading.Thread, socket.socket] = {}  # the acceptor's, until it has ended
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name="hub-accept", daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """Stop listening, cut every connection, let every stall end, and wait for the threads."""
        self._closing.set()
        with contextlib.suppress(OSError):  # wakes accept(); a failure means that it is awake already
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        self._acceptor.join(JOIN_SECONDS)
        self._listener.close()
        self._faults.release()
        for connection in self._connections.values():
            with contextlib.suppress(OSError):  # its thread or its peer closed it first
                connection.shutdown(socket.SHUT_RDWR)
        until = time.monotonic() + JOIN_SECONDS
        for thread in self._connections:
            thread.join(max(0.0, until - time.monotonic()))

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except ConnectionError:
                continue
            if self._closing.is_set():
                connection.close()
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(connection,), name="hub-connection", daemon=True)
            thread.start()
            alive = [pair for pair in self._connections.items() if pair[0].is_alive()]
            self._connections = {**dict(alive), thread: connection}

    def _serve(self, connection: socket.socket) -> None:
        wire = Wire(connection, self._faults, self._log, self._closing)
        reader = Reader(connection)
        # The client went away, or the hub closes: only this connection ends.
        with connection, contextlib.suppress(OSError):
            while not self._closing.is_set() and (request := reader.next()) is not None:
                if not wire.answer(request, self._response(request)):
                    break

    def _response(self, request: Request) -> Response:
        try:
            return self._respond(request)
        except Exception:  # noqa: BLE001 - a mistake in the hub itself: shown to whoever runs the test
            return Response.text(500, traceback.format_exc(), (("X-Error-Message", "the test hub failed"),))


class Reader:
    """Takes requests off a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""

    def next(self) -> Request | None:
        """Return the next request; None at the end, or where what came is no request."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > HEAD_LIMIT or not self._more():
                return None
        head, self._buffer = self._buffer[:end].decode("latin-1"), self._buffer[end + 4 :]
        line, *rest = head.split("\r\n")
        words = line.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return None
        headers: dict[str, str] = {}
        for field in rest:
            name, _, value = field.partition(":")
            headers[name.strip().lower()] = value.strip()
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > BODY_LIMIT or "transfer-encoding" in headers:
            return None
        while len(self._buffer) < int(length):
            if not self._more():
                return None
        body, self._buffer = self._buffer[: int(length)], self._buffer[int(length) :]
        if words[2] == "HTTP/1.0":
            headers.setdefault("connection", "close")
        return Request(words[0], _origin_form(words[1]), headers, body)

    def _more(self) -> bool:
        piece = self._connection.recv(HEAD_LIMIT)
        self._buffer += piece
        return bool(piece)


def _origin_form(target: str) -> str:
    """Return the path of a target that came as a whole URL, as through a proxy."""
    if target.startswith("http://"):
        return "/" + target.removeprefix("http://").partition("/")[2]
    return target
