"""What a hub's API says of a repo: the commit of a revision, and every file of that commit. Over the transfer engine.

`snapshot_download`'s own transport asks through huggingface_hub instead; the answers are the same.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from assetmgr.errors import OriginError
from assetmgr.origins.hub_errors import RefusedError, refused
from assetmgr.transfer.documents import Document
from assetmgr.transfer.source import Source
from assetmgr.transfer.urls import address, safe_url

# One page of a tree holds a thousand files or so.
_PAGE_MOST = 64 << 20
_PAGES_MOST = 100_000
_NEXT = re.compile(r"<([^<>\s]{1,4000})>\s*;[^,]{0,200}\brel=\"?next\b")

Read = Callable[[Source, int, str], Document]


class HubListing:
    """The API of one hub. ``read`` gets a document, of so many bytes at the most, in the name of an asset."""

    def __init__(self, endpoint: str, token: str | None, read: Read) -> None:
        self._endpoint, self._token, self._read = endpoint, token, read

    def answer(self, name: str, job: Mapping[str, Any]) -> dict[str, Any]:
        """Do a job as the child would: ``resolve``, ``tree`` or ``exists``, with an event for an answer."""
        kind, repo = job["kind"], job["repo"]
        try:
            if job["do"] == "exists":
                self._get(name, f"{self._endpoint}/api/{kind}s/{repo}")
                return {"event": "result"}
            if job["do"] == "tree":
                return {"event": "result", "tree": list(self._tree(name, kind, repo, job["commit"]))}
            commit = self._commit(name, kind, repo, job["revision"])
            tree = list(self._tree(name, kind, repo, commit))
            selected = select((file["path"] for file in tree), job["allow"], job["ignore"])
            return {"event": "result", "commit": commit, "tree": tree, "selected": selected}
        except RefusedError as error:
            return {"event": "error", **error.answer}

    def _commit(self, name: str, kind: str, repo: str, revision: str) -> str:
        """The commit that a branch, tag or commit names."""
        info, _, url = self._get(name, f"{self._endpoint}/api/{kind}s/{repo}/revision/{quote(revision, safe='')}")
        if not isinstance(info, dict) or not isinstance(info.get("sha"), str):
            raise _no_listing(url)
        return str(info["sha"])

    def _tree(self, name: str, kind: str, repo: str, commit: str) -> Iterator[dict[str, Any]]:
        """Every file of a commit: ``path``, ``size``, ``git_sha1``, and ``sha256`` where the hub has it."""
        url: str | None = f"{self._endpoint}/api/{kind}s/{repo}/tree/{commit}?recursive=true&expand=false"
        for _ in range(_PAGES_MOST):
            if url is None:
                return
            rows, link, answered = self._get(name, url)
            if not isinstance(rows, list):
                raise _no_listing(answered)
            for row in rows:
                yield from _files(row, answered)
            found = _NEXT.search(link)
            url = found[1] if found else None
            # The token goes along: not to wherever a page may point.
            if url is not None and address(url) != address(self._endpoint):
                raise OriginError(f"{safe_url(answered)}: its next page is elsewhere, at {safe_url(url)}: refused")
        raise OriginError(f"{safe_url(self._endpoint)}: the listing of {repo} does not end")

    def _get(self, name: str, url: str) -> tuple[Any, str, str]:
        """A JSON document, the Link header that came with it, and who answered."""
        document = self._read(Source(url, self._token, refusal=refused), _PAGE_MOST, name)
        try:
            return json.loads(document.data), document.headers.get("Link", ""), document.url
        except (ValueError, RecursionError):
            raise _no_listing(document.url) from None


def _files(row: object, url: str) -> Iterator[dict[str, Any]]:
    if not isinstance(row, dict):
        raise _no_listing(url)
    if row.get("type") != "file":
        return
    file = {"path": row.get("path"), "size": row.get("size"), "git_sha1": row.get("oid")}
    lfs = row.get("lfs")
    if isinstance(lfs, Mapping):
        file |= {"sha256": lfs.get("oid"), "size": lfs.get("size")}
    kinds = {"path": str, "size": int, "git_sha1": str, "sha256": str}
    if any(type(value) is not kinds[key] for key, value in file.items()):
        raise _no_listing(url)
    yield file


def _no_listing(url: str) -> OriginError:
    return OriginError(
        f"{safe_url(url)}: its answer is not what a hub's API says",
        mend="check HF_ENDPOINT (or `endpoint:`): a proxy or a login page may answer in the hub's place",
    )


def select(paths: Iterable[str], allow: Sequence[str] | None, ignore: Sequence[str] | None) -> list[str]:
    """The paths that patterns select, as `snapshot_download` reads them: ``*`` crosses folders, ``name/`` is one."""

    def compiled(patterns: Sequence[str]) -> Callable[[str], object]:
        slashed = [pattern.replace("\\", "/") for pattern in patterns]
        globs = [re.compile(fnmatch.translate(f"{one}*" if one.endswith("/") else one)) for one in slashed]
        return lambda path: any(glob.match(path) for glob in globs)

    allowed = compiled(allow) if allow is not None else lambda path: True
    ignored = compiled(ignore) if ignore is not None else lambda path: False
    return [path for path in paths if allowed(path) and not ignored(path)]
