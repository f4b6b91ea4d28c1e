"""Dialogues about videos, as AVSD's documents have them, with the features of the videos.

``{"dialogs": [{"image_id": NAME, "caption": TEXT, "summary": TEXT, "dialog": [{"question": TEXT, "answer": TEXT}]}]}``
    To train, a row a turn, with the turns before it; to evaluate, a row a dialogue, whose last turn is asked:
    ``video_fts``, ``video_token_type_ids``, ``input_ids``, ``token_type_ids``, ``labels``, ``image_id`` and
    ``instance_id``, the row's number as a text.

They are what LAVIS 1.0.2 gives (lavis/datasets/datasets/{dialogue,avsd_dialogue}_datasets.py) with its processors
``gpt_video_ft`` and ``gpt_dialogue``, without which its class raises; as arrays of numpy where it has tensors of torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from assetmgr.datasets.annotations import Annotation
from assetmgr.datasets.prepared import Rows
from assetmgr.datasets.table import Batch, Field, Shape
from assetmgr.datasets.tokens import FILES, TURNS, Tokens

VERSION = 1
# Dialogues whose rows are made at once.
_AT_ONCE = 512


class _Turn(msgspec.Struct):
    question: str
    answer: str


class _Dialogue(msgspec.Struct):
    image_id: str
    caption: str
    summary: str
    dialog: list[_Turn]


class _Document(msgspec.Struct):
    dialogs: list[_Dialogue]


def read(files: Sequence[Annotation]) -> Rows:
    """Read a split to train with; its last files are the tokenizer's. See `assetmgr.datasets.readers.Reader`."""
    return _rows(files, whole=False)


def read_evaluation(files: Sequence[Annotation]) -> Rows:
    """Read a split to evaluate with; its last files are the tokenizer's. See `assetmgr.datasets.readers.Reader`."""
    return _rows(files, whole=True)


def _rows(files: Sequence[Annotation], *, whole: bool) -> Rows:
    cut = len(files) - len(FILES)
    tokens = Tokens(*files[cut:])
    shape = Shape(
        (
            Field("video_fts", "features"),
            Field("video_token_type_ids", "features", options={"fill": tokens.video}),
            Field("input_ids", "tokens"),
            Field("token_type_ids", "tokens"),
            Field("labels", "tokens"),
            Field("image_id", "text"),
            Field("instance_id", "text"),
        )
    )
    return shape, _dialogues(files[:cut], tokens, whole=whole)


def _dialogues(files: Sequence[Annotation], tokens: Tokens, *, whole: bool) -> Iterator[Batch]:
    instance = 0
    for file in files:
        dialogues = file.document(_Document).dialogs
        file.check_names([dialogue.image_id for dialogue in dialogues], row="dialogs[{}].image_id")
        for start in range(0, len(dialogues), _AT_ONCE):
            batch: dict[str, list[object]] = {
                name: [] for name in ("image_id", "input_ids", "token_type_ids", "labels")
            }
            for number, dialogue in enumerate(dialogues[start : start + _AT_ONCE], start):
                turns = dialogue.dialog
                if whole and not turns:
                    raise file.fault("a dialogue without a turn", f"row dialogs[{number}]")
                caption, *said = tokens.of(
                    [
                        f"{dialogue.caption} {dialogue.summary}",
                        *(t for turn in turns for t in (turn.question, turn.answer)),
                    ]
                )
                for turn in range(len(turns) - 1 if whole else 0, len(turns)):
                    before = said[2 * max(0, turn - TURNS) : 2 * turn + 1]
                    made = tokens.dialogue(caption, before, said[2 * turn + 1])
                    batch["image_id"].append(dialogue.image_id)
                    for name, values in made._asdict().items():
                        batch[name].append(values)
            count = len(batch["image_id"])
            instances = [str(row) for row in range(instance, instance + count)]
            names = batch["image_id"]
            yield {**batch, "video_fts": names, "video_token_type_ids": names, "instance_id": instances}
            instance += count
