"""One client's connection: what came and was not read yet, and until when something must come."""

from __future__ import annotations

import socket
import ssl
import time
from typing import Literal

from assetmgr.server.limits import Limits
from assetmgr.server.requests import END, RefusedError, Request, check_begin, parse_head
from assetmgr.server.wire import CutError, Wire, wait_readable

_RECEIVE = 64 << 10


class Connection:
    """Owned by the loop while it waits for a request, and by one thread while that is answered.

    Attributes
    ----------
    state
        ``idle``: nothing has come yet; ``head``: some of a request has; ``busy``: a thread answers; ``draining``: all
        is said, and what the client still sends is thrown away, so that it reads what was said.
    rest
        What of an answer the kernel had no room for.
    drained
        How many bytes were thrown away.
    until
        When, by the monotonic clock, the loop's patience ends.
    silent_since
        Since when, by the same clock, a thread waits for a request of which nothing has come; None: for none.
    """

    __slots__ = ("address", "buffer", "drained", "rest", "silent_since", "socket", "state", "until", "wire")

    def __init__(self, connection: socket.socket, address: str, wire: Wire, until: float) -> None:
        self.socket, self.address, self.wire = connection, address, wire
        self.buffer = self.rest = b""
        self.drained = 0
        self.state: Literal["idle", "head", "busy", "draining"] = "idle"
        self.until = until
        self.silent_since: float | None = None

    def receive(self) -> bool | None:
        """Take what has come: whether there was anything; None where the client has ended or gone."""
        try:
            data = self.socket.recv(_RECEIVE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError:
            return None
        if not data:
            return None
        self.buffer = self.buffer + data if self.buffer else data
        return True

    def next_request(self) -> Request | None:
        """The next request, where all of its head is there.

        Raises
        ------
        RefusedError
            When what came is none.
        """
        end = self.buffer.find(END)
        if end < 0:
            if self.buffer:
                check_begin(self.buffer)
            return None
        head, self.buffer = self.buffer[:end], self.buffer[end + 4 :]
        if end > 1 << 15:
            raise RefusedError(431, "the head is too large")
        return parse_head(head)

    def wait_for_request(self, limits: Limits) -> Request | None:
        """The next request, waited for by a thread; None at the end, or after silence."""
        begun, now = bool(self.buffer), time.monotonic()
        until = now + (limits.head_seconds if begun else limits.idle_seconds)
        while (request := self.next_request()) is None:
            if self.buffer and not begun:
                begun, until = True, time.monotonic() + limits.head_seconds
            self.silent_since = None if begun else now
            more = self._more(until)
            self.silent_since = None
            if not more:
                if begun:
                    raise RefusedError(408, "the request took too long to come")
                return None
        return request

    def body(self, length: int, limits: Limits) -> bytes:
        """So many bytes of body."""
        until = time.monotonic() + limits.head_seconds
        while len(self.buffer) < length:
            if not self._more(until):
                raise RefusedError(408, "the body took too long to come")
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return body

    def _more(self, until: float) -> bool:
        """Wait for more bytes; False when the time is over.

        Raises
        ------
        CutError
            When the client is gone.
        """
        while True:
            got = self.receive()
            if got is None:
                raise CutError("the client went")
            if got:
                return True
            left = until - time.monotonic()
            if left <= 0:
                return False
            wait_readable(self.socket, left)
