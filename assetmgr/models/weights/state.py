"""The tensors of a checkpoint, by name: read one by one, straight to where they are wanted.

Safetensors are mapped into memory, and so are the zips of `torch.save`, after `check_pickled`: nothing is read before
it is asked for, and nothing is held twice. (The older formats cannot be mapped, and are read whole.)
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open

from assetmgr.errors import AssetError, IntegrityError, UsageError
from assetmgr.models.weights.checkpoints import check_pickled
from assetmgr.models.weights.files import Located

# In a safetensors' metadata: names of tensors that share another one's bytes, as JSON.
ALIASES = "assetmgr.aliases"
_ZIP = b"PK\3\4"
_NAMED = 6


class Weights(NamedTuple):
    """What a checkpoint holds.

    Attributes
    ----------
    shapes
        Of each tensor, by name.
    read
        Gives a tensor by its name, on the device that was asked for. Names that share bytes may give the same tensor.
    left_out
        What else is in the file, each with its type.
    """

    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], torch.Tensor]
    left_out: tuple[str, ...] = ()


def open_weights(asset: str, files: Sequence[Located], key: str | None, device: torch.device) -> Weights:
    """Open the files that make up one state dict.

    Parameters
    ----------
    key
        Of a pickled checkpoint: under which key the tensors are. None: at the top.

    Raises
    ------
    IntegrityError
        When a file is damaged, or is more than tensors.
    UsageError
        When there are no tensors under the key.
    """
    opened = [
        _safetensors(asset, file, device) if file.is_safe else _pickled(asset, file, key, device) for file in files
    ]
    shapes: dict[str, tuple[int, ...]] = {}
    owner: dict[str, Weights] = {}
    for weights, file in zip(opened, files, strict=True):
        for name, shape in weights.shapes.items():
            if name in owner:
                raise IntegrityError(f"{asset}: {name} is in two of its files, {file.name} being the second")
            shapes[name], owner[name] = shape, weights
    left_out = tuple(what for weights in opened for what in weights.left_out)
    return Weights(shapes, lambda name: owner[name].read(name), left_out)


def _safetensors(asset: str, file: Located, device: torch.device) -> Weights:
    with explained(asset, file.name):
        handle: Any = safe_open(file.path, framework="pt", device=str(device))
        shapes = {name: tuple(handle.get_slice(name).get_shape()) for name in handle.keys()}  # noqa: SIM118 - no dict
        aliases = _aliases(handle.metadata() or {}, shapes)
    shapes |= {alias: shapes[name] for alias, name in aliases.items()}
    kept: dict[str, torch.Tensor] = {}
    shared = set(aliases.values())

    def read(name: str) -> torch.Tensor:
        name = aliases.get(name, name)
        with explained(asset, file.name):
            tensor = kept[name] if name in kept else handle.get_tensor(name)
        if name in shared:
            kept[name] = tensor
        return tensor

    return Weights(shapes, read)


def _aliases(metadata: Mapping[str, str], shapes: Mapping[str, Any]) -> dict[str, str]:
    said = json.loads(metadata.get(ALIASES, "{}"))
    if not isinstance(said, dict) or not all(name in shapes for name in said.values()):
        raise ValueError(f"its metadata {ALIASES} names no tensors of it")
    return {alias: name for alias, name in said.items() if alias not in shapes}


def _pickled(asset: str, file: Located, key: str | None, device: torch.device) -> Weights:
    tensors, left_out = read_pickled(asset, file, key)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return Weights(shapes, lambda name: tensors[name].to(device), left_out)


def read_pickled(asset: str, file: Located, key: str | None) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """The tensors of a pickled checkpoint, on the CPU, and what else is in it.

    Raises
    ------
    IntegrityError
        When it is damaged, or more than tensors.
    UsageError
        When there are no tensors under the key.
    """
    check_pickled(asset, file.name, file.path)
    with open(file.path, "rb") as opened:
        mapped = opened.read(4) == _ZIP
    with explained(asset, file.name):
        content = torch.load(file.path, map_location="cpu", weights_only=True, mmap=mapped)
    return chosen(asset, file.name, content, key, os.path.getsize(file.path))


def chosen(
    asset: str, name: str, content: Any, key: str | None, size: int
) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """The tensors under a key of what a checkpoint holds, and what else is there, each as ``name (type)``."""
    if key is not None:
        if not isinstance(content, Mapping) or not isinstance(content.get(key), Mapping):
            raise UsageError(
                f"{asset}: {name} has no tensors under the key {key!r}; {_contents(content)}",
                mend=f"correct `key:` under `load:` of {asset} in the manifest",
            )
        beside = tuple(f"{other} ({type(value).__name__})" for other, value in content.items() if other != key)
        content = content[key]
    else:
        beside = ()
    tensors = {str(field): value for field, value in _fields(content) if isinstance(value, torch.Tensor)}
    if not tensors:
        nested = [str(field) for field, value in _fields(content) if any(_is_tensor(one) for _, one in _fields(value))]
        mend = f"`load: {{key: {nested[0]}}}` of {asset} in the manifest" if nested else "name another file of it"
        raise UsageError(f"{asset}: {name} has no tensors by name; {_contents(content)}", mend=mend)
    # Strides can make a tensor of any size out of a few bytes.
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if total > 16 * size + (1 << 20):
        raise IntegrityError(
            f"{asset}: {name} unfolds to {total:,} bytes of tensors out of {size:,}",
            mend="get the weights from a source that you trust",
        )
    rest = tuple(f"{field} ({type(value).__name__})" for field, value in _fields(content) if not _is_tensor(value))
    return tensors, rest + beside


def _fields(content: Any) -> Sequence[tuple[Any, Any]]:
    return list(content.items()) if isinstance(content, Mapping) else []


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _contents(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"it is a {type(content).__name__}"
    names = [str(name)[:80] for name in content]
    return f"it has {', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''}" if names else "it is empty"


@contextlib.contextmanager
def explained(asset: str, name: str) -> Iterator[None]:
    """Turn what torch and safetensors raise over a file into an error that names it."""
    mend = f"assetmgr verify {asset} --full --repair"
    try:
        yield
    except AssetError:
        raise
    except pickle.UnpicklingError as error:
        # Not in torch's words, which recommend to execute what the file says.
        raise IntegrityError(
            f"{asset}: {name} is a pickle that torch does not read; it was not executed", mend=mend
        ) from (error)
    except (SafetensorError, RuntimeError, ValueError, TypeError, EOFError, LookupError, AttributeError) as error:
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise IntegrityError(f"{asset}: {name} cannot be read: {said}", mend=mend) from error
