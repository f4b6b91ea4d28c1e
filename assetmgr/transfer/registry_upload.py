"""Sending to an OCI registry, as the distribution specification 1.1 has it ("Pushing blobs", "Pushing manifests").

A small content goes in one piece. A large one is a PATCH that is gone on with where the registry says it was, when the
connection broke; the PUT at its end names the digest, which the registry checks again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar
from urllib.parse import quote

from assetmgr.errors import AccessError, AssetError, OriginError
from assetmgr.registry_urls import Repository
from assetmgr.transfer.admission import Admission
from assetmgr.transfer.connection import Answer
from assetmgr.transfer.documents import read_document
from assetmgr.transfer.retry import PASSING, Attempts, PassingError, window_end
from assetmgr.transfer.source import Source
from assetmgr.transfer.urls import clean, redirect_target, safe_url
from assetmgr.transfer.wire import Wire

# Bytes of a content that goes in one piece.
SMALL = 4 << 20
# Bytes of a registry's words that are looked at.
_WORDS = 64 * 1024
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})", re.ASCII)
_AGAIN = "what was pushed stays there: repeat the command when the registry is well again"
_BYTES = "application/octet-stream"
_T = TypeVar("_T")


class Content(Protocol):
    """What is sent."""

    @property
    def sha256(self) -> str: ...
    @property
    def size(self) -> int: ...

    def pieces(self, start: int) -> Iterator[bytes]:
        """The bytes from ``start`` on; called as often as they must be sent."""

    def prove(self) -> None:
        """Raise where what was read is not what the digest says."""


class Uploads:
    """Into one repository, over a run's connections. Thread-safe."""

    def __init__(self, wire: Wire, repository: Repository) -> None:
        self._wire, self._repository = wire, repository
        admission = Admission(repository.base, repository.name, "pull,push")
        self._source = Source(repository.uploads, logins=False, admission=admission)
        # A registry that has all bytes may take its time to put them where they belong.
        patient = dataclasses.replace(wire.limits, read_timeout=wire.limits.push_timeout)
        self._patient = dataclasses.replace(self._source, limits=patient)

    def held_size(self, sha256: str) -> int | None:
        """How large a content is there; None where it is not, -1 where the registry does not tell."""

        def look() -> int | None:
            answer = self._wire.send(self._source, "HEAD", self._repository.blob(sha256), {"Accept": "*/*"})
            with contextlib.closing(answer):
                if answer.status == 404:
                    return None
                self._expect(answer, "HEAD", 200)
                length = answer.headers.get("Content-Length", "")
                return int(length) if length.isascii() and length.isdigit() else -1

        return self._patiently(look)

    def read(self, sha256: str) -> Iterator[bytes]:
        """The bytes of a content that is there. A connection that breaks ends it."""
        source = dataclasses.replace(self._source, url=self._repository.blob(sha256))
        with contextlib.closing(self._patiently(lambda: self._wire.ask(source))) as answer:
            view = memoryview(bytearray(1 << 20))
            try:
                while count := answer.receive(view):
                    self._wire.check()
                    yield bytes(view[:count])
            except PassingError as error:
                raise OriginError(f"{self._repository.base}: {error}", mend=_AGAIN) from None

    def document(self, url: str, most: int, accept: str) -> bytes | None:
        """A small document that is there, a manifest or a blob; None where it is not."""
        source = dataclasses.replace(self._source, url=url, accept=accept)
        try:
            return read_document(source, self._wire, most=most, label=self._repository.name, say=_unsaid).data
        except OriginError as error:
            if error.is_absent:
                return None
            raise

    def send(self, content: Content) -> None:
        """Send a content whole.

        Raises
        ------
        AccessError, OriginError
            When the registry does not take it.
        AssetError
            As the content's own reading raises.
        """
        if content.size <= SMALL:
            data = b"".join(content.pieces(0))
            content.prove()

            def send() -> None:
                self._close(self._begin(), content, lambda: [data], len(data))

            self._patiently(send)
            return
        self._send_large(content)

    def _send_large(self, content: Content) -> None:
        attempts = Attempts(self._wire.limits)
        place, start = "", 0
        while True:
            before = start
            try:
                if not place:
                    place, start = self._begin(), 0
                if start < content.size:
                    place = self._patch(place, content, start)
                    start = content.size
                try:
                    content.prove()
                except AssetError:
                    self._abandon(place)
                    raise
                self._close(place, content, tuple, 0)
                return
            except PassingError as error:
                if place:
                    place, start = self._where(place, content.size)
                wait = attempts.failed(max(start - before, 0), error.asked)
                if wait is None:
                    raise self._given_up(attempts, error) from None
                self._wire.stop.wait(wait)
                # The answer to the last request may be what was lost.
                if start in (0, content.size) and self.held_size(content.sha256) == content.size:
                    return

    def put_manifest(self, reference: str, data: bytes, media_type: str) -> None:
        """Put a manifest under a tag or its digest. All that it names must be there."""

        def put() -> None:
            headers = {"Content-Type": media_type, "Content-Length": str(len(data))}
            url = self._repository.manifest(reference)
            with contextlib.closing(self._wire.send(self._patient, "PUT", url, headers, lambda: [data])) as answer:
                self._expect(answer, "PUT", 201)

        self._patiently(put)

    # --- single requests ------------------------------------------------------------------------------------------

    def _begin(self) -> str:
        answer = self._wire.send(self._source, "POST", self._repository.uploads, {"Content-Length": "0"})
        with contextlib.closing(answer):
            self._expect(answer, "POST", 202)
            return self._location(answer, self._repository.uploads)

    def _patch(self, place: str, content: Content, start: int) -> str:
        headers = {
            "Content-Type": _BYTES,
            "Content-Length": str(content.size - start),
            "Content-Range": f"{start}-{content.size - 1}",
        }
        answer = self._wire.send(self._patient, "PATCH", place, headers, lambda: content.pieces(start))
        with contextlib.closing(answer):
            if answer.status in (404, 416):
                # It may still be writing what came before the connection broke, or has forgotten it: `_where` tells.
                raise PassingError(f"HTTP {answer.status}: it has another part of the upload")
            self._expect(answer, "PATCH", 202)
            return self._location(answer, place)

    def _close(self, place: str, content: Content, body: Callable[[], Iterable[bytes]], size: int) -> None:
        url = f"{place}{'&' if '?' in place else '?'}digest={quote(f'sha256:{content.sha256}')}"
        headers = {"Content-Type": _BYTES, "Content-Length": str(size)}
        with contextlib.closing(self._wire.send(self._patient, "PUT", url, headers, body)) as answer:
            if answer.status == 404:
                raise PassingError("HTTP 404: the upload is forgotten")
            self._expect(answer, "PUT", 201)

    def _where(self, place: str, size: int) -> tuple[str, int]:
        """Where an upload is to be gone on with, and how far it is; nowhere, where it must begin anew."""
        try:
            with contextlib.closing(self._wire.send(self._source, "GET", place, {"Accept": "*/*"})) as answer:
                if answer.status != 204:
                    return "", 0
                found = _RANGE.fullmatch(answer.headers.get("Range", "").strip())
                # That one byte came is not told apart from that none did.
                came = int(found[1]) + 1 if found and int(found[1]) else 0
                return (self._location(answer, place), came) if 0 < came <= size else ("", 0)
        except (PassingError, OriginError):
            return "", 0

    def _abandon(self, place: str) -> None:
        with contextlib.suppress(PassingError, AssetError):
            self._wire.send(self._source, "DELETE", place, {"Content-Length": "0"}).close()

    def _location(self, answer: Answer, url: str) -> str:
        location = answer.headers.get("Location", "")
        if not location:
            raise OriginError(f"{safe_url(url)}: does not say where an upload goes on", mend=_NONE)
        return redirect_target(url, location)

    def _expect(self, answer: Answer, method: str, status: int) -> None:
        if answer.status == status or (status == 201 and answer.status in (200, 202, 204)):
            return
        said = _said(answer) if method != "HEAD" else ""
        what = f"{safe_url(self._repository.base)}: HTTP {answer.status} to {method} in {self._repository.name}{said}"
        if answer.status in PASSING:
            again = answer.headers.get("Retry-After", "") or window_end(answer.headers)
            raise PassingError(what, again)
        if answer.status in (401, 403):
            assert self._source.admission is not None
            raise AccessError(what, mend=self._source.admission.mend)
        raise OriginError(what, mend=_NONE)

    def _patiently(self, work: Callable[[], _T]) -> _T:
        attempts = Attempts(self._wire.limits)
        while True:
            try:
                return work()
            except PassingError as error:
                wait = attempts.failed(0, error.asked)
                if wait is None:
                    raise self._given_up(attempts, error) from None
                self._wire.stop.wait(wait)

    def _given_up(self, attempts: Attempts, error: PassingError) -> OriginError:
        told = attempts.given_up(error)
        where = safe_url(self._repository.base)
        words = told.message if told.message.startswith(where) else f"{where}: {told.message}"
        return OriginError(words, mend=error.mend or _AGAIN)


def _unsaid(_: str) -> None:
    """What went wrong on the way and was mended is no news of a push."""


_NONE = "see that the address is a registry's, that the repository may be there, and that it takes uploads"


def _said(answer: Answer) -> str:
    """What a registry says of an error."""
    view, data = memoryview(bytearray(_WORDS)), bytearray()
    with contextlib.suppress(PassingError):
        while len(data) < _WORDS and (count := answer.receive(view)):
            data += view[:count]
    try:
        errors = json.loads(bytes(data))["errors"]
        words = "; ".join(f"{error['code']}: {error.get('message', '')}" for error in errors[:3])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return f": {clean(words)[:300]}" if words else ""
