"""Which files of an asset are its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from assetmgr.errors import UsageError
from assetmgr.models.backends.snapshot import shards_of
from assetmgr.models.weights.checkpoints import PICKLED
from assetmgr.store import Layout
from assetmgr.verify import Installed

# Where transformers looks, in its order: one file, or the index of several.
_WHOLE = ("model.safetensors", "pytorch_model.bin")
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
# What TorchScript is often called is looked at too, to say what it is.
_READABLE = (".safetensors", *PICKLED, ".jit")
_SHOWN = 6


class Located(NamedTuple):
    """A file of weights: what people call it, and where it is."""

    name: str
    path: str

    @property
    def is_safe(self) -> bool:
        return self.name.endswith(".safetensors")


def is_weights(name: str) -> bool:
    """Whether a file's name is that of weights, or of their index."""
    return name.endswith(_READABLE) or name in _INDEXES


def weight_files(found: Installed, chosen: str | None = None) -> list[Located]:
    """The files that make up the weights of an asset: the chosen one, what transformers would take, or the only one.

    Raises
    ------
    UsageError
        When it is not clear which.
    """
    layout = Layout(found.entry)
    known = {file.path: Located(file.path, found.store.at(layout.name(file))) for file in found.files}
    if chosen is not None:
        if chosen not in known:
            raise UsageError(
                f"{found.name} has no file {chosen!r}; it has {_listed(list(known))}",
                mend=f"correct `weights:` under `load:` of {found.name} in the manifest",
            )
        if not chosen.endswith(_READABLE):
            raise UsageError(f"{found.name}: {chosen} is no file of weights: these end in {', '.join(_READABLE)}")
        return [known[chosen]]
    for whole, index in zip(_WHOLE, _INDEXES, strict=True):
        if whole in known:
            return [known[whole]]
        if index in known:
            names = sorted(shards_of(found, index))
            if absent := [name for name in names if name not in known]:
                raise UsageError(
                    f"{found.name}: its lock lacks {_listed(absent)}, which {index} names",
                    mend=f"add them to the patterns of {found.name} in the manifest, then: assetmgr lock {found.name}",
                )
            return [known[name] for name in names]
    candidates = [file for name, file in known.items() if name.endswith(_READABLE)]
    safe = [file for file in candidates if file.is_safe]
    if len(candidates) == 1 or len(safe) == 1:
        return safe or candidates
    if not candidates:
        raise UsageError(
            f"{found.name} has no weights that torch reads; it has {_listed(list(known))}",
            mend=f"these end in {', '.join(_READABLE)}",
        )
    raise UsageError(
        f"{found.name} has several files of weights: {_listed([file.name for file in candidates])}",
        mend=f"name one in the manifest: `load: {{weights: {candidates[0].name}}}` of {found.name}",
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
