"""Samples with images at random: from zips that stay packed, beside the same images as files."""

from __future__ import annotations

import random
import time
import zipfile
from collections.abc import Iterator

from assetmgr.datasets import Dataset
from tests.benchmarks.runner import Bench, Row, alternate
from tests.datasets.published import PICTURES, coco, zipped

BOUND = 0.9


def packed_media(bench: Bench) -> Iterator[Row]:
    """`load_dataset` of COCO's sample: the archive extracted, stored, deflated."""
    sides = {
        "files": coco(bench.place / "files", {"val.zip": zipped(PICTURES)}, extract="lavis/coco/images"),
        "stored": coco(bench.place / "stored", {"val.zip": zipped(PICTURES)}),
        "deflated": coco(bench.place / "deflated", {"val.zip": zipped(PICTURES, zipfile.ZIP_DEFLATED)}),
    }
    datasets = {name: workspace.load_dataset("coco", split="val") for name, workspace in sides.items()}
    count = 50 if bench.quick else 500
    length = len(next(iter(datasets.values())))
    order = random.Random(0).choices(range(length), k=count)

    def reading(name: str) -> float:
        dataset = datasets[name]
        assert isinstance(dataset, Dataset)
        started = time.perf_counter()
        for number in order:
            dataset[number]
        return time.perf_counter() - started

    took = alternate(
        bench.rounds(7),
        files=lambda: reading("files"),
        stored=lambda: reading("stored"),
        deflated=lambda: reading("deflated"),
    )
    for kind in ("stored", "deflated"):
        share = took["files"] / took[kind]
        yield Row(
            f"images a second from a zip, {kind} / from files",
            f"{count / took[kind]:,.0f}",
            f"{count / took['files']:,.0f}",
            f"{share:.2f}",
            f">= {BOUND:g}",
            share >= BOUND,
        )
