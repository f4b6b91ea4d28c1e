"""The torchvision of the package index is linked to CUDA: on a torch without CUDA its operators do not load."""

from __future__ import annotations

from types import ModuleType

_kept: list[object] = []


def declare(extension: ModuleType) -> None:
    """Declare the two operators without which ``import torchvision`` fails where its own library did not load.

    They still cannot be called; nothing but detection models does. The schemas are torchvision's, from its
    ``csrc/ops/nms.cpp`` and ``csrc/ops/quantized``.
    """
    import torch

    if extension._has_ops() or torch.version.cuda is not None or getattr(torch.version, "hip", None) is not None:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept.append(library)  # what it declares lasts as long as it does
