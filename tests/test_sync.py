"""`assetmgr sync`: one verb after which a machine is as its manifest says, and nobody's own files are gone."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assetmgr.cli.shapes import shape
from tests.hub import Fault, Hub, Repo
from tests.support import Done, Project, files_below, served, without_root_powers

jsonschema = pytest.importorskip("jsonschema")
pytestmark = pytest.mark.hub

WEIGHTS = bytes(range(256)) * 400
BOTH = """\
version: 1
models:
  m:
    hub: org/name
    local_dir: ./view
  n:
    hub: org/other
    local_dir: ./other
    groups: [demo]
"""
ONE = BOTH.partition("  n:")[0]


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.create("org/other").commit({"o.json": b"[]"})
    return hub


@pytest.fixture(autouse=True)
def repo(hub: Hub) -> Repo:
    repo = hub.create("org/name")
    repo.commit({"a.json": b"{}", "sub/b.json": b"b", "w.safetensors": WEIGHTS})
    return repo


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        project.write(BOTH)
        yield project


def sync(project: Project, *line: str) -> Any:
    """Run it for a program; its document has the shape that it says."""
    found = project.run("sync", "--json", *line).json
    jsonschema.validate(found, shape("sync"))
    return found


def stamps(project: Project) -> dict[str, int]:
    return {
        name: os.lstat(project.folder / name).st_mtime_ns
        for name in files_below(project.folder)
        if not name.startswith("home/")
    }


def wanted_by(project: Project) -> dict[str, list[str]]:
    """Which assets have a receipt, and who wants them."""
    found: dict[str, list[str]] = {}
    for path in (project.root / ".assetmgr" / "receipts").iterdir():
        receipt = json.loads(path.read_bytes())
        found.setdefault(path.name.partition("@")[0], []).extend(receipt["wanted_by"])
    return found


def test_it_locks_pulls_shows_and_a_second_run_asks_nobody_and_changes_nothing(hub: Hub, project: Project) -> None:
    done = project.run("sync")
    assert "+ m at " in done.out
    assert "2 assets proved" in done.err
    assert "1 lock written" in done.err
    assert files_below(project.folder / "view") == {"a.json", "sub/b.json", "w.safetensors"}
    assert project.lock_file.exists()
    before = stamps(project)
    hub.reset_log()
    again = project.run("sync")
    assert again.out == ""
    assert [line.partition(" in ")[0] for line in again.err.splitlines()] == [
        "assetmgr: nothing to do: 2 assets, 4 files, proved"
    ]
    assert len(hub.requests) == 0
    assert stamps(project) == before
    project.run("sync", "--locked", "--offline")
    project.run("sync", "--frozen", "--offline")
    assert stamps(project) == before


def test_what_the_manifest_drops_goes_from_its_folder_and_stays_in_the_store(project: Project) -> None:
    project.run("sync")
    (project.folder / "other" / "mine.txt").write_text("mine")
    project.write(ONE.replace("    local_dir: ./view\n", "    local_dir: ./moved\n    ignore_patterns: sub/*\n"))
    done = project.run("sync")
    assert not (project.folder / "view").exists(), "a folder that is empty goes"
    assert files_below(project.folder / "moved") == {"a.json", "w.safetensors"}
    assert files_below(project.folder / "other") == {"mine.txt"}
    assert "o.json: removed" in done.out
    assert "other: stays, with what is not of assetmgr: mine.txt" in done.out
    assert "n: no longer wanted" in done.out
    assert project.run("status", "n", "--json").json[0]["state"] == "installed", "the bytes are still there"
    here = os.path.realpath(project.folder / "assets.yaml")
    users = wanted_by(project)
    assert users["n"] == []
    assert users["m"] == [here], "of the two entries of m, only the new one is wanted"
    assert project.run("sync").out == ""
    project.run("verify", "--full")
    project.write(BOTH)
    assert (
        "assetmgr lock n\n" in project.run("sync", "--offline", code=5).err
    )  # n is not in the lock any more, and the hub is not to be asked
    project.run("sync")
    assert wanted_by(project)["n"] == [here]
    assert files_below(project.folder / "other") == {"mine.txt", "o.json"}


@pytest.mark.parametrize("style", ["symlink", "hardlink", "copy"])
def test_a_file_that_somebody_changed_is_told_and_never_removed(project: Project, style: str) -> None:
    project.write(ONE.replace("./view\n", f"./view\n    local_dir_links: {style}\n"))
    project.run("sync")
    changed = project.folder / "view" / "sub" / "b.json"
    changed.unlink()
    changed.write_text("mine")
    project.write(ONE.replace("    local_dir: ./view\n", ""))
    foreseen = sync(project, "--dry-run")["folders"]
    done = sync(project)
    assert done["folders"] == foreseen
    (folder,) = done["folders"]
    assert sorted(folder["removed"]) == ["a.json", "w.safetensors"]
    assert folder["left"] == ["sub/b.json"]
    assert files_below(project.folder / "view") == {"sub/b.json"}
    assert changed.read_text() == "mine"
    assert not sync(project)["changed"]


def test_what_another_project_or_a_command_line_asked_for_stays(hub: Hub, project: Project) -> None:
    second = Project(project.folder / "second", project.endpoint)
    second.env["ASSETMGR_ROOT"] = str(project.root)
    second.write(ONE.replace("./view", str(project.folder / "view")))
    project.run("sync")
    second.run("sync")
    project.run("pull", "hub:org/other", "--local-dir", "byhand")
    project.write("version: 1\nmodels: {x: {hub: org/other}}\n")
    project.run("sync")
    assert files_below(project.folder / "view") == {"a.json", "sub/b.json", "w.safetensors"}
    assert files_below(project.folder / "byhand") == {"o.json"}
    assert wanted_by(project)["m"] == [os.path.realpath(second.folder / "assets.yaml")]
    second.write("version: 1\n")
    second.run("sync")
    assert not (project.folder / "view").exists()
    assert wanted_by(project)["m"] == []


def test_locked_refuses_a_stale_lock_and_writes_nothing(hub: Hub, project: Project) -> None:
    done = project.run("sync", "--locked", code=4)
    assert "assetmgr lock" in done.err
    project.run("sync")
    project.write(ONE)
    before = stamps(project)
    assert "not asked for by the manifest" in project.run("sync", "--locked", code=4).err
    assert stamps(project) == before
    project.run("sync", "--locked", "m")


def test_frozen_does_as_the_lock_says_whatever_became_of_the_manifest(hub: Hub, project: Project) -> None:
    assert project.run("sync", "--frozen", code=4).err.count("assetmgr lock") == 1
    project.run("sync")
    lock = project.lock_file.read_bytes()
    (project.folder / "assets.yaml").write_text("models: [nonsense")
    hub.reset_log()
    assert not sync(project, "--frozen")["changed"]
    (project.folder / "assets.yaml").unlink()
    assert not sync(project, "--frozen")["changed"]
    assert len(hub.requests) == 0
    assert files_below(project.folder / "view") == {"a.json", "sub/b.json", "w.safetensors"}
    # On a fresh machine, from a folder below, by name.
    shutil.rmtree(project.root, ignore_errors=True)
    below = Project(project.folder / "deep", project.endpoint, {"ASSETMGR_ROOT": str(project.root)})
    below.folder.mkdir()
    done = sync(below, "--frozen", "n")
    assert [one["name"] for one in done["assets"]] == ["n"]
    below.run("sync", "--frozen", "nothing", code=4)
    below.run("sync", "--frozen", "--group", "demo", code=2)
    below.run("sync", "--frozen", "--locked", code=2)
    assert project.lock_file.read_bytes() == lock
    assert "no lock here" in Project(project.folder.parent).run("sync", "--frozen", code=2).err


def test_a_dry_run_tells_what_a_run_does_and_writes_nothing(hub: Hub, repo: Repo, project: Project) -> None:
    def outcome(document: Any) -> Any:
        return [(one["name"], one["fetched_files"], one["fetched_bytes"]) for one in document["assets"]]

    first = sync(project, "--dry-run")
    assert not project.root.exists()
    assert not project.lock_file.exists()
    assert outcome(first) == [("m", 3, len(WEIGHTS) + 3), ("n", 1, 2)]
    assert [len(one["put"]) for one in first["folders"]] == [3, 1]
    assert first["changed"]
    project.run("sync")
    repo.commit({"a.json": b"[1]"})
    project.write(ONE)
    before = stamps(project)
    foreseen = sync(project, "--dry-run", "--upgrade")
    assert stamps(project) == before
    assert any(line.startswith("~ m ") for line in foreseen["lock"][0]["changes"])
    assert outcome(foreseen) == [("m", 1, 3)]
    assert [one["name"] for one in foreseen["released"]] == ["m", "n"]
    told = project.run("sync", "--dry-run", "--upgrade")
    assert "would be fetched" in told.out
    assert "would be removed" in told.out
    assert "nothing was written" in told.err
    assert stamps(project) == before
    done = sync(project, "--upgrade")
    assert done["lock"] == foreseen["lock"]
    assert done["folders"] == foreseen["folders"]
    assert done["released"] == foreseen["released"]
    assert not sync(project, "--dry-run")["changed"]


def test_a_dry_run_says_what_only_fetching_would_tell(hub: Hub, project: Project) -> None:
    hub.publish("/f/w.pth", WEIGHTS)
    project.write("version: 1\nmodels:\n  u:\n    files: [{url: '{endpoint}/f/w.pth'}]\n")
    assert "at least" in project.run("sync", "--dry-run").out
    project.run("sync")
    assert not sync(project, "--dry-run")["changed"]
    hub.publish("/f/w.pth", WEIGHTS[1:])
    told = project.run("sync", "--dry-run", "--upgrade")
    assert "only fetching would tell" in told.out
    assert sync(project, "--upgrade", "u")["assets"][0]["fetched_bytes"] == len(WEIGHTS) - 1


def test_one_name_or_group_is_all_that_it_is_about(hub: Hub, repo: Repo, project: Project) -> None:
    done = sync(project, "--group", "demo")
    assert [one["name"] for one in done["assets"]] == ["n"]
    assert not (project.folder / "view").exists()
    project.run("sync")
    project.write(BOTH.replace("./view", "./moved").replace("./other", "./elsewhere"))
    sync(project, "m")
    assert not (project.folder / "view").exists()
    assert (project.folder / "other").exists()
    repo.commit({"a.json": b"[1]"})
    hub.create("org/third").commit({"t": b"t"})
    done = sync(project, "--upgrade", "m")
    assert [one["name"] for one in done["assets"]] == ["m", "n"]
    assert (project.folder / "moved" / "a.json").read_bytes() == b"[1]"
    assert not (project.folder / "other").exists()
    project.run("sync", "nothing", code=2)
    project.run("sync", "--upgrade", "nothing", code=2)


def test_nothing_is_removed_as_long_as_something_failed(hub: Hub, repo: Repo, project: Project) -> None:
    project.run("sync")
    repo.commit({"new.bin": WEIGHTS[1:]})
    hub.faults.add(Fault(match="new.bin", status=404, times=None))
    project.write(ONE.replace("./view", "./moved"))
    project.run("sync", "--upgrade", code=5)
    assert files_below(project.folder / "other") == {"o.json"}
    assert len(files_below(project.folder / "view")) == 3
    hub.faults.clear()
    project.run("sync")
    assert not (project.folder / "view").exists()
    assert not (project.folder / "other").exists()
    assert len(files_below(project.folder / "moved")) == 4


def test_damage_is_mended_or_found(project: Project) -> None:
    project.run("sync")
    (project.folder / "view" / "a.json").unlink()
    shutil.rmtree(project.folder / "other")
    assert [len(one["put"]) for one in sync(project)["folders"]] == [1, 1]
    blob = (project.folder / "view" / "a.json").resolve()
    blob.chmod(0o644)
    blob.write_bytes(b"xx")
    done = sync(project)
    assert done["code"] == 0
    assert blob.read_bytes() == b"{}"
    (project.folder / "view" / "a.json").unlink()
    (project.folder / "view" / "a.json").write_text("mine")
    assert "move them away" in project.run("sync", code=3).err


def test_two_assets_in_one_folder_go_one_by_one(project: Project) -> None:
    project.write(BOTH.replace("./other", "./view"))
    project.run("sync")
    assert len(files_below(project.folder / "view")) == 4
    project.write(ONE)
    project.run("sync")
    assert files_below(project.folder / "view") == {"a.json", "sub/b.json", "w.safetensors"}


def line(name: str, repo: str, folder: str) -> str:
    return f"  {name}: {{hub: org/{repo}, local_dir: ./{folder}}}\n"


MODELS = "version: 1\nmodels:\n"


def test_a_folder_goes_from_one_asset_to_another_and_two_may_swap_theirs(hub: Hub, project: Project) -> None:
    hub.create("org/second").commit({"a.json": b"[2]", "second.bin": b"2"})
    here = project.folder
    project.write(MODELS + line("m", "name", "view"))
    project.run("sync")
    (here / "view" / "mine.txt").write_text("mine")
    project.write(MODELS + line("s", "second", "view"))
    foreseen = sync(project, "--dry-run")["folders"]
    assert sync(project)["folders"] == foreseen
    assert (here / "view" / "a.json").read_bytes() == b"[2]"
    assert files_below(here / "view") == {"a.json", "second.bin", "mine.txt"}
    assert "nothing to do" in project.run("sync").err
    project.write(MODELS + line("s", "second", "view") + line("m", "name", "other"))
    project.run("sync")
    project.write(MODELS + line("s", "second", "other") + line("m", "name", "view"))
    foreseen = sync(project, "--dry-run")["folders"]
    assert sync(project)["folders"] == foreseen
    assert files_below(here / "view") == {"a.json", "sub/b.json", "w.safetensors", "mine.txt"}
    assert files_below(here / "other") == {"a.json", "second.bin"}
    assert "nothing to do" in project.run("sync").err
    project.run("verify", "--full")


def test_what_two_assets_want_at_one_name_is_said_with_both(hub: Hub, project: Project) -> None:
    hub.create("org/second").commit({"a.json": b"[2]"})
    project.write(MODELS + line("m", "name", "view") + line("s", "second", "view"))
    told = project.run("sync", code=3).err
    assert "s: " in told
    assert "view shows m, with other bytes at the same names: a.json" in told
    assert (project.folder / "view" / "a.json").read_bytes() == b"{}"
    project.write(MODELS + line("s", "second", "view"))
    project.run("lock")
    assert "assetmgr sync" in project.run("pull", "s", code=3).err
    project.run("sync")
    assert files_below(project.folder / "view") == {"a.json"}


def test_what_a_command_line_put_into_a_folder_gives_way_once_it_is_moved_away(hub: Hub, project: Project) -> None:
    hub.create("org/second").commit({"a.json": b"[2]"})
    project.run("pull", "hub:org/name", "--local-dir", "view")
    project.write(MODELS + line("s", "second", "view"))
    assert "move these files away" in project.run("sync", code=3).err
    (project.folder / "view" / "a.json").unlink()
    project.run("sync")
    assert (project.folder / "view" / "a.json").read_bytes() == b"[2]"
    assert files_below(project.folder / "view") == {"a.json", "sub/b.json", "w.safetensors"}


def test_a_file_where_a_folder_is_to_be_is_said_and_stays(project: Project) -> None:
    (project.folder / "file").write_text("mine")
    (project.folder / "nowhere").symlink_to("gone")
    for folder, told in (
        ("file", "file is no folder"),
        ("file/a/b", "file is no folder"),
        ("nowhere", "leads nowhere"),
    ):
        project.write(MODELS + line("m", "name", folder))
        for options in ((), ("--dry-run",)):
            done = project.run("sync", *options, code=2)
            assert told in done.err + done.out
            assert "move that away, or choose another local_dir" in done.err + done.out
    assert (project.folder / "file").read_text() == "mine"


def test_an_asset_that_gets_another_name_keeps_its_files_where_they_are(project: Project) -> None:
    project.write(MODELS + line("m", "name", "view"))
    project.run("sync")
    view = project.folder / "view"
    before = {name: os.lstat(view / name).st_ino for name in files_below(view)}
    project.write(MODELS + line("renamed", "name", "view"))
    assert not any(one["removed"] for one in sync(project, "--dry-run")["folders"])
    assert sync(project)["folders"] == []
    assert {name: os.lstat(view / name).st_ino for name in files_below(view)} == before
    project.write("version: 1\n")
    project.run("sync")
    assert not view.exists()


@pytest.mark.parametrize("style", ["symlink", "copy"])
def test_a_folder_that_is_named_in_another_way_keeps_what_it_shows(project: Project, style: str) -> None:
    (project.folder / "real").mkdir()
    (project.folder / "alias").symlink_to("real")
    text = "    local_dir: ./view\n"
    project.write(ONE.replace(text, f"    local_dir: ./alias\n    local_dir_links: {style}\n"))
    project.run("sync")
    shown = files_below(project.folder / "real")
    assert len(shown) == 3
    project.write(ONE.replace(text, f"    local_dir: ./real\n    local_dir_links: {style}\n"))
    assert sync(project, "--dry-run")["folders"] == []
    assert sync(project)["folders"] == []
    assert files_below(project.folder / "real") == shown
    project.run("verify", "--full")


def test_a_project_that_is_gone_keeps_nothing_in_a_folder(project: Project) -> None:
    second = Project(project.folder / "second", project.endpoint, {"ASSETMGR_ROOT": str(project.root)})
    second.write(ONE.replace("./view", str(project.folder / "view")))
    second.run("sync")
    project.run("sync")
    (second.folder / "assets.yaml").unlink()
    (second.folder / "assets.lock.json").unlink()
    project.write("version: 1\n")
    project.run("sync")
    assert not (project.folder / "view").exists()


def test_what_waits_for_a_file_by_hand_does_not_keep_the_rest_from_coming(project: Project) -> None:
    project.write(ONE + "  byhand:\n    files: [{path: x.tar, ask: Download x.tar after accepting its terms}]\n")
    assert "accepting its terms" in project.run("sync", "--dry-run", code=7).err
    assert "accepting its terms" in project.run("sync", code=7).err
    assert len(files_below(project.folder / "view")) == 3
    handed = project.root / "files" / "byhand" / "x.tar"
    handed.parent.mkdir(parents=True)
    handed.write_bytes(b"tar")
    assert project.run("sync").out.startswith("+ byhand")
    assert "add hub:org/name" in project.run("sync", "hub:org/name", code=2).err


def test_tidying_that_was_cut_short_is_gone_on_with(project: Project) -> None:
    project.write(ONE)
    project.run("sync")
    project.write("version: 1\n")
    sub = project.folder / "view" / "sub"
    sub.chmod(0o555)
    project.prefix = without_root_powers()
    assert "then: assetmgr sync" in project.run("sync", code=1).err
    sub.chmod(0o755)
    assert "sub/b.json: removed" in project.run("sync").out
    assert not (project.folder / "view").exists()
    assert wanted_by(project)["m"] == []
    assert not sync(project)["changed"]


def test_a_damaged_lock_is_made_anew(project: Project) -> None:
    project.run("sync")
    pinned = project.lock_file.read_bytes()
    project.lock_file.write_text("{")
    project.run("sync", "--locked", code=2)
    project.run("sync")
    assert project.lock_file.read_bytes() == pinned


def test_a_lock_with_both_sides_of_a_merge_is_never_made_anew(hub: Hub, project: Project) -> None:
    project.run("sync")
    both = b"<<<<<<< HEAD\n" + project.lock_file.read_bytes() + b"=======\n{}\n>>>>>>> other\n"
    project.lock_file.write_bytes(both)
    hub.reset_log()
    for command in ("lock", "sync", "pull", "status"):
        assert "a merge left both sides in it" in project.run(command, code=2).err
    assert project.lock_file.read_bytes() == both
    assert not hub.requests


def test_kills_at_random_moments_leave_nothing_that_the_next_run_does_not_put_right(
    hub: Hub, repo: Repo, project: Project
) -> None:
    other = BOTH.replace("./view", "./moved").replace("./other", "./other2")
    dice = random.Random(7)
    for round_number in range(6):
        project.write((BOTH, other, ONE)[round_number % 3])
        repo.commit({f"more{round_number}.json": b"[%d]" % round_number})
        started = time.monotonic()
        process = project.start("sync", "--upgrade")
        try:
            process.wait(timeout=0.25 + dice.random() * 0.6)
        except Exception:  # noqa: BLE001 - killed in the middle, as it is meant
            process.kill()
        process.communicate()
        assert time.monotonic() - started < 60
    project.write(ONE)
    project.run("sync")
    kept = {name.partition("/")[0] for name in files_below(project.folder)} - {"store", "home"}
    assert kept == {"assets.yaml", "assets.lock.json", "view"}
    assert not sync(project)["changed"]
    project.run("verify", "--full")


def test_two_at_once_end_as_one(project: Project) -> None:
    running = [project.start("sync") for _ in range(3)]
    ended: list[Done] = []
    for process in running:
        out, err = process.communicate(timeout=120)
        ended.append(Done(process.returncode, out, err))
    assert [one.code for one in ended] == [0, 0, 0], ended
    project.write(ONE)
    running = [project.start("sync") for _ in range(2)]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    for process in running:
        process.communicate()
    assert not (project.folder / "other").exists()
    assert not sync(project)["changed"]
