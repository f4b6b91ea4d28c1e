"""`assetmgr doctor` as it is typed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from assetmgr.cli.shapes import shape
from assetmgr.doctor.known import EXTRAS
from tests.support import REPOSITORY, Project, without_root_powers

jsonschema = pytest.importorskip("jsonschema")

_HANGS = "import time; time.sleep(3600)"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project in whose Python nothing heavy is importable."""
    site = tmp_path / "site"
    for name in ("torch", "torchvision", "transformers", "accelerate", "bitsandbytes"):
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").touch()
    (site / "bitsandbytes" / "cextension.py").touch()
    (site / "torch" / "version.py").touch()
    paths = os.pathsep.join([str(site), str(REPOSITORY)])
    project = Project(tmp_path / "project", env={"PYTHONPATH": paths, "HF_ENDPOINT": ""})
    project.folder.mkdir()
    return project


def test_the_exit_code_says_whether_anything_is_wrong(project: Project) -> None:
    project.root.mkdir()
    done = project.run("doctor")
    assert done.out.startswith("ok       store: ")
    assert "; mend: " in done.out
    assert re.search(r"notes; \d+ ok; \d+\.\d s", done.err)
    assert project.run("-q", "doctor").out == ""
    done = project.run("doctor", code=1, env={"TORCH_HOME": "/elsewhere"})
    assert "warning  variables: TORCH_HOME=/elsewhere" in done.out
    done = project.run("doctor", "-q", "--json", code=1, env={"TORCH_HOME": "/elsewhere"})
    jsonschema.validate(done.json, shape("doctor"))
    assert done.json["code"] == 1
    assert [one["check"] for one in done.json["findings"] if one["level"] == "warning"] == ["variables"]


def test_a_broken_manifest_and_a_hanging_torch_are_findings_beside_the_others(project: Project) -> None:
    project.write("version: 1\nmodels: {m: {hub: a/b, revison: main}}\n")
    (project.folder.parent / "site" / "torch" / "__init__.py").write_text(_HANGS)
    done = project.run("doctor", "--timeout", "1", "-q", code=1)
    lines = done.out.splitlines()
    assert re.match(r"error +manifest: .*assets\.yaml:2:\d+: .*revison", lines[0])
    assert any("torch" in line and "gives no answer within 1 s" in line for line in lines)
    assert done.err == ""


def test_a_store_that_cannot_be_written_is_found(project: Project) -> None:
    project.root.mkdir()
    project.root.chmod(0o555)
    project.prefix = without_root_powers()
    try:
        done = project.run("doctor", "-q", code=1)
    finally:
        project.root.chmod(0o755)
    assert done.out.startswith(f"error    store: {project.root} cannot be written: Permission denied")
    assert list(project.root.iterdir()) == []


def test_the_extras_are_those_of_the_project() -> None:
    text = (REPOSITORY / "pyproject.toml").read_text()
    section = text[text.index("[project.optional-dependencies]") : text.index("[project.scripts]")]
    there = set(re.findall(r"^([a-z0-9-]+) = \[", section, re.MULTILINE))
    assert there - {"all", "test", "dev", "zstd"} == EXTRAS.keys()
    for name, extra in EXTRAS.items():
        line = re.search(rf"^{name} = \[(.*?)\]$", section, re.MULTILINE | re.DOTALL)
        assert line
        assert [package for package in extra.packages if package not in line[1]] == []
