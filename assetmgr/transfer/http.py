"""One file from one or several URLs into a partial file, hashed while it is written.

`requests` brings the manners: proxies, ``.netrc``, redirects that drop credentials when the host changes.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import url2pathname

from assetmgr.digests import CHUNK, Hasher
from assetmgr.errors import AccessError, IntegrityError, OriginError
from assetmgr.names import is_digest
from assetmgr.placing import make_folder, remove_file
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.retry import PASSING, delay

if TYPE_CHECKING:
    import requests


@dataclass(frozen=True, slots=True)
class Fetched:
    """What arrived.

    Attributes
    ----------
    size
        Bytes written.
    digests
        By algorithm, over those bytes.
    evidence
        What the server said of them: ``md5``, ``crc32c``, ``etag``.
    url
        The source that gave them.
    """

    size: int
    digests: Mapping[str, str]
    evidence: Mapping[str, str] = field(default_factory=dict)
    url: str = ""


class _PassingError(Exception):
    """A failure that may pass: worth another attempt."""

    def __init__(self, why: str, asked: str | None = None) -> None:
        super().__init__(why)
        self.asked = asked


def fetch(
    urls: Sequence[str],
    partial: str,
    *,
    algorithms: Sequence[str] = ("sha256",),
    size: int | None = None,
    limits: Limits,
    progress: Callable[[int], object] = lambda count: None,
    say: Callable[[str], object] = lambda text: None,
    sleep: Callable[[float], object] = time.sleep,
    expected: Mapping[str, str] | None = None,
) -> Fetched:
    """Fetch one file into ``partial``; the first URL that answers wins.

    Parameters
    ----------
    urls
        ``http:``, ``https:`` and ``file:`` URLs, tried in order.
    size
        The size in bytes that the lock names. More than that is never written, and less is a failure.
    expected
        The digests that the bytes must have; a URL that gives others is passed over for the next.

    Raises
    ------
    AccessError, OriginError, IntegrityError
        The last URL's failure, when none gave the file.
    """
    failure: OriginError | AccessError | IntegrityError | None = None
    for url in urls:
        if failure is not None:
            say(f"{failure.message}; trying {safe_url(url)}")
        for attempt in range(1, limits.attempts + 1):
            written = 0

            def count(amount: int) -> None:
                nonlocal written
                written += amount
                progress(amount)

            try:
                fetched = _once(url, partial, algorithms, size, limits, count)
                for algorithm, digest in (expected or {}).items():
                    if fetched.digests[algorithm] != digest:
                        found = fetched.digests[algorithm]
                        raise IntegrityError(f"{safe_url(url)}: {algorithm} expected {digest}, found {found}")
                return fetched
            except _PassingError as error:
                progress(-written)
                times = "once" if attempt == 1 else f"{attempt} times"
                asked = f", which asks to come back after {error.asked!r}" if error.asked else ""
                failure = OriginError(
                    f"{safe_url(url)}: {error}{asked}, {times}",
                    mend="repeat the command when the server is well again",
                )
                wait = delay(attempt, error.asked, limits)
                if wait is None:
                    break
                say(f"{safe_url(url)}: {error}; again in {wait:.1f} s")
                sleep(wait)
            except (OriginError, AccessError, IntegrityError) as error:
                progress(-written)
                failure = error
                break
    if failure is None:
        raise OriginError("no URL to fetch from")
    raise failure


def _once(
    url: str,
    partial: str,
    algorithms: Sequence[str],
    size: int | None,
    limits: Limits,
    progress: Callable[[int], object],
) -> Fetched:
    make_folder(os.path.dirname(partial))
    # What stands there is an older try, another user's, or planted: a new file of our own is begun.
    remove_file(partial)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    # The git sha1 of a stream needs its length first; where nobody knows it, it is not computed.
    hasher = Hasher(algorithms, size=size)
    with open(os.open(partial, flags, 0o600), "wb", buffering=0) as out:
        evidence, expected, chunks = _open(url, limits)
        most = limits.largest if size is None else size
        for chunk in chunks:
            if hasher.count + len(chunk) > most:
                raise IntegrityError(f"{safe_url(url)}: more than the {most} bytes expected")
            hasher.update(chunk)
            out.write(chunk)
            progress(len(chunk))
    if expected is not None and hasher.count != expected:
        raise _PassingError(f"the body ended after {hasher.count} of {expected} bytes")
    if size is not None and hasher.count != size:
        raise IntegrityError(f"{safe_url(url)}: expected {size} bytes, found {hasher.count}")
    return Fetched(hasher.count, hasher.digests(), evidence, url)


def _open(url: str, limits: Limits) -> tuple[dict[str, str], int | None, Iterator[bytes]]:
    """Open a source: its evidence, the size it announces, its bytes."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise OriginError(f"{safe_url(url)}: no URL: {error}", mend="correct the url in the manifest") from None
    return _open_local(url) if parts.scheme == "file" else _open_http(url, limits)


def local_path(url: str) -> str:
    """The path of a ``file:`` URL."""
    parts = urlsplit(url)
    host = f"//{parts.netloc}" if parts.netloc not in ("", "localhost") else ""
    return url2pathname(host + parts.path) if os.name == "nt" else unquote(parts.path)


def _open_local(url: str) -> tuple[dict[str, str], int | None, Iterator[bytes]]:
    path = local_path(url)
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):  # to open it would wait for a writer
            raise OriginError(f"{path}: a pipe, not a file", mend="name a file in the manifest's url")
        file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by the generator
        length = os.fstat(file.fileno()).st_size
    except PermissionError as error:
        raise AccessError(f"{path}: {error.strerror}", mend="make it readable for this user") from None
    except OSError as error:
        raise OriginError(
            f"{path}: {error.strerror}", mend="put the file there, or correct its url in the manifest"
        ) from None

    def chunks(file: IO[bytes]) -> Iterator[bytes]:
        with file:
            while chunk := file.read(CHUNK):
                yield chunk

    return {}, length, chunks(file)


def _open_http(url: str, limits: Limits) -> tuple[dict[str, str], int | None, Iterator[bytes]]:
    import requests
    import urllib3

    session = _session(limits)
    try:
        response = session.get(
            url,
            stream=True,
            timeout=(limits.connect_timeout, limits.read_timeout),
            # A compressed answer would have another length and other bytes than the file.
            headers={"Accept-Encoding": "identity"},
        )
    except requests.TooManyRedirects as error:
        session.close()
        raise OriginError(f"{safe_url(url)}: {error}") from None
    except requests.RequestException as error:
        session.close()
        if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
            # Its words would hold the whole URL of a redirect, secrets included.
            raise OriginError(f"{safe_url(url)}: leads to what is no http or https URL") from None
        if isinstance(error, requests.ConnectionError | requests.Timeout):
            raise _PassingError(reason(error)) from None
        raise OriginError(f"{safe_url(url)}: {type(error).__name__}") from None
    except ValueError:
        session.close()
        raise OriginError(f"{safe_url(url)}: leads to what is no URL") from None
    except BaseException:
        session.close()
        raise
    status = response.status_code
    if status != 200:
        response.close()
        session.close()
        if status in PASSING:
            raise _PassingError(f"HTTP {status}", response.headers.get("Retry-After"))
        if status in (401, 403, 407):
            raise AccessError(
                f"{safe_url(url)}: HTTP {status}",
                mend="put the login for this host into ~/.netrc, or accept its terms",
            )
        raise OriginError(f"{safe_url(url)}: HTTP {status}", mend="correct the url in the manifest, or add another")
    length = response.headers.get("Content-Length", "")

    def chunks() -> Iterator[bytes]:
        try:
            # The bytes as they are: a file that is itself compressed must not be unpacked on the way.
            yield from response.raw.stream(CHUNK, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _PassingError(reason(error)) from None
        finally:
            response.close()
            session.close()

    return (
        _evidence(response.headers),
        int(length) if length.isascii() and length.isdigit() and len(length) < 20 else None,
        chunks(),
    )


def _session(limits: Limits) -> requests.Session:
    import requests

    class Session(requests.Session):
        def get_redirect_target(self, response: requests.Response) -> str | None:
            target = super().get_redirect_target(response)
            if target:
                absolute = urljoin(response.url, target.strip())
                if urlsplit(response.url).scheme == "https" and urlsplit(absolute).scheme != "https":
                    raise OriginError(
                        f"{safe_url(response.url)}: redirects from https to {safe_url(absolute)}: refused"
                    )
            return target

        def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
            # Another port of a host is another server, which ~/.netrc cannot tell apart.
            super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]
            before, after = urlsplit(response.request.url or ""), urlsplit(prepared_request.url or "")
            if before.hostname == after.hostname and before.netloc != after.netloc:
                prepared_request.headers.pop("Authorization", None)

    session = Session()
    session.max_redirects = limits.redirects
    return session


def _evidence(headers: Mapping[str, str]) -> dict[str, str]:
    """What a server says of the bytes beyond their length: Google's x-goog-hash, Content-MD5, an etag."""
    found: dict[str, str] = {}
    for pair in headers.get("x-goog-hash", "").split(","):
        name, _, value = pair.strip().partition("=")
        if name in ("md5", "crc32c") and (digest := _from_base64(value, name)):
            found[name] = digest
    if "md5" not in found and (digest := _from_base64(headers.get("Content-MD5", ""), "md5")):
        found["md5"] = digest
    etag = headers.get("ETag", "")
    if etag and len(etag) < 200 and etag.isascii() and etag.isprintable():
        found["etag"] = etag
    return found


def _from_base64(value: str, algorithm: str) -> str | None:
    """A header's digest as hex, or None when it is none of that algorithm."""
    try:
        digest = base64.b64decode(value, validate=True).hex()
    except (binascii.Error, ValueError):
        return None
    return digest if is_digest(digest, algorithm) else None


def safe_url(url: str) -> str:
    """A URL as it may be shown: without user, password, query or fragment, where secrets hide."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        host = parts.hostname or ""
    except ValueError:
        # Not a URL; what stands before an '@' or after a '?' is kept back all the same.
        return url.partition("?")[0].partition("#")[0].rpartition("@")[2][:200]
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{port}{parts.path}" + ("?..." if parts.query else "")


def clean(text: str) -> str:
    """Words from outside as they may be shown: URLs without their secrets, and nothing that a terminal obeys."""
    text = re.sub(r"https?://[^\s'\"<>]+", lambda match: safe_url(match[0]), text)
    return "".join(character if character.isprintable() else " " for character in text)


def reason(error: BaseException) -> str:
    """The innermost cause of a network failure, in a few words."""
    seen: BaseException = error
    while seen.__cause__ or seen.__context__:
        seen = seen.__cause__ or seen.__context__ or seen
    return f"{type(seen).__name__}: {seen}"[:200]
