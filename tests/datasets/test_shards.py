"""Images in shards, found by their index."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from assetmgr.datasets.shards import Shards
from assetmgr.errors import IntegrityError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "00000.tar").write_bytes(b"headFIRSTpad")
    (tmp_path / "00001.tar").write_bytes(b"SECOND")
    places = {"a/é.jpg": ["00000.tar", "0.jpg", 4, 5], "b": ["00001.tar", "1.jpg", 0, 6], "c": ["00001.tar", "2", 3, 9]}
    (tmp_path / "index.json").write_text(json.dumps({"version": 1, "columns": [], "images": places}))
    return tmp_path


def test_an_image_is_its_bytes_in_the_shard(folder: Path) -> None:
    for shards in (Shards(str(folder), "m"), pickle.loads(pickle.dumps(Shards(str(folder), "m")))):
        assert shards.open("a/é.jpg").read() == b"FIRST"
        assert shards.open("b").read() == b"SECOND"
        assert shards.has("b")
        assert shards.shown("b") == str(folder / "00001.tar" / "1.jpg")
        assert shards == Shards(str(folder), "m")


def test_what_is_not_there_is_told_as_that(folder: Path) -> None:
    shards = Shards(str(folder), "m")
    assert not shards.has("x")
    with pytest.raises(FileNotFoundError):
        shards.open("x")
    with pytest.raises(OSError, match="ends within it"):
        shards.open("c")
    (folder / "index.json").write_text("[]")
    with pytest.raises(IntegrityError, match="not an index"):
        Shards(str(folder), "m").open("b")


def test_an_index_leads_out_of_no_folder(folder: Path) -> None:
    (folder / "index.json").write_text(json.dumps({"images": {"a": ["../../etc/passwd", "x", 0, 1]}}))
    with pytest.raises(FileNotFoundError):
        Shards(str(folder), "m").open("a")
