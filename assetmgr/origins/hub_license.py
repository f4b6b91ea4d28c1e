"""The licence of a repo, as its hub states it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assetmgr.lock import LICENSE_MOST
from assetmgr.transfer.urls import printable


def stated_license(card: object, tags: object) -> str | None:
    """The licence in a repo's card (the front matter of its README), else in its tags; None where none is said.

    A card says ``license: apache-2.0``, a list of them, or ``license: other`` with a ``license_name``. Nothing of it is
    checked by the hub, so it is made one short line here.
    """
    said: object = card.get("license") if isinstance(card, Mapping) else None
    texts = _texts(said)
    if texts == ["other"] and isinstance(card, Mapping):
        texts = [f"other ({name})" for name in _texts(card.get("license_name"))] or texts
    texts = texts or [tag.removeprefix("license:") for tag in _texts(tags) if tag.startswith("license:")]
    line = " ".join(printable(", ".join(texts)).split())
    return line[:LICENSE_MOST].rstrip() or None


def _texts(value: object) -> list[str]:
    """The texts among what is one or a list of them."""
    listed = [value] if isinstance(value, str) else value if isinstance(value, Sequence) else ()
    return [item for item in listed if isinstance(item, str) and item]
