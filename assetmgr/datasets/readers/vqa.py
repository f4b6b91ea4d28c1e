"""Images with questions and answers, as LAVIS's lists for VQA v2 and OK-VQA have them, and as easy-VQA's.

``[{"image": FILE, "question": TEXT, "answer": [TEXT, ...]}, ...]``, to train
    ``image``, ``text_input``, ``answers``, each once, and ``weights``, the share of the people who gave it.
``[{"image": FILE, "question": TEXT, "question_id": ID}, ...]``, to evaluate
    ``image``, ``text_input``, ``question_id``, and ``instance_id``, the row's number as a text. The split's first file
    has the rows; LAVIS's next ones are a list of answers, and the questions and annotations in COCO's form.
``[[QUESTION, ANSWER, IMAGE_ID], ...]``
    easy-VQA: ``image``, ``text_input``, ``answer`` and ``image_id``; the file is ``IMAGE_ID.png`` or ``.jpg``.

The first two give what LAVIS 1.0.2 gives (lavis/datasets/datasets/coco_vqa_datasets.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from assetmgr.datasets.annotations import Annotation, Id
from assetmgr.datasets.prepared import Rows
from assetmgr.datasets.readers.rows import pieces
from assetmgr.datasets.table import Batch, Field, Shape

VERSION = 2

_ANSWERED = Shape(
    (Field("image", "image"), Field("text_input", "text"), Field("answers", "texts"), Field("weights", "floats"))
)
_ASKED = Shape(
    (Field("image", "image"), Field("text_input", "text"), Field("question_id"), Field("instance_id", "text")),
    lists=True,
)
_EASY = Shape(
    (
        Field("image", "image", suffixes=(".png", ".jpg", ".jpeg")),
        Field("text_input", "text"),
        Field("answer", "text"),
        Field("image_id"),
    )
)


class _Answered(msgspec.Struct, gc=False):
    image: str
    question: str
    answer: list[str]


class _Asked(msgspec.Struct, gc=False):
    image: str
    question: str
    question_id: Id


def read(files: Sequence[Annotation]) -> Rows:
    """Read the files of a split to train with, or easy-VQA's. See `assetmgr.datasets.readers.Reader`."""
    return (_EASY, _triples(files)) if files[0].first(within=b"[") == b"[" else (_ANSWERED, _answered(files))


def read_evaluation(files: Sequence[Annotation]) -> Rows:
    """Read the first file of a split to evaluate with. See `assetmgr.datasets.readers.Reader`."""
    return _ASKED, _asked(files[:1])


def weighed(answers: Sequence[str]) -> dict[str, float]:
    """Each answer as it first appears, with its share: added up as LAVIS does, to the same last bit."""
    weights: dict[str, float] = {}
    for answer in answers:
        weights[answer] = weights[answer] + 1 / len(answers) if answer in weights else 1 / len(answers)
    return weights


def _answered(files: Sequence[Annotation]) -> Iterator[Batch]:
    for piece in pieces(files, _Answered):
        weights = [weighed(row.answer) for row in piece.rows]
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
        }


def _triples(files: Sequence[Annotation]) -> Iterator[Batch]:
    for piece in pieces(files, tuple[str, str, Id]):
        yield {
            "image": piece.names(str(row[2]) for row in piece.rows),
            "text_input": [row[0] for row in piece.rows],
            "answer": [row[1] for row in piece.rows],
            "image_id": [row[2] for row in piece.rows],
        }
