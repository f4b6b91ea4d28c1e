"""The hub: what it holds, who may read it, what goes wrong, what was asked; and serving it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .content import Content
from .faults import Faults, Match
from .log import Record, RequestLog
from .messages import Request, Response
from .protocol import respond
from .repos import Gated, Kind, Repo
from .server import Server


@dataclass(eq=False, repr=False)
class Hub:
    """A Hugging Face hub on loopback. All of it may be changed while it is served.

    Attributes
    ----------
    tokens
        The tokens given out, each with the repositories that it may read, or ``"*"``. Any other is refused.
    page_size
        Most entries in one page of a listing.
    redirect_lfs
        True: LFS files are answered by 302 to ``/cdn/...`` at the same origin. A string is the origin to
        redirect to, as the real hub does: ``http://localhost:PORT`` is another origin, but the same server.

    Examples
    --------
    >>> hub = Hub()
    >>> sha = hub.create("org/name").commit({"config.json": b"{}"})
    >>> with hub.serve() as endpoint:
    ...     endpoint.startswith("http://127.0.0.1:")
    True
    """

    tokens: dict[str, Collection[str]] = field(default_factory=dict)
    page_size: int = 1000
    redirect_lfs: bool | str = False
    faults: Faults = field(default_factory=Faults)
    repos: dict[tuple[Kind, str], Repo] = field(default_factory=dict)
    aliases: dict[tuple[Kind, str], str] = field(default_factory=dict)
    fixed: dict[str, Response] = field(default_factory=dict)
    _log: RequestLog = field(default_factory=RequestLog)
    _server: Server | None = None

    def create(self, repo_id: str, kind: Kind = "model", *, private: bool = False, gated: Gated = False) -> Repo:
        """Create an empty repository. A model and a dataset may share a name."""
        if (kind, repo_id) in self.repos:
            raise ValueError(f"{kind} {repo_id} exists")
        repo = self.repos[kind, repo_id] = Repo(repo_id, kind, private=private, gated=gated)
        return repo

    def alias(self, old: str, new: str, kind: Kind = "model") -> None:
        """Answer an old name by 307 to the new one, as the hub does after a repository was renamed."""
        self.aliases[kind, old] = new

    def publish(
        self,
        path: str,
        source: bytes | Path,
        *,
        etag: bool | str = True,
        ranges: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Serve a plain file at a path, spelt as on the wire.

        `etag` True makes one; a string is sent as it stands. Without `ranges`, Range is ignored.
        """
        content = Content.of(source)
        shown = {"Content-Type": "application/octet-stream"}
        if etag is True:
            shown["ETag"] = f'"{hashlib.sha1((path + content.sha256).encode()).hexdigest()[:32]}"'
        elif etag:
            shown["ETag"] = etag
        self.fixed[path] = Response.whole(content, tuple({**shown, **(headers or {})}.items()), ranges=ranges)

    def redirect(self, path: str, location: str, status: int = 302) -> None:
        """Answer a path by a redirect."""
        self.fixed[path] = Response.text(status, f"Redirecting to {location}", (("Location", location),))

    @property
    def requests(self) -> list[Record]:
        """What was asked, in the order in which answers began."""
        return self._log.records()

    def count(self, method: str | None = None, match: Match = "") -> int:
        """Return how many requests fit; see `faults.matches`."""
        return self._log.count(method, match)

    def wait_for(self, count: int = 1, method: str | None = None, match: Match = "", timeout: float = 10.0) -> bool:
        """Wait until so many requests that fit are being answered; return whether they are."""
        return self._log.wait(count, method, match, timeout)

    def reset_log(self) -> None:
        self._log.reset()

    def start(self, port: int = 0) -> str:
        """Begin to serve; return the endpoint. `stop` ends it, and it can be started again."""
        if self._server is not None:
            raise RuntimeError("the hub is being served already")
        self._server = Server(self._respond, self.faults, self._log, port)
        return self.endpoint

    def stop(self) -> None:
        """Stop serving; nothing where it is not served."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    @property
    def endpoint(self) -> str:
        if self._server is None:
            raise RuntimeError("the hub is not being served")
        return f"http://127.0.0.1:{self._server.port}"

    @contextmanager
    def serve(self, port: int = 0) -> Iterator[str]:
        """Serve for the length of a ``with``, which is given the endpoint."""
        try:
            yield self.start(port)
        finally:
            self.stop()

    def _respond(self, request: Request) -> Response:
        return respond(self, request)
