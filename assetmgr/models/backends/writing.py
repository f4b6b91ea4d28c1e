"""Texts that models of transformers write: captions, answers, and what follows a prompt."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from assetmgr.errors import UsageError
from assetmgr.models.backends import cannot
from assetmgr.models.backends.quiet import quiet
from assetmgr.models.pictures import Picture, open_picture
from assetmgr.models.prompts import QUESTION, conversation

if TYPE_CHECKING:
    from assetmgr.models.loaded import LoadedModel

_NEW_TOKENS = 30


def writes(loaded: LoadedModel) -> tuple[str, ...]:
    """What of this a model can do."""
    kind = type(loaded.model).__name__
    if not _has_tokenizer(loaded.processor):
        return ()
    if not _sees(loaded):
        return ("generate",) if loaded.model.can_generate() else ()
    if kind == "BlipForQuestionAnswering":
        return ("answer",)
    if not loaded.model.can_generate():
        return ()
    return ("caption", "generate") if kind == "BlipForConditionalGeneration" else ("caption", "answer", "generate")


def caption(loaded: LoadedModel, image: Picture, generate: Mapping[str, Any]) -> str:
    """See `LoadedModel.caption`."""
    if "caption" not in writes(loaded):
        raise cannot(loaded, "caption")
    config = loaded.model.config
    first = getattr(getattr(config, "text_config", None), "bos_token_id", None)
    if first is None:  # T5 has no first token: Blip2 begins with an empty text
        return _write(loaded, image, "", generate)
    if config.model_type != "blip-2" or getattr(config, "image_token_index", None) is None:
        return _write(loaded, image, None, generate)
    # What Blip2 begins with by itself in 5.x. Some 4.x forget the image's own tokens, and fail.
    start = torch.tensor([[config.image_token_index] * config.num_query_tokens + [first]], device=loaded.device)
    return _write(loaded, image, None, {**generate, "input_ids": start, "attention_mask": torch.ones_like(start)})


def answer(
    loaded: LoadedModel,
    image: Picture,
    question: str,
    context: Sequence[tuple[str, str]],
    prompt: str | None,
    generate: Mapping[str, Any],
) -> str:
    """See `LoadedModel.answer`."""
    if "answer" not in writes(loaded):
        raise cannot(loaded, "answer")
    if type(loaded.model).__name__ == "BlipForQuestionAnswering":
        if context:
            raise UsageError(f"{loaded.name}: BLIP answers one question alone, and knows no context")
        return _write(loaded, image, conversation(question, prompt=prompt or "{question}"), generate)
    return _write(loaded, image, conversation(question, context, prompt or QUESTION), generate)


def generate(loaded: LoadedModel, image: Picture | None, prompt: str, generate: Mapping[str, Any]) -> str:
    """See `LoadedModel.generate`."""
    if "generate" not in writes(loaded):
        raise cannot(loaded, "generate")
    if _sees(loaded) and image is None:
        raise UsageError(f"{loaded.name} writes about an image, and was given none")
    if not _sees(loaded) and image is not None:
        raise UsageError(f"{loaded.name} reads texts only", mend="give None for the image")
    return _write(loaded, image, prompt, generate)


def _has_tokenizer(processor: Any) -> bool:
    return hasattr(processor, "tokenizer" if hasattr(processor, "image_processor") else "batch_decode")


def _sees(loaded: LoadedModel) -> bool:
    return hasattr(loaded.processor, "image_processor")


def _write(loaded: LoadedModel, image: Picture | None, text: str | None, generate: Mapping[str, Any]) -> str:
    given: dict[str, Any] = {} if text is None else {"text": text}
    if image is not None:
        given["images"] = open_picture(image)
    inputs = loaded.processor(**given, return_tensors="pt")
    if "token_type_ids" in inputs and "token_type_ids" not in inspect.signature(loaded.model.forward).parameters:
        del inputs["token_type_ids"]  # BERT's tokenizer gives them to whom it serves, and `generate` refuses them
    for key, value in inputs.items():
        inputs[key] = value.to(loaded.device, loaded.dtype if value.is_floating_point() else value.dtype)
    if not {"max_new_tokens", "max_length", "generation_config"} & generate.keys():
        generate = {**generate, "max_new_tokens": _NEW_TOKENS}
    with torch.no_grad(), quiet():
        tokens = loaded.model.generate(**{**inputs, **generate})[0]
    prompt = {**inputs, **generate}.get("input_ids")
    written: str = loaded.processor.decode(_without_prompt(tokens, prompt), skip_special_tokens=True)
    return written.strip()


def _without_prompt(tokens: torch.Tensor, prompt: torch.Tensor | None) -> torch.Tensor:
    """Decoders give the prompt back, in most versions of transformers; BLIP with another first token and no last."""
    if prompt is None:
        return tokens
    length = prompt.shape[1]
    if torch.equal(tokens[:length], prompt[0]):
        return tokens[length:]
    if length > 2 and torch.equal(tokens[1 : length - 1], prompt[0, 1:-1]):
        return tokens[length - 1 :]
    return tokens
