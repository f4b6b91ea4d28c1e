"""LAVIS's requirements as they ship: one environment, in which every departure from what LAVIS says is on purpose."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from assetmgr.cli import main
from tests.lavis.freeze import FROZEN, HELD, LEFT_OUT, OVERRIDES, OVERRIDES_HEAD, override_lines
from tests.support import REPOSITORY


def pins(path: Path) -> dict[str, str]:
    lines = [line.partition(";")[0].strip() for line in path.read_text().splitlines()]
    rows = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {_plain(name): version.strip() for name, version in rows}


def _plain(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def test_the_overrides_are_those_that_the_versions_were_resolved_by() -> None:
    assert OVERRIDES.read_text() == OVERRIDES_HEAD + "".join(override_lines())
    frozen = pins(FROZEN)
    for name, (version, _) in HELD.items():
        assert Requirement(f"{name}{version}").specifier.contains(frozen[name])
    assert not {_plain(name) for name in LEFT_OUT} & frozen.keys()


def test_what_the_project_and_lavis_share_has_one_version() -> None:
    ours, frozen = pins(REPOSITORY / "tests" / "constraints-hub036.txt"), pins(FROZEN)
    assert {name: ours[name] for name in ours.keys() & frozen.keys()} == {
        name: frozen[name] for name in ours.keys() & frozen.keys()
    }


def test_they_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["requirements", "lavis"]) == 0
    assert capsys.readouterr().out == FROZEN.read_text()
    assert main(["requirements", "lavis", "--overrides"]) == 0
    assert capsys.readouterr().out == OVERRIDES.read_text()


@pytest.mark.lavis
def test_what_is_installed_here_is_what_is_frozen() -> None:
    found = {_plain(each.name): each.version.partition("+")[0] for each in importlib.metadata.distributions()}
    frozen = pins(FROZEN)
    assert {name: found.get(name) for name in frozen} == frozen


@pytest.mark.lavis
def test_every_requirement_holds_but_those_departed_from() -> None:
    frozen = pins(FROZEN)
    departed = set()
    for name in frozen:
        for text in importlib.metadata.requires(name) or ():
            wanted = Requirement(text)
            if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
                continue
            version = frozen.get(_plain(wanted.name))
            if version is None or not wanted.specifier.contains(version, prereleases=True):
                departed.add((name, _plain(wanted.name)))
    assert {wanted for name, wanted in departed if name == "salesforce-lavis"} == {_plain(name) for name in LEFT_OUT}
    # torch's build for CUDA would bring CUDA.
    assert {row for row in departed if row[0] != "salesforce-lavis" and not row[1].startswith("nvidia-")} <= {
        ("torch", "triton"), ("torch", "cuda-toolkit"), ("torch", "cuda-bindings"),
    }  # fmt: skip
