"""Readers: annotation files to rows, one module a kind of samples.

A new kind is a module with a `read` and a `VERSION`, and a line here (and the word in the manifest's schema). A reader
whose rows change gets a new version, so that what was prepared by the old one is made anew. Where LAVIS trains and
evaluates with different samples, there is a word for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from assetmgr.datasets import tokens
from assetmgr.datasets.prepared import Reading
from assetmgr.datasets.readers import aok_vqa, caption, dialogue, gqa, image_text, nlvr, retrieval, snli_ve, video, vqa


@dataclass(frozen=True, slots=True)
class Reader:
    """How one kind of samples is read. ``read`` takes the files of a split, in order; it raises `IntegrityError`.

    Files of the names ``beside`` are taken from what the dataset requires, and are the last that it is given.
    """

    name: str
    version: int
    read: Reading
    beside: tuple[str, ...] = ()


# Kinds of samples without annotations, which `assetmgr.datasets.recipes` reads from the media themselves.
SHARDS = "webdataset"
OF_NAMES = ("image_folder", SHARDS)

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
        Reader("video_caption", video.VERSION, video.read),
        Reader("video_caption_eval", video.VERSION, video.read_evaluation),
        Reader("video_qa", video.VERSION, video.read_questions),
        Reader("video_retrieval", video.VERSION, video.read_retrieval),
        Reader("video_retrieval_eval", video.VERSION, video.read_retrieval_evaluation),
        Reader("dialogue", dialogue.VERSION, dialogue.read, tokens.FILES),
        Reader("dialogue_eval", dialogue.VERSION, dialogue.read_evaluation, tokens.FILES),
    )
}
