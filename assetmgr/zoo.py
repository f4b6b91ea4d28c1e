"""LAVIS's two lists, from the catalog: `model_zoo` prints its table, `dataset_zoo` knows its names.

    >>> import assetmgr
    >>> print(assetmgr.model_zoo)                   # doctest: +SKIP
    >>> assetmgr.dataset_zoo.get_names()            # doctest: +SKIP

They have the shape of LAVIS's own objects (``lavis.models.model_zoo``, ``lavis.datasets.builders.dataset_zoo``), and
need neither LAVIS nor torch. A model of your own manifest with ``load: {lavis: ...}`` is in the table too.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from assetmgr.manifest import Asset

_GROUP = "lavis"
_NEWER = "lavis-main"
# LAVIS's table has an architecture without types, which only another is made of: where it stands, and its name.
_AFTER, _PART = "pnp_vqa", "pnp_unifiedqav2_fid"


def _declared(kind: str) -> list[Asset]:
    """The declarations in force: the shipped ones in the order of their manifests, then those of the user alone."""
    from assetmgr.catalog import Catalog, shipped_manifests
    from assetmgr.workspace import Workspace

    shipped = sorted(
        Catalog([], shipped_manifests()), key=lambda asset: (asset.declared_at.file, asset.declared_at.line)
    )
    own = [asset for manifest in Workspace().manifests for asset in manifest.assets]
    found = {asset.name: asset for asset in (*shipped, *own)}
    return [asset for asset in found.values() if asset.kind == kind]


class ModelZoo:
    """The architectures and types that can be had."""

    @cached_property
    def model_zoo(self) -> dict[str, list[str]]:
        """Architecture -> types."""
        table: dict[str, list[str]] = {}
        for asset in _declared("model"):
            lavis: Any = cast("dict[str, Any]", asset.use.get("load", {})).get("lavis")
            if lavis and _NEWER not in asset.groups:
                types = table.setdefault(lavis["name"], [])
                if lavis["model_type"] not in types:
                    types.append(lavis["model_type"])
        rows = [(name, types) for name, types in table.items() if name != _PART]
        at = next((number for number, (name, _) in enumerate(rows, 1) if name == _AFTER), len(rows))
        return dict([*rows[:at], (_PART, table.get(_PART, [])), *rows[at:]])

    def __str__(self) -> str:
        line = "=" * 50
        rows = [f"{name:<30} {', '.join(types)}" for name, types in self]
        return "\n".join([line, f"{'Architectures':<30} Types", line, *rows])

    def __iter__(self) -> Iterator[tuple[str, list[str]]]:
        return iter(self.model_zoo.items())

    def __len__(self) -> int:
        return sum(len(types) for _, types in self)


class DatasetZoo:
    """LAVIS's datasets."""

    @cached_property
    def dataset_zoo(self) -> dict[str, list[str]]:
        """Name -> its forms; ``default`` is the first."""
        table: dict[str, list[str]] = {}
        for asset in sorted(_declared("dataset"), key=lambda asset: asset.name):
            if _GROUP in asset.groups:
                name, _, form = asset.name.partition("/")
                variants: Any = asset.use.get("variants", {})
                table.setdefault(name, []).extend([form or "default", *variants])
        return table

    def get_names(self) -> list[str]:
        """The names, in alphabetical order."""
        return list(self.dataset_zoo)


model_zoo = ModelZoo()
dataset_zoo = DatasetZoo()
