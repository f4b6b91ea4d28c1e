"""Videos with captions, questions and answers, as LAVIS's lists have them.

Captions, to train: ``[{"video": FILE, "caption": TEXT, "image_id": ID}, ...]``
    ``video``, ``text_input``, and ``image_id``, which counts the distinct ids as they first appear.
Captions, to evaluate: ``[{"video": FILE, "image_id": ID}, ...]``
    ``video``, ``image_id`` and ``instance_id``, the row's number as a text.
Questions: ``[{"video": FILE, "question": TEXT, "answer": TEXT, "question_id": ID}, ...]`` and one ``{ANSWER: NUMBER}``
    ``video``, ``text_input``, ``answers`` (the answer's number; of one without, how many have one), ``question_id`` and
    ``instance_id``.
Retrieval, to train: ``[{"video": FILE, "caption": TEXT}, ...]``
    ``video``, ``text_input``, and ``image_id``, which counts the distinct videos as they first appear.
Retrieval, to evaluate: ``[{"video": FILE, "caption": [TEXT, ...]}, ...]``
    ``video`` and ``index``, the row's number. Its captions are kept beside, for `assetmgr.datasets.evaluation`.

All give what LAVIS 1.0.2 gives (lavis/datasets/datasets/{video_caption,video_vqa,retrieval}_datasets.py), but for the
video: a path there, and a `Video` here, which is that path and gives its frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from assetmgr.datasets.annotations import Annotation, Id
from assetmgr.datasets.prepared import Rows
from assetmgr.datasets.readers.rows import pieces
from assetmgr.datasets.table import Batch, Field, Shape

VERSION = 1

_VIDEO, _TEXT, _INSTANCE = Field("video", "video"), Field("text_input", "text"), Field("instance_id", "text")
_CAPTIONS = Shape((_VIDEO, _TEXT, Field("image_id", "int")))
_CAPTIONED = Shape((_VIDEO, Field("image_id"), _INSTANCE))
_QUESTIONS = Shape((_VIDEO, _TEXT, Field("answers"), Field("question_id"), _INSTANCE))
_RETRIEVED = Shape((_VIDEO, Field("index", "int"), Field("captions", "texts", beside=True)))


class _Caption(msgspec.Struct, gc=False):
    video: str
    caption: str
    image_id: Id


class _Captioned(msgspec.Struct, gc=False):
    video: str
    image_id: Id


class _Question(msgspec.Struct, gc=False):
    video: str
    question: str
    answer: str
    question_id: Id


class _Retrieval(msgspec.Struct, gc=False):
    video: str
    caption: str


class _Retrieved(msgspec.Struct, gc=False):
    video: str
    caption: list[str]


def read(files: Sequence[Annotation]) -> Rows:
    """Read captions to train with. See `assetmgr.datasets.readers.Reader`."""
    return _CAPTIONS, _captions(files)


def read_evaluation(files: Sequence[Annotation]) -> Rows:
    """Read videos whose captions are to be evaluated. See `assetmgr.datasets.readers.Reader`."""
    return _CAPTIONED, _captioned(files)


def read_questions(files: Sequence[Annotation]) -> Rows:
    """Read questions, and the numbers of answers. See `assetmgr.datasets.readers.Reader`."""
    return _QUESTIONS, _questions(files)


def read_retrieval(files: Sequence[Annotation]) -> Rows:
    """Read captions to train retrieval with. See `assetmgr.datasets.readers.Reader`."""
    return _CAPTIONS, _retrieval(files)


def read_retrieval_evaluation(files: Sequence[Annotation]) -> Rows:
    """Read videos to be retrieved. See `assetmgr.datasets.readers.Reader`."""
    return _RETRIEVED, _retrieved(files)


def _captions(files: Sequence[Annotation]) -> Iterator[Batch]:
    ordinals: dict[Id, int] = {}
    for piece in pieces(files, _Caption):
        yield {
            "video": piece.names(row.video for row in piece.rows),
            "text_input": [row.caption for row in piece.rows],
            "image_id": [ordinals.setdefault(row.image_id, len(ordinals)) for row in piece.rows],
        }


def _captioned(files: Sequence[Annotation]) -> Iterator[Batch]:
    for piece in pieces(files, _Captioned):
        yield {
            "video": piece.names(row.video for row in piece.rows),
            "image_id": [row.image_id for row in piece.rows],
            "instance_id": piece.instances,
        }


def _questions(files: Sequence[Annotation]) -> Iterator[Batch]:
    lists = [file for file in files if file.first() != b"{"]
    numbers = {}
    documents = [file for file in files if file.first() == b"{"]
    for file in documents:
        numbers = file.document(dict[str, Id])
    if len(documents) != 1 and files:
        raise files[0].fault(
            f"the numbers of answers are to be in one file of the split, and {len(documents)} have some"
        )
    if not numbers:
        raise documents[0].fault("it has no answer")
    for piece in pieces(lists, _Question):
        yield {
            "video": piece.names(row.video for row in piece.rows),
            "text_input": [row.question for row in piece.rows],
            "answers": [numbers.get(row.answer, len(numbers)) for row in piece.rows],
            "question_id": [row.question_id for row in piece.rows],
            "instance_id": piece.instances,
        }


def _retrieval(files: Sequence[Annotation]) -> Iterator[Batch]:
    ordinals: dict[str, int] = {}
    for piece in pieces(files, _Retrieval):
        names = piece.names(row.video for row in piece.rows)
        yield {
            "video": names,
            "text_input": [row.caption for row in piece.rows],
            "image_id": [ordinals.setdefault(name, len(ordinals)) for name in names],
        }


def _retrieved(files: Sequence[Annotation]) -> Iterator[Batch]:
    for piece in pieces(files, _Retrieved):
        yield {
            "video": piece.names(row.video for row in piece.rows),
            "index": piece.numbers,
            "captions": [row.caption for row in piece.rows],
        }
