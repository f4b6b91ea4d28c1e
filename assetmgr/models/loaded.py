"""The model object: what was loaded, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assetmgr.models.backends import BACKENDS, Backend
from assetmgr.models.pictures import Picture
from assetmgr.models.results import Features, Match

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, repr=False)
class LoadedModel:
    """A model ready to use.

    An image is PIL's, or the path of a file. A task that this model cannot do raises `UsageError`, which names those
    that it can.

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
        The `torch.dtype` that was asked for; where none was, that of most of its floating-point weights. (Some models
        keep a part in float32.)
    footprint
        The bytes of its parameters and buffers, as they are held: quantised ones by what they take.
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
    footprint: int
    folder: str
    backend: str = "transformers"

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the methods below that this model can do."""
        return self._backend.tasks(self)

    def caption(self, image: Picture, **generate: Any) -> str:
        """Describe an image.

        Parameters
        ----------
        generate
            Goes to the model's ``generate``: ``num_beams=5``, ``max_new_tokens=50`` (30 if nothing is said), ...
        """
        return self._backend.caption(self, image, generate)

    def answer(
        self,
        image: Picture,
        question: str,
        *,
        context: Sequence[tuple[str, str]] = (),
        prompt: str | None = None,
        **generate: Any,
    ) -> str:
        """Answer a question about an image.

        Parameters
        ----------
        context
            Earlier questions about the image, each with its answer. They are put before the question: ``Question: which
            city is this? Answer: singapore. Question: why? Answer:``.
        prompt
            How the model was taught to be asked; ``{question}`` stands for the question. None takes the model's own
            form: ``Question: {question} Answer:``, or for BLIP, which knows no context, the bare question.
        generate
            As for `caption`.
        """
        return self._backend.answer(self, image, question, context, prompt, generate)

    def generate(self, image: Picture | None, prompt: str, **generate: Any) -> str:
        """Go on with a text about an image. A model that only reads texts is given None for it.

        Parameters
        ----------
        prompt
            The beginning of the text, as it is.
        generate
            As for `caption`.

        Returns
        -------
        str
            What follows the prompt.
        """
        return self._backend.generate(self, image, prompt, generate)

    def features(
        self, image: Picture | Sequence[Picture] | None = None, text: str | Sequence[str] | None = None
    ) -> Features:
        """Feature vectors of images, of texts, or of pairs of both: as many texts as images.

        Returns
        -------
        Features
            On `device`, in float32.
        """
        return self._backend.features(self, image, text)

    def match(self, image: Picture, text: str) -> Match:
        """How well a text describes an image."""
        return self._backend.match(self, image, text)

    def embed(self, texts: str | Sequence[str]) -> torch.Tensor:
        """Embed texts with an encoder such as MiniLM.

        Returns
        -------
        torch.Tensor
            Shape (texts, hidden size), float32, on `device`: the mean of each text's token vectors (or the first
            token's, where the repository's ``1_Pooling/config.json`` says so), of length 1, so that a dot product is a
            cosine similarity.

        Raises
        ------
        UsageError
            When the model cannot do that, or its repository asks for another way of pooling.
        """
        return self._backend.embed(self, [texts] if isinstance(texts, str) else list(texts))

    @property
    def _backend(self) -> Backend:
        return BACKENDS[self.backend](self.name)

    def __repr__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return f"LoadedModel({self.name}: {type(self.model).__name__}, {dtype} on {self.device}, from {self.folder})"
