"""LAVIS's two lists from the catalog: byte for byte what LAVIS prints, without LAVIS and without torch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assetmgr.zoo import DatasetZoo, ModelZoo
from tests.support import REPOSITORY, Project

RECORDED = json.loads((REPOSITORY / "tests" / "lavis" / "recorded.json").read_text())


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ASSETMGR_MANIFEST", raising=False)
    return tmp_path


def test_the_table_of_models_is_lavis_own() -> None:
    assert str(ModelZoo()) == RECORDED["model_zoo"]
    assert len(ModelZoo()) == 56
    assert dict(ModelZoo())["blip_caption"] == ["base_coco", "large_coco"]


def test_the_names_of_datasets_are_lavis_own_and_their_forms_are_known() -> None:
    zoo = DatasetZoo()
    assert zoo.get_names() == RECORDED["dataset_zoo"]
    assert zoo.dataset_zoo["coco_vqa"] == ["default", "eval"]
    assert sorted(zoo.dataset_zoo["gqa"]) == ["balanced_testdev", "balanced_val", "default"]
    assert {
        f"{name}/{form}" if form != "default" else name for name in zoo.dataset_zoo for form in zoo.dataset_zoo[name]
    } == set(RECORDED["datasets"])


def test_a_model_of_a_users_manifest_is_in_the_table(nowhere: Path) -> None:
    (nowhere / "assets.yaml").write_text(
        "version: 1\nmodels:\n"
        "  mine: {hub: o/r, load: {lavis: {name: blip_caption, model_type: mine}}}\n"
        "  blip_caption/base_coco: {hub: o/r, load: {lavis: {name: blip_caption, model_type: base_coco}}}\n"
    )
    assert dict(ModelZoo())["blip_caption"] == ["base_coco", "large_coco", "mine"]
    assert str(ModelZoo()).replace(", mine", "") == RECORDED["model_zoo"]


def test_both_are_had_without_torch_and_without_lavis(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.folder.mkdir()
    done = project.python(
        "import sys, assetmgr\n"
        "print(assetmgr.model_zoo)\n"
        "print(assetmgr.dataset_zoo.get_names())\n"
        "assert not {'torch', 'lavis', 'transformers', 'requests'} & set(sys.modules)\n"
    )
    assert done.out == f"{RECORDED['model_zoo']}\n{RECORDED['dataset_zoo']}\n"


def test_show_names_the_twins_both_ways(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.folder.mkdir()
    hub, lavis = "Salesforce/blip2-opt-2.7b", "blip2_opt/pretrain_opt2.7b"
    assert lavis in project.run("show", hub).out
    assert project.run("show", lavis, "--json").json["twins"] == [hub]
