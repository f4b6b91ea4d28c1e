"""`assetmgr pull hub:ORG/NAME`: the whole job without a manifest, and which lines keep it."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import Fault, Hub, Repo
from tests.support import Project, files_below, hub_manifest, served

pytestmark = pytest.mark.hub

WEIGHTS = bytes(range(256)) * 400
FILES = {"config.json": b"{}", "sub/vocab.json": b"v", "model.safetensors": WEIGHTS, "old.bin": WEIGHTS[1:]}


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture(autouse=True)
def repo(hub: Hub) -> Repo:
    repo = hub.create("org/name")
    repo.commit(FILES)
    return repo


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        yield project


def keep(done_err: str) -> str:
    """The manifest that a pull told its user to write."""
    return "version: 1\n" + done_err.partition("version: 1\n")[2]


def test_a_hub_reference_is_pinned_pulled_proved_and_shown_without_a_manifest(hub: Hub, project: Project) -> None:
    line = ["pull", "hub:org/name", "--include", "*.json", "--exclude", "sub/*", "--local-dir", "X"]
    done = project.run(*line)
    assert done.out.strip() == str(project.folder / "X"), "what a script needs is on stdout"
    assert files_below(project.folder / "X") == {"config.json"}
    assert "1 file already there" in done.err or "1 file fetched" in done.err
    status = project.run("status", "--json", "org/name").json
    assert [(row["name"], row["state"], row["files"]) for row in status] == [("org/name", "installed", 1)]
    project.run("verify", "--full", "org/name")
    assert (project.path("org/name") / "config.json").read_bytes() == b"{}"
    assert [path.name for path in project.folder.glob("*.json")] == [], "no lock of the user's is made"

    # The lines that it says are a manifest that asks for the same bytes: nothing more is fetched.
    (project.folder / "assets.yaml").write_text(keep(done.err))
    project.run("lock")
    hub.reset_log()
    project.run("pull")
    assert project.run("status", "--json").json[0]["state"] == "installed"
    assert [record.path for record in hub.requests] == []


def test_a_branch_is_asked_for_each_time_and_taken_as_locked_where_nobody_answers(
    hub: Hub, repo: Repo, project: Project
) -> None:
    project.run("pull", "hub:org/name")
    first = project.run("status", "--json").json[0]["commit"]
    repo.commit({"config.json": b"[]"})
    project.run("pull", "org/name")
    assert project.run("status", "--json").json[0]["commit"] == first, "by its name it is what is locked"
    moved = project.run("pull", "hub:org/name")
    assert "~ org/name" in moved.err
    now = project.run("status", "--json", "org/name").json[0]["commit"]
    assert now != first
    hub.reset_log()
    offline = project.run("pull", "hub:org/name", "--offline")
    assert now[:12] in offline.err
    assert len(hub.requests) == 0
    away = project.run("pull", "hub:org/name", env={"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert now[:12] in away.err
    gone = project.run("pull", "hub:org/name@nowhere", code=5)
    assert "name a branch, tag or commit" in gone.err


def test_a_commit_is_pulled_again_without_asking_anybody(hub: Hub, repo: Repo, project: Project) -> None:
    commit = repo.commit({"more.json": b"1"})
    project.run("pull", f"hub:org/name@{commit}")
    hub.reset_log()
    done = project.run("pull", "--json", "hub:org/name", "--revision", commit).json
    assert len(hub.requests) == 0
    (one,) = done["references"]
    assert (one["name"], one["commit"], one["kind"]) == ("org/name", commit, "model")
    assert os.path.isdir(one["path"])


def test_parts_and_revisions_of_one_repo_have_names_of_their_own(hub: Hub, project: Project) -> None:
    def name(*line: str) -> str:
        return str(project.run("pull", "--json", *line).json["references"][0]["name"])

    part = ("hub:org/name", "--include", "*.json")
    assert name(*part) == "org/name"
    assert name("hub:org/name") == "org/name"
    second = name(*part)
    assert second.startswith("org/name+")
    assert name(*part) == second
    assert project.run("status", "--json", "org/name").json[0]["files"] == 4
    assert project.run("status", "--json", second).json[0]["files"] == 2
    assert {row["state"] for row in project.run("status", "--json").json} == {"installed"}


def test_a_manifest_in_sight_is_left_alone_and_its_names_stay_its_own(hub: Hub, project: Project) -> None:
    hub.create("org/data", kind="dataset").commit({"d.json": b"[]"})
    project.write(hub_manifest("org/name", extra=["allow_patterns: ['*.safetensors']"]))
    project.run("lock")
    before = files_below(project.folder), (project.folder / "assets.yaml").read_bytes(), project.lock_file.read_bytes()
    done = project.run("pull", "--json", "org/name", "hub:org/name", "hub-dataset:org/data").json
    assert [one["name"] for one in done["assets"]] == ["org/name", done["references"][0]["name"], "org/data"]
    assert done["references"][0]["name"].startswith("org/name+")
    assert done["references"][1]["declare"] == "datasets:\n  org/data:\n    hub: org/data\n"
    kept = {name for name in files_below(project.folder) if not name.startswith(("store/", "home/"))}
    assert kept == {name for name in before[0] if not name.startswith(("store/", "home/"))}
    assert (project.folder / "assets.yaml").read_bytes() == before[1]
    assert project.lock_file.read_bytes() == before[2]
    assert project.run("status", "--json", "org/name").json[0]["files"] == 1


def test_a_url_is_held_to_its_sha256_or_pinned_to_what_came(hub: Hub, project: Project) -> None:
    hub.publish("/f/weights.pth", WEIGHTS)
    url, right = f"{project.endpoint}/f/weights.pth", hashlib.sha256(WEIGHTS).hexdigest()
    wrong = project.run("pull", url, "--sha256", "0" * 64, code=3)
    assert right in wrong.err
    assert "mend: correct the URL, or what --sha256 says of it\n" in wrong.err
    assert "manifest" not in wrong.err
    assert "mend: correct the URL\n" in project.run("pull", f"{project.endpoint}/f/nowhere.pth", code=5).err
    assert project.run("status", "--json").json == []
    done = project.run("pull", url)
    assert right in done.err, "what nobody vouched for is said"
    assert (project.path("weights.pth") / "weights.pth").read_bytes() == WEIGHTS
    hub.reset_log()
    again = project.run("pull", url, "--sha256", right.upper(), "--local-dir", "X", "--local-dir-links", "copy")
    assert (project.folder / "X" / "weights.pth").read_bytes() == WEIGHTS
    assert f"sha256: {right}" in again.err or f'sha256: "{right}"' in again.err
    project.run("pull", url)
    assert [record for record in hub.requests if record.method == "GET"] == []
    query = project.run("pull", f"{url}?download=1&part=[0]")
    assert f"assetmgr add '{url}?download=1&part=[0]'" in query.err


def test_a_local_file_is_the_same_asset_from_any_folder(project: Project) -> None:
    (project.folder / "a.json").write_text("[1]")
    done = project.run("pull", "./a.json")
    assert "- url: ./a.json" in done.err
    assert (project.path("a.json") / "a.json").read_text() == "[1]"
    again = project.run("--json", "pull", (project.folder / "a.json").as_uri()).json
    assert again["references"][0]["name"] == "a.json"


def test_what_cannot_be_is_said_with_what_to_type(hub: Hub, project: Project) -> None:
    hub.create("org/data", kind="dataset").commit({"d.json": b"[]"})
    for line, code, told in (
        (["hub:org/none"], 7, "correct the name"),
        (["hub:org/data"], 5, "assetmgr pull hub-dataset:org/data"),
        (["hub:org/name", "--include", "*.nothing"], 2, "config.json"),
        (["hub:org/name", "--locked"], 4, "assetmgr pull hub:org/name"),
        (["hub:org/name", "*.json"], 2, "--include '*.json'"),
        (["hub:org/name", "hub:org/other", "--local-dir", "X"], 2, "one by one"),
        (["name", "--include", "*.json"], 2, "hub:ORG/NAME"),
        (["hub:org"], 7, "correct the name"),
        (["hub://org/name"], 2, "hub:org/name"),
        (["hub:org/name", "--offline"], 5, "--offline"),
        (["org/none", "hub:org/name"], 2, "org/none"),
    ):
        done = project.run("pull", *line, code=code)
        assert told in done.err, (line, done.err)
        assert "manifest, or" not in done.err
    # What is wrong with one does not keep the others from being pulled.
    both = project.run("--json", "pull", "hub:org/none", "hub:org/name", code=7).json
    assert [error["type"] for error in both["errors"]] == ["AccessError"]
    assert project.run("status", "--json", "org/name").json[0]["state"] == "installed"


def test_the_command_that_mends_and_the_command_that_keeps_work_as_they_are_said(project: Project) -> None:
    (project.folder / "X").mkdir()
    (project.folder / "X" / "config.json").write_text("mine")
    done = project.run("pull", "hub:org/name", "--include", "*.json", "--local-dir", "X", code=3)
    mend = "assetmgr pull hub:org/name --include '*.json' --local-dir X"
    assert done.err.rstrip().endswith(mend)
    (project.folder / "X" / "config.json").unlink()
    again = project.run(*shlex.split(mend)[1:])
    assert files_below(project.folder / "X") == {"config.json", "sub/vocab.json"}
    line = again.err.partition("to keep org/name: ")[2].partition(";")[0]
    for command in line.split(" && "):
        project.run(*shlex.split(command)[1:])
    project.run("sync", "--offline")
    # The manifest says now what the command line had said: it may take it back.
    project.run("remove", "org/name")
    project.run("sync")
    assert not (project.folder / "X").exists()


def test_a_lock_of_the_store_that_is_damaged_is_made_anew(hub: Hub, project: Project) -> None:
    project.run("pull", "hub:org/name")
    (lock,) = (project.root / ".assetmgr" / "lockfiles" / "references").iterdir()
    pinned = json.loads(lock.read_bytes())
    lock.write_text("{")
    project.run("pull", "hub:org/name")
    assert json.loads(lock.read_bytes()) == pinned


def test_a_kill_on_the_way_is_gone_on_with(hub: Hub, project: Project) -> None:
    hub.faults.add(Fault(match="model.safetensors", method="GET", stall_after=1000, times=1))
    process = project.start("pull", "hub:org/name")
    assert hub.wait_for(1, "GET", "model.safetensors", timeout=60)
    process.kill()
    process.communicate()
    project.run("pull", "hub:org/name")
    project.run("verify", "--full", "org/name")
