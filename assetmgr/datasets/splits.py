"""What `load_dataset` returns without ``split=``: a dict of split -> dataset, which says what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from assetmgr.datasets.dataset import Dataset
from assetmgr.errors import UnknownSplitError
from assetmgr.manifest_reader import nearest


class Splits(dict[str, Dataset]):
    """The splits of a dataset, by name.

    Attributes
    ----------
    name
        The asset.
    """

    def __init__(self, name: str, splits: Mapping[str, Dataset]) -> None:
        super().__init__(splits)
        self.name = name

    def __missing__(self, split: object) -> NoReturn:
        raise unknown_split(self.name, str(split), self)

    def __reduce__(self) -> tuple[object, ...]:
        return Splits, (self.name, dict(self))

    def __repr__(self) -> str:
        rows = [f"  {split}: {len(one):,} rows of {', '.join(one.columns)}" for split, one in self.items()]
        return "\n".join([f"{self.name}, {len(self)} splits" if len(self) != 1 else f"{self.name}, 1 split", *rows])


def unknown_split(name: str, split: str, known: Mapping[str, object]) -> UnknownSplitError:
    """The error about a split that there is not; a `KeyError` too, as a dict raises."""
    return UnknownSplitError(
        f"{name} has no split {split!r}{nearest(split, known)}", mend=f"its splits are {', '.join(known)}"
    )
