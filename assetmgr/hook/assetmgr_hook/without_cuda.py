"""What libraries take for granted that a machine without CUDA does not have."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

_kept: list[object] = []


def declare_operators(extension: ModuleType) -> None:
    """Declare the two operators without which ``import torchvision`` fails where its own library did not load.

    The torchvision of the package index is linked to CUDA, and does not load on a torch without. The operators still
    cannot be called; nothing but detection models does. The schemas are torchvision's own.
    """
    import torch

    if extension._has_ops() or torch.version.cuda is not None or getattr(torch.version, "hip", None) is not None:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept.append(library)  # what it declares lasts as long as it does


def leave_batches_here(data_utils: ModuleType) -> None:
    """LAVIS's evaluation moves each batch to a GPU, also where its config says ``device: cpu``."""
    if not _has_cuda():
        data_utils.move_to_cuda = lambda sample: sample  # type: ignore[attr-defined]


def load_plainly(dataloader_utils: ModuleType) -> None:
    """LAVIS's loader prefetches to a GPU by a CUDA stream: without one, the loader that it wraps does."""
    if _has_cuda():
        return
    loader = dataloader_utils.PrefetchLoader

    def __init__(self: Any, loader: Any) -> None:
        self.loader = loader

    loader.__init__ = __init__
    loader.__iter__ = lambda self: iter(self.loader)


def run_alone(runner: ModuleType) -> None:
    """LAVIS's runner ends each epoch at a barrier, which raises where its config does not say ``distributed``."""
    import torch.distributed

    def barrier(*arguments: Any, **options: Any) -> Any:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.barrier(*arguments, **options)
        return None

    # It uses nothing else of it.
    runner.dist = SimpleNamespace(barrier=barrier)  # type: ignore[attr-defined]


def take_the_model(runner: ModuleType) -> None:
    """LAVIS's runner has no model where the model need not be moved: it is made on the CPU, and ``device: cpu``."""
    original = runner.RunnerBase.__init__

    def __init__(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        if not self.use_distributed:
            self._wrapped_model = self._model

    runner.RunnerBase.__init__ = __init__


def _has_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())
