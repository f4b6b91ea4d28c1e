"""LAVIS's tests run where LAVIS is: `make test-lavis`. All of them share one store, which is made once."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from tests.lavis.stage import make_stage
from tests.support import Project


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if importlib.util.find_spec("lavis") is None:
        for item in items:
            if item.get_closest_marker("lavis"):
                item.add_marker(pytest.mark.skip(reason="LAVIS is not installed here: make test-lavis"))


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Project:
    """A project whose store has models with random weights and a real sample of COCO; its servers are gone."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "lavis"
    with FileLock(f"{folder}.lock"):
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            make_stage(folder)
            (folder / "ready").touch()
    return Project(folder, endpoint="http://127.0.0.1:9")


@pytest.fixture
def picture() -> Path:
    """A real picture: a bowl of green apples."""
    return Path(__file__).parents[1] / "data" / "coco-sample" / "val2017" / "000000002149.jpg"
