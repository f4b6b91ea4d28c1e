"""LAVIS takes half a file for a whole one, and a page for a checkpoint. It never gets to see them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from assetmgr.transfer.detour import VARIABLE
from tests.hub import Hub
from tests.support import Project
from tests.transfer.support import body

GCS = "https://storage.googleapis.com/sfr-vision-language-research"
CHECKPOINT = "LAVIS/models/BLIP/blip_coco_caption_base.pth"
ANNOTATION = "datasets/coco_karpathy_val.json"
FILES = {CHECKPOINT: body(500_000), ANNOTATION: json.dumps([{"image": "a.jpg", "caption": ["a"]}] * 9000).encode()}
PAGE = b"<!DOCTYPE html><html><title>Sign in</title>This link has expired</html>"


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    for path, data in FILES.items():
        hub.publish(f"/{path}", data)
    with hub.serve():
        yield hub


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Project:
    project = Project(tmp_path / "p", hub.endpoint, {VARIABLE: json.dumps({GCS: hub.endpoint})})
    md5 = hashlib.md5(FILES[ANNOTATION]).hexdigest()
    project.write(
        "version: 1\n"
        f"models:\n  blip:\n    files: [{{url: {GCS}/{CHECKPOINT}, place: torch}}]\n"
        f"datasets:\n  coco:\n    files: [{{url: {GCS}/{ANNOTATION}, place: lavis/coco/annotations, md5: {md5}}}]\n"
    )
    return project


def nothing_is_seen(project: Project, name: str) -> None:
    """No file of the asset is where LAVIS would look, and nothing begins that needs it."""
    seen = [*project.root.glob("torch/hub/checkpoints/*"), *project.root.glob("lavis/coco/annotations/*")]
    assert seen == []
    done = project.run("run", "--needs", name, "--", "echo", "begun", code=4)
    assert done.out == ""
    assert f"assetmgr pull {name}" in done.err


@pytest.mark.parametrize(("name", "path"), [("blip", CHECKPOINT), ("coco", ANNOTATION)])
@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ("truncated", 3, "expected {size} bytes"),
        ("altered", 3, "expected sha256"),
        ("page", 5, "gave an HTML page"),
        ("dead", 5, "HTTP 404"),
    ],
)
def test_what_is_wrong_after_the_lock_is_refused(
    hub: Hub, project: Project, name: str, path: str, fault: str, code: int, words: str
) -> None:
    project.run("lock", name)
    for kept in (project.root / ".assetmgr" / "partial").rglob("*"):
        if kept.is_file():
            kept.unlink()
    data = FILES[path]
    wrong = {"truncated": data[:-1000], "altered": data[:-1] + b"?", "page": PAGE, "dead": b""}[fault]
    if fault == "dead":
        del hub.fixed[f"/{path}"]
    else:
        hub.publish(f"/{path}", wrong, headers={"Content-Type": "text/html"} if fault == "page" else {})
    done = project.run("pull", name, code=None)
    assert (done.code, words.format(size=len(data)) in done.err) == (code, True), done.err
    nothing_is_seen(project, name)


@pytest.mark.parametrize(
    ("path", "wrong", "code", "words"),
    [
        (ANNOTATION, FILES[ANNOTATION][:-1] + b"?", 3, "expected md5"),
        (CHECKPOINT, PAGE, 5, "gave an HTML page"),
    ],
)
def test_what_is_known_to_be_wrong_is_refused_by_lock(
    hub: Hub, project: Project, path: str, wrong: bytes, code: int, words: str
) -> None:
    hub.publish(f"/{path}", wrong, headers={"Content-Type": "text/html"} if wrong == PAGE else {})
    name = "coco" if path == ANNOTATION else "blip"
    done = project.run("lock", name, code=None)
    assert words in done.err, done.err
    assert done.code == code
    assert not project.lock_file.exists()
    nothing_is_seen(project, name)
