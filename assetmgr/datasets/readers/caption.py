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

from collections.abc import Iterator, Sequence

import msgspec

from assetmgr.datasets.annotations import Annotation, Id
from assetmgr.datasets.prepared import Rows
from assetmgr.datasets.table import Batch, Field, Shape

VERSION = 1

_CAPTIONS = Shape((Field("image", "image"), Field("text_input", "text"), Field("image_id")))
_IMAGES = Shape((Field("image", "image"), Field("image_id"), Field("instance_id", "text")))


class _First(msgspec.Struct, gc=False):
    caption: str | list[str] | None = None


class _Caption(msgspec.Struct, gc=False):
    image: str
    caption: str
    image_id: Id


class _Image(msgspec.Struct, gc=False):
    image: str
    caption: list[str] | None = None
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


def read(files: Sequence[Annotation]) -> Rows:
    """Read the files of one split. See `assetmgr.datasets.readers.Reader`."""
    documents = [file for file in files if file.first() == b"{"]
    if documents and len(documents) < len(files):
        raise documents[0].fault("a COCO document, while other files of this split are lists of rows")
    if documents:
        return _CAPTIONS, _annotations(files)
    return (_IMAGES, _evaluation(files)) if _is_evaluation(files) else (_CAPTIONS, _captions(files))


def _annotations(files: Sequence[Annotation]) -> Iterator[Batch]:
    for file in files:
        document = file.document(_Coco)
        file.check_names([image.file_name for image in document.images], row="images[{}]")
        names = {image.id: image.file_name for image in document.images}
        for number, row in enumerate(document.annotations):
            if row.image_id not in names:
                raise file.fault(f"no image has the id {row.image_id!r}", f"row annotations[{number}]")
        yield {
            "image": [names[row.image_id] for row in document.annotations],
            "text_input": [row.caption for row in document.annotations],
            "image_id": [row.image_id for row in document.annotations],
        }


def _is_evaluation(files: Sequence[Annotation]) -> bool:
    """Whether the rows are images to be captioned, by the first of them."""
    first = next((rows[0] for rows in files[0].rows(_First) if rows), None)
    return first is not None and not isinstance(first.caption, str)


def _captions(files: Sequence[Annotation]) -> Iterator[Batch]:
    ordinals: dict[Id, int] = {}
    for file in files:
        done = 0
        for rows in file.rows(_Caption):
            images = [row.image for row in rows]
            file.check_names(images, done)
            yield {
                "image": images,
                "text_input": [row.caption for row in rows],
                "image_id": [ordinals.setdefault(row.image_id, len(ordinals)) for row in rows],
            }
            done += len(rows)


def _evaluation(files: Sequence[Annotation]) -> Iterator[Batch]:
    instance = 0
    for file in files:
        done = 0
        for rows in file.rows(_Image):
            images = [row.image for row in rows]
            file.check_names(images, done)
            yield {
                "image": images,
                "image_id": [_id_of(row.image) if row.img_id is None else row.img_id for row in rows],
                "instance_id": [str(number) for number in range(instance, instance + len(rows))],
            }
            done, instance = done + len(rows), instance + len(rows)


def _id_of(image: str) -> str:
    """LAVIS's own rule: ``val2014/COCO_val2014_000000391895.jpg`` is image ``000000391895``."""
    return image.split("/")[-1].strip(".jpg").split("_")[-1]
