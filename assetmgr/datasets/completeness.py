"""How many of the media that the annotations of a dataset name are there: each once, over all of its splits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from assetmgr.datasets import splits_of
from assetmgr.datasets.archived import Archives
from assetmgr.datasets.features import names_of, whole
from assetmgr.datasets.media import Below, Folder, Media, Overlay
from assetmgr.datasets.places import media_of, trusted
from assetmgr.datasets.prepared import opened
from assetmgr.datasets.readers import OF_NAMES
from assetmgr.datasets.recipes import kind_of, of_files
from assetmgr.errors import AssetError
from assetmgr.verify import Installed


def counted(found: Installed, required: Sequence[Installed]) -> tuple[list[tuple[str, int, int]], set[str]]:
    """Of each kind of media, how many are named and how many are there; and what makes this old when it changes.

    Raises
    ------
    AssetError
        When the annotations cannot be read.
    """
    named: dict[str, set[str]] = {}
    there: dict[str, set[str]] = {}
    places: set[str] = set()
    for split, paths in splits_of(found).items():
        kind = kind_of(found, split)
        if kind in OF_NAMES:
            continue  # what is there is all that is named
        table = opened(found.store, of_files(found, required, split, paths, kind, trusted))
        fields = [field for field in table.shape.fields if field.is_media]
        try:
            media = media_of(found, required, split, None, check=False)
        except AssetError:
            media = None  # no folder of them, or an archive that cannot be read: none is there
        for field in fields:
            stems = table.distinct(field.name)
            named.setdefault(field.kind, set()).update(stems)
            if media is not None and field.kind == "features":
                there.setdefault(field.kind, set()).update(whole(media, stems))
                places |= _places(media, [name for stem in stems for name in names_of(stem, flow=False)])
            elif media is not None:
                left = stems
                for suffix in field.suffixes:
                    present = media.present([stem + suffix for stem in left])
                    there.setdefault(field.kind, set()).update(stem for stem in left if stem + suffix in present)
                    left = [stem for stem in left if stem + suffix not in present]
                places |= _places(media, stems)
    counts = [
        (kind if kind == "features" else f"{kind}s", len(stems), len(there.get(kind, ())))
        for kind, stems in named.items()
    ]
    return counts, places


def _places(media: Media, names: Iterable[str]) -> set[str]:
    if isinstance(media, Archives):
        return {archive.path for archive in media.archives}
    if isinstance(media, Below):
        return _places(media.media, names)
    if isinstance(media, Overlay):
        return {place for layer in media.layers for place in _places(layer, names)}
    places = set()
    if isinstance(media, Folder):
        for folder, name in {os.path.dirname(name): name for name in names}.items():
            path = media.shown(name)
            places.add(os.path.join(media.folder, folder))
            # A snapshot's names are links; what they lead to may go while they stay.
            places.add(os.path.dirname(os.path.realpath(path)))
    return places
