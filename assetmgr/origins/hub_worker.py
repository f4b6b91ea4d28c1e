"""The child process that talks to a hub: the only module that imports huggingface_hub.

It is a process of its own for four reasons. huggingface_hub reads its environment at import and keeps one HTTP
client for the whole process: neither is ours to change in a user's program. Its downloads do not end on Ctrl-C: a
process can be ended. And starting it costs a quarter of a second, which only a run that needs a hub should pay.

Protocol: one JSON job a line on standard input, any number of ``{"event": ...}`` lines on standard output, the last
of a job being ``result`` or ``error``. When standard input closes, the parent is gone or done, and the child ends at
once, whatever it is at.
"""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from assetmgr.names import is_blob_name
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.retry import PASSING, delay

# How many exact names one call's patterns may hold: huggingface_hub tries every pattern on every name.
_NAMES_A_CALL = 200


class UnsafeEtagError(Exception):
    """A server named a blob by something that is no digest. huggingface_hub would join it to a path."""


class AskedTooMuchError(Exception):
    """A server answered that it is busy, more often or for longer than the limits allow."""


def main() -> None:
    """Serve jobs until standard input closes."""
    jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    source = sys.stdin.buffer
    # What a library prints must not be taken for an event.
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lock = threading.Lock()

    def emit(event: dict[str, Any]) -> None:
        with lock:
            events.write(json.dumps(event) + "\n")
            events.flush()

    def read() -> None:
        for line in source:
            jobs.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    client: Client | None = None
    while True:
        job = jobs.get()
        try:
            client = client or Client(Limits(**job["limits"]), emit)
            emit({"event": "result", **client.run(job)})
        except Exception as error:  # noqa: BLE001 - the parent raises it, as one of its own
            emit({"event": "error", **describe(error)})


class Client:
    """huggingface_hub, made patient and suspicious."""

    def __init__(self, limits: Limits, emit: Callable[[dict[str, Any]], None]) -> None:
        os.environ.update(
            HF_HUB_DISABLE_SHARED_BLOBS="1",  # a staged blob must be a file of its own, which can be renamed
            HF_HUB_DISABLE_PROGRESS_BARS="1",
            HF_HUB_DISABLE_TELEMETRY="1",
            HF_HUB_DOWNLOAD_TIMEOUT=os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT") or str(int(limits.read_timeout)),
        )
        import huggingface_hub
        from huggingface_hub.utils import _http, filter_repo_objects  # type: ignore[attr-defined]

        self._hub = huggingface_hub
        self._filter = filter_repo_objects
        self._limits = limits
        self._emit = emit
        self._trace = False
        if hasattr(huggingface_hub, "set_client_factory"):  # 1.0 and later, on httpx
            default = _http.default_client_factory
            huggingface_hub.set_client_factory(lambda: self._patient(default()))
        else:
            plain = _http._default_backend_factory  # type: ignore[attr-defined]
            huggingface_hub.configure_http_backend(lambda: self._patient(plain()))

    def _patient(self, client: Any) -> Any:
        """Try passing failures again, and check every etag before anyone can use it as a file name."""
        send = client.send

        def patient(request: Any, **options: Any) -> Any:
            attempt = 1
            while True:
                begun = time.monotonic()
                try:
                    response = send(request, **options)
                except Exception as error:
                    self._tell(request, type(error).__name__, 0, begun)
                    if not _is_passing(error):
                        raise
                    why = f"{type(error).__name__}: {error}"[:200]
                    wait = delay(attempt, None, self._limits)
                    if wait is None:
                        # An error of ours: huggingface_hub would try its own again, and each of them that often.
                        raise AskedTooMuchError(f"{request.url}: {why}, {_times(attempt)}") from error
                else:
                    self._tell_answers(response, begun)
                    if response.status_code not in PASSING:
                        _check_etags(response)
                        return response
                    asked = response.headers.get("Retry-After")
                    wait = delay(attempt, asked, self._limits)
                    why = f"HTTP {response.status_code}"
                    response.close()
                    if wait is None:
                        asked = f", which asks to come back after {asked!r}" if asked else ""
                        raise AskedTooMuchError(f"{request.url}: {why} from the server{asked}, {_times(attempt)}")
                self._emit({"event": "wait", "why": why, "url": str(request.url), "seconds": round(wait, 1)})
                time.sleep(wait)
                attempt += 1

        client.send = patient
        return client

    def _tell_answers(self, response: Any, begun: float) -> None:
        """Tell of an answer and of the redirects before it, each once: requests sends those through here, httpx not."""
        for answer in (*response.history, response) if self._trace else ():
            if not getattr(answer, "is_told", False):
                answer.is_told = True
                length = answer.headers.get("Content-Length", "")
                is_empty = answer is not response or answer.request.method == "HEAD"
                size = int(length) if length.isdigit() and not is_empty else 0
                self._tell(answer.request, str(answer.status_code), size, begun)

    def _tell(self, request: Any, came: str, size: int, begun: float) -> None:
        if self._trace:
            seconds = time.monotonic() - begun
            told = {"method": str(request.method), "url": str(request.url), "came": came, "size": size}
            self._emit({"event": "request", **told, "seconds": seconds})

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """Do one job: ``resolve``, ``tree``, ``exists`` or ``fetch``."""
        self._trace = bool(job.get("trace"))
        token = self._token(job["endpoint"])
        api = self._hub.HfApi(endpoint=job["endpoint"], token=token, library_name="assetmgr")
        repo, kind = job["repo"], job["kind"]
        if job["do"] == "exists":
            api.repo_info(repo, repo_type=kind, revision=job.get("revision"))
            return {}
        if job["do"] == "resolve":
            info = api.repo_info(repo, repo_type=kind, revision=job["revision"])
            commit, card = str(info.sha), getattr(info, "card_data", None)
            tree = list(self._tree(api, repo, kind, commit))
            selected = self._filter(
                [file["path"] for file in tree], allow_patterns=job["allow"], ignore_patterns=job["ignore"]
            )
            told = {
                "card": {key: getattr(card, key, None) for key in ("license", "license_name")},
                "tags": getattr(info, "tags", None),
            }
            return {"commit": commit, "tree": tree, "selected": list(selected), **told}
        if job["do"] == "tree":
            return {"tree": list(self._tree(api, repo, kind, job["commit"]))}
        self._fetch(job, token)
        return {}

    def _token(self, endpoint: str) -> str | bool:
        """The user's token, for the hub that it is for, and no other."""
        own = os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
        if endpoint != own or self._hub.constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
            return False
        return self._hub.get_token() or False

    def _tree(self, api: Any, repo: str, kind: str, commit: str) -> Iterator[dict[str, Any]]:
        for item in api.list_repo_tree(repo, recursive=True, revision=commit, repo_type=kind):
            if not hasattr(item, "blob_id"):
                continue  # a folder
            file = {"path": item.path, "size": item.size, "git_sha1": item.blob_id}
            if item.lfs is not None:
                file |= {"sha256": item.lfs.sha256, "size": item.lfs.size}
            yield file

    def _fetch(self, job: dict[str, Any], token: str | bool) -> None:
        """Run `snapshot_download` for exactly the wanted files; again while it gets on, when a connection breaks."""
        wanted: list[dict[str, Any]] = job["files"]
        folder = os.path.join(job["cache"], f"{job['kind']}s--{job['repo'].replace('/', '--')}")
        calls: list[dict[str, Any]]
        if self._select_by_tree(folder, job["commit"], wanted) or job["whole"]:
            calls = [{"allow_patterns": job["allow"], "ignore_patterns": job["ignore"]}]
        else:
            names = [_exactly(file["path"]) for file in wanted]
            chunks = range(0, len(names), _NAMES_A_CALL)
            calls = [{"allow_patterns": names[start : start + _NAMES_A_CALL]} for start in chunks]
        for call in calls:
            attempt, before = 1, -1
            while True:
                try:
                    self._hub.snapshot_download(
                        job["repo"],
                        repo_type=job["kind"],
                        revision=job["commit"],
                        cache_dir=job["cache"],
                        endpoint=job["endpoint"],
                        token=token,
                        max_workers=self._limits.jobs,
                        library_name="assetmgr",
                        **call,
                    )
                    break
                except Exception as error:
                    arrived = _count_files(os.path.join(folder, "blobs"))
                    attempt, before = (1 if arrived > before >= 0 else attempt), arrived
                    wait = delay(attempt, None, self._limits) if _is_passing(error) else None
                    if wait is None:
                        raise
                    why = f"{type(error).__name__}: {error}".splitlines()[0][:200]
                    self._emit({"event": "wait", "why": why, "url": job["endpoint"], "seconds": round(wait, 1)})
                    time.sleep(wait)
                    attempt += 1

    def _select_by_tree(self, folder: str, commit: str, wanted: list[dict[str, Any]]) -> bool:
        """Say by huggingface_hub's own listing of the staged commit what there is to fetch: just what is wanted.

        Where it keeps one (2.x), no request lists the repo again, and no pattern is tried on any name.
        """
        if importlib.util.find_spec("huggingface_hub._tree_cache") is None:
            return False
        from huggingface_hub import _tree_cache

        if _tree_cache.TREE_CACHE_FORMAT_VERSION != 1:
            return False
        entries = {
            file["path"]: _tree_cache.TreeCacheEntry(
                size=file["size"],
                blob_id=file["git_sha1"] or "0" * 40,
                lfs_sha256=None if file["git_sha1"] else file["sha256"],
                lfs_size=None if file["git_sha1"] else file["size"],
            )
            for file in wanted
        }
        _tree_cache.write_tree_cache(folder, commit, entries)
        return bool(_tree_cache.read_tree_cache(folder, commit) == entries)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _exactly(name: str) -> str:
    """A pattern that matches one name: ``[`` opens a class in fnmatch, and a class of one is how it is escaped."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _count_files(folder: str) -> int:
    try:
        return sum(not name.endswith(".incomplete") for name in os.listdir(folder))
    except OSError:
        return 0


def _check_etags(response: Any) -> None:
    for header in ("ETag", "X-Linked-Etag"):
        etag = response.headers.get(header)
        # Only these two headers of a `resolve` answer become file names; the API's own answers carry weak etags.
        if etag is None or "/resolve/" not in str(response.url):
            continue
        name = etag[2:] if etag.startswith("W/") else etag
        if not is_blob_name(name.strip('"')):
            response.close()
            raise UnsafeEtagError(f"{response.url}: unsafe {header} {etag[:100]!r}: not 40 or 64 hex digits")


_PASSING_ERRORS = {
    # httpx and requests, by name: which of them is there depends on huggingface_hub's version
    "ConnectError", "ConnectTimeout", "ReadError", "ReadTimeout", "WriteError", "WriteTimeout", "PoolTimeout",
    "CloseError", "RemoteProtocolError", "NetworkError", "TimeoutException", "TransportError",
    "ConnectionError", "Timeout", "ChunkedEncodingError", "ProtocolError", "IncompleteRead", "ReadTimeoutError",
    "ConnectionResetError", "RemoteDisconnected", "BrokenPipeError", "SSLEOFError",
}  # fmt: skip
_FINAL_ERRORS = {
    "OfflineModeIsEnabled", "ProxyError", "SSLError", "SSLCertVerificationError", "InvalidURL", "UnsupportedProtocol",
}  # fmt: skip


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(20):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__


def _is_passing(error: BaseException) -> bool:
    names = [kind.__name__ for link in _chain(error) for kind in type(link).__mro__]
    if any(name in _FINAL_ERRORS or name in ("UnsafeEtagError", "AskedTooMuchError") for name in names):
        return False
    if any(getattr(link, "response", None) is not None for link in _chain(error)):
        return False  # an answer came, and the patient client has done what can be done about it
    if any("Consistency check failed" in str(link) for link in _chain(error)):
        return True
    return any(name in _PASSING_ERRORS for name in names)


def describe(error: BaseException) -> dict[str, Any]:
    """An exception as the parent can tell it: its kind, and words without a traceback."""
    chain = list(_chain(error))
    names = [kind.__name__ for link in chain for kind in type(link).__mro__]
    responses = [getattr(link, "response", None) for link in chain]
    status = next((response.status_code for response in responses if response is not None), None)
    found: dict[str, Any] = {
        "status": status,
        "text": str(error).strip()[:2000],
        "type": type(error).__name__,
    }
    if "UnsafeEtagError" in names:
        unsafe = next(link for link in chain if isinstance(link, UnsafeEtagError))
        return found | {"kind": "unsafe", "text": str(unsafe)}
    if "AskedTooMuchError" in names:
        busy = next(link for link in chain if isinstance(link, AskedTooMuchError))
        return found | {"kind": "network", "text": str(busy)}
    for name, kind in (
        ("GatedRepoError", "gated"),
        ("DisabledRepoError", "disabled"),
        ("RevisionNotFoundError", "revision"),
        ("RepositoryNotFoundError", "repo"),
        ("EntryNotFoundError", "entry"),
        ("RemoteEntryNotFoundError", "entry"),
    ):
        if name in names and not (
            name == "EntryNotFoundError" and "LocalEntryNotFoundError" in names and status is None
        ):
            return found | {"kind": kind}
    if "OfflineModeIsEnabled" in names:
        return found | {"kind": "offline"}
    for link in chain:
        if isinstance(link, OSError) and link.errno in (28, 122):
            return found | {"kind": "disk", "text": f"{link.filename or ''}: {link.strerror}".lstrip(": ")}
    if status in (401, 403):
        return found | {"kind": "access"}
    if status is not None or _is_passing(error) or any(name in _FINAL_ERRORS for name in names):
        return found | {
            "kind": "network",
            "text": "; ".join(dict.fromkeys(str(link)[:300] for link in chain[-2:])),
        }
    return found | {"kind": "other"}
