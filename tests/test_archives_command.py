"""Archives through the command line: pinned by `lock`, counted by `plan`, unpacked by `pull`, proved by `verify`."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import socket
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from assetmgr.archives import ListedMember, dump_listing
from tests.archives.building import KINDS, build, zip_of
from tests.hub import Hub
from tests.support import Project, files_below, served

DATA = Path(__file__).parent / "data"
FILES = {f"top/{part}/{number}.txt": f"{part} {number} ".encode() * 300 for part in ("a", "b") for number in range(3)}
ARCHIVE = build("zip", FILES)
SIZE = sum(map(len, FILES.values()))
PIN = f"size: {len(ARCHIVE)}, sha256: {hashlib.sha256(ARCHIVE).hexdigest()}"


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.publish("/f/set.zip", ARCHIVE)
    return hub


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        yield project


def declare(*files: str, name: str = "m", more: str = "") -> str:
    """An asset under ``datasets:``; each file is the inside of a flow mapping."""
    return f"  {name}:\n    files:\n" + "".join(f"      - {{{file}}}\n" for file in files) + more


def write(project: Project, *assets: str) -> None:
    project.write("version: 1\ndatasets:\n" + "".join(assets))


def zipped(how: str = "extract: files", path: str = "/f/set.zip") -> str:
    return f"url: '{{endpoint}}{path}', {how}"


def install(project: Project) -> None:
    project.run("lock")
    project.run("pull")


def listing_of(files: Mapping[str, bytes]) -> str:
    members = [ListedMember(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in files.items()]
    return hashlib.sha256(dump_listing(members)).hexdigest()


def locked(project: Project, name: str = "m") -> list[dict[str, dict[str, object]]]:
    files: list[dict[str, dict[str, object]]] = json.loads(project.lock_file.read_bytes())["assets"][name]["files"]
    return files


def visible(project: Project) -> set[str]:
    """What stands at final names in the store."""
    return {name for name in files_below(project.root) if not name.startswith(".assetmgr")}


def partials(project: Project) -> list[str]:
    folder = project.root / ".assetmgr" / "partial"
    return sorted(os.listdir(folder)) if folder.is_dir() else []


# --- every kind, every place ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_of_each_kind_goes_from_manifest_to_proved_files(hub: Hub, project: Project, kind: str) -> None:
    hub.publish(f"/f/set.{kind}", build(kind, FILES))
    write(project, declare(zipped(path=f"/f/set.{kind}")))
    install(project)
    assert hub.count(match=f"set.{kind}") == 1, "what lock has fetched to list it, pull uses"
    (file,) = locked(project)
    assert file["extract"] == {"listing": listing_of(FILES), "members": len(FILES), "place": "files", "size": SIZE}
    folder = project.path("m")
    assert {path: (folder / path).read_bytes() for path in FILES} == FILES
    assert {(folder / path).stat().st_mode & 0o777 for path in FILES} == {0o444}
    for full in ([], ["--full"]):
        said = project.run("--json", "verify", "--offline", *full).json
        assert (said["findings"], said["files"], said["bytes"] > SIZE) == ([], len(FILES) + 1, True)
    assert partials(project) == []


def test_a_compressed_file_becomes_the_file_that_it_is_named_for(hub: Hub, project: Project) -> None:
    hub.publish("/f/rows.json.gz", gzip.compress(b"[1, 2, 3]"))
    write(project, declare(zipped("extract: lavis/x, keep_archive: false", "/f/rows.json.gz")))
    install(project)
    assert visible(project) == {"lavis/x/rows.json"}
    assert (project.root / "lavis/x/rows.json").read_bytes() == b"[1, 2, 3]"


def test_a_zip64_archive_is_unpacked(hub: Hub, project: Project) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file, file.open("big.bin", "w", force_zip64=True) as member:
        member.write(b"x" * 100_000)
    hub.publish("/f/set.zip", buffer.getvalue())
    write(project, declare(zipped("extract: torch")))
    install(project)
    assert (project.root / "torch/hub/checkpoints/big.bin").stat().st_size == 100_000


@pytest.mark.parametrize(
    ("how", "at", "path"),
    [
        ("extract: files", "files/m/top/a/0.txt", "files/m"),
        ("extract: files/images", "files/m/images/top/a/0.txt", "files/m/images"),
        ("extract: lavis/coco/images", "lavis/coco/images/top/a/0.txt", "lavis/coco/images"),
        ("extract: torch, strip: 2", "torch/hub/checkpoints/0.txt", "torch/hub/checkpoints"),
        ("extract: clip, strip: 1", "clip/a/0.txt", "clip"),
        ("extract: files, prefix: top/a", "files/m/top/a/0.txt", "files/m"),
        ("extract: files, prefix: top/a, strip: 2", "files/m/0.txt", "files/m"),
    ],
)
def test_members_go_where_the_manifest_says(hub: Hub, project: Project, how: str, at: str, path: str) -> None:
    if "strip: 2" in how and "prefix" not in how:
        hub.publish("/f/set.zip", zip_of({name: data for name, data in FILES.items() if "/a/" in name}))
    write(project, declare(zipped(how)))
    install(project)
    assert (project.root / at).read_bytes() == FILES["top/a/0.txt"]
    assert project.path("m") == project.root / path
    if "prefix" in how:
        assert not any("b" in name.split("/") for name in visible(project)), "only what lies below the prefix"


@pytest.mark.parametrize("how", ["", "extract: false"])
def test_an_archive_without_extract_is_one_file(project: Project, how: str) -> None:
    write(project, declare(zipped(how)))
    install(project)
    assert visible(project) == {"files/m/set.zip"}
    assert "extract" not in locked(project)[0]


def test_a_selection_that_leaves_nothing_is_an_error_that_shows_what_there_is(project: Project) -> None:
    write(project, declare(zipped("extract: files, prefix: tops")))
    said = project.run("lock", code=2).err
    assert "prefix 'tops'" in said
    assert "top/a/0.txt" in said
    assert not project.lock_file.exists()


# --- the archive stays, or goes -------------------------------------------------------------------------------------


def test_an_archive_that_is_not_kept_is_fetched_once_and_never_stands_at_a_name(hub: Hub, project: Project) -> None:
    write(project, declare(zipped("extract: lavis/x, keep_archive: false")))
    install(project)
    assert hub.count() == 1
    assert visible(project) == {f"lavis/x/{path}" for path in FILES}
    assert partials(project) == []
    hub.stop()
    for command in ("pull", "verify", "verify --full", "verify --repair", "lock", "status"):
        project.run(*command.split())
    assert "6 files already there" in project.run("pull").err


def test_an_archive_is_dropped_or_fetched_when_the_manifest_says_otherwise(hub: Hub, project: Project) -> None:
    write(project, declare(zipped()))
    install(project)
    write(project, declare(zipped("extract: files, keep_archive: false")))
    assert "1 asset" in project.run("lock").err
    (plan,) = project.run("--json", "plan").json["assets"]
    assert (len(plan["keep"]), plan["prove"], plan["unpack"]) == (6, [], []), "what was proved stays so"
    project.run("pull")
    assert visible(project) == {f"files/m/{path}" for path in FILES}, "what is not kept any more is removed"
    assert hub.count() == 1, "and nothing was asked for"
    write(project, declare(zipped()))
    install(project)
    assert (project.root / "files/m/set.zip").read_bytes() == ARCHIVE


def test_an_upgrade_that_changes_nothing_leaves_no_archive_behind(hub: Hub, project: Project) -> None:
    write(project, declare(zipped("extract: files, keep_archive: false")))
    install(project)
    project.run("lock", "--upgrade", "m")
    project.run("pull")
    assert partials(project) == []


def test_an_archive_that_a_killed_pull_left_behind_goes_with_the_next_one(hub: Hub, project: Project) -> None:
    write(project, declare(zipped("extract: files, keep_archive: false")))
    project.run("lock")
    (name,) = partials(project)
    copy = (project.root / ".assetmgr/partial" / name).read_bytes() * 200  # as if it were worth to be gone on with
    project.run("pull")
    host = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
    (project.root / ".assetmgr/partial" / f"{name}.{host}.999999999.0123abcd").write_bytes(copy)
    project.run("pull")
    assert partials(project) == []


def test_files_that_were_unpacked_by_hand_are_proved_and_their_archive_is_not_fetched(
    hub: Hub, project: Project
) -> None:
    write(project, declare(zipped("extract: lavis/x, keep_archive: false")))
    project.run("lock")
    shutil.rmtree(project.root / ".assetmgr/partial")
    with zipfile.ZipFile(io.BytesIO(ARCHIVE)) as file:
        file.extractall(project.root / "lavis/x")
    hub.stop()
    assert "6 files already there" in project.run("pull").err
    project.run("verify", "--full")


@pytest.mark.parametrize("keep", ["true", "false"])
@pytest.mark.parametrize("pin", ["", f", {PIN}"], ids=["open", "pinned"])
def test_an_archive_that_was_fetched_by_hand_is_unpacked(project: Project, keep: str, pin: str) -> None:
    ask = "ask: 'Download set.zip after accepting the licence', path: set.zip"
    write(project, declare(f"{ask}, extract: lavis/x, keep_archive: {keep}{pin}"))
    assert "accepting the licence" in project.run("lock", code=7).err
    place = project.root / "files/m/set.zip"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(ARCHIVE)
    install(project)
    assert visible(project) == {"files/m/set.zip", *(f"lavis/x/{path}" for path in FILES)}
    project.run("verify", "--full")
    (project.root / "lavis/x/top/a/0.txt").unlink()
    project.run("verify", "--repair", "--offline")
    if keep == "false":
        place.unlink()
        project.run("verify", "--full")
    assert partials(project) == []


# --- the lock -------------------------------------------------------------------------------------------------------


def test_a_manifest_that_states_size_and_sha256_still_has_its_archive_listed(hub: Hub, project: Project) -> None:
    write(project, declare(zipped(f"extract: files, {PIN}")))
    project.run("lock", "--no-fetch")
    assert hub.count() == 0
    assert "listing" not in locked(project)[0]["extract"]
    assert "no listing" in project.run("pull", code=2).err
    project.run("lock")
    assert locked(project)[0]["extract"]["listing"] == listing_of(FILES)
    project.run("pull")
    assert hub.count() == 1
    before = project.lock_file.read_bytes()
    project.run("lock")
    assert project.lock_file.read_bytes() == before
    assert hub.count() == 1


def test_a_lock_from_another_machine_has_its_listing_made_again_and_held_to(
    hub: Hub, project: Project, tmp_path: Path
) -> None:
    write(project, declare(zipped("extract: lavis/x, keep_archive: false")))
    project.run("lock")
    other = Project(tmp_path / "other", project.endpoint)
    write(other, declare(zipped("extract: lavis/x, keep_archive: false")))
    other.lock_file.write_bytes(project.lock_file.read_bytes())
    (asset,) = other.run("--json", "plan").json["assets"]
    assert (asset["unpack_bytes"], asset["unpack"][0]["files"]) == (SIZE, len(FILES))
    other.run("pull")
    assert visible(other) == {f"lavis/x/{path}" for path in FILES}
    assert listing_of(FILES) in os.listdir(other.root / ".assetmgr" / "listings")

    forged = other.lock_file.read_text().replace(listing_of(FILES), "5" * 64)
    third = Project(tmp_path / "third", project.endpoint)
    write(third, declare(zipped("extract: lavis/x, keep_archive: false")))
    third.lock_file.write_text(forged)
    said = third.run("pull", code=3).err
    assert "m: set.zip" in said
    assert "its listing is" in said
    assert visible(third) == set()


@pytest.mark.parametrize(
    ("field", "to"),
    [
        ('"place": "files", "size"', '"place": "../out", "size"'),
        ('"place": "files", "size"', '"place": "lavis/../../out", "size"'),
        ('"place": "files", "size"', '"place": "files/../../out", "size"'),
        ('"members": 6', '"members": -6'),
        ('"members": 6', '"members": 7'),
        (f'"size": {SIZE}', f'"size": {SIZE + 1}'),
        ('"listing": "', '"prefix": "../x", "listing": "'),
        ('"listing": "', '"listing": "../../'),
    ],
)
def test_a_hostile_lock_is_refused_before_anything_is_written(project: Project, field: str, to: str) -> None:
    write(project, declare(zipped()))
    project.run("lock")
    text = project.lock_file.read_text()
    assert field in text
    project.lock_file.write_text(text.replace(field, to))
    assert project.run("pull", code=None).code in (2, 3)
    assert visible(project) == set()


def test_lock_says_what_changes_and_asks_nobody_for_what_it_knows(hub: Hub, project: Project) -> None:
    write(project, declare(zipped()))
    install(project)
    hub.reset_log()
    write(project, declare(zipped("extract: files, strip: 1")))
    assert project.run("lock", "--check", code=4).err
    assert "set.zip: 6 files to files" in project.run("lock").out
    write(project, declare(zipped("extract: false")))
    assert "set.zip: no longer extracted" in project.run("lock").out
    project.run("pull")
    assert visible(project) == {"files/m/set.zip"}
    assert hub.count() == 0, "the archive is in the store"


# --- several archives, several assets, several projects -------------------------------------------------------------


def test_several_archives_share_a_folder(hub: Hub, project: Project) -> None:
    hub.publish("/f/one.zip", zip_of({"x/1": b"one", "both": b"same"}))
    hub.publish("/f/two.tar", build("tar", {"x/2": b"two", "both": b"same"}))
    to = "extract: lavis/x"
    write(project, declare(zipped(to, "/f/one.zip"), zipped(to, "/f/two.tar")))
    install(project)
    assert {f"lavis/x/{name}" for name in ("x/1", "x/2", "both")} <= visible(project)
    project.run("verify", "--full")
    (project.root / "lavis/x/both").unlink()
    project.run("verify", code=3)
    project.run("verify", "--repair", "--offline")


@pytest.mark.parametrize("assets", [1, 2])
def test_archives_that_want_one_place_with_different_bytes_are_a_lock_error(
    hub: Hub, project: Project, assets: int
) -> None:
    hub.publish("/f/one.zip", zip_of({"x/1": b"one"}))
    hub.publish("/f/two.zip", zip_of({"x/1": b"two"}))
    files = [zipped("extract: lavis/x", path) for path in ("/f/one.zip", "/f/two.zip")]
    write(project, *([declare(*files)] if assets == 1 else [declare(files[0], name="a"), declare(files[1], name="b")]))
    said = project.run("lock", code=2).err
    assert "one.zip" in said
    assert "two.zip" in said
    assert "lavis/x/x/1" in said
    assert not project.lock_file.exists()


def test_a_collision_that_only_shows_on_another_machine_is_told_before_it_is_unpacked(
    hub: Hub, project: Project, tmp_path: Path
) -> None:
    hub.publish("/f/two.zip", zip_of({"top/a/0.txt": b"other"}))
    for name, path in (("a", "/f/set.zip"), ("b", "/f/two.zip")):
        one = Project(tmp_path / name, project.endpoint)
        write(one, declare(zipped("extract: lavis/x", path), name=name))
        one.run("lock")
    both = {
        **json.loads((tmp_path / "a/assets.lock.json").read_bytes())["assets"],
        **json.loads((tmp_path / "b/assets.lock.json").read_bytes())["assets"],
    }
    write(
        project,
        declare(zipped("extract: lavis/x"), name="a"),
        declare(zipped("extract: lavis/x", "/f/two.zip"), name="b"),
    )
    project.lock_file.write_text(json.dumps({"version": 1, "assets": both}))
    said = project.run("pull", code=2).err
    assert "both want lavis/x/top/a/0.txt" in said
    assert (project.root / "lavis/x/top/a/0.txt").read_bytes() == FILES["top/a/0.txt"], "the first is whole"


@pytest.mark.parametrize("keep", ["true", "false"])
def test_two_assets_share_one_archive_that_is_fetched_once(hub: Hub, project: Project, keep: str) -> None:
    parts = {part: f"extract: files, prefix: top/{part}, strip: 2, keep_archive: {keep}" for part in ("a", "b")}
    write(project, *(declare(zipped(how), name=name) for name, how in parts.items()))
    project.run("lock")
    plan = project.run("--json", "plan").json
    assert plan["fetch_bytes"] == 0, "lock has it"
    project.run("pull")
    assert hub.count() == 1
    assert (project.root / "files/b/2.txt").read_bytes() == FILES["top/b/2.txt"]
    assert partials(project) == []


def test_one_content_in_two_places_is_linked_not_unpacked_twice(hub: Hub, project: Project) -> None:
    how = "keep_archive: false"
    write(
        project,
        declare(zipped(f"extract: lavis/x, {how}"), name="a"),
        declare(zipped(f"extract: lavis/y, {how}"), name="b"),
    )
    project.run("lock")
    done = {one["name"]: one for one in project.run("--json", "pull").json["assets"]}
    assert (done["a"]["unpacked_files"], done["b"]["linked_files"]) == (6, 6)
    first, second = (project.root / f"lavis/{name}/top/a/0.txt" for name in "xy")
    assert first.samefile(second)


def test_two_projects_on_one_store_unpack_once(hub: Hub, project: Project, tmp_path: Path) -> None:
    for name in ("one", "two"):
        other = Project(tmp_path / name, project.endpoint, env={"ASSETMGR_ROOT": str(project.root)})
        write(other, declare(zipped(f"extract: lavis/x, keep_archive: false, {PIN}"), name=name))
        other.run("lock")
        other.run("pull")
        other.run("verify", "--full", "--offline")
    assert hub.count() == 1
    project.run("verify", "--full", "--offline")


def test_what_one_project_keeps_another_does_not_remove(hub: Hub, project: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "other", project.endpoint, env={"ASSETMGR_ROOT": str(project.root)})
    write(project, declare(zipped("extract: lavis/x")))
    write(other, declare(zipped("extract: lavis/x, keep_archive: false")))
    install(project)
    hub.reset_log()
    install(other)
    for one in (project, other):
        one.run("verify", "--full", "--offline")
    assert "files/m/set.zip" in visible(project)
    hub.publish("/f/set.zip", zip_of({"top/a/0.txt": b"another"}))
    other.run("lock", "--upgrade", "m")
    said = other.run("pull", code=2).err
    assert "held with other bytes by m of" in said
    project.run("verify", "--full", "--offline")
    write(other, declare(zipped("extract: lavis/y")))
    other.run("lock")
    shutil.rmtree(project.root / ".assetmgr/partial")
    for name in os.listdir(project.root / ".assetmgr/listings"):
        if name != listing_of(FILES):
            os.unlink(project.root / ".assetmgr/listings" / name)
    assert "held with other bytes" in other.run("pull", code=2).err, "before an archive is fetched to be listed"
    project.run("verify", "--full", "--offline")
    write(other, declare(zipped("extract: lavis/x, keep_archive: false")))
    other.run("lock")
    project.run("lock", "--upgrade", "m")
    other.run("pull")
    project.run("pull")
    assert visible(project) == {"files/m/set.zip", "lavis/x/top/a/0.txt"}


# --- plan -----------------------------------------------------------------------------------------------------------


def test_plan_counts_the_archive_and_what_comes_out_of_it(hub: Hub, project: Project, tmp_path: Path) -> None:
    write(project, declare(zipped()))
    project.run("lock")
    fresh = Project(tmp_path / "fresh", project.endpoint)
    write(fresh, declare(zipped()))
    fresh.lock_file.write_bytes(project.lock_file.read_bytes())
    archive = len(ARCHIVE)
    plan = fresh.run("--json", "plan").json
    assert (plan["fetch_bytes"], plan["unpack_bytes"], plan["disk_bytes"]) == (archive, SIZE, archive + SIZE)
    (asset,) = plan["assets"]
    assert asset["fetch"] == ["set.zip"]
    assert asset["unpack"] == [{"archive": "set.zip", "to": "files", "files": 6, "bytes": SIZE}]
    assert asset["files"] == 7
    assert "to unpack" in fresh.run("plan").out
    fresh.run("pull")
    after = fresh.run("--json", "plan").json
    assert (after["fetch_bytes"], after["unpack_bytes"], after["disk_bytes"]) == (0, 0, 0)
    assert len(after["assets"][0]["keep"]) == 7
    (fresh.root / "files/m/top/a/1.txt").unlink()
    after = fresh.run("--json", "plan").json
    assert (after["fetch_bytes"], after["disk_bytes"]) == (0, len(FILES["top/a/1.txt"]))


def test_an_extraction_that_cannot_fit_is_refused_before_the_first_byte(project: Project, tmp_path: Path) -> None:
    write(project, declare(zipped()))
    project.run("lock")
    fresh = Project(tmp_path / "fresh", project.endpoint)
    write(fresh, declare(zipped()))
    text = project.lock_file.read_text()
    fresh.lock_file.write_text(text.replace(f'"size": {SIZE}', f'"size": {1 << 60}'))
    assert "bytes are needed" in fresh.run("pull", code=6).err
    assert fresh.run("--json", "plan", code=6).json["fits"] is False


# --- what others see ------------------------------------------------------------------------------------------------


def test_a_local_dir_shows_the_members_and_not_the_archive(hub: Hub, project: Project) -> None:
    more = "    local_dir: ./shown\n"
    write(project, declare(zipped("extract: files/images, strip: 1"), more=more))
    install(project)
    shown = project.folder / "shown"
    assert files_below(shown) == {f"images/{path.removeprefix('top/')}" for path in FILES}
    assert (shown / "images/a/0.txt").read_bytes() == FILES["top/a/0.txt"]
    project.run("verify", "--full")
    hub.publish("/f/set.zip", zip_of({"top/new.txt": b"new"}))
    project.run("lock", "--upgrade", "m")
    project.run("pull")
    assert files_below(shown) == {"images/new.txt"}


def test_a_dataset_reads_the_images_of_an_archive_that_it_requires(hub: Hub, project: Project) -> None:
    pytest.importorskip("PIL")
    sample = DATA / "coco-sample"
    images = {f"val2014/{path.name}": path.read_bytes() for path in sorted((sample / "val2017").iterdir())}
    hub.publish("/f/val2014.zip", zip_of(images))
    captions = {"annotations/captions.json": (sample / "annotations/captions_val2017.json").read_bytes()}
    hub.publish("/f/annotations.tar.gz", build("tar.gz", captions))
    reading = (
        "    requires: coco-images\n    splits: {val: annotations/captions.json}\n    media: val2014\n"
        "    samples: caption\n"
    )
    keep = "keep_archive: false"
    write(
        project,
        declare(zipped(f"extract: lavis/coco/images, {keep}", "/f/val2014.zip"), name="coco-images"),
        declare(zipped(f"extract: lavis/coco, {keep}", "/f/annotations.tar.gz"), name="coco_caption", more=reading),
    )
    install(project)
    hub.stop()
    project.python(
        "import assetmgr\n"
        "samples = assetmgr.load_dataset('coco_caption', split='val', missing='error')\n"
        "assert samples[0]['image'].mode == 'RGB' and samples[0]['text_input']\n"
        "print(len(samples))"
    )


# --- a new archive --------------------------------------------------------------------------------------------------


def test_what_only_the_old_archive_named_goes_and_nothing_else(hub: Hub, project: Project, tmp_path: Path) -> None:
    write(project, declare(zipped("extract: lavis/x, strip: 1")))
    install(project)
    other = Project(tmp_path / "other", project.endpoint, env={"ASSETMGR_ROOT": str(project.root)})
    write(other, declare(zipped("extract: lavis/x, strip: 1, prefix: top/a"), name="other"))
    install(other)
    folder = project.root / "lavis/x"
    (folder / "b/mine.txt").write_bytes(b"a user's own")
    (folder / "b/1.txt").unlink()
    (folder / "b/1.txt").write_bytes(b"a user's own too")
    hub.publish("/f/set.zip", zip_of({"top/c/new.txt": b"new", "top/b/2.txt": FILES["top/b/2.txt"]}))
    project.run("lock", "--upgrade", "m")
    project.run("pull")
    assert files_below(folder) == {"a/0.txt", "a/1.txt", "a/2.txt", "b/1.txt", "b/2.txt", "b/mine.txt", "c/new.txt"}
    for one in (project, other):
        one.run("verify", "--full")
    assert len([name for name in os.listdir(project.root / ".assetmgr/receipts") if name.startswith("m@")]) == 1


# --- what is not ours to remove -------------------------------------------------------------------------------------


@pytest.fixture
def neighbour(project: Project, tmp_path: Path) -> Project:
    """Another project on the same store."""
    return Project(tmp_path / "neighbour", project.endpoint, env={"ASSETMGR_ROOT": str(project.root)})


def test_a_project_that_cannot_be_seen_keeps_what_it_pulled(hub: Hub, project: Project, neighbour: Project) -> None:
    hub.publish("/f/other.zip", zip_of({"other.txt": b"other"}))
    write(neighbour, declare(zipped("extract: files")))
    install(neighbour)
    away = neighbour.folder.rename(neighbour.folder.with_name("away"))  # as on a share that is not mounted
    write(project, declare(zipped("extract: files", "/f/other.zip")))
    install(project)
    away.rename(neighbour.folder)
    neighbour.run("verify", "--full", "--offline")


def test_a_lock_that_moved_on_without_a_pull_loses_nothing(hub: Hub, project: Project, neighbour: Project) -> None:
    hub.publish("/f/other.zip", zip_of({"other.txt": b"other"}))
    write(neighbour, declare(zipped("extract: lavis/x")))
    install(neighbour)
    write(neighbour, declare(zipped("extract: lavis/x, strip: 1")))
    neighbour.run("lock")
    write(project, declare(zipped("extract: lavis/y", "/f/other.zip")))
    install(project)
    assert {f"lavis/x/{path}" for path in FILES} <= visible(project)


def test_what_was_handed_in_is_not_removed(hub: Hub, project: Project) -> None:
    by_hand = "ask: get it, path: set.zip, extract: lavis/x"
    write(project, declare(by_hand))
    project.run("lock", code=7)
    place = project.root / "files/m/set.zip"
    place.parent.mkdir(parents=True)
    place.write_bytes(ARCHIVE)
    install(project)
    write(project, declare(f"{by_hand}, keep_archive: false"))
    install(project)
    assert place.read_bytes() == ARCHIVE


def test_an_upgrade_that_changes_nothing_leaves_no_second_copy(project: Project) -> None:
    write(project, declare(zipped("extract: lavis/x")))
    install(project)
    project.run("lock", "--upgrade", "m")
    project.run("pull")
    assert partials(project) == []


def test_a_listing_that_cannot_be_read_stops_nobody_else(hub: Hub, project: Project) -> None:
    hub.publish("/f/plain.txt", b"plain")
    write(project, declare(zipped("extract: lavis/x")), declare("url: '{endpoint}/f/plain.txt'", name="plain"))
    install(project)
    listing = project.root / ".assetmgr/listings" / listing_of(FILES)
    listing.unlink()
    listing.mkdir()
    project.run("path", "plain")
    assert "plain" in project.run("status").out
    (project.root / "files/plain/plain.txt").unlink()
    project.run("pull", "plain")
