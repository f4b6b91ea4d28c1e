"""What samples are, said as plain text: every key in its order, with its value and type, so that two can be compared.

Used beside LAVIS and beside load_dataset; imports neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

# Split -> samples -> lines "key = what its value is".
Told = dict[str, list[list[str]]]


def told(splits: Mapping[str, Any], root: str) -> Told:
    """All samples of all splits. The store's folder, where a value has it, is written ``{store}``."""
    return {
        split: [
            [f"{key} = {said(value)}".replace(root, "{store}") for key, value in samples[index].items()]
            for index in range(len(samples))
        ]
        for split, samples in splits.items()
    }


def said(value: Any) -> str:
    """One value, with its type and all of its content."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if kind == "PIL.Image.Image":
        return f"image {value.mode} {value.size[0]}x{value.size[1]} {_digest(value.tobytes())}"
    if kind == "assetmgr.datasets.videos.Video":
        return repr(str(value))  # LAVIS has the path, and a video is its path too
    if kind == "torch.Tensor":
        return said(value.detach().numpy())  # load_dataset needs no torch: it has arrays
    if kind == "numpy.ndarray":
        return f"array {value.dtype} {value.shape} {_digest(value.tobytes())}"
    # The types that JSON has say themselves in full: 1 is not 1.0 is not True, and floats are exact.
    assert kind.startswith("builtins."), f"{kind}: say how it is told"
    return repr(value)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
