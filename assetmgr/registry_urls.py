"""A repository of an OCI registry as a mirror is written: ``oci://host:port/lab/assets:tag``.

By https; by http where the registry is on this very machine, or where ``oci+http://`` says so. The names are those of
the OCI distribution specification 1.1, "Pulling manifests"; ``docker.io`` is asked where Docker Hub's registry is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

SCHEMES = ("oci", "oci+http")
LATEST = "latest"
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?", re.ASCII)
_LOOPBACK = re.compile(r"localhost|127(?:\.[0-9]{1,3}){3}|::1")
DOCKER_HUB = "registry-1.docker.io"
"""Where Docker Hub's registry answers."""
DOCKER_HUB_NAMES = frozenset({"docker.io", "index.docker.io", DOCKER_HUB})
"""How it is written."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository, and a tag in it.

    Attributes
    ----------
    base
        The registry's URL, without a slash at its end.
    name
        Of the repository.
    tag
        ``latest`` where none was written.
    """

    base: str
    name: str
    tag: str

    def blob(self, sha256: str) -> str:
        """The URL of a content."""
        return f"{self.base}/v2/{self.name}/blobs/sha256:{sha256}"

    def manifest(self, reference: str) -> str:
        """The URL of a manifest, by tag or digest."""
        return f"{self.base}/v2/{self.name}/manifests/{reference}"

    @property
    def uploads(self) -> str:
        """The URL where an upload begins."""
        return f"{self.base}/v2/{self.name}/blobs/uploads/"


def is_registry(text: str) -> bool:
    """Whether a mirror's text means a registry."""
    return text.partition(":")[0] in SCHEMES


def registry_fault(text: str) -> str | None:
    """Say why a text for which `is_registry` holds names no repository, or None."""
    form = "a registry is written oci://host:port/repository:tag"
    rest = text.partition(":")[2]
    if not rest.startswith("//"):
        return form
    host, _, path = rest[2:].rstrip("/").partition("/")
    if "@" in host:
        return "it holds a login, and this is no place for one: `docker login` writes it where it is looked for"
    if "@" in path:
        return "it names a digest; name a tag, or none: a mirror is asked for each file by the file's own digest"
    try:
        parts = urlsplit(f"https://{host}/")
        name, port = parts.hostname, parts.port
    except ValueError as error:
        return f"it is not a URL: {error}"
    if not name or not _HOST.fullmatch(host.rpartition(":")[0] if port is not None else host) or port == 0:
        return form
    repository, colon, tag = path.partition(":")
    if not repository:
        return f"it names no repository: {form}"
    if not _REPOSITORY.fullmatch(repository):
        return f"{repository[:80]!r} is no repository's name: lower-case letters, digits, and . _ - between them"
    if colon and not _TAG.fullmatch(tag):
        return f"{tag[:80]!r} is no tag: letters, digits, and . _ -, at most 128"
    return None


def is_loopback(host: str) -> bool:
    """Whether a host is this very machine."""
    return bool(_LOOPBACK.fullmatch(host))


def parse_repository(text: str) -> Repository:
    """What a text without a `registry_fault` names."""
    scheme, _, rest = text.partition("://")
    host, _, path = rest.rstrip("/").partition("/")
    name, _, tag = path.partition(":")
    host = DOCKER_HUB if host in DOCKER_HUB_NAMES else host
    plain = scheme == "oci+http" or is_loopback(urlsplit(f"https://{host}/").hostname or "")
    return Repository(f"{'http' if plain else 'https'}://{host}", name, tag or LATEST)
