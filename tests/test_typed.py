"""The commands that errors of Python calls name mean the store and the manifest of the call."""

from __future__ import annotations

import pickle
import shlex
from pathlib import Path

import pytest

import assetmgr
from assetmgr.datasets import Dataset
from assetmgr.typed import Typed
from tests.datasets.published import coco, zipped
from tests.support import Project


@pytest.mark.parametrize(
    ("manifest", "root", "words", "expected"),
    [
        (None, None, "assetmgr pull a", "assetmgr pull a"),
        (
            None,
            "/a b",
            "assetmgr lock a && assetmgr pull a",
            "assetmgr --root '/a b' lock a && assetmgr --root '/a b' pull a",
        ),
        ("m.yaml", Path("/s"), "assetmgr verify a --full", "assetmgr --root /s --manifest m.yaml verify a --full"),
        (
            None,
            "/s",
            "pip install 'assetmgr[datasets]'; assetmgr has no such file",
            "pip install 'assetmgr[datasets]'; assetmgr has no such file",
        ),
        (None, "/s", "", ""),
    ],
)
def test_a_command_is_typed_as_the_call_was_made(
    manifest: str | None, root: str | Path | None, words: str, expected: str
) -> None:
    assert Typed.of(manifest, root)(words) == expected


def test_what_an_error_says_to_type_mends_the_store_of_the_call(tmp_path: Path) -> None:
    coco(tmp_path / "lab", {"val.zip": zipped({"val2017/x.jpg": b"no image"})})
    manifest, root = tmp_path / "lab/assets.yaml", tmp_path / "lab/store"
    project = Project(tmp_path / "elsewhere", "http://127.0.0.1:9")
    with pytest.raises(assetmgr.AssetError) as caught:
        assetmgr.load_dataset("coco", manifest=manifest, root=tmp_path / "other")
    for command in caught.value.mend.split(" && "):
        project.run(*shlex.split(command)[1:])
    dataset = assetmgr.load_dataset("coco", split="val", manifest=manifest, root=tmp_path / "other")
    assert len(dataset) == 25
    (tmp_path / "other/lavis/coco/images/val.zip").unlink()
    with pytest.raises(assetmgr.AssetError) as caught:
        assetmgr.load_dataset("coco", manifest=manifest, root=tmp_path / "other")
    project.run(*shlex.split(caught.value.mend)[1:])
    assert (tmp_path / "other/lavis/coco/images/val.zip").exists()
    trusting = assetmgr.load_dataset("coco", split="val", manifest=manifest, root=root, verify="none")
    assert isinstance(trusting, Dataset)
    for one in (trusting, pickle.loads(pickle.dumps(trusting.select_columns("image")))):
        assert f"--root {root} --manifest {manifest}" in one.fault("it").mend
