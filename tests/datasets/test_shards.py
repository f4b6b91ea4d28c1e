"""Images in shards, found by their index."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from assetmgr.datasets import Dataset, load
from assetmgr.datasets.archived import Archives
from assetmgr.datasets.completeness import counted
from assetmgr.datasets.media import DamagedError
from assetmgr.datasets.shards import shards
from assetmgr.errors import IntegrityError
from assetmgr.verify import Installed
from tests.datasets.published import tarred
from tests.datasets.stored import store_asset
from tests.origins.images import picture

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


def listed(root: Path, name: str, place: str, names: dict[str, bytes]) -> Installed:
    """An outcome of `url_list` at a place: its images by their names in the list."""
    members = {f"{number:09d}.jpg": data for number, data in enumerate(names.values())}
    shard = tarred(members)
    with tarfile.open(fileobj=io.BytesIO(shard)) as tar:
        offsets = [member.offset_data for member in tar]
    images = {
        named: ["00000.tar", member, offset, len(members[member])]
        for named, member, offset in zip(names, members, offsets, strict=True)
    }
    index = json.dumps({"version": 1, "columns": [], "images": images}).encode()
    found = store_asset(root, name, {"00000.tar": shard, "index.json": index}, {}, origin="files", place=place)
    return Installed(msgspec.structs.replace(found.entry, origin="url_list"), found.folder, {}, found.store)


def captioned(root: Path, **files: str) -> Installed:
    rows = {f"{split}.json": json.dumps([{"image": name, "caption": "x"}]).encode() for split, name in files.items()}
    use = {"splits": {split: f"{split}.json" for split in files}, "samples": "image_text"}
    return store_asset(root, "captions", rows, use, origin="files", place="lavis/captions")


def test_every_split_finds_its_own_of_several_lists_of_images(tmp_path: Path) -> None:
    """As nocaps has them: two lists that name files, and annotations that name them below the list's folder."""
    val = listed(tmp_path, "val-images", "lavis/nocaps/shards/val", {"a.jpg": picture(1), "same.jpg": picture(2)})
    test = listed(tmp_path, "test-images", "lavis/nocaps/shards/test", {"b.jpg": picture(3), "same.jpg": picture(4)})
    names = {
        "val": "val/a.jpg",
        "test": "test/b.jpg",
        "bare": "b.jpg",
        "first": "val/same.jpg",
        "last": "test/same.jpg",
    }
    opened = load(captioned(tmp_path, **names), [val, test], missing="error")
    assert isinstance(opened, dict)
    for split, number in {"val": 1, "test": 3, "bare": 3, "first": 2, "last": 4}.items():
        with Image.open(io.BytesIO(picture(number))) as image:
            assert opened[split][0]["image"].tobytes() == image.convert("RGB").tobytes(), split
    assert counted(captioned(tmp_path, **names), [val, test])[0] == [("images", 5, 5)]
    absent = load(captioned(tmp_path, val="val/b.jpg"), [val, test], split="val")
    assert isinstance(absent, Dataset)
    with pytest.raises(IntegrityError, match=r"b\.jpg in .*shards.val.*no such file") as caught:
        absent[0]
    assert "val-images has no file of this name" in str(caught.value.mend)


def test_annotations_that_name_files_are_told_that_the_shards_know_urls(tmp_path: Path) -> None:
    shards = listed(tmp_path, "cc3m-images", "lavis/cc/shards", {"http://localhost/a.jpg": picture(1)})
    opened = load(captioned(tmp_path, train="training/0_12.jpg"), [shards], split="train")
    assert isinstance(opened, Dataset)
    with pytest.raises(IntegrityError) as caught:
        opened[0]
    assert "know their images by URL" in str(caught.value.mend)
    assert "vis_path" in str(caught.value.mend)
