"""The README's way to provision many machines, taken out of it and run: on machines that are folders here.

``ssh`` is a stand-in that runs the command with another home and another ``/srv``; Ansible, where it is installed, and
the server are real.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from assetmgr.workspace import Workspace
from tests.hub import Hub
from tests.server.support import serving
from tests.support import Project, files_below, flip_byte, served
from tests.test_readme import BLOCKS, DATA

pytestmark = pytest.mark.skipif(not shutil.which("bash") or os.name == "nt", reason="the README's way is bash's")

SSH = """#!/bin/bash
while [[ $1 == -* ]]; do case $1 in -[oliFpESb]) shift 2 ;; *) shift ;; esac; done
[ -d "$MACHINES/$1" ] || exit 255
export HOME="$MACHINES/$1/home" ASSETMGR_ROOT=/not/this
cd "$HOME" || exit 255
machine=$1
shift
words="$*"
exec sh -c "${words//\\/srv\\//$MACHINES/$machine/srv/}"
"""


def block(mark: str) -> str:
    (text,) = (block.text for block in BLOCKS if block.mark == f"admin: {mark}")
    return text


@dataclass
class Lab:
    """A hub, lab-server with a project that is installed and served, and machines that have nothing yet."""

    hub: Hub
    server: Project
    address: str
    machines: Path
    group: str = str(os.getgid()) if hasattr(os, "getgid") else ""

    def environment(self) -> dict[str, str]:
        """Nobody but lab-server knows the hub."""
        path = os.pathsep.join(
            [str(self.machines.parent / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        )
        environment = self.server.environment(PATH=path, MACHINES=str(self.machines), HF_ENDPOINT="http://127.0.0.1:9")
        del environment["ASSETMGR_ROOT"]
        return environment

    def bash(self, script: str, machine: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the README's: on lab-server, or on a machine."""
        text = script.replace("http://lab-server:8470", self.address)
        if machine:
            text = text.replace("/srv/", f"{self.machines / machine}/srv/")
        return subprocess.run(
            ["bash", "-c", text],
            cwd=self.machines / machine / "home" if machine else self.server.folder,
            env=self.environment() | env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def root(self, machine: str) -> Path:
        return self.machines / machine / "srv" / "assets"

    def holds(self, machine: str) -> set[str]:
        """What is installed on a machine, all of it hashed."""
        workspace = Workspace((), self.root(machine))
        assert not workspace.verify(full=True).findings
        return set(workspace.store.installed_names())


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    hub = Hub()
    hub.create("sentence-transformers/all-MiniLM-L6-v2").commit(
        {"config.json": b"{}", "model.safetensors": b"w" * 9999}
    )
    hub.create("our-lab/pictures", "dataset").commit_folder(DATA / "coco-sample")
    machines = tmp_path / "machines"
    for name in ("one", "two"):
        for folder in ("home", "srv/assets"):
            (machines / name / folder).mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ssh").write_text(SSH)
    (tmp_path / "bin" / "logger").write_text('#!/bin/sh\necho "$*" >> "$MACHINES/log"\n')
    for program in (tmp_path / "bin").iterdir():
        program.chmod(0o755)
    with served(hub, tmp_path / "lab-server") as project:
        project.write(
            "version: 1\nmodels:\n  minilm: {hub: sentence-transformers/all-MiniLM-L6-v2}\n"
            "datasets:\n  pictures: {hub: our-lab/pictures}\n"
        )
        project.run("lock")
        project.run("sync", "--locked")
        with serving(Workspace((), project.root)) as server:
            yield Lab(hub, project, server.address, machines)


def test_a_shell_loop_provisions_all_that_answer_names_the_others_and_updates_by_what_is_new(lab: Lab) -> None:
    (lab.server.folder / "machines.txt").write_text("one\nswitched-off\ntwo\n")
    done = lab.bash(block("loop"))
    assert (done.returncode, done.stdout) == (0, "switched-off: code 255\n"), done.stderr
    assert lab.holds("one") == lab.holds("two") == {"minilm", "pictures"}
    before = files_below(lab.root("one"))
    lab.hub.repos["model", "sentence-transformers/all-MiniLM-L6-v2"].commit({"config.json": b'{"new": 1}'})
    upgrade = lab.server.environment(PATH=lab.environment()["PATH"])
    subprocess.run(
        ["bash", "-ec", block("update")], cwd=lab.server.folder, env=upgrade, check=True, capture_output=True
    )
    done = lab.bash(block("loop"))
    assert done.stdout == "switched-off: code 255\n", done.stderr
    new = [name for name in files_below(lab.root("one")) - before if "/blobs/" in name]
    assert len(new) == 1, "the weights are where they were"
    config = max(lab.root("one").glob("hub/models--*/snapshots/*/config.json"), key=lambda path: path.lstat().st_mtime)
    assert config.read_bytes() == b'{"new": 1}'


def test_an_ansible_play_makes_machines_what_the_lock_says_and_changes_nothing_twice(lab: Lab) -> None:
    ansible = shutil.which("ansible-playbook")
    if ansible is None:
        pytest.skip("ansible-playbook is not installed")
    (lab.server.folder / "assets.play.yaml").write_text(block("assets.play.yaml"))
    (lab.server.folder / "machines.ini").write_text("[gpu]\none\ntwo\n")
    store = f"{lab.machines}/{{{{ inventory_hostname }}}}/srv/assets"
    shutil.rmtree(lab.root("two"))
    chosen = json.dumps({"store": store, "group": lab.group, "server": lab.address})
    changed = []
    for _ in range(2):
        done = subprocess.run(
            [ansible, "-i", "machines.ini", "assets.play.yaml", "-e", chosen],
            cwd=lab.server.folder,
            env=lab.environment()
            | {"ANSIBLE_PIPELINING": "1", "ANSIBLE_NOCOLOR": "1", "PYTHONPATH": "", "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        changed.append(re.findall(r"^(\w+) +: ok=3 +changed=(\d)", done.stdout, re.MULTILINE))
    assert changed == [[("one", "3"), ("two", "3")], [("one", "0"), ("two", "0")]]
    assert lab.holds("one") == lab.holds("two") == {"minilm", "pictures"}
    assert stat.S_IMODE(lab.root("two").stat().st_mode) == 0o2775


@pytest.mark.parametrize(
    ("comment", "code", "there"),
    [
        ("assets=minilm", 0, {"minilm"}),
        ("assets=minilm,pictures", 0, {"minilm", "pictures"}),
        ("assets=minilm,no-such-thing", 0, {"minilm"}),
        ("assets=--root=/elsewhere,*", 0, set()),
        ("my own words", 0, set()),
        ("", 0, set()),
    ],
)
def test_a_slurm_prolog_brings_what_a_job_asks_for(lab: Lab, comment: str, code: int, there: set[str]) -> None:
    done = lab.bash(block("prolog"), "one", SLURM_JOB_ID="7", SLURM_JOB_USER="anna", SLURM_JOB_COMMENT=comment)
    assert done.returncode == code, done.stderr
    assert lab.holds("one") == there


def test_a_slurm_prolog_drains_a_node_whose_disk_lies_or_is_full_and_a_task_prolog_names_the_store(lab: Lab) -> None:
    asked = {"SLURM_JOB_COMMENT": "assets=minilm"}
    (lab.root("one") / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2").mkdir(parents=True)
    blobs = lab.root("one") / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2" / "blobs"
    for blob in Path(lab.server.root).glob("hub/models--*/blobs/*"):
        (blobs / blob.name).mkdir(parents=True)  # nothing can be placed there
    assert lab.bash(block("prolog"), "one", **asked).returncode == 1
    shutil.rmtree(lab.root("one") / "hub")
    assert lab.bash(block("prolog"), "one", **asked).returncode == 0
    done = lab.bash("assetmgr --root /srv/assets env", "one")
    lines = done.stdout.splitlines()
    assert f"export HF_HUB_CACHE={lab.root('one')}/hub" in lines
    assert all(
        len(shlex.split(line)) == 2 and line.startswith("export ") for line in lines if not line.startswith("unset ")
    ), lines


def test_the_nightly_line_keeps_a_document_and_tells_the_log_the_code(lab: Lab) -> None:
    assert lab.bash(block("prolog"), "one", SLURM_JOB_COMMENT="assets=minilm").returncode == 0
    (text,) = (each.text for each in BLOCKS if each.mark == "cron" and "logger" in each.text)
    lines = [line.split(maxsplit=5)[5] for line in text.splitlines()]
    document = lab.machines / "one" / "srv" / "verified.json"
    for line in lines:
        done = lab.bash(line, "one")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert json.loads(document.read_text())["findings"] == []
    flip_byte(next(lab.root("one").glob("hub/models--*/snapshots/*/model.safetensors")))
    mailed, _ = (lab.bash(line, "one") for line in lines)
    assert "model.safetensors: altered" in mailed.stdout
    assert mailed.returncode == 3
    (finding,) = json.loads(document.read_text())["findings"]
    assert (finding["asset"], finding["path"]) == ("minilm", "model.safetensors")
    assert (lab.machines / "log").read_text() == "-t assetmgr verify: code 3\n"
