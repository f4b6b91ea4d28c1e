"""HTTP/1.1 (RFC 9112) as one who asks for files, and may send some, speaks it: one answer after another.

`http.client` parses every head as an e-mail, which costs more than fetching a small file, and reads a body through a
buffer that hides how much has come. Nothing here retries or judges: what is no HTTP is an `HttpError`.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from assetmgr.transfer.urls import Address

if TYPE_CHECKING:
    import ssl

_LONGEST_HEAD = 64 * 1024
_LONGEST_LINE = 4096
# A head, or the line before a chunk, may take so many times as long as the wait for its first byte.
_DRIP_TIMES = 2
_READ = 16 * 1024
# Bytes: enough for 1 GB/s at the round-trip time that the handshake had; the most before the system's choice is better.
_LEAST_WINDOW = 256 * 1024
_WINDOW_A_MICROSECOND = 1000
_MOST_WINDOW = 4 << 20
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: .*)?", re.ASCII)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?\r?\n", re.S)
_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


class HttpError(Exception):
    """What came is no HTTP/1.1."""


class Fields:
    """The header fields of an answer, by name in any case. What comes several times is joined by commas."""

    __slots__ = ("_values",)

    def __init__(self, lines: list[str]) -> None:
        self._values: dict[str, str] = {}
        last = ""
        for line in lines:
            if line[:1] in (" ", "\t"):  # folded, as once was allowed
                if last:
                    self._values[last] += " " + line.strip()
                continue
            name, colon, value = line.partition(":")
            last = name.lower() if colon and _FIELD_NAME.fullmatch(name) else ""
            if last:  # else no field, and not worth losing a file for
                before = self._values.get(last)
                value = value.strip(" \t")
                self._values[last] = value if before is None else f"{before}, {value}"

    def get(self, name: str, default: str = "", /) -> str:
        return self._values.get(name.lower(), default)

    def tokens(self, name: str) -> list[str]:
        """A field that is a list of words, such as Connection."""
        return [word.strip().lower() for word in self.get(name).split(",")]


class Connection:
    """A connection to one address, and what has come on it that nobody has taken yet."""

    def __init__(self, key: Address, sock: socket.socket, read_timeout: float) -> None:
        self.key = key
        self.free_since = 0.0
        self._socket = sock
        self._rest = b""
        host = f"[{key.host}]" if ":" in key.host else key.host.encode("idna").decode("ascii")
        usual = key.port == (443 if key.scheme == "https" else 80)
        self._host = host if usual else f"{host}:{key.port}"
        self._poll = None
        if hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(sock, select.POLLIN)
        self._patience = read_timeout
        self._deadline: float | None = None
        sock.settimeout(read_timeout)

    @classmethod
    def open(
        cls, key: Address, context: ssl.SSLContext | None, connect_timeout: float, read_timeout: float
    ) -> Connection:
        """Connect; with a ``context``, by TLS.

        Raises
        ------
        OSError
            When nobody answers, or not as who it should be.
        """
        sock = socket.create_connection((key.host, key.port), timeout=connect_timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _fit_window(sock)
            if context is not None:
                sock = context.wrap_socket(sock, server_hostname=key.host)
            return cls(key, sock, read_timeout)
        except BaseException:
            sock.close()
            raise

    def ask(self, target: str, headers: Mapping[str, str], method: str = "GET", body: Iterable[bytes] = ()) -> Response:
        """Send a request, and read the head of its answer. How long a ``body`` is, the headers say.

        A server that has heard enough of a body answers before its end, and hangs up: that answer counts.

        Raises
        ------
        ConnectionResetError
            When the server hung up instead.
        HttpError
            When it answers with anything but HTTP/1.
        OSError
            When it does not answer.
        """
        lines = [f"{method} {target} HTTP/1.1\r\nHost: {self._host}\r\n"]
        for name, value in headers.items():
            if "\r" in value or "\n" in value:
                raise ValueError(f"a line break in the {name} header")
            lines.append(f"{name}: {value}\r\n")
        lines.append("\r\n")
        self._socket.sendall("".join(lines).encode("latin-1"))
        fault = self._send(body)
        until = time.monotonic() + _DRIP_TIMES * self._patience
        while True:
            try:
                response = self._response(until, has_body=method != "HEAD")
            except (OSError, HttpError):
                if fault is not None:
                    raise fault from None
                raise
            if response.status >= 200:
                response.is_last = response.is_last or fault is not None
                return response

    def _send(self, body: Iterable[bytes]) -> OSError | None:
        """Send a body; give back what ended it early."""
        for piece in body:
            try:
                self._socket.sendall(piece)
            except OSError as error:
                return error
        return None

    def _response(self, until: float, *, has_body: bool = True) -> Response:
        while (end := _END_OF_HEAD.search(self._rest)) is None:
            if len(self._rest) > _LONGEST_HEAD:
                raise HttpError("an endless head")
            if not self._receive_more(until):
                if self._rest:
                    raise HttpError("the answer ended in its head")
                raise ConnectionResetError("the server hung up without an answer")
        head, self._rest = self._rest[: end.start()], self._rest[end.end() :]
        first, *lines = head.decode("latin-1").replace("\r\n", "\n").split("\n")
        status = _STATUS_LINE.fullmatch(first)
        if status is None:
            raise HttpError(f"{first[:40]!r} for a status line")
        return Response(self, int(status[2]), Fields(lines), is_old=status[1] == "0", has_body=has_body)

    def _receive_more(self, until: float) -> bool:
        """Take what comes next; False when the server hung up. What drips is no better than what is silent."""
        self._keep_deadline()
        more = self._socket.recv(_READ)
        if time.monotonic() > until:
            raise TimeoutError(f"the head of the answer did not end in {_DRIP_TIMES * self._patience:.0f} s")
        self._rest += more
        return bool(more)

    def take(self, view: memoryview) -> int:
        """Fill a view with what is there, waiting only where there is nothing; 0 when the server hung up."""
        rest = self._rest
        if not rest:
            self._keep_deadline()
            return self._socket.recv_into(view)
        count = min(len(rest), len(view))
        view[:count] = rest[:count]
        self._rest = rest[count:]
        return count

    def line_end(self) -> float:
        """When a line that begins now, or several that belong together, must have ended."""
        return time.monotonic() + _DRIP_TIMES * self._patience

    def take_line(self, until: float) -> bytes:
        """The next line, with its end."""
        while (end := self._rest.find(b"\n")) < 0:
            if len(self._rest) > _LONGEST_LINE:
                raise HttpError("an endless line among the chunks")
            if not self._receive_more(until):
                raise HttpError("the body ended among its chunks")
        line, self._rest = self._rest[: end + 1], self._rest[end + 1 :]
        return line

    def is_dead(self) -> bool:
        """Whether the server hung up, or sent what nobody asked for, while the connection was idle."""
        if self._rest:
            return True
        try:
            if self._poll is not None:
                return bool(self._poll.poll(0))
            return bool(select.select([self._socket], [], [], 0)[0])
        except (OSError, ValueError):
            return True

    def wait_at_most(self, seconds: float, *, in_all: bool = False) -> None:
        """Wait no longer than this for the next bytes, from now on; ``in_all``, for all that are yet to come."""
        self._patience = seconds
        self._deadline = time.monotonic() + seconds if in_all else None
        self._socket.settimeout(seconds)

    def _keep_deadline(self) -> None:
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the answer did not end in time")
            self._socket.settimeout(left)

    def cut(self) -> None:
        """End it from another thread: who waits on it wakes."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()


def _fit_window(sock: socket.socket) -> None:
    """Let no more lie between a near server and us than keeps the flow up: after a kill it is sent again.

    Left alone, the system lets megabytes gather on each side of a connection whose reader is busy hashing. A distant
    server needs them; there the system's own choice stands.
    """
    if not hasattr(socket, "TCP_INFO"):
        return
    with contextlib.suppress(OSError, struct.error):
        (microseconds,) = struct.unpack_from("=I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 72), 68)
        window = max(_LEAST_WINDOW, microseconds * _WINDOW_A_MICROSECOND)
        if window <= _MOST_WINDOW:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)


class Response:
    """The answer that a connection is at, its body still to come.

    Attributes
    ----------
    length
        How many bytes of the body are yet to come; None where nobody knows.
    is_done
        The body was taken to its end.
    is_last
        The connection ends with this answer.
    """

    def __init__(
        self, connection: Connection, status: int, headers: Fields, *, is_old: bool, has_body: bool = True
    ) -> None:
        self._connection = connection
        self.status = status
        self.headers = headers
        self.length: int | None = None
        self._chunk: int | None = None  # of a chunked body: what its present chunk has yet to bring
        self._begun = False
        coding, words = headers.get("Transfer-Encoding").strip().lower(), headers.tokens("Connection")
        self.is_last = "close" in words or (is_old and "keep-alive" not in words)
        if status < 200 or status in (204, 304) or not has_body:
            self.length = 0
        elif coding:
            if coding != "chunked":
                raise HttpError(f"Transfer-Encoding {coding[:40]!r}, which was not asked for")
            self._chunk = 0
            self.is_last = self.is_last or bool(headers.get("Content-Length"))  # two lengths: one of them lies
        else:
            self.length = _content_length(headers)
            self.is_last = self.is_last or self.length is None
        self.is_done = self.length == 0

    def receive(self, view: memoryview) -> int:
        """Fill a view with what is there; 0 at the end of the body, also where that comes too early."""
        if self.is_done:
            return 0
        if self._chunk is not None:
            return self._receive_chunk(view)
        if self.length is None:
            count = self._connection.take(view)
            self.is_done = count == 0
            return count
        count = self._connection.take(view[: self.length])
        self.length -= count
        if self.length == 0:
            self.is_done = True
        elif count == 0:
            self.is_last = True
        return count

    def _receive_chunk(self, view: memoryview) -> int:
        assert self._chunk is not None
        if self._chunk == 0:
            until = self._connection.line_end()
            if self._begun and self._connection.take_line(until).strip(b"\r\n"):
                raise HttpError("a chunk longer than its length")
            self._begun = True
            line = self._connection.take_line(until)
            size = _CHUNK_SIZE.fullmatch(line)
            if size is None:
                raise HttpError(f"{line[:40]!r} for the length of a chunk")
            self._chunk = int(size[1], 16)
            if self._chunk == 0:
                while self._connection.take_line(until).strip(b"\r\n"):  # trailers, of which none is wanted
                    pass
                self.is_done = True
                return 0
        count = self._connection.take(view[: self._chunk])
        if not count:
            raise HttpError("the body ended among its chunks")
        self._chunk -= count
        return count


def _content_length(headers: Fields) -> int | None:
    """What Content-Length says; several that agree count as one. What is no number is no length (RFC 9112 6.3)."""
    lengths = set(headers.tokens("Content-Length"))
    if lengths == {""}:
        return None
    if len(lengths) > 1 or not _DIGITS.fullmatch(length := lengths.pop()):
        raise HttpError(f"Content-Length {headers.get('Content-Length')[:40]!r}")
    return int(length)
