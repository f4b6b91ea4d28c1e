"""What LAVIS's own ``load_video`` gives of some files, as one JSON document: a digest of all pixels for each question.

    assetmgr run -- python -m tests.lavis.by_load_video QUESTIONS.json

A question is ``[path, n, height, width, sampling, seed]``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import sys
from pathlib import Path


def main(path: str) -> None:
    with contextlib.redirect_stdout(sys.stderr):
        from lavis.datasets.data_utils import load_video

        told = []
        for video, n, height, width, sampling, seed in json.loads(Path(path).read_bytes()):
            random.seed(seed)
            frames = load_video(video, n, height, width, sampling).permute(1, 2, 3, 0).byte().contiguous().numpy()
            told.append([list(frames.shape), hashlib.sha256(frames.tobytes()).hexdigest()])
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
