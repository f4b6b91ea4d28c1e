"""load_dataset: readers of annotations, and map-style datasets whose images are decoded when they are asked for."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NoReturn

from assetmgr.datasets.dataset import Dataset, Sample
from assetmgr.datasets.media import Folder, Media
from assetmgr.datasets.places import Prove, VisPath, media_of, shards_of, trusted
from assetmgr.datasets.prepared import opened
from assetmgr.datasets.provenance import Provenance
from assetmgr.datasets.readers import OF_NAMES, READERS, SHARDS
from assetmgr.datasets.recipes import kind_of, of_files, of_names, of_shards
from assetmgr.datasets.splits import Splits, unknown_split
from assetmgr.errors import MissingExtraError, UsageError
from assetmgr.verify import Installed

__all__ = ["Dataset", "Missing", "Splits", "VisPath", "load", "splits_of", "trusted"]

Missing = Literal["defer", "error", "skip"]

# Of so many missing media the mend is looked for.
_TRIED = 1000


def load(
    found: Installed,
    required: Sequence[Installed] = (),
    *,
    split: str | None = None,
    vis_path: VisPath | None = None,
    missing: Missing = "defer",
    check: bool = True,
    prove: Prove = trusted,
    transform: Callable[[Sample], Any] | None = None,
    config_name: str | None = None,
) -> dict[str, Dataset] | Dataset:
    """Open a proved dataset.

    Parameters
    ----------
    found
        The dataset.
    required
        The assets that it requires; where it has no images of its own, theirs are used.
    split
        One split's name: that dataset alone is returned.
    vis_path
        A folder of images to use in place of the asset's own, or a zip or a tar of them; several are looked into in
        order.
    missing
        What to do about images that are not there: ``defer`` raises at the sample, ``error`` before the first sample,
        ``skip`` leaves those rows out.
    transform
        A function that each sample is passed through.
    config_name
        Of a hub dataset without ``splits:`` in its manifest: which of its configurations.

    Raises
    ------
    UsageError
        When the manifest does not say what the splits are or how to read them, or there is no such split or folder.
    IntegrityError
        When an annotation file is not what its reader reads, or, with ``missing="error"``, when images are missing.
    MissingExtraError
        When Pillow is not installed.
    """
    if split is not None and not isinstance(split, str):
        raise UsageError(f"split={split!r} is not the name of one split", mend="leave it out to have all")
    if missing not in ("defer", "error", "skip"):
        raise UsageError(f"missing={missing!r} is not one of 'defer', 'error', 'skip'")
    for module, what in (("PIL", "Pillow, which decodes its images,"), ("pyarrow", "pyarrow, which holds its rows,")):
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError(f"{found.name}: {what} is not installed", mend="pip install 'assetmgr[datasets]'")
    if found.entry.origin == "hub" and not found.use.keys() & {"splits", "samples"}:
        opened = _of_the_hub(found, config_name, vis_path, prove)
    elif config_name is not None:
        raise UsageError(f"{found.name} has no configurations: its manifest says what its splits are")
    else:
        splits = splits_of(found)
        if split is not None:
            splits = {split: splits[split]} if split in splits else _refuse_split(found.name, split, splits)
        opened = {
            name: _open(found, required, name, paths, vis_path, missing, check, prove) for name, paths in splits.items()
        }
    opened = {name: one.with_transform(transform) for name, one in opened.items()}
    if split is None:
        return Splits(found.name, opened)
    return opened[split] if split in opened else _refuse_split(found.name, split, opened)


def _refuse_split(name: str, split: str, known: Mapping[str, object]) -> NoReturn:
    raise unknown_split(name, split, known)


def _of_the_hub(
    found: Installed, config_name: str | None, vis_path: VisPath | None, prove: Prove
) -> dict[str, Dataset]:
    """The splits as the `datasets` library has them."""
    if vis_path is not None:
        raise UsageError(
            f"{found.name}: vis_path is for datasets whose manifest says `splits:` and `samples:`", mend="leave it out"
        )
    from assetmgr.datasets.hub_prepared import hub_splits

    prove(found, found.files)
    media = Folder(found.folder, found.name)
    return {
        name: Dataset(found.name, name, split.data_files, media, split.table, Provenance.of(found))
        for name, split in hub_splits(found, config_name).items()
    }


def splits_of(found: Installed) -> dict[str, list[str]]:
    """The files of each split, as the manifest names them.

    Raises
    ------
    UsageError
        When it does not say.
    """
    splits = found.use.get("splits")
    if not splits:
        raise UsageError(
            f"{found.name}: its manifest does not say which files its splits are",
            mend=f"add `splits: {{train: FILE.json}}` and `samples: {' | '.join(READERS)}` to {found.name} "
            "in the manifest",
        )
    return {name: [paths] if isinstance(paths, str) else list(paths) for name, paths in splits.items()}


def _open(
    found: Installed,
    required: Sequence[Installed],
    split: str,
    named: Sequence[str],
    vis_path: VisPath | None,
    missing: Missing,
    check: bool,
    prove: Prove,
) -> Dataset:
    kind = kind_of(found, split)
    media: Media
    if kind == SHARDS:
        media = shards_of(found, named, vis_path, check=check, prove=prove)
        recipe = of_shards(found, split, media)
    elif kind in OF_NAMES:
        media = media_of(found, required, split, vis_path, check=check, prove=prove)
        recipe = of_names(found, split, named, media)
    else:
        recipe = of_files(found, required, split, named, kind, prove)
        media = media_of(found, required, split, vis_path, check=check, prove=prove)
    table = opened(found.store, recipe)
    dataset = Dataset(
        found.name,
        split,
        [file.path for file in recipe.files if file.asset == found.name],
        media,
        table,
        Provenance.of(found),
    )
    return dataset if missing == "defer" else _without(dataset, missing)


def _without(dataset: Dataset, missing: Missing) -> Dataset:
    """The dataset once the media that are not there are dealt with."""
    absent = dataset.absent()
    if not absent:
        return dataset
    if missing == "skip":
        return dataset.without(absent)
    told, tried = [], []
    for column, stems in absent.items():
        suffixes = dataset.table.shape.named(column).suffixes
        told += [stem + "|".join(suffixes) for stem in stems]
        tried += [stem + suffixes[0] for stem in stems]
    several = sum(len(dataset.table.distinct(column)) for column in absent)
    shown = ", ".join(told[:5]) + (", ..." if len(told) > 5 else "")
    what = f"{len(told)} of {several} images are missing from {dataset.media.where}: {shown}"
    # One that can be had again goes before those that the asset never had.
    mended = (name for name in tried[:_TRIED] if (dataset.media.mend(name) or "").startswith("assetmgr verify"))
    raise dataset.fault(what, next(mended, tried[0]))
