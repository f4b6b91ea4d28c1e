"""Weights, from the file to tensors that were touched: safetensors, and what `prepare:` made of a .pth."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.runner import Bench, Row, alternate, at_most
from tests.support import Project

TENSORS = 64
SAFE, CONVERTED = 1.1, 1 / 1.5


def load_weights(bench: Bench) -> Iterator[Row]:
    """Load 1 GiB into a module by `load_model`, beside `safetensors.torch.load_file` and `torch.load`."""
    import torch
    from safetensors.torch import load_file, save_file

    import assetmgr
    from tests.benchmarks.wide import Wide

    each = (16 << 20 if not bench.quick else 1 << 20) // 4
    state = {f"weights.{number}": torch.randn(each) for number in range(TENSORS)}
    published = bench.place / "published"
    published.mkdir()
    save_file(state, published / "w.safetensors")
    torch.save(state, published / "w.pth")
    del state
    project = Project(bench.place / "project")
    load = f"load: {{class: 'tests.benchmarks.wide:Wide', args: [{TENSORS}, {each}]}}"
    project.write(
        f"version: 1\nmodels:\n"
        f"  safe:\n    files: [{{url: '{published / 'w.safetensors'}'}}]\n    {load}\n"
        f"  made:\n    files: [{{url: '{published / 'w.pth'}'}}]\n    {load}\n    prepare: {{format: safetensors}}\n"
    )
    project.run("lock")
    project.run("pull")

    def ours(name: str) -> Any:
        workspace = assetmgr.Workspace([project.folder / "assets.yaml"], project.root)
        return workspace.load_model(name, device="cpu").model.parameters()

    def plain() -> Any:
        module = Wide(TENSORS, each)
        module.load_state_dict(torch.load(_only(project, "w.pth"), map_location="cpu", weights_only=True))
        return module.parameters()

    def mapped() -> Any:
        return torch.load(_only(project, "w.pth"), map_location="cpu", weights_only=True, mmap=True).values()

    sides: dict[str, Callable[[], Any]] = {
        "safe": lambda: ours("safe"),
        "made": lambda: ours("made"),
        "load_file": lambda: load_file(_only(project, "w.safetensors")).values(),
        "pth": plain,
        "mapped": mapped,
    }
    took: dict[str, float] = {}
    for names in (("safe", "load_file"), ("made", "pth", "mapped")):  # whoever comes after a .pth pays for its memory
        took |= alternate(bench.rounds(5), **{name: _touching(sides[name]) for name in names})
    size = f"{TENSORS * each * 4 >> 20} MiB"
    yield at_most(f"load_model of {size} of safetensors, touched / load_file", took["safe"], took["load_file"], SAFE)
    yield at_most("  what was prepared of a .pth / the .pth by torch.load", took["made"], took["pth"], CONVERTED)
    yield at_most(
        "  the same / the .pth by torch.load(mmap=True), without a module", took["made"], took["mapped"], None
    )


def _only(project: Project, name: str) -> Path:
    return next((project.root / "files").rglob(name))


def _touching(load: Callable[[], Any]) -> Callable[[], float]:
    """One load, and a look at every page of what came."""

    def run() -> float:
        gc.collect()  # what an earlier run mapped is let go now, and not while another one is measured
        started = time.perf_counter()
        for tensor in load():
            tensor.detach().view(-1)[::1024].sum()
        return time.perf_counter() - started

    return run
