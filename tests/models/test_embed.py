"""Text embeddings: mean-pooled, of length 1, the same whatever else is in the batch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from assetmgr import models
from assetmgr.errors import UsageError
from tests.models.conftest import MakeModel

pytestmark = pytest.mark.torch


def test_an_embedding_is_the_normalised_mean_of_the_last_layer(model_asset: MakeModel, bert: Path) -> None:
    import torch

    loaded = models.load(model_asset(bert))
    vectors = loaded.embed(["the cat sat on the mat", "dog"])
    assert vectors.shape == (2, 16)
    assert not vectors.requires_grad
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2))
    with torch.no_grad():
        states = loaded.model(**loaded.processor("dog", return_tensors="pt")).last_hidden_state[0]
    mean = states.mean(0)
    assert torch.allclose(vectors[1], mean / mean.norm(), atol=1e-6)


@pytest.mark.parametrize(
    ("said", "pooling"),
    [
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False, "word_embedding_dimension": 16}, "cls"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode_lasttoken": True}, "pooling_mode_lasttoken"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, "mean, pooling_mode_max_tokens"),
        ([], "nothing that can be read"),
    ],
)
def test_the_repositorys_own_pooling_is_done_or_refused(
    model_asset: MakeModel, bert_copy: Path, said: object, pooling: str
) -> None:
    import torch

    (bert_copy / "1_Pooling").mkdir()
    (bert_copy / "1_Pooling" / "config.json").write_text(json.dumps(said))
    loaded = models.load(model_asset(bert_copy))
    if pooling not in ("mean", "cls"):
        with pytest.raises(UsageError, match=f"the-model: its .*config.json asks for pooling by {pooling}"):
            loaded.embed("dog")
        return
    vectors = loaded.embed(["dog", "the cat sat on the mat"])
    with torch.no_grad():
        states = loaded.model(**loaded.processor("dog", return_tensors="pt")).last_hidden_state[0]
    expected = states.mean(0) if pooling == "mean" else states[0]
    assert torch.allclose(vectors[0], expected / expected.norm(), atol=1e-6)


def test_neighbours_and_batches_do_not_change_an_embedding(model_asset: MakeModel, bert: Path) -> None:
    import torch

    loaded = models.load(model_asset(bert))
    texts = ["cat", "the cat sat on the mat", "a dog ran"] * 15
    together = loaded.embed(texts)
    assert together.shape == (45, 16)
    for row in (0, 1, 44):
        assert torch.allclose(together[row], loaded.embed(texts[row])[0], atol=1e-6)
    assert loaded.embed([]).shape == (0, 16)


def test_texts_longer_than_the_model_reads_are_cut(model_asset: MakeModel, bert: Path) -> None:
    assert models.load(model_asset(bert)).embed("cat " * 500).shape == (1, 16)


def test_half_precision_gives_float32_vectors_nearly_the_same(model_asset: MakeModel, bert: Path) -> None:
    import torch

    texts = ["the cat sat on the mat", "dog"]
    whole = models.load(model_asset(bert)).embed(texts)
    half = models.load(model_asset(bert), dtype="float16").embed(texts)
    assert half.dtype == torch.float32
    assert torch.allclose(whole, half, atol=1e-2)


def test_an_encoder_neither_captions_nor_answers(model_asset: MakeModel, bert: Path) -> None:
    loaded = models.load(model_asset(bert))
    with pytest.raises(UsageError, match="the-model is a BertModel: it cannot caption"):
        loaded.caption(Image.new("RGB", (8, 8)))
    with pytest.raises(UsageError, match="cannot answer"):
        loaded.answer(Image.new("RGB", (8, 8)), "what?")
