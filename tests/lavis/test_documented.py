"""The lines that LAVIS documents of its datasets, on ours as the shipped catalog says they are."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from PIL import Image

from assetmgr.datasets import load
from tests.lavis import package
from tests.lavis.forms import IMAGES
from tests.lavis.shelf import shelved


def test_the_documented_lines_work(tmp_path: Path) -> None:
    coco_dataset = load(*shelved(tmp_path, "coco_caption", IMAGES["coco_caption"]))
    assert isinstance(coco_dataset, dict)
    assert str(coco_dataset.keys()) == "dict_keys(['train', 'val', 'test'])"
    assert len(coco_dataset["train"]) == 5
    sample = coco_dataset["train"][0]
    assert list(sample) == ["image", "text_input", "image_id"]
    assert isinstance(sample["image"], Image.Image)
    assert sample["image"].mode == "RGB"
    assert sample["text_input"] == "A woman wearing a net on her head cutting a cake. "
    assert sample["image_id"] == 0


def test_imagenet_has_the_names_of_its_classes(tmp_path: Path) -> None:
    opened = load(*shelved(tmp_path, "imagenet", IMAGES["imagenet"]))
    assert isinstance(opened, dict)
    names = opened["val"].classnames
    assert (len(names), names[0], names[-1]) == (1000, "tench", "toilet paper")
    other = load(*shelved(tmp_path / "other", "coco_caption", IMAGES["coco_caption"]))
    assert isinstance(other, dict)
    assert not hasattr(other["train"], "classnames")


@pytest.mark.lavis
def test_the_names_of_classes_are_lavis_own(tmp_path: Path) -> None:
    opened = load(*shelved(tmp_path, "imagenet", IMAGES["imagenet"]))
    folder = package.find_package()
    assert folder is not None
    assert isinstance(opened, dict)
    tree = ast.parse((folder / "datasets/builders/imagefolder_builder.py").read_text(encoding="utf-8"))
    theirs = [ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)]
    assert opened["val"].classnames in theirs
