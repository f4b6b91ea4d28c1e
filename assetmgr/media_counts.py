"""How many of the media that a dataset's annotations name are present, as `show` and `status` tell it.

A count is kept under ``prepared/counts/`` with what the folders and archives of the media were then: while these are
as they were, nothing came or went, and `status` counts nothing.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from assetmgr.digests import sha256_text
from assetmgr.errors import AssetError
from assetmgr.inventory_rows import MediaCount
from assetmgr.placing import write_document
from assetmgr.store import Store
from assetmgr.summaries import Version

if TYPE_CHECKING:
    from assetmgr.verify import Installed

_FORMAT = 1
# Bytes of annotations up to which `status` reads them for the first time; of more, `show` and a load do.
_SMALL = 32 << 20

Opening = Callable[[], "tuple[Installed, Sequence[Installed]] | None"]


class _Kept(msgspec.Struct):
    counts: tuple[MediaCount, ...]
    places: dict[str, Version | None]
    format: int = _FORMAT


def media_counts(
    store: Store, name: str, told: Sequence[Any], use: Mapping[str, Any], opening: Opening, *, anew: bool
) -> tuple[MediaCount, ...]:
    """The counts of a dataset, one a kind of media; none where nobody says what its samples are, or can read them.

    Parameters
    ----------
    told
        What else a count is tied to: which entries it is of.
    opening
        Gives the asset and what it requires, when they are needed; None where they cannot be read.
    anew
        Count whatever is known.
    """
    if not use.get("splits") or not use.get("samples"):
        return ()
    tied = [_FORMAT, name, told, [use.get(key) for key in ("splits", "samples", "media")]]
    key = sha256_text(msgspec.json.encode(tied).decode())[:16]
    path = store.at(f"prepared/counts/{quote(name, safe='+')}-{key}.json")
    if not anew and (kept := _kept(path)) is not None:
        return kept
    if importlib.util.find_spec("pyarrow") is None:
        return ()
    assets = opening()
    if assets is None:
        return ()
    found, required = assets
    if not anew and not _is_small(found) and not os.path.isdir(store.at(f"prepared/tables/{quote(name, safe='+')}")):
        return ()
    from assetmgr.datasets.completeness import counted

    try:
        told_counts, places = counted(found, required)
    except (AssetError, OSError):
        return ()  # what is wrong with the annotations, `load_dataset` and `verify` tell
    counts = tuple(MediaCount(*count) for count in told_counts)
    versions = {place: _version(place) for place in places}
    if all(version is None or version.is_settled() for version in versions.values()):
        with contextlib.suppress(OSError, AssetError):
            write_document(path, msgspec.json.encode(_Kept(counts, versions)), sync=False)
    return counts


def _kept(path: str) -> tuple[MediaCount, ...] | None:
    with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
        with open(path, "rb") as file:
            kept = msgspec.json.decode(file.read(), type=_Kept)
        if kept.format == _FORMAT and all(_version(place) == version for place, version in kept.places.items()):
            return kept.counts
    return None


def _version(path: str) -> Version | None:
    try:
        return Version.of(os.stat(path))
    except OSError:
        return None


def _is_small(found: Installed) -> bool:
    splits = found.use.get("splits") or {}
    names = {name for paths in splits.values() for name in ([paths] if isinstance(paths, str) else paths)}
    sizes = [file.size for file in found.entry.files if any(file.path.endswith(name) for name in names)]
    return bool(sizes) and sum(sizes) <= _SMALL
