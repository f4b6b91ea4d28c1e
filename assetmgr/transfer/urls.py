"""URLs: what may be asked, what may be shown, where a redirect may lead."""

from __future__ import annotations

import os
import re
from typing import NamedTuple
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit

from assetmgr.errors import OriginError

_PORTS = {"http": 80, "https": 443}


class Address(NamedTuple):
    """What a connection and a credential are for. Another port of a host is another server, maybe another user's."""

    scheme: str
    host: str
    port: int


def address(url: str) -> Address:
    """The address of an http or https URL.

    Raises
    ------
    OriginError
        When it is no such URL.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise OriginError(f"{safe_url(url)}: {error}", mend="correct the url in the manifest") from None
    if parts.scheme not in _PORTS or not host or any(char <= " " or char == "\x7f" for char in host):
        raise OriginError(f"{safe_url(url)}: not an http, https or file URL", mend="correct the url in the manifest")
    return Address(parts.scheme, host, port or _PORTS[parts.scheme])


def request_target(url: str) -> str:
    """The path and query of a URL as a request line has them: what is illegal there is quoted, the rest left alone."""
    parts = urlsplit(url)
    safe = "!#$%&'()*+,/:;=?@[]~"
    query = f"?{quote(parts.query, safe=safe)}" if parts.query else ""
    return (quote(parts.path, safe=safe) or "/") + query


def redirect_target(url: str, location: str) -> str:
    """Where a redirect leads.

    Raises
    ------
    OriginError
        When that is no http or https URL, or https would be left for http, or what is asked is a link-local address:
        there a cloud's machine learns its own secrets, and no file is published.
    """
    try:
        target = urldefrag(urljoin(url, location.strip())).url
        if address(url).scheme == "https" and urlsplit(target).scheme != "https":
            raise OriginError(f"{safe_url(url)}: redirects from https to {safe_url(target)[:200]}: refused")
    except ValueError:
        target = location
    where = safe_url(location)[:200]
    try:
        host = address(target).host
    except OriginError:
        raise OriginError(f"{safe_url(url)}: redirects to {where!r}, which is no web address") from None
    if _is_link_local(host):
        raise OriginError(f"{safe_url(url)}: redirects to {where!r}, a link-local address: refused")
    return target


def _is_link_local(host: str) -> bool:
    """Whether a host is written as an address of this very link, in any of the ways that resolvers understand."""
    if ":" in host:
        import ipaddress

        try:
            found = ipaddress.IPv6Address(host.partition("%")[0])
        except ValueError:
            return False
        return (found.ipv4_mapped or found).is_link_local
    try:
        import socket

        return socket.inet_aton(host)[:2] == b"\xa9\xfe"
    except OSError:
        return False


def local_path(url: str) -> str:
    """The path of a ``file:`` URL."""
    parts = urlsplit(url)
    host = f"//{parts.netloc}" if parts.netloc not in ("", "localhost") else ""
    if os.name == "nt":
        from urllib.request import url2pathname  # with it comes much that nobody else here needs

        return url2pathname(host + parts.path)
    return unquote(parts.path)


def safe_url(url: str) -> str:
    """A URL as it may be shown: without user, password, query or fragment, where secrets hide."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        # Broken, and shown all the same so that it can be corrected. The last @ ends what may be a password.
        shown = url.partition("#")[0].partition("?")[0]
        scheme, colon, rest = shown.rpartition("://")
        return f"{scheme}{colon}{rest.rpartition('@')[2]}" + ("?..." if "?" in url else "")
    host = f"[{host}]" if ":" in host else host
    place = f"{host}:{port}" if port is not None else host
    start = f"{parts.scheme}:" if parts.scheme else ""
    slashes = "//" if parts.netloc or parts.scheme == "file" else ""
    return f"{start}{slashes}{place}{parts.path}" + ("?..." if parts.query else "")


def clean(text: str) -> str:
    """Words from outside as they may be shown: URLs without their secrets, and nothing that a terminal obeys."""
    text = re.sub(r"https?://[^\s'\"<>]+", lambda match: safe_url(match[0]), text)
    return printable(text)


def printable(text: str) -> str:
    """A text without what a terminal would obey: controls, and marks that turn the direction of writing."""
    return "".join(character if character.isprintable() else " " for character in text)
