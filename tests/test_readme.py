"""README.md is true: its commands run, its options and manifests exist, its picture is the demo's output.

So is tests/PROMISES.md: its tests exist. A comment before a fenced block says what is done with it: ``run``
(a block of commands must end with 0, or with the ``exit code`` said, and each line of output shown must come), ``file:
NAME`` (it becomes that file), ``manifest`` (it is one), ``cron`` (its commands run, and say nothing), ``admin``
(tests/test_forty_machines.py runs it).
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from assetmgr.cli.parser import make_parser
from assetmgr.manifest import parse_manifest
from assetmgr.manifest_schema import DATASET, MANIFEST, MODEL
from tests.hub import Hub
from tests.support import REPOSITORY, Project, served

README = (REPOSITORY / "README.md").read_text()
PROMISES = (REPOSITORY / "tests" / "PROMISES.md").read_text()
DATA = REPOSITORY / "tests" / "data"


class Block(NamedTuple):
    mark: str
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        return [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]


BLOCKS = [Block(*found) for found in re.findall(r"(?:<!-- ([^\n]+) -->\n)?```(\w+)\n(.*?)```\n", README, re.DOTALL)]


def test_every_option_exists_and_is_described() -> None:
    parser = make_parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    known = {name: set(sub._option_string_actions) for name, sub in commands.choices.items()}
    everywhere = set(parser._option_string_actions)
    used = set()
    for spoken in re.findall(r"\bassetmgr (?!\.)([^`\n|#;]+)", README):
        words = spoken.split()
        command = next((word for word in words if word in known), None)
        for option in (word for word in words if re.fullmatch(r"--?[a-z][a-z0-9-]*", word)):
            assert option in (known[command] if command else everywhere), f"assetmgr {spoken}: no {option}"
            used.add(option)
    described = set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", README))
    missing = (everywhere.union(*known.values()) - described) - {"-h"}
    assert not missing, "not described"
    assert used, "the search finds something"
    for name in known:
        assert f"`assetmgr {name}" in README, name


def test_every_test_named_exists() -> None:
    tables = re.findall(r"In `(tests/[\w/]+\.py)`:\n\n(.*?)\n\n", PROMISES, re.DOTALL)
    assert len(tables) == PROMISES.count("| what happens |") > 5
    for file, table in tables:
        named = set(re.findall(r"`(test_\w+)`", table))
        there = set(re.findall(r"^def (test_\w+)", (REPOSITORY / file).read_text(), re.MULTILINE))
        assert named, file
        assert named <= there, named - there


def test_every_make_target_exists() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in re.findall(r"make (?:PYTHON=\S+ )?([a-z][a-z-]+)", "\n".join(block.text for block in BLOCKS)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_commented_manifest_is_one_and_has_every_key_that_does_something() -> None:
    (text,) = (block.text for block in BLOCKS if block.mark == "manifest")
    manifest = parse_manifest(text, Path("assets.yaml"))
    assert len(manifest.assets) > 4
    keys = {*MANIFEST.fields, *MODEL.fields, *DATASET.fields} - {"variants"}
    assert {key for key in keys if not re.search(rf"\b{key}:", text)} == set()


# --- the walks --------------------------------------------------------------------------------------------------------


class Walk:
    """A user who reads the README from top to bottom; what is exported stays exported."""

    def __init__(self, project: Project, elsewhere: Path) -> None:
        self.project = project
        self.elsewhere = elsewhere
        self.exports: list[str] = []

    def here(self, text: str) -> str:
        """The text with folders that exist here, and a group that this user is in."""
        text = re.sub(r"(?<![\w./])/(srv|media|opt)/", rf"{self.elsewhere}/\1/", text)
        return text.replace("-g users", f"-g {os.getgid()}")

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        author = {f"GIT_{who}_{what}": "a@b.example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        environment = self.project.environment(PATH=path, **author)
        del environment["ASSETMGR_ROOT"]
        return subprocess.run(
            ["bash", "-e", "-c", "\n".join([*self.exports, script])],
            cwd=self.project.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )

    def commands(self, block: Block) -> None:
        done = self.shell(self.here("\n".join(block.commands)))
        wanted = int(block.mark.rpartition(" ")[2]) if "exit code" in block.mark else 0
        assert done.returncode == wanted, f"{block.text}\n{done.stdout}\n{done.stderr}"
        shown = [self.here(line) for line in block.text.splitlines() if not line.startswith("$ ")]
        came = (done.stdout + done.stderr).splitlines()
        assert not [line for line in shown if line not in came], f"{block.text}\n{done.stdout}\n{done.stderr}"
        self.exports += [self.here(command) for command in block.commands if command.startswith("export ")]

    def python(self, block: Block) -> None:
        (self.project.folder / "block.py").write_text(block.text)
        done = self.shell("python block.py")
        assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"

    def cron(self, block: Block) -> None:
        for line in block.text.splitlines():
            done = self.shell(self.here(line.split(maxsplit=5)[5]))
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    """A hub with small things under the names of the README, and an empty folder under version control."""
    hub = Hub()
    hub.create("sentence-transformers/all-MiniLM-L6-v2").commit({"config.json": b"{}", "model.safetensors": b"small"})
    hub.create("Salesforce/blip2-opt-2.7b").commit_folder(DATA / "tiny_blip2_vqa")
    hub.create("our-lab/pictures", "dataset").commit_folder(DATA / "coco-sample")
    for folder in ("srv", "media/usb", "opt"):
        (tmp_path / "machines" / folder).mkdir(parents=True)
    with served(hub, tmp_path / "project") as project:
        subprocess.run(["git", "init", "-q"], cwd=project.folder, check=True)
        yield Walk(project, tmp_path / "machines")


@pytest.mark.torch
def test_the_five_minute_paths_run_as_written(walk: Walk) -> None:
    pytest.importorskip("transformers")
    done = 0
    for block in BLOCKS:
        done += block.mark.startswith(("run", "cron"))
        if block.mark.startswith("file: "):
            (walk.project.folder / block.mark.removeprefix("file: ")).write_text(block.text)
        elif block.mark == "cron":
            walk.cron(block)
        elif block.mark.startswith("run") and block.language == "console":
            walk.commands(block)
        elif block.mark == "run" and block.language == "python":
            walk.python(block)
    assert done > 8, "the search finds them"
