"""The model object: what was loaded, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assetmgr.models.backends import BACKENDS

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

# BLIP-2's own form of a question.
QUESTION = "Question: {question} Answer:"


@dataclass(frozen=True, slots=True, repr=False)
class LoadedModel:
    """A model ready to use.

    Attributes
    ----------
    name
        The asset.
    model
        The library's own model object, in evaluation mode.
    processor
        What turns images and texts into its inputs: the library's processor, tokenizer or image processor; None where
        the asset has none.
    device
        Where its inputs go, as a `torch.device`.
    dtype
        The `torch.dtype` of most of its floating-point weights. (Some models keep a part in float32.)
    folder
        The folder that it was loaded from.
    backend
        The library that loaded it.
    """

    name: str
    model: Any
    processor: Any
    device: torch.device
    dtype: torch.dtype
    folder: str
    backend: str = "transformers"

    def caption(self, image: Image, **generate: Any) -> str:
        """Describe an image (PIL).

        Parameters
        ----------
        generate
            Goes to the model's ``generate``: ``num_beams=5``, ``max_new_tokens=50`` (30 if nothing is said), ...

        Raises
        ------
        UsageError
            When the model cannot do that.
        """
        return BACKENDS[self.backend](self.name).caption(self, image, generate)

    def answer(self, image: Image, question: str, *, prompt: str = QUESTION, **generate: Any) -> str:
        """Answer a question about an image (PIL).

        Parameters
        ----------
        prompt
            How the model was taught to be asked; ``{question}`` stands for the question.
        generate
            As for `caption`.

        Raises
        ------
        UsageError
            When the model cannot do that.
        """
        return BACKENDS[self.backend](self.name).answer(self, image, prompt.replace("{question}", question), generate)

    def embed(self, texts: str | Sequence[str]) -> torch.Tensor:
        """Embed texts with an encoder such as MiniLM.

        Returns
        -------
        torch.Tensor
            Shape (texts, hidden size), float32, on `device`: the mean of each text's token vectors, of length 1, so
            that a dot product is a cosine similarity.

        Raises
        ------
        UsageError
            When the model cannot do that.
        """
        return BACKENDS[self.backend](self.name).embed(self, [texts] if isinstance(texts, str) else list(texts))

    def __repr__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return f"LoadedModel({self.name}: {type(self.model).__name__}, {dtype} on {self.device}, from {self.folder})"
