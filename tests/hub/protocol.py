"""The Hugging Face hub's HTTP interface: a pure function from a request and the hub's content to a response.

Which headers and codes matter to which client is in ``facts/hub.md``.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlencode

from .entries import Entry
from .messages import Headers, Request, Response
from .repos import Commit, Kind, Repo

if TYPE_CHECKING:
    from .hub import Hub

KINDS: dict[str, Kind] = {"models": "model", "datasets": "dataset"}
API_VERBS = ("revision", "tree", "paths-info", "refs", "commits")


class Refusal(Exception):
    """An error or redirect, on its way out of a handler."""

    def __init__(self, status: int, code: str | None, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        line = " ".join(message.split())
        extra: Headers = (("X-Error-Code", code),) if code else ()
        if status >= HTTPStatus.BAD_REQUEST:
            extra = (*extra, ("X-Error-Message", line))
        self.response = Response.json({"error": message}, (*extra, *headers), status=status)


def respond(hub: Hub, request: Request) -> Response:
    """Answer one request."""
    try:
        return _route(hub, request)
    except Refusal as refusal:
        return refusal.response


def _route(hub: Hub, request: Request) -> Response:
    fixed = hub.fixed.get(request.raw_path)
    if fixed is not None:
        return fixed
    segments = request.segments
    if request.method not in ("GET", "HEAD") and "paths-info" not in segments:
        raise Refusal(405, None, f"{request.method} is not served here")
    if segments[0] == "cdn":
        return _cdn(hub, segments)
    if segments == ["api", "whoami-v2"]:
        return _whoami(hub, request)
    if segments[0] == "api" and len(segments) > 2 and segments[1] in KINDS:
        return _api(hub, request, KINDS[segments[1]], segments[2:])
    kind: Kind = "dataset" if segments[0] == "datasets" else "model"
    parts = segments[1:] if kind == "dataset" else segments
    for at in (1, 2):
        if len(parts) > at + 2 and parts[at] == "resolve":
            return _resolve(hub, request, kind, "/".join(parts[:at]), parts[at + 1 :])
    raise Refusal(404, None, f"Nothing is served at {request.raw_path}")


def _api(hub: Hub, request: Request, kind: Kind, parts: list[str]) -> Response:
    at = next((at for at in (1, 2) if len(parts) > at and parts[at] in API_VERBS), len(parts))
    repo = _repo(hub, request, kind, "/".join(parts[:at]))
    verb = parts[at] if at < len(parts) else "info"
    if verb == "refs":
        return Response.json(repo.refs())
    if verb == "info" and not repo.branches:
        return Response.json(repo.info(None, blobs=False))
    revision, rest = _revision(parts[at + 1 :] or ["main"])
    commit = _commit(repo, revision)
    if verb in ("info", "revision"):
        return Response.json(repo.info(commit, blobs=request.asks("blobs")))
    if verb == "commits":
        return Response.json(repo.history(commit))
    if verb == "paths-info":
        return Response.json(_paths_info(request, commit))
    rows = commit.listing(rest.rstrip("/"), recursive=request.asks("recursive"), expand=request.asks("expand"))
    if rows is None:
        raise Refusal(404, "EntryNotFound", f'{rest} does not exist on "{revision}"')
    return _page(hub, request, rows)


def _page(hub: Hub, request: Request, rows: list[dict[str, Any]]) -> Response:
    """Return one page of a listing, and where the next one is."""
    size = max(1, min(hub.page_size, int(request.query.get("limit", hub.page_size))))
    start = int(request.query.get("cursor", "0"))
    headers: Headers = ()
    if start + size < len(rows):
        query = urlencode({**request.query, "cursor": str(start + size)})
        headers = (("Link", f'<{request.origin}{request.raw_path}?{query}>; rel="next"'),)
    return Response.json(rows[start : start + size], headers)


def _paths_info(request: Request, commit: Commit) -> list[dict[str, Any]]:
    """Answer a POST that asks about paths, sent as a form or as JSON."""
    if "json" in request.headers.get("content-type", ""):
        asked = json.loads(request.body)
        expand = bool(asked.get("expand"))
    else:
        asked = parse_qs(request.body.decode())
        expand = asked.get("expand", ["false"])[0].lower() in ("true", "1")
    paths = asked.get("paths", [])
    rows = []
    for path in [paths] if isinstance(paths, str) else paths:
        if path in commit.entries:
            rows.append(commit.entries[path].listing(expand=expand))
        elif path in commit.folders:
            rows.append({"type": "directory", "oid": commit.folders[path], "size": 0, "path": path})
    return rows


def _resolve(hub: Hub, request: Request, kind: Kind, repo_id: str, parts: list[str]) -> Response:
    repo = _repo(hub, request, kind, repo_id)
    _admit_gated(hub, request, repo)
    revision, path = _revision(parts)
    commit = _commit(repo, revision)
    entry = commit.entries.get(path)
    if entry is None:
        raise Refusal(404, "EntryNotFound", "Entry not found", (("X-Repo-Commit", commit.sha),))
    if not (hub.redirect_lfs and entry.lfs):
        return _file(entry, (("X-Repo-Commit", commit.sha),))
    cdn = hub.redirect_lfs if isinstance(hub.redirect_lfs, str) else request.origin
    location = f"{cdn}/cdn/{kind}s/{quote(repo_id, safe='')}/{commit.sha}/{quote(path)}"
    headers = {
        "Location": location,
        "X-Repo-Commit": commit.sha,
        "X-Linked-Etag": f'"{entry.etag}"',
        "X-Linked-Size": str(entry.size),
    }
    return Response.text(302, f"Found. Redirecting to {location}", tuple(headers.items())).over(dict(entry.headers))


def _file(entry: Entry, headers: Headers = ()) -> Response:
    shown = (("Content-Type", "application/octet-stream"), ("ETag", f'"{entry.etag}"'), *headers)
    response = Response.whole(entry.content, shown, ranges=True, claimed=entry.size)
    return response.over(dict(entry.headers)) if entry.headers else response


def _cdn(hub: Hub, segments: list[str]) -> Response:
    """Serve what LFS files redirect to: to anyone, as a signed URL would be.

    A client that is redirected on the hub's own host looks for X-Repo-Commit again (1.31 and 2.4 do); a CDN
    has none.
    """
    if len(segments) > 4 and segments[1] in KINDS:
        repo = hub.repos.get((KINDS[segments[1]], segments[2]))
        commit = repo.commits.get(segments[3]) if repo else None
        entry = commit.entries.get("/".join(segments[4:])) if commit else None
        if commit is not None and entry is not None:
            return _file(entry, (("X-Repo-Commit", commit.sha),) if hub.redirect_lfs is True else ())
    raise Refusal(404, None, "Not found")


def _whoami(hub: Hub, request: Request) -> Response:
    if _token(hub, request) is None:
        raise Refusal(401, None, "Invalid username or password.")
    access = {"accessToken": {"displayName": "tests", "role": "read"}, "type": "access_token"}
    return Response.json({"type": "user", "id": "0", "name": "tester", "orgs": [], "auth": access})


def _token(hub: Hub, request: Request) -> str | None:
    """Return the token sent, which must be one that the hub gave out; None where none was sent."""
    sent = request.headers.get("authorization", "")
    if not sent:
        return None
    token = sent.removeprefix("Bearer ")
    if token not in hub.tokens:
        raise Refusal(401, None, "Invalid credentials in Authorization header")
    return token


def _may_read(hub: Hub, token: str | None, repo: Repo) -> bool:
    return token is not None and (hub.tokens[token] == "*" or repo.id in hub.tokens[token])


def _repo(hub: Hub, request: Request, kind: Kind, repo_id: str) -> Repo:
    token = _token(hub, request)
    renamed = hub.aliases.get((kind, repo_id))
    if renamed is not None:
        target = request.target.replace(f"/{quote(repo_id)}", f"/{quote(renamed)}", 1)
        raise Refusal(307, None, "Temporary Redirect", (("Location", target),))
    repo = hub.repos.get((kind, repo_id))
    if repo is not None and (not repo.private or _may_read(hub, token, repo)):
        return repo
    if token is None:
        raise Refusal(401, "RepoNotFound", "Invalid username or password.")
    raise Refusal(404, "RepoNotFound", "Repository not found")


def _admit_gated(hub: Hub, request: Request, repo: Repo) -> None:
    token = _token(hub, request)
    if not repo.gated or _may_read(hub, token, repo):
        return
    restricted = f"Access to {repo.kind} {repo.id} is restricted"
    if token is None:
        words = f"{restricted}. You must have access to it and be authenticated to access it. Please log in."
        raise Refusal(401, "GatedRepo", words)
    page = f"{request.origin}/{repo.id}"
    words = f"{restricted} and you are not in the authorized list. Visit {page} to ask for access."
    raise Refusal(403, "GatedRepo", words)


def _revision(parts: list[str]) -> tuple[str, str]:
    """Split a revision from the path that follows; ``refs/pr/1`` may also come with plain slashes."""
    taken = 3 if parts[0] == "refs" and len(parts) >= 3 else 1
    return "/".join(parts[:taken]), "/".join(parts[taken:])


def _commit(repo: Repo, revision: str) -> Commit:
    commit = repo.find(revision)
    if commit is None:
        raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    return commit
