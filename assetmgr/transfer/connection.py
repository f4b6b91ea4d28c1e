"""Connections that are kept alive and shared by all files of a run, one list an address."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from assetmgr.errors import OriginError
from assetmgr.transfer.evidence import Headers
from assetmgr.transfer.http1 import Connection, HttpError, Response
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.retry import PassingError
from assetmgr.transfer.trust import certificate_error, trusting_context
from assetmgr.transfer.urls import Address, safe_url

# A redirect's or an error's words: read to the end where short, so that the connection lives on.
_DRAIN = 64 * 1024
_DRAIN_SECONDS = 0.5


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


class _PooledAnswer:
    def __init__(self, pool: Pool, connection: Connection, response: Response, url: str) -> None:
        self._pool, self._connection, self._response = pool, connection, response
        self.status: int = response.status
        self.url = url
        self.headers: Headers = response.headers
        self._closed = False

    @property
    def length(self) -> int | None:
        return self._response.length

    def receive(self, view: memoryview) -> int:
        try:
            return self._response.receive(view)
        except (OSError, HttpError, ValueError) as error:
            self._response.is_last = True
            raise PassingError(reason(error)) from None

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if not self._response.is_done and not self._response.is_last:
            self._drain()
        if self._response.is_done and not self._response.is_last:
            self._pool.put_back(self._connection)
        else:
            self._pool.drop(self._connection)

    def _drain(self) -> None:
        """Read the rest, where it is short and there: what drips is left, and the connection with it."""
        left = self._response.length
        if left is not None and left > _DRAIN:
            return
        view = memoryview(bytearray(_DRAIN))
        came = 0
        self._connection.wait_at_most(_DRAIN_SECONDS, in_all=True)
        with contextlib.suppress(OSError, HttpError):
            while came < _DRAIN and (count := self._response.receive(view)):
                came += count

    def cut(self) -> None:
        self._connection.cut()


class Pool:
    """The connections of a run."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._lock = threading.Lock()
        self._free: dict[Address, list[Connection]] = defaultdict(list)
        self._busy: set[Connection] = set()
        self._closed = False

    def ask(
        self,
        key: Address,
        target: str,
        headers: Mapping[str, str],
        url: str,
        limits: Limits,
        method: str = "GET",
        body: Callable[[], Iterable[bytes]] = tuple,
    ) -> Answer:
        """Send a request and return the answer, on a free connection or a new one. ``limits`` are for this one.

        ``body`` gives the body from its beginning, as often as it is called.

        Raises
        ------
        PassingError
            When no answer came, for a reason that may pass.
        OriginError
            When the server's certificate is not good.
        """
        while True:
            connection = self._free_one(key)
            is_new = connection is None
            try:
                if connection is None:
                    connection = self._connect(key, limits)
                else:
                    connection.wait_at_most(limits.read_timeout)
                return _PooledAnswer(self, connection, connection.ask(target, headers, method, body()), url)
            except UnicodeError:
                if connection is not None:
                    self.drop(connection)
                    raise OriginError(
                        f"{safe_url(url)}: its login has characters that no header can carry",
                        mend="correct the token, or the login in ~/.netrc",
                    ) from None
                raise OriginError(
                    f"{safe_url(url)}: {key.host!r} is no name of a host", mend="correct the url in the manifest"
                ) from None
            except (OSError, HttpError, ValueError) as error:
                if connection is not None:
                    self.drop(connection)
                # The server may have hung up a kept connection as we wrote: that says nothing of the server. Of a PATCH
                # it may have taken a part: who sends it must look where to go on.
                if not is_new and method != "PATCH" and not self._closed and isinstance(error, ConnectionError):
                    continue
                raise certificate_error(url, error) or PassingError(reason(error)) from None
            except BaseException:
                if connection is not None:
                    self.drop(connection)
                raise

    def _free_one(self, key: Address) -> Connection | None:
        """A kept connection that still stands."""
        with self._lock:
            free = self._free[key]
            while free:
                connection = free.pop()
                if time.monotonic() - connection.free_since > self.limits.idle or connection.is_dead():
                    connection.close()
                    continue
                self._busy.add(connection)
                return connection
        return None

    def _connect(self, key: Address, limits: Limits) -> Connection:
        context = trusting_context() if key.scheme == "https" else None
        connection = Connection.open(key, context, limits.connect_timeout, limits.read_timeout)
        with self._lock:
            if not self._closed:
                self._busy.add(connection)
                return connection
        connection.close()
        raise PassingError("interrupted")

    def put_back(self, connection: Connection) -> None:
        connection.free_since = time.monotonic()
        with self._lock:
            self._busy.discard(connection)
            if not self._closed:
                self._free[connection.key].append(connection)
                return
        connection.close()

    def drop(self, connection: Connection) -> None:
        with self._lock:
            self._busy.discard(connection)
        connection.close()

    def close(self) -> None:
        """Cut every connection, so that whoever waits on one stops now."""
        with self._lock:
            self._closed = True
            free = [connection for kept in self._free.values() for connection in kept]
            self._free.clear()
            busy = list(self._busy)
        for connection in free:
            connection.close()
        for connection in busy:
            connection.cut()


def reason(error: BaseException) -> str:
    """The innermost cause of a network failure, in a few words, without what a URL may hide."""
    seen: BaseException = error
    while seen.__cause__ or seen.__context__:
        seen = seen.__cause__ or seen.__context__ or seen
    return f"{type(seen).__name__}: {seen}"[:200]
