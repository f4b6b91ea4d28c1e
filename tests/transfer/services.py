"""Google Drive and Kaggle on loopback, as they behave: pages before files, signed addresses, terms not accepted.

A `Proxy` leads to it under the services' own names, and a certificate of its own makes it believed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.transfer.proxy import Proxy, make_certificate

HOSTS = (
    "drive.google.com",
    "drive.usercontent.google.com",
    "accounts.google.com",
    "api.kaggle.com",
    "storage.googleapis.com",
)
SIGNATURE = "canary-signature-7d21"
WARNING = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>
<p class="uc-warning-caption">Google Drive can't scan this file for viruses.</p>
<form id="download-form" action="https://drive.usercontent.google.com/download" method="get">
<input type="submit" id="uc-download-link" value="Download anyway"/>
<input type="hidden" name="id" value="{id}"><input type="hidden" name="export" value="download">
<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="{uuid}"></form></body></html>"""
QUOTA = """<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>
<p class="uc-error-caption">Sorry, you can't view or download this file at this time.</p>
<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently. Please try
accessing the file again later.</p><hr class="uc-hr"></body></html>"""
SIGN_IN = "<!DOCTYPE html><html><title>Google Drive: Sign-in</title><body><form>Email</form></body></html>"


@dataclass
class Services:
    """``drive`` maps a file's id to its bytes, ``kaggle`` a path (``owner/set/file``, ``c/name/file``) to its own.

    Attributes
    ----------
    warned, exhausted, private
        Drive's ids before which a page comes, whose quota is used up, and that ask to sign in.
    login
        The user and key that Kaggle knows.
    unaccepted
        Kaggle's paths whose terms the user has not accepted.
    packed
        Kaggle's paths that come as a zip archive.
    uses
        How many requests a confirmation or a signature is good for.
    """

    drive: dict[str, bytes] = field(default_factory=dict)
    kaggle: dict[str, bytes] = field(default_factory=dict)
    warned: set[str] = field(default_factory=set)
    exhausted: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    login: str = "me:key"
    unaccepted: set[str] = field(default_factory=set)
    packed: set[str] = field(default_factory=set)
    uses: int = 1000
    cut: int = 0
    """How many bytes of the next file are sent before the connection ends; once."""
    log: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    _issued: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def issue(self) -> str:
        with self._lock:
            token = f"token{len(self._issued)}"
            self._issued[token] = self.uses
            return token

    def use(self, token: str) -> bool:
        with self._lock:
            left = self._issued.get(token, 0)
            self._issued[token] = left - 1
            return left > 0

    def asked(self, host: str) -> list[tuple[str, dict[str, str]]]:
        return [(path, headers) for at, path, headers in self.log if at == host]


@contextlib.contextmanager
def serve(services: Services, folder: Path) -> Iterator[dict[str, str]]:
    """Serve; yield the environment in which the services are these."""
    certificate, context = make_certificate(folder, *HOSTS)

    class Handler(_Handler):
        world = services

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    proxy = Proxy(dict.fromkeys(HOSTS, server.server_address[1]))
    try:
        yield {"HTTPS_PROXY": proxy.url, "NO_PROXY": "", "REQUESTS_CA_BUNDLE": str(certificate)}
    finally:
        proxy.close()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world: Services

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._dispatch(b"")

    def do_POST(self) -> None:
        self._dispatch(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

    def _dispatch(self, body: bytes) -> None:
        host = self.headers.get("Host", "").partition(":")[0]
        self.world.log.append((host, self.path, {name.lower(): value for name, value in self.headers.items()}))
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if host == "drive.google.com":
            self._redirect(f"https://drive.usercontent.google.com/download?id={query.get('id')}&export=download")
        elif host == "drive.usercontent.google.com":
            self._drive(query)
        elif host == "api.kaggle.com":
            self._kaggle(json.loads(body))
        elif host == "storage.googleapis.com":
            self._storage(query)
        else:
            self._page(SIGN_IN)

    def _drive(self, query: dict[str, str]) -> None:
        world, wanted = self.world, query.get("id", "")
        if wanted in world.private:
            self._redirect("https://accounts.google.com/v3/signin?continue=https://drive.google.com/")
        elif wanted in world.exhausted:
            self._page(QUOTA)
        elif wanted not in world.drive:
            self._page("<!DOCTYPE html><html><title>Error 404 (Not Found)</title></html>", 404)
        elif wanted in world.warned and not (query.get("confirm") and world.use(query.get("uuid", ""))):
            self._page(WARNING.format(id=wanted, uuid=world.issue()))
        else:
            self._file(world.drive[wanted], {"Content-Disposition": 'attachment; filename="w.bin"'})

    def _kaggle(self, wanted: dict[str, Any]) -> None:
        world = self.world
        if "competitionName" in wanted:
            path = f"c/{wanted['competitionName']}/{wanted['fileName']}"
        else:
            version = wanted.get("datasetVersionNumber")
            middle = f"versions/{version}/" if version else ""
            path = f"{wanted['ownerSlug']}/{wanted['datasetSlug']}/{middle}{wanted['fileName']}"
        login = "Basic " + base64.b64encode(world.login.encode()).decode()
        if self.headers.get("Authorization") != login:
            self._json(401, "Unauthenticated")
        elif path in world.unaccepted:
            self._json(403, "You must accept this competition's rules before you'll be able to download files.")
        elif path not in world.kaggle:
            self._json(404, "Not found")
        else:
            name = path + (".zip" if path in world.packed else "")
            signed = f"X-Goog-Signature={SIGNATURE}&token={world.issue()}"
            self._redirect(f"https://storage.googleapis.com/kaggle/{name}?{signed}&path={path}")

    def _storage(self, query: dict[str, str]) -> None:
        if self.world.use(query.get("token", "")):
            self._file(self.world.kaggle[query["path"]], {"Server": "UploadServer"})
        else:
            self._page("<Error><Code>ExpiredToken</Code></Error>", 400)

    def _file(self, data: bytes, headers: dict[str, str]) -> None:
        world = self.world
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(span[1]) if span else 0
        end = min(int(span[2]) + 1, len(data)) if span and span[2] else len(data)
        self.send_response(206 if span else 200)
        for name, value in headers.items():
            self.send_header(name, value)
        if span:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        cut, world.cut = world.cut, 0
        with contextlib.suppress(OSError):
            self.wfile.write(data[start : start + cut if cut else end])
        self.close_connection = bool(cut)

    def _page(self, text: str, status: int = 200) -> None:
        self._send(status, text.encode(), "text/html; charset=utf-8")

    def _json(self, status: int, message: str) -> None:
        self._send(status, json.dumps({"code": status, "message": message}).encode(), "application/json")

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _redirect(self, location: str) -> None:
        self.send_response(302)
        self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()
