"""What a scan finds: each with where it was seen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assetmgr.manifest import Kind

_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]+")
_MOST = 200


@dataclass(frozen=True, slots=True)
class Repo:
    """A hub's repo. ``is_use`` says that a loader of models or datasets reads it, so that its kind is no guess."""

    where: str
    kind: Kind
    repo: str
    revision: str | None = None
    allow: tuple[str, ...] | None = None
    ignore: tuple[str, ...] | None = None
    local_dir: str | None = None
    is_use: bool = False


@dataclass(frozen=True, slots=True)
class Named:
    """What the catalog should know by this name."""

    where: str
    name: str


@dataclass(frozen=True, slots=True)
class Listed:
    """Files with URLs of their own. ``declaration`` is what a manifest says of them."""

    where: str
    kind: Kind
    name: str
    declaration: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Remark:
    """What could not be told, and a person must."""

    where: str
    text: str


Find = Repo | Named | Listed | Remark


def plain(text: str) -> str:
    """A text from a project as one line of a comment may repeat it."""
    text = _UNPRINTABLE.sub(" ", text)
    return text if len(text) <= _MOST else text[: _MOST - 1] + "…"
