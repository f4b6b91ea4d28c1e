"""The NVIDIA driver and its GPUs against what torch and bitsandbytes were built for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from assetmgr.doctor.evidence import Evidence, TorchBuild
from assetmgr.doctor.finding import Finding, some
from assetmgr.doctor.known import BITSANDBYTES_LEAST, DRIVERS, INT8_LEAST
from assetmgr.doctor.machine import Machine, names_in, text_of

_CHECK = "driver"
_FILE = "/proc/driver/nvidia/version"
_INSTALL = "install or update NVIDIA's driver"


def check_driver(evidence: Evidence) -> Iterator[Finding]:
    """Is there a driver, does it work, and is it new enough for torch's CUDA?"""
    machine, torch = evidence.machine, evidence.torch
    text = text_of(machine.at(_FILE))
    loaded = driver_version(text or "")
    gpus = evidence.gpus
    if text is not None and not loaded:
        yield Finding("warning", _CHECK, f"{machine.at(_FILE)} says no version of a driver", f"{_INSTALL}, and reboot")
    if gpus.fault:
        mend = f"{_INSTALL}, and reboot"
        if "version mismatch" in gpus.fault.lower():
            mend = "reboot: the driver was updated, and the old one is still loaded"
        yield Finding("error", _CHECK, f"nvidia-smi {gpus.fault}", mend)
    version = loaded or next((row[0] for row in gpus.rows), "")
    if not version:
        if text is None and not gpus.fault:
            yield _without_driver(torch)
        return
    if torch is not None and torch.cuda:
        yield _against_torch(version, torch.cuda)
    elif torch is not None and not torch.hip and gpus.rows:
        yield Finding(
            "warning",
            _CHECK,
            f"there is a GPU ({gpus.rows[0][2]}), and torch {torch.version} is built for the CPU",
            "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/"
            f"{wheel_of(version)} (which builds there are: https://pytorch.org/get-started/locally)",
        )
    else:
        yield Finding("ok", _CHECK, f"NVIDIA driver {version}")
    yield from _device_files(machine, gpus.rows)
    yield from _library(machine)


def driver_version(text: str) -> str:
    """The version in what the loaded driver says of itself; empty where it says none."""
    found = re.search(r"^NVRM version:.*?\s(\d{2,4}\.\d+(?:\.\d+)?)\b", text, re.MULTILINE)
    return found[1] if found else ""


def wheel_of(driver: str) -> str:
    """How PyTorch's own index calls the newest build that a driver can run, as far as is known here."""
    numbers = _numbers(driver)
    fitting = [major for major, least in DRIVERS.items() if numbers >= _numbers(least)]
    return {13: "cu130", 12: "cu126", 11: "cu118"}.get(max(fitting, default=0), "cpu")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _without_driver(torch: TorchBuild | None) -> Finding:
    if torch is not None and torch.cuda:
        return Finding(
            "note",
            _CHECK,
            f"torch {torch.version} is for CUDA {torch.cuda}, and no NVIDIA driver is loaded: models run on the CPU",
            f"{_INSTALL} where there is a GPU",
        )
    return Finding("ok", _CHECK, "no NVIDIA driver is loaded: models run on the CPU")


def _against_torch(driver: str, cuda: str) -> Finding:
    major = next(iter(_numbers(cuda)), 0)
    least = DRIVERS.get(major)
    if least is None:
        return Finding("note", _CHECK, f"NVIDIA driver {driver}; what CUDA {cuda} needs is not known here")
    if _numbers(driver) < _numbers(least):
        return Finding(
            "error",
            _CHECK,
            f"NVIDIA driver {driver} is too old for torch's CUDA {cuda}, which needs {least}",
            f"update the driver to {least} or later, or take an older build of torch: pip install --force-reinstall "
            f"torch --index-url https://download.pytorch.org/whl/{wheel_of(driver)}",
        )
    return Finding("ok", _CHECK, f"NVIDIA driver {driver}, which torch's CUDA {cuda} can use (it needs {least})")


def _device_files(machine: Machine, gpus: Sequence[object]) -> Iterator[Finding]:
    if machine.platform != "linux" or gpus or "dxg" in names_in(machine.at("/dev")):
        return
    if not any(re.fullmatch(r"nvidia\d+", name) for name in names_in(machine.at("/dev"))):
        yield Finding(
            "warning",
            _CHECK,
            "the driver is loaded, and no GPU is to be seen in /dev",
            "in a container: start it with its GPUs (docker run --gpus all); else: nvidia-modprobe -u -c=0",
        )


def _library(machine: Machine) -> Iterator[Finding]:
    """The driver's own library, which every CUDA program opens."""
    if machine.platform != "linux":
        return
    from assetmgr.doctor.cuda_libraries import search_order

    order = search_order(machine, ())
    found = [place.folder for place in order if any(name == "libcuda.so.1" for name in names_in(place.folder))]
    if not found:
        yield Finding(
            "error",
            "libcuda",
            "the driver is loaded, and its library libcuda.so.1 is in none of the system's folders",
            "install the driver's user part, of the same version (Debian: libcuda1; Ubuntu: libnvidia-compute-NNN)",
        )
    elif "stubs" in found[0].split("/"):
        yield Finding(
            "error",
            "libcuda",
            f"{found[0]} comes first, where libcuda.so.1 is a stub for linking that finds no GPU",
            f"take {found[0]} out of LD_LIBRARY_PATH",
        )


# --- GPUs ------------------------------------------------------------------------------------------------------------


def check_gpus(evidence: Evidence) -> Iterator[Finding]:
    """Can torch use the GPUs, and are its kernels and those of bitsandbytes built for them?"""
    machine, torch = evidence.machine, evidence.torch
    rows = evidence.gpus.rows
    hidden = machine.environ.get("CUDA_VISIBLE_DEVICES")
    if rows and hidden is not None and hidden.strip() in ("", "-1"):
        yield Finding(
            "warning",
            "gpu",
            f"CUDA_VISIBLE_DEVICES={hidden!r} hides every GPU",
            "unset CUDA_VISIBLE_DEVICES",
        )
        return
    facts = evidence.imports["torch"].facts if "torch" in evidence.imports else {}
    if rows and torch is not None and torch.cuda and facts and not facts.get("available"):
        why = facts.get("trouble") or "torch does not say why"
        yield Finding("error", "gpu", f"torch cannot use the GPU: {why}", f"{_INSTALL}, and reboot; see also below")
    capabilities = [tuple(map(int, one)) for one in facts.get("capabilities") or ()]
    capabilities = capabilities or [_numbers(row[1]) for row in rows if re.fullmatch(r"\d+\.\d+", row[1])]
    architectures = [str(name) for name in facts.get("architectures") or ()]
    names = [row[2] for row in rows]
    for number, capability in enumerate(capabilities):
        label = f"GPU {number}" + (f" ({names[number]})" if number < len(names) == len(capabilities) else "")
        yield _capability(label, capability, architectures, evidence)


def _capability(label: str, capability: Sequence[int], architectures: Sequence[str], evidence: Evidence) -> Finding:
    of = ".".join(map(str, capability))
    if architectures and not runs_on(capability, architectures):
        return Finding(
            "error",
            "gpu",
            f"{label}, compute capability {of}: torch is built for {some(architectures, 12)}",
            "install a build of torch with kernels for it: https://pytorch.org/get-started/locally",
        )
    if evidence.packages.get("bitsandbytes") is not None:
        if tuple(capability) < BITSANDBYTES_LEAST:
            return Finding(
                "error",
                "gpu",
                f"{label}, compute capability {of}: bitsandbytes has kernels from {BITSANDBYTES_LEAST[0]}.0",
                "load_model without quantize: dtype='float16'",
            )
        if tuple(capability) < INT8_LEAST:
            return Finding(
                "warning",
                "gpu",
                f"{label}, compute capability {of}: bitsandbytes' int8 needs {'.'.join(map(str, INT8_LEAST))}",
                "quantize='nf4', or dtype='float16'",
            )
    return Finding("ok", "gpu", f"{label}, compute capability {of}")


def runs_on(capability: Sequence[int], architectures: Iterable[str]) -> bool:
    """Whether one of torch's kernels runs on a GPU.

    Machine code (``sm_86``) runs where the first number is the same and the second no less, ``sm_90a`` where both are
    the same; code that is compiled on the spot (``compute_90``) on that GPU and on all newer ones.
    """
    major, minor = capability[:2]
    for name in architectures:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", name)
        if not found:
            continue
        built = (int(found[2]), int(found[3]))
        if found[1] == "compute":
            fits = built <= (major, minor)
        elif found[4] == "a":
            fits = built == (major, minor)
        else:
            fits = built[0] == major and built[1] <= minor
        if fits:
            return True
    return False
