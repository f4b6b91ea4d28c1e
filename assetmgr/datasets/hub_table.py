"""The rows of a hub dataset's split, as the `datasets` library wrote them: its files, mapped by ourselves.

Reading plain values needs no library; what it calls decodable (images, audio, ...) is decoded by it, one at a time.
"""

from __future__ import annotations

import bisect
import importlib
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from assetmgr.datasets.table import Field, Shape, Table, UndecodableError

# The library's features whose values are what a file holds.
_PLAIN = frozenset({"Value", "ClassLabel", "Translation", "TranslationVariableLanguages"})
_NESTED = frozenset({"Sequence", "List", "LargeList"})


class _Info(msgspec.Struct, frozen=True):
    features: dict[str, Any] = {}


class _Metadata(msgspec.Struct, frozen=True):
    info: _Info = _Info()


def is_coded(feature: Any) -> bool:
    """Whether the library decodes a feature's values, by how it writes the feature down."""
    if isinstance(feature, list):
        return any(is_coded(one) for one in feature)
    if not isinstance(feature, dict):
        return False
    kind = feature.get("_type")
    if not isinstance(kind, str):
        return any(is_coded(one) for one in feature.values())
    if kind in _NESTED:
        return is_coded(feature.get("feature"))
    return kind not in _PLAIN and not kind.startswith("Array") and feature.get("decode") is not False


class HubTable(Table):
    """A split's rows in one or more of the library's files. As `Table`.

    Parameters
    ----------
    paths
        The files, in order.
    folder
        Where the files that a value may name lie; others are not opened.

    Raises
    ------
    OSError, ValueError
        When a file cannot be read, or is not one of these.
    """

    def __init__(self, paths: Sequence[str], folder: str) -> None:
        import pyarrow as pa

        self.paths, self.folder = tuple(paths), folder
        self._batches, self._starts, self._count = [], [], 0
        try:
            for path in self.paths:
                reader = pa.ipc.open_stream(pa.memory_map(path))
                self._schema = reader.schema
                for batch in reader:
                    if batch.num_rows:
                        self._batches.append(batch)
                        self._starts.append(self._count)
                        self._count += batch.num_rows
        except pa.ArrowException as error:
            raise ValueError(str(error)) from None
        self._table: Any = pa.Table.from_batches(self._batches, self._schema)
        told = (self._schema.metadata or {}).get(b"huggingface", b"{}")
        self._features: Mapping[str, Any] = msgspec.json.decode(told, type=_Metadata).info.features
        self._coded = frozenset(name for name, feature in self._features.items() if is_coded(feature))
        self._decode: Callable[[str, Any], Any] | None = None
        self.shape = Shape(tuple(Field(name) for name in self._schema.names))

    def __reduce__(self) -> tuple[object, ...]:
        return HubTable, (self.paths, self.folder)

    @property
    def path(self) -> str | None:
        return self.paths[0] if len(self.paths) == 1 else None

    @property
    def coded(self) -> frozenset[str]:
        return self._coded

    def arrow(self, names: Sequence[str] | None = None) -> Any:
        return self._table if names is None else self._table.select(list(names))

    def _place(self, number: int) -> tuple[int, int]:
        at = bisect.bisect_right(self._starts, number) - 1
        return at, number - self._starts[at]

    def decode(self, name: str, value: Any) -> Any:
        if value is None:
            return None
        for path in _files_of(value):
            if not self._is_ours(path):
                raise UndecodableError(f"{path}: not a file of this dataset, and so it is not opened")
        if self._decode is None:
            self._decode = importlib.import_module("assetmgr.datasets.hub_object").decoder(self._features)
        try:
            return self._decode(name, value)
        except FileNotFoundError as error:
            raise UndecodableError(f"{error.filename or _shown(value)}: no such file") from None
        except ImportError as error:
            raise UndecodableError(f"{_shown(value)}: its decoder is not installed: {error}") from None
        # What decoders raise over bytes that are not what they should be.
        except (OSError, SyntaxError, ValueError, TypeError, LookupError, RuntimeError, struct.error) as error:
            raise UndecodableError(f"{_shown(value)}: cannot be decoded: {error}") from None

    def _is_ours(self, path: str) -> bool:
        folders = {os.path.abspath(self.folder), os.path.realpath(self.folder)}
        return os.path.isabs(path) and any(os.path.normpath(path).startswith(f"{one}{os.sep}") for one in folders)


def _files_of(value: Any) -> list[str]:
    """The files that a coded value would have opened: paths and addresses without the bytes themselves."""
    if isinstance(value, list):
        return [path for one in value for path in _files_of(one)]
    if not isinstance(value, dict):
        return []
    if value.keys() == {"bytes", "path"}:
        return [] if value["bytes"] is not None or value["path"] is None else [value["path"]]
    return [path for one in value.values() for path in _files_of(one)]


def _shown(value: Any) -> str:
    """What is told of a coded value: the name that it has."""
    name = value.get("path") if isinstance(value, dict) else None
    return str(name) if name else "its value"
