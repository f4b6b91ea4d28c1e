"""A look at what a server says of a file, without its bytes and without leaving the server."""

from __future__ import annotations

import time
from typing import NamedTuple
from urllib.parse import urljoin

from assetmgr.errors import OriginError
from assetmgr.store import STORE_HEADER
from assetmgr.transfer.detour import detour
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.retry import PassingError
from assetmgr.transfer.source import Source
from assetmgr.transfer.trace import tell
from assetmgr.transfer.urls import address, safe_url
from assetmgr.transfer.wire import Wire


def header_of(source: Source, name: str, limits: Limits) -> str | None:
    """A header of the first answer that has it, to HEAD, along redirects within the source's own address.

    None where there is no such header, and where the server cannot be asked: whoever fetches meets that fault.
    """
    import requests

    def login(request: requests.PreparedRequest) -> requests.PreparedRequest:
        # A callable, or requests would put the login of .netrc in the token's place.
        if source.token:
            request.headers["Authorization"] = f"Bearer {source.token}"
        return request

    source = detour(source)
    url, timeout = source.url, (limits.connect_timeout, limits.read_timeout)
    for _ in range(limits.redirects):
        begun = time.monotonic()
        try:
            answer = requests.head(url, auth=login, allow_redirects=False, timeout=timeout)
        except requests.RequestException as error:
            tell("HEAD", url, type(error).__name__, seconds=time.monotonic() - begun, whose="origin")
            return None
        tell("HEAD", url, str(answer.status_code), seconds=time.monotonic() - begun, whose="origin")
        if name in answer.headers:
            return answer.headers[name]
        location = answer.headers.get("Location")
        url = urljoin(url, location) if location else ""
        if not url.startswith(("http://", "https://")) or address(url) != address(source.url):
            return None
    return None


class There(NamedTuple):
    """What a source says of its file: the size, or -1 where it does not say, and the store that it is of, if any."""

    size: int
    store: str = ""


def look_there(wire: Wire, source: Source) -> There | None:
    """What a source says of its file; None where it has no such file.

    One byte is asked for, and nothing is kept.

    Raises
    ------
    OriginError, AccessError
        When it cannot be asked, or does not say.
    """
    try:
        answer = wire.ask(source, 0, 1)
    except PassingError as error:
        raise OriginError(f"{safe_url(source.url)}: {error}") from None
    except OriginError as error:
        if error.is_absent:
            return None
        raise
    try:
        store = answer.headers.get(STORE_HEADER, "")
        if answer.status == 200:
            return There(-1 if answer.length is None else answer.length, store)
        total = answer.headers.get("Content-Range", "").rpartition("/")[2]
        return There(int(total) if total.isascii() and total.isdigit() else -1, store)
    finally:
        answer.close()
