"""One file of a commit, as the hub describes it; and entries whose description is a lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .content import Content

LfsRule = Callable[[str, int], bool]

LFS_THRESHOLD = 10 * 1024 * 1024
# fmt: off
LFS_SUFFIXES = (
    ".7z", ".arrow", ".bin", ".bz2", ".ckpt", ".ftz", ".gguf", ".gz", ".h5", ".jpeg", ".jpg", ".joblib",
    ".mp3", ".mp4", ".model", ".msgpack", ".npy", ".npz", ".onnx", ".ot", ".parquet", ".pb", ".pickle",
    ".pkl", ".png", ".pt", ".pth", ".rar", ".safetensors", ".tar", ".tflite", ".tgz", ".wav", ".webp",
    ".xz", ".zip", ".zst",
)
# fmt: on


def default_lfs(path: str, size: int) -> bool:
    """Say whether the hub would keep this file in LFS: by suffix, or 10 MiB and more."""
    return size >= LFS_THRESHOLD or path.lower().endswith(LFS_SUFFIXES)


@dataclass(frozen=True)
class RawEntry:
    """A tree entry published as it stands: its name unchecked, each field given here in place of the true.

    `size` is what listings and HEAD claim; GET has the length of `content`. `etag` is written between
    quotes, whatever it holds. `headers` are added to the answers of ``resolve``, over those of the same name.
    """

    content: bytes | Path = b""
    size: int | None = None
    etag: str | None = None
    oid: str | None = None
    sha256: str | None = None
    lfs: bool | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A file in a commit. `sha256` and `pointer_size` are those of LFS; `oid` is a git blob's digest."""

    path: str
    content: Content
    size: int
    oid: str
    etag: str
    sha256: str | None = None
    pointer_size: int = 0
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def lfs(self) -> bool:
        return self.sha256 is not None

    @property
    def folder(self) -> str:
        """The folder that lists the entry. One with a hostile name is listed at the root."""
        return self.path.rpartition("/")[0] if is_plain(self.path) else ""

    def listing(self, *, expand: bool = False) -> dict[str, Any]:
        """Return the entry as ``/tree`` shows it."""
        shown: dict[str, Any] = {"type": "file", "oid": self.oid, "size": self.size, "path": self.path}
        if self.sha256 is not None:
            shown["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": self.pointer_size}
        if expand:
            shown["securityFileStatus"] = {"status": "unscanned", "avScan": None, "pickleImportScan": None}
        return shown

    def sibling(self, *, blobs: bool) -> dict[str, Any]:
        """Return the entry as a repository's ``siblings`` show it."""
        shown: dict[str, Any] = {"rfilename": self.path}
        if blobs:
            shown |= {"size": self.size, "blobId": self.oid}
            if self.sha256 is not None:
                shown["lfs"] = {"sha256": self.sha256, "size": self.size, "pointerSize": self.pointer_size}
        return shown


def is_plain(path: str) -> bool:
    """Say whether a path is one that git would hold."""
    control = any(letter < " " for letter in path)
    return not control and "\\" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


def make_entry(path: str, source: bytes | Path | RawEntry, lfs: LfsRule) -> Entry:
    """Describe one file as git and LFS would, then tell the lies of a `RawEntry`."""
    raw = source if isinstance(source, RawEntry) else RawEntry(source)
    if not isinstance(source, RawEntry) and not is_plain(path):
        raise ValueError(f"{path!r} is no path that git would hold; publish it as a RawEntry")
    content = Content.of(raw.content)
    size = content.size if raw.size is None else raw.size
    headers = tuple(raw.headers.items())
    in_lfs = (raw.sha256 is not None or lfs(path, content.size)) if raw.lfs is None else raw.lfs
    if not in_lfs:
        oid = raw.oid or content.git_sha1
        return Entry(path, content, size, oid, oid if raw.etag is None else raw.etag, headers=headers)
    sha256 = raw.sha256 or content.sha256
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    oid = raw.oid or Content.of(pointer).git_sha1
    etag = sha256 if raw.etag is None else raw.etag
    return Entry(path, content, size, oid, etag, sha256, len(pointer), headers)
