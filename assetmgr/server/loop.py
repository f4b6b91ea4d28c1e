"""The one thread that watches all connections: takes them, reads requests off them, answers what is small and known.

A connection that asks nothing costs a place in a table, not a thread; one that drips its request costs no more, and
ends in time. What may take longer goes to the crew, and comes back when it is answered.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import functools
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Iterator

from assetmgr.server.access_log import AccessLog
from assetmgr.server.connection import Connection
from assetmgr.server.crew import Crew
from assetmgr.server.exchange import Exchange
from assetmgr.server.limits import Limits, Rates
from assetmgr.server.metrics import Metrics
from assetmgr.server.requests import RefusedError, Request
from assetmgr.server.wire import CutError, Wire

_TICK = 0.5
_DRAIN_SECONDS = 1.0
_DRAIN_MOST = 1 << 20


class Loop:
    """Serves a listening socket until `stop`."""

    def __init__(
        self,
        listener: socket.socket,
        exchange: Exchange,
        limits: Limits,
        metrics: Metrics,
        log: AccessLog | None,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._listener, self._exchange, self._limits = listener, exchange, limits
        self._metrics, self._log, self._tls = metrics, log, tls
        self._rates = Rates(limits.rate) if limits.rate else None
        self._crew = Crew(limits.connections)
        self._connections: set[Connection] = set()
        self._selector = selectors.DefaultSelector()
        self._back: collections.deque[tuple[Connection, bool]] = collections.deque()
        self._waker, self._woken = socket.socketpair()
        self._stopping = False
        self._ending = threading.Event()
        for one in (listener, self._waker, self._woken):
            one.setblocking(False)

    def connections(self, state: str | None = None) -> int:
        """How many connections there are, or are in a state; ``silent`` are those that a thread waits for."""
        every = self._connections.copy()
        if state == "silent":
            return sum(one.silent_since is not None for one in every)
        return sum(state in (None, one.state) for one in every)

    def stop(self) -> None:
        """Take no more; answer what was asked, for a while; then `run` returns. From any thread or signal handler."""
        self._stopping = True
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # it is full of wakings already, or all is over
            self._waker.send(b"\0")

    def run(self) -> None:
        """Serve until `stop`."""
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        checked = time.monotonic()
        try:
            while not self._stopping:
                for key, _ in self._selector.select(_TICK):
                    if key.data is not None:
                        self._attend(key.data)
                    elif key.fileobj is self._listener:
                        self._accept()
                    else:
                        self._come_back()
                now = time.monotonic()
                if now - checked >= _TICK:
                    checked = now
                    self._look_round(now)
        finally:
            self._end()

    # --- one connection ------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(64):
            try:
                accepted, address = self._listener.accept()
            except OSError as error:  # none is waiting any more
                if error.errno in (errno.EMFILE, errno.ENFILE) and not self._make_room():
                    self._ending.wait(0.05)
                return
            self._metrics.count("connections")
            if len(self._connections) >= self._limits.connections and not self._make_room():
                self._metrics.count("connections_refused")
                with accepted, contextlib.suppress(OSError):
                    accepted.setblocking(False)
                    if self._tls is None:
                        accepted.send(_TOO_MANY)
                continue
            self._take(accepted, address[0])

    def _take(self, accepted: socket.socket, address: str) -> None:
        try:
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                accepted = self._tls.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
        except OSError:
            accepted.close()
            return
        wire = Wire(accepted, address, self._limits, self._rates, self._ending)
        connection = Connection(accepted, address, wire, time.monotonic() + self._limits.head_seconds)
        self._connections.add(connection)
        if self._tls is not None:
            connection.state = "busy"
            self._crew.do(lambda: self._serve_alone(connection))
            return
        self._selector.register(accepted, selectors.EVENT_READ, connection)

    def _make_room(self) -> bool:
        """Close the connection that has asked nothing for longest; False where all are in use."""
        idle = [one for one in self._connections if one.state == "idle" and not one.buffer]
        if idle:
            self._close(min(idle, key=lambda one: one.until))
            return True
        silent = [(since, one) for one in self._connections if (since := one.silent_since) is not None]
        if not silent:
            return False
        _, longest = min(silent, key=lambda each: each[0])
        longest.silent_since = None
        with contextlib.suppress(OSError):  # its thread, which has it, is told so
            socket.socket.shutdown(longest.socket, socket.SHUT_RDWR)
        return True

    def _attend(self, connection: Connection) -> None:
        """Read, and answer: whatever goes wrong with one connection, the others go on."""
        try:
            self._read(connection)
        except Exception as error:  # noqa: BLE001 - told where it can be read
            self._exchange.tell_bug("a connection", error)
            self._close(connection)

    def _read(self, connection: Connection) -> None:
        got = connection.receive()
        if got is None:
            self._close(connection)
        elif connection.state == "draining":
            connection.drained += len(connection.buffer)
            connection.buffer = b""
            if connection.drained > _DRAIN_MOST:
                self._close(connection)
        elif got:
            self._go_on(connection)

    def _go_on(self, connection: Connection) -> None:
        """Answer what has come, as far as that takes no time."""
        while True:
            try:
                request = connection.next_request()
            except RefusedError as error:
                self._refuse(connection, error)
                return
            if request is None:
                if connection.buffer and connection.state == "idle":
                    connection.state, connection.until = "head", time.monotonic() + self._limits.head_seconds
                return
            goes_on = self._exchange.quick(connection, request) if self._rates is None else None
            if goes_on is None or connection.rest:
                self._selector.unregister(connection.socket)
                connection.state = "busy"
                job = None if connection.rest else request
                self._crew.do(functools.partial(self._serve, connection, job, goes_on=bool(goes_on)))
                return
            if not goes_on:
                self._drain(connection)
                return
            connection.state, connection.until = "idle", time.monotonic() + self._limits.idle_seconds
            if not connection.buffer:
                return

    def _refuse(self, connection: Connection, error: RefusedError) -> None:
        with contextlib.suppress(OSError):
            connection.socket.send(self._exchange.refuse(connection, error))
        self._drain(connection)

    def _drain(self, connection: Connection) -> None:
        """All is said. Closing at once would take from the client what it has not read, while it still sends."""
        connection.buffer = b""
        connection.state, connection.until = "draining", time.monotonic() + _DRAIN_SECONDS
        try:
            connection.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        self._connections.discard(connection)
        with contextlib.suppress(KeyError, ValueError):  # a thread has it
            self._selector.unregister(connection.socket)
        with contextlib.suppress(OSError):
            connection.socket.close()

    # --- in a thread of the crew ---------------------------------------------------------------------------------

    def _serve(self, connection: Connection, request: Request | None, *, goes_on: bool) -> None:
        """Answer one request, or send what is left of an answer, and those that have come behind it."""
        try:
            if request is None:
                rest, connection.rest = connection.rest, b""
                connection.wire.send(rest)
            else:
                goes_on = self._exchange.serve(connection, request)
            while goes_on and not self._stopping and (request := connection.next_request()) is not None:
                goes_on = self._exchange.serve(connection, request)
        except RefusedError as error:
            goes_on = False
            with contextlib.suppress(CutError):
                connection.wire.send(self._exchange.refuse(connection, error))
        except CutError:
            goes_on = False
        except Exception as error:  # noqa: BLE001 - as in `_attend`
            goes_on = False
            self._exchange.tell_bug("an answer", error)
        self._back.append((connection, goes_on))
        self._wake()

    def _serve_alone(self, connection: Connection) -> None:
        """A TLS connection from its handshake to its end: TLS keeps bytes of its own, which no selector sees."""
        try:
            for request in self._requests(connection):
                if not self._exchange.serve(connection, request) or self._stopping:
                    break
        except RefusedError as error:
            with contextlib.suppress(CutError):
                connection.wire.send(self._exchange.refuse(connection, error))
        except (CutError, OSError):
            self._metrics.count("requests_cut")
        except Exception as error:  # noqa: BLE001 - as in `_attend`
            self._exchange.tell_bug("an answer", error)
        self._back.append((connection, False))
        self._wake()

    def _requests(self, connection: Connection) -> Iterator[Request]:
        connection.wire.handshake()
        while (request := connection.wait_for_request(self._limits)) is not None:
            yield request

    def _come_back(self) -> None:
        """Take back the connections whose requests are answered."""
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)
        while self._back:
            connection, goes_on = self._back.popleft()
            if connection not in self._connections:
                continue
            if self._tls is not None or self._stopping:
                self._close(connection)
                continue
            try:
                self._selector.register(connection.socket, selectors.EVENT_READ, connection)
            except (ValueError, OSError):
                self._close(connection)
                continue
            if not goes_on:
                self._drain(connection)
                continue
            connection.state, connection.until = "idle", time.monotonic() + self._limits.idle_seconds
            if connection.buffer:
                connection.state, connection.until = "head", time.monotonic() + self._limits.head_seconds

    # --- now and then --------------------------------------------------------------------------------------------

    def _look_round(self, now: float) -> None:
        for connection in [one for one in self._connections if one.state != "busy" and one.until < now]:
            if connection.state == "head":
                self._metrics.count("slow_clients")
                self._refuse(connection, RefusedError(408, "the request took too long to come"))
            else:
                self._close(connection)
        if self._log is not None:
            self._crew.do(self._log.flush)

    def _end(self) -> None:
        """Close all; those that are being answered get their time first."""
        self._exchange.stop()
        self._selector.unregister(self._listener)
        self._listener.close()
        for connection in [one for one in self._connections if one.state != "busy"]:
            self._close(connection)
        until = time.monotonic() + self._limits.grace_seconds
        while self._connections and (left := until - time.monotonic()) > 0:
            self._selector.select(left)
            self._come_back()
        self._ending.set()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)
        until = time.monotonic() + 1.0
        while self._connections and (left := until - time.monotonic()) > 0:
            self._selector.select(left)
            self._come_back()
        for connection in list(self._connections):
            self._close(connection)
        self._selector.close()
        self._waker.close()
        self._woken.close()
        if self._log is not None:
            self._log.flush()


_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 2\r\n"
    b"X-Error-Message: there are too many connections\r\nConnection: close\r\n\r\n"
)
