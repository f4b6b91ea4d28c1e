"""Which CUDA runtime a program finds, and which search paths lead nowhere."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from assetmgr.doctor.evidence import Evidence
from assetmgr.doctor.finding import Finding, some
from assetmgr.doctor.machine import Machine, names_in, text_of

_USUAL = ("/lib64", "/usr/lib64", "/lib", "/usr/lib")
_RUNTIME = re.compile(r"(?:lib)?cudart(?:64_|\.so\.?|\.)(?P<version>[\d.]*)(?:\.dll|\.dylib)?$")


class Place(NamedTuple):
    """A folder with libraries, and why it is looked into."""

    folder: str
    why: str


class Runtime(NamedTuple):
    """One libcudart."""

    path: str
    why: str
    version: str

    @property
    def major(self) -> str:
        return self.version.partition(".")[0]


def search_order(machine: Machine, packages: Iterable[str]) -> list[Place]:
    """The folders in which libraries of CUDA are looked for, in order; those that are there."""
    named = [Place(folder, "LD_LIBRARY_PATH") for folder in machine.folders_in("LD_LIBRARY_PATH")]
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if home := machine.variable(variable):
            named += [Place(os.path.join(home, below), variable) for below in ("lib64", "lib", "bin")]
    for folder in packages:
        named += [Place(os.path.join(folder, "torch", "lib"), "torch's own")]
        for below in ("cuda_runtime", "cu*"):
            for found in sorted(glob.glob(os.path.join(glob.escape(folder), "nvidia", below, "lib"))):
                named.append(Place(found, "pip's nvidia packages"))
    if conda := machine.variable("CONDA_PREFIX"):
        named.append(Place(os.path.join(conda, "lib"), "CONDA_PREFIX"))
    named += [Place(folder, "ldconfig") for folder in _configured(machine)]
    named.append(Place(machine.at("/usr/local/cuda/lib64"), "the usual place"))
    seen: dict[str, Place] = {}
    for place in named:
        if os.path.isdir(place.folder):
            seen.setdefault(os.path.realpath(place.folder), place)
    return list(seen.values())


def _configured(machine: Machine) -> list[str]:
    """The folders that the system's linker knows."""
    found: list[str] = []
    for path in (
        "/etc/ld.so.conf",
        *(f"/etc/ld.so.conf.d/{name}" for name in names_in(machine.at("/etc/ld.so.conf.d"))),
    ):
        for line in (text_of(machine.at(path)) or "").splitlines():
            folder = line.partition("#")[0].strip()
            if folder.startswith("/"):
                found.append(machine.at(folder))
    usual = [machine.at(folder) for folder in _USUAL]
    several = [f"{folder}/{name}" for folder in usual for name in names_in(folder) if name.endswith("-linux-gnu")]
    return [*found, *several, *usual, machine.at("/usr/lib/wsl/lib")]


def runtimes(order: Iterable[Place]) -> list[Runtime]:
    """Every libcudart in these folders, the one that is found first first."""
    found = []
    for place in order:
        for name in names_in(place.folder):
            if match := _RUNTIME.fullmatch(name):
                path = os.path.join(place.folder, name)
                # libcudart.so is a link that says its version.
                version = match["version"] or _version_of(os.path.realpath(path))
                found.append(Runtime(path, place.why, version))
    return found


def _version_of(path: str) -> str:
    match = _RUNTIME.fullmatch(os.path.basename(path))
    return match["version"] if match else ""


def check_cuda_libraries(evidence: Evidence) -> Iterator[Finding]:
    """Is the CUDA runtime that is found the one that torch was built for?"""
    machine, torch = evidence.machine, evidence.torch
    order = search_order(machine, evidence.packages.folders)
    found = runtimes(order)
    cuda = torch.cuda if torch else None
    if cuda:
        major = cuda.partition(".")[0]
        fitting = [one for one in found if one.major == major]
        strange = [
            one for one in found if one.major not in ("", major) and one.why in ("LD_LIBRARY_PATH", "CONDA_PREFIX")
        ]
        if fitting:
            first = fitting[0]
            yield Finding("ok", "libcudart", f"CUDA {cuda}'s runtime is {first.path} ({first.why})")
        elif machine.platform == "linux":
            there = f"; there is {some([one.path for one in found], 2)}" if found else ""
            yield Finding(
                "error",
                "libcudart",
                f"torch is built for CUDA {cuda}, and no libcudart.so.{major} is found{there}",
                "pip install --force-reinstall torch (which brings it), or add its folder to LD_LIBRARY_PATH",
            )
        for one in strange:
            yield Finding(
                "warning",
                "libcudart",
                f"{one.path} ({one.why}) is of CUDA {one.version}, and torch is built for {cuda}",
                f"take {os.path.dirname(one.path)} out of {one.why}"
                if one.why == "LD_LIBRARY_PATH"
                else "conda remove cudatoolkit, or an environment without it",
            )
    elif found:
        yield Finding(
            "note", "libcudart", f"{found[0].path} ({found[0].why}) is there, and nothing here is built for it"
        )
    elif torch is not None:
        yield Finding("ok", "libcudart", "none is there, and this torch needs none")


def check_search_paths(evidence: Evidence) -> Iterator[Finding]:
    """Are the folders there that variables name for libraries of CUDA?"""
    machine = evidence.machine
    for variable in ("LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "CONDA_PREFIX"):
        folders = machine.folders_in(variable) if variable == "LD_LIBRARY_PATH" else [machine.variable(variable)]
        absent = [folder for folder in folders if folder and not os.path.isdir(folder)]
        if absent:
            several = len(absent) > 1
            yield Finding(
                "note" if variable == "LD_LIBRARY_PATH" else "warning",
                "search paths",
                f"{variable} names {some(absent)}, which {'are' if several else 'is'} not there",
                f"take {'them' if several else 'it'} out"
                if variable == "LD_LIBRARY_PATH"
                else f"correct {variable}, or unset it",
            )
