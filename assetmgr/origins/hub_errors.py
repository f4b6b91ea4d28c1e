"""What can go wrong with a hub, told to the person who can mend it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from assetmgr.errors import (
    AccessError,
    AssetError,
    DiskSpaceError,
    OfflineError,
    OriginError,
    RepoNotFoundError,
    RevisionNotFoundError,
    UnsafeNameError,
    UsageError,
)
from assetmgr.manifest_urls import endpoint_fault
from assetmgr.transfer.evidence import Headers
from assetmgr.transfer.proxied import proxies_for, proxy_name
from assetmgr.transfer.retry import PASSING
from assetmgr.transfer.urls import clean, safe_url

_KINDS = {
    "GatedRepo": "gated",
    "RepoNotFound": "repo",
    "RevisionNotFound": "revision",
    "EntryNotFound": "entry",
}


class RefusedError(Exception):
    """A hub's final answer that is no document. ``answer`` is as `as_error` takes it, which knows what to say."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(str(answer["text"]))
        self.answer = answer


def refused(status: int, headers: Headers, *, is_api: bool = True) -> RefusedError:
    """What a hub's refusal means. Its own words are in two headers; without them a 401 of its API may be any repo."""
    code, words = headers.get("X-Error-Code", ""), headers.get("X-Error-Message", "")[:300]
    kind = _KINDS.get(code)
    if kind is None and words == "Access to this resource is disabled.":
        kind = "disabled"
    if kind is None and status in (401, 403):
        is_open = status == 401 and is_api and words != "Invalid credentials in Authorization header"
        kind = "repo" if is_open else "access"
    text = f"HTTP {status}: {words}" if words else f"HTTP {status}"
    return RefusedError({"kind": kind or "other", "status": status, "text": text})


def default_endpoint() -> str:
    """The hub of the environment: ``HF_ENDPOINT``, or the public one.

    Raises
    ------
    UsageError
        When ``HF_ENDPOINT`` is no address of a hub.
    """
    said = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    if said and (fault := endpoint_fault(said)):
        raise UsageError(
            f"HF_ENDPOINT: {safe_url(said)!r}: {fault}", mend="set it to the address of a hub, or unset it"
        )
    return said or "https://huggingface.co"


def is_set(variable: str) -> bool:
    """Whether a variable says yes, as huggingface_hub reads its own."""
    return os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE")


def as_error(
    endpoint: str, name: str, kind: str, repo: str, job: Mapping[str, Any], answer: Mapping[str, Any]
) -> AssetError:
    """The child's answer as one of our errors, with the mend that this hub and this token allow."""
    hub, status = safe_url(endpoint), answer["status"]
    page = f"{hub}/{'datasets/' if kind == 'dataset' else ''}{repo}"
    own = endpoint == default_endpoint()
    if own and is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN"):
        allow = "unset HF_HUB_DISABLE_IMPLICIT_TOKEN, which keeps your token from being sent"
    elif own:
        allow = "give a token that may read it (one that has expired may read nothing): HF_TOKEN, or `hf auth login`"
    else:
        allow = f"HF_TOKEN goes to {safe_url(default_endpoint())} alone; to use it here set HF_ENDPOINT={hub}"
    if answer["kind"] == "gated":
        return AccessError(f"{name}: {repo} is gated", mend=f"accept its terms at {page}, then {allow}")
    if answer["kind"] in ("disabled", "access"):
        return AccessError(f"{name}: {repo}: {hub} refuses it (HTTP {status})", mend=allow)
    if answer["kind"] == "repo" and status in (401, 403):
        return AccessError(
            f"{name}: {repo}: private, or not there at all: {hub} does not say which without a token (HTTP {status})",
            mend=f"correct the name if it is misspelt; else {allow}",
        )
    if answer["kind"] == "repo":
        return RepoNotFoundError(
            f"{name}: no {kind} {repo} on {hub}",
            mend="correct `hub:` in the manifest, or give a token that may see it",
        )
    if answer["kind"] == "revision":
        wanted = job.get("revision") or job.get("commit")
        return RevisionNotFoundError(
            f"{name}: {repo} has no revision {wanted!r} on {hub}",
            mend="correct `revision:` in the manifest, or take the newest: assetmgr lock --upgrade " + name,
        )
    if answer["kind"] == "unsafe":
        return UnsafeNameError(f"{name}: {repo}: {answer['text']}", mend="nothing was written; do not use this hub")
    if answer["kind"] == "disk":
        return DiskSpaceError(
            f"{name}: {answer['text']}", mend="free some space and pull again: it goes on where it was"
        )
    if answer["kind"] == "offline":
        return OfflineError(f"{name}: HF_HUB_OFFLINE is set", mend="unset it to ask the hub")
    text = re.sub(r"\s+", " ", clean(answer["text"]))[:500]
    proxies = proxies_for(endpoint)
    if status is None and proxies:
        return OriginError(
            f"{name}: {repo} from {hub} through the proxy {proxy_name(endpoint, proxies)}: {text}",
            mend="see to the proxy, or correct HTTP_PROXY, HTTPS_PROXY and NO_PROXY; what has arrived is kept",
        )
    mend = "repeat the command; what has arrived is kept"
    if answer["kind"] in ("other", "network") and status is not None and status not in PASSING:
        mend = "check HF_ENDPOINT (or `endpoint:`) and `hub:`: that is not how a hub says that something is not there"
    return OriginError(f"{name}: {repo} from {hub}: {text}", mend=mend)
