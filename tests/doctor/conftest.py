from __future__ import annotations

from pathlib import Path

import pytest

from tests.doctor.broken import Broken


@pytest.fixture
def broken(tmp_path: Path) -> Broken:
    """A bare machine: nothing is installed, and nothing is wrong."""
    (tmp_path / "site").mkdir()
    (tmp_path / "store").mkdir()
    return Broken(tmp_path)
