"""Readers: annotation files to a table, one module a kind of samples.

A new kind is a module with a `read` and a line here (and the word in the manifest's schema).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from assetmgr.datasets.annotations import Annotation
from assetmgr.datasets.readers import caption, vqa
from assetmgr.datasets.table import Table

# Reads the files of one split, in order, as one table. Raises `IntegrityError`.
Reader = Callable[[Sequence[Annotation]], Table]

READERS: Mapping[str, Reader] = {"caption": caption.read, "vqa": vqa.read}
