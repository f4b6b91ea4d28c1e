"""load_dataset gives what LAVIS's own dataset classes give: every key of every sample, in order, with value and type.

Both are given the same small files (`forms`). A new form needs a row there, and its reason below where LAVIS cannot
run it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from assetmgr.datasets import load
from tests.lavis.by_lavis import Seeded, beside
from tests.lavis.every_form import FORMS
from tests.lavis.shelf import GOLDEN, by_lavis, shelved
from tests.lavis.telling import told

# What LAVIS's own code cannot do, as it says so itself: form -> a part of its words.
BROKEN: dict[str, str] = {}

pytestmark = pytest.mark.lavis


@pytest.fixture(scope="session")
def lavis_gives(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> dict[str, Any]:
    """What LAVIS gives for every form: asked once for all workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "parity"
    with FileLock(f"{folder}.lock"):
        if not (folder / "told.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            gives = by_lavis(folder, FORMS)
            (folder / "told.json").write_text(json.dumps(gives))
    gives = json.loads((folder / "told.json").read_text())
    assert isinstance(gives, dict)
    return gives


def ours(root: Path, name: str) -> dict[str, Any]:
    """What load_dataset gives for a form, told in the same way."""
    found, required = shelved(root, name, FORMS[name])
    opened = load(found, required)
    assert isinstance(opened, dict)
    splits = {split: Seeded(samples) for split, samples in opened.items()}
    return {"told": told(splits, str(root)), "beside": beside(splits, str(root))}


@pytest.mark.parametrize("name", FORMS)
def test_every_sample_is_what_lavis_gives(name: str, lavis_gives: dict[str, Any], tmp_path: Path) -> None:
    theirs = lavis_gives[name]
    assert BROKEN.get(name, "") in theirs.get("error", "")
    if name not in BROKEN:
        assert "error" not in theirs, theirs
    mine = ours(tmp_path, name)
    assert list(mine["told"]) == list(theirs["told"]), "the splits, in order"
    for split, samples in theirs["told"].items():
        assert len(mine["told"][split]) == len(samples)
        for index, (sample, expected) in enumerate(zip(mine["told"][split], samples, strict=True)):
            assert sample == expected, f"{split}[{index}]"
    assert any(theirs["told"].values()), "a form without samples proves nothing"
    assert mine["beside"] == theirs["beside"]


def test_what_is_recorded_is_what_lavis_gives(lavis_gives: dict[str, Any]) -> None:
    recorded = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert recorded == lavis_gives, "python -m tests.lavis.shelf, in LAVIS's environment"
