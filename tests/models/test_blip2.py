"""The trained tiny Blip2 says what it was measured to say."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from assetmgr import models
from assetmgr.errors import UsageError
from tests.datasets.stored import DATA, Content
from tests.models.conftest import EXPECTED, MakeModel

pytestmark = pytest.mark.torch


def picture(folder: str, name: str) -> Image.Image:
    with Image.open(DATA / folder / name) as image:
        whole: Image.Image = image.copy()
        return whole


def test_captions_and_answers_are_the_measured_ones(model_asset: MakeModel, blip2: dict[str, Content]) -> None:
    loaded = models.load(model_asset(blip2), device="cpu", dtype="float32")
    for row in EXPECTED["captions"]:
        assert loaded.caption(picture("coco-sample", row["image"])) == row["model"]
    for row in EXPECTED["vqa"]:
        assert loaded.answer(picture("easy-vqa", row["image"]), row["question"]) == row["model"]


def test_its_accuracy_on_easy_vqa_is_the_measured_one(model_asset: MakeModel, blip2: dict[str, Content]) -> None:
    loaded = models.load(model_asset(blip2), device="cpu", dtype="float32")
    rows = json.loads((DATA / "easy-vqa/test/questions.json").read_bytes())
    images = {image: picture("easy-vqa", f"test/images/{image}.png") for _, _, image in rows}
    right = sum(loaded.answer(images[image], question, max_new_tokens=4) == answer for question, answer, image in rows)
    assert (right, len(rows)) == (EXPECTED["vqa_right"], EXPECTED["vqa_questions"])


@pytest.mark.parametrize(
    ("how", "dtype"),
    [
        ({"dtype": "float16"}, "float16"),
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"quantize": "int8"}, "float16"),
        ({"quantize": "nf4"}, "float16"),
        ({"quantize": "nf4", "dtype": "bfloat16"}, "bfloat16"),
    ],
    ids=str,
)
def test_a_lower_precision_answers_nearly_as_well(
    model_asset: MakeModel, blip2: dict[str, Content], how: dict[str, Any], dtype: str
) -> None:
    loaded = models.load(model_asset(blip2), device="cpu", **how)
    assert str(loaded.dtype) == f"torch.{dtype}"
    assert getattr(loaded.model, "is_quantized", False) == ("quantize" in how)
    rows = EXPECTED["vqa"]
    right = [loaded.answer(picture("easy-vqa", row["image"]), row["question"]) == row["model"] for row in rows]
    assert sum(right) >= len(rows) - 2


def test_loading_asks_no_network_and_says_nothing(
    model_asset: MakeModel,
    blip2: dict[str, Content],
    no_network: list[object],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from transformers.utils import logging

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    logging.set_verbosity_warning()
    found = model_asset(blip2)
    loaded = models.load(found, device="cpu")
    loaded.caption(picture("coco-sample", EXPECTED["captions"][0]["image"]), max_new_tokens=2)
    assert no_network == []
    assert capfd.readouterr() == ("", "")
    assert logging.get_verbosity() == logging.WARNING
    assert logging.is_progress_bar_enabled()
    assert os.path.samefile(loaded.folder, found.folder)


def test_the_prompt_is_the_callers(model_asset: MakeModel, blip2: dict[str, Content]) -> None:
    loaded = models.load(model_asset(blip2), device="cpu", dtype="float32")
    image, row = picture("easy-vqa", EXPECTED["vqa"][0]["image"]), EXPECTED["vqa"][0]
    said = loaded.answer(image, row["question"].rstrip("?"), prompt="Question: {question}? Answer:", num_beams=2)
    assert said == row["answer"]
    with pytest.raises(UsageError, match="cannot embed"):
        loaded.embed("a cat")


def test_images_of_every_mode_are_taken(model_asset: MakeModel, blip2: dict[str, Content]) -> None:
    loaded = models.load(model_asset(blip2), device="cpu", dtype="float32")
    for mode in ("RGBA", "L", "P"):
        assert loaded.caption(Image.new(mode, (40, 30)), max_new_tokens=3)


def test_blip2_with_t5_captions_though_t5_has_no_first_token(model_asset: MakeModel, tmp_path: Path) -> None:
    import transformers

    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = transformers.T5Config(
        vocab_size=2001, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    config = transformers.Blip2Config(
        vision_config=small | {"image_size": 64, "patch_size": 16},
        qformer_config=small | {"encoder_hidden_size": 32, "vocab_size": 100},
        text_config=text.to_dict(),
        num_query_tokens=8,
        image_token_index=2000,
    )
    config.use_decoder_only_language_model = False
    folder = tmp_path / "t5"
    transformers.Blip2ForConditionalGeneration(config).save_pretrained(folder)
    for name in ("processor_config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((DATA / "tiny_blip2_vqa" / name).read_bytes())
    loaded = models.load(model_asset(folder), device="cpu")
    assert isinstance(loaded.caption(Image.new("RGB", (64, 64)), max_new_tokens=3), str)
    assert isinstance(loaded.answer(Image.new("RGB", (64, 64)), "what?", max_new_tokens=3), str)
