"""Webdataset shards by their rows: what `url_list` fetches, and what LAVIS reads laion2B_multi from.

A ``KEY.jpg`` beside a ``KEY.json`` that has a ``caption`` gives a row of ``image`` and ``text_input``: what LAVIS
1.0.2 gives (lavis/datasets/datasets/laion_dataset.py), which draws shards and rows by chance without end. Here a row is
there once, in the order of shards and keys. What lacks one of the two, or its caption, is passed over there too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import msgspec

from assetmgr.datasets.media import DamagedError, Media
from assetmgr.datasets.prepared import Rows
from assetmgr.datasets.table import Batch, Field, Shape
from assetmgr.errors import IntegrityError

VERSION = 1

_SHAPE = Shape((Field("image", "image"), Field("text_input", "text")))
_AT_ONCE = 4096


class _Row(msgspec.Struct, gc=False):
    caption: str | msgspec.UnsetType | None = msgspec.UNSET


_ROW = msgspec.json.Decoder(_Row)


def read(media: Media, asset: str) -> Rows:
    """The rows of all shards.

    Parameters
    ----------
    media
        The shards' members, named ``SHARD.tar/KEY.jpg``, in the order of their names.

    Raises
    ------
    IntegrityError
        When a row cannot be read.
    """
    return _SHAPE, _batches(media, asset)


def _batches(media: Media, asset: str) -> Iterator[Batch]:
    images: list[str] = []
    captions: list[Any] = []
    for image, row in pairs(media.names()):
        caption = _caption(media, row, asset)
        if caption is msgspec.UNSET:
            continue
        images.append(image)
        captions.append(caption)
        if len(images) == _AT_ONCE:
            yield {"image": images, "text_input": captions}
            images, captions = [], []
    yield {"image": images, "text_input": captions}


def pairs(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The image and the row of each key that has both; names that belong to one key follow each other."""
    for _, members in groupby(names, key=_key):
        found = {name.rpartition("/")[2].partition(".")[2].lower(): name for name in members}
        if "jpg" in found and "json" in found:
            yield found["jpg"], found["json"]


def _key(name: str) -> tuple[str, str]:
    """Webdataset's own rule: a key ends before the first dot of a name."""
    folder, _, base = name.rpartition("/")
    return folder, base.partition(".")[0]


def _caption(media: Media, row: str, asset: str) -> Any:
    try:
        with media.open(row) as file:
            return _ROW.decode(file.read()).caption
    except (DamagedError, msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        raise IntegrityError(
            f"{asset}: {media.shown(row)}: not a row of a shard: {error}",
            mend=media.mend(row) or "put a whole shard there",
        ) from None
