"""nginx as a process of the tests' own: an ordinary user's, on a free port of loopback, with a log that can be read."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_CONFIGURATION = """
daemon off;
{user}
worker_processes {workers};
pid {place}/nginx.pid;
error_log {place}/error.log;
events {{ worker_connections 512; }}
http {{
    types {{ }}
    default_type application/octet-stream;
    log_format told escape=none '$connection|$status|$body_bytes_sent|$http_range|$http_if_range|$request_uri';
    access_log {place}/access.log told;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000;
    client_body_temp_path {place}/temporary;
    proxy_temp_path {place}/temporary;
    fastcgi_temp_path {place}/temporary;
    uwsgi_temp_path {place}/temporary;
    scgi_temp_path {place}/temporary;
    server {{
        listen 127.0.0.1:{port};
        root {place}/www;
        {options}
    }}
}}
"""


@dataclass(frozen=True)
class Served:
    """One line of the log: a request that has ended."""

    connection: str
    status: int
    sent: int
    range: str
    if_range: str
    path: str


class Nginx:
    """Serves ``place/www``.

    Parameters
    ----------
    options
        Directives for the server block.
    """

    def __init__(self, place: Path, options: str = "", workers: int = 2) -> None:
        self.www = place / "www"
        self._place = place
        self._workers = workers
        self._log = place / "access.log"
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.www.mkdir(parents=True, exist_ok=True)
        self.configure(options)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def configure(self, options: str) -> None:
        """Write the configuration; who runs already reads it at `reload`."""
        user = "user root;" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
        text = _CONFIGURATION.format(
            place=self._place, port=self.port, options=options, workers=self._workers, user=user
        )
        (self._place / "nginx.conf").write_text(text)

    def start(self) -> None:
        with open(self._place / "words", "wb") as words:
            self._process = subprocess.Popen(
                ["nginx", "-c", self._place / "nginx.conf", "-p", self._place],
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                start_new_session=True,
            )
        until = time.monotonic() + 10
        while time.monotonic() < until and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.01)
        raise RuntimeError(f"nginx does not start: {(self._place / 'words').read_text(errors='replace')}")

    def reload(self) -> None:
        """Have new workers take over, by SIGHUP. The old ones end what they are at."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """End the master and every worker at once, as a crash of the machine would."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def log(self) -> list[Served]:
        """All requests that have ended."""
        if not self._log.exists():
            return []
        found = []
        for line in self._log.read_text().splitlines():
            connection, status, sent, span, if_range, path = line.split("|", 5)
            span, if_range = ("" if text == "-" else text for text in (span, if_range))
            found.append(Served(connection, int(status), int(sent), span, if_range, path))
        return found

    def sent(self) -> int:
        """The bytes of all bodies, once no request ends any more."""
        before = -1
        while (now := sum(served.sent for served in self.log())) != before:
            before = now
            time.sleep(0.1)
        return now

    def forget(self) -> None:
        """Begin the log anew."""
        if self._log.exists():
            os.truncate(self._log, 0)


@contextlib.contextmanager
def running(place: Path, options: str = "", workers: int = 2) -> Iterator[Nginx]:
    """nginx, started and in the end stopped."""
    nginx = Nginx(place, options, workers)
    nginx.start()
    try:
        yield nginx
    finally:
        nginx.stop()


def needed() -> None:
    """Skip a test where there is no nginx, and say so. The project's checks install it."""
    if os.name == "nt" or shutil.which("nginx") is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
