"""What archives survive through the command line: damage, hostile members, kills; and how one member is mended."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from assetmgr.archives import ListedMember, dump_listing
from tests.archives.building import SYMLINK, ZipPart, build, pax, tar_end, tar_entry, zip_of, zip_parts
from tests.hub import Fault, Hub
from tests.support import Project, eventually, files_below, flip_byte, served, truncate
from tests.test_archives_command import FILES, declare, install, listing_of, partials, visible, write, zipped

MANY = {f"d{number % 7}/{number:05}.bin": random.Random(number).randbytes(3000) for number in range(4000)}
# Deflate makes nothing of these: the archive is as large as what is in it.
NOISE = {f"n/{number}.bin": random.Random(number).randbytes(150_000) for number in range(8)}
NOISY = zip_of(NOISE)


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.publish("/f/set.zip", zip_of(FILES))
    hub.publish("/f/noise.zip", NOISY)
    return hub


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        yield project


# --- hostile and damaged archives -----------------------------------------------------------------------------------

HOSTILE = {
    "zip that climbs": ("zip", zip_parts(ZipPart(b"good", b"x"), ZipPart(b"../evil", b"x"))),
    "zip with a link": ("zip", zip_parts(ZipPart(b"good", b"x"), ZipPart(b"evil", b"/etc/passwd", mode=SYMLINK))),
    "zip of colliding names": ("zip", zip_of({"A/x": b"1", "a/X": b"2"})),
    "zip that is encrypted": ("zip", zip_parts(ZipPart(b"evil", b"x", flags=1))),
    "zip bomb": ("zip", zip_of({"evil": bytes(80 << 20)})),
    "zip that is cut off": ("zip", zip_of(NOISE)[:-40]),
    "zip with a flipped byte": ("zip", zip_parts(ZipPart(b"evil", b"hello", crc=1))),
    "tar with a symbolic link": ("tar", tar_end(tar_entry(b"good", b"x"), tar_entry(b"evil", kind=b"2", link=b"/"))),
    "tar with a hard link": ("tar", tar_end(tar_entry(b"good", b"x"), tar_entry(b"evil", kind=b"1", link=b"good"))),
    "tar with a device": ("tar", tar_end(tar_entry(b"evil", kind=b"3"))),
    "tar with a long name that climbs": ("tar", tar_end(pax(path="../evil") + tar_entry(b"x"))),
    "tar.gz that is cut off": ("tar.gz", build("tar.gz", NOISE)[:-1000]),
    "tar.gz with a flipped byte": ("tar.gz", bytes([*build("tar.gz", FILES)[:-5], 0, 0, 0, 0, 0])),
    "gz bomb": ("gz", gzip.compress(bytes(80 << 20))),
    "page in place of an archive": ("bin", b"<p>please log in</p>" * 50),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_lock_refuses_a_hostile_or_damaged_archive_and_pins_nothing(hub: Hub, project: Project, case: str) -> None:
    kind, data = HOSTILE[case]
    hub.publish(f"/f/evil.{kind}", data)
    write(project, declare(zipped("extract: lavis/x", f"/f/evil.{kind}")))
    said = project.run("lock", code=3).err
    assert f"m: evil.{kind}: " in said
    assert "mend:" in said
    assert not project.lock_file.exists()
    assert visible(project) == set()
    assert partials(project) == []


@pytest.mark.parametrize("case", ["zip that climbs", "tar with a symbolic link", "gz bomb", "tar.gz that is cut off"])
def test_pull_refuses_what_a_forged_lock_pins(hub: Hub, project: Project, case: str) -> None:
    kind, data = HOSTILE[case]
    hub.publish(f"/f/evil.{kind}", data)
    write(project, declare(zipped("extract: false", f"/f/evil.{kind}")))
    project.run("lock")
    shutil.rmtree(project.root)
    extract = '"extract": {"listing": "%s", "members": 1, "place": "lavis/x", "size": 1}, ' % ("5" * 64)
    text = project.lock_file.read_text().replace('"path": "evil', extract + '"path": "evil')
    project.lock_file.write_text(text)
    said = project.run("pull", code=3).err
    assert f"m: evil.{kind}: " in said
    assert not any("lavis" in name for name in visible(project))


def test_a_listing_that_was_planted_is_refused_before_a_name_of_it_is_used(project: Project, tmp_path: Path) -> None:
    """Its digest is what the lock says, and what it names is in the store: only its names are wrong."""
    good = "version: 1\ndatasets:\n" + declare(zipped("extract: files"), name="good")
    project.write(good + declare(zipped("extract: lavis/x")))
    project.run("lock")
    project.run("pull", "good")
    member = FILES["top/a/0.txt"]
    forged = dump_listing([ListedMember("../../../evil.txt", len(member), hashlib.sha256(member).hexdigest())])
    digest = hashlib.sha256(forged).hexdigest()
    (project.root / ".assetmgr/listings" / digest).write_bytes(forged)
    lock = json.loads(project.lock_file.read_bytes())
    lock["assets"]["m"]["files"][0]["extract"] |= {"listing": digest, "members": 1, "size": len(member)}
    project.lock_file.write_text(json.dumps(lock))
    said = project.run("pull", code=2).err
    assert "m: set.zip: its listing" in said
    assert "climbs" in said
    assert not (tmp_path / "evil.txt").exists()
    assert not (project.folder / "evil.txt").exists()
    assert not any(name.startswith("lavis") for name in visible(project))


def test_a_link_in_the_way_is_not_written_through(project: Project, tmp_path: Path) -> None:
    write(project, declare(zipped("extract: lavis/x")))
    project.run("lock")
    outside = tmp_path / "outside"
    outside.mkdir()
    (project.root / "lavis/x").mkdir(parents=True)
    (project.root / "lavis/x/top").symlink_to(outside)
    said = project.run("pull", code=3).err
    assert "a link stands where a folder" in said
    assert files_below(outside) == set()


# --- found and mended -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", ["true", "false"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "altered"])
def test_one_damaged_member_is_found_and_mended(hub: Hub, project: Project, keep: str, damage: str) -> None:
    write(project, declare(zipped(f"extract: lavis/x, keep_archive: {keep}", "/f/noise.zip")))
    install(project)
    victim = project.root / "lavis/x/n/3.bin"
    others = {name: os.stat(project.root / name).st_ino for name in visible(project) if "3.bin" not in name}
    if damage == "missing":
        victim.unlink()
    elif damage == "truncated":
        truncate(victim, 10)
    else:
        flip_byte(victim, 5, keep_time=True)
    full = ["--full"] if damage == "altered" else []
    said = project.run("--json", "verify", *full, code=3).json
    assert [(one["path"], one["kind"]) for one in said["findings"]] == [("n/3.bin", damage)]
    hub.reset_log()
    repaired = project.run("--json", "verify", "--repair", *full).json
    assert [one["path"] for one in repaired["repaired"]] == ["n/3.bin"]
    assert victim.read_bytes() == NOISE["n/3.bin"]
    assert {name: os.stat(project.root / name).st_ino for name in others} == others, "only that one was written"
    sent = sum(record.sent for record in hub.requests)
    assert sent < (400_000 if keep == "false" else 1), "by its own bytes from the kept archive, or by ranges"
    assert partials(project) == []


@pytest.mark.parametrize(
    "fault",
    [
        None,
        Fault("noise.zip", times=2, status=503),
        Fault("noise.zip", after=1, truncate_after=100),
    ],
    ids=["no ranges", "busy", "cut off"],
)
def test_a_server_that_gives_no_parts_or_falters_still_mends(hub: Hub, project: Project, fault: Fault | None) -> None:
    write(project, declare(zipped("extract: lavis/x, keep_archive: false", "/f/noise.zip")))
    install(project)
    (project.root / "lavis/x/n/3.bin").unlink()
    if fault is None:
        hub.publish("/f/noise.zip", NOISY, ranges=False)
    else:
        hub.faults.add(fault)
    said = project.run("verify", "--repair").err
    assert ("it is not read in parts" in said) == (fault is None)
    project.run("verify", "--full", "--offline")
    assert partials(project) == []


def test_a_member_that_comes_wrong_by_ranges_is_not_kept(hub: Hub, project: Project) -> None:
    write(project, declare(zipped("extract: lavis/x, keep_archive: false", "/f/noise.zip")))
    install(project)
    (project.root / "lavis/x/n/3.bin").unlink()
    hub.publish("/f/noise.zip", zip_of({**NOISE, "n/3.bin": random.Random(99).randbytes(150_000)}))
    project.run("verify", "--repair", code=3)
    assert "lavis/x/n/3.bin" not in visible(project)


def test_a_damaged_kept_archive_is_fetched_anew_and_its_members_stay(hub: Hub, project: Project) -> None:
    write(project, declare(zipped("extract: lavis/x", "/f/noise.zip")))
    install(project)
    archive = project.root / "files/m/noise.zip"
    good = archive.read_bytes()
    flip_byte(archive, good.index(NOISE["n/3.bin"][500:600]), keep_time=True)
    (project.root / "lavis/x/n/3.bin").unlink()
    said = project.run("verify", "--repair").err
    assert "fetching it anew" in said
    assert archive.read_bytes() == good
    assert (project.root / "lavis/x/n/3.bin").read_bytes() == NOISE["n/3.bin"]
    archive.unlink()
    hub.reset_log()
    project.run("verify", "--repair")
    assert hub.count() == 1
    project.run("verify", "--full", "--offline")


@pytest.mark.parametrize("keep", ["true", "false"])
def test_a_lost_or_damaged_listing_is_found_and_made_again(hub: Hub, project: Project, keep: str) -> None:
    write(project, declare(zipped(f"extract: lavis/x, keep_archive: {keep}")))
    install(project)
    listing = project.root / ".assetmgr/listings" / listing_of(FILES)
    for flipped in (False, True):
        if flipped:
            flip_byte(listing, 50)
        else:
            listing.unlink()
        said = project.run("--json", "verify", code=3).json
        assert [(one["path"], one["kind"]) for one in said["findings"]] == [("set.zip", "listing")]
        assert project.run("--json", "status").json[0]["state"] == "damaged"
        done = project.run("--json", "verify", "--repair").json
        assert len(done["repaired"]) == 1
    hub.stop()
    project.run("verify", "--full")
    assert partials(project) == []


def test_an_archive_that_gives_something_else_on_a_new_machine_is_refused(
    hub: Hub, project: Project, tmp_path: Path
) -> None:
    write(project, declare(zipped("extract: lavis/x")))
    project.run("lock")
    shutil.rmtree(project.root)
    hub.publish("/f/set.zip", zip_of({"evil": b"x"}))
    said = project.run("pull", code=3).err
    assert "m: set.zip" in said
    assert visible(project) == set()


# --- interrupted ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_an_extraction_that_was_cut_short_goes_on(hub: Hub, project: Project, kind: str, how: signal.Signals) -> None:
    hub.publish(f"/f/many.{kind}", build(kind, MANY))
    write(project, declare(zipped("extract: lavis/x, keep_archive: false", f"/f/many.{kind}")))
    project.run("lock")
    process = project.start("pull")
    folder = project.root / "lavis/x"
    assert eventually(lambda: sum(1 for name in there(folder)) > 60)
    process.send_signal(how)
    _, said = process.communicate(timeout=30)
    assert process.returncode == (-9 if how is signal.SIGKILL else 130), said
    before = {name: os.stat(folder / name).st_ino for name in there(folder)}
    if len(before) == len(MANY):
        pytest.skip("the machine was too quick: all of it was there")
    assert all((folder / name).read_bytes() == MANY[name] for name in before), "whole files at final names, no others"
    hub.reset_log()
    done = project.run("--json", "pull").json["assets"][0]
    assert done["unpacked_files"] == len(MANY) - len(before)
    assert hub.count() == 0, "the archive was there"
    assert {name: os.stat(folder / name).st_ino for name in before} == before
    assert files_below(folder) == set(MANY), "nothing half-written is left"
    assert partials(project) == []
    project.run("verify", "--full", "--offline")


def there(folder: Path) -> set[str]:
    return {name for name in files_below(folder) if not name.startswith(".extracting-")}


def test_what_came_out_before_an_error_is_remembered(hub: Hub, project: Project) -> None:
    """A member's own place is taken by a folder: all others are in place, and their stamps too."""
    write(project, declare(zipped("extract: lavis/x")))
    project.run("lock")
    (project.root / "lavis/x/top/a/0.txt/in the way").mkdir(parents=True)
    said = project.run("pull", code=3).err
    assert "a folder stands where a file" in said
    assert len([name for name in visible(project) if name.startswith("lavis/")]) == len(FILES) - 1
    shutil.rmtree(project.root / "lavis/x/top/a/0.txt")
    assert project.run("--json", "plan").json["unpack_bytes"] == len(FILES["top/a/0.txt"])
    assert project.run("--json", "pull").json["assets"][0]["unpacked_files"] == 1


def test_two_pulls_at_once_unpack_together(hub: Hub, project: Project, tmp_path: Path) -> None:
    hub.publish("/f/many.zip", zip_of(MANY))
    write(project, declare(zipped("extract: lavis/x, keep_archive: false", "/f/many.zip")))
    other = Project(tmp_path / "other", project.endpoint, env={"ASSETMGR_ROOT": str(project.root)})
    write(other, declare(zipped("extract: lavis/x, keep_archive: false", "/f/many.zip"), name="other"))
    for one in (project, other):
        one.run("lock")
    running = [one.start("pull") for one in (project, other)]
    for process in running:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    for one in (project, other):
        one.run("verify", "--full", "--offline")
    assert files_below(project.root / "lavis/x") == set(MANY)


def test_a_disk_that_fills_up_while_unpacking_says_so_and_is_gone_on_with(
    hub: Hub, project: Project, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(small)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        tiny = {f"{number}.txt": b"%d" % number for number in range(100)}  # a page each, which no plan can know
        hub.publish("/f/tiny.zip", zip_of(tiny))
        write(project, declare(zipped("extract: lavis/x, keep_archive: false", "/f/tiny.zip")))
        project.run("lock")
        (project.root / "lavis").mkdir(parents=True)
        (project.root / "lavis/x").symlink_to(small)
        assert "free some space" in project.run("pull", code=6).err
        done = files_below(small)
        assert 0 < len(done) < len(tiny)
        assert done < set(tiny), "nothing half-written is left"
        subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
        assert project.run("--json", "pull").json["assets"][0]["unpacked_files"] == len(tiny) - len(done)
        project.run("verify", "--full", "--offline")
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.soak
def test_a_pull_that_is_killed_again_and_again_ends_with_every_file_right(hub: Hub, project: Project) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for kind in ("zip", "tar.gz"):
        hub.publish(f"/f/many.{kind}", build(kind, MANY))
    for number in range(20):
        kind, keep = chance.choice(["zip", "tar.gz"]), chance.choice(["true", "false"])
        write(project, declare(zipped(f"extract: lavis/x, keep_archive: {keep}", f"/f/many.{kind}")))
        shutil.rmtree(project.root, ignore_errors=True)
        project.run("lock")
        if chance.random() < 0.3:  # as on another machine: the listing is not in the store
            shutil.rmtree(project.root)
        for _ in range(3):
            process = project.start("pull")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0.2, 3))
            process.send_signal(chance.choice([signal.SIGKILL, signal.SIGINT, signal.SIGTERM]))
            process.communicate(timeout=30)
            for name in there(project.root / "lavis/x"):
                assert (project.root / "lavis/x" / name).read_bytes() == MANY[name], f"round {number}, seed {seed}"
        project.run("pull")
        project.run("verify", "--full", "--offline")
        assert files_below(project.root / "lavis/x") == set(MANY), f"round {number}, seed {seed}"
        assert partials(project) == [], f"round {number}, seed {seed}"
