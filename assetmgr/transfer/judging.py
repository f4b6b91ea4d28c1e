"""What an answer announces, against what is wanted: sizes, and pages that come instead of files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from assetmgr.errors import IntegrityError, OriginError
from assetmgr.transfer.connection import Answer
from assetmgr.transfer.evidence import coded, expects_coding, expects_html, looks_like_html, says_html
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.source import Source, Task
from assetmgr.transfer.urls import safe_url

_DRIVE_LINK = re.compile(r"https?://(?:drive|docs)\.google\.com/.*?(?:/d/|[?&]id=)([A-Za-z0-9_-]{10,})")


class ChangedError(Exception):
    """What has arrived is no part of what the source has now."""


class WrongBytesError(Exception):
    """The whole file is there, and its bytes are not those of the lock.

    ``is_fresh``: all of them came from this source now. ``start`` is how they begin.
    """

    def __init__(self, why: str, *, is_fresh: bool, start: bytes) -> None:
        super().__init__(why)
        self.is_fresh = is_fresh
        self.start = start


def judge(task: Task, source: Source, answer: Answer, limits: Limits) -> int | None:
    """The size that is to come, None where nobody knows it.

    Raises
    ------
    IntegrityError
        When the announced length cannot be the file's.
    OriginError
        When what comes is a page, or encoded, and no such thing was asked for.
    """
    length, where = answer.length, safe_url(source.url)
    most = limits.largest if task.size is None else task.size
    fits = length is None or (length <= most and task.size in (None, length))
    # Some servers call everything text/html: where the size fits, the sha256 decides.
    page = says_html(answer.headers) and not (fits and task.sha256)
    if not fits and not page:
        start = bytearray(512)
        page = looks_like_html(bytes(start[: answer.receive(memoryview(start))]))
    if page and not expects_html(source.url, task.label):
        raise page_error(source.url, answer.url)
    coding = coded(answer.headers)
    if coding and task.sha256 is None and not expects_coding(source.url, answer.url, task.label):
        raise OriginError(
            f"{where}: sends the file encoded ({coding}), which was not asked for",
            mend="give the file's own sha256 and size in the manifest, or another url",
        )
    how = f" (encoded: {coding})" if coding else ""
    if length is not None and length > most:
        raise IntegrityError(f"{where}: more than the {most} bytes expected: {length}{how}")
    if not fits:
        raise IntegrityError(f"{where}: expected {task.size} bytes, found {length}{how}")
    return length if task.size is None else task.size


def refuse_page(task: Task, source: Source, start: memoryview) -> None:
    """Where no sha256 will tell, see by how a file begins that it is no page."""
    if task.sha256 is None and looks_like_html(bytes(start[:1024])) and not expects_html(source.url, task.label):
        raise page_error(source.url)


def wrong_digest(task: Task, digests: Mapping[str, str], said: Mapping[str, str]) -> str | None:
    """What is wrong with a whole file's digests, or None.

    Where the sha256 is known it decides, with what else is pinned; a server's word counts where nobody knows better.
    """
    if task.sha256 and digests["sha256"] != task.sha256:
        return f"expected sha256 {task.sha256}, found {digests['sha256']}"
    fault = unlike_pins(task.pins, digests)
    return fault if fault or task.sha256 else unlike_pins(said, digests, " (its server says)")


def unlike_pins(pins: Mapping[str, str], digests: Mapping[str, str], whose: str = "") -> str | None:
    """Which digest is not what it should be, or None. A pin may be the beginning of a digest."""
    for name, wanted in pins.items():
        found = digests.get(name, wanted)
        if not found.startswith(wanted):
            rest = "..." if len(wanted) < len(found) else ""
            return f"expected {name} {wanted}{rest}{whose}, found {found}"
    return None


def page_error(url: str, at: str = "") -> OriginError:
    """A page came instead of the file: an expired link, a login form, a warning before a download.

    ``at`` is where it came from in the end: a portal, a sign-in.
    """
    led = f" (it leads to {safe_url(at)})" if at and urlsplit(at).netloc != urlsplit(url).netloc else ""
    found = _DRIVE_LINK.search(url)
    if found:
        return OriginError(
            f"{safe_url(url)}: gave an HTML page, not the file{led}", mend=f"write it as `url: gdrive:{found[1]}`"
        )
    return OriginError(
        f"{safe_url(url)}: gave an HTML page, not the file{led}",
        mend="open the link in a browser: it may have expired, or want a login or a click; then correct the url",
    )
