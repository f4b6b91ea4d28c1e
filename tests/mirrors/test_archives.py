"""A mirror gives listings, archives and single members: a machine that has nothing else gets all of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archives.building import build, zip_of
from tests.hub import Hub
from tests.mirrors.support import blob
from tests.mirrors.test_push import another_machine
from tests.support import Project, files_below, flip_byte, served
from tests.test_archives_command import declare, partials, visible, write, zipped
from tests.transfer.support import body

MEMBERS = {f"n/{number}.bin": body(50_000, number) for number in range(20)}


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.publish("/f/set.zip", zip_of(MEMBERS))
    hub.publish("/f/set.tar", build("tar", MEMBERS))
    return hub


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "first") as project:
        yield project


def mirrored(project: Project, kind: str, keep: str) -> tuple[Project, Path]:
    """A mirror that one machine filled, and another machine that has manifest and lock."""
    write(project, declare(zipped(f"extract: lavis/x, keep_archive: {keep}", f"/f/set.{kind}")))
    for command in ("lock", "pull", "mirror push ../mirror"):
        project.run(*command.split())
    mirror = project.folder.parent / "mirror"
    return another_machine(project, ASSETMGR_MIRRORS=str(mirror)), mirror


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("keep", ["true", "false"])
def test_a_machine_without_the_origin_gets_it_all_from_the_mirror(
    hub: Hub, project: Project, kind: str, keep: str
) -> None:
    other, _ = mirrored(project, kind, keep)
    hub.stop()
    other.run("pull", "--offline")
    assert visible(other) == visible(project)
    assert partials(other) == []
    other.run("verify", "--full", "--offline")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_one_member_is_mended_from_the_mirror(hub: Hub, project: Project, kind: str) -> None:
    other, mirror = mirrored(project, kind, "false")
    other.run("pull")
    victim = other.root / "lavis/x/n/7.bin"
    victim.unlink()
    hub.reset_log()
    other.run("verify", "--repair")
    assert victim.read_bytes() == MEMBERS["n/7.bin"]
    assert hub.count() == 0
    for path in (victim, mirror / blob(MEMBERS["n/7.bin"])):
        path.unlink()
    other.run("verify", "--repair")
    assert victim.read_bytes() == MEMBERS["n/7.bin"], "and from the origin where the mirror lacks it"
    assert hub.count() > 0


@pytest.mark.parametrize("keep", ["true", "false"])
@pytest.mark.parametrize("damage", ["lost", "damaged"])
def test_an_archive_whose_listing_is_lost_is_not_called_pushed(
    hub: Hub, project: Project, keep: str, damage: str
) -> None:
    write(project, declare(zipped(f"extract: lavis/x, keep_archive: {keep}")))
    project.run("lock")
    project.run("pull")
    (listing,) = (project.root / ".assetmgr/listings").iterdir()
    if damage == "lost":
        listing.unlink()
    else:
        flip_byte(listing)
    told = project.run("mirror", "push", "mirror", "--json", code=3)
    (error,) = told.json["errors"]
    assert "set.zip: not pushed" in error["message"]
    assert error["mend"] == "assetmgr verify m --repair, and push again"
    project.run("verify", "m", "--repair")
    project.run("mirror", "push", "mirror")
    assert (project.folder / "mirror/blobs/sha256" / listing.name).is_file()


@pytest.mark.parametrize("offline", [False, True])
def test_one_rotten_member_costs_that_member_alone(hub: Hub, project: Project, offline: bool) -> None:
    other, mirror = mirrored(project, "zip", "false")
    flip_byte(mirror / blob(MEMBERS["n/0.bin"]))
    hub.reset_log()
    if offline:
        other.run("pull", "--offline", code=5)
        there = [name for name in MEMBERS if (other.root / "lavis/x" / name).is_file()]
        assert len(there) == len(MEMBERS) - 1
        return
    said = other.run("pull").err
    assert visible(other) == visible(project)
    assert f"mirror {mirror} holds what is no good" in said
    assert sum(request.sent for request in hub.requests) < len(zip_of(MEMBERS)) // 2, "read out of the published one"


def test_a_mirror_that_lies_about_a_member_changes_nothing(hub: Hub, project: Project) -> None:
    other, mirror = mirrored(project, "zip", "false")
    path = mirror / blob(MEMBERS["n/7.bin"])
    path.chmod(0o644)
    path.write_bytes(body(50_000, 99))
    other.run("pull")
    assert (other.root / "lavis/x/n/7.bin").read_bytes() == MEMBERS["n/7.bin"]
    other.run("verify", "--full", "--offline")


def test_a_mirror_that_has_the_archive_gives_that(hub: Hub, project: Project) -> None:
    other, mirror = mirrored(project, "tar", "true")
    for data in MEMBERS.values():
        (mirror / blob(data)).unlink()
    hub.stop()
    other.run("pull", "--offline")
    assert files_below(other.root / "lavis/x") == set(MEMBERS)
    shutil.rmtree(mirror)
    other.run("verify", "--full", "--offline")
