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

from assetmgr.errors import AssetError, OriginError, UnsafeNameError, about
from assetmgr.names import check_digest
from assetmgr.origins.hub_errors import RefusedError, refused
from assetmgr.transfer.documents import Document
from assetmgr.transfer.links import next_link
from assetmgr.transfer.source import Source
from assetmgr.transfer.urls import address, printable, safe_url

# Bytes. One page of a tree holds a thousand files or so, of some hundred bytes each; all pages together hold millions.
_PAGE_MOST = 64 << 20
_LISTING_MOST = 1 << 30
_ROWS_MOST = 5_000_000

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
            info = self._info(name, kind, repo, job["revision"])
            commit = info["sha"]
            tree = list(self._tree(name, kind, repo, commit))
            selected = select((file["path"] for file in tree), job["allow"], job["ignore"])
            told = {"card": info.get("cardData"), "tags": info.get("tags")}
            return {"event": "result", "commit": commit, "tree": tree, "selected": selected, **told}
        except RefusedError as error:
            return {"event": "error", **error.answer}
        except AssetError as error:
            raise about(error, name) from None

    def _info(self, name: str, kind: str, repo: str, revision: str) -> dict[str, Any]:
        """What the hub says of a branch, tag or commit: ``sha`` is the commit that it names."""
        where = f"{self._endpoint}/api/{kind}s/{repo}/revision/{quote(revision, safe='')}"
        info, document = self._get(name, where)
        if not isinstance(info, dict) or not isinstance(info.get("sha"), str):
            raise _no_listing(document.url)
        check_digest(info["sha"], "git_sha1", f"{safe_url(document.url)}: commit")
        return info

    def _tree(self, name: str, kind: str, repo: str, commit: str) -> Iterator[dict[str, Any]]:
        """Every file of a commit: ``path``, ``size``, ``git_sha1``, and ``sha256`` where the hub has it."""
        url: str | None = f"{self._endpoint}/api/{kind}s/{repo}/tree/{commit}?recursive=true&expand=false"
        pages, paths = set(), set()
        size = count = 0
        while url is not None:
            pages.add(url)
            rows, document = self._get(name, url)
            if not isinstance(rows, list):
                raise _no_listing(document.url)
            size, count = size + len(document.data), count + len(rows)
            if size > _LISTING_MOST or count > _ROWS_MOST:
                raise OriginError(
                    f"{safe_url(document.url)}: a listing of more than {_LISTING_MOST:,} bytes or {_ROWS_MOST:,} files"
                )
            for row in rows:
                for file in _files(row, document.url):
                    if file["path"] in paths:
                        raise UnsafeNameError(
                            f"{safe_url(document.url)}: lists {file['path']!r} twice",
                            mend="nothing was written; do not use this repo, or tell who runs the hub",
                        )
                    paths.add(file["path"])
                    yield file
            url = self._next(document)
            if url in pages:
                raise OriginError(
                    f"{safe_url(document.url)}: the listing does not end: its next page was there before",
                    mend="tell who runs the hub",
                )

    def _next(self, document: Document) -> str | None:
        """The page after one. The token goes along: not to wherever a page may point."""
        try:
            url = next_link(document.headers.get("Link", ""), document.url)
        except ValueError as error:
            raise OriginError(
                f"{safe_url(document.url)}: its Link header is none ({error}): there may be more pages, or not",
                mend="tell who runs the hub; what was listed is not all",
            ) from None
        if url is not None and not self._is_own(url):
            raise OriginError(
                f"{safe_url(document.url)}: its next page is elsewhere, at {printable(safe_url(url))}: refused"
            )
        return url

    def _is_own(self, url: str) -> bool:
        try:
            return address(url) == address(self._endpoint)
        except OriginError:
            return False

    def _get(self, name: str, url: str) -> tuple[Any, Document]:
        """What a JSON document holds, and the document."""
        document = self._read(Source(url, self._token, refusal=refused), _PAGE_MOST, name)
        try:
            return json.loads(document.data), document
        except (ValueError, RecursionError):
            raise _no_listing(document.url) from None


def _files(row: object, url: str) -> Iterator[dict[str, Any]]:
    if not isinstance(row, dict) or not isinstance(row.get("type"), str):
        raise _no_listing(url)
    if row["type"] != "file":
        return
    file = {"path": row.get("path"), "size": row.get("size"), "git_sha1": row.get("oid")}
    lfs = row.get("lfs")
    if isinstance(lfs, Mapping):
        file |= {"sha256": lfs.get("oid"), "size": lfs.get("size")}
    kinds = {"path": str, "size": int, "git_sha1": str, "sha256": str}
    if any(type(value) is not kinds[key] for key, value in file.items()):
        raise _no_listing(url)
    try:
        json.dumps(file, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write and no text can hold
        raise _no_listing(url) from None
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
