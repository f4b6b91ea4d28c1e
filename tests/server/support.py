"""A store with something in it, served; and a client that says exactly what it is told to."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assetmgr.server.limits import Limits
from assetmgr.server.server import Server, Settings
from assetmgr.workspace import Workspace
from tests.hub import Hub

WEIGHTS = bytes(range(256)) * 4000
FILES: Mapping[str, bytes] = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": WEIGHTS,
    "data/a.txt": b"a",
    "data/more/b \u00e9.txt": b"b",
    "empty.txt": b"",
}
MANIFEST = """version: 1
models:
  whole: {hub: {repo: org/name, endpoint: "ENDPOINT"}}
  tagged: {hub: {repo: org/name, endpoint: "ENDPOINT"}, revision: v1}
  part:
    hub: {repo: org/part, endpoint: "ENDPOINT"}
    allow_patterns: ["*.json", "data/*"]
datasets:
  rows: {hub: {repo: org/rows, endpoint: "ENDPOINT"}, requires: [whole]}
  plain:
    files:
      - {url: "ENDPOINT/plain.bin"}
"""


def stocked_hub() -> Hub:
    """A hub with all that `MANIFEST` names."""
    hub = Hub()
    model = hub.create("org/name")
    model.tag("v1", model.commit(FILES, message="first"))
    model.commit({"config.json": b'{"model_type": "gpt2"}'}, message="second")
    hub.create("org/part").commit(FILES)
    hub.create("org/rows", "dataset").commit({"train.csv": b"a,b\n1,2\n", "README.md": b"# rows\n"})
    hub.publish("/plain.bin", b"plain" * 1000)
    return hub


def manifest(folder: Path, endpoint: str, text: str = MANIFEST) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "assets.yaml"
    path.write_text(text.replace("ENDPOINT", endpoint))
    return path


def stocked(folder: Path, hub: Hub, text: str = MANIFEST) -> Workspace:
    """A workspace with all of a manifest installed; the hub is gone afterwards."""
    with hub.serve() as endpoint:
        workspace = Workspace(manifest(folder, endpoint, text), folder / "store", local_caches=False)
        workspace.lock()
        workspace.pull()
    return workspace


@contextlib.contextmanager
def serving(workspace: Workspace, limits: Limits | None = None, **settings: Any) -> Iterator[Server]:
    """A server of a store, in this process, on a free port."""
    fresh: Callable[[], Workspace] | None = settings.pop("fresh", None)
    if limits is not None:
        settings["limits"] = limits
    with workspace.server(Settings(port=0, **settings), fresh=fresh) as server:
        yield server


@dataclass(frozen=True)
class Reply:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Client:
    """A connection that sends bytes as they are given, and reads answers."""

    def __init__(self, port: int, *, timeout: float = 20.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._buffer = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def get(self, target: str, *fields: str, method: str = "GET") -> Reply:
        lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", *fields, "", ""]
        self.send("\r\n".join(lines).encode())
        return self.read(has_body=method != "HEAD")

    def read(self, *, has_body: bool = True) -> Reply:
        """The next answer, past those that only say that there will be one."""
        while True:
            while b"\r\n\r\n" not in self._buffer:
                self._more()
            head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
            line, *fields = head.decode("latin-1").split("\r\n")
            status = int(line.split(" ")[1])
            if status >= 200:
                break
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        length = int(headers.get("content-length", "0")) if has_body and status != 304 else 0
        while len(self._buffer) < length:
            self._more()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return Reply(status, headers, body)

    def is_closed(self) -> bool:
        """Whether the server ends the connection, and says no more."""
        try:
            return not self._buffer and self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def _more(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError(f"the server ended the connection after {self._buffer!r}")
        self._buffer += data


def get(server: Server, target: str, *fields: str, method: str = "GET") -> Reply:
    """One request on a connection of its own."""
    with Client(server.port) as client:
        return client.get(target, *fields, method=method)
