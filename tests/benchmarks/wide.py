"""A module of many equal weights, which a manifest names."""

from __future__ import annotations

import torch


class Wide(torch.nn.Module):  # type: ignore[misc]
    """Its weights have no values of their own: what is measured is the loading."""

    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        self.weights = torch.nn.ParameterList(torch.empty(size) for _ in range(count))
