"""A whole store is moved, or stays where it was: whatever interrupts it, no half of one says that it is whole."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from assetmgr import Workspace
from assetmgr.housekeeping.copying import remove_old
from assetmgr.housekeeping.moving import Situation, Step, decide
from assetmgr.uses import use
from tests.housekeeping.conftest import BODY, Run, below
from tests.hub import Fault, Hub
from tests.server.support import serving
from tests.support import Project, flip_byte, without_root_powers

_USUAL = Situation(
    old_is_store=True,
    old_is_link=False,
    is_inside=False,
    is_same=False,
    new="nothing",
    marked="",
    on_one_disk=True,
)


@pytest.mark.parametrize(
    ("found", "step"),
    [
        ({}, Step.RENAME),
        ({"new": "empty"}, Step.RENAME),
        ({"on_one_disk": False}, Step.COPY),
        ({"new": "folder", "marked": "begun"}, Step.COPY),
        ({"new": "folder", "marked": "copied"}, Step.FINISH),
        ({"new": "folder", "marked": "renamed", "old_is_store": False}, Step.FINISH),
        ({"new": "folder"}, "something else stands there"),
        ({"new": "file"}, "something else stands there"),
        ({"new": "folder", "marked": "another"}, "something else stands there"),
        ({"is_inside": True}, "a store cannot be moved into itself"),
        ({"is_same": True, "new": "folder"}, "that is where it is"),
        ({"old_is_store": False}, "there is no store to move"),
        ({"old_is_link": True}, "the root is a link to another folder: name that folder with --root"),
    ],
)
def test_what_to_do_is_decided_of_what_is_found(found: dict[str, object], step: object) -> None:
    assert decide(replace(_USUAL, **found)) == step  # type: ignore[arg-type]


@pytest.fixture(params=["rename", "copy"])
def new(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder to move to, on the same file system or on another one."""
    if request.param == "rename":
        yield tmp_path / "elsewhere" / "new"
        return
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("no second file system")
    folder = tempfile.mkdtemp(dir="/dev/shm")
    yield Path(folder) / "new"
    shutil.rmtree(folder)


@pytest.fixture
def stocked(project: Project, run: Run, tmp_path: Path) -> Project:
    """A store with a hub asset that is shown in two folders, a plain one that shares its bytes, and another's file."""
    lines = [f"{name}: {{hub: org/name, local_dir: {tmp_path / name}, local_dir_links: {name}}}" for name in STYLES]
    project.write("version: 1\nmodels:\n" + "".join(f"  {line}\n" for line in lines) + FILES)
    run("lock")
    run("pull")
    (project.root / "notes.txt").write_text("mine")
    (project.root / "lavis").mkdir()
    (project.root / "lavis" / "link").symlink_to(project.root / "files")
    run("pin", "f")
    return project


STYLES = ("symlink", "hardlink", "copy")
FILES = "  f: {files: [{url: '{endpoint}/f/w.bin'}]}\n  g: {files: [{url: '{endpoint}/f/w.bin', path: twin.bin}]}\n"


def check_moved(project: Project, run: Run, new: Path, before: set[str], shown: set[str]) -> None:
    """The store is whole at its new root, and nothing is left of it at the old one."""
    assert not project.root.exists()
    assert below(new) == before
    root = ("--root", str(new))
    folder = project.folder.parent
    for name in STYLES:
        for path in (folder / name).rglob("*"):
            assert path.read_bytes()
            assert not path.is_symlink() or str(path.readlink()).startswith(f"{new}/")
    assert {path for name in STYLES for path in below(folder / name)} == shown
    assert (new / "lavis" / "link").readlink() == new / "files"
    assert {row["state"] for row in run(*root, "status").json} == {"installed"}, "no file is to be hashed again"
    run(*root, "verify", "--full")
    assert run(*root, "pin").json == ["f"]
    done = run(*root, "pull").json
    assert sum(asset["fetched_files"] for asset in done["assets"]) == 0
    assert run(*root, "gc").json["files"] == 0
    assert (new / "files/f/w.bin").samefile(new / "files/g/twin.bin")
    for name in STYLES:
        run(*root, "rm", name)
        assert below(folder / name) == set()


def test_everything_is_there_and_links_lead_there(stocked: Project, run: Run, new: Path) -> None:
    before = below(stocked.root)
    shown = {path for name in STYLES for path in below(stocked.folder.parent / name)}
    way = "rename" if "/dev/shm" not in str(new) else "copy"
    foretold = run("root", "move", "--dry-run", str(new)).json
    assert below(stocked.root) == before
    assert not new.exists()
    done = run("root", "move", str(new)).json
    assert done["moved"] == foretold["moved"]
    assert (done["moved"]["way"], done["moved"]["links"]) == (way, 4)
    assert f"export ASSETMGR_ROOT={new}" in done["setting"]
    check_moved(stocked, run, new, before, shown)


@pytest.mark.skipif(os.name == "nt", reason="no kill -9")
def test_after_a_kill_at_any_moment_the_same_command_goes_on(stocked: Project, run: Run, new: Path) -> None:
    before = below(stocked.root)
    shown = {path for name in STYLES for path in below(stocked.folder.parent / name)}
    code = (
        "import os, sys, signal\nfrom assetmgr.cli import main\nleft = [int(sys.argv[2])]\n"
        "def counted(real):\n"
        "    def call(*words, **also):\n"
        "        if any(isinstance(word, (str, os.PathLike)) and '/mutex/' not in os.fspath(word) for word in words):\n"
        "            left[0] -= 1\n"
        "            if not left[0]: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return real(*words, **also)\n"
        "    return call\n"
        "for name in ('replace', 'rename', 'unlink', 'link', 'symlink'):\n"
        "    setattr(os, name, counted(getattr(os, name)))\n"
        "sys.exit(main(['-q', 'root', 'move', sys.argv[1]]))\n"
    )
    for count in (1, 2, 3, 5, 9, 14, 20, 30, 50, 80):
        done = subprocess.run(
            [sys.executable, "-c", code, str(new), str(count)],
            cwd=stocked.folder,
            env=stocked.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        # Whichever of the two has receipts is whole.
        whole = [root for root in (stocked.root, new) if list(root.glob(".assetmgr/receipts/*.json"))]
        for root in whole[-1:]:
            run("--root", str(root), "verify", "--full", code=None)
            states = {row["state"] for row in run("--root", str(root), "status").json}
            assert states <= {"installed", "unproved"} or len(whole) == 2, (count, root, states)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    else:
        run("root", "move", str(new))
    check_moved(stocked, run, new, before, shown)


def test_what_is_in_use_or_in_the_way_moves_nothing(hub: Hub, stocked: Project, run: Run, new: Path) -> None:
    before = below(stocked.root)
    (receipt,) = Workspace().store.receipts_of("f")
    using = use(Workspace().store, [receipt])
    for words in (["--dry-run"], []):
        assert "in use by process" in run("root", "move", *words, str(new), code=8).err
    using.close()
    with serving(Workspace()):
        assert "in use by process" in run("root", "move", str(new), code=8).err
    hub.repos["model", "org/name"].commit({"new.bin": BODY * 900})
    run("lock", *(word for name in STYLES for word in ("--upgrade", name)))
    hub.faults.add(Fault(match="new.bin", method="GET", stall_after=len(BODY)))
    pull = stocked.start("pull", "copy")
    assert hub.faults.wait_stalled()
    for words in (["--dry-run"], []):
        assert f"process {pull.pid}" in run("root", "move", *words, str(new), code=8).err
    pull.kill()
    pull.communicate()
    hub.faults.release()
    (new / "sub").mkdir(parents=True)
    assert "something else stands there" in run("root", "move", str(new), code=2).err
    for inside in (stocked.root / "inside", stocked.root):
        run("root", "move", str(inside), code=2)
    stocked.prefix = without_root_powers()
    mode = stocked.root.stat().st_mode
    closed = [stocked.root, *(path for path in stocked.root.rglob("*") if path.is_dir() and not path.is_symlink())]
    for folder in closed:
        folder.chmod(0o555)
    shutil.rmtree(new)
    assert "ermission denied" in stocked.run("root", "move", str(new), code=7).err
    for folder in closed:
        folder.chmod(mode & 0o777)
    assert below(stocked.root) >= before
    assert not new.exists()


def test_a_copy_that_is_not_the_bytes_or_does_not_fit_moves_nothing(stocked: Project, run: Run, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=False).returncode:
        pytest.skip("no right to mount a disk that can be filled")
    try:
        before = below(stocked.root)
        large = stocked.root / "files" / "large.bin"
        large.write_bytes(os.urandom(2_000_000))
        for words in (["--dry-run"], []):
            assert "bytes are needed" in run("root", "move", *words, str(small), code=6).err
        large.unlink()
        assert below(stocked.root) == before
        config = next(stocked.root.glob("hub/*/snapshots/*/config.json"))
        flip_byte(config, keep_time=True)  # on the old disk, which nobody had noticed
        run("root", "move", str(small))
        assert below(small) == before
        assert "config.json" in str(run("--root", str(small), "verify", code=3).json["findings"])
        run("--root", str(small), "verify", "--repair")
    finally:
        subprocess.run(["umount", small], check=True)


def test_what_was_written_since_it_was_copied_stays_however_soon_that_was(tmp_path: Path) -> None:
    for folder, name, bytes_, time in [
        ("old", "mine", b"new", 2),
        ("new", "mine", b"old", 1),
        ("old", "coarse", b"one", 2),
        ("new", "coarse", b"one", 1),
    ]:
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes_)
        os.utime(path, (time, time))
    old = tmp_path / "old"
    assert remove_old(str(old), str(tmp_path / "new")) == (str(old / "mine"),)
    assert below(old) == {"mine"}
