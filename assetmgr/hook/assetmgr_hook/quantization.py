"""``from_pretrained(..., load_in_8bit=True)`` on a transformers that has dropped it."""

from __future__ import annotations

import functools
import inspect
import warnings
from types import CodeType, ModuleType
from typing import Any

_FLAGS = ("load_in_8bit", "load_in_4bit")
# What could be said beside the flags.
_DETAILS = ("llm_int8_", "bnb_4bit_")
_told: list[str] = []


def translate_flags(modeling: ModuleType) -> None:
    """Have ``PreTrainedModel.from_pretrained`` take the flags as a ``quantization_config``, where it has none."""
    model = modeling.PreTrainedModel
    original = model.__dict__["from_pretrained"].__func__
    if "load_in_8bit" in _texts(inspect.unwrap(original).__code__):
        return

    @functools.wraps(original)
    def from_pretrained(cls: type, *arguments: Any, **options: Any) -> Any:
        if any(flag in options for flag in _FLAGS):
            options = _translated(options)
        return original(cls, *arguments, **options)

    model.from_pretrained = classmethod(from_pretrained)


def _texts(code: CodeType) -> set[object]:
    """The constants of a function's code, and the names of its parameters."""
    return {*code.co_consts, *code.co_varnames}


def _translated(options: dict[str, Any]) -> dict[str, Any]:
    flags = {flag: options[flag] for flag in _FLAGS if options.get(flag)}
    rest = {name: value for name, value in options.items() if name not in _FLAGS}
    if not flags:
        return rest
    if rest.get("quantization_config") is not None:
        # As transformers said it when it knew the flags.
        raise ValueError(f"{' and '.join(flags)} cannot be given together with quantization_config")
    from transformers import BitsAndBytesConfig

    details = {name: rest.pop(name) for name in list(rest) if name.startswith(_DETAILS)}
    if not _told:
        _told.append("once")
        said = ", ".join(f"{name}={value!r}" for name, value in flags.items())
        warnings.warn(
            f"this transformers has no {said}: assetmgr run takes it as quantization_config=BitsAndBytesConfig({said})",
            stacklevel=3,
        )
    return {**rest, "quantization_config": BitsAndBytesConfig(**flags, **details)}
