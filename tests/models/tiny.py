"""Very small models with random weights, complete with processors, as a hub repository holds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "cat",
    "sat",
    "on",
    "the",
    "mat",
    "dog",
    "what",
    "is",
    "this",
]
SIDE = 32  # of its images, in pixels
WIDTH = 64  # bitsandbytes quantises blocks of 64
SPECIAL = [0, 1, 2, 3, 4, len(WORDS), len(WORDS) + 1]
_SMALL = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_VISION = _SMALL | {"image_size": SIDE, "patch_size": 16}
_NORMAL = {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28], "rescale_factor": 1 / 255}
_DO = {"do_resize": True, "do_rescale": True, "do_normalize": True, "do_convert_rgb": True, "resample": 3}


def save(kind: str, folder: Path) -> Path:
    """Make the model of that kind: one of `KINDS`."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = globals()[f"_{kind}"](folder)
    with torch.no_grad():  # freshly made ones have zeros where trained ones have not
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
    model.save_pretrained(folder)
    return folder


KINDS = (
    "blip_caption",
    "blip_vqa",
    "blip_retrieval",
    "clip",
    "blip2_opt",
    "blip2_t5",
    "blip2_retrieval",
    "gpt2",
)


def _write(folder: Path, **files: Any) -> None:
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value))


def _bert_words(folder: Path, processor: str, **more: Any) -> None:
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    image = {"image_processor_type": "BlipImageProcessor", "size": {"height": SIDE, "width": SIDE}} | _DO | _NORMAL
    _write(
        folder,
        tokenizer_config={"tokenizer_class": "BertTokenizer", "do_lower_case": True, "processor_class": processor},
        preprocessor_config=image | {"processor_class": processor},
        **({"processor_config": {"processor_class": processor} | more} if more else {}),
    )


def _blip(folder: Path, kind: str) -> Any:
    import transformers

    _bert_words(folder, "BlipProcessor")
    text = {
        **_SMALL,
        "encoder_hidden_size": WIDTH,
        "vocab_size": len(WORDS) + 2,
        "max_position_embeddings": 40,
        "pad_token_id": 0,
        "bos_token_id": len(WORDS),
        "sep_token_id": 3,
        "eos_token_id": 3,
    }
    config = transformers.BlipConfig(text_config=text, vision_config=_VISION, image_text_hidden_size=16)
    return getattr(transformers, kind)(config)


def _blip_caption(folder: Path) -> Any:
    return _blip(folder, "BlipForConditionalGeneration")


def _blip_vqa(folder: Path) -> Any:
    return _blip(folder, "BlipForQuestionAnswering")


def _blip_retrieval(folder: Path) -> Any:
    return _blip(folder, "BlipForImageTextRetrieval")


def _bytes_words(folder: Path, tokenizer: str, processor: str) -> int:
    """A tokenizer of letters, as GPT-2's and CLIP's are."""
    letters = "abcdefghijklmnopqrstuvwxyz?:.Ġ"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    (folder / "merges.txt").write_text("#version: 0.2\n")
    _write(folder, vocab={word: number for number, word in enumerate(words)})
    config = {"tokenizer_class": tokenizer, "eos_token": words[1], "unk_token": words[1], "bos_token": words[0]}
    _write(
        folder,
        tokenizer_config=config | {"pad_token": words[1]} | ({"processor_class": processor} if processor else {}),
    )
    return len(words)


def _clip(folder: Path) -> Any:
    import transformers

    count = _bytes_words(folder, "CLIPTokenizer", "CLIPProcessor")
    size = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}, "do_center_crop": True}
    _write(
        folder,
        preprocessor_config={"image_processor_type": "CLIPImageProcessor", "processor_class": "CLIPProcessor"}
        | size
        | _DO
        | _NORMAL,
    )
    text = {**_SMALL, "vocab_size": count, "max_position_embeddings": 77, "eos_token_id": 1, "bos_token_id": 0}
    config = transformers.CLIPConfig(text_config=text, vision_config=_VISION, projection_dim=16)
    return transformers.CLIPModel(config)


def _blip2_config(**more: Any) -> Any:
    import transformers

    config = transformers.Blip2Config(
        vision_config=_VISION,
        qformer_config=_SMALL
        | {"encoder_hidden_size": WIDTH, "vocab_size": len(WORDS) + 1, "max_position_embeddings": 40},
        num_query_tokens=4,
        image_text_hidden_size=16,
        **more,
    )
    return config


def _blip2_opt(folder: Path) -> Any:
    import transformers

    _bert_words(folder, "Blip2Processor", num_query_tokens=4)
    text = {
        "model_type": "opt",
        "hidden_size": WIDTH,
        "word_embed_proj_dim": WIDTH,
        "ffn_dim": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "vocab_size": len(WORDS) + 1,
        "max_position_embeddings": 128,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "pad_token_id": 0,
    }
    return transformers.Blip2ForConditionalGeneration(_blip2_config(text_config=text, image_token_index=len(WORDS)))


def _blip2_t5(folder: Path) -> Any:
    import transformers

    _bert_words(folder, "Blip2Processor", num_query_tokens=4)
    text = transformers.T5Config(
        vocab_size=len(WORDS) + 1, d_model=WIDTH, d_kv=8, d_ff=64, num_layers=2, num_heads=2, decoder_start_token_id=0
    )
    config = _blip2_config(text_config=text.to_dict(), image_token_index=len(WORDS))
    config.use_decoder_only_language_model = False
    return transformers.Blip2ForConditionalGeneration(config)


def _blip2_retrieval(folder: Path) -> Any:
    import transformers

    _bert_words(folder, "Blip2Processor")
    config = _blip2_config()
    config.image_token_index = None
    config.qformer_config.use_qformer_text_input = True
    return transformers.Blip2ForImageTextRetrieval(config)


def _gpt2(folder: Path) -> Any:
    import transformers

    count = _bytes_words(folder, "GPT2Tokenizer", "")
    config = transformers.GPT2Config(
        vocab_size=count, n_positions=64, n_embd=WIDTH, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=1
    )
    return transformers.GPT2LMHeadModel(config)
