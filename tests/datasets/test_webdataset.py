"""Shards whose rows are the samples: an image and its caption, each there once, in order, by number."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from assetmgr.catalog import Catalog, shipped_manifests
from assetmgr.datasets import Dataset, load
from assetmgr.errors import IntegrityError, UsageError
from assetmgr.verify import Installed
from tests.datasets.published import tarred
from tests.datasets.stored import store_asset
from tests.origins.images import picture

USE: dict[str, Any] = {"splits": {"train": ["*.tar"]}, "samples": "webdataset"}


def row(number: int, **said: object) -> dict[str, bytes]:
    """What img2dataset writes of an image."""
    told = {"url": "http://localhost/a.jpg", "key": f"{number:09d}", "status": "success", **said}
    return {
        f"{number:09d}.jpg": picture(number),
        f"{number:09d}.json": json.dumps(told, ensure_ascii=False).encode(),
        f"{number:09d}.txt": str(said.get("caption")).encode(),
    }


ROWS = {**row(0, caption="Zwei Kätzchen — 猫"), **row(3, caption=""), **row(4)}
# One without its row, and one without its image: neither is a sample.
SHARD = tarred({**ROWS, "000000005.jpg": picture(5), "000000006.json": b'{"caption": "no image"}'})
NEXT = tarred(row(10_000, caption="of the next shard"))


def asset(root: Path, shards: dict[str, bytes | Path], use: dict[str, Any] = USE) -> Installed:
    files = {**shards, "index.json": b'{"version": 1, "images": {}}'}
    found = store_asset(root, "laion2B_multi", files, use, origin="files", place="lavis/laion2B-multi/part-00000")
    return Installed(msgspec.structs.replace(found.entry, origin="url_list"), found.folder, use, found.store)


def train(found: Installed, **how: Any) -> Dataset:
    opened = load(found, split="train", **how)
    assert isinstance(opened, Dataset)
    return opened


def test_the_samples_of_shards_are_their_images_with_captions(tmp_path: Path) -> None:
    opened = train(asset(tmp_path, {"00001.tar": NEXT, "00000.tar": SHARD}), missing="error")
    for each in (opened, pickle.loads(pickle.dumps(opened))):
        assert [list(sample) for sample in each] == [["image", "text_input"]] * 3
        assert [sample["text_input"] for sample in each] == ["Zwei Kätzchen — 猫", "", "of the next shard"]
        with Image.open(io.BytesIO(picture(10_000))) as image:
            assert each[-1]["image"].tobytes() == image.convert("RGB").tobytes()
    assert "00000.tar" in repr(opened)


def test_images_of_one_url_are_not_confused(tmp_path: Path) -> None:
    """Their index in the store knows the first alone."""
    opened = train(asset(tmp_path, {"00000.tar": tarred({**row(1, caption="a"), **row(2, caption="b")})}))
    assert opened[0]["image"].tobytes() != opened[1]["image"].tobytes()


def test_the_shards_of_a_split_may_be_named(tmp_path: Path) -> None:
    use = {"splits": {"train": ["00000.tar"], "val": ["*1.tar"]}, "samples": "webdataset"}
    opened = load(asset(tmp_path, {"00001.tar": NEXT, "00000.tar": SHARD}, use))
    assert isinstance(opened, dict)
    assert {split: len(each) for split, each in opened.items()} == {"train": 2, "val": 1}


def test_shards_of_the_users_own_are_a_vis_path(tmp_path: Path) -> None:
    found, own = asset(tmp_path / "store", {"00000.tar": SHARD}), tmp_path / "own"
    own.mkdir()
    (own / "a.tar").write_bytes(NEXT)
    for where in (own, own / "a.tar", [own / "a.tar"]):
        assert [sample["text_input"] for sample in train(found, vis_path=where)] == ["of the next shard"]
    with pytest.raises(UsageError, match="no shard"):
        train(found, vis_path=tmp_path / "nowhere")


def test_a_row_that_cannot_be_read_and_a_changed_shard_are_named(tmp_path: Path) -> None:
    broken = tarred({"0.jpg": picture(0), "0.json": b'{"caption": '})
    with pytest.raises(IntegrityError, match=r"laion2B_multi: .*00000\.tar.0\.json: not a row of a shard"):
        train(asset(tmp_path / "broken", {"00000.tar": broken}))
    found = asset(tmp_path / "changed", {"00000.tar": SHARD})
    opened = train(found)
    (Path(found.folder) / "00000.tar").write_bytes(SHARD + b"\0")
    with pytest.raises(IntegrityError, match=r"changed since it was proved"):
        opened[0]
    (Path(found.folder) / "00000.tar").unlink()
    with pytest.raises(IntegrityError, match=r"00000\.tar"):
        train(found)


def test_the_shipped_catalog_says_so_of_laion() -> None:
    asset = Catalog([], shipped_manifests()).get("laion2B_multi")
    assert asset.use["samples"] == "webdataset"
    assert json.loads(json.dumps(asset.use["splits"])) == USE["splits"]
