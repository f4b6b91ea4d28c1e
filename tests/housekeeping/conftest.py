"""A store to tidy: two commits' worth of a hub repo, plain files, an archive, and the command line in this process."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from assetmgr.cli import main
from tests.hub import Hub
from tests.support import Project, served

BODY = b"0123456789" * 300
WEIGHTS = BODY[::-1]
SHARED = b"shared" * 500


class Told(NamedTuple):
    """What a command said: its code, its document, and its words."""

    code: int
    json: Any
    err: str

    @property
    def removed(self) -> list[str]:
        return sorted(gone["path"] for gone in self.json["removed"])


Run = Callable[..., Told]


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.publish("/f/w.bin", BODY)
    hub.publish("/f/v.bin", BODY[:-1])
    hub.create("org/name").commit({"config.json": b"{}", "model.safetensors": WEIGHTS, "vocab.txt": SHARED})
    return hub


@pytest.fixture
def project(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        for name in list(os.environ):
            if name.startswith(("ASSETMGR_", "HF_")):
                monkeypatch.delenv(name)
        for name, value in project.environment().items():
            if name.startswith(("ASSETMGR_", "HF_", "HOME")):
                monkeypatch.setenv(name, value)
        monkeypatch.chdir(project.folder)
        yield project


@pytest.fixture
def run(project: Project, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process; fail unless it ends with the expected code (None: any)."""

    def run(*words: str, code: int | None = 0) -> Told:
        capsys.readouterr()
        found = main(["--json", *words])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert code is None or found == code, f"{words}: {found}\n{out}\n{err}"
        return Told(found, json.loads(out) if out.strip() else None, err)

    return run


def below(folder: Path) -> set[str]:
    """The files and links below a folder, without the store's own documents."""
    found = (Path(at, name) for at, inside, names in os.walk(folder) for name in (*names, *inside))
    kept = (path for path in found if path.is_symlink() or path.is_file())
    return {path.relative_to(folder).as_posix() for path in kept if ".assetmgr" not in path.parts}
