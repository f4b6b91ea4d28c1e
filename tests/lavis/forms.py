"""Small files of the true shape for every form of LAVIS's datasets: what both LAVIS and load_dataset are given.

A form is a dataset of the catalog by its name there (``coco_vqa``, ``gqa/balanced_val``), or one of its variants
(``coco_vqa/eval``). Its annotations are JSON documents by their places in the store, where LAVIS's own configs look for
them; its media are files by theirs. Nothing here knows LAVIS, and nothing reads what is made.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image


@dataclass(frozen=True)
class Form:
    """One form of a dataset.

    Attributes
    ----------
    annotations
        Place in the store -> JSON document (or the very bytes).
    media
        Place in the store -> bytes.
    vis_path
        The folder in the store that LAVIS is told to find the media in, where its own config names a machine of its
        makers.
    required
        The files of what is required besides its media: asset -> path -> bytes.
    """

    annotations: Mapping[str, Any]
    media: Mapping[str, bytes] = field(default_factory=dict)
    vis_path: str | None = None
    required: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)

    def files(self) -> dict[str, bytes]:
        """Everything, by place."""
        written = {
            place: document if isinstance(document, bytes) else json.dumps(document, ensure_ascii=False).encode()
            for place, document in self.annotations.items()
        }
        return written | dict(self.media)


_MODES = ("RGB", "L", "RGBA", "P", "LA", "1")


def picture(name: str) -> bytes:
    """A PNG with pixels of its own, whose mode and size its name decides."""
    chance = random.Random(name)
    mode = chance.choice(_MODES)
    size = (chance.randint(1, 9), chance.randint(1, 9))
    image = Image.frombytes("L", size, chance.randbytes(size[0] * size[1])).convert("1") if mode == "1" else None
    image = image or Image.frombytes(mode, size, chance.randbytes(len(mode) * size[0] * size[1]))
    if mode == "P":
        image.putpalette(chance.randbytes(768))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def pictures(folder: str, *names: str) -> dict[str, bytes]:
    """Pictures in a folder of the store."""
    return {f"{folder}/{name}": picture(name) for name in names}


# --- captions and pairs of images and texts ---------------------------------------------------------------------------

_COCO = "lavis/coco/annotations"
_COCO_IMAGES = "lavis/coco/images"
_TRAIN = [f"train2014/COCO_train2014_{number:012d}.jpg" for number in (522418, 184613, 318219)]
_VAL = [f"val2014/COCO_val2014_{number:012d}.jpg" for number in (391895, 60623, 554002)]
_KARPATHY = {
    f"{_COCO}/coco_karpathy_train.json": [
        {
            "caption": "A woman wearing a net on her head cutting a cake. ",
            "image": _TRAIN[0],
            "image_id": "coco_522418",
        },
        {"caption": "Zwei Kätzchen — 猫 🐈", "image": _TRAIN[1], "image_id": "coco_184613"},
        {"caption": 'She said "cake",\nand cut it.', "image": _TRAIN[0], "image_id": "coco_522418"},
        {"caption": "", "image": _VAL[2], "image_id": "coco_554002"},
        {"image_id": "coco_184613", "caption": "}, {", "image": _TRAIN[1]},
    ],
    f"{_COCO}/coco_karpathy_val.json": [
        {"image": _VAL[0], "caption": ["A man with a red helmet.", "Un homme à moto", "A man with a red helmet."]},
        {"image": _VAL[1], "caption": []},
        {"image": "val2014/odd.gjpg.jpg", "caption": ["A name that ends in the letters that are stripped."]},
    ],
    f"{_COCO}/coco_karpathy_test.json": [
        {"image": _VAL[2], "caption": ["one", "two"]},
        {"image": _VAL[2], "caption": ["three"]},
    ],
}
_KARPATHY_IMAGES = pictures(_COCO_IMAGES, *_TRAIN[:2], *_VAL, "val2014/odd.gjpg.jpg")

CAPTIONS = {
    "coco_caption": Form(_KARPATHY, _KARPATHY_IMAGES),
    "nocaps": Form(
        {
            "lavis/nocaps/annotations/nocaps_val.json": [
                {"image": "val/0013ea2087020901.jpg", "img_id": 0, "caption": ["A baby.", "ein Kind"]},
                {"image": "val/b.jpg", "img_id": 17, "caption": ["x"]},
            ],
            "lavis/nocaps/annotations/nocaps_test.json": [{"image": "test/c.jpg", "img_id": 4500}],
        },
        pictures("lavis/nocaps/images", "val/0013ea2087020901.jpg", "val/b.jpg", "test/c.jpg"),
    ),
}

_PAIRS = [
    {"image": "a.jpg", "caption": "a very typical bus station"},
    {"caption": "sierra looked stunning — 猫", "image": "deep/b.jpg", "url": "http://x"},
    {"image": "a.jpg", "caption": ""},
]


def _pairs(annotation: str, images: str) -> Form:
    return Form({annotation: _PAIRS}, pictures(images, "a.jpg", "deep/b.jpg"))


PAIRS = {
    "conceptual_caption_3m": _pairs(
        "lavis/conceptual_caption/annotations/cc3m.json", "lavis/conceptual_caption/images"
    ),
    "conceptual_caption_12m": _pairs(
        "lavis/conceptual_caption/annotations/cc12m.json", "lavis/conceptual_caption/images_12m"
    ),
    "sbu_caption": _pairs("lavis/sbu_captions/annotations/sbu.json", "lavis/sbu_captions/images"),
    "vg_caption": Form(
        {
            "lavis/vg/annotations/vg_caption.json": [
                {"image": "image/2.jpg", "caption": "a tree", "dataset": "vg"},
                {"image": "VG_100K_2/3.jpg", "caption": "trees"},
            ]
        },
        pictures("lavis/vg/images", "image/2.jpg", "VG_100K_2/3.jpg"),
    ),
}

# --- retrieval --------------------------------------------------------------------------------------------------------

_FLICKR = "flickr30k-images"
RETRIEVAL = {
    "coco_retrieval": Form(_KARPATHY, _KARPATHY_IMAGES),
    "flickr30k": Form(
        {
            "lavis/flickr30k/annotations/train.json": [
                {"image": f"{_FLICKR}/10.jpg", "caption": "Two young guys.", "image_id": 10},
                {"image": f"{_FLICKR}/11.jpg", "caption": "Ein Hund — 犬", "image_id": 7},
                {"image": f"{_FLICKR}/10.jpg", "caption": "Two friends.", "image_id": 10},
            ],
            "lavis/flickr30k/annotations/val.json": [{"image": f"{_FLICKR}/12.jpg", "caption": ["one", "two", "one"]}],
            "lavis/flickr30k/annotations/test.json": [
                {"image": f"{_FLICKR}/12.jpg", "caption": ["one"]},
                {"image": f"{_FLICKR}/10.jpg", "caption": ["two", "drei"]},
            ],
        },
        pictures(f"lavis/flickr30k/images/{_FLICKR}", "10.jpg", "11.jpg", "12.jpg"),
    ),
}

# --- questions --------------------------------------------------------------------------------------------------------

_TENTHS = ["net", "net", "net", "netting", "net", "mesh", "net", "net", "hair net", "net"]
_VQA_TRAIN = [
    {
        "question": "What is on her head?",
        "question_id": 522418000,
        "image": _TRAIN[0],
        "dataset": "vqa",
        "answer": _TENTHS,
    },
    {"question": "多少只猫?", "question_id": 1, "image": _TRAIN[1], "answer": ["2", "two", "2"]},
    {"question": "Why?", "question_id": 2, "image": _TRAIN[0], "answer": []},
    {"question": "One?", "question_id": 3, "image": _TRAIN[1], "answer": ["yes", "no", "yes", "no", "yes", "si", "no"]},
]
_QUESTIONS = {
    "questions": [{"image_id": 391895, "question": "Where is he looking?", "question_id": 262148000}],
    "license": {},
}
_TRUTH = {"annotations": [{"question_id": 262148000, "answers": [{"answer": "down"}]}]}


def _eval_rows(*, answers: bool) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"image": _VAL[0], "question": "Where is he looking?", "question_id": 262148000, "dataset": "vqa"},
        {"image": _VAL[1], "question": "Öffnet es?", "question_id": 2**40},
        {"image": _VAL[0], "question": "And?", "question_id": -1},
    ]
    return [row | {"answer": ["down", "up"]} for row in rows] if answers else rows


_VQA_VAL = {
    f"{_COCO}/vqa_val_eval.json": _eval_rows(answers=True),
    f"{_COCO}/answer_list.json": ["yes", "no", "net", "naïve"],
    f"{_COCO}/v2_OpenEnded_mscoco_val2014_questions.json": _QUESTIONS,
    f"{_COCO}/v2_mscoco_val2014_annotations.json": _TRUTH,
}
_AOK = "lavis/aokvqa/annotations"
_AOK_ROWS: list[dict[str, Any]] = [
    {
        "split": "train",
        "image_id": 299207,
        "question_id": "22MexNkBPpdZGX6sxbxVBH",
        "question": "What is the man by the bags awaiting?",
        "choices": ["skateboarder", "train", "delivery", "cab"],
        "correct_choice_idx": 3,
        "direct_answers": ["ride", "ride", "bus", "taxi", "travelling", "traffic", "taxi", "cab", "cab", "his ride"],
        "difficult_direct_answer": False,
        "rationales": ["A train would not be on the street."],
        "image": _TRAIN[0],
    },
    {
        "question_id": "z",
        "question": "Wohin?",
        "choices": [],
        "correct_choice_idx": 0,
        "direct_answers": ["hin"],
        "image": _TRAIN[1],
    },
]
_AOK_TEST: list[dict[str, Any]] = [
    {key: value for key, value in _AOK_ROWS[0].items() if key not in ("correct_choice_idx", "direct_answers")}
]
_GQA = "lavis/gqa/annotations"
_GQA_ROWS: list[dict[str, Any]] = [
    {"image": "2370799.jpg", "question": "Is the sky dark?", "answer": "yes", "question_id": "02930152"},
    {"image": "1.jpg", "question": "¿Qué es?", "answer": "árbol", "question_id": "07333408", "dataset": "gqa"},
    {"image": "2370799.jpg", "question": "What?", "answer": "pipe", "question_id": 3},
]
_GQA_IMAGES = pictures("lavis/gqa/images", "2370799.jpg", "1.jpg", *_TRAIN[:2])


def _balanced(val: str) -> Form:
    return Form(
        {
            f"{_GQA}/train_balanced_questions.json": _GQA_ROWS,
            f"{_GQA}/{val}_balanced_questions.json": list(reversed(_GQA_ROWS)),
            f"{_GQA}/test_balanced_questions.json": [
                {key: value for key, value in row.items() if key != "answer"} for row in _GQA_ROWS
            ],
        },
        _GQA_IMAGES,
    )


QUESTIONS = {
    "coco_vqa": Form(
        {
            f"{_COCO}/vqa_train.json": _VQA_TRAIN,
            f"{_COCO}/vqa_val.json": [
                {"question": "Of the second file?", "question_id": 9, "image": _VAL[0], "answer": ["a", "b", "a"]}
            ],
            **_VQA_VAL,
            f"{_COCO}/vqa_test.json": _eval_rows(answers=False),
        },
        _KARPATHY_IMAGES,
    ),
    "coco_vqa/eval": Form(_VQA_VAL, _KARPATHY_IMAGES),
    "ok_vqa": Form(
        {
            "lavis/okvqa/annotations/okvqa_train.json": _VQA_TRAIN,
            "lavis/okvqa/annotations/vqa_val_eval.json": _eval_rows(answers=True),
            "lavis/okvqa/annotations/answer_list.json": ["race", "vase"],
            "lavis/okvqa/annotations/OpenEnded_mscoco_val2014_questions.json": _QUESTIONS,
            "lavis/okvqa/annotations/mscoco_val2014_annotations.json": _TRUTH,
        },
        _KARPATHY_IMAGES,
    ),
    "aok_vqa": Form(
        {
            f"{_AOK}/aokvqa_v1p0_train.json": _AOK_ROWS,
            f"{_AOK}/aokvqa_v1p0_val.json": [*_AOK_ROWS, *_AOK_TEST],
            f"{_AOK}/aokvqa_v1p0_test.json": _AOK_TEST,
            f"{_AOK}/specialized_vocab_train_lavis.json": ["ride", "bus"],
        },
        _KARPATHY_IMAGES,
    ),
    "vg_vqa": Form(
        {
            "lavis/vg/annotations/vg_qa.json": [
                {
                    "image": "image/2.jpg",
                    "question": "What is it?",
                    "answer": "A tree.",
                    "dataset": "vg",
                    "question_id": 1,
                },
                {"image": "image/2.jpg", "question": "Où ?", "answer": "là"},
            ]
        },
        pictures("lavis/vg/images", "image/2.jpg"),
    ),
    "gqa": Form(
        {
            f"{_GQA}/train_all_questions_0.json": _GQA_ROWS,
            f"{_GQA}/val_all_questions.json": _GQA_ROWS[:1],
            # The config of LAVIS's default form validates and tests with A-OKVQA's questions.
            f"{_AOK}/aokvqa_v1p0_val.json": [*_AOK_ROWS, *_AOK_TEST],
            f"{_AOK}/aokvqa_v1p0_test.json": _AOK_TEST,
            f"{_AOK}/large_vocab_train_lavis.json": ["yes", "no"],
        },
        _GQA_IMAGES,
    ),
    "gqa/balanced_val": _balanced("val"),
    "gqa/balanced_testdev": _balanced("testdev"),
}

# --- classes ----------------------------------------------------------------------------------------------------------

_NLVR = "lavis/nlvr/images"
_NLVR_ROWS = [
    {
        "images": ["train/0-img0.png", "train/0-img1.png"],
        "sentence": "The left image has a right shoe.",
        "label": "True",
    },
    {"images": ["train/0-img1.png", "train/0-img0.png"], "sentence": "Ein Hund.", "label": "False"},
    {"images": ["train/0-img0.png", "train/0-img0.png"], "sentence": "leftover rights", "label": "False"},
    {"images": ["train/0-img0.png", "dev/1.png"], "sentence": "An image shows two dogs.", "label": "True"},
] * 4
_SNLI = "lavis/flickr30k/images/flickr30k-images"

CLASSES = {
    "nlvr": Form(
        {
            "lavis/nlvr/annotations/train.json": _NLVR_ROWS,
            "lavis/nlvr/annotations/dev.json": _NLVR_ROWS[:3],
            "lavis/nlvr/annotations/test.json": _NLVR_ROWS[:2],
        },
        pictures(_NLVR, "train/0-img0.png", "train/0-img1.png", "dev/1.png"),
        vis_path=_NLVR,
    ),
    "snli_ve": Form(
        {
            "lavis/snli/annotations/ve_train.json": [
                {"image": "3416050480", "sentence": "A person.", "label": "neutral"},
                {"image": "10", "sentence": "Zwei Leute — 人", "label": "entailment"},
                {"image": 10, "sentence": "A cat.", "label": "contradiction"},
            ],
            "lavis/snli/annotations/ve_dev.json": [{"image": "10", "sentence": "A dog.", "label": "contradiction"}],
            "lavis/snli/annotations/ve_test.json": [],
        },
        pictures(_SNLI, "3416050480.jpg", "10.jpg"),
    ),
    "imagenet": Form(
        {},
        pictures(
            "lavis/imagenet/val",
            "n02119789/ILSVRC2012_val_00000002.JPEG",
            "n02119789/b/deep.png",
            "n02119789/ILSVRC2012_val_00000001.JPEG",
            "n01440764/é.jpg",
            "n01440764/A.jpeg",
            "n01440764/Z/a.webp",
        )
        | {"lavis/imagenet/val/n01440764/notes.txt": b"no image", "lavis/imagenet/val/readme.md": b"of no class"},
        vis_path="lavis/imagenet",
    ),
}

# By name. Videos and dialogues have a module of their own; `every_form` has all.
IMAGES: Mapping[str, Form] = {**CAPTIONS, **PAIRS, **RETRIEVAL, **QUESTIONS, **CLASSES}
