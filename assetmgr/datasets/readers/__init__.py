"""Readers: annotation files to rows, one module a kind of samples.

A new kind is a module with a `read` and a `VERSION`, and a line here (and the word in the manifest's schema). A reader
whose rows change gets a new version, so that what was prepared by the old one is made anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from assetmgr.datasets.prepared import Reading
from assetmgr.datasets.readers import caption, vqa


@dataclass(frozen=True, slots=True)
class Reader:
    """How one kind of samples is read. ``read`` takes the files of a split, in order; it raises `IntegrityError`."""

    name: str
    version: int
    read: Reading


READERS: Mapping[str, Reader] = {
    "caption": Reader("caption", caption.VERSION, caption.read),
    "vqa": Reader("vqa", vqa.VERSION, vqa.read),
}
