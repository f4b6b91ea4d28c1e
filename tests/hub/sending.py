"""One response down one socket: fast where nothing is wrong, exactly wrong where a fault says so."""

from __future__ import annotations

import contextlib
import http
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from .content import CHUNK, Content
from .faults import NO_FAULT, Fault, Faults
from .log import RequestLog
from .messages import Request, Response, narrowed

if sys.platform == "linux":
    import fcntl
    import termios

ONE_SEND = 1 << 16
FILE_CHUNK = 8 << 20
TICK = 0.05
PHRASES = {status.value: status.phrase for status in http.HTTPStatus}


@dataclass(frozen=True)
class Wire:
    """A connection and what its answers need of the hub."""

    socket: socket.socket
    faults: Faults
    log: RequestLog
    closing: threading.Event

    def answer(self, request: Request, response: Response) -> bool:
        """Send a response as the hub's faults would have it; return whether the connection can go on."""
        whole = response
        response = narrowed(request, whole)
        fault = self.faults.pick(request, response)
        if fault.delay:
            self.closing.wait(fault.delay)
            self._raise_if_closing()
        if fault.drop:
            self.log.add(request, 0, 0)
            return False
        if fault.status is not None:
            response = Response.text(fault.status, "")
            response = replace(response, content=Content.of(fault.body or b""), end=len(fault.body or b""))
            if fault.retry_after is not None:
                response = response.over({"Retry-After": str(fault.retry_after)})
        elif fault.body is not None:
            response = narrowed(request, replace(whole, content=Content.of(fault.body), end=len(fault.body)))
        if fault.headers:
            response = response.over(fault.headers)
        asked_to_close = request.headers.get("connection", "").lower() == "close"
        has_body = request.method != "HEAD" and response.status not in (204, 304)
        lengths = [value for name, value in fault.headers.items() if name.lower() == "content-length"]
        sized = not fault.endless and None not in lengths
        stays = sized and not lengths and not asked_to_close
        head = _head(request, response, sized=sized, stays=stays)
        length = response.end - response.start if has_body else 0
        if fault is NO_FAULT or not fault.needs_body:
            self._send_plain(request, response, head, length)
            return stays
        return self._send_faulty(request, response, head, length, fault) and stays

    def _send_plain(self, request: Request, response: Response, head: bytes, length: int) -> None:
        place = self.log.add(request, response.status, length)
        content, start = response.content, response.start
        if length <= ONE_SEND:
            body = content.read(start, start + length) if length else b""
            self.socket.sendall(head + body)
            if len(body) != length:
                raise ConnectionAbortedError(f"{content.source!r} is shorter than it was")
            return
        self.socket.sendall(head, getattr(socket, "MSG_MORE", 0))
        sent = 0
        try:
            for count in self._pour(content, start, length):
                sent += count
        finally:
            if sent != length:
                self.log.correct(place, sent)
        if sent != length:
            raise ConnectionAbortedError(f"{content.source!r} is shorter than it was")

    def _pour(self, content: Content, start: int, length: int) -> Iterator[int]:
        """Send a long span, a file by sendfile where the system has it; yield how much went each time."""
        if not isinstance(content.source, Path):
            for piece in content.chunks(start, start + length):
                self.socket.sendall(piece)
                yield len(piece)
            return
        with content.source.open("rb") as file:
            sent = 0
            while sent < length and (count := self.socket.sendfile(file, start + sent, min(FILE_CHUNK, length - sent))):
                sent += count
                yield count

    def _send_faulty(self, request: Request, response: Response, head: bytes, length: int, fault: Fault) -> bool:
        """Send head and body through a fault; return whether all of the body went."""
        cuts = [cut for cut in (fault.reset_after, fault.truncate_after) if cut is not None]
        stop = min([length, *cuts])
        place = self.log.add(request, response.status, stop)
        sent = 0
        try:
            self.socket.sendall(head)
            for piece in self._pieces(response, stop, fault):
                self.socket.sendall(piece)
                sent += len(piece)
        finally:
            if sent != stop:
                self.log.correct(place, sent)
        if fault.reset_after is not None and fault.reset_after == stop:
            self._reset()
        return stop == length and not cuts

    def _pieces(self, response: Response, stop: int, fault: Fault) -> Iterator[bytes]:
        """Yield what goes out, pausing where the fault stalls or throttles."""
        began = time.monotonic()
        chunk = max(1, min(CHUNK, int(fault.throttle * TICK))) if fault.throttle else CHUNK
        stall = fault.stall_after
        sent = 0
        for part in self._bytes(response, stop, fault, chunk):
            piece = part
            if stall is not None and sent + len(piece) >= stall:
                yield piece[: stall - sent]
                self.faults.stall(fault, self.closing)
                self._raise_if_closing()
                piece, sent, stall = piece[stall - sent :], stall, None
            sent += len(piece)
            yield piece
            if fault.throttle:
                self.closing.wait(max(0.0, began + sent / fault.throttle - time.monotonic()))
            self._raise_if_closing()
        if stall == sent == 0:
            self.faults.stall(fault, self.closing)

    def _raise_if_closing(self) -> None:
        if self.closing.is_set():
            raise ConnectionAbortedError("the hub closes")

    def _bytes(self, response: Response, stop: int, fault: Fault, chunk: int) -> Iterator[bytes]:
        at = response.start
        for part in response.content.chunks(response.start, response.start + stop, chunk):
            piece = part
            if fault.flip_at is not None and at <= fault.flip_at < at + len(piece):
                changed = bytearray(piece)
                changed[fault.flip_at - at] ^= 0xFF
                piece = bytes(changed)
            at += len(piece)
            yield piece
        while fault.endless:
            yield bytes(chunk)

    def _reset(self) -> None:
        """End the connection by a TCP reset, after the peer's side has what was sent (bounded wait)."""
        if sys.platform == "linux":
            until = time.monotonic() + 1
            while time.monotonic() < until and not self.closing.wait(0.001):
                if struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, b"\0\0\0\0"))[0] == 0:
                    break
        with contextlib.suppress(OSError):  # the peer may have gone first
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _head(request: Request, response: Response, *, sized: bool, stays: bool) -> bytes:
    lines = [f"HTTP/1.1 {response.status} {PHRASES.get(response.status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in response.headers]
    if sized and response.status != 304 and response.header("Content-Length") is None:
        length = response.end - response.start
        if request.method == "HEAD" and response.claimed is not None:
            length = response.claimed
        lines.append(f"Content-Length: {length}")
    if not stays:
        lines.append("Connection: close")
    lines.append("\r\n")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")
