"""GQA and Visual Genome's questions: one answer a question, as LAVIS's lists have them.

To train, a row gives ``image``, ``text_input``, ``answers`` with the one answer, and ``weights``: ``[1]`` for GQA, and
``[0.2]`` for Visual Genome. To evaluate on GQA, it gives ``image``, ``text_input``, ``answer``, None where it is not
told, ``question_id`` and ``instance_id``; the split's first file has the rows.

That is what LAVIS 1.0.2 gives (lavis/datasets/datasets/{gqa,vg_vqa}_datasets.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from assetmgr.datasets.annotations import Annotation, Id
from assetmgr.datasets.prepared import Rows
from assetmgr.datasets.readers.rows import pieces
from assetmgr.datasets.table import Batch, Field, Shape

VERSION = 1

_IMAGE, _TEXT, _ANSWERS = Field("image", "image"), Field("text_input", "text"), Field("answers", "texts")
_GQA = Shape((_IMAGE, _TEXT, _ANSWERS, Field("weights", "ints")))
_GENOME = Shape((_IMAGE, _TEXT, _ANSWERS, Field("weights", "floats")))
_ASKED = Shape((_IMAGE, _TEXT, Field("answer", "text"), Field("question_id"), Field("instance_id", "text")), lists=True)


class _Answered(msgspec.Struct, gc=False):
    image: str
    question: str
    answer: str


class _Asked(msgspec.Struct, gc=False):
    image: str
    question: str
    question_id: Id
    answer: str | None = None


def read(files: Sequence[Annotation]) -> Rows:
    """Read GQA's files of a split to train with. See `assetmgr.datasets.readers.Reader`."""
    return _GQA, _answered(files, 1)


def read_visual_genome(files: Sequence[Annotation]) -> Rows:
    """Read Visual Genome's files. See `assetmgr.datasets.readers.Reader`."""
    return _GENOME, _answered(files, 0.2)


def read_evaluation(files: Sequence[Annotation]) -> Rows:
    """Read the first file of a split to evaluate with. See `assetmgr.datasets.readers.Reader`."""
    return _ASKED, _asked(files[:1])


def _answered(files: Sequence[Annotation], weight: Any) -> Iterator[Batch]:
    for piece in pieces(files, _Answered):
        yield {
            "image": piece.names(row.image for row in piece.rows),
            "text_input": [row.question for row in piece.rows],
            "answers": [[row.answer] for row in piece.rows],
            "weights": [[weight]] * len(piece.rows),
        }


def _asked(files: Sequence[Annotation]) -> Iterator[Batch]:
    for piece in pieces(files, _Asked):
        yield {
            "image": piece.names(row.image for row in piece.rows),
            "text_input": [row.question for row in piece.rows],
            "answer": [row.answer for row in piece.rows],
            "question_id": [row.question_id for row in piece.rows],
            "instance_id": piece.instances,
        }
