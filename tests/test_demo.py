"""The demo does what it says, leaves nothing behind, and ends soon when it is interrupted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import REPOSITORY


def demo(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the demo with its temporary folders below the given one."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.demo", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def picture(of: str = "output") -> str:
    """What README.md shows of the demo."""
    found = re.search(
        rf"<!-- {of} of the demo -->\n```\w+\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL
    )
    assert found
    return found[1]


def missing_lines(shown: str, real: str) -> list[str]:
    """The lines shown that are not real, but for what differs from run to run: times and the folder."""

    def shape(line: str) -> str:
        return re.sub(r"127\.0\.0\.1:\d+|\S+/assetmgr-demo-\w+|\d+\.\d s\b|\d{4}-\d\d-\d\d \d\d:\d\d", "...", line)

    there = {shape(line) for line in real.splitlines()}
    return [line for line in shown.splitlines() if shape(line) not in there]


@pytest.mark.torch
def test_the_demo_goes_from_a_manifest_to_right_answers(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    process = demo(tmp_path, "--keep")
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, f"{out}\n{err}"
    for line in (
        "$ assetmgr lock",
        "$ assetmgr plan",
        "$ assetmgr pull",
        "$ assetmgr status",
        "$ assetmgr verify --full",
        "(exit code 3)",
        "$ assetmgr verify --full --repair",
        "(the hub sent one file, model-00001-of-00002.safetensors; it is byte for byte what it was)",
        "(requests to the hub: 0)",
        "  model     a couple of buckets in a white room",
        "  expected  a couple of buckets in a white room   same",
    ):
        assert f"{line}\n" in out, f"{line!r} is not in\n{out}"
    assert "DIFFERENT" not in out
    assert "\033" not in out, "no colours in a pipe"
    assert not missing_lines(picture(), out), "README.md shows what the demo does not print"
    (kept,) = tmp_path.iterdir()
    assert not missing_lines(picture("lock"), (kept / "assets.lock.json").read_text())
    assert out.endswith("s\n")
    assert f"kept: {kept}" in out


def test_an_interrupted_demo_removes_its_folder(tmp_path: Path) -> None:
    process = demo(tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if line == "$ assetmgr pull\n":
            break
    assert list(tmp_path.iterdir())
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C on a terminal
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())
