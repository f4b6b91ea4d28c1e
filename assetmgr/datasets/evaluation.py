"""What LAVIS's classes for evaluation have beside their samples, by its own names: for who ranks, or evaluates.

Of retrieval: ``text``, all captions; ``image``, the images' names; ``img2txt`` and ``txt2img``, which of one belong to
which of the other. Of questions: ``answer_list``, the answers to choose among; ``coco_fmt_qust_file`` and
``coco_fmt_anno_file``, the paths of the questions and annotations in COCO's form; None where there is no such file.
Of ImageNet: ``classnames``, the names of its 1,000 classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from assetmgr.datasets.annotations import Annotation

Column = Callable[[str], list[Any]]

# What the files of a split to evaluate answers with are, after the first.
LISTS = ("answer_list", "coco_fmt_qust_file", "coco_fmt_anno_file")


def _text(column: Column) -> list[str]:
    return [caption for captions in column("captions") for caption in captions]


def _texts_of_image(column: Column) -> dict[int, list[int]]:
    texts: dict[int, list[int]] = {}
    first = 0
    for image, captions in enumerate(column("captions")):
        texts[image] = list(range(first, first + len(captions)))
        first += len(captions)
    return texts


def _image_of_text(column: Column) -> dict[int, int]:
    return {text: image for image, texts in _texts_of_image(column).items() for text in texts}


# What the column `captions`, which is beside the samples, gives.
OF_CAPTIONS: Mapping[str, Callable[[Column], Any]] = {
    "text": _text,
    "image": lambda column: column(""),  # the media, whatever they are: the first column
    "img2txt": _texts_of_image,
    "txt2img": _image_of_text,
}


def of_lists(name: str, files: Sequence[Annotation]) -> Any:
    """What the file of that name among a split's files gives: its content, or its path."""
    at = 1 + LISTS.index(name)
    if at >= len(files):
        return None
    return files[at].document(list[Any]) if name == "answer_list" else files[at].path


def class_names() -> list[str]:
    """The names of ImageNet's classes, in the order of their folders."""
    from importlib.resources import files as resources

    text = resources("assetmgr.datasets").joinpath("imagenet_classes.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if not line.startswith("#")]
