"""Readers: the shapes that they read, and how they refuse the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assetmgr.datasets import Dataset, load
from assetmgr.errors import IntegrityError, UnsafeNameError
from tests.datasets.conftest import Make, png
from tests.datasets.stored import store_asset


def texts_of(dataset: Any) -> list[dict[str, Any]]:
    """Every sample without its image."""
    return [{key: value for key, value in sample.items() if key != "image"} for sample in dataset]


def opened(found: Any) -> Dataset:
    dataset = load(found, split="train")
    assert isinstance(dataset, Dataset)
    return dataset


def test_a_karpathy_training_list_counts_its_images_as_lavis_does(made: Make) -> None:
    rows = [
        {"caption": "A woman. ", "image": "a.png", "image_id": "coco_522418"},
        {"caption": "Zwei Katzen", "image": "b.png", "image_id": "coco_7"},
        {"caption": "A cake.", "image": "a.png", "image_id": "coco_522418"},
    ]
    dataset = opened(made(rows, {"b.png": png("blue")}))
    assert dataset.columns == ("image", "text_input", "image_id")
    assert texts_of(dataset) == [
        {"text_input": "A woman. ", "image_id": 0},
        {"text_input": "Zwei Katzen", "image_id": 1},
        {"text_input": "A cake.", "image_id": 0},
    ]
    assert dataset[1]["image"].getpixel((0, 0)) == (0, 0, 255)


def test_a_karpathy_evaluation_list_gives_lavis_keys(made: Make) -> None:
    name = "COCO_val2014_000000391895.jpg"
    rows = [{"image": name, "caption": ["one", "two"]}, {"image": "a.png", "img_id": 12}]
    dataset = opened(made(rows, {name: png()}))
    assert dataset.columns == ("image", "image_id", "instance_id")
    assert texts_of(dataset) == [
        {"image_id": "000000391895", "instance_id": "0"},
        {"image_id": 12, "instance_id": "1"},
    ]


def test_a_coco_document_gives_a_row_a_caption_in_the_order_of_annotations(made: Make) -> None:
    document = {
        "info": {"year": 2017},
        "images": [{"id": 9, "file_name": "a.png", "height": 3}, {"id": 4, "file_name": "b.png"}],
        "annotations": [
            {"id": 1, "image_id": 4, "caption": "blue"},
            {"id": 2, "image_id": 9, "caption": "red"},
            {"id": 3, "image_id": 4, "caption": "bleu"},
        ],
    }
    dataset = opened(made(b"\n " + json.dumps(document).encode(), {"b.png": png("blue")}))
    assert texts_of(dataset) == [
        {"text_input": "blue", "image_id": 4},
        {"text_input": "red", "image_id": 9},
        {"text_input": "bleu", "image_id": 4},
    ]
    assert dataset[2]["image"].getpixel((0, 0)) == (0, 0, 255)


def test_several_files_make_one_split_in_their_order(tmp_path: Path) -> None:
    first = [{"caption": "x", "image": "a.png", "image_id": 5}]
    second = [{"caption": "y", "image": "a.png", "image_id": 5}, {"caption": "z", "image": "a.png", "image_id": 6}]
    files = {"1.json": json.dumps(first).encode(), "2.json": json.dumps(second).encode(), "images/a.png": png()}
    use = {"splits": {"train": ["2.json", "1.json"]}, "media": "images", "samples": "caption"}
    found = store_asset(tmp_path, "two", dict(files), use)
    assert [(row["text_input"], row["image_id"]) for row in opened(found)] == [("y", 0), ("z", 1), ("x", 0)]


def test_an_empty_list_is_a_split_without_rows(made: Make) -> None:
    dataset = opened(made([]))
    assert (len(dataset), list(dataset), dataset[:]) == (0, [], [])


def test_answers_find_png_and_jpg_images_by_number_or_name(made: Make) -> None:
    rows = [["q1", "a1", "a"], ["q2", "a2", 17]]
    dataset = opened(made(rows, {"17.jpg": png("blue")}, "vqa"))
    assert texts_of(dataset) == [
        {"text_input": "q1", "answer": "a1", "image_id": "a"},
        {"text_input": "q2", "answer": "a2", "image_id": 17},
    ]
    assert dataset[1]["image"].getpixel((0, 0)) == (0, 0, 255)


CAPTION = {"caption": "x", "image": "a.png", "image_id": 1}
COCO = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [{"image_id": 1, "caption": "x"}]}


@pytest.mark.parametrize(
    ("samples", "document", "complaint"),
    [
        ("caption", b"", "not JSON"),
        ("caption", b'[{"caption": "x", "im', "not JSON"),
        ("caption", b"<html>", "not JSON"),
        ("caption", b'["\xff"]', "row [0]"),
        ("caption", b'[{"caption": "x", "image": "\xff", "image_id": 1}]', "not JSON"),
        ("caption", b"3", "Expected `array`"),
        ("caption", [CAPTION, {"caption": "x", "image_id": 1}], "row [1]: Object missing required field `image`"),
        ("caption", [CAPTION, CAPTION | {"caption": 3}], "row [1].caption: Expected"),
        ("caption", [CAPTION, CAPTION | {"caption": ["x"]}], "row [1].caption: Expected `str`"),
        ("caption", [CAPTION | {"caption": ["x"]}, CAPTION], "row [1].caption: Expected `array | null`"),
        ("caption", [{"caption": "x", "image": "a.png"}], "row [0]: Object missing required field `image_id`"),
        ("caption", [CAPTION | {"image_id": 2**63}], "row [0].image_id"),
        ("caption", b'[{"image": "a.png", "x": ' + b"[" * 100_000, "not JSON"),
        ("caption", {"images": []}, "missing required field `annotations`"),
        (
            "caption",
            COCO | {"annotations": [{"image_id": 2, "caption": "x"}]},
            "row annotations[0]: no image has the id 2",
        ),
        ("vqa", [["q", "a", 1], ["q", "a"]], "row [1]"),
        ("vqa", [["q", "a", 1.5]], "row [0][2]"),
        ("vqa", [{"question": "q", "answer": "a", "image": "a.png"}], "row [0].answer: Expected `array`"),
        ("vqa", [{"question": "q", "answer": ["a"], "image": "a.png"}, ["q", "a", 1]], "row [1]"),
        ("vqa", {"questions": []}, "Expected `array`"),
    ],
)
def test_a_wrong_annotation_file_is_named_with_its_row(made: Make, samples: str, document: Any, complaint: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        load(made(document, samples=samples))
    assert "made, split train: " in caught.value.message
    assert "train.json" in caught.value.message
    assert complaint in caught.value.message
    assert "assetmgr verify made --full --repair" in caught.value.mend


@pytest.mark.parametrize(
    "name", ["../train.json", "/etc/passwd", "x/../../a.png", "a\\b.png", "C:a.png", "", "a\0.png"]
)
@pytest.mark.parametrize("form", ["list", "evaluation", "coco", "vqa"])
def test_an_image_name_never_leaves_the_media_folder(made: Make, form: str, name: str) -> None:
    documents: dict[str, Any] = {
        "list": [CAPTION, CAPTION | {"image": name}],
        "evaluation": [{"image": name, "caption": []}],
        "coco": COCO | {"images": [{"id": 1, "file_name": name}]},
        "vqa": [["q", "a", name]],
    }
    with pytest.raises(UnsafeNameError, match=r"made, split train: .*train\.json, row .*unsafe image name"):
        load(made(documents[form], samples="vqa" if form == "vqa" else "caption"))


def test_files_of_two_forms_do_not_make_one_split(tmp_path: Path) -> None:
    files = {"1.json": json.dumps([CAPTION]).encode(), "2.json": json.dumps(COCO).encode(), "images/a.png": png()}
    use = {"splits": {"train": ["1.json", "2.json"]}, "media": "images", "samples": "caption"}
    with pytest.raises(IntegrityError, match=r"2\.json: a COCO document"):
        load(store_asset(tmp_path, "mixed", dict(files), use))
