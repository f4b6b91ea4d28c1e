"""A-OKVQA: images with questions, their choices and people's own answers, as LAVIS's lists have them.

To train, a row gives ``image``, ``text_input``, ``answers`` and ``weights``, as of VQA, from ``direct_answers``. To
evaluate, it gives ``image``, ``text_input``, ``question_id``, ``instance_id``, ``choices``, ``correct_choice_idx`` and
``direct_answers``, the last two None where they are not told; the split's first file has the rows.

Both are what LAVIS 1.0.2 gives (lavis/datasets/datasets/aok_vqa_datasets.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from assetmgr.datasets.annotations import Annotation, Id
from assetmgr.datasets.prepared import Rows
from assetmgr.datasets.readers.rows import pieces
from assetmgr.datasets.readers.vqa import weighed
from assetmgr.datasets.table import Batch, Field, Shape

VERSION = 1

_ANSWERED = Shape(
    (Field("image", "image"), Field("text_input", "text"), Field("answers", "texts"), Field("weights", "floats"))
)
_ASKED = Shape(
    (
        Field("image", "image"),
        Field("text_input", "text"),
        Field("question_id"),
        Field("instance_id", "text"),
        Field("choices", "texts"),
        Field("correct_choice_idx", "int"),
        Field("direct_answers", "texts"),
    ),
    lists=True,
)


class _Answered(msgspec.Struct, gc=False):
    image: str
    question: str
    direct_answers: list[str]


class _Asked(msgspec.Struct, gc=False):
    image: str
    question: str
    question_id: Id
    choices: list[str]
    correct_choice_idx: int | None = None
    direct_answers: list[str] | None = None


def read(files: Sequence[Annotation]) -> Rows:
    """Read the files of a split to train with. See `assetmgr.datasets.readers.Reader`."""
    return _ANSWERED, _answered(files)


def read_evaluation(files: Sequence[Annotation]) -> Rows:
    """Read the first file of a split to evaluate with. See `assetmgr.datasets.readers.Reader`."""
    return _ASKED, _asked(files[:1])


def _answered(files: Sequence[Annotation]) -> Iterator[Batch]:
    for piece in pieces(files, _Answered):
        weights = [weighed(row.direct_answers) for row in piece.rows]
        yield {
            "image": piece.names(row.image for row in piece.rows),
            "text_input": [row.question for row in piece.rows],
            "answers": list(map(list, weights)),
            "weights": [list(shares.values()) for shares in weights],
        }


def _asked(files: Sequence[Annotation]) -> Iterator[Batch]:
    for piece in pieces(files, _Asked):
        yield {
            "image": piece.names(row.image for row in piece.rows),
            "text_input": [row.question for row in piece.rows],
            "question_id": [row.question_id for row in piece.rows],
            "instance_id": piece.instances,
            "choices": [row.choices for row in piece.rows],
            "correct_choice_idx": [row.correct_choice_idx for row in piece.rows],
            "direct_answers": [row.direct_answers for row in piece.rows],
        }
