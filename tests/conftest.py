"""What every test starts from: no setting, token, cache or proxy of this machine's user leaks in."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

_FOREIGN = ("ASSETMGR_", "HF_", "HUGGING_FACE_", "HUGGINGFACE_", "TRANSFORMERS_", "TORCH_HOME")
_caches = tempfile.mkdtemp(prefix="assetmgr-tests-")


def pytest_configure() -> None:
    # Before any test module is imported: huggingface_hub reads its variables when it is imported.
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        del os.environ[name]
    os.environ["XDG_CACHE_HOME"] = _caches  # both huggingface_hub's default cache and ours live under it
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    # A loaded machine is slow, not wrong: no deadline for one example.
    settings.register_profile("assetmgr", deadline=None)
    settings.load_profile("assetmgr")


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(_caches, ignore_errors=True)


@pytest.fixture(params=["xfs", "btrfs"])
def cloning(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system that has reflinks, where one can be made."""
    maker = shutil.which(f"mkfs.{request.param}")
    if maker is None or os.geteuid() != 0:
        pytest.skip(f"no {request.param} can be made here")
    image, folder = tmp_path / "image", tmp_path / "mounted"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(400 << 20)
    subprocess.run([maker, "-q", image], check=True, capture_output=True)
    if subprocess.run(["mount", "-o", "loop", image, folder], check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
