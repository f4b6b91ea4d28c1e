"""Features of images and texts, and how well the two match, by models of transformers.

Each family's own parts are called in the order of its own forward, which gives not all of the features, or in another
form. BLIP's texts begin with [CLS] everywhere, as in transformers' own forward; LAVIS marks a text that is read beside
an image by [ENC] instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import normalize

from assetmgr.errors import UsageError
from assetmgr.models.backends import cannot
from assetmgr.models.backends.quiet import quiet
from assetmgr.models.pictures import Picture, open_pictures
from assetmgr.models.results import Features, Match

if TYPE_CHECKING:
    from assetmgr.models.loaded import LoadedModel

# A model, the pixels of its images, and what its tokenizer made of its texts.
Extract = Callable[["LoadedModel", "torch.Tensor | None", "Mapping[str, torch.Tensor] | None"], Features]


def likens(loaded: LoadedModel) -> tuple[str, ...]:
    """What of this a model can do."""
    extract = _extract(loaded)
    if extract is None or not hasattr(loaded.processor, "image_processor"):
        return ()
    return ("features",) if extract in (_blip_image, _blip2_image) else ("features", "match")


def features(
    loaded: LoadedModel, image: Picture | Sequence[Picture] | None, text: str | Sequence[str] | None
) -> Features:
    """See `LoadedModel.features`."""
    found = _features(loaded, image, text)
    parts = {name: getattr(found, name) for name in Features.__slots__}
    return Features(**{name: None if part is None else part.float().to(loaded.device) for name, part in parts.items()})


def match(loaded: LoadedModel, image: Picture, text: str) -> Match:
    """See `LoadedModel.match`."""
    if "match" not in likens(loaded):
        raise cannot(loaded, "match")
    found = _features(loaded, image, text)
    images, texts = found.image_embeds_proj, found.text_embeds_proj
    assert images is not None
    assert texts is not None
    if images.dim() == 2:
        return Match(itm=None, itc=_item(images[0] @ texts[0]))
    assert found.multimodal_embeds is not None
    head, seen = loaded.model.itm_head, found.multimodal_embeds
    with torch.no_grad():
        if _extract(loaded) is _blip2:
            logits = head(_as(head, seen, loaded)).mean(dim=1)
            cosine = (images[0] @ texts[0, 0]).max()
        else:
            logits = head(seen[:, 0])
            cosine = images[0, 0] @ texts[0, 0]
    return Match(itm=_item(logits.float().softmax(dim=1)[0, 1]), itc=_item(cosine))


def _item(value: torch.Tensor) -> float:
    return float(value.float())


def _features(
    loaded: LoadedModel, image: Picture | Sequence[Picture] | None, text: str | Sequence[str] | None
) -> Features:
    """In the dtypes that the model has them in."""
    extract = _extract(loaded)
    can = likens(loaded)
    if extract is None or not can:
        raise cannot(loaded, "features")
    images = [] if image is None else open_pictures(image)
    texts = [] if text is None else [text] if isinstance(text, str) else list(text)
    if not images and not texts:
        raise UsageError(f"{loaded.name}: features of what? Give an image, a text, or both")
    if images and texts and len(images) != len(texts):
        raise UsageError(f"{loaded.name}: {len(images)} images and {len(texts)} texts are no pairs")
    if texts and "match" not in can:
        raise UsageError(f"{loaded.name} is a {type(loaded.model).__name__}: it has features of images only")
    pixels = None
    if images:
        pixels = loaded.processor.image_processor(images=images, return_tensors="pt")["pixel_values"]
        pixels = pixels.to(loaded.device, loaded.dtype)
    with torch.no_grad(), quiet():
        return extract(loaded, pixels, _tokens(loaded, texts) if texts else None)


def _tokens(loaded: LoadedModel, texts: Sequence[str]) -> Mapping[str, torch.Tensor]:
    config, tokenizer = loaded.model.config, loaded.processor.tokenizer
    text = getattr(config, "qformer_config", None) or config.text_config
    # A tokenizer that was saved without its limit says a number beyond all reason.
    longest = min(tokenizer.model_max_length, text.max_position_embeddings)
    read = tokenizer(list(texts), padding=len(texts) > 1, truncation=True, max_length=longest, return_tensors="pt")
    return {key: read[key].to(loaded.device) for key in ("input_ids", "attention_mask")}


def _extract(loaded: LoadedModel) -> Extract | None:
    """How this model's features are had."""
    return _FAMILIES.get(type(loaded.model).__name__)


def _as(layer: Any, states: torch.Tensor, loaded: LoadedModel) -> torch.Tensor:
    """In the dtype of a layer. Where that is quantised, in the one that it computes in."""
    weight = layer.weight
    return states.to(weight.dtype if weight.is_floating_point() else loaded.dtype)


def _ones(states: torch.Tensor) -> torch.Tensor:
    return torch.ones(states.shape[:-1], dtype=torch.long, device=states.device)


def _blip(loaded: LoadedModel, pixels: torch.Tensor | None, text: Mapping[str, torch.Tensor] | None) -> Features:
    model = loaded.model
    images = images_proj = texts = texts_proj = both = None
    if pixels is not None:
        images = model.vision_model(pixel_values=pixels)[0]
        images_proj = normalize(model.vision_proj(images), dim=-1)
    if text is not None:
        texts = model.text_encoder(**text)[0]
        texts_proj = normalize(model.text_proj(texts), dim=-1)
    if images is not None and text is not None:
        both = model.text_encoder(**text, encoder_hidden_states=images, encoder_attention_mask=_ones(images))[0]
    return Features(images, images_proj, texts, texts_proj, both)


def _blip2(loaded: LoadedModel, pixels: torch.Tensor | None, text: Mapping[str, torch.Tensor] | None) -> Features:
    model = loaded.model
    images = images_proj = texts = texts_proj = both = None
    if pixels is not None:
        patches = _as(model.qformer.layernorm, model.vision_model(pixel_values=pixels)[0], loaded)
        queries = model.query_tokens.expand(len(patches), -1, -1)
        beside = {"encoder_hidden_states": patches, "encoder_attention_mask": _ones(patches)}
        images = model.qformer(query_embeds=queries, **beside)[0]
        images_proj = normalize(model.vision_projection(_as(model.vision_projection, images, loaded)), dim=-1)
        if text is not None:
            both = model.qformer(
                query_embeds=model.embeddings(input_ids=text["input_ids"], query_embeds=queries),
                query_length=queries.shape[1],
                attention_mask=torch.cat([_ones(queries), text["attention_mask"]], dim=1),
                **beside,
            )[0][:, : queries.shape[1]]
    if text is not None:
        words = model.embeddings(input_ids=text["input_ids"])
        texts = model.qformer(query_embeds=words, query_length=0, attention_mask=text["attention_mask"])[0]
        texts_proj = normalize(model.text_projection(_as(model.text_projection, texts, loaded)), dim=-1)
    return Features(images, images_proj, texts, texts_proj, both)


def _clip(loaded: LoadedModel, pixels: torch.Tensor | None, text: Mapping[str, torch.Tensor] | None) -> Features:
    images = None if pixels is None else _pooled(loaded.model.get_image_features(pixel_values=pixels))
    texts = None if text is None else _pooled(loaded.model.get_text_features(**text))
    return Features(
        images,
        None if images is None else normalize(images, dim=-1),
        texts,
        None if texts is None else normalize(texts, dim=-1),
    )


def _pooled(output: Any) -> torch.Tensor:
    """5.x gives these features among others, 4.x by themselves."""
    pooled: torch.Tensor = output if isinstance(output, torch.Tensor) else output.pooler_output
    return pooled


def _blip_image(loaded: LoadedModel, pixels: torch.Tensor | None, text: Mapping[str, torch.Tensor] | None) -> Features:
    return Features(loaded.model.vision_model(pixel_values=pixels)[0])


def _blip2_image(loaded: LoadedModel, pixels: torch.Tensor | None, text: Mapping[str, torch.Tensor] | None) -> Features:
    model = loaded.model
    patches = _as(model.qformer.layernorm, model.vision_model(pixel_values=pixels)[0], loaded)
    queries = model.query_tokens.expand(len(patches), -1, -1)
    return Features(
        model.qformer(query_embeds=queries, encoder_hidden_states=patches, encoder_attention_mask=_ones(patches))[0]
    )


_FAMILIES: Mapping[str, Extract] = {
    "CLIPModel": _clip,
    "BlipForImageTextRetrieval": _blip,
    "Blip2ForImageTextRetrieval": _blip2,
    # Their texts are written by a language model, and have no features beside those of the image.
    "BlipForConditionalGeneration": _blip_image,
    "BlipForQuestionAnswering": _blip_image,
    "Blip2ForConditionalGeneration": _blip2_image,
    "Blip2Model": _blip2_image,
}
