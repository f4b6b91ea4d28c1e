"""Images with questions and answers, as easy-VQA has them: rows ``[QUESTION, ANSWER, IMAGE_ID]``.

A row gives ``image``, ``text_input``, ``answer`` and ``image_id``; the image's file is ``IMAGE_ID.png`` or ``.jpg``.
"""

from __future__ import annotations

from collections.abc import Sequence

from assetmgr.datasets.annotations import Annotation, Id
from assetmgr.datasets.table import Images, Table, Texts, column


def read(files: Sequence[Annotation]) -> Table:
    """Read the files of one split. See `assetmgr.datasets.readers.Reader`."""
    images, questions, answers, ids = Images(), [], [], []
    for file in files:
        for number, (question, answer, image_id) in enumerate(file.decode(file.read(), list[tuple[str, str, Id]])):
            images.add(str(image_id), file, f"[{number}]")
            questions.append(question)
            answers.append(answer)
            ids.append(image_id)
    columns = {"text_input": Texts(questions), "answer": Texts(answers), "image_id": column(ids)}
    return images.table(columns, suffixes=(".png", ".jpg", ".jpeg"))
