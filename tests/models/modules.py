"""Modules that manifests of the tests name as ``tests.models.modules:Class``. They need torch."""

from __future__ import annotations

from typing import Any

import torch


class Plain(torch.nn.Module):  # type: ignore[misc]
    """A linear layer and a batch normalisation."""

    def __init__(self, width: int = 3, *, scale: float = 1.0) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(2, width)
        self.norm = torch.nn.BatchNorm1d(width)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.norm(self.linear(x)) * self.scale
        return y

    @classmethod
    def of_width(cls, width: int) -> Plain:
        return cls(width)

    def run(self) -> None:
        raise AssertionError("no class method")


class Tied(torch.nn.Module):  # type: ignore[misc]
    """Two names of one parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(5, 4)
        self.head = torch.nn.Linear(4, 5, bias=False)
        self.head.weight = self.embed.weight


class Loose(torch.nn.Module):  # type: ignore[misc]
    """Tensors that no state dict has, and a constructor that looks at values."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(2, 2)
        self.register_buffer("positions", torch.arange(3), persistent=False)
        self.table = torch.ones(2)
        self.first = float(self.table[0])


class Large(torch.nn.Module):  # type: ignore[misc]
    """Too large to be made in memory: 4 TB."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(1 << 20, 1 << 20))


class Failing(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, *arguments: Any) -> None:
        raise ValueError(f"not with {arguments}")


def make() -> Plain:
    return Plain()
