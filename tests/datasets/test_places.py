"""Where annotations and images are found: snapshots, LAVIS's layout, required assets, the user's own folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assetmgr.datasets import Dataset, load
from assetmgr.datasets.media import Folder, Media
from assetmgr.errors import IntegrityError, UnsafeNameError, UsageError
from assetmgr.verify import Installed
from tests.datasets.conftest import Make, png
from tests.datasets.stored import store_asset

ROWS = json.dumps([{"caption": "x", "image": "train2014/a.png", "image_id": 1}]).encode()
USE = {"splits": {"train": ["train.json"]}, "samples": "caption"}


def only(found: Installed, *required: Installed, **how: Any) -> Dataset:
    dataset = load(found, required, split="train", **how)
    assert isinstance(dataset, Dataset)
    return dataset


def is_folder(media: Media, folder: Path, owner: str) -> bool:
    return isinstance(media, Folder) and (media.folder, media.owner) == (str(folder), owner)


def test_lavis_annotations_find_the_images_of_the_asset_that_they_require(tmp_path: Path) -> None:
    images = store_asset(
        tmp_path, "coco-images", {"train2014/a.png": png()}, {}, origin="files", place="lavis/coco/images"
    )
    captions = store_asset(
        tmp_path,
        "coco_caption",
        {"train.json": ROWS, "val.json": b"[]"},
        USE,
        origin="files",
        place="lavis/coco/annotations",
    )
    dataset = only(captions, images)
    assert dataset.annotations == (str(tmp_path / "lavis/coco/annotations/train.json"),)
    assert is_folder(dataset.media, tmp_path / "lavis/coco/images", "coco-images")
    assert dataset[0]["image"].mode == "RGB"
    (tmp_path / "lavis/coco/images/train2014/a.png").unlink()
    with pytest.raises(IntegrityError) as caught:
        dataset[0]
    assert caught.value.mend == "assetmgr verify coco-images --repair"


@pytest.mark.parametrize("media", [None, ".", "train2014/.."])
def test_a_files_asset_keeps_its_images_beside_its_annotations(tmp_path: Path, media: str | None) -> None:
    files = {"train.json": ROWS, "train2014/a.png": png()}
    found = store_asset(tmp_path, "plain", dict(files), USE | ({"media": media} if media else {}), origin="files")
    if media == "train2014/..":
        with pytest.raises(UnsafeNameError):
            only(found)
    else:
        assert only(found)[0]["image"].size == (4, 3)


def test_media_is_looked_for_in_required_assets_too(tmp_path: Path) -> None:
    images = store_asset(tmp_path, "images", {"pictures/train2014/a.png": png()}, {})
    found = store_asset(tmp_path, "captions", {"train.json": ROWS}, USE | {"media": "pictures"})
    assert is_folder(only(found, images).media, Path(images.folder, "pictures"), "images")


def test_the_media_of_a_required_asset_may_be_said_by_its_own_manifest(tmp_path: Path) -> None:
    images = store_asset(tmp_path, "images", {"pictures/train2014/a.png": png()}, {"media": "pictures"})
    found = store_asset(tmp_path, "captions", {"train.json": ROWS}, USE)
    assert is_folder(only(found, images).media, Path(images.folder, "pictures"), "images")


def test_vis_path_replaces_the_media_folder(made: Make, tmp_path: Path) -> None:
    found = made([["?", "yes", "a"]], samples="vqa")
    own = tmp_path / "own"
    own.mkdir()
    (own / "a.png").write_bytes(png("blue"))
    dataset = only(found, vis_path=own)
    assert dataset[0]["image"].getpixel((0, 0)) == (0, 0, 255)
    (own / "a.png").unlink()
    with pytest.raises(IntegrityError) as caught:
        dataset[0]
    assert "vis_path" in caught.value.mend
    assert "verify" not in caught.value.mend
    with pytest.raises(UsageError, match="is not a folder"):
        only(found, vis_path=own / "elsewhere")


@pytest.mark.parametrize(
    ("change", "complaint", "mend"),
    [
        ({"splits": None}, "does not say which files its splits are", "add `splits:"),
        ({"samples": None}, "does not say what the samples of train are", "samples: caption | image_text | "),
        ({"samples": "captoin"}, "asks for samples 'captoin'", "samples: caption | image_text | "),
        ({"splits": {"train": ["trian.json"]}}, "no file 'trian.json'; did you mean 'train.json'", "correct `splits:`"),
        ({"splits": {"train": ["../train.json"]}}, "no file '../train.json'", "correct `splits:`"),
        ({"media": "imgs"}, "no folder of images: ", "correct `media:`"),
        ({"media": {"val": "images"}}, "", ""),
    ],
)
def test_a_manifest_that_does_not_fit_is_told_what_to_change(
    made: Make, change: dict[str, Any], complaint: str, mend: str
) -> None:
    found = made([], **change)
    if not complaint:  # media for other splits only: this one's images stand in the asset's folder
        assert only(found).media.where == found.folder
        return
    with pytest.raises(UsageError) as caught:
        load(found)
    assert complaint in caught.value.message
    assert mend in caught.value.mend


def test_an_ambiguous_split_file_is_not_guessed(tmp_path: Path) -> None:
    files = {"a/train.json": ROWS, "b/train.json": ROWS, "train2014/a.png": png()}
    found = store_asset(tmp_path, "twice", dict(files), USE)
    with pytest.raises(UsageError, match=r"has 2 files 'train\.json'"):
        load(found)
    exact = Installed(found.entry, found.folder, USE | {"splits": {"train": ["b/train.json"]}}, found.store)
    assert only(exact).annotations[0].endswith("b/train.json")


def test_an_unknown_split_is_answered_with_the_nearest(made: Make) -> None:
    with pytest.raises(UsageError, match=r"no split 'trian'; did you mean 'train'\?"):
        load(made([]), split="trian")
