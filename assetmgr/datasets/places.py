"""Where an asset's annotations and images stand in the store."""

from __future__ import annotations

import os
from collections.abc import Sequence

from assetmgr.datasets.annotations import Annotation
from assetmgr.datasets.media import Folder
from assetmgr.datasets.shards import Shards
from assetmgr.errors import UsageError
from assetmgr.manifest_reader import nearest
from assetmgr.names import check_path
from assetmgr.store import Layout
from assetmgr.verify import Installed


def annotations_of(found: Installed, split: str, named: Sequence[str]) -> tuple[Annotation, ...]:
    """A split's files: each is the asset's file of that name, or whose path ends with it.

    Raises
    ------
    UsageError
        When the asset has no such file, or several.
    """
    layout = Layout(found.entry)
    files = {layout.name(file): file for file in found.files}
    annotations = []
    for name in named:
        matches = [place for place, file in files.items() if file.path == name]
        matches = matches or [place for place in files if place.endswith(f"/{name}")]
        if len(matches) != 1:
            known = nearest(name, [file.path for file in files.values()])
            what = (
                f"has {len(matches)} files {name!r}: {', '.join(matches)}"
                if matches
                else f"has no file {name!r}{known}"
            )
            raise UsageError(
                f"{found.name}: a split names a file, and the asset {what}",
                mend=f"correct `splits:` of {found.name} in the manifest, or let its patterns include the file",
            )
        path, digest = found.store.at(matches[0]), files[matches[0]].sha256
        annotations.append(Annotation(found.name, split, path, digest or ""))
    return tuple(annotations)


def media_of(
    found: Installed, required: Sequence[Installed], split: str, vis_path: str | os.PathLike[str] | None
) -> Folder | Shards:
    """The folder of a split's images, or the shards that they are in.

    That is ``vis_path``; else the manifest's ``media``: a folder of the store above one that a required asset fills,
    or one in the asset, or in the first required one that has such a folder; without ``media``, the folder of a
    required asset, or the asset's own where it requires none.

    Raises
    ------
    UsageError
        When there is no such folder.
    """
    if vis_path is not None:
        folder = os.path.abspath(os.path.expanduser(vis_path))
        if not os.path.isdir(folder):
            raise UsageError(
                f"vis_path {os.fspath(vis_path)!r} is not a folder",
                mend=f"leave it out to use the images of {found.name}",
            )
        return Folder(folder, None)
    named = _named(found, split)
    if named is not None:
        looked = _above(named, required)
        looked += [Folder(_under(root, named), asset.name) for asset in (found, *required) for root in _roots(asset)]
    else:
        sources = [other for other in required if other.entry.kind == "dataset"] or [found]
        for other in sources:
            if other.entry.origin == "url_list":
                return Shards(other.folder, other.name)
        looked = [
            Folder(_under(root, _named(other, split) or "."), other.name) for other in sources for root in _roots(other)
        ]
    for media in looked:
        if os.path.isdir(media.folder):
            return media
    raise UsageError(
        f"{found.name}, split {split}: no folder of images: {', '.join(media.folder for media in looked)}",
        mend=f"correct `media:` of {found.name} in the manifest, let its patterns include the images, or pass vis_path",
    )


def _above(named: str, required: Sequence[Installed]) -> list[Folder]:
    """The folder itself, where it is one of the store (``lavis/...``) in which a required asset fills another."""
    places = [
        (asset, file.extract.place if file.extract else file.place) for asset in required for file in asset.entry.files
    ]
    owners = dict.fromkeys(asset.name for asset, place in places if place.startswith(f"{named}/"))
    return [Folder(asset.store.at(named), asset.name) for asset in required if asset.name in owners]


def _named(asset: Installed, split: str) -> str | None:
    """What an asset's ``media`` says for a split: a folder, or None."""
    media = asset.use.get("media")
    if media is None or isinstance(media, str):
        return media
    folder = media.get(split)
    return None if folder is None else str(folder)


def _under(root: str, folder: str) -> str:
    return root if folder == "." else os.path.join(root, check_path(folder, "media folder"))


def _roots(asset: Installed) -> list[str]:
    """Where an asset's relative folders begin: its snapshot, or each place that its files go to."""
    if asset.entry.origin == "hub":
        return [asset.folder]
    layout = Layout(asset.entry)
    files = asset.entry.files
    places = dict.fromkeys(file.extract.place if file.extract else file.place for file in files)
    return [asset.store.at(layout.prefix(place).rstrip("/")) for place in places]
