"""Requests through a proxy: `requests` knows their ways, and no benchmark is run through one."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from assetmgr.errors import AccessError, OriginError
from assetmgr.transfer.connection import Answer, reason
from assetmgr.transfer.evidence import Headers
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.retry import PassingError
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


def ask_proxied(url: str, headers: Mapping[str, str], proxies: Mapping[str, str], limits: Limits) -> Answer:
    """One GET through a proxy; a redirect is the answer, not followed."""
    import requests

    verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    try:
        response = _session().get(
            url,
            headers=dict(headers),
            proxies=dict(proxies),
            verify=verify,
            stream=True,
            allow_redirects=False,
            timeout=(limits.connect_timeout, limits.read_timeout),
        )
    except (requests.exceptions.ProxyError, requests.exceptions.SSLError) as error:
        if "407" in str(error):
            raise AccessError(
                f"{safe_url(url)}: the proxy asks for a login",
                mend="put it into HTTPS_PROXY: http://user:password@host",
            ) from None
        raise PassingError(reason(error)) from None
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema):
        raise OriginError(f"{safe_url(url)}: leads to what is no http or https URL") from None
    except (requests.ConnectionError, requests.Timeout) as error:
        raise PassingError(reason(error)) from None
    except requests.RequestException as error:
        # The words of some would hold the whole URL, secrets included.
        raise OriginError(f"{safe_url(url)}: {type(error).__name__}") from None
    except ValueError:
        raise OriginError(f"{safe_url(url)}: leads to what is no URL") from None
    return _ProxiedAnswer(response, url)
