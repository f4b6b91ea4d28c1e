"""A rehearsal without internet, in networks of their own: prepare, carry, load, run; then update by what is new."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest

from tests.hub import Hub
from tests.support import Project, files_below
from tests.test_readme import DATA

T = TypeVar("T")

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("ip"), reason="only root can make networks"
    ),
]

MANIFEST = """version: 1
models:
  blip2: {hub: org/blip2}
datasets:
  pictures:
    hub: lab/pictures
    splits: {val: annotations/captions_val2017.json}
    media: val2017
    samples: caption
"""
RUN = """
import assetmgr, torch
torch.set_num_threads(1)
sample = assetmgr.load_dataset("pictures")["val"][0]
answer = assetmgr.load_model("blip2", device="cpu").answer(sample["image"], "what is in the bowl?", max_new_tokens=3)
print(sample["text_input"], "|", type(answer).__name__)
"""
READ = "import assetmgr; print(assetmgr.load_dataset('pictures')['val'][0]['text_input'])"
ALONE = """
import socket
try:
    socket.create_connection(("127.0.0.1", 9), timeout=1)
except OSError as error:
    print(error.strerror)
"""


@pytest.fixture
def networks() -> Iterator[tuple[str, str]]:
    """Two networks: one in which this machine reaches itself, and one in which nothing reaches anything."""
    names = (f"assetmgr-{os.getpid()}-online", f"assetmgr-{os.getpid()}-alone")
    made = []
    try:
        for name in names:
            if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
                pytest.skip("no right to make networks here")
            made.append(name)
        subprocess.run(["ip", "-n", names[0], "link", "set", "lo", "up"], check=True)
        yield names
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "delete", name], check=True)


def within(network: str, function: Callable[[], T]) -> T:
    """Call a function in a thread that is in a network; what it opens stays there."""

    def enter() -> T:
        with open(f"/run/netns/{network}") as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0x40000000):  # CLONE_NEWNET
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return function()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(enter).result()


class Site(NamedTuple):
    """The machine with internet, the stick that is carried, and the machine without."""

    hub: Hub
    online: Project
    stick: Path
    alone: Project

    def carry(self, folder: str) -> list[str]:
        """Copy to the stick what it has not yet; return which blobs these are."""
        before = files_below(self.stick)
        source = f"{self.online.folder}/{folder}/"
        subprocess.run(["rsync", "-a", source, f"{self.stick}/"], check=True)
        return sorted(name for name in files_below(self.stick) - before if name.startswith("blobs/"))

    def publish_another(self) -> None:
        """The dataset gets another sentence upstream, and the machine with internet follows."""
        annotations = (DATA / "coco-sample" / "annotations" / "captions_val2017.json").read_bytes()
        assert annotations.count(b"A large white bowl") == 1
        changed = annotations.replace(b"A large white bowl", b"A small green bowl")
        self.hub.repos["dataset", "lab/pictures"].commit({"annotations/captions_val2017.json": changed})
        self.online.run("lock", "--upgrade", "pictures")
        self.online.run("pull")

    def run(self, code: str) -> str:
        """Run Python on the machine without internet."""
        done = subprocess.run(
            [*self.alone.prefix, sys.executable, "-c", code],
            cwd=self.alone.folder,
            env=self.alone.environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def site(tmp_path: Path, networks: tuple[str, str]) -> Iterator[Site]:
    if not shutil.which("rsync"):
        pytest.skip("rsync is not installed")
    pytest.importorskip("transformers")
    hub = Hub()
    hub.create("org/blip2").commit_folder(DATA / "tiny_blip2_vqa")
    hub.create("lab/pictures", "dataset").commit_folder(DATA / "coco-sample")
    endpoint = within(networks[0], hub.start)
    online, alone = (
        Project(tmp_path / network, endpoint, prefix=("ip", "netns", "exec", network)) for network in networks
    )
    alone.folder.mkdir()
    online.write(MANIFEST)
    try:
        yield Site(hub, online, tmp_path / "stick", alone)
    finally:
        hub.stop()


def test_a_machine_without_internet_is_prepared_runs_a_model_and_a_dataset_and_is_updated_by_what_is_new(
    site: Site,
) -> None:
    site.online.run("lock")
    site.online.run("pull")
    site.online.run("mirror", "push", "mirror")
    assert len(site.carry("mirror")) > 10

    assert site.run(ALONE) == "Network is unreachable"
    pulled = ("pull", "blip2", "pictures", "--offline", "--mirror", str(site.stick))
    site.alone.run(*pulled)
    assert site.run(RUN) == "A large white bowl of many green apples.  | str"
    assert "all proved" in site.alone.run("verify", "--full").err

    site.publish_another()
    site.online.run("mirror", "push", "mirror")
    new = site.carry("mirror")
    assert 1 <= len(new) <= 2, "the annotations, and the commit's listing"

    before = files_below(site.alone.root / "hub")
    site.alone.run(*pulled)
    arrived = {name for name in files_below(site.alone.root / "hub") - before if "/blobs/" in name}
    assert len(arrived) == 1
    assert site.run(READ) == "A small green bowl of many green apples."
    assert "all proved" in site.alone.run("verify", "--full").err


def test_a_signed_bundle_prepares_it_and_a_delta_updates_it(site: Site) -> None:
    if not shutil.which("ssh-keygen"):
        pytest.skip("ssh-keygen is not installed")
    key = site.online.folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-f", str(key), "-t", "ed25519"], check=True)
    site.online.run("lock")
    site.online.run("pull")
    site.online.run("bundle", "create", "-o", "bundle", "--name", "lab", "--sign", str(key))
    assert len(site.carry("bundle")) > 10

    load = ("bundle", "load", str(site.stick), "--verify-with", f"{key}.pub")
    assert "2 assets proved" in site.alone.run(*load).err
    assert site.run(RUN) == "A large white bowl of many green apples.  | str"
    assert "all proved" in site.alone.run("verify", "--full").err

    site.publish_another()
    site.online.run("bundle", "create", "-o", "delta", "--since", "bundle", "--sign", str(key))
    shutil.rmtree(site.stick)
    assert len(site.carry("delta")) == 4, "the annotations, the commit's listing, and two documents"

    before = files_below(site.alone.root / "hub")
    site.alone.run(*load)
    arrived = {name for name in files_below(site.alone.root / "hub") - before if "/blobs/" in name}
    assert len(arrived) == 1
    assert site.run(READ) == "A small green bowl of many green apples."
    assert "all proved" in site.alone.run("verify", "--full").err
