"""The hub's own protocol, as far as its clients need it to read: what they ask, and the errors by which they know.

The tree of a commit is always shown whole, out of the listing that was kept of it. A file of the commit that is not
held is refused as ``RevisionNotFound``: of all the hub's words this is the one after which every client fails. After
``EntryNotFound``, or none, transformers goes on as if the file were not in the commit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from assetmgr.server.answers import Answer, Headers, Held, json_answer
from assetmgr.server.catalog import Catalog, Commit, Repo
from assetmgr.server.listings import Tree, tree_of
from assetmgr.server.requests import RefusedError, Request

KINDS = {"models": "model", "datasets": "dataset"}
_VERBS = ("revision", "tree", "paths-info", "refs")
# Rows in one page of a tree, and paths in one question about them.
_PAGE = 1000
_PATHS_MOST = 10_000


class Hub:
    """The routes of one catalog. ``origin`` is how a client names this server: ``http://host:port``."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def api(self, request: Request, origin: str) -> Answer:
        """Answer below ``/api/models/`` and ``/api/datasets/``."""
        segments = request.segments
        kind, parts = KINDS[segments[1]], segments[2:]
        at = self._length_of_name(kind, parts, _VERBS)
        repo = self._repo(kind, parts[:at])
        verb = parts[at] if at < len(parts) else "info"
        if verb not in ("info", *_VERBS):
            raise RefusedError(404, f"nothing is served at {request.target[:200]}: of {repo.id} there are its files")
        if (verb == "paths-info") != (request.method == "POST"):
            raise RefusedError(405, f"{request.method} is not answered here")
        if verb == "refs":
            return json_answer(_refs(repo))
        revision, rest = revision_and_path(parts[at + 1 :] or ("main",))
        commit = _commit(repo, revision)
        if verb in ("info", "revision"):
            return json_answer(self._info(repo, commit, blobs=request.asks("blobs")))
        tree = self._tree(repo, commit)
        if verb == "paths-info":
            return json_answer(_paths_info(request, tree))
        folder = rest.rstrip("/")
        rows = tree.below(folder, recursive=request.asks("recursive"))
        if rows is None:
            raise _no_entry(folder, repo, commit)
        return _page(request, rows, origin)

    def resolve(self, kind: str, parts: Sequence[str]) -> Answer:
        """Answer ``[datasets/]ORG/NAME/resolve/REVISION/PATH``."""
        at = self._length_of_name(kind, parts, ("resolve",))
        repo = self._repo(kind, parts[:at])
        revision, path = revision_and_path(parts[at + 1 :])
        commit = _commit(repo, revision)
        told: Headers = (("X-Repo-Commit", commit.sha),)
        found = commit.files.get(path)
        if found is None:
            raise self._not_held(path, repo, commit)
        shelf, number = found
        held = self._catalog.held(shelf, number)
        if held is None:
            raise unproved(path, _told_mend(shelf.entry.name), headers=told)
        return _file_answer(held, shelf.files[number].blob, path, told, lfs=shelf.files[number].git_sha1 is None)

    def _length_of_name(self, kind: str, parts: Sequence[str], verbs: Sequence[str]) -> int:
        """How many parts name a repo, with or without an owner, before one of the verbs or the end."""
        held = [at for at in (2, 1) if at <= len(parts) and (kind, "/".join(parts[:at])) in self._catalog.repos]
        before = [at for at in (1, 2) if at < len(parts) and parts[at] in verbs]
        fitting = [at for at in held if at == len(parts) or at in before]
        return next(iter((*fitting, *before, *held)), len(parts))

    def _repo(self, kind: str, parts: Sequence[str]) -> Repo:
        if any("/" in part for part in parts):
            raise RefusedError(400, "a repo's slash is not escaped")
        name = "/".join(parts)
        repo = self._catalog.repos.get((kind, name))
        if repo is None:
            raise RefusedError(404, f"this server holds no {kind} {name!r}", "RepoNotFound")
        return repo

    def _tree(self, repo: Repo, commit: Commit) -> Tree:
        tree = tree_of(self._catalog.store, commit)
        if tree is None:
            names = " ".join(shelf.entry.name for shelf in commit.shelves)
            raise RefusedError(
                404,
                f"{repo.id} at {commit.sha[:12]} is held in part, and the listing of all of it is not here; "
                f"on the server: assetmgr pull {names}",
                "RevisionNotFound",
            )
        return tree

    def _not_held(self, path: str, repo: Repo, commit: Commit) -> RefusedError:
        tree = tree_of(self._catalog.store, commit)
        if tree is not None and path not in tree.files:
            return _no_entry(path, repo, commit)
        names = ", ".join(dict.fromkeys(shelf.entry.name for shelf in commit.shelves))
        return RefusedError(
            403,
            f"{path} of {repo.id} at {commit.sha[:12]} is not held by this server: {names} was pinned without it. "
            "On the server: allow it in the manifest, then assetmgr lock and assetmgr pull",
            "RevisionNotFound",
            (("X-Repo-Commit", commit.sha),),
        )

    def _info(self, repo: Repo, commit: Commit, *, blobs: bool) -> dict[str, Any]:
        tree = self._tree(repo, commit)
        entry = commit.shelves[0].entry
        shown: dict[str, Any] = {
            "_id": commit.sha[:24],
            "id": repo.id,
            "author": repo.id.rpartition("/")[0],
            "sha": commit.sha,
            "private": False,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [f"license:{entry.license}"] if entry.license else [],
            "siblings": [row.sibling(blobs=blobs) for row in tree.files.values()],
        }
        if repo.kind == "model":
            shown["modelId"] = repo.id
        if entry.license:
            shown["cardData"] = {"license": entry.license}
        return shown


def revision_and_path(parts: Sequence[str]) -> tuple[str, str]:
    """Split a revision from the path that follows it; ``refs/pr/1`` may also come with plain slashes."""
    taken = 3 if parts and parts[0] == "refs" and len(parts) >= 3 else 1
    if any("/" in part for part in parts[taken:]):
        raise RefusedError(400, "a path's slashes are not escaped")
    return "/".join(parts[:taken]), "/".join(parts[taken:])


def whoami(request: Request, *, checked: bool) -> Answer:
    """Answer ``/api/whoami-v2``: who has a token is let through, and there is one user."""
    if not checked and not request.headers.get("authorization", ""):
        raise RefusedError(401, "Invalid username or password.")
    access = {"type": "access_token", "accessToken": {"displayName": "assetmgr serve", "role": "read"}}
    return json_answer(
        {"type": "user", "id": "0", "name": "assetmgr", "fullname": "assetmgr", "orgs": [], "auth": access}
    )


def _commit(repo: Repo, revision: str) -> Commit:
    commit = repo.commit(revision)
    if commit is None:
        there = ", ".join([*sorted(repo.revisions), *repo.commits][:20])
        raise RefusedError(
            404, f"this server holds no revision {revision!r} of {repo.id}; there is {there}", "RevisionNotFound"
        )
    return commit


def _no_entry(path: str, repo: Repo, commit: Commit) -> RefusedError:
    told = (("X-Repo-Commit", commit.sha),)
    return RefusedError(404, f"there is no {path!r} in {repo.id} at {commit.sha[:12]}", "EntryNotFound", told)


def unproved(what: str, mend: str, why: str = "is not as it was proved", headers: Headers = ()) -> RefusedError:
    """The refusal of a file that is not what was proved, or never was."""
    return RefusedError(
        404,
        f"{what} is not given out: on the server's disk it {why}; {mend}",
        "RevisionNotFound",
        headers,
    )


def _told_mend(name: str) -> str:
    return f"on the server: assetmgr verify {name} --repair"


def _file_answer(held: Held, blob: str, path: str, told: Headers, *, lfs: bool) -> Answer:
    name = path.rpartition("/")[2]
    plain = "".join(
        letter if letter.isascii() and letter.isprintable() and letter not in '"\\' else "_" for letter in name
    )
    headers: Headers = (
        ("Content-Type", "application/octet-stream"),
        ("Content-Disposition", f"inline; filename*=UTF-8''{quote(name, safe='')}; filename=\"{plain}\";"),
        *told,
    )
    if lfs:
        headers = (*headers, ("X-Linked-Etag", f'"{blob}"'), ("X-Linked-Size", str(held.stamp.size)))
    return Answer(200, headers, held=held, etag=f'"{blob}"')


def _refs(repo: Repo) -> dict[str, Any]:
    """What ``/refs`` shows. Whether a name is a branch or a tag, no lock says: here it is a branch."""

    def rows(begins: str, prefix: str = "") -> list[dict[str, str]]:
        return [
            {"name": name, "ref": f"{prefix}{name}", "targetCommit": sha}
            for name, sha in sorted(repo.revisions.items())
            if (name.startswith(begins) if begins else not name.startswith("refs/"))
        ]

    return {
        "branches": rows("", "refs/heads/"),
        "converts": rows("refs/convert/"),
        "pullRequests": rows("refs/pr/"),
        "tags": [],
    }


def _page(request: Request, rows: Sequence[Mapping[str, Any]], origin: str) -> Answer:
    """One page of a tree, and where the next one is."""
    limit, cursor = (request.query.get(name, default) for name, default in (("limit", str(_PAGE)), ("cursor", "0")))
    if not all(text.isascii() and text.isdigit() and len(text) < 10 for text in (limit, cursor)):
        raise RefusedError(400, "limit and cursor are numbers")
    size, start = max(1, min(_PAGE, int(limit))), int(cursor)
    headers: Headers = ()
    if start + size < len(rows):
        query = urlencode({**request.query, "cursor": str(start + size)})
        headers = (("Link", f'<{origin}{request.target.partition("?")[0]}?{query}>; rel="next"'),)
    return json_answer(rows[start : start + size], headers)


def _paths_info(request: Request, tree: Tree) -> list[dict[str, Any]]:
    """Answer a POST that asks about paths, sent as a form or as JSON."""
    try:
        if "json" in request.headers.get("content-type", ""):
            asked = json.loads(request.body)
            paths = asked.get("paths", []) if isinstance(asked, dict) else None
        else:
            paths = parse_qs(request.body.decode(), max_num_fields=_PATHS_MOST + 10).get("paths", [])
    except (ValueError, RecursionError):
        raise RefusedError(400, "the body asks about no paths") from None
    paths = [paths] if isinstance(paths, str) else paths
    if not isinstance(paths, list) or len(paths) > _PATHS_MOST or not all(isinstance(path, str) for path in paths):
        raise RefusedError(400, f"the body names no list of up to {_PATHS_MOST:,} paths")
    rows = [
        tree.files[path].listed() if path in tree.files else tree.folder(path)
        for path in paths
        if path in tree.files or path in tree.folders
    ]
    return rows
