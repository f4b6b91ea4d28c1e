"""Images and their captions, to find one by the other, as LAVIS's lists have them.

``[{"image": FILE, "caption": TEXT, "image_id": ID}, ...]``, to train
    A row a caption: ``image``, ``text_input``, ``image_id``, which counts the distinct ids as they first appear, and
    ``instance_id``, the row's number as a text.
``[{"image": FILE, "caption": [TEXT, ...]}, ...]``, to evaluate
    A row an image: ``image``, and ``index``, the row's number. Its captions are kept beside, for
    `assetmgr.datasets.evaluation`.

Both give what LAVIS 1.0.2 gives (lavis/datasets/datasets/retrieval_datasets.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from assetmgr.datasets.annotations import Annotation, Id
from assetmgr.datasets.prepared import Rows
from assetmgr.datasets.readers.rows import pieces
from assetmgr.datasets.table import Batch, Field, Shape

VERSION = 1

_CAPTIONS = Shape(
    (Field("image", "image"), Field("text_input", "text"), Field("image_id"), Field("instance_id", "text"))
)
_IMAGES = Shape((Field("image", "image"), Field("index", "int"), Field("captions", "texts", beside=True)))


class _Caption(msgspec.Struct, gc=False):
    image: str
    caption: str
    image_id: Id


class _Image(msgspec.Struct, gc=False):
    image: str
    caption: list[str]


def read(files: Sequence[Annotation]) -> Rows:
    """Read the files of a split to train with. See `assetmgr.datasets.readers.Reader`."""
    return _CAPTIONS, _captions(files)


def read_evaluation(files: Sequence[Annotation]) -> Rows:
    """Read the files of a split to evaluate with. See `assetmgr.datasets.readers.Reader`."""
    return _IMAGES, _images(files)


def _captions(files: Sequence[Annotation]) -> Iterator[Batch]:
    ordinals: dict[Id, int] = {}
    for piece in pieces(files, _Caption):
        yield {
            "image": piece.names(row.image for row in piece.rows),
            "text_input": [row.caption for row in piece.rows],
            "image_id": [ordinals.setdefault(row.image_id, len(ordinals)) for row in piece.rows],
            "instance_id": piece.instances,
        }


def _images(files: Sequence[Annotation]) -> Iterator[Batch]:
    for piece in pieces(files, _Image):
        yield {
            "image": piece.names(row.image for row in piece.rows),
            "index": piece.numbers,
            "captions": [row.caption for row in piece.rows],
        }
