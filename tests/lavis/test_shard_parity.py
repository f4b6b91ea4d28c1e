"""laion2B_multi: load_dataset gives the samples that LAVIS's own pipeline draws from the same shard.

LAVIS draws shards and rows by chance, without end, so that both are compared as sets.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from assetmgr.datasets import Dataset, load
from tests.datasets.stored import store_asset
from tests.datasets.test_webdataset import SHARD, USE
from tests.lavis.telling import said

pytestmark = pytest.mark.lavis


def test_every_sample_of_a_shard_is_one_that_lavis_draws(tmp_path: Path) -> None:
    from assetmgr.models.backends.lavis_files import import_lavis  # which imports torch

    import_lavis("laion2B_multi")
    from lavis.datasets.datasets.laion_dataset import LaionDataset
    from lavis.processors.base_processor import BaseProcessor

    found = store_asset(tmp_path, "laion2B_multi", {"00000.tar": SHARD}, USE, origin="files")
    mine = load(found, split="train")
    location = str(Path(found.folder) / "00000.tar")
    theirs = LaionDataset(BaseProcessor(), BaseProcessor(), location).inner_dataset
    drawn = list(islice(iter(theirs), 40))  # of two: that one is never drawn is one in 2**39
    assert isinstance(mine, Dataset)
    assert len(mine) == 2
    assert {_told(sample) for sample in mine} == {_told(sample) for sample in drawn}


def _told(sample: dict[str, Any]) -> tuple[str, ...]:
    return tuple(f"{key} = {said(value)}" for key, value in sample.items())
