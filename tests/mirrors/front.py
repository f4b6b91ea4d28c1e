"""A server on loopback before a real registry: it breaks, redirects or asks for tokens, as a test says."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from urllib.parse import parse_qs, urlsplit


@dataclass
class Given:
    """An answer of the front's own. Without a status it hangs up."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Ask:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    rest: BufferedIOBase
    cut_after: int | None = None
    is_read: bool = False

    def body(self, size: int) -> bytes:
        """So many bytes of the body, for who answers by himself."""
        self.is_read = True
        return self.rest.read(size)

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query)


def cut(ask: Ask, size: int) -> None:
    """Hang up once so many bytes of the request's body, or of the answer's, have gone through."""
    ask.cut_after = size


@dataclass
class Front:
    """Before a registry.

    Attributes
    ----------
    judge
        May answer a request, or say that it is cut; else it goes on to the registry.
    asks
        All that came.
    """

    port: int
    judge: Callable[[Ask], Given | None]
    asks: list[Ask] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def count(self, method: str, part: str = "") -> int:
        return sum(ask.method == method and part in ask.path for ask in self.asks)


@contextlib.contextmanager
def fronting(registry: int, judge: Callable[[Ask], Given | None]) -> Iterator[Front]:
    """A front before the registry at a port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

        def _serve(self) -> None:
            ask = Ask(self.command, self.path, dict(self.headers.items()), self.rfile)
            front.asks.append(ask)
            given = front.judge(ask)
            length = int(self.headers.get("Content-Length") or 0)
            if given is not None and not given.status:
                self._hang_up()
                return
            if given is not None:
                if not ask.is_read:
                    self.rfile.read(length)
                self._answer(given.status, given.headers, given.body)
                return
            sends = length > 0
            data = self.rfile.read(length if ask.cut_after is None or not sends else min(ask.cut_after, length))
            if sends and ask.cut_after is not None:
                # The registry hears the beginning of it, and no more.
                with contextlib.closing(socket.create_connection(("127.0.0.1", registry))) as on:
                    head = "".join(f"{name}: {value}\r\n" for name, value in ask.headers.items())
                    on.sendall(f"{ask.method} {ask.path} HTTP/1.1\r\n{head}\r\n".encode() + data)
                    on.shutdown(socket.SHUT_WR)
                    while on.recv(65536):
                        pass
                self._hang_up()
                return
            registry_side = http.client.HTTPConnection("127.0.0.1", registry, timeout=30)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may answer before it has all
                registry_side.request(ask.method, ask.path, data, ask.headers)
            answer = registry_side.getresponse()
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in ("connection", "date")}
            body = answer.read()
            registry_side.close()
            if ask.cut_after is not None:
                self._answer(answer.status, headers, body[: ask.cut_after])
                self._hang_up()
            else:
                self._answer(answer.status, headers, body)

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                with contextlib.suppress(OSError):  # whoever asked may have gone
                    self.wfile.write(body)

        def _hang_up(self) -> None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        front = Front(server.server_address[1], judge)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield front
        finally:
            server.shutdown()
            thread.join()


def json_answer(document: object, status: int = 200) -> Given:
    return Given(status, {"Content-Type": "application/json"}, json.dumps(document).encode())
