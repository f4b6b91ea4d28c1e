"""Libraries: whether they can be imported, fit one another and this Python, and which extras are absent."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator

from assetmgr.doctor.evidence import Evidence, Imported
from assetmgr.doctor.finding import Finding, some
from assetmgr.doctor.known import EXTRAS, FAMILY, QUARRELS
from assetmgr.doctor.machine import names_in
from assetmgr.doctor.packages import normal


def check_python(evidence: Evidence) -> Iterator[Finding]:
    """Is this Python one that the libraries are made for?"""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    version = ".".join(map(str, evidence.machine.version))
    refusing = []
    for name in FAMILY:
        package = evidence.packages.get(name)
        try:
            if package and package.python and not SpecifierSet(package.python).contains(f"{version}.99"):
                refusing.append(f"{package} wants {package.python}")
        except InvalidSpecifier:
            continue
    if refusing:
        yield Finding(
            "error", "python", f"Python {version}: {some(refusing)}", "an environment with a Python that they are for"
        )
    elif evidence.packages.get("salesforce-lavis") and evidence.machine.version > (3, 11):
        yield Finding(
            "note",
            "python",
            f"Python {version}: LAVIS's own requirements have wheels up to 3.11",
            "python3.11 -m venv lavis, then as `assetmgr requirements lavis` says",
        )
    else:
        yield Finding("ok", "python", f"Python {version}")


# --- imports ---------------------------------------------------------------------------------------------------------


def check_imports(evidence: Evidence) -> Iterator[Finding]:
    """Can each be imported? (Tried in a child.)"""
    well = []
    for name, imported in evidence.imports.items():
        package = evidence.packages.get(name)
        label = str(package) if package else name
        if not imported.fault:
            well.append(label if package else f"{name} {imported.facts.get('version', '')}".strip())
            continue
        message, mend = _import_fault(evidence, name, imported)
        yield Finding("error", name, f"{label} is installed, and cannot be imported: {message}", mend)
    if well:
        yield Finding("ok", "imports", f"{', '.join(well)}: can be imported")


def _import_fault(evidence: Evidence, name: str, imported: Imported) -> tuple[str, str]:
    """What is wrong, and what mends it: as its cause is known."""
    said = imported.fault
    if name == "torchvision" and (build := _linked_otherwise(evidence)):
        return f"{said} ({build})", (
            "pip install --force-reinstall torchvision from where torch came from (for the CPU: "
            "--index-url https://download.pytorch.org/whl/cpu); for LAVIS: assetmgr run -- COMMAND"
        )
    if name == "bitsandbytes" and re.search("cuda|libbitsandbytes", said, re.IGNORECASE):
        return said, "pip install --upgrade --force-reinstall bitsandbytes; python -m bitsandbytes tells more"
    if missing := re.search(r"No module named '?([\w.]+)", said):
        module = missing[1].partition(".")[0]
        if module != name:
            return said, f"pip install {module.replace('_', '-')}"
    if found := re.search(r"(lib[\w.-]+\.so[.\d]*): cannot open shared object", said):
        return said, f"pip install --force-reinstall {name}, or add the folder of {found[1]} to LD_LIBRARY_PATH"
    return said, f"pip install --upgrade --force-reinstall {name}; if that does not help, an environment made anew"


def _linked_otherwise(evidence: Evidence) -> str:
    """How torchvision and torch were built, where one knows CUDA and the other does not; else empty."""
    folder, torch = evidence.packages.module("torchvision"), evidence.torch
    if folder is None or torch is None or torch.cuda or torch.hip:
        return ""
    for name in names_in(folder):
        if name.startswith(("_C.", "_C_")) and _names(os.path.join(folder, name), b"libcudart"):
            return f"it is linked to CUDA, and torch {torch.version} is built for the CPU"
    return ""


def _names(path: str, word: bytes) -> bool:
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(word) >= 0
    except (OSError, ValueError):
        return False


# --- versions --------------------------------------------------------------------------------------------------------


def check_versions(evidence: Evidence) -> Iterator[Finding]:
    """Do the libraries have what they themselves require, and nothing beside them that is known to break them?"""
    count, told = 0, list[Finding]()
    for name in FAMILY:
        package = evidence.packages.get(name)
        if package is None:
            continue
        count += 1
        for line in package.requires:
            finding = _unmet(evidence, str(package), line)
            if finding and finding not in told:
                told.append(finding)
                yield finding
    for quarrel in QUARRELS:
        if _is_there(evidence, *quarrel.one) and _is_there(evidence, *quarrel.other):
            one, other = (evidence.packages.get(name) for name, _ in (quarrel.one, quarrel.other))
            told.append(Finding("error", "versions", f"{one} and {other}: {quarrel.why}", quarrel.mend))
            yield told[-1]
    for name in FAMILY:
        yield from _shadowed(evidence, name)
    if count and not any(finding.is_wrong for finding in told):
        yield Finding("ok", "versions", "the libraries have the versions that they require of one another")


def _unmet(evidence: Evidence, who: str, line: str) -> Finding | None:
    from packaging.markers import UndefinedEnvironmentName
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import InvalidVersion

    try:
        wanted = Requirement(line)
        always, named = (
            wanted.marker is None or wanted.marker.evaluate({"extra": extra}) for extra in ("", wanted.name)
        )
    except (InvalidRequirement, UndefinedEnvironmentName, InvalidVersion):
        return None
    name = normal(wanted.name)
    package = evidence.packages.get(name)
    # An extra with a library's own name says which versions of it can be used; others are for tests and the like.
    if not named or (not always and (package is None or name not in FAMILY)):
        return None
    if package is None:
        return Finding(
            "error" if name in FAMILY else "warning",
            "versions",
            f"{who} requires {wanted.name}{wanted.specifier}, which is not installed",
            f"pip install '{wanted.name}{wanted.specifier}'",
        )
    try:
        if not package.version or wanted.specifier.contains(package.version, prereleases=True):
            return None
    except InvalidVersion:
        return None
    words = "requires" if always else "can use"
    # In LAVIS's environment ours is for pulling, and for its datasets.
    by_design = who.startswith("assetmgr ") and evidence.packages.get("salesforce-lavis") is not None
    return Finding(
        "error" if always else "note" if by_design else "warning",
        "versions",
        f"{who} {words} {wanted.name}{wanted.specifier}, and {package.version} is installed",
        f"pip install '{wanted.name}{wanted.specifier}', or another version of {who.partition(' ')[0]}",
    )


def _is_there(evidence: Evidence, name: str, specifier: str) -> bool:
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion

    package = evidence.packages.get(name)
    try:
        return package is not None and SpecifierSet(specifier).contains(package.version, prereleases=True)
    except InvalidVersion:
        return False


def _shadowed(evidence: Evidence, name: str) -> Iterator[Finding]:
    """One library in several folders: an environment's own, and one of the user's (~/.local) or of PYTHONPATH."""
    there = list(evidence.packages.same_place(name))
    if name != "bitsandbytes" and len(there) > 1 and len({group[0].version for _, group in there}) > 1:
        (first, _), *others = there
        yield Finding(
            "warning",
            "versions",
            f"{there[0][1][0]} in {first} hides {others[0][1][0].version} in {others[0][0]}",
            f"pip uninstall {name}, and install it once (python -s leaves out ~/.local; unset PYTHONPATH)",
        )
    for folder, group in there:
        if name != "bitsandbytes" and len(group) > 1:
            yield Finding(
                "warning",
                "versions",
                f"{folder} has {name} {' and '.join(package.version for package in group)}: one is left of an upgrade",
                f"pip uninstall {name}, until it says that there is none; then install it again",
            )


# --- extras ----------------------------------------------------------------------------------------------------------


def check_extras(evidence: Evidence) -> Iterator[Finding]:
    """Which extras are absent, what needs them, and whether an asset of the manifest does."""
    wanted = evidence.machine.wanted.extras
    for name, extra in EXTRAS.items():
        absent = [package for package in extra.packages if evidence.packages.get(package) is None]
        if not absent:
            continue
        mend = f"pip install 'assetmgr[{name}]'"
        said = f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed, needed for {extra.purpose}"
        if name in wanted:
            said += f": {some(wanted[name])}"
        # What is only loaded may be loaded on another machine.
        yield Finding("error" if name in wanted and extra.is_for_pull else "note", "extras", said, mend)
