"""Images in a folder a class, as torchvision's ImageFolder has them. There are no annotations: the names tell all.

A row gives ``image``, ``label``, the number of its class in the order of their names, ``image_id``, the image's whole
name, and ``instance_id``, the row's number as a text: what LAVIS 1.0.2 gives
(lavis/datasets/datasets/imagefolder_dataset.py), in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from assetmgr.datasets.prepared import Rows
from assetmgr.datasets.table import Field, Shape

VERSION = 1

# torchvision.datasets.folder.IMG_EXTENSIONS
_IMAGES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
_SHAPE = Shape(
    (Field("image", "image"), Field("label", "int"), Field("image_id", "place"), Field("instance_id", "text"))
)


def ordered(names: Iterable[str], folder: str) -> list[str]:
    """The images below a folder that are in a class: by class, then folder, then name.

    Parameters
    ----------
    names
        The media's names, with forward slashes.
    folder
        The folder of the classes: ``val``, or ``.``.
    """
    start = "" if folder == "." else f"{folder.rstrip('/')}/"
    kept = (name for name in names if name.startswith(start) and name.lower().endswith(_IMAGES))
    inside = [name for name in kept if "/" in name[len(start) :]]
    return sorted(inside, key=lambda name: (_class(name, start), name.rpartition("/")[0], name.rpartition("/")[2]))


def rows(names: list[str], folder: str) -> Rows:
    """The rows of these images, which are in their order."""
    start = "" if folder == "." else f"{folder.rstrip('/')}/"
    classes = [_class(name, start) for name in names]
    labels = {found: number for number, found in enumerate(sorted(set(classes)))}
    batch: dict[str, Sequence[Any]] = {
        "image": names,
        "label": [labels[found] for found in classes],
        "image_id": names,
        "instance_id": list(map(str, range(len(names)))),
    }
    return _SHAPE, [batch]


def _class(name: str, start: str) -> str:
    return name[len(start) :].partition("/")[0]
