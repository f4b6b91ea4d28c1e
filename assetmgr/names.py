"""The one checker of names that come from outside.

Repo paths, etags, archive members, asset names, lock and bundle entries: whatever was not written by this process
passes here before any part of it becomes a path. The rules are the union of POSIX's and Windows's, on every system,
so that a lock made on one machine means the same on another.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from assetmgr.errors import UnsafeNameError

_MAX_PATH = 1024
_MAX_PART = 255
_HEX_DIGITS = {"sha256": 64, "git_sha1": 40, "md5": 32, "crc32c": 8}
_HEX = re.compile(r"[0-9a-f]+\Z")
_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"}
_DEVICES |= {f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"}
_REPO_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_REPO = re.compile(rf"{_REPO_PART}(?:/{_REPO_PART})?\Z")
_ASSET = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9._+-]*[A-Za-z0-9_+])?(?:/[A-Za-z0-9](?:[A-Za-z0-9._+-]*[A-Za-z0-9_+])?)*\Z"
)
# Names that are harmless everywhere and the rule for nearly all: the check on each of 100,000 paths stays one match.
_DEVICE_NAME = "(?:con|prn|aux|nul|com[0-9]|lpt[0-9])"
_PLAIN_PART = rf"(?!{_DEVICE_NAME}(?:[./]|\Z))[.]?[a-z0-9_+=@,-]+(?:[.][a-z0-9_+=@,-]+)*"
_PLAIN = re.compile(rf"{_PLAIN_PART}(?:/{_PLAIN_PART})*\Z", re.I | re.A)


def path_fault(path: str) -> str | None:
    """Say what makes a relative path with forward slashes unsafe, or None when it may become a file's name."""
    if len(path) < _MAX_PART and _PLAIN.match(path):
        return None
    if not path:
        return "it is empty"
    if len(path) > _MAX_PATH or len(path.encode("utf-8", "surrogatepass")) > 4 * _MAX_PATH:
        return f"it is longer than {_MAX_PATH} characters"
    if path.startswith("/"):
        return "it is absolute"
    for part in path.split("/"):
        fault = _part_fault(part)
        if fault:
            return fault
    return None


def _part_fault(part: str) -> str | None:
    if part in ("", "."):
        return "it has an empty or '.' part"
    if part == "..":
        return "it climbs out of its folder with '..'"
    if len(part.encode("utf-8", "surrogatepass")) > _MAX_PART:
        return f"a part of it is longer than {_MAX_PART} bytes"
    if part[-1] in ". ":
        return "a part of it ends with a dot or a space, which Windows drops"
    if part.partition(".")[0].rstrip(" ").lower() in _DEVICES:
        return f"{part!r} is a device name on Windows"
    if "\\" in part:
        return "it has a backslash, which is a separator on Windows"
    if ":" in part:
        return "it has a colon, which names a drive or a stream on Windows"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in part):
        return "it has a control character"
    return None


def check_path(path: str, what: str = "file name") -> str:
    """Return a relative path unchanged, or raise.

    Raises
    ------
    UnsafeNameError
        When the name is absolute, climbs, names a device or a drive, or holds a backslash or control characters.
    """
    fault = path_fault(path)
    if fault:
        raise UnsafeNameError(f"unsafe {what} {path!r}: {fault}")
    return path


def check_distinct(paths: Iterable[str], what: str = "file names") -> None:
    """Raise when two names are one file where case or Unicode form is not told apart, or one is a folder of another."""
    seen: dict[str, str] = {}
    for path in paths:
        key = fold(path)
        if key in seen:
            first = seen[key]
            why = "the same twice" if first == path else "one file where case or Unicode form is not told apart"
            raise UnsafeNameError(f"unsafe {what}: {first!r} and {path!r} are {why}")
        seen[key] = path
    for key, path in seen.items():
        parent = key.rpartition("/")[0]
        while parent:
            if parent in seen:
                raise UnsafeNameError(f"unsafe {what}: {seen[parent]!r} is a file and also the folder of {path!r}")
            parent = parent.rpartition("/")[0]


def fold(path: str) -> str:
    """The form under which a case-folding, Unicode-normalising file system would keep a name."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def is_digest(text: str, algorithm: str) -> bool:
    """Whether a text is a lower-case hexadecimal digest of `sha256`, `git_sha1`, `md5` or `crc32c`."""
    return len(text) == _HEX_DIGITS[algorithm] and _HEX.match(text) is not None


def check_digest(text: str, algorithm: str, what: str = "") -> str:
    """Return a digest unchanged, or raise `UnsafeNameError`. ``git_sha1`` is also the form of a commit."""
    if not is_digest(text, algorithm):
        raise UnsafeNameError(
            f"{what or algorithm}: {text[:80]!r} is not {_HEX_DIGITS[algorithm]} lower-case hex digits"
        )
    return text


def is_blob_name(etag: str) -> bool:
    """Whether an etag may name a blob in a hub cache: 40 (git sha1) or 64 (sha256) lower-case hex digits."""
    return is_digest(etag, "sha256") or is_digest(etag, "git_sha1")


def is_repo(repo: str) -> bool:
    """Whether a text is a hub repo id: ``NAME`` or ``ORG/NAME``."""
    return _REPO.match(repo) is not None and "--" not in repo and ".." not in repo and path_fault(repo) is None


def line_fault(text: str, most: int) -> str | None:
    """Say why a text cannot be shown as one short line of words (a licence, a description), or None."""
    if not text.strip():
        return "it is empty"
    if len(text) > most:
        return f"it is longer than {most} characters"
    # A terminal obeys the others, or turns the direction of writing by them.
    return None if text.isprintable() else "it has a character that cannot be shown"


def asset_name_fault(name: str) -> str | None:
    """Say why a text cannot name an asset, or None. Names are words joined by ``. _ - +``, with ``/`` between parts."""
    if len(name) + 2 * name.count("/") > 180:  # with each '/' quoted, it is part of a file's name
        return "it is longer than 180 characters, each '/' counting for three"
    if not _ASSET.match(name):
        return "a name has letters, digits, '.', '_', '-', '+', and '/' between its parts"
    return path_fault(name)
