"""A folder as a mirror: from the command line, offline, with rotten blobs and with what is no file."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hub import Hub
from tests.mirrors.support import QUICK, blob, bring, locked, sha256, stock
from tests.support import Project, flip_byte, served
from tests.transfer.support import body

CONTENTS = {f"{number:02}": body(300, number) for number in range(20)} | {"big": body(1 << 20, 8)}


@pytest.fixture
def origin() -> Iterator[Hub]:
    hub = Hub()
    with hub.serve():
        yield hub


@pytest.mark.parametrize("offline", [False, True])
def test_what_a_folder_has_comes_from_it_also_offline(origin: Hub, tmp_path: Path, offline: bool) -> None:
    stock(tmp_path / "mirror", *CONTENTS.values())
    entry = locked(CONTENTS, origin.endpoint)
    brought = bring(tmp_path / "root", entry, [str(tmp_path / "mirror")], offline=offline)
    assert brought.contents == CONTENTS
    assert origin.requests == []
    assert brought.traffic.mirrors[0].files == len(CONTENTS)


def test_a_blob_may_be_a_link_to_anywhere(origin: Hub, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"x")
    path = tmp_path / "mirror" / blob(b"x")
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "elsewhere")
    brought = bring(tmp_path / "root", locked({"x": b"x"}, origin.endpoint), [str(tmp_path / "mirror")])
    assert brought.contents == {"x": b"x"}
    placed = brought.arrivals["x"].path
    assert placed is not None
    assert not os.path.islink(placed)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    os.chdir(path.parent)  # a socket's path may not be as long as ours
    server.bind(path.name)
    server.close()


@pytest.mark.skipif(os.name == "nt", reason="no such files there")
@pytest.mark.parametrize(
    "plant",
    [
        _pipe,
        _socket,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(path),
        lambda path: path.mkdir(),
        lambda path: path.write_bytes(b"\0"),
        lambda path: path.write_bytes(bytes(100)),
        lambda path: path.write_bytes(b""),
    ],
    ids=["pipe", "socket", "device", "loop", "folder", "wrong", "longer", "shorter"],
)
def test_what_is_no_blob_neither_hangs_nor_harms_and_the_folder_is_named(
    origin: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: object
) -> None:
    monkeypatch.chdir(tmp_path)
    origin.publish("/f/x", b"x")
    path = tmp_path / "mirror" / blob(b"x")
    path.parent.mkdir(parents=True)
    assert callable(plant)
    plant(path)
    brought = bring(tmp_path / "root", locked({"x": b"x"}, origin.endpoint), [str(tmp_path / "mirror")])
    assert brought.contents == {"x": b"x"}
    (report,) = brought.traffic.mirrors
    assert report.state == "damaged"
    assert str(path.parent) in report.why


def test_one_rotten_blob_of_a_stick_costs_that_file_alone_offline(origin: Hub, tmp_path: Path) -> None:
    stock(tmp_path / "mirror", *CONTENTS.values())
    flip_byte(tmp_path / "mirror" / blob(CONTENTS["03"]))
    entry = locked(CONTENTS, origin.endpoint)
    brought = bring(tmp_path / "root", entry, [str(tmp_path / "mirror")], offline=True)
    assert brought.contents == {name: data for name, data in CONTENTS.items() if name != "03"}
    assert f"expected sha256 {sha256(CONTENTS['03'])}" in brought.errors["03"]
    assert brought.traffic.mirrors[0].state == "damaged"


def test_one_rotten_blob_of_a_folder_leaves_its_others_before_the_origin(origin: Hub, tmp_path: Path) -> None:
    stock(tmp_path / "mirror", *CONTENTS.values())
    first = next(iter(CONTENTS))
    flip_byte(tmp_path / "mirror" / blob(CONTENTS[first]))
    for name, data in CONTENTS.items():
        origin.publish(f"/f/{name}", data)
    entry = locked(CONTENTS, origin.endpoint)
    brought = bring(tmp_path / "root", entry, [str(tmp_path / "mirror")], limits=replace(QUICK, jobs=1))
    assert brought.contents == CONTENTS
    assert origin.count("GET") == 1


def test_a_folder_whose_blobs_cannot_be_read_is_asked_after_the_origin(origin: Hub, tmp_path: Path) -> None:
    for name, data in CONTENTS.items():
        (tmp_path / "mirror" / blob(data)).mkdir(parents=True)
        origin.publish(f"/f/{name}", data)
    brought = bring(tmp_path / "root", locked(CONTENTS, origin.endpoint), [str(tmp_path / "mirror")])
    assert brought.contents == CONTENTS
    assert brought.traffic.mirrors[0].state == "left out"


def test_a_rotten_folder_costs_nothing_but_its_reading(origin: Hub, tmp_path: Path) -> None:
    stock(tmp_path / "mirror", *CONTENTS.values())
    for data in CONTENTS.values():
        flip_byte(tmp_path / "mirror" / blob(data))
    for name, data in CONTENTS.items():
        origin.publish(f"/f/{name}", data)
    brought = bring(tmp_path / "root", locked(CONTENTS, origin.endpoint), [str(tmp_path / "mirror")])
    assert brought.contents == CONTENTS
    assert origin.count("GET") == len(CONTENTS)


# --- the command line ---------------------------------------------------------------------------------------------


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    for name, data in CONTENTS.items():
        hub.publish(f"/f/{name}", data)
    return hub


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        files = "".join(f"      - url: '{{endpoint}}/f/{name}'\n" for name in CONTENTS)
        project.write(f"version: 1\ndatasets:\n  m:\n    files:\n{files}")
        project.run("lock")
        yield project


def test_mirrors_are_those_of_the_command_the_environment_and_the_manifest_in_this_order_each_once(
    hub: Hub,
    project: Project,
) -> None:
    places = {name: project.folder / name for name in ("asked", "of environment", "declared")}
    for number, place in enumerate(places.values()):
        stock(place, *[data for index, data in enumerate(CONTENTS.values()) if index % 3 <= number])
    project.write((project.folder / "assets.yaml").read_text() + "mirrors: [./declared/, $HERE/asked, file:asked]\n")
    hub.stop()
    here = {"HERE": str(project.folder), "ASSETMGR_ROOT": str(project.folder / "other")}
    done = project.run(
        "pull", "--mirror", "asked", "--json", env={**here, "ASSETMGR_MIRRORS": "'of environment' asked"}
    ).json
    assert [(report["mirror"], report["files"]) for report in done["mirrors"]] == [
        (str(place), 7) for place in places.values()
    ]
    assert done["origin"] == {"files": 0, "bytes": 0}
    project.run("verify", "--full", env=here)


def test_the_summary_says_what_came_from_where_and_which_mirror_was_no_good(project: Project) -> None:
    stock(project.folder / "mirror", CONTENTS["big"])
    shutil.rmtree(project.root)
    said = project.run("pull", "--mirror", "gone", "--mirror", "mirror", "--offline", code=5).err
    assert f"mirror {project.folder / 'gone'} was left out of this run" in said
    assert "is its disk mounted?" in said
    assert said.count("gone") == 2, "once, with why"
    assert "nor in a mirror on this machine" in said
    said = project.run("pull", "--mirror", "mirror").err
    assert "20 files fetched (6.0 kB; 20 from their origins (6.0 kB))" in said
    shutil.rmtree(project.root)
    said = project.run("pull", "--mirror", "mirror").err
    assert f"(1.1 MB; 1 from mirror {project.folder / 'mirror'} (1.0 MB); 20 from their origins (6.0 kB))" in said


def test_repair_is_possible_from_a_mirror_alone(hub: Hub, project: Project) -> None:
    project.run("pull")
    project.run("mirror", "push", "mirror")
    hub.stop()
    flip_byte(project.root / "files/m/03")
    assert "altered" in project.run("verify", "--full", code=3).out
    done = project.run("verify", "--full", "--repair", "--mirror", "mirror", "--json").json
    assert [finding["path"] for finding in done["repaired"]] == ["03"]
    assert done["mirrors"][0]["files"] == 1


def test_what_the_store_has_elsewhere_is_linked_and_no_mirror_is_asked(project: Project) -> None:
    project.run("pull")
    files = "".join(f"      - url: '{{endpoint}}/f/{name}'\n        path: again/{name}\n" for name in CONTENTS)
    project.write(f"version: 1\ndatasets:\n  n:\n    files:\n{files}")
    project.run("lock")
    done = project.run("pull", "--mirror", "http://127.0.0.1:1", "--json").json
    assert done["assets"][0]["linked_files"] == len(CONTENTS)
    assert done["mirrors"][0]["state"] == "unused"


def test_a_manifest_is_told_where_a_mirror_is_no_mirror(project: Project) -> None:
    project.write("version: 1\nmirrors:\n  - ./fine\n  - s3:oops\n  - http://me:secret@host/\n  - $NOT_SET/x\n")
    said = project.run("pull", code=2).err
    assert "assets.yaml:4:5: " in said
    assert "assets.yaml:5:5: " in said
    assert "assets.yaml:6:5: " in said
    assert "'NOT_SET' is not set" in said


def test_mirrors_change_neither_the_lock_nor_what_is_stale(project: Project) -> None:
    before = project.lock_file.read_bytes()
    project.write((project.folder / "assets.yaml").read_text() + "mirrors: [./mirror]\n")
    project.run("lock", "--check")
    project.run("lock")
    assert project.lock_file.read_bytes() == before


def test_lock_takes_from_a_mirror_what_the_manifest_pins(project: Project, tmp_path: Path) -> None:
    stock(project.folder / "mirror", b"pinned")
    project.write(
        f"version: 1\nmodels:\n  p:\n    files:\n      - {{url: 'http://127.0.0.1:1/p', sha256: {sha256(b'pinned')}}}\n"
    )
    project.run("lock", "--mirror", "mirror")
    assert '"size": 6' in project.lock_file.read_text()
    project.run("pull", "--offline")
