"""Every dataset of LAVIS as load_dataset gives it, beside what LAVIS's own classes gave (``samples.json``)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lavis.every_form import FORMS
from tests.lavis.shelf import GOLDEN
from tests.lavis.test_parity import ours

RECORDED = json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FORMS)
def test_every_sample_is_what_lavis_gave(name: str, tmp_path: Path) -> None:
    assert ours(tmp_path, name) == RECORDED[name]
