"""Did every weight of a LAVIS model come from a file, and does its checkpoint hold what the model has?

LAVIS loads with ``strict=False``, and leaves out what is of another shape: a wrong checkpoint gives a model with
weights at random, and no word about it. So what is loaded is watched, and compared afterwards. LAVIS saves all weights
but frozen ones: whatever is trained must be in the checkpoint; what is frozen may be of another file, as the image
encoder and the language model of BLIP-2 are.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

# What pretraining leaves in a checkpoint of BLIP and ALBEF: parts that a model for one task has not, their slow copies
# (`_m`), and the queues of contrastive learning.
_LEFT_BEHIND = re.compile(
    r"(visual_encoder|text_encoder|text_decoder|vision_proj|text_proj|itm_head|combined_|cls_head)(_m)?\."
    r"|(temp|image_queue|text_queue|idx_queue|queue_ptr|ptr_queue)$"
)
# Counters, not weights; they are made with the model, and some versions of transformers save them.
_COUNTERS = ("position_ids", "num_batches_tracked", "relative_position_index")
# The heads of BLIP-2's query transformer that only its first stage has.
_FIRST_STAGE = re.compile(
    r"Qformer\.(cls\.|bert\.embeddings\.(word|position)_embeddings\.|bert\.encoder\.layer\.\d+\.(intermediate|output)\.)"
)
# Training aids: the slow copies and the queues again, as parts of the model.
_AIDS = re.compile(r"(\w+_m\.|image_queue|text_queue|idx_queue|queue_ptr|ptr_queue)")
# These are made to be trained: LAVIS loads a part of their weights on purpose.
_BEGINNINGS = ("albef_pretrain", "blip_classification", "blip_pretrain", "gpt_dialogue")


@dataclass
class Loading:
    """What was loaded into which module.

    Attributes
    ----------
    calls
        Each ``load_state_dict``, in order: the module, the keys that were missing and unexpected, and what was filled.
    filled
        Every tensor that was filled from a file, by its identity.
    """

    calls: list[tuple[Any, Sequence[str], Sequence[str], dict[int, Any]]] = field(default_factory=list)
    filled: dict[int, Any] = field(default_factory=dict)


@contextlib.contextmanager
def watched() -> Iterator[Loading]:
    """Watch what is loaded into torch's modules."""
    kind = torch.nn.Module
    whole, part = kind.load_state_dict, kind._load_from_state_dict
    seen = Loading()
    current: list[dict[int, Any]] = []

    def load_state_dict(self: Any, state_dict: Any, *arguments: Any, **options: Any) -> Any:
        current.append({})
        try:
            outcome = whole(self, state_dict, *arguments, **options)
        finally:
            filled = current.pop()
        seen.calls.append((self, outcome.missing_keys, outcome.unexpected_keys, filled))
        return outcome

    def load_part(self: Any, state_dict: Any, prefix: str, *rest: Any) -> None:
        part(self, state_dict, prefix, *rest)
        for name, tensor in (*self._parameters.items(), *self._buffers.items()):
            if tensor is not None and prefix + name in state_dict:
                for filled in (seen.filled, *current[-1:]):
                    filled[id(tensor)] = tensor

    kind.load_state_dict, kind._load_from_state_dict = load_state_dict, load_part
    try:
        yield seen
    finally:
        kind.load_state_dict, kind._load_from_state_dict = whole, part


def misfits(architecture: str, model: Any, seen: Loading) -> list[str]:
    """What is wrong with the weights of a model, in words; nothing where all is well."""
    if architecture in _BEGINNINGS:
        return []
    missing: list[str] = []
    unexpected: list[str] = []
    for module, absent, left, filled in seen.calls:
        if module is model:  # its checkpoint; the others are of parts that it was made from
            missing += [key for key in absent if _is_needed(module, key, filled, seen.filled)]
            unexpected += [key for key in left if _is_foreign(module, key)]
    known = set(missing)
    missing += [
        name
        for name, parameter in model.named_parameters()
        if id(parameter) not in seen.filled and name not in known and not _AIDS.match(name)
    ]
    wrong = ((missing, "missing or of another shape"), (unexpected, "without a place in the model"))
    return [f"{len(keys)} {what}: {_some(keys)}" for keys, what in wrong if keys]


def _is_needed(module: Any, key: str, filled: dict[int, Any], elsewhere: dict[int, Any]) -> bool:
    """Whether a weight that its checkpoint has not was to be in it."""
    if key.rpartition(".")[2] in _COUNTERS or _AIDS.match(key):
        return False
    path, _, name = key.rpartition(".")
    tensor = getattr(module.get_submodule(path), name, None)
    if id(tensor) in filled:  # under another name: some weights have two
        return False
    frozen = isinstance(tensor, torch.nn.Parameter) and not tensor.requires_grad
    return not (frozen and id(tensor) in elsewhere)


def _is_foreign(module: Any, key: str) -> bool:
    """Whether a weight without a place shows that the checkpoint is another model's."""
    if key.rpartition(".")[2] in _COUNTERS or _FIRST_STAGE.match(key):
        return False
    part = key.partition(".")[0]
    return hasattr(module, part) or not _LEFT_BEHIND.match(key)


def _some(keys: Sequence[str]) -> str:
    return ", ".join(sorted(keys)[:4]) + (", ..." if len(keys) > 4 else "")
