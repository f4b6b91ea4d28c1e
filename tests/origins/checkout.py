"""A checkout with download scripts of LAVIS's shape, and the archives that they ask for."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

# What a script does once its archives are unpacked: nothing (they were unpacked where they belong), or moving folders.
_SCRIPT = """
from pathlib import Path
import os
import sys

from omegaconf import OmegaConf

from lavis.common.utils import cleanup_dir, download_and_extract_archive, get_abs_path, get_cache_path

URLS = {urls!r}

if __name__ == "__main__":
    build = OmegaConf.load(get_abs_path("configs/datasets/{name}/defaults.yaml")).datasets.{name}.build_info
    storage = Path(get_cache_path(build.{media}.storage))
    download = storage.parent / "download"
    if storage.exists():
        print("it is there already")
        sys.exit(0)
    try:
        for url in URLS:
            print("fetching", url)
            download_and_extract_archive(url=url, download_root=download{extract_root})
    except Exception:
        cleanup_dir(download)
        print("failed")
{then}
    cleanup_dir(download)
"""
_MOVE = """
    os.makedirs(storage, exist_ok=True)
    for folder in {folders!r}:
        for name in os.listdir(download / folder):
            os.rename(download / folder / name, storage / name)
"""
_CONFIG = """
datasets:
  {name}:
    build_info:
      {media}:
        storage: {name}/{media}/
"""


class Shape:
    """One script: the archives that it asks for (name -> members), where they are unpacked, what is moved."""

    def __init__(
        self,
        name: str,
        archives: Mapping[str, Mapping[str, bytes]],
        left: Mapping[str, bytes],
        *,
        extract_root: str = "",
        moved: tuple[str, ...] = (),
        media: str = "images",
        then: str = "",
    ) -> None:
        self.name, self.archives, self.left, self.media = name, archives, left, media
        self.extract_root = f", extract_root={extract_root}" if extract_root else ""
        self.then = then or (_MOVE.format(folders=moved) if moved else "")

    def write(self, checkout: Path, endpoint: str) -> None:
        """Put the script and its configuration into a checkout."""
        script = checkout / f"lavis/datasets/download_scripts/download_{self.name}.py"
        config = checkout / f"lavis/configs/datasets/{self.name}/defaults.yaml"
        for path in (script, config):
            path.parent.mkdir(parents=True, exist_ok=True)
        urls = [f"{endpoint}/{self.name}/{archive}" for archive in self.archives]
        script.write_text(
            _SCRIPT.format(name=self.name, media=self.media, urls=urls, extract_root=self.extract_root, then=self.then)
        )
        config.write_text(_CONFIG.format(name=self.name, media=self.media))

    def published(self) -> dict[str, bytes]:
        """The archives by the paths that the script asks for."""
        return {f"/{self.name}/{name}": packed(name, members) for name, members in self.archives.items()}


def some(folder: str, count: int, ending: str = "jpg") -> dict[str, bytes]:
    """Members in a folder, each with content of its own."""
    return {f"{folder}/{folder}_{number:03d}.{ending}": f"{folder} {number} ".encode() * 40 for number in range(count)}


def packed(name: str, members: Mapping[str, bytes]) -> bytes:
    """An archive of the kind that its name says."""
    buffer = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(buffer, "w") as archive:
            for path, data in members.items():
                archive.writestr(path, data)
        return buffer.getvalue()
    with tarfile.open(fileobj=buffer, mode="w:gz" if name.endswith(".gz") else "w") as tar:
        for path, data in members.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _below(prefix: str, *members: Mapping[str, bytes], flat: bool = False) -> dict[str, bytes]:
    return {
        f"{prefix}/{path.rpartition('/')[2] if flat else path}": data for each in members for path, data in each.items()
    }


_COCO = [some(folder, 6) for folder in ("train2014", "val2014", "test2014", "test2015")]
_VG = [some("VG_100K", 4), some("VG_100K_2", 4)]
_MSRVTT = [some("TrainValVideo", 5, "mp4"), some("TestVideo", 3, "mp4")]
# The six scripts of LAVIS that fetch archives, by shape.
SHAPES = (
    Shape(
        "coco",
        {f"{folder}.zip": members for folder, members in zip("abcd", _COCO, strict=True)},
        _below("coco/images", *_COCO),
        extract_root="storage",
    ),
    Shape("vg", {"images.zip": _VG[0], "images2.zip": _VG[1]}, _below("vg/images", *_VG), extract_root="storage"),
    Shape("gqa", {"images.zip": some("images", 5)}, _below("gqa", some("images", 5)), extract_root="storage.parent"),
    Shape(
        "msvd",
        {"YouTubeClips.tar": some("YouTubeClips", 5, "avi")},
        _below("msvd/videos", some("YouTubeClips", 5, "avi"), flat=True),
        moved=("YouTubeClips",),
        media="videos",
    ),
    Shape(
        "didemo",
        {"didemo_videos.tar.gz": some("videos", 5, "mp4")},
        _below("didemo/videos", some("videos", 5, "mp4"), flat=True),
        moved=("videos",),
        media="videos",
    ),
    Shape(
        "msrvtt",
        {"train_val_videos.zip": _MSRVTT[0], "test_videos.zip": _MSRVTT[1]},
        _below("msrvtt/videos", *_MSRVTT, flat=True),
        moved=("TrainValVideo", "TestVideo"),
        media="videos",
    ),
)
