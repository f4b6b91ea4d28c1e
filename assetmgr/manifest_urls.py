"""What a manifest may write where it names a URL or a folder, and what that means on this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from assetmgr.names import path_fault
from assetmgr.registry_urls import is_registry, registry_fault

_VARIABLE = re.compile(r"\$(?:(\w+)|\{([^}]*)\})")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_DOT_BACKSLASH = re.compile(r"\.\.?\\")
# Two letters at least: one is a drive.
_MIRROR_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_BARE = ("/", "./", "../", "~")
_DRIVE_FILE = re.compile(r"gdrive:[A-Za-z0-9_-]{10,200}\Z")
_KAGGLE_FILE = re.compile(r"kaggle:[A-Za-z0-9][\w-]*/[A-Za-z0-9][\w-]*/([^?#]+)\Z", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def url_fault(url: str) -> str | None:
    """Say why a text is neither an http, https or file URL nor a local path, or None."""
    if _is_bare(url):
        return _local_fault(url)
    scheme = _SCHEME.match(url)
    if not scheme:
        return "begin a URL with https: and a local path with './'"
    if scheme[1] not in ("http", "https", "file", "gdrive", "kaggle"):
        return f"the scheme {scheme[1]!r} is not one of http, https, file, gdrive, kaggle"
    if any(char.isspace() for char in url):
        return "a URL has no spaces; write %20"
    if "#" in url:
        return "leave out the '#...', which is never sent"
    if scheme[1] == "file":
        if "?" in url:
            return "a file: URL has no query; write %3F for '?'"
        if _file_host(url) not in ("", "localhost"):
            return "a file: URL names a file of this machine: file:///folder/name"
        return _local_fault(_local_path(url))
    if scheme[1] == "gdrive":
        return None if _DRIVE_FILE.match(url) else "write gdrive:FILE_ID, the long word in the file's link"
    if scheme[1] == "kaggle":
        known = _KAGGLE_FILE.match(url)
        fault = path_fault(unquote(known[1])) if known else None
        form = "write kaggle:OWNER/DATASET/PATH, or kaggle:c/COMPETITION/PATH"
        return None if known and not fault else f"{form} ({fault})" if fault else form
    return _http_fault(url)


def endpoint_fault(url: str) -> str | None:
    """Say why a text is not the address of a hub, or None."""
    if not url.startswith(("http://", "https://")) or any(char.isspace() for char in url):
        return "an endpoint begins with https:// or http://"
    if "?" in url or "#" in url:
        return "an endpoint has no '?' and no '#'"
    return _http_fault(url)


def mirror_fault(text: str) -> str | None:
    """Say why a text names no mirror or None.

    A mirror is a folder, an http or https URL, a registry (oci://host/repository:tag) or a bucket (s3://name/prefix).
    """
    scheme = _MIRROR_SCHEME.match(text)
    if not scheme:
        return folder_fault(text)
    if any(char.isspace() for char in text):
        return "a URL has no spaces; write %20"
    if "?" in text or "#" in text:
        return "a mirror's URL has no '?' and no '#'"
    if is_registry(text):
        return registry_fault(text)
    if scheme[1] in ("http", "https"):
        return "it holds a login, and none is ever sent to a mirror" if "@" in text else _http_fault(text)
    if "::" in text:
        return "a chain of file systems ('::') is no mirror"
    if scheme[1] == "file":
        if _file_host(text) not in ("", "localhost"):
            return "a file: URL names a folder of this machine: file:///folder"
        return _home_fault(_local_path(text)) if _local_path(text) else "it names no folder"
    if scheme[1] == "hf":
        return "a hub is where assets come from, not a mirror; name it by `hub:` or HF_ENDPOINT"
    bucket = text[scheme.end() :].lstrip("/").partition("/")[0] if text.startswith("//", scheme.end()) else ""
    if not bucket:
        return f"a bucket is written {scheme[1]}://name/prefix, and a folder with a colon in its name begins with './'"
    if ":" in bucket.rpartition("@")[0]:
        return "it holds a password, and this is no place for one: give it as the bucket's own library has it"
    return None


def resolve_mirror(text: str, folder: str) -> str:
    """What `mirror_fault` does not fault, in the one form in which two that are the same are equal.

    A folder becomes its absolute path, a relative one below ``folder``; a URL loses its last slashes.
    """
    scheme = _MIRROR_SCHEME.match(text)
    if not scheme:
        return resolve_folder(text, folder)
    if scheme[1] == "file":
        return os.path.abspath(os.path.join(folder, os.path.expanduser(_local_path(text))))
    return text.rstrip("/")


def is_mirror_url(mirror: str) -> bool:
    """Whether a mirror, as `resolve_mirror` returns it, is anything but a folder."""
    return _MIRROR_SCHEME.match(mirror) is not None


def _http_fault(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"it is not a URL: {error}"
    if "@" in parts.netloc:
        return "it holds credentials, and a manifest is no place for them: put them in ~/.netrc"
    return None if host else "it names no host"


def resolve_url(url: str, folder: str) -> str:
    """Turn a local path or a file URL into an absolute file URL; leave any other URL as it is.

    Parameters
    ----------
    url
        A text for which `url_fault` finds no fault.
    folder
        Where a relative path begins: the absolute path of the manifest's folder.
    """
    if not _is_bare(url) and not url.startswith("file:"):
        return url
    path = os.path.expanduser(url if _is_bare(url) else _local_path(url))
    if _DRIVE.match(path):  # in a manifest that was written for Windows, whatever reads it
        return PureWindowsPath(path).as_uri()
    if _DOT_BACKSLASH.match(path):
        path = path.replace("\\", "/")
    return Path(os.path.abspath(os.path.join(folder, path))).as_uri()


def is_relative(url: str) -> bool:
    """Whether what a text without a `url_fault` names depends on the folder that it is written in."""
    path = _local_path(url) if url.startswith("file:") else url if _is_bare(url) else None
    return path is not None and not path.startswith(("/", "~")) and not _DRIVE.match(path)


def moved_url(url: str, start: str, folder: str | None) -> str:
    """The same URL or path, where relative paths begin at ``folder`` and not at ``start``; None makes it absolute."""
    if not is_relative(url):
        return url
    whole = resolve_url(url, start)
    if folder is None:
        return whole
    try:
        path = Path(os.path.relpath(_local_path(whole), folder)).as_posix()
    except ValueError:  # on another drive
        return whole
    return path if path.startswith("../") else f"./{path}"


def file_name(url: str) -> str:
    """The name that a URL's path ends with, unquoted; empty when it ends with a slash, hides one, or names none."""
    if url.startswith("gdrive:"):
        return ""
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    return "" if "/" in name else name


def folder_fault(folder: str) -> str | None:
    """Say why a folder with ``~`` and ``$VARIABLES`` cannot be told on this machine, or None."""
    for match in _VARIABLE.finditer(folder):
        name = match[1] or match[2]
        if not os.environ.get(name):
            return f"the environment variable {name!r} is not set"
    return _home_fault(_VARIABLE.sub(_variable, folder))


def resolve_folder(folder: str, base: str) -> str:
    """The absolute path of a folder that `folder_fault` does not fault; a relative one begins at ``base``."""
    return os.path.abspath(os.path.join(base, os.path.expanduser(_VARIABLE.sub(_variable, folder))))


def _variable(match: re.Match[str]) -> str:
    return os.environ[match[1] or match[2]]


def _local_fault(path: str) -> str | None:
    if not path or path.endswith(("/", "\\")):
        return "it names a folder, not a file"
    if _CONTROL.search(path):
        return "it has a control character"
    return _home_fault(path)


def _home_fault(path: str) -> str | None:
    return "there is no such user's home folder" if os.path.expanduser(path).startswith("~") else None


def _is_bare(url: str) -> bool:
    return url.startswith(_BARE) or bool(_DRIVE.match(url) or _DOT_BACKSLASH.match(url))


def _file_host(url: str) -> str:
    rest = url.removeprefix("file:")
    return rest[2:].partition("/")[0] if rest.startswith("//") else ""


def _local_path(url: str) -> str:
    """The path in a file URL: absolute, or relative where it has no slash after ``file:``."""
    rest = url.removeprefix("file:")
    quoted = "/" + rest[2:].partition("/")[2] if rest.startswith("//") else rest
    path = os.fsdecode(unquote_to_bytes(quoted))
    return path[1:] if _DRIVE.match(path[1:]) and path.startswith("/") else path
