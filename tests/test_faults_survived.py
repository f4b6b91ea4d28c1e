"""What goes wrong around a store in use: interrupted folders, lost documents, two processes, files of old pins."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import Fault, Hub
from tests.support import Project, eventually, files_below, flip_byte, hub_manifest, served, without_root_powers

pytestmark = pytest.mark.hub

WEIGHTS = bytes(range(256)) * 2000


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.create("org/name").commit({"config.json": b"{}", "model.safetensors": WEIGHTS})
    return hub


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        project.write(hub_manifest())
        yield project


def without_manifest(project: Project) -> None:
    (project.folder / "assets.yaml").unlink()
    project.lock_file.unlink()


def receipt_file(project: Project) -> Path:
    (found,) = (project.root / ".assetmgr/receipts").iterdir()
    return found


# --- repair says what a second look says ------------------------------------------------------------------------------


def test_repair_that_may_not_write_does_not_say_repaired(project: Project) -> None:
    project.prefix = without_root_powers()
    project.run("lock")
    project.run("pull")
    flip_byte(project.path("m") / "model.safetensors", 7, keep_time=True)
    for at, _, _ in os.walk(project.root):
        os.chmod(at, 0o555)
    try:
        done = project.run("verify", "--full", "--repair", code=3)
        assert "repaired" not in done.out
        assert "altered" in done.out
    finally:
        for at, _, _ in os.walk(project.root):
            os.chmod(at, 0o755)


def test_a_tree_listing_altered_with_its_time_kept_is_mended_for_good(project: Project) -> None:
    project.run("lock")
    project.run("pull")
    (tree,) = project.root.glob("hub/*/trees/*.json")
    flip_byte(tree, tree.read_bytes().index(b"size") + 8, keep_time=True)
    assert "repaired" in project.run("verify", "--full", "--repair", "--offline").out
    project.run("verify", "--full", "--offline")


def test_copies_in_a_local_dir_are_hashed_by_a_full_verification(project: Project) -> None:
    project.write(hub_manifest(extra=["local_dir: ./view", "local_dir_links: copy"]))
    project.run("lock")
    project.run("pull")
    flip_byte(project.folder / "view/model.safetensors", 5, keep_time=True)
    assert "local_dir: altered" in project.run("verify", "--full", "--offline", code=3).out


# --- documents that are lost or damaged -------------------------------------------------------------------------------


def test_a_damaged_receipt_hides_nothing(project: Project) -> None:
    project.run("lock")
    project.run("pull")
    receipt_file(project).write_bytes(b"")
    (project.folder / "assets.yaml").rename(project.folder / "away.yaml")
    assert "damaged receipt" in project.run("verify", "--full", code=3).out
    (project.folder / "away.yaml").rename(project.folder / "assets.yaml")
    project.run("pull")
    project.run("verify", "--full", "--offline")


def test_a_root_that_is_not_there_is_not_called_proved(project: Project) -> None:
    without = Project(project.folder.parent / "empty", project.endpoint)
    without.folder.mkdir()
    assert "nothing is installed" in without.run("--root", "/nowhere/at-all", "verify", "--full", code=4).err


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{"])
def test_the_mend_of_a_damaged_lock_works(project: Project, content: bytes) -> None:
    project.run("lock")
    project.lock_file.write_bytes(content)
    assert "assetmgr lock" in project.run("pull", code=2).err
    project.run("lock")
    project.run("pull")


def test_what_was_interrupted_while_it_was_proved_is_whole_once_it_is_proved(hub: Hub, project: Project) -> None:
    project.run("lock")
    project.run("pull")
    document = json.loads(receipt_file(project).read_bytes())
    document |= {"pulled_at": 0, "stamps": [None for _ in document["stamps"]]}
    receipt_file(project).write_text(json.dumps(document))
    without_manifest(project)
    hub.stop()
    project.run("path", "m", code=4)
    project.run("verify")
    assert project.path("m").is_dir()


# --- local_dirs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["symlink", "hardlink", "copy"])
def test_a_folder_whose_filling_was_killed_is_known_for_ours(hub: Hub, project: Project, style: str) -> None:
    repo = hub.create("org/many")
    names = [f"f{i:03}.bin" for i in range(400)]
    repo.commit({name: name.encode() * 50 for name in names})
    project.write(hub_manifest(repo="org/many", extra=["local_dir: ./view", f"local_dir_links: {style}"]))
    project.run("lock")
    process = project.start("pull")
    view = project.folder / "view"
    assert eventually(lambda: view.is_dir() and len(os.listdir(view)) > 20)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    project.run("pull")
    repo.commit({name: name.encode() * 51 for name in names[:-5]}, delete=names[-5:])
    project.run("lock", "--upgrade", "m")
    project.run("pull")
    assert files_below(view) == set(names[:-5])
    assert (view / names[0]).read_bytes() == names[0].encode() * 51


@pytest.mark.parametrize("stands_at", ["name", "blob", "plain file"])
def test_a_folder_where_a_file_belongs_is_told_before_anything_is_fetched(
    hub: Hub, project: Project, stands_at: str
) -> None:
    file, other = "model.safetensors", "config.json"
    if stands_at == "plain file":
        hub.publish("/f/model.safetensors", WEIGHTS)
        hub.publish("/f/config.json", b"{}")
        urls = "".join(f"      - url: '{{endpoint}}/f/{name}'\n" for name in (file, other))
        project.write(f"version: 1\nmodels:\n  m:\n    files:\n{urls}")
    project.run("lock")
    project.run("pull")
    path, elsewhere = project.path("m") / file, (project.path("m") / other).resolve()
    if stands_at == "blob":
        path = path.resolve()
    path.unlink()
    (path / "mine").mkdir(parents=True)
    elsewhere.unlink()
    hub.reset_log()
    for command in ("pull", "verify --repair"):
        said = project.run(*command.split(), code=3).err
        assert f"m: {file}: a folder stands at {path}, where the file belongs" in said
        assert "move it away, then: assetmgr pull m" in said
        assert ".linking-" not in said
    assert sum(request.sent for request in hub.requests) == 0
    path.rename(project.folder / "away")
    project.run("pull")
    project.run("verify", "--full")


def test_a_local_dir_that_was_taken_away_is_no_damage(project: Project) -> None:
    project.write(hub_manifest(extra=["local_dir: ./view"]))
    project.run("lock")
    project.run("pull")
    shutil.rmtree(project.folder / "view")
    without_manifest(project)
    project.run("verify", "--full", "--repair", "--offline")
    assert not (project.folder / "view").exists()


# --- files of old pins, several assets, several processes -------------------------------------------------------------


def test_an_old_pin_of_a_plain_file_is_forgotten_when_a_new_one_takes_its_place(hub: Hub, project: Project) -> None:
    for content in (b"one", b"two!"):
        hub.publish("/static/w.bin", content)
        project.write("version: 1\nmodels:\n  w:\n    files: [{url: '{endpoint}/static/w.bin', place: torch}]\n")
        project.run("lock", "--upgrade", "w")
        project.run("pull")
    without_manifest(project)
    project.run("verify", "--full", "--repair", "--offline")
    assert (project.root / "torch/hub/checkpoints/w.bin").read_bytes() == b"two!"
    assert len(project.run("status", "--json").json) == 1


def test_an_asset_that_is_not_locked_does_not_keep_the_others_from_being_pulled(hub: Hub, project: Project) -> None:
    project.run("lock")
    project.write(hub_manifest() + "  a:\n    hub: org/name\n  b:\n    hub: org/name\n")
    done = project.run("pull", code=4)
    assert "a: not locked" in done.err
    assert "b: not locked" in done.err
    assert project.path("m").is_dir()


def test_two_lock_commands_at_once_both_count(hub: Hub, project: Project) -> None:
    hub.create("org/two").commit({"a.json": b"{}"})
    project.write(hub_manifest() + "  n:\n    hub: org/two\n")
    hub.faults.add(Fault(match="/api/", delay=0.5, times=None))
    both = [project.start("lock", name) for name in ("m", "n")]
    assert [process.wait(60) for process in both] == [0, 0]
    assert set(json.loads(project.lock_file.read_bytes())["assets"]) == {"m", "n"}


def test_two_processes_that_want_the_same_bytes_in_two_places_both_get_them(hub: Hub, tmp_path: Path) -> None:
    for number in range(20):
        hub.publish(f"/static/{number}.bin", WEIGHTS + b"%d" % number)
    with served(hub, tmp_path / "a") as one:
        two = Project(tmp_path / "b", one.endpoint, {"ASSETMGR_ROOT": str(one.root)})
        for name, project in (("one", one), ("two", two)):
            urls = ", ".join(f"{{url: '{{endpoint}}/static/{number}.bin'}}" for number in range(20))
            project.write(f"version: 1\nmodels:\n  {name}:\n    files: [{urls}]\n")
            project.run("lock")
        shutil.rmtree(one.root)
        both = [one.start("pull"), two.start("pull")]
        words = [process.communicate(timeout=60)[1] for process in both]
        assert [process.returncode for process in both] == [0, 0], words
        one.run("verify", "--full", "--offline")
        two.run("verify", "--full", "--offline")
        assert not [path for path in (one.root / ".assetmgr/partial").rglob("*") if path.is_file()]


def test_refs_that_stand_in_each_others_way_do_not_keep_an_asset_from_being_used(hub: Hub, project: Project) -> None:
    repo = hub.create("org/tagged")
    repo.commit({"a.json": b"{}"})
    repo.tag("v1/2")
    project.write(hub_manifest(repo="org/tagged", extra=["revision: v1/2"]))
    project.run("lock")
    project.run("pull")
    repo.tag("v1")
    project.write(hub_manifest(repo="org/tagged", extra=["revision: v1"]))
    project.run("lock")
    assert "offline code must name the commit" in project.run("pull").err
    project.run("verify", "--full", "--offline")


# --- the network ------------------------------------------------------------------------------------------------------


def test_a_dead_hub_is_given_up_in_bounded_time(project: Project) -> None:
    project.run("lock")
    started = time.monotonic()
    done = project.run("pull", code=5, env={"HF_ENDPOINT": "http://127.0.0.1:9"}, timeout=100)
    assert time.monotonic() - started < 60
    assert "127.0.0.1:9" in done.err


def test_no_signature_of_a_redirect_and_no_escape_is_shown(hub: Hub, project: Project) -> None:
    project.run("lock")
    hub.faults.add(
        Fault(
            match="model.safetensors",
            method="GET",
            status=404,
            body=b"",
            headers={"X-Error-Message": "see https://user:pw@h/x?sig=SECRETSIG \x1b[31mred"},
            times=None,
        )
    )
    done = project.run("pull", code=5)
    assert "SECRETSIG" not in done.err
    assert ":pw@" not in done.err
    assert "\x1b" not in done.err
