"""Images in shards, found by their index."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest

from assetmgr.datasets.archived import Archives
from assetmgr.datasets.media import DamagedError
from assetmgr.datasets.shards import shards
from assetmgr.errors import IntegrityError
from assetmgr.verify import Installed
from tests.datasets.stored import store_asset

PLACES: dict[str, Any] = {
    "a/é.jpg": ["00000.tar", "0.jpg", 4, 5],
    "b": ["00001.tar", "1.jpg", 0, 6],
    "c": ["00001.tar", "2", 3, 9],
}


def asset(root: Path, index: bytes | None = None) -> Installed:
    files: dict[str, bytes | Path] = {
        "00000.tar": b"headFIRSTpad",
        "00001.tar": b"SECOND",
        "index.json": index or json.dumps({"version": 1, "columns": [], "images": PLACES}).encode(),
    }
    found = store_asset(root, "m", files, {}, origin="files")
    return Installed(msgspec.structs.replace(found.entry, origin="url_list"), found.folder, {}, found.store)


def test_an_image_is_its_bytes_in_the_shard(tmp_path: Path) -> None:
    media = shards(asset(tmp_path), check=True)
    for each in (media, pickle.loads(pickle.dumps(media))):
        assert isinstance(each, Archives)
        assert each.open("a/é.jpg").read() == b"FIRST"
        assert each.open("b").read() == b"SECOND"
        assert each.has("b")
        assert each.present(["b", "x"]) == {"b"}
        assert each.shown("b") == str(tmp_path / "files/m/00001.tar/1.jpg")


def test_the_index_is_read_once(tmp_path: Path) -> None:
    found = asset(tmp_path)
    shards(found, check=True)
    (tmp_path / "files/m/index.json").unlink()
    assert shards(found, check=True).open("b").read() == b"SECOND"


def test_what_is_not_there_is_told_as_that(tmp_path: Path) -> None:
    media = shards(asset(tmp_path), check=True)
    assert not media.has("x")
    with pytest.raises(FileNotFoundError):
        media.open("x")
    with pytest.raises(DamagedError, match="is cut off"):
        media.open("c")
    (tmp_path / "files/m/00000.tar").write_bytes(b"headOTHERpad and more")
    with pytest.raises(DamagedError, match=r"00000\.tar was changed since it was proved"):
        media.open("a/é.jpg")


@pytest.mark.parametrize("index", [b"[]", b'{"images": {"a": ["../../etc/passwd", "x", 0, 1]}}'], ids=["none", "out"])
def test_an_index_that_leads_nowhere_is_refused(tmp_path: Path, index: bytes) -> None:
    with pytest.raises(IntegrityError, match=r"not an index|there is no shard"):
        shards(asset(tmp_path, index), check=True)
