"""From a hub, by manifest, lock and pull, to answers: the trained tiny Blip2 is as right in every precision."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import assetmgr
from tests.datasets.stored import DATA
from tests.hub import Hub
from tests.support import hub_manifest, served

pytestmark = pytest.mark.torch

# Every fourth of the sample's questions: of these it answered 53 right in each precision when it was measured.
ROWS = json.loads((DATA / "easy-vqa/test/questions.json").read_bytes())[::4]
RIGHT = 53


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project that has pulled the model; its hub is gone."""
    hub = Hub()
    hub.create("lab/vqa").commit_folder(DATA / "tiny_blip2_vqa")
    with served(hub, tmp_path_factory.mktemp("precisions") / "project") as project:
        project.write(hub_manifest("vqa", "lab/vqa"))
        project.run("lock")
        project.run("pull")
    return project.folder


@pytest.mark.parametrize(
    ("dtype", "quantize"),
    [("float32", None), ("float16", None), ("bfloat16", None), ("auto", "int8"), ("auto", "nf4")],
)
def test_it_answers_as_it_was_measured_in_every_precision(pulled: Path, dtype: str, quantize: str | None) -> None:
    loaded = assetmgr.load_model(
        "vqa",
        device="cpu",
        dtype=dtype,
        quantize=quantize,
        verify="full",
        manifest=pulled / "assets.yaml",
        root=pulled / "store",
    )
    assert getattr(loaded.model, "is_quantized", False) == (quantize is not None)
    right = sum(
        loaded.answer(DATA / f"easy-vqa/test/images/{image}.png", question, max_new_tokens=4) == answer
        for question, answer, image in ROWS
    )
    assert len(ROWS) == 69
    # Another processor rounds otherwise, and a question on the edge falls to the other side.
    assert abs(right - RIGHT) <= (0 if dtype == "float32" else 2)
