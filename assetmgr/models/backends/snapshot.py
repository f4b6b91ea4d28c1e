"""Does an asset have the files that a transformers model is loaded from? Decided before any library is asked.

Only the files of the lock's entry count. Others may stand in the same snapshot, put there by another asset of the same
commit or by another tool: they are not proved, and must not be what is loaded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from assetmgr.errors import AssetError, IntegrityError, UsageError
from assetmgr.models.weights.checkpoints import check_pickled
from assetmgr.names import check_path
from assetmgr.verify import Installed

# In the order in which transformers looks for them.
_SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")

# Implementations that are part of transformers and torch.
_OWN_CODE = ("eager", "sdpa", "flex_attention", "batched_mm", "grouped_mm")

_PROCESSORS = ("processor_config.json", "preprocessor_config.json")
_TOKENIZERS = ("tokenizer_config.json", "tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json", "spiece.model")

# What tokenizers call their words, beside the names that a class of them says.
_WORDS = (".model", ".tiktoken", ".spm", ".vocab", ".codes", "vocab.txt", "vocab.json", "tekken.json")


class Snapshot(NamedTuple):
    """What a model is loaded from.

    Attributes
    ----------
    config
        The contents of config.json.
    safetensors
        Whether the weights are safetensors. Else they are pickles, of which only tensors are read.
    processor
        ``processor``, ``tokenizer``, or empty where the asset has neither.
    """

    config: dict[str, Any]
    safetensors: bool
    processor: str


def examine(found: Installed) -> Snapshot:
    """Look through the files of an asset.

    Raises
    ------
    UsageError
        When a file that is needed is not in the lock, or the model is not one that is loaded without foreign code.
    IntegrityError
        When config.json or a weights index is not what it should be, unproved weights stand in the way, or pickled
        ones are anything but tensors.
    """
    names = {file.path for file in found.files}
    if "config.json" not in names:
        raise _incomplete(found, "config.json", ["config.json"])
    config = _read_json(found, "config.json")
    _refuse_foreign(found, config)
    if os.path.lexists(os.path.join(found.folder, "adapter_config.json")):
        raise UsageError(
            f"{found.name} is an adapter (it has an adapter_config.json), not a whole model",
            mend="load the model that it adapts, and attach it with peft",
        )
    safetensors = not names.isdisjoint(_SAFETENSORS)
    single, index = _SAFETENSORS if safetensors else _PICKLES
    if single not in names:
        if index not in names:
            raise _incomplete(found, "weights that transformers reads", [*_SAFETENSORS, *_PICKLES])
        if os.path.lexists(os.path.join(found.folder, single)):
            raise IntegrityError(
                f"{found.name}: {single} stands in {found.folder}, is not in the lock, and would be loaded",
                mend="remove that file, or lock it too by widening the patterns",
            )
        shards = shards_of(found, index)
        if absent := sorted(shards - names):
            raise _incomplete(found, f"{len(absent)} of {len(shards)} weight files", absent)
    else:
        shards = {single}
    for shard in () if safetensors else sorted(shards):
        check_pickled(found.name, shard, os.path.join(found.folder, *shard.split("/")))
    kinds = {"processor": _PROCESSORS, "tokenizer": _TOKENIZERS}
    processor = next((kind for kind, files in kinds.items() if not names.isdisjoint(files)), "")
    return Snapshot(config, safetensors, processor)


def check_vocabulary(found: Installed, named: Mapping[str, str]) -> None:
    """Refuse a tokenizer without its words. transformers 5 makes one that knows none, and what it reads is nothing.

    Parameters
    ----------
    named
        The tokenizer's ``vocab_files_names``; empty where it needs no file.

    Raises
    ------
    UsageError
        When no file of words is in the lock.
    """
    names = {file.path for file in found.files}
    if not named or "tokenizer.json" in names:
        return
    if names.isdisjoint(named.values()) and not any(name.endswith(_WORDS) for name in names):
        raise _incomplete(found, "words of its tokenizer", set(named.values()))


def _read_json(found: Installed, name: str) -> dict[str, Any]:
    try:
        with open(os.path.join(found.folder, name), "rb") as file:
            value = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(found, name, f"cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise _damaged(found, name, "is not a JSON object")
    return value


def _damaged(found: Installed, name: str, what: str) -> IntegrityError:
    return IntegrityError(f"{found.name}: {name} {what}", mend=f"assetmgr verify {found.name} --full --repair")


def shards_of(found: Installed, index: str) -> set[str]:
    """The files that a weights index names."""
    weights = _read_json(found, index).get("weight_map")
    if not isinstance(weights, dict) or not all(isinstance(shard, str) for shard in weights.values()):
        raise _damaged(found, index, "has no `weight_map` from weight to file")
    return {check_path(shard, f"file name in {index} of {found.name}") for shard in weights.values()}


def _refuse_foreign(found: Installed, config: object) -> None:
    """Refuse a configuration that may make transformers fetch compiled code from the hub, and run it."""
    if isinstance(config, list):
        for part in config:
            _refuse_foreign(found, part)
    if not isinstance(config, dict):
        return
    for key, value in config.items():
        _refuse_foreign(found, value)
        if key.strip("_").startswith(("attn_implementation", "experts_implementation")):
            for wanted in value.values() if isinstance(value, dict) else [value]:
                if isinstance(wanted, str) and wanted not in _OWN_CODE:
                    raise UsageError(
                        f"{found.name}: config.json asks for {key} {wanted!r}: that may be code from the hub, "
                        "which is never run here",
                        mend="name a repository that leaves the implementation to transformers",
                    )


def _incomplete(found: Installed, what: str, names: Collection[str]) -> AssetError:
    """The asset lacks a file: say whether its patterns left it out, and which pattern brings it."""
    upstream = _upstream(found)
    shown = ", ".join(sorted(names)[:4]) + (", ..." if len(names) > 4 else "")
    message = f"{found.name}: its lock has no {what} ({shown})"
    left_out = [name for name in names if name in upstream]
    if left_out:
        patterns = ", ".join(f'"{pattern}"' for pattern in _patterns(left_out))
        return UsageError(
            f"{message}; its repository has them, and its patterns leave them out",
            mend=f"add {patterns} to allow_patterns of {found.name} in the manifest (or take it out of "
            f"ignore_patterns), then: assetmgr lock {found.name} && assetmgr pull {found.name}",
        )
    files = ", ".join(sorted(file.path for file in found.files)[:8])
    return UsageError(
        f"{message}; it has {files}", mend="name a repository that publishes a model for transformers, with its weights"
    )


def _upstream(found: Installed) -> set[str]:
    """The names of all files of the commit, or none where the store does not know."""
    data = found.store.read_listing(found.entry.listing) if found.entry.listing else None
    return {row["path"] for row in json.loads(data)} if data else set()


def _patterns(names: Collection[str]) -> list[str]:
    """The patterns that a person would write for these files, safetensors rather than pickles."""
    patterns = set()
    for name in [name for name in names if ".safetensors" in name] or names:
        stem = name.removesuffix(".index.json")
        patterns.add(f"*{os.path.splitext(stem)[1]}")
        if stem != name:
            patterns.add(name)
    return sorted(patterns)
