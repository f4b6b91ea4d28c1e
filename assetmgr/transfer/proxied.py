"""Requests through a proxy: `requests` knows their ways, and no benchmark is run through one."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from assetmgr.errors import AccessError, OriginError
from assetmgr.transfer.connection import Answer, reason
from assetmgr.transfer.evidence import Headers
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.retry import PASSING, PassingError
from assetmgr.transfer.trust import authorities, certificate_error, trusting_context
from assetmgr.transfer.urls import safe_url

if TYPE_CHECKING:
    import requests


def proxies_for(url: str) -> Mapping[str, str]:
    """The proxies that the environment (or the system's settings) name for a URL, as requests understands them."""
    if not _may_have_proxies():
        return {}
    import requests.utils

    found = {name: proxy for name, proxy in requests.utils.get_environ_proxies(url, no_proxy=None).items() if proxy}
    return found if requests.utils.select_proxy(url, found) else {}


def proxy_name(url: str, proxies: Mapping[str, str]) -> str:
    """The proxy that stands before a URL, as it may be shown."""
    import requests.utils

    return safe_url(str(requests.utils.select_proxy(url, dict(proxies)) or "")).rstrip("/")


def _may_have_proxies() -> bool:
    """Whether it is worth importing requests to ask."""
    if sys.platform in ("win32", "darwin"):
        return True
    names = (name.lower() for name, value in os.environ.items() if value)
    return any(name.endswith("_proxy") and name != "no_proxy" for name in names)


class _ProxiedAnswer:
    def __init__(self, response: requests.Response, url: str) -> None:
        self._response = response
        self.status: int = response.status_code
        self.url = url
        length = response.headers.get("Content-Length", "")
        self._left = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else None

    @property
    def headers(self) -> Headers:
        return self._response.headers

    @property
    def length(self) -> int | None:
        return self._left

    def receive(self, view: memoryview) -> int:
        import urllib3

        try:
            data = self._response.raw.read(min(len(view), 64 * 1024), decode_content=False)
        except (OSError, urllib3.exceptions.HTTPError) as error:
            raise PassingError(reason(error)) from None
        view[: len(data)] = data
        if self._left is not None:
            self._left -= len(data)
        return len(data)

    def close(self) -> None:
        self._response.close()

    def cut(self) -> None:
        """Left to the read timeout: what lies beneath is requests' own."""


@functools.cache
def _session() -> requests.Session:
    import requests

    session = requests.Session()
    # Proxies and certificates come from the environment by name below; logins are ours to give.
    session.trust_env = False
    return session


class _Body:
    """A body whose length is known: requests would cut any other into chunks."""

    def __init__(self, pieces: Iterable[bytes], length: int) -> None:
        self._pieces, self._length = pieces, length

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)

    def __len__(self) -> int:
        return self._length


def ask_proxied(
    url: str,
    headers: Mapping[str, str],
    proxies: Mapping[str, str],
    limits: Limits,
    method: str = "GET",
    body: Callable[[], Iterable[bytes]] = tuple,
) -> Answer:
    """One request through a proxy; a redirect is the answer, not followed."""
    import requests

    named = proxy_name(url, proxies)
    trusting_context()  # what is wrong with the certificates is told here, in one way
    try:
        length = int(headers.get("Content-Length", "0"))
        response = _session().request(
            method,
            url,
            headers=dict(headers),
            data=_Body(body(), length) if length else None,
            proxies=dict(proxies),
            verify=authorities(),
            stream=True,
            allow_redirects=False,
            timeout=(limits.connect_timeout, limits.read_timeout),
        )
    except requests.exceptions.ProxyError as error:
        raise certificate_error(url, error) or _of_proxy(url, named, error) from None
    except requests.exceptions.SSLError as error:
        raise certificate_error(url, error) or PassingError(reason(error)) from None
    except requests.exceptions.InvalidProxyURL:
        raise OriginError(f"{safe_url(url)}: the proxy {named!r} is no URL", mend=_SETTINGS) from None
    except requests.exceptions.InvalidSchema as error:
        if "SOCKS" in str(error):
            raise OriginError(
                f"{safe_url(url)}: the proxy {named} speaks SOCKS", mend="pip install pysocks, or use an HTTP proxy"
            ) from None
        raise OriginError(f"{safe_url(url)}: leads to what is no http or https URL") from None
    except requests.exceptions.InvalidURL:
        raise OriginError(f"{safe_url(url)}: leads to what is no http or https URL") from None
    except (requests.ConnectionError, requests.Timeout) as error:
        raise PassingError(f"through the proxy {named}: {reason(error)}", mend=_SETTINGS) from None
    except requests.RequestException as error:
        # The words of some would hold the whole URL, secrets included.
        raise OriginError(f"{safe_url(url)}: {type(error).__name__}") from None
    except ValueError:
        raise OriginError(f"{safe_url(url)}: leads to what is no URL") from None
    if response.status_code == 407:
        response.close()
        raise _wants_login(url, named)
    return _ProxiedAnswer(response, url)


_SETTINGS = "see to the proxy, or correct HTTP_PROXY, HTTPS_PROXY and NO_PROXY"
_REFUSED = re.compile(r"Tunnel connection failed: ([0-9]{3})")


def _of_proxy(url: str, named: str, error: Exception) -> Exception:
    """A failure that is the proxy's own, and not that of the server behind it."""
    refused = _REFUSED.search(str(error))
    status = int(refused[1]) if refused else 0
    if status == 407:
        return _wants_login(url, named)
    if status and status not in PASSING:
        return AccessError(f"{safe_url(url)}: the proxy {named} refuses it: HTTP {status}", mend=_SETTINGS)
    return PassingError(f"the proxy {named}: {f'HTTP {status}' if status else reason(error)}", mend=_SETTINGS)


def _wants_login(url: str, named: str) -> AccessError:
    return AccessError(
        f"{safe_url(url)}: the proxy {named} asks for a login",
        mend="put it into HTTP_PROXY and HTTPS_PROXY: http://user:password@host:port",
    )
