"""From a request to the last byte of its answer."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterator

from assetmgr.server.access_log import AccessLog
from assetmgr.server.answers import Answer, Part, head_of, json_answer, part_of, refusal
from assetmgr.server.catalog import Catalogs
from assetmgr.server.connection import Connection
from assetmgr.server.holding import fits, open_held
from assetmgr.server.limits import Limits
from assetmgr.server.metrics import Metrics
from assetmgr.server.pull_through import PullThrough
from assetmgr.server.requests import RefusedError, Request
from assetmgr.server.routes import Outlook, check_body, check_token, route
from assetmgr.server.wire import CutError, Wire, read_at

# Bytes up to which a file is answered by the loop itself once it has been given out, and how many such are remembered.
SMALL = 64 << 10
_READY_MOST = 20_000
# Bytes of bodies that are held at once, of all clients together.
_BODIES_MOST = 64 << 20
_CLOSING_STATUSES = {400, 408, 411, 413, 414, 431}


class Exchange:
    """Answers requests: `quick` without ever waiting, `serve` in a thread of its own."""

    def __init__(
        self,
        catalogs: Catalogs,
        outlook: Outlook,
        limits: Limits,
        metrics: Metrics,
        log: AccessLog | None,
        through: PullThrough | None,
        report: Callable[[str], None],
    ) -> None:
        self._catalogs, self._outlook, self._limits = catalogs, outlook, limits
        self._metrics, self._log, self._through, self._report = metrics, log, through, report
        # Files that were given out, by target: routed once for as long as the receipts stay as they are.
        self._ready: tuple[int, dict[str, Answer]] = 0, {}
        self._lock = threading.Lock()
        self._room = _BODIES_MOST

    def stop(self) -> None:
        """Let nobody wait for a pull any more."""
        if self._through is not None:
            self._through.stop()

    def quick(self, connection: Connection, request: Request) -> bool | None:
        """Answer where that takes no time: whether the connection goes on. None: it is for `serve`."""
        number, ready = self._ready
        answer = ready.get(request.target)
        if answer is None or request.method == "POST" or not self._catalogs.is_current(number):
            return None
        held = answer.held
        assert held is not None
        started = time.perf_counter()
        try:
            check_token(request, self._outlook.token)
            part = part_of(request.method, request.headers, held.stamp.size, answer.etag)
            if part.end - part.start > SMALL and request.method == "GET":
                return None
            file = open_held(held)
        except RefusedError:
            return None
        try:
            body = read_at(file, part.start, part.end - part.start) if request.method == "GET" else b""
            is_proved = fits(held, file)  # it may have been changed while it was read
        finally:
            os.close(file)
        if not is_proved or (request.method == "GET" and len(body) != part.end - part.start):
            return None
        data = head_of(request, answer, part, keeps=request.keeps) + body
        try:
            went = connection.socket.send(data)
        except BlockingIOError:
            went = 0
        except OSError:
            self._metrics.count("requests_cut")
            return False
        if went != len(data):
            connection.rest = data[went:]
        self._done(connection.address, request, part.status, len(body), started)
        return request.keeps

    def serve(self, connection: Connection, request: Request) -> bool:
        """Answer, however long it takes; return whether the connection goes on."""
        started = time.perf_counter()
        wire = connection.wire
        part = Part(0, 0, 0)
        wire.sent = 0
        try:
            with self._body(connection, request) as whole:
                is_read = isinstance(whole, Request)
                answer, file = self._answer(whole, wire) if isinstance(whole, Request) else (refusal(whole), -1)
            try:
                part = _part(request, answer)
                keeps = request.keeps and is_read and answer.status not in _CLOSING_STATUSES
                self._send(wire, request, answer, part, file, keeps=keeps)
            finally:
                if file >= 0:
                    os.close(file)
        except CutError as error:
            self._metrics.count("slow_clients" if error.is_slow else "requests_cut")
            keeps = False
        self._done(connection.address, request, part.status, wire.sent, started)
        return keeps

    @contextlib.contextmanager
    def _body(self, connection: Connection, request: Request) -> Iterator[Request | RefusedError]:
        """The request with its body, which is kept as long as it is needed; or why it is not even read."""
        if not request.length:
            yield request
            return
        room = 0
        try:
            check_body(request, self._outlook.token)
            with self._lock:
                if request.length > self._room:
                    raise RefusedError(503, "too many bodies are being read", headers=(("Retry-After", "2"),))
                room = request.length
                self._room -= room
            if request.headers.get("expect", "").lower() == "100-continue" and request.minor:
                connection.wire.send(_CONTINUE)
            whole = dataclasses.replace(request, body=connection.body(request.length, self._limits))
        except RefusedError as error:
            yield error
        else:
            yield whole
        finally:
            with self._lock:
                self._room += room

    def refuse(self, connection: Connection, error: RefusedError) -> bytes:
        """The bytes by which what is no request is refused."""
        answer = refusal(error)
        request = Request("-", "-", {}, keeps=False)
        part = Part(answer.status, 0, len(answer.body))
        self._done(connection.address, request, part.status, part.end, time.perf_counter())
        return head_of(request, answer, part, keeps=False) + answer.body

    def tell_bug(self, what: str, error: Exception) -> None:
        """Tell who runs the server of what cannot be."""
        self._report(f"this is a bug in assetmgr: {what}: {type(error).__name__}: {error}")

    def _answer(self, request: Request, wire: Wire) -> tuple[Answer, int]:
        """The answer, and the open file that is its body; -1 where none is."""
        try:
            return self._found(request, wire)
        except RefusedError as error:
            return refusal(error), -1
        except CutError:
            raise
        except Exception as error:  # noqa: BLE001 - one request's fault ends no server; it is told where it can be read
            self.tell_bug(f"{request.method} {request.target[:200]}", error)
            return json_answer({"error": "the server failed; see its words"}, status=500), -1

    def _found(self, request: Request, wire: Wire) -> tuple[Answer, int]:
        catalog = self._catalogs.now()
        if catalog.number != self._ready[0]:
            self._ready = catalog.number, {}
        number, ready = self._ready
        try:
            answer = route(request, catalog, self._outlook)
            file = self._opened(answer)
        except RefusedError as error:
            own = request.headers.get("user-agent") == "assetmgr" and wire.is_from_here()
            if self._through is None or not self._through.bring(
                request, error, lambda: self._wait_on(request, wire), from_here=own
            ):
                raise
            self._catalogs.look_again()
            catalog = self._catalogs.now()
            answer = route(request, catalog, self._outlook)
            file = self._opened(answer)
        if answer.held is not None and len(ready) < _READY_MOST and catalog.number == number:
            ready[request.target] = answer
        return answer, file

    def _opened(self, answer: Answer) -> int:
        if answer.held is None:
            return -1
        try:
            return open_held(answer.held)
        except RefusedError:
            self._metrics.count("unproved")
            raise

    def _wait_on(self, request: Request, wire: Wire) -> None:
        """Tell a client that waits for a pull that it is not forgotten."""
        if request.minor:
            wire.send(_CONTINUE)

    def _send(self, wire: Wire, request: Request, answer: Answer, part: Part, file: int, *, keeps: bool) -> None:
        head = head_of(request, answer, part, keeps=keeps)
        count = part.end - part.start if request.method != "HEAD" else 0
        if answer.held is None or not count:
            wire.send(head + answer.body[part.start : part.end] if count else head)
            wire.sent = count
            return
        wire.send(head, more=True)
        wire.sent = 0
        # The last byte waits until it is sure that all were those that were proved.
        wire.send_file(file, part.start, count - 1)
        if not fits(answer.held, file):
            self._metrics.count("unproved")
            raise CutError("the file was changed")
        wire.send_file(file, part.end - 1, 1)
        wire.sent = count

    def _done(self, address: str, request: Request, status: int, sent: int, started: float) -> None:
        self._metrics.answered(request.method, status, sent)
        if self._log is not None:
            line = f"{request.method} {request.target} HTTP/1.{request.minor}"
            seconds = time.perf_counter() - started
            self._log.add(address, line, status, sent, seconds, request.headers.get("user-agent", ""))


def _part(request: Request, answer: Answer) -> Part:
    if answer.etag and answer.status == 200:
        return part_of(request.method, request.headers, answer.size, answer.etag)
    return Part(answer.status, 0, answer.size)


_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
