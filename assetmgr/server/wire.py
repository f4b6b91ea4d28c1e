"""Bytes down one connection, to a client that may be slow: plain, where the kernel sends files itself, or TLS."""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable

from assetmgr.server.limits import Limits, Rates

# Bytes that the kernel is given to send at a time (with more, one client gets less), and that are read where it cannot.
_SEND_MOST = 512 << 10
_READ = 256 << 10
_MORE = getattr(socket, "MSG_MORE", 0)


class CutError(OSError):
    """The client went, or was too slow; ``is_slow`` tells which."""

    def __init__(self, words: str, *, is_slow: bool = False) -> None:
        super().__init__(words)
        self.is_slow = is_slow


class Wire:
    """One connection's sending side. ``sent`` counts what went of the body that is being sent."""

    def __init__(
        self, connection: socket.socket, address: str, limits: Limits, rates: Rates | None, ending: threading.Event
    ) -> None:
        self.socket, self.address = connection, address
        self._limits, self._rates, self._ending = limits, rates, ending
        self._kernel_sends = hasattr(os, "sendfile") and not isinstance(connection, ssl.SSLSocket)
        self.sent = 0

    def is_from_here(self) -> bool:
        """Whether the client is on this machine."""
        try:
            here: object = self.socket.getsockname()[0]
        except OSError:
            return False
        return here == self.address

    def handshake(self) -> None:
        """Agree on TLS, within the time for a request's head.

        Raises
        ------
        CutError
        """
        assert isinstance(self.socket, ssl.SSLSocket)
        until = time.monotonic() + self._limits.head_seconds
        while True:
            try:
                self.socket.do_handshake()
                return
            except ssl.SSLWantReadError:
                wait_readable(self.socket, max(0.0, until - time.monotonic()))
            except ssl.SSLWantWriteError:
                wait_writable(self.socket, max(0.0, until - time.monotonic()))
            except OSError as error:
                raise CutError(f"no TLS was agreed upon: {error}") from None
            if time.monotonic() > until:
                raise CutError("no TLS was agreed upon in time", is_slow=True)

    def send(self, data: bytes, *, more: bool = False) -> None:
        """Send bytes; ``more``: a file follows at once.

        Raises
        ------
        CutError
        """
        flags = _MORE if more and self._kernel_sends else 0
        view = memoryview(data)
        self._pour(len(view), lambda at, count: self._send(view[at : at + count], flags))

    def send_file(self, file: int, start: int, count: int) -> None:
        """Send a part of an open file. A file that ends before it does is a fault of the store: `CutError`."""
        if self._kernel_sends:
            out = self.socket.fileno()
            self._pour(count, lambda at, most: os.sendfile(out, file, start + at, most))
            return
        self._pour(count, lambda at, most: self._send_read(file, start + at, most))

    def _send_read(self, file: int, at: int, most: int) -> int:
        view, sent = memoryview(read_at(file, at, min(most, _READ))), 0
        while sent < len(view):
            went = self._send(view[sent:], 0)
            if went < 0:
                if sent:
                    return sent
                raise BlockingIOError
            sent += went
        return sent

    def _send(self, data: memoryview, flags: int) -> int:
        try:
            return self.socket.send(data, flags) if flags else self.socket.send(data)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError, BlockingIOError):
            return -1

    def _pour(self, total: int, send: Callable[[int, int], int]) -> None:
        """Send so many bytes by ``send(at, most)``, which returns how many went; -1, or an error, is none just now."""
        rates, at, mark = self._rates, 0, 0
        most = min(_SEND_MOST, rates.piece) if rates else _SEND_MOST
        allowed = 0 if rates else total
        until = time.monotonic() + self._limits.stall_seconds
        while at < total:
            if rates and at == allowed:
                allowed = min(total, at + most)
                until += self._pause(rates.take(self.address, allowed - at))
            try:
                went = send(at, min(most, allowed - at))
            except BlockingIOError:
                went = -1
            except OSError as error:
                raise CutError(f"the client went: {error}") from None
            if went == 0:
                raise CutError("the file ends before its end")
            if went > 0:
                at += went
                self.sent += went
            now = time.monotonic()
            if at - mark >= self._limits.stall_bytes:
                mark, until = at, now + self._limits.stall_seconds
            elif now > until:
                raise CutError("the client takes too slowly", is_slow=True)
            if went < 0:
                wait_writable(self.socket, max(0.05, until - now))
                if self._ending.is_set():
                    raise CutError("the server stops")

    def _pause(self, seconds: float) -> float:
        if seconds > 0 and self._ending.wait(seconds):
            raise CutError("the server stops")
        return max(seconds, 0.0)


def wait_writable(connection: socket.socket, seconds: float) -> None:
    """Wait until a connection takes bytes again, or the time is over."""
    _wait(connection, seconds, write=True)


def wait_readable(connection: socket.socket, seconds: float) -> None:
    """Wait until a connection gives bytes, or the time is over."""
    _wait(connection, seconds, write=False)


def _wait(connection: socket.socket, seconds: float, *, write: bool) -> None:
    number = connection.fileno()
    if number < 0:
        raise CutError("the connection is closed")
    if hasattr(select, "poll"):  # `select` knows no large numbers of files
        poll = select.poll()
        poll.register(number, select.POLLOUT if write else select.POLLIN)
        poll.poll(seconds * 1000)
    else:
        select.select([] if write else [number], [number] if write else [], [], seconds)


def read_at(file: int, at: int, count: int) -> bytes:
    """Bytes of an open file that nobody else reads."""
    if hasattr(os, "pread"):
        return os.pread(file, count, at)
    os.lseek(file, at, os.SEEK_SET)
    return os.read(file, count)
