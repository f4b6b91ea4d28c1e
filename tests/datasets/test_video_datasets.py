"""Datasets of videos and of dialogues about them: what is missing or wrong is told with its place and its mend."""

from __future__ import annotations

import importlib.util
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from assetmgr.datasets import Dataset, load
from assetmgr.datasets.contact_sheet import cells_of
from assetmgr.datasets.videos import Video
from assetmgr.errors import IntegrityError, MissingExtraError, UnsafeNameError, UsageError
from assetmgr.verify import Installed
from tests.datasets.filming import film, numbers_of
from tests.datasets.stored import store_asset
from tests.lavis.video_forms import VIDEOS, gpt2

numpy = pytest.importorskip("numpy")

pytest.importorskip("av")
AVSD = VIDEOS["avsd_dialogue"]


def opened(found: Installed, required: Any = (), **how: Any) -> Dataset:
    dataset = load(found, required, split="train", **how)
    assert isinstance(dataset, Dataset)
    return dataset


def made(root: Path, document: Any, samples: str = "video_caption", *, files: Any = None) -> Installed:
    data = {"train.json": json.dumps(document).encode(), "films/none": b"", **(files or {})}
    use = {"splits": {"train": ["train.json"]}, "media": "films", "samples": samples}
    return store_asset(root, "made", data, use)


def row(video: str) -> dict[str, Any]:
    return {"video": video, "caption": "x", "image_id": 1}


def test_a_video_is_decoded_when_its_frames_are_asked_for(tmp_path: Path) -> None:
    data = film(tmp_path / "a.mp4").read_bytes()
    dataset = opened(made(tmp_path / "store", [row("a.mp4"), row("b.mp4"), row("gone.mp4")], files={
        "films/a.mp4": data, "films/b.mp4": data[:-500],
    }))  # fmt: skip
    sample = pickle.loads(pickle.dumps(dataset))[0]
    assert isinstance(sample["video"], Video)
    assert numbers_of(sample["video"].frames(4)) == [0, 10, 20, 30]
    assert Path(sample["video"]).read_bytes() == data
    broken = dataset[1]["video"]
    with pytest.raises(IntegrityError, match=r"made, split train: sample 1: .*b\.mp4: truncated") as raised:
        broken.frames(2)
    assert "assetmgr verify made" in raised.value.mend
    with pytest.raises(IntegrityError, match=r"made, split train: sample 2: .*gone\.mp4: no such file"):
        dataset[2]
    assert len(opened(made(tmp_path / "other", [row("a.mp4"), row("gone.mp4")], files={"films/a.mp4": data}),
                      missing="skip")) == 1  # fmt: skip
    names = [sample["video"].name for sample in dataset[:2]]
    assert names == ["a.mp4", "b.mp4"]


def test_a_contact_sheet_has_a_videos_beginning_middle_and_end(tmp_path: Path) -> None:
    data = film(tmp_path / "a.mp4").read_bytes()
    found = made(tmp_path / "store", [row("a.mp4"), row("gone.mp4")], files={"films/a.mp4": data})
    there, gone = cells_of({"train": opened(found)}, 2)
    assert len(there.pictures) == 3
    assert not there.fault
    assert "gone.mp4: no such file" in gone.fault


def test_rows_that_are_not_such_rows_are_told(tmp_path: Path) -> None:
    with pytest.raises(UnsafeNameError, match="row \\[1\\]"):
        opened(made(tmp_path / "a", [row("a.mp4"), row("../a.mp4")]))
    with pytest.raises(IntegrityError, match=r"row \[0\]"):
        opened(made(tmp_path / "b", [{"video": "a.mp4"}]))
    question = {"video": "a.mp4", "question": "x", "answer": "y", "question_id": 1}
    with pytest.raises(IntegrityError, match="the numbers of answers are to be in one file"):
        opened(made(tmp_path / "c", [question], "video_qa"))


def dialogues(root: Path, without: tuple[str, ...] = (), tokenizer: Any = None) -> tuple[Installed, list[Installed]]:
    prefix = "lavis/avsd/features/"
    features = {name.removeprefix(prefix): data for name, data in AVSD.media.items() if name not in without}
    media = store_asset(root, "avsd-features", features, {}, origin="files", place="lavis/avsd/features")
    tokens = store_asset(root, "gpt2", tokenizer or gpt2(), {}, kind="model")
    annotations = {"train.json": json.dumps(AVSD.annotations["lavis/avsd/annotations/train.json"]).encode()}
    use = {"splits": {"train": ["train.json"]}, "samples": "dialogue"}
    return store_asset(root, "avsd_dialogue", annotations, use), [media, tokens]


def test_a_dialogue_is_arrays_of_one_length(tmp_path: Path) -> None:
    dataset = opened(*dialogues(tmp_path))
    for sample in dataset:
        assert len(sample["input_ids"]) == len(sample["token_type_ids"]) == len(sample["labels"])
        assert len(sample["video_fts"]) == len(sample["video_token_type_ids"])
        assert sample["input_ids"].dtype == numpy.int64
        assert sample["video_fts"].dtype == numpy.float32
        learned = sample["labels"] != -1
        assert (sample["input_ids"][learned] == sample["labels"][learned]).all()
    assert dataset[0]["video_fts"].shape[1] == 11
    again = pickle.loads(pickle.dumps(dataset))
    assert (again[3]["input_ids"] == dataset[3]["input_ids"]).all()


def test_without_flow_the_features_are_the_defaults_of_lavis(tmp_path: Path) -> None:
    flow = tuple(name for name in AVSD.media if "/i3d_flow/" in name)
    assert opened(*dialogues(tmp_path, flow))[0]["video_fts"].shape[1] == 6


def test_a_feature_that_is_missing_or_damaged_is_told(tmp_path: Path) -> None:
    gone = "lavis/avsd/features/vggish/7UPGT.npy"
    found, required = dialogues(tmp_path, (gone,))
    dataset = opened(found, required)
    assert dataset[0]["image_id"] == "QBMWV"
    with pytest.raises(IntegrityError, match=r"sample 6: .*vggish.7UPGT\.npy: no such file"):
        dataset[6]
    assert len(opened(found, required, missing="skip")) == 6
    path = tmp_path / "mine" / "i3d_rgb" / "QBMWV.npy"
    for name, data in AVSD.media.items():
        place = tmp_path / "mine" / name.removeprefix("lavis/avsd/features/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(IntegrityError, match=r"sample 0: .*QBMWV\.npy: cannot be read as arrays"):
        opened(found, required, vis_path=tmp_path / "mine")[0]


def test_the_tokenizer_is_required(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, required = dialogues(tmp_path / "a")
    with pytest.raises(UsageError, match=r"vocab\.json") as raised:
        opened(found, required[:1])
    assert "add gpt2 to `requires:` of avsd_dialogue" in raised.value.mend
    bad = gpt2() | {"merges.txt": b"#version: 0.2\nq \xc4\xa0zz\n"}
    with pytest.raises(IntegrityError, match=r"merges\.txt.*not the merges of that vocabulary"):
        opened(*dialogues(tmp_path / "b", tokenizer=bad))
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tokenizers" else there(name))
    with pytest.raises(MissingExtraError, match=r"assetmgr\[video\]"):
        opened(*dialogues(tmp_path / "c"))
