"""NLVR2: two images and a sentence that is true of them or not: ``{"images": [FILE, FILE], "sentence", "label"}``.

A row gives ``image0``, ``image1``, ``text_input``, ``label`` (0 for "False", 1 for "True") and ``instance_id``, the
row's number as a text: what LAVIS 1.0.2 gives (lavis/datasets/datasets/nlvr_datasets.py). To train, LAVIS exchanges the
two images of every second sample, and left and right in its sentence; so does this, by the same draw of ``random``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import msgspec

from assetmgr.datasets.annotations import Annotation
from assetmgr.datasets.prepared import Rows
from assetmgr.datasets.readers.rows import pieces
from assetmgr.datasets.table import Batch, Field, Shape

VERSION = 1

_FIELDS = (
    Field("image0", "image"),
    Field("image1", "image"),
    Field("text_input", "text"),
    Field("label", "int"),
    Field("instance_id", "text"),
)
_LABELS = {"False": 0, "True": 1}


class _Pair(msgspec.Struct, gc=False):
    images: Annotated[list[str], msgspec.Meta(min_length=2)]
    sentence: str
    label: Literal["False", "True"]


def read(files: Sequence[Annotation]) -> Rows:
    """Read the files of a split to train with. See `assetmgr.datasets.readers.Reader`."""
    return Shape(_FIELDS, chance="sides"), _pairs(files)


def read_evaluation(files: Sequence[Annotation]) -> Rows:
    """Read the files of a split to evaluate with. See `assetmgr.datasets.readers.Reader`."""
    return Shape(_FIELDS), _pairs(files)


def _pairs(files: Sequence[Annotation]) -> Iterator[Batch]:
    for piece in pieces(files, _Pair):
        yield {
            "image0": piece.names((row.images[0] for row in piece.rows), row="[{}].images[0]"),
            "image1": piece.names((row.images[1] for row in piece.rows), row="[{}].images[1]"),
            "text_input": [row.sentence for row in piece.rows],
            "label": [_LABELS[row.label] for row in piece.rows],
            "instance_id": piece.instances,
        }
