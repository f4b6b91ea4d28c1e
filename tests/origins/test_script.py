"""LAVIS's download scripts, run as they are: by our engine, judged by their files, gone on with after a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from assetmgr.archives import ListedMember
from assetmgr.origins.script import partly_there
from tests.hub import Fault, Hub
from tests.origins.checkout import SHAPES, Shape, packed, some
from tests.support import Project, eventually, files_below, flip_byte, served

VG = next(shape for shape in SHAPES if shape.name == "vg")


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    for shape in SHAPES:
        for path, data in shape.published().items():
            hub.publish(path, data)
    return hub


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        yield project


def declare(project: Project, *shapes: Shape) -> None:
    for shape in shapes:
        shape.write(project.folder / "LAVIS", project.endpoint)
    lines = (f"  {shape.name}: {{script: download_{shape.name}, checkout: ./LAVIS}}\n" for shape in shapes)
    project.write("version: 1\ndatasets:\n" + "".join(lines))


def left(project: Project) -> dict[str, bytes]:
    """What stands in LAVIS's cache root, by its path there."""
    root = project.root / "lavis"
    return {name: (root / name).read_bytes() for name in files_below(root)} if root.exists() else {}


def entry(project: Project, name: str = "vg") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(project.lock_file.read_bytes())["assets"][name]
    return found


def processes(text: str) -> list[str]:
    """The command lines of processes that name a text, but this one's."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line and path.parent.name != str(os.getpid()):
            found.append(line)
    return found


def test_the_six_archive_scripts_leave_what_lavis_reads(hub: Hub, project: Project) -> None:
    declare(project, *SHAPES)
    project.run("lock")
    names = [file["path"] for file in entry(project)["files"]]
    assert names == ["lavis/configs/datasets/vg/defaults.yaml", "lavis/datasets/download_scripts/download_vg.py"]
    assert "urls" in json.dumps(entry(project))
    assert str(project.folder) not in project.lock_file.read_text(), "no path of this machine"
    done = project.run("pull", "--json")
    assert len(done.json["assets"] if isinstance(done.json, dict) else done.json) == 6
    assert left(project) == {path: data for shape in SHAPES for path, data in shape.left.items()}
    assert hub.count("GET") == sum(len(shape.archives) for shape in SHAPES), "each archive once"
    assert {row["state"] for row in project.run("status", "--json").json} == {"installed"}
    project.run("verify", "--full")
    assert not files_below(project.root / ".assetmgr/partial")
    hub.reset_log()
    project.run("pull")
    assert not hub.requests, "what is there is not fetched, and no script is run"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("images2.zip", times=None, status=404), 5),
        (Fault("images2.zip", times=None, body=b"PK, but no zip"), 3),
    ],
)
def test_a_script_that_calls_a_failed_download_a_success_is_not_believed(
    hub: Hub, project: Project, fault: Fault, code: int
) -> None:
    declare(project, VG)
    project.run("lock")
    hub.faults.add(fault)
    done = project.run("pull", code=code)
    assert "images2.zip" in done.err
    assert "assetmgr pull vg" in done.err
    assert left(project) == {}, "nothing stands where LAVIS looks"
    assert project.run("status", "--json").json[0]["state"] == "not installed"
    hub.faults.clear()
    hub.reset_log()
    project.run("pull")
    assert left(project) == VG.left
    assert hub.count("GET", "images.zip") == 0, "what came whole is not fetched again"


def test_a_folder_that_exists_is_not_taken_for_done(project: Project) -> None:
    declare(project, VG)
    project.run("lock")
    there = project.root / "lavis/vg/images/VG_100K"
    there.mkdir(parents=True)
    (there / "VG_100K_000.jpg").write_bytes(b"half")
    (there / "mine.jpg").write_bytes(b"mine")
    project.run("pull")
    assert left(project) == {**VG.left, "vg/images/VG_100K/mine.jpg": b"mine"}, "and what is not ours stays"


@pytest.mark.parametrize(
    ("then", "what"),
    [
        ("    os.unlink(storage / 'VG_100K/VG_100K_001.jpg')", "1 of the 4 in VG_100K"),
        ("    cleanup_dir(storage)", "no file is in vg/images"),
        ("    cleanup_dir(storage / 'VG_100K_2')", "all 4"),
        (
            (
                "    os.unlink(storage / 'VG_100K/VG_100K_001.jpg'); "
                "open(storage / 'VG_100K/VG_100K_001.jpg', 'w').close()"
            ),
            "1 of the 4",
        ),
    ],
)
def test_a_script_that_loses_files_is_refused_whatever_its_exit_code(project: Project, then: str, what: str) -> None:
    declare(project, Shape("vg", VG.archives, {}, extract_root="storage", then=then))
    project.run("lock")
    done = project.run("pull", code=5)
    assert what in done.err
    assert left(project) == {}


def test_a_script_that_ends_badly_with_all_its_files_there_has_done_its_work(project: Project) -> None:
    declare(
        project, Shape("vg", VG.archives, {}, extract_root="storage", then="    cleanup_dir(download); sys.exit(3)")
    )
    project.run("lock")
    assert "ended with code 3, and all is there" in project.run("pull").err
    assert left(project) == VG.left


@pytest.mark.parametrize("folder", ["'/tmp/elsewhere'", "storage / '../../../../x'"])
def test_a_script_cannot_have_anything_unpacked_outside_of_the_cache_root(project: Project, folder: str) -> None:
    declare(project, Shape("vg", VG.archives, {}, extract_root=folder))
    project.run("lock")
    assert "outside of LAVIS's cache root" in project.run("pull", code=2).err
    assert not Path("/tmp/elsewhere").exists()


def test_a_hostile_archive_is_refused(hub: Hub, project: Project) -> None:
    declare(project, VG)
    project.run("lock")
    hub.publish("/vg/images.zip", packed("images.zip", {"../../out.jpg": b"x"}))
    assert "images.zip" in project.run("pull", code=3).err
    assert left(project) == {}


def test_what_the_script_is_and_reads_is_pinned(hub: Hub, project: Project) -> None:
    declare(project, VG)
    project.run("lock")
    # What becomes of the checkout later changes nothing: the pinned bytes run.
    config = project.folder / "LAVIS/lavis/configs/datasets/vg/defaults.yaml"
    config.write_text(config.read_text().replace("vg/images", "vg/other"))
    project.run("pull")
    assert left(project) == VG.left
    other = {"ASSETMGR_ROOT": str(project.folder / "other")}
    assert "defaults.yaml" in project.run("pull", code=3, env=other).err, "or none"
    project.run("lock", "--upgrade", "vg")
    project.run("pull")
    assert left(project) == {path.replace("vg/images", "vg/other"): data for path, data in VG.left.items()}
    shutil.rmtree(project.folder / "LAVIS")
    project.run("verify")
    assert "git clone" in project.run("lock", "--upgrade", "vg", code=2).err


def test_a_frozen_outcome_is_the_same_everywhere(hub: Hub, project: Project, tmp_path: Path) -> None:
    declare(project, VG)
    project.run("lock")
    assert "assetmgr lock --freeze vg" in project.run("lock", "--freeze", code=4).err
    before = project.lock_file.read_bytes()
    project.run("pull")
    assert project.lock_file.read_bytes() == before, "pull never writes a lock"
    project.run("lock", "--freeze")
    extract = next(file["extract"] for file in entry(project)["files"] if "extract" in file)
    assert extract["members"] == 8
    frozen = project.lock_file.read_bytes()
    project.run("lock")
    project.run("lock", "--check")
    assert project.lock_file.read_bytes() == frozen
    hub.reset_log()
    project.run("pull")
    assert not hub.requests, "frozen or not, it is installed"
    project.run("mirror", "push", str(tmp_path / "mirror"))
    # Another machine: from the mirror, and by running the script, the same bytes.
    other = {"ASSETMGR_ROOT": str(tmp_path / "other")}
    project.run("pull", "--offline", "--mirror", str(tmp_path / "mirror"), env=other)
    project.run("verify", "--full", env=other)
    again = {"ASSETMGR_ROOT": str(tmp_path / "again")}
    project.run("pull", env=again)
    project.run("verify", "--full", env=again)
    # What is published has changed since: it is refused.
    hub.publish("/vg/images.zip", packed("images.zip", some("VG_100K", 3)))
    changed = {"ASSETMGR_ROOT": str(tmp_path / "changed")}
    done = project.run("pull", env=changed, code=3)
    assert "--mirror" in done.err
    assert "lock --upgrade vg" in done.err
    assert not (tmp_path / "changed/lavis").exists()
    project.run("lock", "--upgrade", "vg", env=changed)
    project.run("pull", env=changed)
    assert len(files_below(tmp_path / "changed/lavis")) == 7


def test_damage_is_found_and_mended(hub: Hub, project: Project) -> None:
    declare(project, VG)
    project.run("lock")
    project.run("pull")
    flip_byte(project.root / "lavis/vg/images/VG_100K/VG_100K_002.jpg", keep_time=True)
    assert "VG_100K_002.jpg: altered" in project.run("verify", "--full", code=3).out
    project.run("verify", "--full", "--repair")
    assert left(project) == VG.left
    # What is published is another by now, and nothing was frozen: that is taken, and what it replaces goes.
    shutil.rmtree(project.root / "lavis/vg/images/VG_100K_2")
    hub.publish("/vg/images2.zip", packed("images2.zip", some("VG_100K_2", 2)))
    project.run("verify", "--repair", code=3)
    assert "has changed" in project.run("pull").err
    assert len(left(project)) == 6
    project.run("verify", "--full")
    assert len(os.listdir(project.root / ".assetmgr/receipts")) == 1


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_leaves_no_process_and_is_gone_on_with(
    hub: Hub, project: Project, end: signal.Signals
) -> None:
    declare(project, VG)
    project.run("lock")
    hub.faults.add(Fault("images2.zip", stall_after=50, stall_seconds=60))
    running = project.start("pull")
    assert hub.wait_for(1, "GET", "images2.zip")
    running.send_signal(end)
    running.wait(timeout=10)
    assert running.returncode == (130 if end is signal.SIGINT else -end)
    assert eventually(lambda: not processes(str(project.root)), timeout=5)
    hub.faults.clear()
    hub.reset_log()
    project.run("pull")
    assert hub.count("GET", "images.zip") == 0, "what came whole is not fetched again"
    assert left(project) == VG.left


def members(*paths: str) -> tuple[ListedMember, ...]:
    return tuple(ListedMember(path, 1, path) for path in paths)


@pytest.mark.parametrize(
    ("listed", "there", "lacking"),
    [
        ((), (), ""),
        (("a/1", "a/2"), ("a/1", "a/2"), ""),
        (("a/1", "a/2"), ("a/1",), "1 of the 2 in a"),
        (("a/1", "a/2"), (), "all 2"),
        (("a/1", "b/1"), ("a/1",), ""),  # a folder that is left behind whole
        (("1", "2"), ("2",), "1 of the 2 in its first folder"),
    ],
)
def test_folders_of_an_archive_come_whole_or_not_at_all(
    listed: Sequence[str], there: Sequence[str], lacking: str
) -> None:
    assert partly_there(members(*listed), set(there)) == lacking
