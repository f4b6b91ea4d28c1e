"""Pulling from a folder mirror, beside `cp` and `sha256sum` of the same files: copied, and by shared blocks."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.runner import Bench, Row, alternate, at_most, process
from tests.benchmarks.workplace import ASSETMGR, NAME, write_large
from tests.support import Project

BOUND = 1.25
# What the copies of the largest run take, and what is left to others.
_SPARE = 4 << 30


def pull_folder(bench: Bench) -> Iterator[Row]:
    """Where blocks cannot be shared, and, for root and where there is room, on an XFS of its own where they can."""
    yield from _rows(
        bench, bench.place / "copied", 4, (16 if bench.quick else 512) << 20, "copied", rounds=1 if bench.quick else 5
    )
    free = shutil.disk_usage(bench.place).free - _SPARE
    size = next((size for size in (1024, 400) if free > 24 * (size << 20)), 0) << 20
    if bench.quick:
        size = 32 << 20
    with _xfs(bench.place / "xfs", 24 * size if size else 0) as folder:
        if folder is None:
            bench.note("No XFS could be made and mounted here, with room for it: what shares blocks was not measured.")
        else:
            yield from _rows(bench, folder, 10, size, "by shared blocks, XFS", rounds=1)


def _rows(bench: Bench, place: Path, count: int, size: int, how: str, rounds: int) -> Iterator[Row]:
    """A pull by a whole process against `cp` of the same files and `sha256sum` of the copies."""
    mirror, copies = place / "mirror" / "blobs" / "sha256", place / "copies"
    project = Project(place / "project")
    lines = []
    for number in range(count):
        name = place / f"{number}.bin"
        write_large(name, size + number)
        with name.open("rb") as file:
            digest = _sha256(file.fileno())
        mirror.mkdir(parents=True, exist_ok=True)
        name.rename(mirror / digest)
        lines.append(f"      - {{url: 'file://{name}', size: {size + number}, sha256: '{digest}'}}\n")
    project.write(f"version: 1\ndatasets:\n  {NAME}:\n    files:\n{''.join(lines)}")
    project.run("lock")

    def clear() -> None:
        shutil.rmtree(project.root, ignore_errors=True)
        shutil.rmtree(copies, ignore_errors=True)
        os.sync()

    peer = f"cp -r --reflink=never '{mirror}' '{copies}' && sha256sum '{copies}'/* && sync -f '{copies}'"
    took = alternate(
        bench.rounds(rounds),
        pull=process(
            ASSETMGR, "pull", "--mirror", place / "mirror", cwd=project.folder, env=project.environment(), before=clear
        ),
        cp=process("sh", "-c", peer, before=clear),
    )
    what = f"pull from a folder, {count} x {size >> 20} MiB, {how}"
    yield at_most(f"{what} / cp, then sha256sum", took["pull"], took["cp"], BOUND)
    clear()


def _sha256(descriptor: int) -> str:
    digest = hashlib.sha256()
    while data := os.read(descriptor, 1 << 20):
        digest.update(data)
    return digest.hexdigest()


@contextlib.contextmanager
def _xfs(place: Path, size: int) -> Iterator[Path | None]:
    """A folder on an XFS of so many bytes, in an image that is removed afterwards; None where there is none."""
    maker = shutil.which("mkfs.xfs")
    if not size or maker is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        yield None
        return
    place.mkdir()
    image, folder = place / "image", place / "mounted"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(size + (400 << 20))
    subprocess.run([maker, "-q", image], check=True, capture_output=True)
    if subprocess.run(["mount", "-o", "loop", image, folder], check=False, capture_output=True).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
        image.unlink()
