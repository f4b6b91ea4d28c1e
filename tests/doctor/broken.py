"""Environments that are broken on purpose: a folder of packages, and the files of a system."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

from assetmgr.doctor import Finding, Machine, Wanted, examine

_DRIVER = """\
NVRM version: NVIDIA UNIX {kind}  {version}  Wed Jan 10 03:00:00 UTC 2024
GCC version:  gcc version 12.3.0
"""
_STANDARD = tuple(path for path in sys.path if path and "site-packages" not in path)


@dataclass
class Broken:
    """A machine that a test builds. Nothing of the true one is seen but Python's own library."""

    folder: Path
    seconds: float = 5.0

    @property
    def site(self) -> Path:
        return self.folder / "site"

    @property
    def system(self) -> Path:
        return self.folder / "system"

    def package(
        self, name: str, version: str, module: str | None = "", *, requires: tuple[str, ...] = (), site: str = "site"
    ) -> Path:
        """Install a distribution with one module of that text; None: its metadata alone."""
        site_folder = self.folder / site
        metadata = site_folder / f"{name.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir(parents=True)
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {one}" for one in requires]
        (metadata / "METADATA").write_text("\n".join(lines) + "\n\nRequires-Dist: nothing-of-the-text\n")
        folder = site_folder / name.replace("-", "_")
        if module is not None:
            folder.mkdir(exist_ok=True)
            (folder / "__init__.py").write_text(f"__version__ = {version!r}\n{module}")
        return folder

    def torch(
        self,
        version: str = "2.6.0",
        cuda: str | None = None,
        *,
        available: bool = False,
        capability: tuple[int, int] = (8, 6),
        architectures: tuple[str, ...] = ("sm_80", "sm_90"),
        module: str | None = None,
    ) -> Path:
        """Install a torch that says this of itself."""
        says = f"""
from torch import version
class cuda:
    is_available = staticmethod(lambda: {available})
    device_count = staticmethod(lambda: 1)
    get_device_capability = staticmethod(lambda number: {capability})
    get_arch_list = staticmethod(lambda: {list(architectures)})
    @staticmethod
    def init():
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).")
"""
        folder = self.package("torch", version, says if module is None else module)
        (folder / "version.py").write_text(
            f"__version__ = {version!r}\ncuda: Optional[str] = {cuda!r}\nhip = None\n".replace("Optional[str]", "str")
        )
        return folder

    def bitsandbytes(self, version: str = "0.50.2", libraries: tuple[str, ...] = ("cpu",)) -> Path:
        folder = self.package("bitsandbytes", version)
        (folder / "cextension.py").write_text("lib = object()\n")
        for name in libraries:
            (folder / f"libbitsandbytes_{name}.so").touch()
        return folder

    def file(self, path: str, text: str = "") -> Path:
        """Put a file of the system."""
        file = self.system / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def driver(self, version: str, kind: str = "x86_64 Kernel Module") -> None:
        """Load a driver, with its library and one GPU's device."""
        self.file("/proc/driver/nvidia/version", _DRIVER.format(kind=kind, version=version))
        self.file("/dev/nvidia0")
        self.file("/usr/lib/x86_64-linux-gnu/libcuda.so.1")

    def program(self, name: str, text: str) -> None:
        """Put a shell script on the PATH."""
        file = self.file(f"/bin/{name}", f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)

    def machine(self, wanted: Wanted | None = None, sites: tuple[str, ...] = ("site",), /, **environ: str) -> Machine:
        home = self.folder / "home"
        self.system.mkdir(exist_ok=True)
        variables = {"HOME": str(home), "HF_HOME": str(home / "hf"), "PATH": f"{self.system}/bin", **environ}
        return Machine(
            str(self.folder / "store"),
            wanted or Wanted(),
            prefix=str(self.system),
            environ={name: value for name, value in variables.items() if value},
            paths=(*(str(self.folder / site) for site in sites), *_STANDARD),
            seconds=self.seconds,
        )

    def findings(
        self, wanted: Wanted | None = None, *, sites: tuple[str, ...] = ("site",), **environ: str
    ) -> list[Finding]:
        return examine(self.machine(wanted, sites, **environ))

    def wrong(self, wanted: Wanted | None = None, **environ: str) -> list[Finding]:
        """What is wrong; each of it says what mends it."""
        found = [finding for finding in examine(self.machine(wanted, **environ)) if finding.is_wrong]
        assert all(finding.mend for finding in found), found
        return found

    def only(self, check: str, **environ: str) -> Finding:
        """The one thing that is wrong."""
        (finding,) = self.wrong(None, **environ)
        assert finding.check == check, finding
        return finding


def in_words(findings: list[Finding]) -> str:
    return "\n".join(
        f"{finding.level} {finding.check}: {finding.message}; mend: {finding.mend}" for finding in findings
    )


def changed(machine: Machine, **changes: object) -> Machine:
    return dataclasses.replace(machine, **changes)  # type: ignore[arg-type]
