"""What an OCI registry wants to see before it gives: a login, or a token that another server gives out for one.

As docker and skopeo do it: the registry answers 401 and says by ``WWW-Authenticate`` which of both it wants (the
distribution specification's token protocol). Public repositories want a token too, which anybody gets. Logins are read
from where ``docker login`` and ``podman login`` write them, and nothing is ever written there. One is for one scheme,
host and port, and goes besides only to the server that this registry names for its tokens; never by plain http to
another machine.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from assetmgr.errors import AccessError
from assetmgr.registry_urls import DOCKER_HUB, DOCKER_HUB_NAMES, is_loopback
from assetmgr.transfer.urls import Address, address, redirect_target, safe_url

# Bytes of a token's document, and of a file of logins.
_MOST = 1 << 20
_SCHEME = re.compile(r"\s*([A-Za-z]+)(?:\s+|$|(?=,))")
_PARAMETER = re.compile(r'\s*,?\s*([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


class Challenge(NamedTuple):
    """One way in that a 401 offers: ``basic`` or ``bearer``, and what it says besides."""

    scheme: str
    parameters: Mapping[str, str]


def challenges(header: str) -> list[Challenge]:
    """What a WWW-Authenticate field offers (RFC 9110 11.6.1), in its order. What is not understood ends it."""
    found: list[Challenge] = []
    at = 0
    while (scheme := _SCHEME.match(header, at)) is not None:
        at, parameters = scheme.end(), {}
        while (parameter := _PARAMETER.match(header, at)) is not None:
            quoted = parameter[2]
            parameters[parameter[1].lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else parameter[3]
            at = parameter.end()
        found.append(Challenge(scheme[1].lower(), parameters))
        comma = re.compile(r"\s*,\s*").match(header, at)
        if comma is None:
            break
        at = comma.end()
    return found


def login_files() -> list[str]:
    """Where logins to registries are looked for, in order."""
    named = os.environ.get("REGISTRY_AUTH_FILE")
    folder = os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    files = [named] if named else []
    files += [os.path.join(folder, "config.json")]
    files += [os.path.join(runtime, "containers", "auth.json")] if runtime else []
    return files


def find_login(here: Address, repository: str, files: list[str]) -> tuple[str, str] | None:
    """The user and password that a file has for a repository at an address. A file that cannot be read has none.

    A name without a scheme means https there, or this very machine; with a path, as podman writes it, what lies below
    it, and the longest such path counts. No login goes over a network by plain http.
    """
    if not _is_private(here):
        return None
    for path in files:
        try:
            with open(path, encoding="utf-8") as file:
                auths = json.loads(file.read(_MOST)).get("auths")
        except (OSError, ValueError, AttributeError, RecursionError):
            continue
        found: dict[int, tuple[str, str]] = {}
        for name, said in auths.items() if isinstance(auths, dict) else ():
            length = _fit(name, here, repository)
            if length is not None and (login := _login(said)) is not None:
                found.setdefault(length, login)
        if found:
            return found[max(found)]
    return None


def _is_private(here: Address) -> bool:
    """Whether nobody on the way reads what is sent there."""
    return here.scheme == "https" or is_loopback(here.host)


def _fit(name: str, here: Address, repository: str) -> int | None:
    """How closely a name in a file of logins means a repository at an address: the length of its path; None: not."""
    scheme, found, place = name.rpartition("://")
    host, _, path = place.partition("/")
    if not found:
        scheme = "http" if here.scheme == "http" else "https"
    if here.host == DOCKER_HUB and host in DOCKER_HUB_NAMES:
        host = DOCKER_HUB
    # With a scheme, as docker has always written them, a path is the interface's: https://index.docker.io/v1/.
    path = "" if found else path.rstrip("/")
    try:
        if address(f"{scheme}://{host}") != here:
            return None
    except Exception:  # noqa: BLE001 - a name of another kind is for somebody else
        return None
    return len(path) if not path or f"{repository}/".startswith(f"{path}/") else None


def _login(said: Any) -> tuple[str, str] | None:
    if not isinstance(said, dict):
        return None
    try:
        text = base64.b64decode(said.get("auth") or "", validate=True).decode()
    except (TypeError, ValueError, binascii.Error):
        return None
    user, colon, password = text.partition(":")
    return (user, password.rstrip("\0")) if colon and user else None


class Admission:
    """To one repository of one registry, for a run. Thread-safe.

    Parameters
    ----------
    base
        The registry's URL.
    repository
        Its name.
    actions
        ``pull`` or ``pull,push``.
    """

    def __init__(self, base: str, repository: str, actions: str = "pull") -> None:
        self._home, self._repository, self._actions = address(base), repository, actions
        self._lock = threading.Lock()
        self._header: str | None = None

    def __repr__(self) -> str:
        return f"Admission({self._repository!r})"

    @property
    def mend(self) -> str:
        """What to do where the registry refuses."""
        usual = 443 if self._home.scheme == "https" else 80
        place = self._home.host if self._home.port == usual else f"{self._home.host}:{self._home.port}"
        if self._home.host == DOCKER_HUB:
            place = "docker.io"
        if not _is_private(self._home):
            return "no login is sent by plain http: let the registry be asked by https, oci://"
        return f"docker login {place}, or a file of its form named by REGISTRY_AUTH_FILE, with {place} in its auths"

    def authorization(self, here: Address) -> str | None:
        """The Authorization header for an address, as far as is known."""
        return self._header if here == self._home else None

    def challenged(self, sent: str | None, header: str, url: str, read: Callable[[str, str | None], bytes]) -> bool:
        """Take in a 401's WWW-Authenticate; say whether to ask again, with what is known now.

        Parameters
        ----------
        sent
            The Authorization that was refused.
        url
            Which was asked.
        read
            Gives the document at a URL, asked with an Authorization or with none.
        """
        with self._lock:
            if self._header != sent:
                return True  # another thread was quicker
            for challenge in challenges(header):
                if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
                    self._header = self._token(challenge.parameters, url, read)
                    return self._header is not None
                if challenge.scheme == "basic":
                    login = find_login(self._home, self._repository, login_files())
                    self._header = _basic(login) if login else None
                    return self._header is not None and self._header != sent
        return False

    def _token(self, parameters: Mapping[str, str], url: str, read: Callable[[str, str | None], bytes]) -> str | None:
        realm = redirect_target(url, parameters["realm"])
        scope = parameters.get("scope") or f"repository:{self._repository}:{self._actions}"
        asked = {"service": parameters.get("service", ""), "scope": scope}
        query = "&".join(f"{name}={quote(value, safe='/:,')}" for name, value in asked.items() if value)
        there = address(realm)
        # The registry's own login, as docker sends it: another's would let a registry ask for a token in our name. Its
        # token goes back to the registry, so that both ways must be private.
        login = find_login(self._home, self._repository, login_files()) if _is_private(there) else None
        asking = f"{realm}{'&' if '?' in realm else '?'}{query}"
        try:
            found = json.loads(read(asking, _basic(login) if login else None))
            token = found.get("token") or found.get("access_token")
        except (ValueError, AttributeError, RecursionError):
            token = None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:
            raise AccessError(f"{safe_url(realm)}: gave no token for {self._repository}", mend=self.mend)
        return f"Bearer {token}"


def _basic(login: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(f"{login[0]}:{login[1]}".encode()).decode()
