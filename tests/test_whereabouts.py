"""`whereis` says which mirrors and folders hold an asset, asks in bounded time, and fetches nothing."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assetmgr.cli.shapes import shape
from tests.hub import Fault, Hub
from tests.mirrors.support import stock
from tests.support import Project, served

jsonschema = pytest.importorskip("jsonschema")

LARGE, SMALL = b"L" * 3000, b"small"
MANIFEST = """\
version: 1
models:
  m:
    files: [{url: '{endpoint}/f/l.bin'}, {url: '{endpoint}/f/s.bin'}, {url: '{endpoint}/f/e.bin'}]
    local_dir: ./shown
  twin:
    files: [{url: '{endpoint}/f/l.bin', place: torch}]
"""


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.publish("/f/l.bin", LARGE)
    hub.publish("/f/s.bin", SMALL)
    hub.publish("/f/e.bin", b"")
    return hub


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        project.write(MANIFEST)
        project.run("lock")
        yield project


def whereis(project: Project, *arguments: str, name: str = "m") -> dict[str, Any]:
    found: dict[str, Any] = project.run("--json", "whereis", name, *arguments).json
    jsonschema.validate(found, shape("whereis"))
    return found


def test_each_mirror_is_told_with_what_it_has(hub: Hub, project: Project, tmp_path: Path) -> None:
    folder, server = tmp_path / "folder", Hub()
    stock(folder, LARGE)
    stock(server, LARGE, SMALL, b"")
    wrong = tmp_path / "wrong"
    stock(wrong, LARGE, SMALL)
    for path in wrong.rglob("*"):
        if path.is_file():
            path.write_bytes(b"of another size")
    gone = tmp_path / "gone"
    hub.reset_log()
    with server.serve() as address:
        mirrors = [f"--mirror={one}" for one in (folder, address, wrong, gone)]
        found = whereis(project, *mirrors)
        offline = whereis(project, *mirrors, "--offline")
        words = project.run("whereis", "m", *mirrors)
    states = [(one["mirror"], one["state"], one["files"], one["asked"], one["bytes"]) for one in found["mirrors"]]
    assert states == [
        (str(folder), "part", 1, 3, 3000),
        (address, "whole", 3, 3, 3005),
        (str(wrong), "none", 0, 3, 0),
        (str(gone), "unreachable", 0, 0, 0),
    ]
    assert "no such folder" in found["mirrors"][3]["why"]
    assert [one["state"] for one in offline["mirrors"]] == ["part", "not asked", "none", "unreachable"]
    assert (found["state"], found["files"], found["bytes"]) == ("not installed", 3, 3005)
    assert [line.split()[:4] for line in words.out.splitlines() if address in line] == [["mirror", "3", "of", "3"]]
    assert f"mirror {gone}: " in words.err
    assert "whole on 1 mirror of 4" in words.err
    assert hub.requests == [], "the origin is not asked"
    assert not (project.root / "files").exists(), "nothing is fetched"
    assert all(record.headers.get("range") == "bytes=0-0" for record in server.requests)
    assert not any("authorization" in record.headers for record in server.requests)


def test_a_mirror_that_is_not_there_or_says_nothing_is_told_in_time(project: Project) -> None:
    server = Hub()
    stock(server, LARGE, SMALL, b"")
    server.faults.add(Fault(match="/blobs/", delay=60, times=None))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
        with server.serve() as address:
            started = time.monotonic()
            found = whereis(project, f"--mirror={address}", f"--mirror={closed}", "--timeout", "1")
            assert time.monotonic() - started < 20
    assert [(one["state"], bool(one["why"])) for one in found["mirrors"]] == [("unreachable", True)] * 2


def test_places_on_this_machine_are_told(project: Project) -> None:
    project.run("pull")
    found = whereis(project)
    kinds = {one["kind"]: (one["path"], one["files"], one["name"]) for one in found["folders"]}
    assert kinds == {
        "store": (str(project.root / "files/m"), 3, ""),
        "local_dir": (str(project.folder / "shown"), 3, ""),
        "asset": (str(project.root / "torch/hub/checkpoints/l.bin"), 1, "twin"),
    }
    assert (found["state"], found["mirrors"]) == ("installed", [])
    shutil.rmtree(project.folder / "shown")
    assert {one["kind"]: one["files"] for one in whereis(project)["folders"]}["local_dir"] == 0
    assert "did you mean 'twin'?" in project.run("whereis", "twinn", code=2).err


def test_huggingface_hubs_own_cache_is_told_by_names(hub: Hub, project: Project, tmp_path: Path) -> None:
    commit = hub.create("org/name").commit({"a.json": b"{}", "b.json": b"[]"})
    project.write("version: 1\nmodels:\n  h:\n    hub: org/name\n")
    assert "not locked" in project.run("whereis", "h", code=4).err
    project.run("lock")
    snapshot = tmp_path / "cache/models--org--name/snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "a.json").write_bytes(b"{}")
    for variable in ("HF_HUB_CACHE", "TRANSFORMERS_CACHE"):  # the same that a pull looks into
        done = project.run("--json", "whereis", "h", env={variable: str(tmp_path / "cache")})
        assert [(one["kind"], one["files"]) for one in done.json["folders"]] == [("hub cache", 1)], variable
