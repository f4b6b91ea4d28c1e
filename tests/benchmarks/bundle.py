"""Making a bundle and loading it, each beside `cp` of the same files and `sha256sum` of what was copied."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.runner import Bench, Row, alternate, at_most, process
from tests.benchmarks.workplace import ASSETMGR, NAME, write_large
from tests.support import Project

BOUND = 1.25


def bundle(bench: Bench) -> Iterator[Row]:
    """A few large files, as weights are, and many of a photo's size."""
    large = (16 if bench.quick else 512) << 20
    yield from _rows(bench, bench.place / "large", 4, large, f"4 x {large >> 20} MiB")
    count = 200 if bench.quick else 4000
    yield from _rows(bench, bench.place / "photos", count, 150_000, f"{count:,} x 150 kB")


def _rows(bench: Bench, place: Path, count: int, size: int, what: str) -> Iterator[Row]:
    """Each by a whole process, and each made durable at its end, as `bundle` does."""
    project = Project(place / "project")
    source, copies, made = place / "source", place / "copies", place / "bundle"
    source.mkdir(parents=True)
    for number in range(count):
        write_large(source / f"{number}.bin", size + number)
    lines = "".join(f"      - {{url: 'file://{source}/{number}.bin'}}\n" for number in range(count))
    project.write(f"version: 1\ndatasets:\n  {NAME}:\n    files:\n{lines}")
    project.run("lock", timeout=600)
    project.run("pull", timeout=600)
    shutil.rmtree(source)
    held = project.path(NAME)
    there = Project(place / "there")
    there.folder.mkdir()

    def clear() -> None:
        for folder in (copies, there.root):
            shutil.rmtree(folder, ignore_errors=True)

    def clear_all() -> None:
        clear()
        shutil.rmtree(made, ignore_errors=True)

    def peer(folder: Path) -> str:
        copy = f"cp -r --reflink=never '{folder}' '{copies}' && sync -f '{copies}'"
        return f"{copy} && find '{copies}' -type f -print0 | xargs -0 -n 500 sha256sum"

    took = alternate(
        bench.rounds(3),
        create=process(
            ASSETMGR, "bundle", "create", "-o", made, cwd=project.folder, env=project.environment(), before=clear_all
        ),
        cp=process("sh", "-c", peer(held), before=clear),
    )
    yield at_most(f"bundle create, {what} / cp, then sha256sum", took["create"], took["cp"], BOUND)
    took = alternate(
        bench.rounds(3),
        load=process(ASSETMGR, "bundle", "load", made, cwd=there.folder, env=there.environment(), before=clear),
        cp=process("sh", "-c", peer(made / "blobs" / "sha256"), before=clear),
    )
    yield at_most(f"bundle load, {what} / cp, then sha256sum", took["load"], took["cp"], BOUND)
    clear_all()
    shutil.rmtree(place)
