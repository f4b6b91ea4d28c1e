"""Backends: the libraries that load models and run them, one module each behind one Protocol.

A new backend is a module with these functions, and a line in `BACKENDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from assetmgr.errors import AssetError, MissingExtraError
from assetmgr.verify import Installed

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from assetmgr.models.loaded import LoadedModel


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
    """

    found: Installed
    device: str
    dtype: str
    quantize: str
    options: Mapping[str, Any]


class Backend(Protocol):
    """One library that loads models. See `LoadedModel` for what the tasks promise."""

    def load(self, request: Request) -> LoadedModel: ...

    def caption(self, loaded: LoadedModel, image: Image, generate: Mapping[str, Any]) -> str: ...

    def answer(self, loaded: LoadedModel, image: Image, prompt: str, generate: Mapping[str, Any]) -> str: ...

    def embed(self, loaded: LoadedModel, texts: Sequence[str]) -> torch.Tensor: ...


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


# How to get a backend; the name is that of the asset that needs it, for the error when the library is not there.
BACKENDS: Mapping[str, Callable[[str], Backend]] = {"transformers": _transformers}
