"""Our rows as an object of the Hugging Face `datasets` library, on the same mapped memory.

The library is imported here and in `assetmgr.datasets.hub_worker`, nowhere else.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from assetmgr.datasets.hub_table import HubTable
from assetmgr.datasets.media import Folder, named
from assetmgr.errors import MissingExtraError
from assetmgr.placing import link, make_folder
from assetmgr.store import user_cache

if TYPE_CHECKING:
    from assetmgr.datasets.dataset import Dataset


def check_library(name: str, what: str) -> None:
    """Raise `MissingExtraError` where the library is not installed; ``what`` is what it would do."""
    if importlib.util.find_spec("datasets") is None:
        raise MissingExtraError(
            f"{name}: the datasets library, which {what}, is not installed",
            mend="pip install 'assetmgr[hub-datasets]'",
        )


def decoder(features: Mapping[str, Any]) -> Callable[[str, Any], Any]:
    """The library's decoding of a column's values; ``features`` are as it writes them into a file's schema."""
    import datasets

    known = datasets.Features.from_dict(dict(features))
    return lambda name, value: known.decode_example({name: value})[name]


def to_hf(dataset: Dataset) -> Any:
    """See `Dataset.to_hf`."""
    check_library(dataset.name, "has these objects")
    import datasets

    if isinstance(dataset.table, HubTable):
        paths = [_beside_which_to_write(path) for path in dataset.table.paths]
        whole = datasets.concatenate_datasets([datasets.Dataset.from_file(path) for path in paths])
        return whole.select_columns(list(dataset.columns))
    files = {field.name for field in dataset.fields if field.kind == "image" and isinstance(dataset.media, Folder)}
    table = _table(dataset, files)
    features = datasets.Features.from_arrow_schema(table.schema)
    features = datasets.Features(
        {name: datasets.Image(mode="RGB") if name in files else features[name] for name in features}
    )
    try:
        split = datasets.NamedSplit(dataset.split)
    except ValueError:
        split = None  # a name that the library does not take
    told = [dataset.name, dataset.split, dataset.table.path, dataset.media.where, dataset.columns]
    made = datasets.Dataset(
        table,
        datasets.DatasetInfo(features=features, dataset_name=dataset.name),
        split,
        fingerprint=hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:16],
    )
    rest = tuple(f for f in dataset.fields if f.name not in files and (f.is_media or f.kind in ("json", "place")))
    if rest:
        made = made.with_transform(_Decoding(dataset, tuple(field.name for field in rest)))
    return made if dataset.rows is None else made.select(dataset.rows)


def _table(dataset: Dataset, files: set[str]) -> Any:
    """The mapped file's columns, in order; those of image files, which the library wants by their paths, beside it."""
    import datasets.table as library
    import pyarrow as pa

    rows, path = dataset.table.arrow(), dataset.table.path
    # Pickled, a mapped table is its path.
    whole = (
        library.InMemoryTable(rows) if path is None else library.MemoryMappedTable(rows, _beside_which_to_write(path))
    )
    blocks = []
    for in_files, names in itertools.groupby(dataset.columns, lambda name: name in files):
        if in_files:
            columns = {name: _paths(dataset, name) for name in names}
            blocks.append(library.InMemoryTable(pa.table(columns)))
        else:
            blocks.append(whole.select(list(names)))
    return library.concat_tables(blocks, axis=1) if len(blocks) > 1 else blocks[0]


def _beside_which_to_write(path: str) -> str:
    """The file, or a link to it from the user's cache: the library keeps what `map` and `filter` make beside it."""
    if os.access(os.path.dirname(path), os.W_OK):
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    name = os.path.join(user_cache(), "prepared", "linked", digest, os.path.basename(path))
    make_folder(os.path.dirname(name))
    link(path, name, "symlink")
    return name


def _paths(dataset: Dataset, name: str) -> Any:
    """A column of names of images as the library has them: no bytes, and the path of the file."""
    import pyarrow as pa
    import pyarrow.compute as compute

    field, column = dataset.table.shape.named(name), dataset.table.arrow([name]).column(name)
    if field.suffixes == ("",):
        start = pa.scalar(dataset.media.shown(""))
        paths = compute.binary_join_element_wise(start, column, "")
    else:
        coded = column.combine_chunks().dictionary_encode()
        known = [dataset.media.shown(named(dataset.media, s, field.suffixes)) for s in coded.dictionary.to_pylist()]
        paths = pa.chunked_array([pa.array(known, pa.string()).take(coded.indices)], pa.string())
    chunks = [
        pa.StructArray.from_arrays([pa.nulls(len(chunk), pa.binary()), chunk], ["bytes", "path"])
        for chunk in paths.chunks
    ]
    return pa.chunked_array(chunks, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


class _Decoding:
    """The library's transform: it makes of a batch of what a table holds what a sample holds."""

    def __init__(self, dataset: Dataset, names: tuple[str, ...]) -> None:
        self._dataset, self._names = dataset, names

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        decoded = {
            name: [self._dataset.decoded(name, value) for value in batch[name]] for name in self._names if name in batch
        }
        return {**batch, **decoded}
