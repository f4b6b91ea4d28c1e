"""Backends: the libraries that load models and run them, one module each behind one Protocol.

A new backend is a module with these functions, and a line in `BACKENDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from assetmgr.errors import AssetError, MissingExtraError, UsageError
from assetmgr.models.pictures import Picture
from assetmgr.models.results import Features, Match
from assetmgr.verify import Installed

if TYPE_CHECKING:
    import torch

    from assetmgr.models.loaded import LoadedModel
    from assetmgr.models.weights.files import Located


class Request(NamedTuple):
    """What to load and how, every default resolved.

    Attributes
    ----------
    device
        ``auto``, or a device's name.
    dtype
        ``auto``, ``float32``, ``float16`` or ``bfloat16``.
    quantize
        ``none``, ``int8`` or ``nf4``.
    options
        The manifest's ``load:``.
    required
        What the model requires, proved too.
    into
        The caller's own module, for the weights to go into.
    weights
        Prepared weights, to be read in place of the asset's own.
    """

    found: Installed
    device: str
    dtype: str
    quantize: str
    options: Mapping[str, Any]
    into: Any = None
    weights: Located | None = None
    required: Sequence[Installed] = ()


class Backend(Protocol):
    """One library that loads models. See `LoadedModel` for what the tasks promise."""

    def load(self, request: Request) -> LoadedModel: ...

    def tasks(self, loaded: LoadedModel) -> tuple[str, ...]: ...

    def caption(self, loaded: LoadedModel, image: Picture, generate: Mapping[str, Any]) -> str: ...

    def answer(
        self,
        loaded: LoadedModel,
        image: Picture,
        question: str,
        context: Sequence[tuple[str, str]],
        prompt: str | None,
        generate: Mapping[str, Any],
    ) -> str: ...

    def generate(self, loaded: LoadedModel, image: Picture | None, prompt: str, generate: Mapping[str, Any]) -> str: ...

    def features(
        self, loaded: LoadedModel, image: Picture | Sequence[Picture] | None, text: str | Sequence[str] | None
    ) -> Features: ...

    def match(self, loaded: LoadedModel, image: Picture, text: str) -> Match: ...

    def embed(self, loaded: LoadedModel, texts: Sequence[str]) -> torch.Tensor: ...


def cannot(loaded: LoadedModel, task: str) -> UsageError:
    """The error of a task that a model cannot do."""
    can = ", ".join(loaded.tasks)
    return UsageError(
        f"{loaded.name} is a {type(loaded.model).__name__}: it cannot {task}",
        mend=f"what it can: {can}" if can else "its `model` and `processor` are the library's own",
    )


def _transformers(name: str) -> Backend:
    try:
        from assetmgr.models.backends import transformers
    except ModuleNotFoundError as error:
        if error.name in ("torch", "transformers"):
            raise MissingExtraError(
                f"{name}: {error.name}, which loads it, is not installed", mend="pip install 'assetmgr[transformers]'"
            ) from None
        raise
    except (ImportError, OSError, RuntimeError) as error:
        raise AssetError(f"{name}: torch or transformers is installed, but cannot be imported: {error}") from error
    return transformers


def _lavis(name: str) -> Backend:
    try:
        from assetmgr.models.backends import lavis
    except ModuleNotFoundError as error:
        if error.name == "torch":
            raise MissingExtraError(
                f"{name}: LAVIS, which loads it, is not installed",
                mend="an environment that works: assetmgr requirements lavis",
            ) from None
        raise
    return lavis


def _torch(name: str) -> Backend:
    try:
        from assetmgr.models.backends import torch_module
    except ModuleNotFoundError as error:
        if error.name in ("torch", "safetensors"):
            raise MissingExtraError(
                f"{name}: {error.name}, which loads it, is not installed", mend="pip install 'assetmgr[transformers]'"
            ) from None
        raise
    except (ImportError, OSError, RuntimeError) as error:
        raise AssetError(f"{name}: torch is installed, but cannot be imported: {error}") from error
    return torch_module


# How to get a backend; the name is that of the asset that needs it, for the error when the library is not there.
BACKENDS: Mapping[str, Callable[[str], Backend]] = {
    "transformers": _transformers,
    "lavis": _lavis,
    "torch": _torch,
}
