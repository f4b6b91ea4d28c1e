"""What the tests of bundles share: a store with something of each kind, and keys to sign with."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from assetmgr import Workspace
from assetmgr.bundle.checking import Fault, faults_of_bytes, faults_of_contents, faults_of_shape, open_parts
from assetmgr.bundle.creating import Created, Order
from assetmgr.bundle.loading import offer
from assetmgr.reporting import Silent
from assetmgr.store import Store

MANIFEST = """
version: 1
models:
  words: {files: [{url: ./words.txt}]}
  model: {files: [{url: ./weights.bin}, {url: ./config.json}], requires: [words], load: {dtype: float16}}
datasets:
  pictures: {files: [{url: ./pictures.tar, extract: lavis/pictures}]}
"""
needs_keys = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


class Site:
    """A machine with everything installed, in a folder; and as many machines without as are asked for."""

    def __init__(self, folder: Path, scale: int = 1000) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.write("words.txt", b"some words")
        self.write("weights.bin", b"weights" * 40 * scale)
        self.write("config.json", b"{}" + b" " * 290 * scale)
        self.pictures({"one.jpg": b"one" * 100, "two.jpg": b"two" * 40 * scale})
        self.write("assets.yaml", MANIFEST.encode())
        self.workspace = Workspace(folder / "assets.yaml", folder / "here", local_caches=False)
        self.update()

    def write(self, name: str, data: bytes) -> None:
        (self.folder / name).write_bytes(data)

    def pictures(self, members: dict[str, bytes]) -> None:
        with tarfile.open(self.folder / "pictures.tar", "w") as tar:
            for name, data in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))

    def update(self) -> None:
        """Lock what the manifest's files are now, and install it."""
        self.workspace = Workspace(self.folder / "assets.yaml", self.folder / "here", local_caches=False)
        self.workspace.lock(upgrade=["words", "model", "pictures"])
        self.workspace.pull()

    def create(self, output: Path, *names: str, **order: object) -> Created:
        return self.workspace.create_bundle(Order(str(output), **order), names)  # type: ignore[arg-type]


def machine(folder: Path) -> Workspace:
    """One without manifest and network."""
    return Workspace([], folder, local_caches=False)


def everything_is_there(workspace: Workspace) -> bool:
    names = ("words", "model", "pictures")
    return all(workspace.installed(name, check="full").name == name for name in names)


def faults(*paths: Path) -> list[Fault]:
    """What `bundle verify` finds."""
    opened = open_parts([str(path) for path in paths])
    return [*faults_of_shape(opened), *faults_of_contents(opened), *faults_of_bytes(opened, Silent())]


def looked_at(path: Path, root: Path, *, keys: str | None = None) -> None:
    """What a load does before it takes anything: it raises where the bundle is refused."""
    offer([str(path)], (), Store(root), keys=keys)


def keygen(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-C", "somebody", "-f", str(path), "-t", "ed25519"], check=True)
    return path


def blobs(folder: Path) -> dict[str, tuple[int, int]]:
    """What lies in a bundle, with when it was written and which file it is."""
    found = (folder / "blobs" / "sha256").iterdir()
    return {each.name: (each.stat().st_mtime_ns, each.stat().st_ino) for each in found}
