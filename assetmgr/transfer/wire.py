"""What all transfers of a run share: connections, the rate, the word to stop; and how a source is asked."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from assetmgr.errors import AccessError, OriginError
from assetmgr.transfer.connection import Answer, Pool
from assetmgr.transfer.credentials import Logins
from assetmgr.transfer.detour import detour
from assetmgr.transfer.elsewhere import Elsewhere, elsewhere
from assetmgr.transfer.evidence import Headers, local_headers
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.proxied import ask_proxied, proxies_for
from assetmgr.transfer.rate import Bucket
from assetmgr.transfer.retry import PASSING, PassingError, window_end
from assetmgr.transfer.source import Source
from assetmgr.transfer.trace import traced
from assetmgr.transfer.urls import Address, address, local_path, redirect_target, request_target, safe_url

# Seconds that bytes are gathered for before they are written, where they come slowly.
_MOMENT = 0.05
# Bytes of the document that has a registry's token.
_TOKEN_MOST = 1 << 20
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class StoppedError(Exception):
    """The run was interrupted. What has arrived stays, and is gone on with."""


class Filled(NamedTuple):
    """What came of one filling.

    Attributes
    ----------
    size
        Bytes; 0 at the end of the body.
    waited
        Seconds that our own limit on the rate made us wait.
    fault
        What ended it early. The bytes before it are good.
    """

    size: int
    waited: float
    fault: PassingError | None = None


class Wire:
    """Shared by every file and thread of a run."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.stop = threading.Event()
        self.pool = Pool(limits)
        self.bucket = Bucket(limits.rate, self.stop)
        self._logins = Logins()
        self._proxies: dict[Address, Mapping[str, str]] = {}
        self._streams = 0
        self._found: dict[str, Elsewhere] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Stop everything now."""
        self.stop.set()
        self.pool.close()

    def check(self) -> None:
        if self.stop.is_set():
            raise StoppedError

    def join_streams(self, count: int, *, wanted: bool) -> int:
        """Count streams in. One that is ``wanted`` besides a file's first is refused where there are enough."""
        with self._lock:
            if wanted:
                count = max(0, min(count, self.limits.connections_most - self._streams))
            self._streams += count
            return count

    def leave_streams(self, count: int) -> None:
        with self._lock:
            self._streams -= count

    def fill(self, answer: Answer, view: memoryview) -> Filled:
        """Fill a view, or as much of it as comes within a moment: less is not worth a write, a mark and a hash each.

        Raises
        ------
        PassingError
            When nothing came, for what may pass. After something, the failure is told with it.
        """
        filled, waited, until = 0, 0.0, time.monotonic() + _MOMENT
        while filled < len(view):
            try:
                count = answer.receive(view[filled : filled + self.bucket.portion(len(view) - filled)])
            except PassingError as fault:
                if not filled:
                    raise
                return Filled(filled, waited, fault)
            if not count:
                break
            self.check()
            filled += count
            waited += self.bucket.take(count)
            if time.monotonic() > until:
                break
        return Filled(filled, waited)

    def limits_of(self, source: Source) -> Limits:
        """How patient to be with a source."""
        return source.limits or self.limits

    def ask(self, source: Source, start: int = 0, end: int | None = None, valid: str = "") -> Answer:
        """Ask a source for its bytes from ``start``, up to ``end`` where one is given.

        The answer's status is 200 or 206, or 416 to a range that the source does not have.

        Parameters
        ----------
        valid
            An etag or date for If-Range: the part is wanted of that version only.

        Raises
        ------
        PassingError
            For what may pass.
        AccessError, OriginError
            For what will not.
        """
        self.check()
        opener = source.opener
        if opener is not None:
            return traced(source.url, _whose(source), lambda: opener(start, end, self.stop, self.limits_of(source)))
        asked = detour(source)
        if asked.url[:5].lower() == "file:":
            return LocalAnswer(asked.url, start, valid, plain=source.watch is not None)
        headers = {"User-Agent": "assetmgr", "Accept": asked.accept, "Accept-Encoding": "identity"}
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
            if valid:
                headers["If-Range"] = valid
        found = self._elsewhere(asked.url)
        if found is None:
            answer = self._follow(asked, asked.url, headers)
        else:
            answer = found.open(lambda url: self._follow(Source(url, logins=False), url, headers))
        if answer.status in (200, 206) or (answer.status == 416 and "Range" in headers):
            return answer
        again = answer.headers.get("Retry-After", "") or window_end(answer.headers)
        answer.close()
        where = safe_url(source.url)
        if answer.status in PASSING:
            raise PassingError(f"HTTP {answer.status}", again)
        if source.refusal is not None:
            raise source.refusal(answer.status, answer.headers)
        if answer.status in (401, 403, 407):
            mend = "put the login for this host into ~/.netrc, or accept its terms"
            if source.admission is not None:
                mend = source.admission.mend
            raise AccessError(f"{where}: HTTP {answer.status}", mend=mend)
        error = OriginError(f"{where}: HTTP {answer.status}", mend="correct the url in the manifest, or add another")
        error.is_absent = answer.status in (404, 410)
        raise error

    def _elsewhere(self, url: str) -> Elsewhere | None:
        """Who finds the file of a URL that has no address, for the whole run."""
        with self._lock:
            found = self._found.get(url) or elsewhere(url, self.limits)
            if found is not None:
                self._found[url] = found
            return found

    def send(
        self,
        source: Source,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Callable[[], Iterable[bytes]] = tuple,
    ) -> Answer:
        """Send any request on behalf of a source, to it or to where it said, and return whatever is answered.

        How long the body is, the headers say; it is read from its beginning as often as it must be sent.

        Raises
        ------
        PassingError, AccessError, OriginError
            When no answer is to be had.
        """
        self.check()
        return self._follow(source, url, {"User-Agent": "assetmgr", **headers}, method, body)

    def _follow(
        self,
        source: Source,
        url: str,
        headers: Mapping[str, str],
        method: str = "GET",
        body: Callable[[], Iterable[bytes]] = tuple,
    ) -> Answer:
        """Ask, and follow redirects: each is judged anew, and gets only the login that is for it."""
        limits, admission = self.limits_of(source), source.admission
        home = here = address(url)
        is_admitted = admission is None
        redirects = 0
        while redirects <= limits.redirects:
            login = (admission.authorization(here) if admission else None) or self._logins.authorization(
                source, home, here
            )
            sent = {**headers, "Authorization": login} if login else headers
            ask = functools.partial(self._send, here, url, sent, limits, method, body)
            answer = traced(url, _whose(source), ask, method)
            if answer.status == 401 and admission is not None and not is_admitted and here == home:
                is_admitted = True
                wanted = answer.headers.get("WWW-Authenticate", "")
                answer.close()
                if admission.challenged(login, wanted, url, functools.partial(self._read_token, source)):
                    continue
                return answer
            if answer.status not in _REDIRECTS or (answer.status < 307 and method not in ("GET", "HEAD")):
                return answer
            location = answer.headers.get("Location", "")
            if not location:
                return answer
            answer.close()
            url = redirect_target(url, location)
            here = address(url)
            self.check()
            redirects += 1
        raise OriginError(f"{safe_url(source.url)}: more than {limits.redirects} redirects")

    def _read_token(self, source: Source, url: str, login: str | None) -> bytes:
        """The document of who gives out a registry's tokens, asked with its own login or with none. No redirects."""
        headers = {"User-Agent": "assetmgr", "Accept": "application/json", "Accept-Encoding": "identity"}
        sent = {**headers, "Authorization": login} if login else headers
        ask = functools.partial(self._send, address(url), url, sent, self.limits_of(source))
        with contextlib.closing(traced(url, _whose(source), ask)) as answer:
            if answer.status in PASSING:
                raise PassingError(f"HTTP {answer.status}", answer.headers.get("Retry-After", ""))
            if answer.status != 200:
                mend = source.admission.mend if source.admission else ""
                raise AccessError(f"{safe_url(url)}: HTTP {answer.status} to the request for a token", mend=mend)
            view, data = memoryview(bytearray(64 * 1024)), bytearray()
            while len(data) <= _TOKEN_MOST and (count := answer.receive(view)):
                data += view[:count]
            return bytes(data)

    def _send(
        self,
        here: Address,
        url: str,
        headers: Mapping[str, str],
        limits: Limits,
        method: str = "GET",
        body: Callable[[], Iterable[bytes]] = tuple,
    ) -> Answer:
        """One request, through a proxy where there is one for it."""
        proxies = self._proxies.get(here)
        if proxies is None:
            proxies = self._proxies[here] = proxies_for(url)
        if proxies:
            return ask_proxied(url, headers, proxies, limits, method, body)
        return self.pool.ask(here, request_target(url), headers, url, limits, method, body)


def _whose(source: Source) -> str:
    return "origin" if source.watch is None else "mirror"


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting: a pipe keeps nobody until somebody writes into it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


class LocalAnswer:
    """A local file, as a server would give it: parts of it too, if it is the file that it was."""

    def __init__(self, url: str, start: int, valid: str, *, plain: bool) -> None:
        self.url = url
        try:
            path = local_path(url)
        except ValueError as error:
            raise OriginError(f"{safe_url(url)}: no URL: {error}", mend="correct the url in the manifest") from None
        try:
            self._file = open(path, "rb", buffering=0, opener=_open_at_once)  # noqa: SIM115 - closed by close()
            status = os.fstat(self._file.fileno())
        except PermissionError as error:
            raise AccessError(f"{path}: {error.strerror}", mend="make it readable for this user") from None
        except (OSError, ValueError) as error:
            failure = OriginError(
                f"{path}: {getattr(error, 'strerror', None) or error}",
                mend="put the file there, or correct its url in the manifest",
            )
            failure.is_absent = isinstance(error, FileNotFoundError)
            raise failure from None
        regular = stat.S_ISREG(status.st_mode)
        if stat.S_ISFIFO(status.st_mode) or (plain and not regular):
            self._file.close()
            raise OriginError(f"{path}: a pipe or device, not a file", mend="name a file in the manifest's url")
        said = dict(local_headers(status))
        begin = start if regular and valid in ("", said["ETag"]) and start <= status.st_size else 0
        self.status = 206 if begin else 200
        if begin:
            self._file.seek(begin)
            said["Content-Range"] = f"bytes {begin}-{status.st_size - 1}/{status.st_size}"
        self.headers: Headers = said
        self.length: int | None = status.st_size - begin if regular else None

    @property
    def descriptor(self) -> int:
        """The open file."""
        return self._file.fileno()

    def receive(self, view: memoryview) -> int:
        try:
            count = self._file.readinto(view)
        except OSError as error:
            raise OriginError(f"{local_path(self.url)}: {error.strerror}") from None
        if self.length is not None:
            self.length -= count
        return count

    def close(self) -> None:
        self._file.close()

    def cut(self) -> None:
        """A local file does not keep anyone waiting."""
