"""What is known about versions, and where it is written: facts that no metadata has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

# The least driver for any toolkit of a CUDA major version: "minor version compatibility", table 1 of
# https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
DRIVERS: Mapping[int, str] = {11: "450.80.02", 12: "525", 13: "580"}
# The least compute capability of bitsandbytes' kernels, and of those for int8:
# https://huggingface.co/docs/bitsandbytes/v0.50.0/installation
BITSANDBYTES_LEAST, INT8_LEAST = (6, 0), (7, 5)
# The first bitsandbytes that runs on the CPU too, and looks for CUDA's libraries by torch alone.
BITSANDBYTES_FIRST = "0.43.1"
# From here on it takes the library of another CUDA of the same major version, as its cextension.py says.
BITSANDBYTES_NEAREST = "0.50"


class Quarrel(NamedTuple):
    """Two distributions that cannot work together: each a name and a specifier of versions."""

    one: tuple[str, str]
    other: tuple[str, str]
    why: str
    mend: str


_LAVIS = "an environment of its own for LAVIS: assetmgr requirements lavis > lavis.txt"
QUARRELS: Sequence[Quarrel] = (
    Quarrel(
        ("salesforce-lavis", ""),
        ("transformers", ">=4.56"),
        "LAVIS cannot be imported with transformers from 4.56",
        _LAVIS,
    ),
    Quarrel(
        ("salesforce-lavis", ""),
        ("transformers", ">=4.33,<4.56"),
        "LAVIS's BLIP fails in beam search with transformers from 4.33",
        _LAVIS,
    ),
    Quarrel(
        ("opencv-python-headless", "<4.10"),
        ("numpy", ">=2"),
        "this OpenCV was built for numpy 1, and cannot be imported",
        "pip install --upgrade opencv-python-headless, or pip install 'numpy<2'",
    ),
    Quarrel(
        ("opencv-python", "<4.10"),
        ("numpy", ">=2"),
        "this OpenCV was built for numpy 1, and cannot be imported",
        "pip install --upgrade opencv-python, or pip install 'numpy<2'",
    ),
    Quarrel(
        ("torch", "<2.3"),
        ("numpy", ">=2"),
        "this torch was built for numpy 1, and exchanges no arrays with it",
        "pip install --upgrade torch, or pip install 'numpy<2'",
    ),
)

# Whose requirements are held against what is installed. LAVIS's own are not: its environment departs from them.
FAMILY = (
    "assetmgr",
    "torch",
    "torchvision",
    "transformers",
    "tokenizers",
    "huggingface-hub",
    "accelerate",
    "bitsandbytes",
    "safetensors",
    "datasets",
    "timm",
)


class Extra(NamedTuple):
    """An extra of assetmgr: the distributions that it brings, and what needs it."""

    packages: tuple[str, ...]
    purpose: str
    is_for_pull: bool = False


# As in pyproject.toml.
EXTRAS: Mapping[str, Extra] = {
    "transformers": Extra(("torch", "transformers", "accelerate", "pillow"), "load_model"),
    "quantize": Extra(("bitsandbytes",), "load_model(quantize='int8' or 'nf4')"),
    "datasets": Extra(("pyarrow", "pillow"), "load_dataset"),
    "video": Extra(("av",), "load_dataset of videos"),
    "hub-datasets": Extra(("datasets",), "load_dataset of the hub's own formats"),
    "bucket": Extra(("fsspec", "s3fs"), "mirrors in buckets (s3://)", is_for_pull=True),
    "gdrive": Extra(("gdown",), "`url: gdrive:...`", is_for_pull=True),
    "kaggle": Extra(("kaggle",), "`url: kaggle:...`", is_for_pull=True),
    "url-list": Extra(("img2dataset",), "`url_list:`", is_for_pull=True),
    "crc32c": Extra(("google-crc32c",), "files that are pinned by crc32c"),
}
