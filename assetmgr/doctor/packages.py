"""What is installed, read from the folders of packages: nothing of it is imported."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from assetmgr.doctor.machine import names_in, text_of

_METADATA = re.compile(r"(?P<name>[^-]+?)(?:-(?P<version>[^-]+).*)?\.(?P<kind>dist-info|egg-info|egg-link|egg)$")
_FILES = {"dist-info": ("METADATA",), "egg-info": ("PKG-INFO", ""), "egg": ("EGG-INFO/PKG-INFO",), "egg-link": ()}


class Package(NamedTuple):
    """One installed distribution.

    Attributes
    ----------
    folder
        The folder of packages that it is in.
    metadata
        The path of what describes it.
    kind
        ``dist-info``, or of older tools ``egg-info``, ``egg``, ``egg-link``.
    """

    name: str
    version: str
    folder: str
    metadata: str
    kind: str
    requires: tuple[str, ...] = ()
    python: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()


class Packages:
    """The distributions in the folders where Python looks, the one that it takes first."""

    def __init__(self, folders: Sequence[str]) -> None:
        self.folders = list(dict.fromkeys(folders))
        self._known: dict[str, list[tuple[str, str]]] = {}
        for folder in self.folders:
            for name in names_in(folder):
                if found := _METADATA.fullmatch(name):
                    self._known.setdefault(normal(found["name"]), []).append((folder, name))

    def all(self, name: str) -> list[Package]:
        """Every distribution of a name: more than one is one too many."""
        return [_package(folder, file) for folder, file in self._known.get(normal(name), ())]

    def get(self, name: str) -> Package | None:
        """The distribution that is imported; None where there is none."""
        return next(iter(self.all(name)), None)

    def module(self, name: str) -> str | None:
        """The folder of a package that would be imported."""
        return next((path for path in (os.path.join(at, name) for at in self.folders) if os.path.isdir(path)), None)

    def same_place(self, name: str) -> Iterator[tuple[str, list[Package]]]:
        """The distributions of a name, by the folder that they are in."""
        for folder in self.folders:
            there = [package for package in self.all(name) if package.folder == folder]
            if there:
                yield folder, there


def normal(name: str) -> str:
    """A distribution's name as two of them are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _package(folder: str, file: str) -> Package:
    found = _METADATA.fullmatch(file)
    assert found is not None
    path = os.path.join(folder, file)
    fields: dict[str, list[str]] = {}
    for inner in _FILES[found["kind"]]:
        text = text_of(os.path.join(path, inner) if inner else path)
        for line in (text or "").splitlines():
            if not line.strip():
                break
            key, _, value = line.partition(":")
            fields.setdefault(key.strip().lower(), []).append(value.strip())
        if fields:
            break
    return Package(
        normal(found["name"]),
        (fields.get("version") or [found["version"] or ""])[0],
        folder,
        path,
        found["kind"],
        tuple(fields.get("requires-dist", ())),
        (fields.get("requires-python") or [""])[0],
    )
