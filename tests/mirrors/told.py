"""Machines: one that has locked and pulled all of a manifest, and one that has nothing but mirrors."""

from __future__ import annotations

import json
from pathlib import Path

from assetmgr import Workspace
from tests.transfer.support import Words

MANIFEST = """
version: 1
models:
  words: {files: [{url: ./words.txt}]}
  org/model: {files: [{url: ./weights.bin}], requires: [words], load: {dtype: float16}}
datasets:
  rows: {files: [{url: ./rows.json}], splits: {train: rows.json}, samples: caption}
"""
WEIGHTS = b"weights" * 100


def machine(folder: Path, manifest: str = MANIFEST, root: str = "store", **arguments: object) -> Workspace:
    """A machine that has locked and pulled all of a manifest."""
    folder.mkdir(exist_ok=True)
    (folder / "words.txt").write_bytes(b"some words")
    (folder / "weights.bin").write_bytes(WEIGHTS)
    (folder / "rows.json").write_text(json.dumps([{"image": "a.jpg", "caption": "one", "image_id": "a"}]))
    (folder / "assets.yaml").write_text(manifest)
    made = Workspace(folder / "assets.yaml", folder / root, local_caches=False)
    made.lock()
    made.pull()
    return made


def empty(root: Path, *mirrors: object, offline: bool = False) -> tuple[Workspace, list[str]]:
    """A machine that has nothing but mirrors, and what is said there."""
    words = Words()
    chosen = [str(mirror) for mirror in mirrors]
    made = Workspace([], root, offline=offline, mirrors=chosen, local_caches=False, reporter=words)
    return made, words.said
