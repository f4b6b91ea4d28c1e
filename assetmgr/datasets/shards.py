"""Media in shards: an index leads from a medium's name in the annotation to its bytes in one of some tars."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Mapping
from typing import BinaryIO

import msgspec

from assetmgr.errors import IntegrityError

INDEX = "index.json"
# Shard, member, offset and size.
_Place = tuple[str, str, int, int]


class _Index(msgspec.Struct):
    images: dict[str, _Place]


class Shards:
    """The images of a `url_list` asset. Its index is read when the first is asked for, in each process that asks."""

    def __init__(self, folder: str, owner: str | None) -> None:
        self.folder, self.owner = folder, owner
        self._places: Mapping[str, _Place] | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        return Shards, (self.folder, self.owner)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shards) and (self.folder, self.owner) == (other.folder, other.owner)

    def __hash__(self) -> int:
        return hash((self.folder, self.owner))

    @property
    def where(self) -> str:
        return self.folder

    def _index(self) -> Mapping[str, _Place]:
        with self._lock:
            if self._places is None:
                path = os.path.join(self.folder, INDEX)
                try:
                    with open(path, "rb") as file:
                        self._places = msgspec.json.decode(file.read(), type=_Index).images
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    mend = f"assetmgr verify {self.owner} --full --repair"
                    raise IntegrityError(f"{self.owner}: {path}: not an index of shards: {error}", mend=mend) from None
            return self._places

    def open(self, name: str) -> BinaryIO:
        place = self._index().get(name)
        if place is None:
            raise FileNotFoundError(name)
        shard, _, offset, size = place
        with open(os.path.join(self.folder, os.path.basename(shard)), "rb") as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) != size:
            raise OSError(f"{shard} ends within it")
        return io.BytesIO(data)

    def has(self, name: str) -> bool:
        return name in self._index()

    def shown(self, name: str) -> str:
        place = self._index().get(name)
        return f"{name} in {self.folder}" if place is None else os.path.join(self.folder, place[0], place[1])
