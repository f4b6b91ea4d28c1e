"""Media in webdataset shards: the asset's own index leads from a name in the annotation to bytes in a tar."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

import msgspec

from assetmgr.archives.places import PLAIN
from assetmgr.datasets.annotations import Annotation
from assetmgr.datasets.archived import SHAPE, Archives, Packed, archived
from assetmgr.datasets.index import Index, sorted_rows
from assetmgr.datasets.listed import Owner
from assetmgr.datasets.prepared import Recipe, Rows, opened
from assetmgr.digests import hash_file
from assetmgr.errors import IntegrityError, UsageError
from assetmgr.receipt import Stamp
from assetmgr.store import Layout
from assetmgr.verify import Installed

INDEX = "index.json"
VERSION = 1
# Shard, member, offset and size.
_Place = tuple[str, str, int, int]


class _Index(msgspec.Struct):
    images: dict[str, _Place]


def shards(asset: Installed, *, check: bool) -> Archives:
    """The media of a `url_list` asset.

    Raises
    ------
    IntegrityError
        When its index cannot be read, or is none.
    """
    folder, owner = asset.folder, Owner.of(asset)
    files = {os.path.basename(file.path): (number, file) for number, file in enumerate(asset.files)}
    tars = sorted(name for name in files if name.endswith(".tar"))
    numbers = {name: number for number, name in enumerate(tars)}
    path = os.path.join(folder, INDEX)
    mend = f"assetmgr verify {asset.name} --full --repair"

    def reading(_: Sequence[Annotation]) -> Rows:
        try:
            with open(path, "rb") as file:
                places = msgspec.json.decode(file.read(), type=_Index).images
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise IntegrityError(f"{asset.name}: {path}: not an index of shards: {error}", mend=mend) from None

        def rows() -> Iterator[Sequence[object]]:
            for name, (shard, member, offset, size) in places.items():
                number = numbers.get(os.path.basename(shard))
                if number is None:
                    raise IntegrityError(f"{asset.name}: {path}: there is no shard {shard!r}", mend=mend)
                yield name, number, member, size, size, None, PLAIN, offset, offset + size, "", 0

        return sorted_rows(SHAPE, rows())

    try:
        known = files[INDEX][1].sha256 if INDEX in files else hash_file(path)[1]["sha256"]
        packed = [
            Packed(os.path.join(folder, name), "", files[name][1].sha256 or "", owner, files[name][0]) for name in tars
        ]
        stamps = tuple(Stamp.of(os.stat(archive.path)) for archive in packed) if check else ()
    except OSError as error:
        raise IntegrityError(f"{asset.name}: {error.filename}: {error.strerror}", mend=mend) from None
    annotation = Annotation(asset.name, "media", path, known or "")
    recipe = Recipe(asset.name, "media", (annotation,), f"shards {VERSION} {' '.join(tars)}", reading)
    return Archives(packed, Index(opened(asset.store, recipe)), "", stamps, asset.name)


def whole_shards(found: Installed, named: Sequence[str], own: Sequence[str] | None, *, check: bool) -> Archives:
    """Shards with all that is in them: members are named ``SHARD.tar/MEMBER``, in the shards' order.

    Parameters
    ----------
    named
        Which of the asset's files, by patterns such as ``*.tar``.
    own
        Shards of the user's own, or folders of them, in place of the asset's.

    Raises
    ------
    UsageError
        When there is none.
    IntegrityError
        When one is damaged.
    """
    if own is None:
        layout = Layout(found.entry)
        packed = [
            Packed(found.store.at(layout.name(file)), "", file.sha256 or "", Owner.of(found), number)
            for number, file in enumerate(found.files)
            if file.path.endswith(".tar") and any(fnmatchcase(file.path, one) for one in named)
        ]
    else:
        packed = [Packed(path) for one in own for path in _tars(os.path.abspath(os.path.expanduser(one)))]
    if not packed:
        where = ", ".join(named if own is None else own)
        raise UsageError(
            f"{found.name}: no shard (*.tar) is in {where}",
            mend=f"correct `splits:` of {found.name} in the manifest, or give vis_path a folder of shards",
        )
    packed.sort(key=lambda shard: shard.path)
    above = os.path.commonpath([os.path.dirname(shard.path) for shard in packed])
    packed = [shard._replace(base=f"{os.path.relpath(shard.path, above)}/".replace(os.sep, "/")) for shard in packed]
    try:
        return archived(found.store, found.name, packed, check=check)
    except OSError as error:
        mend = f"assetmgr verify {found.name} --full --repair"
        raise IntegrityError(f"{found.name}: {error.filename}: {error.strerror}", mend=mend) from None


def _tars(path: str) -> list[str]:
    """A shard, or the shards in a folder."""
    if not os.path.isdir(path):
        return [path] if os.path.isfile(path) else []
    return [os.path.join(path, name) for name in os.listdir(path) if name.endswith(".tar")]
