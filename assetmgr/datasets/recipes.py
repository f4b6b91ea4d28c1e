"""How a split of an asset is read: by which reader, from which files, or from the names of its media alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from assetmgr.datasets.annotations import Annotation
from assetmgr.datasets.archived import Archives
from assetmgr.datasets.media import Media
from assetmgr.datasets.places import Prove, annotations_of
from assetmgr.datasets.prepared import Recipe
from assetmgr.datasets.readers import OF_NAMES, READERS, image_folder, webdataset
from assetmgr.errors import IntegrityError, UsageError
from assetmgr.verify import Installed


def kind_of(found: Installed, split: str) -> str:
    """The reader's name that the manifest gives for a split.

    Raises
    ------
    UsageError
        When it gives none, or one that there is not.
    """
    samples = found.use.get("samples")
    if samples is not None and not isinstance(samples, str):
        samples = samples.get(split)
    words = (*READERS, *OF_NAMES)
    if samples in words:
        return str(samples)
    what = f"does not say what the samples of {split} are" if samples is None else f"asks for samples {samples!r}"
    raise UsageError(
        f"{found.name}: its manifest {what}",
        mend=f"give {found.name} one of `samples: {' | '.join(words)}` in the manifest, for all splits or for each",
    )


def of_files(
    found: Installed, required: Sequence[Installed], split: str, named: Sequence[str], kind: str, prove: Prove
) -> Recipe:
    """How a split is read from its annotations. Raises as `annotations_of` does."""
    reader = READERS[kind]
    files = annotations_of(found, split, named, prove)
    for name in reader.beside:
        holder = next((other for other in required if any(file.path == name for file in other.files)), None)
        if holder is None:
            raise UsageError(
                f"{found.name}: samples {kind!r} are read with {name}, and no asset that it requires has that file",
                mend=f"add gpt2 to `requires:` of {found.name} in the manifest",
            )
        files += annotations_of(holder, split, [name], prove)
    return Recipe(found.name, split, files, f"{reader.name} {reader.version}", reader.read)


def of_names(found: Installed, split: str, named: Sequence[str], media: Media) -> Recipe:
    """How a split is read from the names of its media; its files are folders of theirs.

    Raises
    ------
    IntegrityError
        When there is no image in a folder of a class.
    """
    folders = [(folder, image_folder.ordered(media.names(), folder)) for folder in named]
    for folder, names in folders:
        if not names:
            raise IntegrityError(
                f"{found.name}, split {split}: no image in a folder of a class below {media.shown(folder)}",
                mend=f"assetmgr verify {found.name} --repair"
                if media.owner
                else f"give vis_path the folder that has {folder!r}, or correct `splits:` of {found.name}",
            )
    folder, names = folders[0]
    told = hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()
    reader = f"image_folder {image_folder.VERSION} {folder} {told}"
    return Recipe(found.name, split, (), reader, lambda _: image_folder.rows(names, folder))


def of_shards(found: Installed, split: str, media: Archives) -> Recipe:
    """How a split is read from the rows that its shards have."""
    files = tuple(Annotation(found.name, split, shard.path, shard.identity()) for shard in media.archives)
    reader = f"webdataset {webdataset.VERSION} {' '.join(shard.base for shard in media.archives)}"
    return Recipe(found.name, split, files, reader, lambda _: webdataset.read(media, found.name))
