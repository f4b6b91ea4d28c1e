"""SNLI-VE: an image and a sentence that follows from it, contradicts it or neither: ``{"image", "sentence", "label"}``.

A row gives ``image``, ``text_input``, ``label`` (contradiction 0, neutral 1, entailment 2), ``image_id`` and
``instance_id``, the row's number as a text; the image's file is its id with ``.jpg``: what LAVIS 1.0.2 gives
(lavis/datasets/datasets/snli_ve_datasets.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from assetmgr.datasets.annotations import Annotation, Id
from assetmgr.datasets.prepared import Rows
from assetmgr.datasets.readers.rows import pieces
from assetmgr.datasets.table import Batch, Field, Shape

VERSION = 1

_SHAPE = Shape(
    (
        Field("image", "image", suffixes=(".jpg",)),
        Field("text_input", "text"),
        Field("label", "int"),
        Field("image_id"),
        Field("instance_id", "text"),
    )
)
_LABELS = {"contradiction": 0, "neutral": 1, "entailment": 2}


class _Pair(msgspec.Struct, gc=False):
    image: Id
    sentence: str
    label: Literal["contradiction", "neutral", "entailment"]


def read(files: Sequence[Annotation]) -> Rows:
    """Read the files of one split. See `assetmgr.datasets.readers.Reader`."""
    return _SHAPE, _pairs(files)


def _pairs(files: Sequence[Annotation]) -> Iterator[Batch]:
    for piece in pieces(files, _Pair):
        yield {
            "image": piece.names(str(row.image) for row in piece.rows),
            "text_input": [row.sentence for row in piece.rows],
            "label": [_LABELS[row.label] for row in piece.rows],
            "image_id": [row.image for row in piece.rows],
            "instance_id": piece.instances,
        }
