"""A video's frames are those of LAVIS's own ``load_video``, pixel by pixel, whole and scaled."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from assetmgr.datasets.media import Folder
from assetmgr.datasets.videos import Video
from tests.datasets.filming import FILMS, film
from tests.support import Project

pytestmark = pytest.mark.lavis

# LAVIS cannot load a video that is to be shown turned, or a GIF. By jumps, decord finds other frames than those asked
# for in AVI and MPEG with reordered frames and in a transport stream.
WRONG = ("reordered.avi", "old.mpg", "stream.ts", "moving.gif")
HOW = [
    (4, -1, -1, "uniform"),
    (7, 30, 40, "uniform"),
    (100, -1, -1, "uniform"),
    (8, 96, 96, "headtail"),
    (5, -1, -1, "headtail"),
]


def test_frames_are_those_of_load_video(tmp_path: Path) -> None:
    for name, how in FILMS.items():
        if name not in WRONG:
            film(tmp_path / name, **how)
    names = sorted(path.name for path in tmp_path.iterdir())
    questions: list[Any] = [[str(tmp_path / name), *how, 7] for name in names for how in HOW]
    (tmp_path / "questions.json").write_text(json.dumps(questions))
    project = Project(tmp_path / "project", endpoint="http://127.0.0.1:9")
    project.root.mkdir(parents=True, exist_ok=True)
    asked = (sys.executable, "-m", "tests.lavis.by_load_video", str(tmp_path / "questions.json"))
    theirs = json.loads(project.run("run", "--", *asked, timeout=120).out)
    for (path, n, height, width, sampling, seed), expected in zip(questions, theirs, strict=True):
        random.seed(seed)
        size: dict[str, Any] = {} if height < 0 else {"height": height, "width": width}
        video = Video(Folder(str(tmp_path), None), Path(path).name, "s", "m")
        frames = video.frames(n, sampling=sampling, **size)
        ours = [list(frames.shape), hashlib.sha256(frames.tobytes()).hexdigest()]
        assert ours == expected, (path, n, height, width, sampling)
