"""BLIP-2 through LAVIS's own classes, with every part made small: prompts with context, features and matching."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from assetmgr import models
from assetmgr.errors import IntegrityError, UsageError
from assetmgr.verify import Installed
from tests.datasets.stored import store_asset
from tests.lavis.stage import vocabulary

pytestmark = pytest.mark.lavis
COMMIT = "5" * 40
CONFIG = """
model: {{arch: small, load_finetuned: False, pretrained: "https://h.example/{file}", image_size: 28, drop_path_rate: 0,
  use_grad_checkpoint: False, vit_precision: fp32, freeze_vit: True, num_query_token: 4, opt_model: org/opt,
  prompt: ""}}
preprocess:
  vis_processor: {{eval: {{name: blip_image_eval, image_size: 28}}}}
  text_processor: {{eval: {{name: blip_caption}}}}
"""
CONTEXT = [("which city is this?", "singapore"), ("why?", "it has a statue of a merlion")]
PROMPT = (
    "Question: which city is this? Answer: singapore. Question: why? Answer: it has a statue of a merlion. "
    "Question: where is the name from? Answer:"
)


def small_encoder(*_: object) -> Any:
    """LAVIS's own image encoder, in the size of a stamp, from a file as ever."""
    import torch
    from lavis.common.dist_utils import download_cached_file
    from lavis.models.eva_vit import VisionTransformer

    model = VisionTransformer(img_size=28, patch_size=14, embed_dim=16, depth=1, num_heads=2, qkv_bias=True)
    model.load_state_dict(torch.load(download_cached_file("https://h.example/eva.pth")), strict=False)
    return model


def in_hub(root: Path, repo: str, model: Any, files: dict[str, bytes]) -> None:
    folder = root / "hub" / f"models--{repo.replace('/', '--')}"
    snapshot = folder / "snapshots" / COMMIT
    model.save_pretrained(snapshot)
    for name, data in files.items():
        (snapshot / name).write_bytes(data)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes an asset of an architecture whose parts are small; ``change`` may change its checkpoint."""
    import json

    import torch
    import transformers
    from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

    from assetmgr.models.backends.lavis_files import import_lavis

    lavis = import_lavis("the test")
    torch.manual_seed(0)
    store = tmp_path / "store"
    sizes: dict[str, Any] = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2}
    bert = transformers.BertConfig(vocab_size=30522, intermediate_size=32, **sizes)
    bert_files = {name: data for name, data in vocabulary().items() if name != "config.json"}
    in_hub(store, "bert-base-uncased", transformers.BertLMHeadModel(bert), bert_files)
    words = ["<pad>", "</s>", *bytes_to_unicode().values()]
    opt = transformers.OPTConfig(
        vocab_size=len(words),
        ffn_dim=32,
        word_embed_proj_dim=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
        **sizes,
    )
    tokenizer = {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True} | dict.fromkeys(
        ("bos_token", "eos_token", "unk_token"), "</s>"
    )
    opt_files = {
        "vocab.json": json.dumps({word: at for at, word in enumerate(words)}).encode(),
        "merges.txt": b"#version: 0.2\n",
        "tokenizer_config.json": json.dumps({**tokenizer, "pad_token": "<pad>"}).encode(),
    }
    in_hub(store, "org/opt", transformers.OPTForCausalLM(opt), opt_files)
    monkeypatch.setattr(sys.modules["lavis.models.blip2_models.blip2"], "create_eva_vit_g", small_encoder)

    def make(architecture: str, change: Any = lambda weights: None) -> Installed:
        kind = lavis.registry.get_model_class(architecture)
        config = tmp_path / "small.yaml"
        config.write_text(CONFIG.format(file="small.pth"))
        monkeypatch.setitem(kind.PRETRAINED_MODEL_CONFIG_DICT, "small", str(config))
        with monkeypatch.context() as patch:
            import lavis.models.eva_vit as eva
            import transformers.utils.hub as hub
            from omegaconf import OmegaConf

            encoder = eva.VisionTransformer(
                img_size=28, patch_size=14, embed_dim=16, depth=1, num_heads=2, qkv_bias=True
            )
            patch.setattr(hub, "TRANSFORMERS_CACHE", str(store / "hub"))
            patch.setattr(hub, "_is_offline_mode", True)
            patch.setattr(sys.modules["lavis.models.blip2_models.blip2"], "create_eva_vit_g", lambda *_: encoder)
            patch.setattr(kind, "load_checkpoint_from_config", lambda *_, **__: None)
            model = kind.from_config(OmegaConf.load(config).model)
        # As LAVIS saves them: what is frozen is of other files.
        frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
        weights = {name: weight for name, weight in model.state_dict().items() if name not in frozen}
        change(weights)
        torch.save({"model": weights}, tmp_path / "small.pth")
        torch.save(encoder.state_dict(), tmp_path / "eva.pth")
        use = {"load": {"lavis": {"name": architecture, "model_type": "small"}}}
        content: Any = {name: tmp_path / name for name in ("small.pth", "eva.pth")}
        return store_asset(store, "small", content, use, kind="model", origin="files", place="torch")

    return make


def pixels(loaded: Any, picture: Path) -> Any:
    from PIL import Image

    return loaded.processor.vis["eval"](Image.open(picture).convert("RGB")).unsqueeze(0)


def test_prompts_with_context_are_those_of_lavis_examples(small: Any, picture: Path) -> None:
    loaded = models.load(small("blip2_opt"), device="cpu")
    assert loaded.tasks == ("caption", "answer", "generate")
    sample = {"image": pixels(loaded, picture), "prompt": PROMPT}
    expected = loaded.model.generate(sample, max_length=6)[0]
    assert loaded.answer(picture, "where is the name from?", context=CONTEXT, max_length=6) == expected
    assert loaded.generate(picture, PROMPT, max_length=6) == expected
    assert loaded.caption(picture, max_length=6) == loaded.model.generate({"image": sample["image"]}, max_length=6)[0]
    with pytest.raises(UsageError, match="mixes the precisions of BLIP-2 itself"):
        models.load(small("blip2_opt"), device="cpu", dtype="float16")


def test_features_and_matching_are_lavis_own(small: Any, picture: Path) -> None:
    import torch

    loaded = models.load(small("blip2_image_text_matching"), device="cpu")
    image, text = pixels(loaded, picture), loaded.processor.txt["eval"]("merlion in Singapore")
    sample = {"image": image, "text_input": text}
    found = loaded.match(picture, "merlion in Singapore")
    itm = torch.nn.functional.softmax(loaded.model(sample, match_head="itm"), dim=1)[:, 1].item()
    assert found.itm == pytest.approx(itm, abs=1e-6)
    assert found.itc == pytest.approx(loaded.model(sample, match_head="itc").item(), abs=1e-6)
    features = loaded.features(picture, "merlion in Singapore")
    for mode, name in (
        ("image", "image_embeds_proj"),
        ("text", "text_embeds_proj"),
        ("multimodal", "multimodal_embeds"),
    ):
        both = {"image": image, "text_input": [text]}
        assert getattr(features, name).equal(getattr(loaded.model.extract_features(both, mode=mode), name))


def test_a_checkpoint_without_what_was_trained_is_refused_though_bert_has_it_too(small: Any) -> None:
    def change(weights: dict[str, Any]) -> None:
        del weights["Qformer.bert.encoder.layer.1.attention.self.query.weight"]
        weights["Qformer.cls.predictions.bias"] = weights["query_tokens"]  # which the first stage alone has

    found = small("blip2_opt", change)
    with pytest.raises(IntegrityError) as caught:
        models.load(found, device="cpu")
    said = "1 missing or of another shape: Qformer.bert.encoder.layer.1.attention.self.query.weight"
    assert caught.value.message.endswith(said)
