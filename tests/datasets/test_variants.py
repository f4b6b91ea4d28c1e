"""The forms of a dataset: `NAME/FORM` is its form, and what there is not is told with what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from assetmgr.datasets import Dataset
from assetmgr.errors import UnknownAssetError
from assetmgr.workspace import Workspace
from tests.datasets.conftest import png
from tests.hub import Hub
from tests.support import served

MANIFEST = """version: 1
datasets:
  asked:
    hub: o/asked
    splits: {train: train.json}
    samples: vqa
    media: images
    variants: {eval: {splits: {val: val.json}, samples: vqa_eval}}
"""
TRAIN = b'[{"image": "a.png", "question": "q", "answer": ["x", "y", "x"]}]'
VAL = b'[{"image": "a.png", "question": "w", "question_id": 3}]'


def test_a_form_is_loaded_by_its_name_after_the_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub()
    hub.create("o/asked", "dataset").commit({"train.json": TRAIN, "val.json": VAL, "images/a.png": png()})
    with served(hub, tmp_path / "project") as project:
        project.write(MANIFEST)
        project.run("lock")
        project.run("pull")
    monkeypatch.chdir(tmp_path)
    workspace = Workspace(None, project.root)
    assert list(workspace.load_dataset("asked")) == ["train"]
    formed = workspace.load_dataset("asked/eval", split="val")
    assert isinstance(formed, Dataset)
    assert formed.columns == ("image", "text_input", "question_id", "instance_id")
    assert formed.select_columns("question_id", "instance_id")[0] == {"question_id": 3, "instance_id": "0"}
    for name, words in {
        "asked/evl": "asked has no form 'evl'; did you mean 'eval'?",
        "akked": "no asset 'akked'",
        "nothing/eval": "no asset 'nothing/eval'",
    }.items():
        with pytest.raises(UnknownAssetError) as caught:
            workspace.load_dataset(name)
        assert words in caught.value.message
