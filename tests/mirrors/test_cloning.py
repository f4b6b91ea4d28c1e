"""A folder mirror on the store's own file system, where files can share their blocks: proved, and independent of it."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from assetmgr import Workspace
from assetmgr.errors import DiskSpaceError
from assetmgr.mirrors.folder_target import FolderTarget
from assetmgr.mirrors.pushing import HeldFile
from assetmgr.reporting import Silent
from assetmgr.store import Store
from tests.mirrors.support import QUICK, blob, bring, locked, sha256, stock
from tests.support import flip_byte
from tests.transfer.support import body

LARGE, SMALL = body(3 << 20, 5), b"small"
CONTENTS = {"large": LARGE, "small": SMALL}
NOWHERE = "http://127.0.0.1:9"


def is_shared(path: str | os.PathLike[str]) -> bool:
    """Whether other files have blocks of this one."""
    filefrag = shutil.which("filefrag")
    if filefrag is None:
        pytest.skip("no filefrag to tell shared blocks by")
    return "shared" in subprocess.run([filefrag, "-v", path], check=True, capture_output=True, text=True).stdout


def test_what_is_pulled_shares_blocks_and_is_a_file_of_its_own(cloning: Path) -> None:
    stock(cloning / "mirror", *CONTENTS.values())
    brought = bring(cloning / "root", locked(CONTENTS, NOWHERE), [str(cloning / "mirror")])
    assert brought.contents == CONTENTS
    path = brought.arrivals["large"].path
    assert path is not None
    assert is_shared(path)
    assert brought.arrivals["large"].proof is not None
    theirs = cloning / "mirror" / blob(LARGE)
    assert os.stat(path).st_nlink == theirs.stat().st_nlink == 1
    flip_byte(theirs)
    with theirs.open("r+b") as file:
        file.write(b"written into later")
    assert Path(path).read_bytes() == LARGE
    assert brought.traffic.mirrors[0].bytes == len(LARGE) + len(SMALL)


def test_wrong_bytes_are_passed_over_though_they_could_be_shared(cloning: Path) -> None:
    stock(cloning / "good", *CONTENTS.values())
    stock(cloning / "bad", *CONTENTS.values())
    flip_byte(cloning / "bad" / blob(LARGE), 2 << 20)
    mirrors = [str(cloning / "bad"), str(cloning / "good")]
    brought = bring(cloning / "root", locked(CONTENTS, NOWHERE), mirrors)
    assert brought.contents == CONTENTS
    assert [report.state for report in brought.traffic.mirrors] == ["damaged", "used"]


def test_what_a_killed_run_had_cloned_is_hashed_before_it_counts(cloning: Path) -> None:
    stock(cloning / "mirror", LARGE)
    entry = locked({"large": LARGE}, NOWHERE)
    for left in (LARGE, LARGE[:-1] + b"x", LARGE[:100]):
        partial = Path(Store(cloning / "root").partial(sha256(LARGE)))
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(left)
        assert bring(cloning / "root", entry, [str(cloning / "mirror")]).contents == {"large": LARGE}


def test_a_push_to_the_same_file_system_shares_blocks_and_never_the_file(cloning: Path) -> None:
    (cloning / "file").write_bytes(LARGE)
    (cloning / "rotten").write_bytes(LARGE[::-1])
    target = FolderTarget(str(cloning / "mirror"), Store(cloning / "root"), QUICK, Silent())
    held = HeldFile("m", "file", str(cloning / "file"), sha256(LARGE), len(LARGE))
    report = target.put([held, replace(held, path=str(cloning / "rotten"), sha256="0" * 64)])
    assert (report.files, len(report.errors)) == (1, 1)
    pushed = cloning / "mirror" / blob(LARGE)
    assert pushed.read_bytes() == LARGE
    assert is_shared(pushed)
    assert pushed.stat().st_nlink == 1
    assert stat.S_IMODE(pushed.stat().st_mode) & 0o222 == 0


def test_where_nothing_can_be_shared_the_bytes_are_copied(tmp_path: Path) -> None:
    stock(tmp_path / "mirror", *CONTENTS.values())
    brought = bring(tmp_path / "root", locked(CONTENTS, NOWHERE), [str(tmp_path / "mirror")])
    assert brought.contents == CONTENTS
    assert not any(
        os.path.samefile(arrival.path or "", tmp_path / "mirror" / blob(CONTENTS[name]))
        for name, arrival in brought.arrivals.items()
    )


def test_what_shares_blocks_needs_no_room(cloning: Path) -> None:
    size = 600 << 20
    digest = hashlib.sha256()
    for _ in range(size >> 20):
        digest.update(bytes(1 << 20))
    path = cloning / "mirror" / "blobs" / "sha256" / digest.hexdigest()
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(size)  # of holes alone, it is larger than the file system
    (cloning / "assets.yaml").write_text(
        f"version: 1\nmodels:\n  m: {{files: [{{url: ./none, size: {size}, sha256: {digest.hexdigest()}}}]}}\n"
    )
    here = Workspace(cloning / "assets.yaml", cloning / "store", mirrors=[cloning / "mirror"], local_caches=False)
    here.lock()
    assert here.pull()[0].fetched_bytes == size
    assert here.verify().findings == ()
    assert os.listdir(cloning / "store/.assetmgr/partial") == []
    path.rename(cloning / "away")
    alone = Workspace(cloning / "assets.yaml", cloning / "empty", mirrors=[cloning / "mirror"], local_caches=False)
    with pytest.raises(DiskSpaceError):
        alone.pull()
