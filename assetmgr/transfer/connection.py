"""Connections that are kept alive and shared by all files of a run, one list an address."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Protocol

from assetmgr.errors import OriginError
from assetmgr.transfer.evidence import Headers
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.retry import PassingError
from assetmgr.transfer.trust import certificate_error, trusting_context
from assetmgr.transfer.urls import Address, safe_url

# A redirect's or an error's words: read to the end where short, so that the connection lives on.
_DRAIN = 64 * 1024


class Answer(Protocol):
    """One response, its body still to come."""

    status: int
    url: str
    """Who answered, after redirects."""

    @property
    def headers(self) -> Headers: ...
    @property
    def length(self) -> int | None:
        """How many bytes the body has yet to bring, where that is known."""

    def receive(self, view: memoryview) -> int:
        """Fill a view with what is there; 0 at the end of the body, also where that comes too early."""

    def close(self) -> None:
        """Be done with it. The connection lives on where the body was taken to its end, or is short."""

    def cut(self) -> None:
        """End it from another thread: who waits on it wakes."""


class _Response(http.client.HTTPResponse):
    def receive(self, view: memoryview) -> int:
        """Like ``readinto``, but returns what one system call brought: a mark can follow every arrival."""
        if self.isclosed():
            return 0
        if self.chunked or self.length is None:
            data = self.read1(len(view))
            view[: len(data)] = data
            return len(data)
        count = self.fp.readinto1(view[: self.length])
        self.length -= count
        if self.length == 0 or count == 0:
            self._close_conn()  # type: ignore[attr-defined]
        return int(count)


class _Connection:
    """A connection and the answer that it is at."""

    def __init__(self, key: Address, connection: http.client.HTTPConnection) -> None:
        self.key = key
        self.http = connection
        self.free_since = 0.0

    def is_dead(self) -> bool:
        """Whether the server hung up, or sent what nobody asked for, while the connection was idle."""
        if self.http.sock is None:
            return True
        try:
            if hasattr(select, "poll"):
                poll = select.poll()
                poll.register(self.http.sock, select.POLLIN)
                return bool(poll.poll(0))
            return bool(select.select([self.http.sock], [], [], 0)[0])
        except (OSError, ValueError):
            return True

    def cut(self) -> None:
        """End it from another thread: who waits on it wakes."""
        sock = self.http.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class _HttpAnswer:
    def __init__(self, pool: Pool, connection: _Connection, response: _Response, url: str) -> None:
        self._pool, self._connection, self._response = pool, connection, response
        self.status: int = response.status
        self.url = url
        self._closed = False

    @property
    def headers(self) -> Headers:
        return self._response.headers

    @property
    def length(self) -> int | None:
        return None if self._response.chunked else self._response.length

    def receive(self, view: memoryview) -> int:
        try:
            return self._response.receive(view)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise PassingError(reason(error)) from None

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        left = self._response.length
        if not self._response.isclosed() and left is not None and left <= _DRAIN:
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                self._response.read()
        if self._response.isclosed() and not self._response.will_close and not self._response.length:
            self._pool.put_back(self._connection)
        else:
            self._response.close()
            self._pool.drop(self._connection)

    def cut(self) -> None:
        self._connection.cut()


class Pool:
    """The connections of a run."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._free: dict[Address, list[_Connection]] = defaultdict(list)
        self._busy: set[_Connection] = set()
        self._closed = False

    def ask(self, key: Address, target: str, headers: Mapping[str, str], url: str) -> Answer:
        """Send a GET and return the answer, on a free connection or a new one.

        Raises
        ------
        PassingError
            When no answer came, for a reason that may pass.
        OriginError
            When the server's certificate is not good.
        """
        while True:
            connection, is_new = self._take(key)
            try:
                if is_new:
                    connection.http.connect()
                    assert connection.http.sock is not None
                    connection.http.sock.settimeout(self._limits.read_timeout)
                connection.http.request("GET", target, headers=dict(headers))
                response = connection.http.getresponse()
            except ssl.SSLCertVerificationError as error:
                self.drop(connection)
                raise certificate_error(url, error) or error from None
            except (http.client.InvalidURL, UnicodeError):
                self.drop(connection)
                raise OriginError(
                    f"{safe_url(url)}: leads to what is no http or https URL", mend="correct the url in the manifest"
                ) from None
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.drop(connection)
                # The server may have hung up a kept connection as we wrote: that says nothing of the server.
                if not is_new and not self._closed and isinstance(error, (ConnectionError, http.client.BadStatusLine)):
                    continue
                raise PassingError(reason(error)) from None
            except BaseException:
                self.drop(connection)
                raise
            assert isinstance(response, _Response)
            return _HttpAnswer(self, connection, response, url)

    def _take(self, key: Address) -> tuple[_Connection, bool]:
        with self._lock:
            if self._closed:
                raise PassingError("interrupted")
            free = self._free[key]
            while free:
                connection = free.pop()
                if time.monotonic() - connection.free_since > self._limits.idle or connection.is_dead():
                    connection.http.close()
                    continue
                self._busy.add(connection)
                return connection, False
            connection = _Connection(key, self._new(key))
            self._busy.add(connection)
            return connection, True

    def _new(self, key: Address) -> http.client.HTTPConnection:
        timeout = self._limits.connect_timeout
        new: http.client.HTTPConnection
        if key.scheme == "https":
            new = http.client.HTTPSConnection(key.host, key.port, timeout=timeout, context=trusting_context())
        else:
            new = http.client.HTTPConnection(key.host, key.port, timeout=timeout)
        new.response_class = _Response
        return new

    def put_back(self, connection: _Connection) -> None:
        connection.free_since = time.monotonic()
        with self._lock:
            self._busy.discard(connection)
            if not self._closed:
                self._free[connection.key].append(connection)
                return
        connection.http.close()

    def drop(self, connection: _Connection) -> None:
        with self._lock:
            self._busy.discard(connection)
        connection.http.close()

    def close(self) -> None:
        """Cut every connection, so that whoever waits on one stops now."""
        with self._lock:
            self._closed = True
            free = [connection for kept in self._free.values() for connection in kept]
            self._free.clear()
            busy = list(self._busy)
        for connection in free:
            connection.http.close()
        for connection in busy:
            connection.cut()


def reason(error: BaseException) -> str:
    """The innermost cause of a network failure, in a few words, without what a URL may hide."""
    seen: BaseException = error
    while seen.__cause__ or seen.__context__:
        seen = seen.__cause__ or seen.__context__ or seen
    return f"{type(seen).__name__}: {seen}"[:200]
