"""How many of the media that annotations name are there, as `show` and `status` tell it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from assetmgr.inventory_rows import MediaCount
from assetmgr.workspace import Workspace
from tests.datasets.published import PICTURES, coco, zipped
from tests.support import clean_environment

IMAGES = "lavis/coco/images"
ALL = len(PICTURES)


def told(workspace: Workspace) -> tuple[MediaCount, ...]:
    """What `show` and `status` say, which is the same."""
    shown = workspace.show("coco").media
    (status,) = [row.media for row in workspace.status() if row.name == "coco"]
    assert shown == status
    return shown


def test_what_is_there_is_counted_and_what_went_is_not(tmp_path: Path) -> None:
    workspace = coco(tmp_path, {"val.zip": zipped(PICTURES)}, extract=IMAGES)
    assert told(workspace) == (MediaCount("images", ALL, ALL),)
    (tmp_path / "store" / IMAGES / next(iter(PICTURES))).unlink()
    assert told(workspace) == (MediaCount("images", ALL, ALL - 1),)
    assert str(told(workspace)[0]) == f"images: {ALL - 1} of {ALL} present"
    (images,) = [row for row in workspace.status() if row.name == "coco-images"]
    assert images.media == ()


def test_media_in_archives_are_counted(tmp_path: Path) -> None:
    some = dict(list(PICTURES.items())[:2])
    assert told(coco(tmp_path, {"val.zip": zipped(some)})) == (MediaCount("images", ALL, 2),)


def test_without_the_images_none_is_present(tmp_path: Path) -> None:
    coco(tmp_path, {"val.zip": zipped(PICTURES)}, extract=IMAGES)
    for receipt in (tmp_path / "store/.assetmgr/receipts").glob("coco-images@*"):
        receipt.unlink()
    for path in (tmp_path / "store" / IMAGES).rglob("*.jpg"):
        path.unlink()
    assert Workspace([tmp_path / "assets.yaml"], tmp_path / "store").show("coco").media == (
        MediaCount("images", ALL, 0),
    )


def test_the_words_and_the_document_say_it_and_a_kept_count_needs_no_pyarrow(tmp_path: Path) -> None:
    coco(tmp_path, {"val.zip": zipped(PICTURES)}, extract=IMAGES)
    first = next(iter(PICTURES))
    (tmp_path / "store" / IMAGES / first).unlink()
    said = f"images: {ALL - 1} of {ALL} present"

    def run(script: str, *arguments: str) -> str:
        start = f"import sys; {script}from assetmgr.cli import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", start, "--root", str(tmp_path / "store"), *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert said in run("", "show", "coco")
    assert f"coco: {said}" in run("", "status")
    without = "sys.modules['pyarrow'] = None; "
    (row,) = [row for row in json.loads(run(without, "status", "--json")) if row["name"] == "coco"]
    assert (row["state"], row["media"]) == ("installed", [])
    (row,) = [row for row in json.loads(run("", "status", "--json")) if row["name"] == "coco"]
    assert row["media"] == [{"kind": "images", "named": ALL, "present": ALL - 1}]


@pytest.mark.skipif(sys.platform == "win32", reason="its clock of changes cannot be set back")
def test_a_count_is_kept_while_its_folders_are_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from assetmgr import summaries

    workspace = coco(tmp_path, {"val.zip": zipped(PICTURES)}, extract=IMAGES)
    monkeypatch.setattr(summaries, "SETTLED", -3600.0)
    assert told(workspace) == (MediaCount("images", ALL, ALL),)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (row,) = [row for row in workspace.status() if row.name == "coco"]
    assert row.media == (MediaCount("images", ALL, ALL),)
    (tmp_path / "store" / IMAGES / next(iter(PICTURES))).unlink()
    assert [row.media for row in workspace.status() if row.name == "coco"] == [()]
