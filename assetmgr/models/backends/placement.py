"""Which device, dtype and quantisation: torch's and bitsandbytes' answers to what was asked for."""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from assetmgr.errors import AssetError, MissingExtraError, UsageError


def pick_device(wanted: str) -> torch.device:
    """The device of that name; for ``auto`` a CUDA device, then Apple's, then the CPU.

    Raises
    ------
    UsageError
        When torch knows no such device, or this machine has none.
    """
    if wanted == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(name)
    try:
        device = torch.device(wanted)
        if device.type == "meta":
            raise RuntimeError("it holds no weights")
        # Torch says whether it can reach a device when something is put there, and in no other way for all of them.
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).strip().splitlines()[0]
        raise UsageError(
            f"device {wanted!r} cannot be used: {why}", mend=f"device='auto', or one of {', '.join(_devices())}"
        ) from None
    return device


def _devices() -> list[str]:
    """The devices of this machine, by name."""
    cuda = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def pick_dtype(wanted: str, quantize: str) -> torch.dtype | str:
    """The torch dtype of that name, or ``auto``: as the weights were saved.

    bitsandbytes computes int8 products in float16 whatever else is asked for, and a model that was saved in float32
    would convert there and back at every layer: quantised models are float16 unless something else is said.
    """
    if wanted == "auto":
        return torch.float16 if quantize != "none" else "auto"
    dtype: torch.dtype = getattr(torch, wanted)
    return dtype


def main_dtype(model: Any) -> torch.dtype:
    """The dtype of most floating-point weights. (`model.dtype` is that of the first, which Blip2 keeps in float32.)"""
    counts: dict[torch.dtype, int] = {}
    for parameter in model.parameters():
        if parameter.is_floating_point():
            counts[parameter.dtype] = counts.get(parameter.dtype, 0) + parameter.numel()
    return max(counts, key=lambda dtype: counts[dtype], default=torch.float32)


def footprint(model: Any) -> int:
    """The bytes that the parameters and buffers of a model take, each once.

    bitsandbytes keeps a part of its weights beside the tensor that they stand for: the scales of int8 in ``SCB``, those
    of nf4 in a ``quant_state``, which may itself be quantised.
    """
    tensors: dict[int, torch.Tensor] = {}

    def add(held: Any) -> None:
        if isinstance(held, torch.Tensor):
            tensors[id(held)] = held
        elif held is not None:
            for part in ("absmax", "code", "offset", "state2"):
                add(getattr(held, part, None))

    for tensor in (*model.parameters(), *model.buffers()):
        add(tensor)
        add(getattr(tensor, "SCB", None))
        add(getattr(tensor, "quant_state", None))
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def quantization(name: str, quantize: str, dtype: torch.dtype | str, device: torch.device) -> Any:
    """The bitsandbytes configuration for ``int8`` or ``nf4``; None for ``none``.

    Raises
    ------
    UsageError
        When the device has no kernels for it.
    MissingExtraError
        When bitsandbytes or accelerate is not installed.
    AssetError
        When bitsandbytes is installed and cannot start.
    """
    if quantize == "none":
        return None
    if device.type not in ("cuda", "cpu", "xpu"):
        raise UsageError(
            f"{name}: bitsandbytes cannot quantise to {quantize} on {device}", mend="quantize='none', or device='cpu'"
        )
    with _without_kernels():
        need(name, "bitsandbytes", f"quantize={quantize!r}", "quantize")
    need(name, "accelerate", f"quantize={quantize!r}", "quantize")
    import transformers

    if quantize == "int8":
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    return transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


@contextlib.contextmanager
def _without_kernels() -> Iterator[None]:
    """Keep bitsandbytes, while it is imported, from the `kernels` library.

    On some processors it fetches compiled code from the hub with it and runs that, or warns that it could not.
    """
    log = logging.getLogger("bitsandbytes")
    level, kernels = log.level, sys.modules.get("kernels", log)
    log.setLevel(logging.ERROR)
    sys.modules["kernels"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        log.setLevel(level)
        del sys.modules["kernels"]
        if kernels is not log:
            sys.modules["kernels"] = kernels  # type: ignore[assignment]


def need(name: str, library: str, purpose: str, extra: str) -> None:
    """Import a library, or say how to get it or why it cannot start."""
    try:
        importlib.import_module(library)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{name}: {purpose} needs {error.name}, which is not installed", mend=f"pip install 'assetmgr[{extra}]'"
        ) from None
    except (ImportError, OSError, RuntimeError) as error:
        # bitsandbytes looks for its native library on import, and raises RuntimeError where CUDA's is not found.
        why = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise AssetError(
            f"{name}: {library} is installed, but cannot start: {why}",
            mend=f"pip install --upgrade {library}, or leave out {purpose}",
        ) from error


def saved_quantization(config: Mapping[str, Any]) -> str:
    """How the weights were quantised when they were saved: ``int8``, ``nf4``, another method's name; else ``none``."""
    saved = config.get("quantization_config")
    if not isinstance(saved, Mapping):
        return "none"
    if saved.get("load_in_8bit"):
        return "int8"
    if saved.get("load_in_4bit"):
        return str(saved.get("bnb_4bit_quant_type", "fp4"))
    return str(saved.get("quant_method", "an unknown method"))


def mend_cpu_kernels(model: Any) -> None:
    """Have nf4 layers of odd shapes take bitsandbytes' general way on the CPU.

    Its AVX-512 kernel packs blocks of 32 rows and 64 columns, and fails where a layer is no multiple of them: a head of
    two outputs, for instance.
    """
    for layer in model.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu") and (layer.out_features % 32 or layer.in_features % 64):
            layer.support_avx512bf16_for_cpu = False


def refuse_disk_map(name: str, wanted: Any) -> None:
    """Raise when a device map sends a part of the model to the disk."""
    if isinstance(wanted, Mapping) and "disk" in wanted.values():
        raise UsageError(
            f"{name}: its device_map leaves a part of it on the disk, which would be read anew for every token",
            mend=f"correct `load: {{device_map: ...}}` of {name} in the manifest",
        )


def memory_limits(wanted: Mapping[Any, Any] | None) -> dict[Any, Any]:
    """accelerate's ``max_memory``: its devices are numbers, or cpu."""
    return {int(key) if str(key).isdigit() else key: limit for key, limit in (wanted or {}).items()}


def device_map(
    name: str, wanted: Mapping[str, Any] | str | None, device: str, chosen: torch.device, quantized: bool
) -> Any:
    """What transformers places weights by, or None for an ordinary load on the CPU.

    A device that was asked for by name wins over the manifest's map. Weights go straight to their device: a copy in
    the CPU's memory first would need the room twice.
    """
    if wanted is not None and device == "auto":
        need(name, "accelerate", f"device_map={wanted!r}", "transformers")
        return wanted if isinstance(wanted, str) else dict(wanted)
    if chosen.type == "cpu" and not quantized:
        return None
    need(name, "accelerate", f"device={str(chosen)!r}", "transformers")
    return {"": chosen}


def refuse_disk(name: str, model: Any) -> None:
    """Raise when a device map left a part of the model on the disk: it would be read anew for every token."""
    if "disk" in {str(place) for place in getattr(model, "hf_device_map", {}).values()}:
        raise UsageError(
            f"{name} does not fit into the memory of this machine's devices: a part of it would stay on the disk",
            mend="quantize='int8' or 'nf4', dtype='float16', or a smaller model",
        )
