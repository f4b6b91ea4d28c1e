"""An HTTP proxy on loopback, and certificates for the hosts that it pretends to reach."""

from __future__ import annotations

import base64
import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_CHUNK = 64 * 1024


@dataclass
class Proxy:
    """Serves CONNECT and absolute-form requests on a port of its own until `close`.

    ``ports`` maps a host's name to the port of this machine that it is reached at; to any other there is no way (502).
    ``login`` is what it asks for as ``user:password``; ``status`` is what it answers to everything instead.
    """

    ports: Mapping[str, int] = field(default_factory=dict)
    login: str = ""
    status: int = 0
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(_CHUNK)
                if not data:
                    return
                head += data
            lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
            method, target, _ = lines[0].split(" ")
            self.asked.append(f"{method} {target}")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            wanted = "Basic " + base64.b64encode(self.login.encode()).decode()
            if self.login and headers.get("proxy-authorization") != wanted:
                self._refuse(client, 407)
                return
            authority = target if method == "CONNECT" else target.split("/")[2]
            port = self.ports.get(authority.partition(":")[0])
            if self.status or port is None:
                self._refuse(client, self.status or 502)
                return
            server = socket.create_connection(("127.0.0.1", port))
            self._open += [client, server]
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = "/" + target.split("/", 3)[3]
                kept = [line for line in lines[1:] if not line.lower().startswith(("proxy-", "connection:"))]
                server.sendall("\r\n".join([f"{method} {path} HTTP/1.1", *kept, "Connection: close", "", ""]).encode())
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()

    @staticmethod
    def _refuse(client: socket.socket, status: int) -> None:
        client.sendall(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())

    def close(self) -> None:
        for end in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def make_certificate(folder: Path, *hosts: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate for some hosts, signed by itself: its file, and a server's context. Skips without ``openssl``."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate, and there is none")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    names = ",".join(f"IP:{host}" if host[0].isdigit() else f"DNS:{host}" for host in hosts)
    subject = ["-subj", f"/CN={hosts[0]}", "-addext", f"subjectAltName={names}"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, *subject],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context
