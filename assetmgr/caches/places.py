"""Where in a cache a locked file may lie, by the names that the tool which fills the cache gives."""

from __future__ import annotations

from urllib.parse import unquote

from assetmgr.caches.known import Kind
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.store import Layout, repo_folder


def places(kind: Kind, entry: LockedAsset, file: LockedFile) -> tuple[str, ...]:
    """The names in a cache of a kind, relative to it, with forward slashes. Whether anything is there is not asked."""
    if entry.origin == "hub":
        return _hub(kind, entry, file)
    names = _names(file)
    lavis = _lavis(file)
    if kind == "torch":
        return tuple(f"hub/checkpoints/{name}" for name in names) if _is_checkpoint(file) else ()
    if kind == "clip":
        return names if _is_checkpoint(file) else ()
    if kind == "lavis":
        return lavis
    if kind == "hub":
        return ()
    # A store of our own, a TORCH_HOME, a folder of checkpoints, a LAVIS root, or just the files.
    own = (Layout(entry).name(file), *(f"hub/checkpoints/{name}" for name in names), *lavis, file.path, *names)
    return tuple(dict.fromkeys(own))


def blob_names(file: LockedFile) -> tuple[str, ...]:
    """The names that a hub cache gives to these bytes, each a digest of them."""
    return tuple(dict.fromkeys(digest for digest in (file.sha256, file.git_sha1) if digest))


def _hub(kind: Kind, entry: LockedAsset, file: LockedFile) -> tuple[str, ...]:
    repo = repo_folder(entry.kind, entry.repo)
    # Where symlinks are refused, huggingface_hub has no blob but the file itself in the snapshot.
    found = (*(f"{repo}/blobs/{name}" for name in blob_names(file)), f"{repo}/snapshots/{entry.commit}/{file.path}")
    if kind == "hub":
        return found
    if kind == "any":
        return (*found, *(f"hub/{name}" for name in found), file.path)
    return ()


def _is_checkpoint(file: LockedFile) -> bool:
    """Whether a file may be one of a folder of checkpoints: a single plain file, that no LAVIS folder is for."""
    return file.place in ("torch", "clip", "files")


def _lavis(file: LockedFile) -> tuple[str, ...]:
    place, _, folder = file.place.partition("/")
    if place != "lavis":
        return ()
    return (f"{folder}/{file.path}" if folder else file.path,)


def _names(file: LockedFile) -> tuple[str, ...]:
    """The last name of a file's path, and of its URLs: tools save by the URL."""
    found = [file.path.rpartition("/")[2]]
    for url in file.urls:
        found.append(unquote(url.partition("#")[0].partition("?")[0].rpartition("/")[2]))
    return tuple(dict.fromkeys(name for name in found if name not in ("", ".", "..") and not set(name) & set("/\\\0:")))
