"""Which question is answered by whom. Every path that is not here is refused."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import NamedTuple

from assetmgr.server import assets
from assetmgr.server.answers import Answer, text_answer
from assetmgr.server.catalog import Catalog
from assetmgr.server.hub import KINDS, Hub, whoami
from assetmgr.server.page import page
from assetmgr.server.requests import RefusedError, Request


class Outlook(NamedTuple):
    """What the routes know of the server besides its catalog.

    Attributes
    ----------
    token
        Without which nothing but ``/healthz`` is answered; None: everybody may read.
    scheme, address
        How clients reach it, when they do not say by which name they do.
    metrics
        Gives the document at ``/metrics``.
    """

    token: str | None
    scheme: str
    address: str
    metrics: Callable[[], str]

    def origin(self, request: Request) -> str:
        """How this client names the server."""
        host = request.headers.get("host", "")
        return f"{self.scheme}://{host}" if host else self.address


def route(request: Request, catalog: Catalog, outlook: Outlook) -> Answer:
    """The answer to a request.

    Raises
    ------
    RefusedError
    """
    path = request.target.partition("?")[0]
    if path == "/healthz" and request.method != "POST":
        return text_answer("ok\n")
    check_token(request, outlook.token)
    segments = request.segments
    if len(segments) > 2 and segments[0] == "api" and segments[1] in KINDS:
        return Hub(catalog).api(request, outlook.origin(request))
    if request.method == "POST":
        raise _posted()
    fixed = _FIXED.get(path)
    if fixed is not None:
        return fixed(request, catalog, outlook)
    if len(segments) == 3 and path.startswith("/blobs/sha256/"):
        return assets.blob(catalog, segments[2])
    if len(segments) > 3 and path.startswith("/assetmgr/v1/assets/"):
        name = "/".join(segments[3:])
        # As a folder of plain files has it: see `assetmgr.mirrors.telling`.
        plain = name.removesuffix(".json")
        return assets.carried(catalog, plain if plain in catalog.assets else name)
    kind, parts = ("dataset", segments[1:]) if segments[0] == "datasets" else ("model", segments)
    if any(len(parts) > at + 2 and parts[at] == "resolve" for at in (1, 2)):
        return Hub(catalog).resolve(kind, parts)
    raise RefusedError(404, f"nothing is served at {path[:200]}")


def check_body(request: Request, token: str | None) -> None:
    """Refuse a body before it is read, where nobody would look at it."""
    check_token(request, token)
    if request.segments[0] != "api" or "paths-info" not in request.segments:
        raise _posted()


def _posted() -> RefusedError:
    return RefusedError(405, "POST is not answered here: this server is read-only", headers=(("Allow", "GET, HEAD"),))


def check_token(request: Request, token: str | None) -> None:
    """Refuse who does not show the token."""
    if token is None:
        return
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and hmac.compare_digest(shown.strip().encode(), token.encode()):
        return
    words = (
        "this server asks for its token (HF_TOKEN, for the hub's clients)"
        if not shown
        else "that is not the token of this server"
    )
    raise RefusedError(401, words, headers=(("WWW-Authenticate", 'Bearer realm="assetmgr"'),))


def _page(_: Request, catalog: Catalog, outlook: Outlook) -> Answer:
    text = page((assets.told(shelf) for shelf in catalog.assets.values()), outlook.origin(_))
    return text_answer(
        text, "text/html", (("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),)
    )


_FIXED: dict[str, Callable[[Request, Catalog, Outlook], Answer]] = {
    "/": _page,
    "/metrics": lambda request, catalog, outlook: text_answer(outlook.metrics(), "text/plain; version=0.0.4"),
    "/api/whoami-v2": lambda request, catalog, outlook: whoami(request, checked=outlook.token is not None),
    "/assetmgr/v1/assets": lambda request, catalog, outlook: assets.listed(catalog),
    "/assetmgr/v1/assets.json": lambda request, catalog, outlook: assets.listed(catalog),
    "/robots.txt": lambda request, catalog, outlook: text_answer("User-agent: *\nDisallow: /\n"),
}
