"""Our rows as the `datasets` library's object: the same samples, on the same memory."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest

from assetmgr.datasets import Dataset, load
from assetmgr.datasets.archived import Packed, archived
from assetmgr.errors import IntegrityError, MissingExtraError
from assetmgr.store import Store
from assetmgr.verify import Installed
from tests.datasets.conftest import Make, png
from tests.datasets.test_dataset import damage, opened

pytest.importorskip("datasets")


def as_values(sample: dict[str, Any]) -> dict[str, Any]:
    return {name: value.tobytes() if hasattr(value, "tobytes") else value for name, value in sample.items()}


def same(hf: Any, dataset: Dataset) -> bool:
    return len(hf) == len(dataset) and all(
        as_values(hf[number]) == as_values(dataset[number]) for number in range(len(dataset))
    )


def test_its_samples_are_ours_images_by_the_librarys_own_feature(coco: Installed) -> None:
    import datasets

    val = load(coco, split="val")
    assert isinstance(val, Dataset)
    hf = val.to_hf()
    assert isinstance(hf, datasets.Dataset)
    assert list(hf.features) == list(val.columns)
    assert isinstance(hf.features["image"], datasets.Image)
    assert str(hf.split) == "val"
    assert same(hf, val)


def test_it_stands_on_the_mapped_file_and_pickles_small(easy_vqa: Installed) -> None:
    test = opened(easy_vqa)
    hf = test.to_hf()
    assert [file["filename"] for file in hf.cache_files] == [test.table.path]
    ours, theirs = (one.column("text_input").chunk(0).buffers()[2].address for one in (test.table.arrow(), hf.data))
    assert ours == theirs
    assert same(pickle.loads(pickle.dumps(hf)), test)
    texts = test.select_columns("text_input").to_hf()
    assert len(pickle.dumps(texts)) < 4000


def test_names_that_may_end_in_several_ways_lead_to_the_files_that_there_are(easy_vqa: Installed) -> None:
    assert same(opened(easy_vqa).to_hf(), opened(easy_vqa))


def test_it_has_the_columns_and_rows_that_were_chosen(easy_vqa: Installed) -> None:
    whole = opened(easy_vqa)
    damage(whole, 0, None)
    rest = opened(easy_vqa, missing="skip").select_columns("answer", "image")
    hf = rest.to_hf()
    assert hf.column_names == ["image", "answer"]
    assert same(hf, rest)


def test_the_librarys_verbs_work_on_it(easy_vqa: Installed, tmp_path: Path) -> None:
    import datasets

    hf = opened(easy_vqa).to_hf()
    yes = hf.filter(lambda row: row["answer"] == "yes", load_from_cache_file=False)
    assert set(yes["answer"]) == {"yes"}
    longer = hf.select(range(3)).map(lambda row: {"length": len(row["text_input"])})
    assert longer[2]["length"] == len(hf[2]["text_input"])
    longer.save_to_disk(str(tmp_path / "saved"))
    assert datasets.load_from_disk(str(tmp_path / "saved"))[1]["image"].size == (64, 64)


def test_values_of_several_kinds_are_decoded_by_its_transform(made: Make) -> None:
    rows = [{"image": "a.png", "caption": f"c{n}", "image_id": [n, str(n)][n % 2]} for n in range(6)]
    document = {"images": [{"id": row["image_id"], "file_name": "a.png"} for row in rows], "annotations": rows}
    dataset = opened(made(document))
    assert dataset.table.shape.named("image_id").kind == "json"
    hf = dataset.to_hf()
    assert same(hf, dataset)
    assert hf[:3]["image_id"] == [0, "1", 2]


def test_media_that_are_no_files_are_decoded_by_its_transform(made: Make, tmp_path: Path) -> None:
    dataset = opened(
        made([{"image": "u", "caption": "c", "image_id": 1}, {"image": "v", "caption": "d", "image_id": 2}])
    )
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("u", png())
    media = archived(Store(tmp_path), "made", [Packed(str(tmp_path / "images.zip"))], check=True)
    inside = Dataset("made", "train", dataset.annotations, media, dataset.table)
    hf = inside.to_hf()
    assert as_values(hf[0]) == as_values(inside[0])
    with pytest.raises(IntegrityError, match=r"made, split train: column image: v in .*images.zip: no such file"):
        hf[1]
    assert hf.select_columns(["text_input"])[1] == {"text_input": "d"}


def test_where_the_table_cannot_be_written_beside_the_library_writes_in_the_users_cache(
    easy_vqa: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = opened(easy_vqa)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    hf = test.to_hf()
    (file,) = {file["filename"] for file in hf.cache_files}
    assert file.startswith(str(tmp_path / "cache"))
    assert pickle.loads(pickle.dumps(hf))[0]["answer"] == test[0]["answer"]


def test_without_the_library_the_extra_is_named(easy_vqa: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "datasets" else there(name))
    with pytest.raises(MissingExtraError) as caught:
        opened(easy_vqa).to_hf()
    assert caught.value.mend == "pip install 'assetmgr[hub-datasets]'"
