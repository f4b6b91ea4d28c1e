"""Webdataset shards: tars of images, each with its row beside it as JSON; and the index that finds an image in them."""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, NamedTuple

import msgspec

from assetmgr.errors import IntegrityError
from assetmgr.receipt import Stamp

INDEX = "index.json"
_MEMBER = re.compile(r"(?P<key>[0-9]+)\.(?P<kind>jpg|json|txt)")


class Picture(NamedTuple):
    """An image in a shard: its name in the annotation, and where its bytes are."""

    name: str
    member: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard that was read from end to end. ``stamp`` is its status before, and while it fits, the sha256 is right."""

    path: str
    size: int
    sha256: str
    stamp: Stamp
    pictures: tuple[Picture, ...]


class _Row(msgspec.Struct):
    url: str = ""
    image: str | None = None
    sha256: str | None = None


_ROW = msgspec.json.Decoder(_Row)


class _Hashing:
    """A file that is read once, and hashed as it is read."""

    def __init__(self, file: IO[bytes], progress: Callable[[int], object]) -> None:
        self._file, self._progress, self.hash, self.count = file, progress, hashlib.sha256(), 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.hash.update(data)
        self.count += len(data)
        self._progress(len(data))
        return data


def read_shard(path: str, *, originals: bool, progress: Callable[[int], object] = lambda _: None) -> Shard:
    """Read a shard, and prove each of its images by the sha256 that its row has of it.

    Parameters
    ----------
    originals
        Whether the images are the very bytes that came; of resized ones, the row's sha256 is that of what came.

    Raises
    ------
    IntegrityError
        When it is damaged, or no shard.
    """
    pictures: list[Picture] = []
    images: dict[str, tuple[str, int, int, str]] = {}
    with open(path, "rb") as file:
        stamp = Stamp.of(os.fstat(file.fileno()))
        hashing = _Hashing(file, progress)
        try:
            with tarfile.open(fileobj=hashing, mode="r|", bufsize=1 << 20) as shard:  # type: ignore[call-overload]
                for member in shard:
                    named = _MEMBER.fullmatch(member.name)
                    content = shard.extractfile(member) if named and member.isreg() else None
                    if named is None or content is None:
                        raise IntegrityError(f"{path}: {member.name[:80]!r} is nothing that a shard has")
                    data = content.read()
                    if named["kind"] == "jpg":
                        digest = hashlib.sha256(data).hexdigest()
                        images[named["key"]] = (member.name, member.offset_data, member.size, digest)
                    elif named["kind"] == "json":
                        row = _ROW.decode(data)
                        picture = images.pop(named["key"], None)
                        if picture is None or (originals and row.sha256 != picture[3]):
                            raise IntegrityError(f"{path}: {member.name}: its image is not there, or is another")
                        pictures.append(Picture(row.image if row.image is not None else row.url, *picture[:3]))
        except (tarfile.TarError, msgspec.DecodeError, UnicodeDecodeError, EOFError) as error:
            raise IntegrityError(f"{path}: a damaged shard: {error}") from None
        while hashing.read(1 << 20):
            pass
    if images:
        raise IntegrityError(f"{path}: {next(iter(images.values()))[0]} has no row")
    return Shard(path, hashing.count, hashing.hash.hexdigest(), stamp, tuple(pictures))


def index_lines(shards: Iterable[tuple[str, Iterable[Picture]]]) -> Iterator[bytes]:
    """The index as a JSON document, an image a line: its name in the annotation leads to shard, member, offset, size.

    Of images with one name, the first is meant.
    """
    yield b'{"version":1,"columns":["shard","member","offset","size"],"images":{'
    seen: set[str] = set()
    for shard, pictures in shards:
        for name, member, offset, size in pictures:
            if name not in seen:
                before = b",\n" if seen else b"\n"
                seen.add(name)
                yield before + msgspec.json.encode(name) + b":" + msgspec.json.encode((shard, member, offset, size))
    yield b"\n}}\n"
