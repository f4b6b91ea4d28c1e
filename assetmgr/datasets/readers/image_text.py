"""Pairs of an image and a text, as LAVIS has them to train with: rows ``{"image": FILE, "caption": TEXT}``.

A row gives ``image`` and ``text_input``: what LAVIS 1.0.2 gives (lavis/datasets/datasets/image_text_pair_datasets.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from assetmgr.datasets.annotations import Annotation
from assetmgr.datasets.prepared import Rows
from assetmgr.datasets.readers.rows import pieces
from assetmgr.datasets.table import Batch, Field, Shape

VERSION = 1

_SHAPE = Shape((Field("image", "image"), Field("text_input", "text")))


class _Pair(msgspec.Struct, gc=False):
    image: str
    caption: str


def read(files: Sequence[Annotation]) -> Rows:
    """Read the files of one split. See `assetmgr.datasets.readers.Reader`."""
    return _SHAPE, _pairs(files)


def _pairs(files: Sequence[Annotation]) -> Iterator[Batch]:
    for piece in pieces(files, _Pair):
        yield {
            "image": piece.names(row.image for row in piece.rows),
            "text_input": [row.caption for row in piece.rows],
        }
