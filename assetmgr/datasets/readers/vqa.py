"""Images with questions and answers, as easy-VQA has them: rows ``[QUESTION, ANSWER, IMAGE_ID]``.

A row gives ``image``, ``text_input``, ``answer`` and ``image_id``; the image's file is ``IMAGE_ID.png`` or ``.jpg``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from assetmgr.datasets.annotations import Annotation, Id
from assetmgr.datasets.prepared import Rows
from assetmgr.datasets.table import Batch, Field, Shape

VERSION = 1

_SHAPE = Shape(
    (
        Field("image", "image", suffixes=(".png", ".jpg", ".jpeg")),
        Field("text_input", "text"),
        Field("answer", "text"),
        Field("image_id"),
    )
)


def read(files: Sequence[Annotation]) -> Rows:
    """Read the files of one split. See `assetmgr.datasets.readers.Reader`."""
    return _SHAPE, _questions(files)


def _questions(files: Sequence[Annotation]) -> Iterator[Batch]:
    for file in files:
        done = 0
        for rows in file.rows(tuple[str, str, Id]):
            images = [str(row[2]) for row in rows]
            file.check_names(images, done)
            yield {
                "image": images,
                "text_input": [row[0] for row in rows],
                "answer": [row[1] for row in rows],
                "image_id": [row[2] for row in rows],
            }
            done += len(rows)
