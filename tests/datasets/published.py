"""A project of local files that are locked and pulled in this process: what a load finds after a real pull."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from assetmgr.workspace import Workspace
from tests.datasets.stored import DATA

SAMPLE = DATA / "coco-sample"
PICTURES = {f"val2017/{path.name}": path.read_bytes() for path in sorted((SAMPLE / "val2017").iterdir())}


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def coco(folder: Path, archives: Mapping[str, bytes], extract: str = "", media: str = "val2017") -> Workspace:
    """The real sample's captions, and its images in archives that an asset of their own has; locked and pulled."""
    origin = folder / "origin"
    origin.mkdir(parents=True, exist_ok=True)
    (origin / "captions.json").write_bytes((SAMPLE / "annotations/captions_val2017.json").read_bytes())
    lines = ["version: 1", "datasets:", "  coco-images:", "    files:"]
    for name, data in archives.items():
        (origin / name).write_bytes(data)
        where = f"extract: {extract}" if extract else "place: lavis/coco/images"
        lines.append(f"      - {{url: ./origin/{name}, {where}}}")
    lines += [
        "  coco:",
        "    files: [{url: ./origin/captions.json, place: lavis/coco/annotations}]",
        "    requires: coco-images",
        "    splits: {val: captions.json}",
        f"    media: {media}" if media else "",
        "    samples: caption",
    ]
    manifest = folder / "assets.yaml"
    manifest.write_text("\n".join(lines) + "\n")
    workspace = Workspace([manifest], folder / "store")
    workspace.lock()
    workspace.pull()
    return Workspace([manifest], folder / "store")
