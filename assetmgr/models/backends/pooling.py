"""How an encoder's token vectors become one vector a text, as sentence-transformers writes it into a repository.

Source of the file: https://sbert.net/docs/package_reference/sentence_transformer/models.html (Pooling)
"""

from __future__ import annotations

import json
import os
from typing import Literal

from assetmgr.errors import UsageError

Pooling = Literal["mean", "cls"]

FILE = os.path.join("1_Pooling", "config.json")
_NAMES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


def pooling_of(name: str, folder: str) -> Pooling:
    """The pooling of a model's folder: the mean of all tokens, or the first token's; the mean where it says nothing.

    Raises
    ------
    UsageError
        When it asks for another one: a mean in its place would be another vector, and nobody would see it.
    """
    try:
        with open(os.path.join(folder, FILE), "rb") as file:
            said = json.load(file)
    except FileNotFoundError:
        return "mean"
    except (OSError, ValueError):
        said = None
    mode = said.get("pooling_mode") if isinstance(said, dict) else None
    modes = [mode] if isinstance(mode, str) else []
    if isinstance(said, dict) and not modes:
        modes = [_NAMES.get(str(key), str(key)) for key in said if str(key).startswith("pooling_mode_") and said[key]]
    if modes == ["mean"]:
        return "mean"
    if modes == ["cls"]:
        return "cls"
    wanted = ", ".join(modes) or "nothing that can be read"
    raise UsageError(
        f"{name}: its {FILE} asks for pooling by {wanted}, and embed knows the mean and the first token's",
        mend=f"sentence-transformers on the folder of: assetmgr path {name}",
    )
