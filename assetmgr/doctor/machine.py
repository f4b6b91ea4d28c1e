"""The machine that is examined: where its files, variables and Python are. Tests give it others than the true ones."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

_MOST = 1 << 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the manifests in force ask of a machine.

    Attributes
    ----------
    endpoints
        The hubs that manifests name themselves, with the assets that come from each.
    extras
        Extras of assetmgr without which an asset cannot be had or used, with those assets.
    missing_bytes
        What a pull has still to bring, by the lock.
    fetches
        Whether anything has to be brought.
    """

    endpoints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    extras: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing_bytes: int = 0
    fetches: bool = False
    cache_root: str | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """Everything outside ourselves that a check may look at.

    Attributes
    ----------
    store
        The store's root; None where nothing says a fit one.
    prefix
        What stands before the paths of the system's files.
    paths
        Where Python looks for packages, as ``sys.path``.
    seconds
        How long one probe may take.
    """

    store: str | None
    wanted: Wanted = field(default_factory=Wanted)
    prefix: str = ""
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    paths: tuple[str, ...] = field(default_factory=lambda: tuple(path for path in sys.path if path))
    python: str = sys.executable
    version: tuple[int, int] = sys.version_info[:2]
    platform: str = sys.platform
    seconds: float = 20.0

    def at(self, path: str) -> str:
        """Where a system's file is."""
        return self.prefix + path

    def variable(self, name: str) -> str:
        """A variable's value; empty where it is not set."""
        return self.environ.get(name, "")

    def folders_in(self, name: str) -> list[str]:
        """The folders that a variable such as PATH names."""
        return [folder for folder in self.variable(name).split(os.pathsep) if folder]


def text_of(path: str, most: int = _MOST) -> str | None:
    """The beginning of a file as text; None where there is none, or none that may be read."""
    try:
        if not os.path.isfile(path):  # a pipe or a device would keep us waiting
            return None
        with open(path, "rb") as file:
            return file.read(most).decode("utf-8", "replace")
    except (OSError, ValueError):
        return None


def names_in(folder: str) -> list[str]:
    """The names in a folder, in order; none where it is not there, or may not be read."""
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError):
        return []
