"""Images with captions, as LAVIS's Karpathy lists and as COCO's own documents have them.

``[{"image": FILE, "caption": TEXT, "image_id": ID}, ...]``
    A row a caption: ``image``, ``text_input``, and ``image_id``, which counts the distinct ids as they first appear.
``[{"image": FILE, "caption": [TEXT, ...]}, ...]``
    For evaluation, a row an image: ``image``, ``image_id`` (from the file's name, or the row's ``img_id``), and
    ``instance_id``, the row's number as a text. The captions are the answers, and not given.
``{"images": [{"id": ID, "file_name": FILE}], "annotations": [{"image_id": ID, "caption": TEXT}]}``
    A row an annotation: ``image``, ``text_input``, ``image_id``.

The first two give what LAVIS 1.0.2 gives (lavis/datasets/datasets/{caption,coco_caption}_datasets.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from assetmgr.datasets.annotations import Annotation, Id
from assetmgr.datasets.table import Images, Table, Texts, column


class _Row(msgspec.Struct, gc=False):
    image: str
    caption: str | list[str] | None = None
    image_id: Id | None = None
    img_id: Id | None = None


class _CocoImage(msgspec.Struct, gc=False):
    id: Id
    file_name: str


class _CocoCaption(msgspec.Struct, gc=False):
    image_id: Id
    caption: str


class _Coco(msgspec.Struct):
    images: list[_CocoImage]
    annotations: list[_CocoCaption]


def read(files: Sequence[Annotation]) -> Table:
    """Read the files of one split. See `assetmgr.datasets.readers.Reader`."""
    rows: list[tuple[Annotation, list[_Row]]] = []
    documents: list[tuple[Annotation, _Coco]] = []
    for file in files:
        data = file.read()
        if data[:64].lstrip().startswith(b"{"):
            documents.append((file, file.decode(data, _Coco)))
        else:
            rows.append((file, file.decode(data, list[_Row])))
    if rows and documents:
        raise documents[0][0].fault("a COCO document, while other files of this split are lists of rows")
    if documents:
        return _annotations(documents)
    return _evaluation(rows) if _is_evaluation(rows) else _captions(rows)


def _annotations(documents: Sequence[tuple[Annotation, _Coco]]) -> Table:
    images, texts, ids = Images(), [], []
    for file, document in documents:
        names = {image.id: image.file_name for image in document.images}
        for number, row in enumerate(document.annotations):
            where = f"annotations[{number}]"
            if row.image_id not in names:
                raise file.fault(f"no image has the id {row.image_id!r}", f"row {where}")
            images.add(names[row.image_id], file, where)
            texts.append(row.caption)
            ids.append(row.image_id)
    return images.table({"text_input": Texts(texts), "image_id": column(ids)})


def _is_evaluation(files: Sequence[tuple[Annotation, list[_Row]]]) -> bool:
    """Whether the rows are images to be captioned, by the first of them."""
    return any(not isinstance(rows[0].caption, str) for _, rows in files[:1] if rows)


def _captions(files: Sequence[tuple[Annotation, list[_Row]]]) -> Table:
    images, texts, order = Images(), [], []
    ordinals: dict[Id, int] = {}
    for file, rows in files:
        for number, row in enumerate(rows):
            if not isinstance(row.caption, str):
                raise file.fault("`caption` is not a text, as it is in the rows before", f"row [{number}]")
            if row.image_id is None:
                raise file.fault("no `image_id`", f"row [{number}]")
            images.add(row.image, file, f"[{number}]")
            texts.append(row.caption)
            order.append(ordinals.setdefault(row.image_id, len(ordinals)))
    return images.table({"text_input": Texts(texts), "image_id": column(order)})


def _evaluation(files: Sequence[tuple[Annotation, list[_Row]]]) -> Table:
    images, ids = Images(), []
    for file, rows in files:
        for number, row in enumerate(rows):
            if isinstance(row.caption, str):
                raise file.fault("`caption` is one text, unlike in the rows before", f"row [{number}]")
            images.add(row.image, file, f"[{number}]")
            ids.append(_id_of(row.image) if row.img_id is None else row.img_id)
    return images.table({"image_id": column(ids), "instance_id": Texts(map(str, range(len(ids))))})


def _id_of(image: str) -> str:
    """LAVIS's own rule: ``val2014/COCO_val2014_000000391895.jpg`` is image ``000000391895``."""
    return image.split("/")[-1].strip(".jpg").split("_")[-1]
