"""``python -m tests.benchmarks.dataset_child WHAT WHOSE NAME``: one measurement of a dataset, in a process of its own.

``WHOSE`` is ``ours`` or ``lavis``: the same steps, in the Python that has it. Prints one JSON object.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BATCH = 512


def main() -> None:
    what, whose, name = sys.argv[1:4]
    print(json.dumps(MEASURES[what](whose, name)))


def opened(whose: str, name: str) -> Any:
    """The training split, with what is imported for it."""
    if whose == "ours":
        import assetmgr

        return assetmgr.load_dataset(name, split="train")
    from lavis.datasets.builders import load_dataset

    return load_dataset(name)["train"]


IMPORTS = {
    "ours": ("PIL.Image", "pyarrow.compute", "yaml", "assetmgr.datasets", "assetmgr.loading"),
    "lavis": ("lavis.datasets.builders",),
}


def imported(whose: str) -> None:
    for module in IMPORTS[whose]:
        importlib.import_module(module)


def open_warm(whose: str, name: str) -> dict[str, float]:
    """Seconds and bytes of memory to open it, imports apart; and both together."""
    started = time.perf_counter()
    imported(whose)
    before, ready = memory(os.getpid()), time.perf_counter()
    dataset = opened(whose, name)
    ended = time.perf_counter()
    assert len(dataset) > 0
    return {"open": ended - ready, "memory": memory(os.getpid()) - before, "all": ended - started}


def images(whose: str, name: str) -> dict[str, float]:
    """Samples with their images a second, at random."""
    dataset = opened(whose, name)
    order = random.Random(0).choices(range(len(dataset)), k=600)
    _ = dataset[order[0]]
    started = time.perf_counter()
    for index in order:
        assert dataset[index]["image"].size
    return {"rate": len(order) / (time.perf_counter() - started)}


def texts(whose: str, name: str) -> dict[str, float]:
    """Rows a second in random batches, without images."""
    dataset = opened(whose, name)
    read = rows_of(whose, dataset)
    batches = [random.Random(seed).choices(range(len(dataset)), k=BATCH) for seed in range(400)]
    read(batches[0])
    started = time.perf_counter()
    for batch in batches:
        read(batch)
    return {"rate": len(batches) * BATCH / (time.perf_counter() - started)}


def rows_of(whose: str, dataset: Any) -> Callable[[list[int]], list[Any]]:
    """How rows are read without their images."""
    if whose == "ours":
        return dataset.select_columns("text_input", "image_id").__getitems__  # type: ignore[no-any-return]
    annotation = dataset.annotation
    return lambda batch: [annotation[index] for index in batch]


class Rows:
    """A dataset of rows without images, for torch's loader."""

    def __init__(self, whose: str, dataset: Any) -> None:
        self.whose, self.dataset = whose, dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        return [len(row["text_input" if self.whose == "ours" else "caption"]) for row in self.read(indices)]

    @property
    def read(self) -> Callable[[list[int]], list[Any]]:
        return rows_of(self.whose, self.dataset)


def workers(whose: str, name: str, how: str = "fork") -> dict[str, float]:
    """The memory that the workers of a loader have in proportion, once each has read rows from all over.

    ``one`` and ``eight`` are sums over so many workers; the others say what such workers take that have no data.
    """
    from torch.utils.data import DataLoader

    rows = Rows(whose, opened(whose, name))
    found = {}
    for key, count, data in (
        ("one without", 1, Nothing(len(rows))),
        ("eight without", 8, Nothing(len(rows))),
        ("one", 1, rows),
        ("eight", 8, rows),
    ):
        loader: Any = DataLoader(
            data,
            batch_size=BATCH,
            sampler=random.Random(1).choices(range(len(rows)), k=200 * BATCH),
            num_workers=count,
            multiprocessing_context=how,
            persistent_workers=True,
        )
        walk = iter(loader)
        read = sum(len(batch) for batch in walk)
        assert read == 200 * BATCH
        own = [worker.pid for worker in walk._workers]
        found[key] = float(sum(memory(pid) for pid in own))
        found[f"{key} and parent"] = found[key] + memory(os.getpid())
        del walk, loader
    return found


class Nothing:
    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return index


def spawned(whose: str, name: str) -> dict[str, float]:
    return workers(whose, name, "spawn")


def memory(pid: int) -> int:
    """Bytes of memory that a process has, what it shares counted in proportion."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this kernel does not tell proportional memory")


MEASURES: dict[str, Callable[[str, str], dict[str, float]]] = {
    "open": open_warm,
    "images": images,
    "texts": texts,
    "workers": workers,
    "spawned": spawned,
}

if __name__ == "__main__":
    main()
