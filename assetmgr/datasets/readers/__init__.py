"""Readers: annotation files to rows, one module a kind of samples.

A new kind is a module with a `read` and a `VERSION`, and a line here (and the word in the manifest's schema). A reader
whose rows change gets a new version, so that what was prepared by the old one is made anew. Where LAVIS trains and
evaluates with different samples, there is a word for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from assetmgr.datasets.prepared import Reading
from assetmgr.datasets.readers import aok_vqa, caption, gqa, image_text, nlvr, retrieval, snli_ve, vqa


@dataclass(frozen=True, slots=True)
class Reader:
    """How one kind of samples is read. ``read`` takes the files of a split, in order; it raises `IntegrityError`."""

    name: str
    version: int
    read: Reading


# Kinds of samples without annotations, which `assetmgr.datasets.folders` reads from the names of media.
OF_NAMES = ("image_folder",)

READERS: Mapping[str, Reader] = {
    reader.name: reader
    for reader in (
        Reader("caption", caption.VERSION, caption.read),
        Reader("image_text", image_text.VERSION, image_text.read),
        Reader("retrieval", retrieval.VERSION, retrieval.read),
        Reader("retrieval_eval", retrieval.VERSION, retrieval.read_evaluation),
        Reader("vqa", vqa.VERSION, vqa.read),
        Reader("vqa_eval", vqa.VERSION, vqa.read_evaluation),
        Reader("aok_vqa", aok_vqa.VERSION, aok_vqa.read),
        Reader("aok_vqa_eval", aok_vqa.VERSION, aok_vqa.read_evaluation),
        Reader("vg_vqa", gqa.VERSION, gqa.read_visual_genome),
        Reader("gqa", gqa.VERSION, gqa.read),
        Reader("gqa_eval", gqa.VERSION, gqa.read_evaluation),
        Reader("nlvr", nlvr.VERSION, nlvr.read),
        Reader("nlvr_eval", nlvr.VERSION, nlvr.read_evaluation),
        Reader("snli_ve", snli_ve.VERSION, snli_ve.read),
    )
}
