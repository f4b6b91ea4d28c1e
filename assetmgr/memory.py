"""Whether a model's weights fit into this machine's memory: what is free, and in which dtype they would."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from assetmgr.lock import LockedAsset

# The formats that loaders read, the one they take first first: one of them is loaded, not all.
_FORMATS = (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".gguf")
_NOT_WEIGHTS = ("training_args.bin", "optimizer.bin", "scheduler.bin", "optimizer.pt", "scheduler.pt")
# Bits a weight, the widest first: what `load: {dtype: ..., quantize: ...}` can ask for.
WIDTHS = {"float32": 32, "float16": 16, "int8": 8, "nf4": 4}
_AS_WIDE = {"bfloat16": "float16", "float64": "float32"}
_CONFIG_MOST = 1 << 20
_SECONDS = 3.0


class Room(NamedTuple):
    """Memory that is free, in bytes, and whose."""

    where: str
    free: int


class Fit(NamedTuple):
    """Whether weights fit somewhere. ``instead`` is the widest dtype in which they would, where they do not."""

    where: str
    free: int
    fits: bool
    instead: str | None = None


class FreeRoom(msgspec.Struct, frozen=True):
    """Memory that is free, in bytes, and the precisions in which a model fits into it with some room to work in."""

    where: str
    free: int
    fits: tuple[str, ...]


class Fitness(msgspec.Struct, frozen=True):
    """How much memory a model's weights take, and where they would fit.

    ``precision`` is the one in which they are loaded, ``needs`` the bytes in each. The rooms count ``margin`` of that
    beside them for what a model computes.
    """

    precision: str
    needs: dict[str, int]
    margin: float
    rooms: tuple[FreeRoom, ...]


def weight_bytes(entry: LockedAsset) -> int:
    """The bytes of a model's weights in the format that a loader takes; 0 where there are none to be seen.

    Files in folders count only where none stands at the top. A GGUF file is a whole model each: the largest counts.
    """
    sizes = {file.path: max(file.size, 0) for file in entry.files if file.path.rpartition("/")[2] not in _NOT_WEIGHTS}
    for ending in _FORMATS:
        found = {path: size for path, size in sizes.items() if path.lower().endswith(ending)}
        found = {path: size for path, size in found.items() if "/" not in path} or found
        if found:
            return max(found.values()) if ending == ".gguf" else sum(found.values())
    return 0


def stored_dtype(config: str) -> str:
    """The dtype of a model's weights by its config file; float32, as libraries take it, where that does not say."""
    try:
        with open(config, "rb") as file:
            document = msgspec.json.decode(file.read(_CONFIG_MOST))
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "float32"
    said = (document.get("dtype") or document.get("torch_dtype")) if isinstance(document, dict) else None
    name = str(said).removeprefix("torch.")
    name = _AS_WIDE.get(name, name)
    return name if name in WIDTHS else "float32"


def judge(weights: int, rooms: Sequence[Room], stored: str) -> list[Fit]:
    """Whether weights fit into each room as they are stored; ``stored`` is their dtype then."""
    fits = []
    for where, free in rooms:
        smaller = [name for name, width in WIDTHS.items() if width < WIDTHS[stored]]
        instead = next((name for name in smaller if weights * WIDTHS[name] // WIDTHS[stored] <= free), None)
        fits.append(Fit(where, free, weights <= free, None if weights <= free else instead))
    return fits


def rooms() -> list[Room]:
    """The free memory of this machine and of its GPUs, as far as it can be told within moments."""
    return [*_main_memory(), *_gpus()]


def main_memory(prefix: str = "", *, swap: bool = False) -> int | None:
    """The bytes that a process may still take, with ``swap`` those of the disk too; None where it is not told.

    A control group, such as a container's or a job's, may allow less than the machine has; what its files hold in
    memory can be taken back. ``prefix`` stands before the paths of the system's files.
    """
    amounts: dict[str, int] = {}
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"{prefix}/proc/meminfo", encoding="ascii") as file:
        for line in file:
            name, _, rest = line.partition(":")
            if name in ("MemAvailable", "SwapFree"):
                amounts[name] = int(rest.split()[0]) * 1024
    if "MemAvailable" not in amounts:
        return None
    free = min([amounts["MemAvailable"], *_group_rooms(prefix)])
    return free + (amounts.get("SwapFree", 0) if swap else 0)


def _group_rooms(prefix: str) -> Iterator[int]:
    """What each control group that we are in still allows, of version 2 and of version 1."""
    for line in _text(f"{prefix}/proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "memory" not in controllers.split(","):
            continue
        base = f"{prefix}/sys/fs/cgroup" + ("/memory" if controllers else "")
        limit, used = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        )
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):
            folder = "/".join([base, *parts[:depth]])
            most, now = _text(f"{folder}/{limit}").strip(), _text(f"{folder}/{used}").strip()
            if most.isdigit() and now.isdigit():
                files = re.findall(
                    r"^(?:total_)?(?:in)?active_file (\d+)$", _text(f"{folder}/memory.stat"), re.MULTILINE
                )
                taken = max(int(now) - sum(map(int, files[-2:])), 0)
                yield max(int(most) - taken, 0)


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(_CONFIG_MOST)
    except OSError:
        return ""


def _main_memory() -> list[Room]:
    free = main_memory()
    if free is not None:
        return [Room("memory", free)]
    try:
        return [Room("memory", os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))]
    except (AttributeError, ValueError, OSError):
        return []


def _gpus() -> list[Room]:
    query = ["nvidia-smi", "--query-gpu=index,memory.free", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return []
    found = []
    for line in done.stdout.splitlines() if done.returncode == 0 else ():
        number, _, free = line.partition(",")
        if number.strip().isdigit() and free.strip().isdigit():
            found.append(Room(f"GPU {number.strip()}", int(free) << 20))
    return found
