"""`assetmgr plan`, `pull`, `verify` and `status`: decisions, folders outside the store, and what is said."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import Fault, Hub
from tests.support import Project, files_below, flip_byte, hub_manifest, served, truncate, without_root_powers

pytestmark = pytest.mark.hub

WEIGHTS = bytes(range(256)) * 2000


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.create("org/name").commit({"config.json": b"{}", "sub/vocab.txt": b"v", "model.safetensors": WEIGHTS})
    return hub


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        project.write(hub_manifest())
        yield project


def test_plan_adds_up_and_asks_nobody(hub: Hub, project: Project) -> None:
    project.run("lock")
    hub.reset_log()
    plan = project.run("plan", "--json").json
    (asset,) = plan["assets"]
    assert asset["fetch"] == ["model.safetensors"], "lock has kept the small files"
    assert plan["fetch_bytes"] == plan["disk_bytes"] == len(WEIGHTS)
    assert plan["free_bytes"] > 0
    assert len(hub.requests) == 0
    project.run("pull")
    after = project.run("plan", "--json").json
    assert after["fetch_bytes"] == 0
    assert len(after["assets"][0]["keep"]) == 3
    assert "in all" in project.run("plan").out


def test_pulling_what_is_right_makes_no_request_and_changes_no_file(hub: Hub, project: Project) -> None:
    project.write(hub_manifest(extra=["local_dir: ./view"]))
    project.run("lock")
    project.run("pull")

    def stamps() -> dict[str, int]:
        return {name: os.lstat(project.folder / name).st_mtime_ns for name in files_below(project.folder)}

    before = stamps()
    hub.reset_log()
    done = project.run("pull")
    assert "3 files already there" in done.err
    assert len(hub.requests) == 0
    assert stamps() == before


def test_files_that_another_tool_downloaded_into_the_store_are_proved_and_kept(hub: Hub, project: Project) -> None:
    pytest.importorskip("huggingface_hub")
    project.run("lock")
    project.python(
        "from huggingface_hub import snapshot_download as s; s('org/name')",
        env={"HF_HUB_CACHE": str(project.root / "hub")},
    )
    hub.reset_log()
    project.run("pull")
    assert len(hub.requests) == 0
    project.run("verify", "--full", "--offline")


def test_a_truncated_file_of_another_tool_is_not_taken_for_done(hub: Hub, project: Project) -> None:
    hub.publish("/static/checkpoint.pth", WEIGHTS)
    project.write("version: 1\nmodels:\n  c:\n    files: [{url: '{endpoint}/static/checkpoint.pth', place: torch}]\n")
    checkpoint = project.root / "torch/hub/checkpoints/checkpoint.pth"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(WEIGHTS[:1000])
    project.run("lock")
    assert "truncated" in project.run("pull").err
    assert checkpoint.read_bytes() == WEIGHTS
    assert project.run("path", "c").out.strip() == str(checkpoint)


def test_the_same_bytes_under_another_name_are_linked_not_fetched(hub: Hub, project: Project) -> None:
    hub.create("org/twin").commit({"other-name.safetensors": WEIGHTS})
    project.write(hub_manifest() + "  t:\n    hub: org/twin\n")
    project.run("lock")
    project.run("pull", "m")
    hub.reset_log()
    assert "1 file linked" in project.run("pull", "t").err
    assert hub.count("GET", "resolve/") == 0
    one, two = project.path("m") / "model.safetensors", project.path("t") / "other-name.safetensors"
    assert one.stat().st_ino == two.stat().st_ino


def test_damaged_bytes_elsewhere_are_never_linked(hub: Hub, project: Project) -> None:
    hub.create("org/twin").commit({"other-name.safetensors": WEIGHTS})
    project.write(hub_manifest() + "  t:\n    hub: org/twin\n")
    project.run("lock")
    project.run("pull", "m")
    flip_byte(project.path("m") / "model.safetensors", 9, keep_time=True)
    project.run("pull", "t")
    project.run("verify", "t", "--full", "--offline")


@pytest.mark.parametrize("style", ["symlink", "hardlink", "copy"])
def test_local_dir_shows_the_asset_in_each_style_and_changes_with_it(hub: Hub, project: Project, style: str) -> None:
    project.write(hub_manifest(extra=["local_dir: ./view"]))
    project.run("lock")
    project.run("pull")
    view, blob = project.folder / "view/model.safetensors", project.path("m") / "model.safetensors"
    assert view.is_symlink()
    project.write(hub_manifest(extra=["local_dir: ./view", f"local_dir_links: {style}"]))
    hub.reset_log()
    project.run("pull")
    assert len(hub.requests) == 0
    assert view.is_symlink() == (style == "symlink")
    assert (view.stat().st_ino == blob.stat().st_ino) == (style != "copy")
    assert view.read_bytes() == WEIGHTS
    project.run("verify", "--full", "--offline")


def test_a_file_of_the_users_in_local_dir_is_kept_and_told(hub: Hub, project: Project) -> None:
    project.write(hub_manifest(extra=["local_dir: ./view"]))
    project.run("lock")
    (project.folder / "view").mkdir()
    (project.folder / "view/config.json").write_text("mine")
    done = project.run("pull", code=3)
    assert "config.json" in done.err
    assert (project.folder / "view/config.json").read_text() == "mine"
    assert files_below(project.folder / "view") == {"config.json"}
    (project.folder / "view/config.json").write_bytes(b"{}")
    project.run("pull")


def test_damage_in_local_dir_is_found_and_mended(hub: Hub, project: Project) -> None:
    project.write(hub_manifest(extra=["local_dir: ./view"]))
    project.run("lock")
    project.run("pull")
    (project.folder / "view/model.safetensors").unlink()
    assert "local_dir" in project.run("verify", "--offline", code=3).out
    (project.folder / "assets.yaml").rename(project.folder / "elsewhere.yaml")
    project.run("verify", "--repair", "--offline")
    assert (project.folder / "view/model.safetensors").read_bytes() == WEIGHTS


def test_verify_names_each_kind_of_damage_and_repair_fetches_only_what_is_damaged(hub: Hub, project: Project) -> None:
    project.run("lock")
    project.run("pull")
    folder = project.path("m")
    (folder / "sub/vocab.txt").unlink()
    Path(os.path.realpath(folder / "config.json")).unlink()
    truncate(folder / "model.safetensors", 10)
    (project.root / "hub/models--org--name/refs/main").write_text("0" * 40)
    findings = {
        row["path"]: row["kind"] for row in project.run("verify", "--json", "--offline", code=3).json["findings"]
    }
    assert findings == {
        "sub/vocab.txt": "missing",
        "config.json": "broken link",
        "model.safetensors": "truncated",
        "hub/models--org--name/refs/main": "moved ref",
    }
    hub.reset_log()
    project.run("verify", "--repair")
    assert hub.count("GET", "config.json") == 1
    assert hub.count("GET", "model.safetensors") == 1
    assert hub.count("GET", "vocab.txt") == 0, "its blob was right, only the link was gone"
    project.run("verify", "--full", "--offline")


def test_status_tells_every_state(hub: Hub, project: Project) -> None:
    def state() -> str:
        (row,) = project.run("status", "--json").json
        return str(row["state"])

    assert state() == "not locked"
    project.run("lock")
    assert state() == "not installed"
    project.run("pull")
    assert state() == "installed"
    os.utime(project.path("m") / "model.safetensors", ns=(1, 1))
    assert state() == "unproved"
    project.run("verify")
    assert state() == "installed"
    flip_byte(project.path("m") / "model.safetensors", keep_time=True)
    project.run("verify", "--full", code=3)
    assert state() == "damaged"
    next(project.root.glob("hub/*/blobs/*")).unlink()
    assert state() == "incomplete"


def test_one_asset_that_fails_does_not_keep_the_others_from_being_done(hub: Hub, project: Project) -> None:
    hub.create("org/broken").commit({"bad.safetensors": WEIGHTS[::-1]})
    hub.create("org/gated", gated="auto").commit({"w.safetensors": WEIGHTS[1:]})
    project.write("version: 1\nmodels:\n  a: {hub: org/broken}\n  b: {hub: org/gated}\n  m: {hub: org/name}\n")
    project.run("lock")
    hub.faults.add(Fault(match="bad.safetensors", flip_at=3, times=None))
    done = project.run("pull", "--json", code=3)
    assert {error["type"] for error in done.json["errors"]} == {"IntegrityError", "AccessError"}
    assert project.path("m").is_dir()


def test_offline_pull_of_what_is_missing_says_so_and_of_what_is_there_works(hub: Hub, project: Project) -> None:
    project.run("lock")
    hub.reset_log()
    assert "--offline" in project.run("pull", "--offline", code=5).err
    assert "HF_HUB_OFFLINE" in project.run("pull", code=5, env={"HF_HUB_OFFLINE": "1"}).err
    assert len(hub.requests) == 0
    project.run("pull")
    project.run("pull", "--offline")


def test_json_is_one_document_and_words_stay_on_stderr(hub: Hub, project: Project) -> None:
    project.run("lock")
    for command in (("plan",), ("pull",), ("verify",), ("status",), ("path", "m"), ("lock",), ("lock", "--check")):
        json.loads(project.run("--json", *command).out)
    assert project.run("pull").out == ""
    assert project.run("-q", "pull").err == ""


def test_unknown_names_get_the_nearest_one(project: Project) -> None:
    project.write(hub_manifest("blip2-opt"))
    for command in ("lock", "plan", "pull", "verify", "status", "path"):
        done = project.run(command, "blip2-otp", code=2)
        assert "blip2-opt" in done.err.replace("blip2-otp", "")


def test_busy_past_the_wait_is_told_with_who_is_at_it(hub: Hub, project: Project) -> None:
    project.run("lock")
    hub.faults.add(Fault(match="model.safetensors", method="GET", stall_after=100, times=1))
    first = project.start("pull")
    assert hub.faults.wait_stalled(timeout=30)
    done = project.run("pull", "--wait", "0.5", code=8)
    assert f"process {first.pid}" in done.err
    hub.faults.release()
    assert first.wait(60) == 0


def test_a_read_only_store_can_be_verified_and_loaded_from(hub: Hub, project: Project) -> None:
    project.prefix = without_root_powers()
    project.run("lock")
    project.run("pull")
    os.utime(project.path("m") / "model.safetensors", ns=(1, 1))
    for at, _, _ in os.walk(project.root):
        os.chmod(at, 0o555)
    try:
        assert "not writable" in project.run("verify").err
        project.run("verify", "--full")
        assert (project.path("m") / "model.safetensors").read_bytes() == WEIGHTS
        truncate(project.path("m") / "config.json", 1)
        done = project.run("verify", "--repair", code=3)
        assert "be let in" in done.err
    finally:
        for at, _, _ in os.walk(project.root):
            os.chmod(at, 0o755)
