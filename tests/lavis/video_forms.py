"""Small files of the true shape for LAVIS's datasets of videos and of dialogues about them; see `forms`.

LAVIS's samples have the videos' paths, so that any bytes are a video here; their frames have a test of their own.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Mapping

import pytest

from tests.lavis.forms import Form

pytest.importorskip("av")
pytest.importorskip("numpy")

import numpy


def _videos(folder: str, *names: str) -> dict[str, bytes]:
    return {f"{folder}/{name}": f"the video {name}".encode() for name in names}


def _captions(dataset: str, *names: str) -> Form:
    first, second, *_ = names
    return Form(
        {
            f"lavis/{dataset}/annotations/cap_train.json": [
                {"image_id": "video7", "video": first, "caption": "a man sings"},
                {"caption": "eine Katze — 猫", "video": second, "image_id": 3, "source": "x"},
                {"image_id": "video7", "video": first, "caption": ""},
            ],
            f"lavis/{dataset}/annotations/cap_val.json": [
                {"image_id": "video9", "video": second, "caption": ["one", "two"]},
                {"image_id": 4, "video": first},
            ],
            f"lavis/{dataset}/annotations/cap_test.json": [{"image_id": "video1", "video": first, "caption": ["x"]}],
        },
        _videos(f"lavis/{dataset}/videos", *names),
        vis_path=f"lavis/{dataset}/videos" if dataset == "vatex" else None,
    )


def _questions(dataset: str, first: str, second: str) -> Form:
    rows = [
        {"video": first, "question": "what is a man doing?", "answer": "sing", "question_id": 0, "image_id": 1},
        {"video": second, "question": "wer ist es?", "answer": "niemand", "question_id": "q7"},
        {"video": first, "question": "what?", "answer": "cat", "question_id": 5, "answer_type": "what"},
    ]
    folder = f"lavis/{dataset}/annotations"
    return Form(
        {
            f"{folder}/qa_train.json": rows,
            f"{folder}/qa_val.json": rows[1:],
            f"{folder}/qa_test.json": rows[:1],
            f"{folder}/qa_ans2label.json": {"cat": 0, "sing": 1, "naïve": 2},
        },
        _videos(f"lavis/{dataset}/videos", first, second),
    )


def _retrieval(dataset: str, first: str, second: str) -> Form:
    folder = f"lavis/{dataset}/annotations"
    return Form(
        {
            f"{folder}/retrieval_train.json": [
                {"video": second, "caption": "a cartoon"},
                {"video": first, "caption": "Leute reden", "image_id": 3},
                {"caption": "", "video": second},
            ],
            f"{folder}/retrieval_val.json": [
                {"video": first, "caption": ["one", "two"]},
                {"video": second, "caption": []},
            ],
            f"{folder}/retrieval_test.json": [{"video": second, "caption": ["three"]}],
        },
        _videos(f"lavis/{dataset}/videos", first, second),
    )


def _features(*names: str) -> dict[str, bytes]:
    files = {}
    for name in names:
        chance = numpy.random.default_rng(sum(name.encode()))
        for part, width in (("i3d_flow", 5), ("i3d_rgb", 4), ("vggish", 2)):
            buffer = io.BytesIO()
            numpy.save(buffer, chance.random((int(chance.integers(2, 6)), width)))
            files[f"lavis/avsd/features/{part}/{name}.npy"] = buffer.getvalue()
    return files


def gpt2() -> dict[str, bytes]:
    """A tokenizer of GPT-2's kind with a few merges: what ``vocab.json`` and ``merges.txt`` hold."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in shown] + [chr(256 + number) for number in range(256 - len(shown))]
    merges = ["Ġ t", "h e", "Ġt he", "i n", "Ġ a", "a n", "o u", "Ġ w", "r e"]
    words = [*letters, *(merge.replace(" ", "") for merge in merges), "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    lines = ["#version: 0.2", *merges, ""]
    return {"vocab.json": json.dumps(vocabulary).encode(), "merges.txt": "\n".join(lines).encode()}


def _dialogue(name: str, turns: int) -> dict[str, object]:
    chance = random.Random(name)
    said = ["is the man in the room ?", "yes , he walks in — 男", "", "it's  not there\n", "<eos> what <speaker1> ?"]
    return {
        "image_id": name,
        "caption": f"the caption of {name}",
        "summary": "a man walks in the house . ",
        "dialog": [{"question": chance.choice(said), "answer": chance.choice(said)} for _ in range(turns)],
    }


_AVSD = "lavis/avsd/annotations"

VIDEOS: Mapping[str, Form] = {
    "msrvtt_caption": _captions("msrvtt", "video7010.mp4", "deep/video2.mp4"),
    "msvd_caption": _captions("msvd", "-wa0umYJVGg_139_157.avi", "b.avi"),
    "vatex_caption": _captions("vatex", "2DcdvXZiTu0_000051_000061.mp4", "b c.mp4"),
    "msrvtt_qa": _questions("msrvtt", "video7010.mp4", "deep/video2.mp4"),
    "msvd_qa": _questions("msvd", "-wa0umYJVGg_139_157.avi", "b.avi"),
    "msrvtt_retrieval": _retrieval("msrvtt", "video7010.mp4", "deep/video2.mp4"),
    "didemo_retrieval": _retrieval("didemo", "54322086@N00_2408598493_274c77d26a.avi", "b.mp4"),
    "avsd_dialogue": Form(
        {
            f"{_AVSD}/train.json": {"dialogs": [_dialogue("QBMWV", 6), _dialogue("7UPGT", 1), _dialogue("none", 0)]},
            f"{_AVSD}/val.json": {"dialogs": [_dialogue("7UPGT", 5), _dialogue("QBMWV", 2)], "version": "1.0"},
            f"{_AVSD}/test.json": {"dialogs": [_dialogue("7UPGT", 1)], "type": "test"},
        },
        _features("QBMWV", "7UPGT"),
        required={"gpt2": gpt2()},
    ),
}
