from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from assetmgr.verify import Installed
from tests.datasets.stored import DATA, Content, files_of, store_asset

COCO_USE = {
    "splits": {
        "train": ["annotations/captions_train2017.json"],
        "val": ["annotations/captions_val2017.json"],
    },
    "media": {"train": "train2017", "val": "val2017"},
    "samples": "caption",
}
VQA_USE = {"splits": {"test": ["test/questions.json"]}, "media": "test/images", "samples": "vqa"}

Make = Callable[..., Installed]


def png(color: str = "red", size: tuple[int, int] = (4, 3), mode: str = "RGB") -> bytes:
    """A small image file."""
    buffer = io.BytesIO()
    Image.new(mode, size, color if mode == "RGB" else 1).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def coco(tmp_path: Path) -> Installed:
    """The real COCO sample, as a hub dataset in a store."""
    return store_asset(tmp_path / "store", "coco-sample", files_of(DATA / "coco-sample"), COCO_USE)


@pytest.fixture
def easy_vqa(tmp_path: Path) -> Installed:
    """The real easy-VQA sample, as a hub dataset in a store."""
    return store_asset(tmp_path / "store", "easy-vqa", files_of(DATA / "easy-vqa"), VQA_USE)


@pytest.fixture
def made(tmp_path: Path) -> Make:
    """Makes a dataset whose split ``train`` is one annotation document, with images by name."""

    def make(
        document: Any, images: dict[str, Content] | None = None, samples: str = "caption", **extra: Any
    ) -> Installed:
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        files: dict[str, Content] = {"train.json": data, "images/a.png": png()}
        files |= {f"images/{name}": content for name, content in (images or {}).items()}
        use = {"splits": {"train": ["train.json"]}, "media": "images", "samples": samples}
        return store_asset(tmp_path / "store", "made", files, use | extra)

    return make
