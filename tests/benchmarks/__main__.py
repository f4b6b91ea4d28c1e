"""``python -m tests.benchmarks [NAME...] [--quick]``: print what is measured beside its peer."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.adopt import adopt
from tests.benchmarks.bundle import bundle
from tests.benchmarks.kills import kills
from tests.benchmarks.load_dataset import load_dataset
from tests.benchmarks.load_model import load_model
from tests.benchmarks.load_weights import load_weights
from tests.benchmarks.look import look
from tests.benchmarks.memory import memory
from tests.benchmarks.packed_media import packed_media
from tests.benchmarks.pull_cold import pull_cold
from tests.benchmarks.pull_folder import pull_folder
from tests.benchmarks.pull_warm import pull_warm
from tests.benchmarks.runner import Bench, Row, table
from tests.benchmarks.serve import serve
from tests.benchmarks.start_up import help_text, import_package
from tests.benchmarks.transfer import transfer
from tests.benchmarks.verify_full import verify_full
from tests.benchmarks.verify_quick import verify_quick

BENCHMARKS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "import": import_package,
    "help": help_text,
    "pull-warm": pull_warm,
    "adopt": adopt,
    "verify-full": verify_full,
    "verify-quick": verify_quick,
    "look": look,
    "load-dataset": load_dataset,
    "load-model": load_model,
    "packed-media": packed_media,
    "pull-cold": pull_cold,
    "pull-folder": pull_folder,
    "bundle": bundle,
    "transfer": transfer,
    "serve": serve,
    "kills": kills,
    "memory": memory,
    "load-weights": load_weights,
}
ROOM = 10 << 30
MEMORY = Path("/dev/shm")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"among {', '.join(BENCHMARKS)}; none: all")
    parser.add_argument("--quick", action="store_true", help="small and short: whether they run, not what to quote")
    parser.add_argument(
        "--folder", type=Path, help="where to work (else /dev/shm with 10 GB free, else the temporary one)"
    )
    options = parser.parse_args()
    unknown = sorted(set(options.names) - BENCHMARKS.keys())
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")

    folder = options.folder or _work_folder()
    print(_machine(folder), flush=True)
    rows: list[Row] = []
    notes: list[str] = []
    with tempfile.TemporaryDirectory(prefix="assetmgr-bench-", dir=folder) as work:
        _settle_python(work)
        for name in options.names or BENCHMARKS:
            bench = Bench(Path(work, name), options.quick)
            bench.place.mkdir(exist_ok=True)
            for row in BENCHMARKS[name](bench):
                # The bounds are for the whole sizes.
                rows.append(replace(row, bound="-", holds=None) if options.quick else row)
                if sys.stderr.isatty():
                    print(f"{row.what}: {row.ratio}", file=sys.stderr, flush=True)
            notes += bench.notes
            shutil.rmtree(bench.place)
    print()
    print(table(rows))
    for note in notes:
        print(f"\n{note}")
    return 0


def _settle_python(work: str) -> None:
    """Let each process that is measured find its modules compiled, as they are where a package is installed.

    This shell may forbid Python to write what it compiled, and then a checkout is compiled at each start.
    """
    for name in [name for name in os.environ if name.startswith("PYTHON")]:
        del os.environ[name]
    os.environ["PYTHONPYCACHEPREFIX"] = os.path.join(work, "compiled")


def _work_folder() -> Path:
    """Memory where there is room: the tools are compared, not the disk."""
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM:
        return MEMORY
    return Path(tempfile.gettempdir())


def _machine(folder: Path) -> str:
    from importlib.metadata import version

    return (
        f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {_processor()}, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n"
        f"working in {folder} ({_file_system(folder)}); huggingface_hub {version('huggingface_hub')}"
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "processor unknown"


def _file_system(folder: Path) -> str:
    """The type of the file system that a folder is on, as the kernel names it."""
    found, kind = "", "file system unknown"
    try:
        lines = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return kind
    inside = f"{folder.resolve()}/"
    for line in lines:
        _, mount, name, *_ = line.split(" ")
        if inside.startswith(mount.rstrip("/") + "/") and len(mount) >= len(found):
            found, kind = mount, name
    return kind


if __name__ == "__main__":
    sys.exit(main())
