"""A list of images on the loopback hub, of which some are dead, corrupt, or not to be used."""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from tests.hub import Hub
from tests.support import REPOSITORY, Project

VARIABLE = "ASSETMGR_IMG2DATASET_PYTHON"


def img2dataset_python() -> str:
    """The Python of the environment with img2dataset that `make test` makes."""
    found = REPOSITORY / ".venv-img2dataset" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not found.exists():
        pytest.skip("no environment with img2dataset here: make .venv-img2dataset/.made")
    return str(found)


def picture(number: int) -> bytes:
    """A small JPEG, unlike those of other numbers."""
    image = Image.new("RGB", (24, 16), (number % 256, number // 256 * 40 % 256, 128))
    image.putpixel((3, 3), (255, number % 251, 0))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=90)
    return data.getvalue()


@dataclass
class Listed:
    """A list of so many images, served by a hub; ``good`` are those that are to come, by their name in the list."""

    hub: Hub
    count: int
    dead: int = 0
    corrupt: int = 0
    refused: int = 0
    good: dict[str, bytes] = field(default_factory=dict)

    def publish(self) -> None:
        """Serve what is to be served: of a hundred rows so many are dead, corrupt or refused, the first of them."""
        for number in range(self.count):
            at, data = number % 100, picture(number)
            if at < self.dead:
                continue
            headers = {}
            if at < self.dead + self.corrupt:
                data = (data[: len(data) // 2], b"<html>no image</html>", b"")[at % 3]
            elif at < self.dead + self.corrupt + self.refused:
                headers = {"X-Robots-Tag": "noai"}
            else:
                self.good[f"folder/{number}.jpg"] = data
            self.hub.publish(f"/i/{number}.jpg", data, headers=headers)

    def write(self, project: Project, *keys: str, rows: int | None = None) -> None:
        """Write the annotation and a manifest; ``keys`` are more of its url_list."""
        rows = self.count if rows is None else rows
        listed = [
            {
                "image": f"folder/{number}.jpg",
                "url": f"{project.endpoint}/i/{number}.jpg",
                "caption": f"é {number}",
                "image_id": str(number),
            }
            for number in range(rows)
        ]
        project.folder.mkdir(parents=True, exist_ok=True)
        (project.folder / "list.json").write_text(json.dumps(listed))
        said = dict(key.split(": ") for key in ("processes: 2", "threads: 8", "retries: 0", *keys))
        more = "".join(f", {key}: {value}" for key, value in said.items())
        project.write(
            "version: 1\ndatasets:\n  pictures:\n    url_list: "
            f"{{list: ./list.json, caption_col: caption, image_col: image, place: lavis/pictures/shards{more}}}\n"
        )


def indexed(folder: Path) -> dict[str, bytes]:
    """Every image of shards, by its name in the annotation: read by the index alone."""
    index = json.loads((folder / "index.json").read_bytes())
    assert index["columns"] == ["shard", "member", "offset", "size"]
    found = {}
    for name, (shard, _, offset, size) in index["images"].items():
        with open(folder / shard, "rb") as file:
            file.seek(offset)
            found[name] = file.read(size)
    return found


__all__ = ["VARIABLE", "Listed", "img2dataset_python", "indexed", "picture"]
