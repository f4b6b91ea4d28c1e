"""What a model says of images and texts in numbers: features, and how well the two match."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Feature vectors of images and texts. B is their number, n and L are positions, d and p are widths.

    None stands for what was not asked for, and for what the model has not. Names and shapes are those of LAVIS's
    ``extract_features``; the first vector of each text, and of each of BLIP's images, stands for the whole of it.

    Attributes
    ----------
    image_embeds
        BLIP: (B, n, d), the patches of the image after one for the whole. BLIP-2: (B, queries, d), what its Q-Former
        sees. CLIP: (B, p).
    image_embeds_proj
        The same in the low-dimensional space that images and texts share, each vector of length 1: (B, n, p),
        (B, queries, p); CLIP: (B, p).
    text_embeds
        (B, L, d); CLIP: (B, p).
    text_embeds_proj
        (B, L, p), each vector of length 1; CLIP: (B, p).
    multimodal_embeds
        Where an image and a text are given: BLIP: (B, L, d). BLIP-2: (B, queries, d). CLIP has none.
    """

    image_embeds: torch.Tensor | None = None
    image_embeds_proj: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    text_embeds_proj: torch.Tensor | None = None
    multimodal_embeds: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """How well an image and a text match.

    Attributes
    ----------
    itm
        The probability that they match, by the model's matching head; None where it has none.
    itc
        The cosine similarity of their low-dimensional features; None where the model has none.
    """

    itm: float | None
    itc: float | None
