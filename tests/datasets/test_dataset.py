"""The dataset object: its samples, indices, pickles, workers and damage."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from assetmgr.datasets import Dataset, load
from assetmgr.datasets.media import named
from assetmgr.errors import IntegrityError, MissingExtraError, UsageError
from assetmgr.receipt import Receipt, Stamp
from assetmgr.verify import Installed
from tests.datasets.conftest import Make, png
from tests.datasets.stored import DATA

EXPECTED = json.loads((DATA / "expected.json").read_bytes())


def opened(found: Installed, **how: Any) -> Dataset:
    """The one split of a dataset that has one."""
    splits = load(found, **how)
    assert isinstance(splits, dict)
    (dataset,) = splits.values()
    return dataset


def damage(dataset: Dataset, row: int, data: bytes | None) -> Path:
    """Replace or remove the image of a row."""
    (field,) = (field for field in dataset.table.shape.fields if field.is_media)
    (stem,) = dataset.table.row(row, [field.name])
    path = Path(dataset.media.shown(named(dataset.media, stem, field.suffixes)))
    target = path.resolve()
    target.unlink()
    if data is not None:
        target.write_bytes(data)
    return path


def test_the_real_captions_come_with_their_images(coco: Installed) -> None:
    splits = load(coco)
    assert isinstance(splits, dict)
    assert list(splits) == ["train", "val"]
    assert [len(dataset) for dataset in splits.values()] == [10, 25]
    annotations = json.loads((DATA / "coco-sample/annotations/captions_val2017.json").read_bytes())["annotations"]
    for sample, annotation in zip(splits["val"], annotations, strict=True):
        assert list(sample) == ["image", "text_input", "image_id"] == list(splits["val"].columns)
        assert (sample["text_input"], sample["image_id"]) == (annotation["caption"], annotation["image_id"])
        assert sample["image"].mode == "RGB"
    known = {row["image_id"]: row["reference"] for row in EXPECTED["captions"] if row["split"] == "val"}
    texts = {sample["text_input"].strip() for sample in splits["val"] if sample["image_id"] in known}
    assert set(known.values()) <= texts


def test_the_pixels_are_those_of_the_file(coco: Installed) -> None:
    from PIL import Image

    val = load(coco, split="val")
    assert isinstance(val, Dataset)
    with Image.open(DATA / f"coco-sample/val2017/{val[0]['image_id']:012d}.jpg") as image:
        assert val[0]["image"].tobytes() == image.convert("RGB").tobytes()


def test_the_real_questions_come_with_answers_and_images(easy_vqa: Installed) -> None:
    test = opened(easy_vqa)
    rows = json.loads((DATA / "easy-vqa/test/questions.json").read_bytes())
    assert len(test) == len(rows) == EXPECTED["vqa_questions"]
    assert [[sample["text_input"], sample["answer"], sample["image_id"]] for sample in test] == rows
    assert test[0]["image"].size == (64, 64)


def test_it_indexes_like_a_list(easy_vqa: Installed) -> None:
    test = opened(easy_vqa)
    questions = [sample["text_input"] for sample in test]

    def asked(samples: list[dict[str, Any]]) -> list[str]:
        return [sample["text_input"] for sample in samples]

    assert test[-1]["text_input"] == questions[-1]
    for part in (slice(3), slice(-3, None), slice(10, 0, -4), slice(5, 5), slice(270, 999)):
        assert asked(test[part]) == questions[part]
    assert asked(test[[4, -1, 0]]) == [questions[4], questions[-1], questions[0]]
    assert test[[]] == []
    for wrong in (len(test), -len(test) - 1):
        with pytest.raises(IndexError, match="no sample"):
            test[wrong]
    with pytest.raises(TypeError):
        test["image"]  # type: ignore[index]


def test_a_pickled_dataset_is_the_same_dataset(easy_vqa: Installed) -> None:
    test = opened(easy_vqa)
    again = pickle.loads(pickle.dumps(test))
    assert repr(again) == repr(test)
    assert again[7]["image"].tobytes() == test[7]["image"].tobytes()


def test_its_repr_says_how_much_of_what_from_where(coco: Installed) -> None:
    val = load(coco, split="val")
    text = repr(val)
    for words in (
        "coco-sample, split val",
        "25 rows",
        "image, text_input, image_id",
        "captions_val2017.json",
        "val2017",
    ):
        assert words in text


def test_its_repr_says_who_publishes_it_and_when_it_was_verified(coco: Installed) -> None:
    proved = int(time.mktime((2026, 11, 23, 22, 5, 0, 0, 0, -1)))
    stamp = Stamp.of(os.stat(__file__), proved)
    receipt = Receipt(coco.entry, (stamp,) * coco.entry.count, proved)
    val = load(dataclasses.replace(coco, receipt=receipt), split="val")
    assert "from: hub org/coco-sample at 5555555555" in repr(val)
    assert "verified: 2026-11-23 22:05" in repr(val)


def test_the_splits_are_a_dict_that_says_what_it_holds(coco: Installed) -> None:
    splits = load(coco)
    assert isinstance(splits, dict)
    assert list(splits.keys()) == ["train", "val"]
    assert "val: 25 rows of image, text_input, image_id" in repr(splits)
    again = pickle.loads(pickle.dumps(splits))
    assert repr(again) == repr(splits)
    assert (splits.get("x"), "x" in splits) == (None, False)
    for wrong in (lambda: splits["vall"], lambda: again["vall"], lambda: load(coco, split="vall")):
        with pytest.raises(KeyError) as caught:
            wrong()
        assert isinstance(caught.value, UsageError)
        assert caught.value.message == "coco-sample has no split 'vall'; did you mean 'val'?"
        assert caught.value.mend == "its splits are train, val"


def test_a_column_is_not_an_index_and_a_word_says_what_is(easy_vqa: Installed) -> None:
    test = opened(easy_vqa)
    with pytest.raises(TypeError, match=r"select_columns\('answer'\)"):
        test["answer"]  # type: ignore[index]
    with pytest.raises(UsageError, match="no column is named"):
        test.select_columns()
    assert test.select_columns(["answer", "text_input"]).columns == ("text_input", "answer")
    with pytest.raises(UsageError, match="did you mean 'answer'"):
        test.select_columns("anwser")


def test_a_transform_is_applied_to_every_sample(easy_vqa: Installed) -> None:
    test = opened(easy_vqa, transform=shout)
    assert test[3] == test[[3]][0] == test[3:4][0] == list(test)[3] == opened(easy_vqa)[3]["text_input"].upper()
    assert pickle.loads(pickle.dumps(test))[3] == test[3]
    assert test.with_transform(None)[3]["image"].size == (64, 64)


def shout(sample: dict[str, Any]) -> str:
    return str(sample["text_input"]).upper()


@pytest.mark.parametrize("mode", ["P", "L", "RGBA", "1"])
def test_images_of_every_mode_become_rgb(made: Make, mode: str) -> None:
    dataset = opened(made([["?", "yes", "b"]], {"b.png": png(mode=mode)}, "vqa"))
    assert dataset[0]["image"].mode == "RGB"


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (None, "no such file"),
        (b"", "truncated: expected"),
        (b"<html>404</html>", "truncated: expected"),
        (png(size=(99, 99))[:150], "truncated: expected"),
        (bytes(9999), "altered: expected"),
        (png().replace(b"IDAT", b"IDXX"), "truncated: expected"),
    ],
    ids=["missing", "empty", "html", "cut in the pixels", "longer", "broken chunk"],
)
def test_a_damaged_image_is_named_with_its_mend(easy_vqa: Installed, data: bytes | None, complaint: str) -> None:
    test = opened(easy_vqa)
    path = damage(test, 5, data)
    with pytest.raises(IntegrityError) as caught:
        test[5]
    for words in ("easy-vqa", "split test", "sample 5", str(path), complaint):
        assert words in caught.value.message
    assert caught.value.mend == "assetmgr verify easy-vqa --repair"
    if data is not None:
        with pytest.raises(IntegrityError, match="cannot be decoded"):
            opened(easy_vqa, check=False)[5]


def test_an_image_of_the_same_size_and_of_other_bytes_is_not_served(coco: Installed) -> None:
    val = load(coco, split="val")
    assert isinstance(val, Dataset)
    whole = Path(val.media.shown(val.table.row(0, ["image"])[0])).read_bytes()
    damage(val, 0, whole[:-40] + bytes(38) + whole[-2:])
    with pytest.raises(IntegrityError, match=r"sample 0: .*jpg: altered: expected sha256 .*, found"):
        val[0]
    trusting = load(coco, split="val", check=False)
    assert isinstance(trusting, Dataset)
    assert trusting[0]["image"].mode == "RGB"


def test_every_truncation_of_a_real_photograph_is_found(coco: Installed) -> None:
    val, trusting = load(coco, split="val"), load(coco, split="val", check=False)
    assert isinstance(val, Dataset)
    assert isinstance(trusting, Dataset)
    with val.media.open(val.table.row(0, ["image"])[0]) as file:
        whole = file.read()
    for keep in (0, 1, 20, 600, len(whole) // 2, len(whole) - 100):
        damage(val, 0, whole[:keep])
        with pytest.raises(IntegrityError, match="truncated"):
            val[0]
        with pytest.raises(IntegrityError, match="cannot be decoded"):
            trusting[0]


def test_missing_error_names_what_is_missing_before_the_first_sample(easy_vqa: Installed) -> None:
    damage(opened(easy_vqa, missing="error"), 0, None)
    with pytest.raises(IntegrityError, match=r"1 of 30 images are missing from .*images: 0\.png\|\.jpg"):
        load(easy_vqa, missing="error")


def test_missing_skip_leaves_those_rows_out_and_says_how_many(easy_vqa: Installed) -> None:
    whole = opened(easy_vqa)
    assert opened(easy_vqa, missing="skip").left_out == whole.left_out == 0
    gone = [row for row in range(len(whole)) if whole[row]["image_id"] == 3]
    damage(whole, gone[0], None)
    rest = opened(easy_vqa, missing="skip")
    assert rest.left_out == len(gone) > 1
    assert len(rest) == len(whole) - len(gone)
    assert f"left out: {len(gone)} rows" in repr(rest)
    assert 3 not in {sample["image_id"] for sample in rest}
    assert pickle.loads(pickle.dumps(rest))[-1]["text_input"] == whole[-1]["text_input"]


def test_missing_must_be_a_word_that_is_known(easy_vqa: Installed) -> None:
    with pytest.raises(UsageError, match="defer"):
        load(easy_vqa, missing="ignore")  # type: ignore[arg-type]


@pytest.mark.torch
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_data_loader_workers_give_the_samples_in_order(easy_vqa: Installed, context: str) -> None:
    from torch.utils.data import DataLoader

    test = opened(easy_vqa)
    loader = DataLoader(test, batch_size=50, num_workers=2, multiprocessing_context=context, collate_fn=list)
    got = [(sample["text_input"], sample["image"].tobytes()) for batch in loader for sample in batch]
    assert got == [(sample["text_input"], sample["image"].tobytes()) for sample in test]


@pytest.mark.torch
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_data_loader_workers_take_shuffles_samplers_and_transforms(easy_vqa: Installed, context: str) -> None:
    import torch
    from torch.utils.data import DataLoader, RandomSampler, Subset

    test = opened(easy_vqa, transform=shout)
    texts = list(test)
    how: dict[str, Any] = {"num_workers": 2, "multiprocessing_context": context, "batch_size": 32}
    shuffled = DataLoader(test, shuffle=True, generator=torch.Generator().manual_seed(1), **how)
    got = [text for batch in shuffled for text in batch]
    assert got != texts
    assert sorted(map(str, got)) == sorted(map(str, texts))
    sampler = RandomSampler(test, replacement=True, num_samples=40)
    assert sum(len(batch) for batch in DataLoader(test, sampler=sampler, **how)) == 40
    part = DataLoader(Subset(test, [5, 1]), **how)
    assert [text for batch in part for text in batch] == [texts[5], texts[1]]


@pytest.mark.torch
def test_numbers_of_torch_and_numpy_are_indices(easy_vqa: Installed) -> None:
    import numpy
    import torch

    test = opened(easy_vqa)
    want = [test[4]["text_input"], test[2]["text_input"]]
    assert test[torch.tensor(4)]["text_input"] == test[numpy.int64(4)]["text_input"] == want[0]
    for indices in (torch.tensor([4, 2]), numpy.array([4, 2])):
        assert [sample["text_input"] for sample in test[indices]] == want


@pytest.mark.torch
def test_a_mask_is_not_taken_for_indices(easy_vqa: Installed) -> None:
    import numpy
    import torch

    test: Any = opened(easy_vqa)
    mask = [index in (2, 4) for index in range(len(test))]
    masks: list[Any] = [mask, tuple(mask), numpy.array(mask), torch.tensor(mask)]
    for wrong in masks:
        with pytest.raises(TypeError, match="flatnonzero"):
            test[wrong]
    assert [one["text_input"] for one in test[numpy.flatnonzero(mask)]] == [
        test[2]["text_input"],
        test[4]["text_input"],
    ]
    assert len(test[range(3)]) == len(test[iter([1, 2, 3])]) == 3


@pytest.mark.parametrize("how", [{"split": 0}, {"split": ["test"]}, {"vis_path": ""}, {"vis_path": ["", "/tmp"]}])
def test_what_is_not_a_split_or_a_folder_is_refused(easy_vqa: Installed, how: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(how))):
        load(easy_vqa, **how)


def test_loading_imports_neither_torch_nor_pillow_and_says_when_pillow_is_missing(easy_vqa: Installed) -> None:
    script = """
import pickle, sys
from assetmgr import datasets, errors
found = pickle.load(sys.stdin.buffer)
dataset = datasets.load(found, split="test")
assert "torch" not in sys.modules and "PIL" not in sys.modules, "imported too early"
sys.modules["PIL"] = None
try:
    datasets.load(found)
except errors.MissingExtraError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], input=pickle.dumps(easy_vqa), capture_output=True, check=True)
    assert b"pip install 'assetmgr[datasets]'" in done.stdout
    assert MissingExtraError.exit_code == 1
