"""bitsandbytes: whether it is the one that is meant, and has its native library for this torch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from assetmgr.doctor.evidence import Evidence
from assetmgr.doctor.finding import Finding, some
from assetmgr.doctor.known import BITSANDBYTES_FIRST, BITSANDBYTES_NEAREST
from assetmgr.doctor.machine import names_in, text_of

_CHECK = "bitsandbytes"
_ANEW = "pip install --upgrade --force-reinstall bitsandbytes"
_NATIVE = re.compile(r"(?:lib)?bitsandbytes_(?P<of>[a-z]+)(?P<version>\d*)(?:_nocublaslt)?\.(?:so|dll|dylib)")


def check_leftovers(evidence: Evidence) -> Iterator[Finding]:
    """Is there one bitsandbytes, from one tool? Eggs, conda's and a user's own one hide the one that pip shows."""
    packages = evidence.packages
    there = packages.all("bitsandbytes")
    eggs = [package for package in there if package.kind in ("egg", "egg-link")]
    for folder in packages.folders:
        for name in names_in(folder):
            if name == "easy-install.pth" and "bitsandbytes" in (text_of(os.path.join(folder, name)) or ""):
                yield Finding(
                    "warning",
                    _CHECK,
                    f"{os.path.join(folder, name)} puts an old bitsandbytes before the installed one",
                    f"take its line out of that file; then: {_ANEW}",
                )
    for package in eggs:
        yield Finding(
            "warning",
            _CHECK,
            f"{package.metadata} is left of `python setup.py install`, which pip does not replace",
            f"remove it (rm -r {package.metadata}); then: {_ANEW}",
        )
    if len(there) > 1:
        found = [f"{package.version or '?'} in {package.folder}" for package in there]
        yield Finding(
            "warning",
            _CHECK,
            f"it is installed {len(there)} times: {some(found)}; Python takes the first",
            f"pip uninstall bitsandbytes, until it says that there is none; then: {_ANEW}",
        )
    elif len(there) == 1 and there[0].kind == "egg-info":
        yield Finding(
            "warning",
            _CHECK,
            f"{there[0].metadata} was not put there by pip (conda, or setup.py)",
            f"remove it with what installed it (conda remove bitsandbytes); then: {_ANEW}",
        )
    if not there and (module := packages.module("bitsandbytes")):
        yield Finding(
            "warning", _CHECK, f"{module} belongs to no installed package", f"remove it (rm -r {module}); then: {_ANEW}"
        )


def check_native_library(evidence: Evidence) -> Iterator[Finding]:
    """Does it have its native library for torch's CUDA?"""
    package, module = evidence.packages.get("bitsandbytes"), evidence.packages.module("bitsandbytes")
    torch, imported = evidence.torch, evidence.imports.get("bitsandbytes")
    if package is not None and module is None and package.kind != "egg":
        yield Finding("error", _CHECK, f"{package.metadata} is there, and its modules are not", _ANEW)
    if package is None or module is None:
        return
    from packaging.version import InvalidVersion, Version

    try:
        if Version(package.version) < Version(BITSANDBYTES_FIRST):
            yield Finding(
                "error",
                _CHECK,
                f"bitsandbytes {package.version} is older than {BITSANDBYTES_FIRST}: it fails with `CUDA Setup failed "
                "despite GPU being available` where it does not find CUDA by itself, and has no kernels for the CPU",
                "pip install --upgrade bitsandbytes",
            )
            return
    except InvalidVersion:
        pass
    if torch is None:
        return
    native = {(found["of"], found["version"]): name for name in names_in(module) if (found := _NATIVE.fullmatch(name))}
    said = evidence.machine.variable("BNB_CUDA_VERSION")
    chosen = said if said.isdigit() else ""
    if torch.hip or not torch.cuda:
        if imported is not None and not imported.fault:
            yield Finding("ok", _CHECK, f"bitsandbytes {package.version}")
        return
    wanted = chosen or "".join(torch.cuda.split(".")[:2])
    same = sorted(version for of, version in native if of == "cuda" and version[:2] == wanted[:2])
    if ("cuda", wanted) in native or (same and not chosen and _takes_the_nearest(package.version)):
        if imported is not None and not imported.fault:
            taken = wanted if wanted in same else max([one for one in same if one < wanted] or same[:1])
            yield Finding("ok", _CHECK, f"bitsandbytes {package.version}, {native['cuda', taken]}")
        return
    override = f"; or: export BNB_CUDA_VERSION={same[-1]}" if same else ""
    if chosen:
        override = f"; or unset BNB_CUDA_VERSION, which is {chosen}"
    there = some(sorted(native.values()), 12) or "none"
    gpu = evidence.gpus.rows or (evidence.imports["torch"].facts if "torch" in evidence.imports else {}).get(
        "available"
    )
    yield Finding(
        "error" if gpu else "warning",
        _CHECK,
        f"bitsandbytes {package.version} has no libbitsandbytes_cuda{wanted} for torch's CUDA {torch.cuda}, and on a "
        f"GPU ends in `CUDA Setup failed despite GPU being available`; in {module}: {there}",
        f"pip install --upgrade bitsandbytes{override}",
    )


def _takes_the_nearest(version: str) -> bool:
    """Whether this bitsandbytes takes the library of another CUDA of the same major version."""
    from packaging.version import InvalidVersion, Version

    try:
        return Version(version) >= Version(BITSANDBYTES_NEAREST)
    except InvalidVersion:
        return False
