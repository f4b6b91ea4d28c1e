"""Which login goes with a request. Each is for one place, and a redirect takes none of them to another."""

from __future__ import annotations

import base64
import os
from urllib.parse import unquote, urlsplit

from assetmgr.transfer.source import Source
from assetmgr.transfer.urls import Address


class Logins:
    """Gives requests their logins. What ``.netrc`` says of a host is looked up once a run."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, str] | None] = {}

    def authorization(self, source: Source, home: Address, here: Address) -> str | None:
        """The Authorization header for asking ``here`` on behalf of a source at ``home``, which may have redirected.

        A token and a login in the URL stay at the source's own address. ``.netrc`` names hosts: its login goes to the
        source's address too, and to another host where a redirect leads there by https at its usual port, for which
        archives behind a single sign-on need it. As requests has it: what a URL carries goes before ``.netrc``.
        """
        if here == home:
            if source.token:
                return f"Bearer {source.token}"
            if "@" in source.url:
                parts = urlsplit(source.url)
                if parts.username or parts.password:
                    return _basic(unquote(parts.username or ""), unquote(parts.password or ""))
        if not source.logins or (here != home and not _is_another_safe_host(here, home)):
            return None
        if here.host not in self._found:
            self._found[here.host] = _netrc(here.host)
        login = self._found[here.host]
        return _basic(*login) if login else None


def _is_another_safe_host(here: Address, home: Address) -> bool:
    return here.host != home.host and here.scheme == "https" and here.port == 443


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _netrc(host: str) -> tuple[str, str] | None:
    """The login of ``$NETRC``, ``~/.netrc`` or ``~/_netrc`` for a host. A file that cannot be read holds none."""
    named = os.environ.get("NETRC")
    paths = [named] if named else [os.path.expanduser("~/.netrc"), os.path.expanduser("~/_netrc")]
    path = next((path for path in paths if os.path.exists(path)), None)
    if path is None:
        return None
    import netrc

    try:
        found = netrc.netrc(path).authenticators(host)
    except (netrc.NetrcParseError, OSError, UnicodeError):
        return None
    if not found:
        return None
    user, account, password = found
    return (user or account or "", password or "")
