"""Where an asset's annotations and images stand in the store."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Sequence

from assetmgr.archives.places import COMPRESSED, SUFFIXES
from assetmgr.datasets.annotations import Annotation
from assetmgr.datasets.archived import Archives, Packed, archived
from assetmgr.datasets.listed import Owner, listed_below
from assetmgr.datasets.media import Below, Folder, Media, Overlay
from assetmgr.datasets.shards import shards, whole_shards
from assetmgr.errors import UsageError
from assetmgr.lock import LockedFile
from assetmgr.manifest_reader import nearest
from assetmgr.names import check_path
from assetmgr.store import Layout, Store
from assetmgr.verify import Installed

# A folder or an archive of the user's own, or several, of which the first that has a medium is meant.
VisPath = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
# Proves files of an asset, which are about to be read; raises where one is not what the lock says.
Prove = Callable[[Installed, Sequence[LockedFile]], None]


def trusted(asset: Installed, files: Sequence[LockedFile]) -> None:
    """Prove nothing: for who has proved them, or trusts."""


def annotations_of(
    found: Installed, split: str, named: Sequence[str], prove: Prove = trusted
) -> tuple[Annotation, ...]:
    """A split's files: each is the asset's file of that name, or whose path ends with it.

    Raises
    ------
    UsageError
        When the asset has no such file, or several.
    IntegrityError
        When ``prove`` finds that one is not what the lock says.
    """
    layout = Layout(found.entry)
    own = {layout.name(file): file for file in found.entry.files if file.is_placed}
    if not all(any(file.path == name for file in own.values()) for name in named):
        own = {layout.name(file): file for file in found.files}  # with the members of its archives
    files, annotations = own, []
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
        prove(found, [files[matches[0]]])
        path, digest = found.store.at(matches[0]), files[matches[0]].sha256
        annotations.append(Annotation(found.name, split, path, digest or ""))
    return tuple(annotations)


def media_of(
    found: Installed,
    required: Sequence[Installed],
    split: str,
    vis_path: VisPath | None,
    *,
    check: bool = True,
    prove: Prove = trusted,
) -> Media:
    """Where a split's media are.

    That is ``vis_path``; else the manifest's ``media``: a folder of the store above one that a required asset fills,
    or one in the asset, or in the first required one that has such a folder; without ``media``, the folder of a
    required asset, or the asset's own where it requires none. Archives that stay packed count as if they were unpacked
    where they lie, and ``media`` may name one.

    Parameters
    ----------
    check
        Whether media are checked against what their assets list, when they are touched.
    prove
        Called with the archives before one is read.

    Raises
    ------
    UsageError
        When there is no such folder.
    IntegrityError
        When an archive is damaged.
    """
    if vis_path is not None:
        return _own(found, vis_path)
    named = _named(found, split)
    if named is not None:
        sources: Sequence[Installed] = (found, *required)
        looked = _above(named, required)
        looked += [(_under(root, named), asset) for asset in sources for root in _roots(asset)]
    else:
        sources = [other for other in required if other.entry.kind == "dataset"] or [found]
        if layers := [_shards(other, check, prove) for other in sources if other.entry.origin == "url_list"]:
            return layers[0] if len(layers) == 1 else Overlay(layers)
        looked = [(_under(root, _named(other, split) or "."), other) for other in sources for root in _roots(other)]
    for folder, asset in looked:
        if media := _at(found, sources, folder, asset, check=check, prove=prove):
            return media
    raise UsageError(
        f"{found.name}, split {split}: no folder of images: {', '.join(folder for folder, _ in looked)}",
        mend=f"correct `media:` of {found.name} in the manifest, let its patterns include the images, or pass vis_path",
    )


def shards_of(
    found: Installed,
    named: Sequence[str],
    vis_path: VisPath | None,
    *,
    check: bool = True,
    prove: Prove = trusted,
) -> Archives:
    """The shards of a split whose samples are in them: those of ``vis_path``, else the asset's own."""
    if vis_path is None:
        prove(found, found.files)
        return whole_shards(found, named, None, check=check)
    paths = [vis_path] if isinstance(vis_path, str | os.PathLike) else vis_path
    if not paths or not all(map(os.fspath, paths)):
        raise UsageError("vis_path is empty", mend=f"leave it out to use the shards of {found.name}")
    return whole_shards(found, named, [os.fspath(path) for path in paths], check=True)


def _shards(asset: Installed, check: bool, prove: Prove) -> Media:
    """The images of a list: as it names them, or below the last folder of their place (``val/`` of ``shards/val``)."""
    prove(asset, asset.files)
    found = shards(asset, check=check)
    return Below(found, posixpath.basename(asset.folder.replace(os.sep, "/")))


def _above(named: str, required: Sequence[Installed]) -> list[tuple[str, Installed]]:
    """The folder itself, where it is one of the store (``lavis/...``) in which a required asset fills another."""
    filled = [
        (asset, file.extract.place if file.extract else file.place) for asset in required for file in asset.entry.files
    ]
    owners = {asset.name: asset for asset, place in filled if place.startswith(f"{named}/")}
    return [(asset.store.at(named), asset) for asset in owners.values()]


def _own(found: Installed, vis_path: VisPath) -> Media:
    """Folders and archives of the user's own, in order. Nothing lists what is in them."""
    layers: list[Media] = []
    archives: list[Packed] = []
    for one in [vis_path] if isinstance(vis_path, str | os.PathLike) else vis_path:
        if not os.fspath(one):
            raise UsageError("vis_path is empty", mend=f"leave it out to use the images of {found.name}")
        path = os.path.abspath(os.path.expanduser(one))
        if os.path.isfile(path):
            archives.append(Packed(path))
            continue
        if not os.path.isdir(path):
            raise UsageError(
                f"vis_path {os.fspath(one)!r} is not a folder, a zip or a tar that is there",
                mend=f"leave it out to use the images of {found.name}",
            )
        if archives:
            layers.append(archived(found.store, found.name, archives, check=True))
            archives = []
        layers.append(Folder(path, None))
    if archives:
        layers.append(archived(found.store, found.name, archives, check=True))
    if not layers:
        raise UsageError("vis_path names nothing", mend=f"leave it out to use the images of {found.name}")
    return layers[0] if len(layers) == 1 else Overlay(layers)


def _at(
    found: Installed, sources: Sequence[Installed], folder: str, asset: Installed, *, check: bool, prove: Prove
) -> Media | None:
    """The media at a folder: files that are there, and what archives would put there; None where there is nothing."""
    packed: list[Packed] = []
    is_folder = os.path.isdir(folder)
    for source in _each_once(asset, sources):
        files = [(number, file) for number, file in _archives(source) if _belongs(source, file, folder, is_folder)]
        if not files:
            continue
        prove(source, [file for _, file in files])
        packed += [_packed(source, number, file, folder) for number, file in files]
    layers: list[Media] = []
    if packed:
        media = archived(found.store, asset.name, packed, check=check)
        if not os.path.isfile(folder):  # else it is the archive itself that is meant
            media.prefix = f"{_relative(found.store, folder)}/".removeprefix("./")
        if media.index.has_folder(media.prefix.rstrip("/")):
            layers.append(media)
    if is_folder:
        listed = [listed_below(source, folder) for source in _each_once(asset, sources)] if check else []
        layers.append(Folder(folder, asset.name, [each for each in listed if each]))
    if not layers:
        return None
    return layers[0] if len(layers) == 1 else Overlay(layers)


def _each_once(asset: Installed, others: Sequence[Installed]) -> list[Installed]:
    return [asset, *(other for other in others if other is not asset)]


def _archives(asset: Installed) -> list[tuple[int, LockedFile]]:
    """The archives of an asset that stay packed, each with its place in the asset's contents."""
    placed = enumerate(file for file in asset.entry.files if file.is_placed)
    return [each for each in placed if each[1].extract is None and each[1].path.lower().endswith(SUFFIXES + COMPRESSED)]


def _belongs(asset: Installed, file: LockedFile, folder: str, is_folder: bool) -> bool:
    """Whether an archive has media for a folder: the one that is meant, or one that lies there or above."""
    path = asset.store.at(Layout(asset.entry).name(file))
    if path == folder:
        return True
    lies = os.path.dirname(path)
    near = lies == folder if is_folder else folder.startswith(lies + os.sep)
    if file.path.lower().endswith(COMPRESSED):
        # Beside other files it may be anything; alone it can only be the media, and that it cannot be read is told.
        return near and len(_archives(asset)) == len(asset.entry.files)
    return near


def _packed(asset: Installed, number: int, file: LockedFile, folder: str) -> Packed:
    name = Layout(asset.entry).name(file)
    path = asset.store.at(name)
    base = "" if path == folder else f"{name.rpartition('/')[0]}/"
    return Packed(path, base, file.sha256 or "", Owner.of(asset), number)


def _relative(store: Store, folder: str) -> str:
    return os.path.relpath(folder, store.root).replace(os.sep, "/")


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
