"""Extraction: only what is missing is written, nothing unproved has a final name, no link is followed."""

from __future__ import annotations

import gc
import io
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from assetmgr.archives import ListedMember, dump_listing, extract, extract_member, listing, zip_directory
from assetmgr.digests import sha256_text
from assetmgr.errors import DiskSpaceError, IntegrityError
from assetmgr.receipt import Stamp
from tests.archives.building import KINDS, ZipPart, build, tar_of, zip_of, zip_parts
from tests.support import REPOSITORY, clean_environment, eventually, files_below, flip_byte, truncate

FILES = {"a/x.jpg": b"1" * 3000, "a/b/y.jpg": b"2" * 300_000, "z.json": b"{}", "empty": b""}


class Prepared:
    """An archive, its listing, and a folder to extract it to."""

    def __init__(self, folder: Path, kind: str = "zip", files: dict[str, bytes] = FILES) -> None:
        self.archive, self.out, self.files = folder / f"set.{kind}", folder / "out", files
        self.archive.write_bytes(build(kind, files))
        self.members = listing(self.archive)

    def extract(self, **options: object) -> tuple[str, ...]:
        return extract(self.archive, self.out, self.members, **options).written  # type: ignore[arg-type]

    def check(self) -> None:
        assert files_below(self.out) == set(self.files)
        assert all((self.out / path).read_bytes() == data for path, data in self.files.items())


@pytest.fixture(params=["zip", "tar.gz"])
def prepared(request: pytest.FixtureRequest, tmp_path: Path) -> Prepared:
    return Prepared(tmp_path, request.param)


def test_files_are_read_only_and_as_readable_as_their_folder(prepared: Prepared) -> None:
    prepared.out.mkdir(mode=0o750)
    prepared.extract()
    assert stat.S_IMODE((prepared.out / "z.json").stat().st_mode) == 0o440
    assert not list(prepared.out.glob(".*"))


def test_below_a_setgid_folder_everything_is_open_to_the_group(prepared: Prepared) -> None:
    prepared.out.mkdir()
    prepared.out.chmod(0o2775)
    prepared.extract()
    assert stat.S_IMODE((prepared.out / "a/b").stat().st_mode) == 0o2775
    assert stat.S_IMODE((prepared.out / "a/b/y.jpg").stat().st_mode) == 0o444


def test_what_is_whole_needs_no_archive(prepared: Prepared) -> None:
    prepared.extract()
    prepared.archive.unlink()
    assert prepared.extract() == ()


def test_only_what_is_missing_or_damaged_is_written(prepared: Prepared) -> None:
    prepared.extract()
    kept = (prepared.out / "empty").stat().st_ino
    (prepared.out / "a/x.jpg").unlink()
    flip_byte(prepared.out / "a/b/y.jpg")
    truncate(prepared.out / "z.json", 1)
    assert prepared.extract() == ("a/b/y.jpg", "a/x.jpg", "z.json")
    assert (prepared.out / "empty").stat().st_ino == kept
    prepared.check()


def test_a_fitting_stamp_is_proof_and_one_that_does_not_fit_is_none(prepared: Prepared) -> None:
    stamps = extract(prepared.archive, prepared.out, prepared.members).stamps
    flip_byte(prepared.out / "a/x.jpg", keep_time=True)
    flip_byte(prepared.out / "a/b/y.jpg")
    again = extract(prepared.archive, prepared.out, prepared.members, stamps=stamps)
    assert again.written == ("a/b/y.jpg",)  # quick proof cannot see a byte that changed behind the stamp's back
    assert prepared.extract() == ("a/x.jpg",)
    found = os.stat(prepared.out / "a/b/y.jpg")
    assert again.stamps["a/b/y.jpg"].fits(found)


def test_progress_adds_up_to_the_listing(prepared: Prepared) -> None:
    for done in (0, 1):
        seen: list[int] = []
        prepared.extract(progress=seen.append)
        assert sum(seen) == sum(map(len, prepared.files.values())), done


def test_proofs_are_told_as_they_come_also_before_an_error(prepared: Prepared) -> None:
    wrong = [*prepared.members, ListedMember("not/there", 1, "0" * 64)]
    proved: dict[str, Stamp] = {}
    with pytest.raises(IntegrityError, match=r"1 files of its listing are not in it: 'not/there'"):
        extract(prepared.archive, prepared.out, wrong, proved=proved.__setitem__)
    assert set(proved) == set(prepared.files)
    prepared.check()


def test_a_member_that_is_not_as_listed_is_not_placed_and_the_rest_is(prepared: Prepared) -> None:
    listed = {member.path: member for member in prepared.members}
    listed["a/x.jpg"] = ListedMember("a/x.jpg", 3000, "0" * 64)
    listed["z.json"] = ListedMember("z.json", 3, listed["z.json"].sha256)
    with pytest.raises(IntegrityError, match="2 faults in all"):
        extract(prepared.archive, prepared.out, tuple(listed.values()))
    assert files_below(prepared.out) == {"a/b/y.jpg", "empty"}


def test_one_damaged_member_of_a_zip_leaves_the_others_in_place(tmp_path: Path) -> None:
    parts = [ZipPart(b"bad", b"x" * 100, crc=1), ZipPart(b"good", b"y")]
    members = [ListedMember("bad", 100, sha256_text(b"x" * 100)), ListedMember("good", 1, sha256_text(b"y"))]
    with pytest.raises(IntegrityError, match="'bad' is damaged"):
        extract(io.BytesIO(zip_parts(*parts)), tmp_path / "out", members)
    assert files_below(tmp_path / "out") == {"good"}


def test_members_that_are_not_listed_are_not_written(prepared: Prepared) -> None:
    extract(prepared.archive, prepared.out, prepared.members[:1])
    assert files_below(prepared.out) == {prepared.members[0].path}


def test_several_archives_fill_one_folder(tmp_path: Path) -> None:
    for kind, files in (("zip", {"images/a": b"1"}), ("tar.gz", {"images/b": b"2"})):
        (tmp_path / "s").write_bytes(build(kind, files))
        extract(tmp_path / "s", tmp_path / "out", listing(tmp_path / "s"))
    assert files_below(tmp_path / "out") == {"images/a", "images/b"}


@pytest.mark.parametrize("kind", KINDS)
def test_stripping_and_selection_hold_for_extraction_too(kind: str, tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(build(kind, {"top/train/a": b"1", "top/val/a": b"2", "readme": b"3"}))
    members = listing(tmp_path / "s", strip=2, prefix_filter="top/train")
    extract(tmp_path / "s", tmp_path / "out", members, strip=2, prefix_filter="top/train")
    assert files_below(tmp_path / "out") == {"a"}
    assert (tmp_path / "out/a").read_bytes() == b"1"


# --- what stands in the way ------------------------------------------------------------------------------------------


def test_a_link_planted_at_a_members_name_is_replaced_not_followed(prepared: Prepared, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(prepared.files["z.json"])
    prepared.out.mkdir()
    (prepared.out / "z.json").symlink_to(victim)
    (prepared.out / "empty").symlink_to(tmp_path / "nowhere")
    prepared.extract()
    assert not (prepared.out / "z.json").is_symlink()
    assert stat.S_IMODE(victim.stat().st_mode) & 0o200
    assert not (tmp_path / "nowhere").exists()
    prepared.check()


def test_a_hard_link_planted_at_a_members_name_is_replaced_not_written_through(
    prepared: Prepared, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"??")
    prepared.out.mkdir()
    os.link(victim, prepared.out / "z.json")
    prepared.extract()
    assert victim.read_bytes() == b"??"
    prepared.check()


@pytest.mark.parametrize("at", ["a", "a/b"])
def test_a_link_planted_at_a_folder_is_never_followed(at: str, prepared: Prepared, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (prepared.out / at).parent.mkdir(parents=True)
    (prepared.out / at).symlink_to(victim)
    with pytest.raises(IntegrityError, match="a link stands where a folder"):
        prepared.extract()
    assert not list(victim.iterdir())


def test_a_link_planted_while_extracting_is_never_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    prepared = Prepared(tmp_path, "tar", {f"f{n}/x": b"x" * 1000 for n in range(20)})

    def plant(_: int) -> None:
        folder = prepared.out / "f10"
        if not folder.is_symlink() and (prepared.out / "f5/x").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.symlink_to(victim)

    with pytest.raises(IntegrityError, match="a link stands"):
        prepared.extract(progress=plant)
    assert not list(victim.iterdir())


def test_a_link_planted_at_the_staging_folder_is_never_followed(prepared: Prepared, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").write_bytes(b"1")
    prepared.out.mkdir()
    stage = f".extracting-{sha256_text(dump_listing(prepared.members))[:16]}"
    (prepared.out / stage).symlink_to(victim)
    with pytest.raises(IntegrityError, match="a link stands"):
        prepared.extract()
    assert files_below(victim) == {"precious"}


def test_a_file_or_folder_in_the_way_is_named(prepared: Prepared) -> None:
    (prepared.out / "z.json").mkdir(parents=True)
    with pytest.raises(IntegrityError, match=r"z\.json: a folder stands where a file"):
        prepared.extract()
    (prepared.out / "z.json").rmdir()
    shutil.rmtree(prepared.out)
    prepared.out.mkdir()
    (prepared.out / "a").write_bytes(b"")
    with pytest.raises(IntegrityError, match="a file stands where a folder"):
        prepared.extract()


def test_the_root_itself_may_be_a_link(prepared: Prepared, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    prepared.out.symlink_to(tmp_path / "elsewhere")
    prepared.extract()
    prepared.check()


def test_names_of_five_hundred_folders_are_taken(tmp_path: Path) -> None:
    prepared = Prepared(tmp_path, "tar", {"/".join(["d"] * 500): b"deep"})
    prepared.extract()
    assert prepared.extract() == ()


# --- interruptions ---------------------------------------------------------------------------------------------------

_CHILD = """
import sys
from assetmgr.archives import extract, parse_listing
archive, out, document = sys.argv[1:]
members = parse_listing(open(document, "rb").read(), document)
print("begins", flush=True)
extract(archive, out, members)
"""


def start(prepared: Prepared, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    document = prepared.archive.with_suffix(".listing")
    document.write_bytes(dump_listing(prepared.members))
    paths = [str(path) for path in (prepared.archive, prepared.out, document)]
    extra = os.pathsep.join([str(REPOSITORY), *sys.path[1:]])
    child = subprocess.Popen(
        [*prefix, sys.executable, "-c", _CHILD, *paths],
        env=clean_environment() | {"PYTHONPATH": extra},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return child


def final_files(prepared: Prepared) -> set[str]:
    return {path for path in files_below(prepared.out) if not path.startswith(".extracting-")}


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_kill_at_any_moment_leaves_only_right_files_and_the_next_run_goes_on(kind: str, tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    files = {f"f{n % 7}/{n}": dice.randbytes(dice.choice([0, 10, 3000, 400_000])) for n in range(150)}
    prepared = Prepared(tmp_path, kind, files)
    inodes: dict[str, int] = {}
    for _ in range(6):
        before = len(final_files(prepared)) if prepared.out.exists() else 0
        goal = before + dice.randrange(1, 20)
        child = start(prepared)
        eventually(lambda child=child, goal=goal: child.poll() is not None or len(files_below(prepared.out)) >= goal)  # type: ignore[misc]
        child.kill()
        child.communicate()
        inodes = {path: (prepared.out / path).stat().st_ino for path in final_files(prepared)}
        for path in inodes:
            assert (prepared.out / path).read_bytes() == files[path], path
    written = prepared.extract()
    assert not set(written) & set(inodes)
    assert all((prepared.out / path).stat().st_ino == inode for path, inode in inodes.items())
    prepared.check()


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_ctrl_c_ends_it_within_a_second_and_it_can_go_on(kind: str, tmp_path: Path) -> None:
    dice = random.Random(1)
    block = dice.randbytes(1 << 20)
    prepared = Prepared(tmp_path, kind, {f"{n}": block * 12 + bytes([n]) for n in range(6)})
    child = start(prepared)
    assert eventually(lambda: bool(files_below(prepared.out)) if prepared.out.exists() else False)
    child.send_signal(signal.SIGINT)
    sent = time.monotonic()
    child.wait(timeout=60)
    # Twice the promise: the machine may be loaded.
    assert time.monotonic() - sent < 2
    _, errors = child.communicate()
    assert child.returncode == 0 or "KeyboardInterrupt" in errors
    prepared.extract()
    prepared.check()


def test_an_error_in_the_callers_code_stops_the_workers(tmp_path: Path) -> None:
    prepared = Prepared(tmp_path, "zip", {f"{n}": os.urandom(500_000) for n in range(20)})

    def fail(_: str, stamp: Stamp) -> None:
        raise RuntimeError("enough")

    before = set(threading.enumerate())
    with pytest.raises(RuntimeError, match="enough"):
        prepared.extract(proved=fail, workers=2)
    assert eventually(lambda: set(threading.enumerate()) <= before)
    prepared.extract()
    prepared.check()


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_full_disk_is_named_as_that_and_what_is_in_place_stays(kind: str, tmp_path: Path) -> None:
    prepared = Prepared(tmp_path, kind, {f"{n}": os.urandom(300_000) for n in range(10)})
    prepared.out.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(prepared.out)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small file system")
    try:
        with pytest.raises(DiskSpaceError, match="more bytes are to be extracted"):
            prepared.extract()
        placed = final_files(prepared)
        assert placed
        for path in placed:
            assert (prepared.out / path).read_bytes() == prepared.files[path]
        subprocess.run(["mount", "-o", "remount,size=8m", str(prepared.out)], check=True)
        assert set(prepared.extract()) == set(prepared.files) - placed
        prepared.check()
    finally:
        gc.collect()  # the error's traceback holds a folder there
        assert eventually(lambda: not subprocess.run(["umount", str(prepared.out)], check=False).returncode)


# --- one member ------------------------------------------------------------------------------------------------------


class Counting(io.BytesIO):
    """A file that counts what is read of it, as a reader of HTTP ranges would be charged."""

    count = requests = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.count += len(data)
        self.requests += 1
        return data


@pytest.mark.parametrize("kind", KINDS)
def test_one_member_is_mended(kind: str, tmp_path: Path) -> None:
    prepared = Prepared(tmp_path, kind)
    prepared.extract()
    flip_byte(prepared.out / "a/b/y.jpg")
    (wanted,) = (member for member in prepared.members if member.path == "a/b/y.jpg")
    stamp = extract_member(prepared.archive, prepared.out, wanted)
    assert stamp.fits(os.stat(prepared.out / "a/b/y.jpg"))
    prepared.check()


def test_one_member_of_a_zip_costs_its_own_bytes_and_the_directory(tmp_path: Path) -> None:
    files = {f"{n}.jpg": os.urandom(20_000) for n in range(200)}
    file = Counting(zip_of(files))
    members = {member.path: member for member in listing(io.BytesIO(file.getvalue()))}
    extract_member(file, tmp_path / "out", members["77.jpg"])
    assert (tmp_path / "out/77.jpg").read_bytes() == files["77.jpg"]
    assert file.count < 120_000 < len(file.getvalue()) / 30
    assert file.requests <= 6


def test_one_member_of_a_plain_tar_is_reached_by_skipping(tmp_path: Path) -> None:
    files = {f"{n}.jpg": os.urandom(100_000) for n in range(50)}
    file = Counting(tar_of(files))
    wanted = next(member for member in listing(io.BytesIO(file.getvalue())) if member.path == "30.jpg")
    extract_member(file, tmp_path / "out", wanted)
    assert file.count < 400_000


def test_the_directory_of_a_zip_says_where_each_member_lies() -> None:
    data = zip_of({"b": b"1" * 1000, "a": b"2" * 1000}, ["folder"])
    entries = zip_directory(io.BytesIO(data))
    assert [entry.path for entry in entries] == ["b", "a"]
    for entry, after in zip(entries, [entries[1].offset, data.index(b"PK\1\2")], strict=True):
        assert data[entry.offset : entry.offset + 4] == b"PK\3\4"
        assert entry.end == after
        assert (entry.size, entry.method) == (1000, 8)


def test_a_file_that_gives_short_reads_is_read_whole(tmp_path: Path) -> None:
    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size, 7) if size and size > 0 else size)

    members = listing(Trickle(zip_of({"x": b"y" * 1000})))
    assert members[0].size == 1000


# --- many ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_ten_thousand_members(kind: str, tmp_path: Path) -> None:
    prepared = Prepared(tmp_path, kind, {f"{n % 100}/{n}.txt": b"%d" % n for n in range(10_000)})
    done = extract(prepared.archive, prepared.out, prepared.members)
    assert len(done.written) == 10_000
    again = extract(prepared.archive, prepared.out, prepared.members, stamps=done.stamps)
    assert again.written == ()
    assert again.stamps == done.stamps


def test_no_descriptor_is_left_open(prepared: Prepared) -> None:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("no /proc here")
    wrong = [*prepared.members, ListedMember("not/there", 1, "0" * 64)]

    def count(work: Callable[[], object]) -> int:
        before = set(os.listdir(folder))
        work()
        return len(set(os.listdir(folder)) - before)

    def fail() -> None:
        with pytest.raises(IntegrityError):
            extract(prepared.archive, prepared.out, wrong)

    assert count(prepared.extract) == 0
    fail()
    assert eventually(lambda: count(fail) == 0)
