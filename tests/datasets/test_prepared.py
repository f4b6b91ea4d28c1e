"""Prepared tables are made once, whole, of exactly the locked bytes, and made again when anything of that changes."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from assetmgr.datasets import Dataset, load, readers
from assetmgr.errors import AssetError, DiskSpaceError, IntegrityError
from assetmgr.verify import Installed
from tests.datasets.conftest import Make
from tests.support import flip_byte, truncate, without_root_powers

ROWS = [{"caption": f"caption {number}", "image": "a.png", "image_id": number} for number in range(100)]


def opened(found: Installed) -> Dataset:
    dataset = load(found, split="train")
    assert isinstance(dataset, Dataset)
    return dataset


def prepared(found: Installed) -> Path:
    (path,) = Path(found.store.root, "prepared").rglob("*.arrow")
    return path


def annotation(found: Installed) -> Path:
    return Path(found.folder, "train.json")


def test_a_second_open_reads_no_annotation(made: Make) -> None:
    found = made(ROWS)
    assert len(opened(found)) == 100
    annotation(found).unlink()
    assert opened(found)[7]["text_input"] == "caption 7"


def test_a_new_version_of_the_reader_makes_it_anew(made: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    found = made(ROWS)
    opened(found)
    annotation(found).unlink()
    newer = readers.Reader("caption", readers.READERS["caption"].version + 1, readers.READERS["caption"].read)
    monkeypatch.setitem(readers.READERS, "caption", newer)
    with pytest.raises(IntegrityError, match="cannot be read"):
        opened(found)


@pytest.mark.parametrize(
    "damage",
    [lambda path: flip_byte(path, 200), lambda path: truncate(path, 100), os.unlink],
    ids=["altered", "half written", "gone"],
)
@pytest.mark.parametrize("of", ["", ".json"], ids=["table", "record"])
def test_a_damaged_table_is_made_anew_and_never_served(made: Make, damage: Any, of: str) -> None:
    found = made(ROWS)
    want = list(opened(found).select_columns("text_input", "image_id"))
    damage(Path(f"{prepared(found)}{of}"))
    assert list(opened(found).select_columns("text_input", "image_id")) == want


def test_a_copied_table_is_proved_by_its_bytes(made: Make) -> None:
    found = made(ROWS)
    opened(found)
    path = prepared(found)
    inode = path.stat().st_ino
    os.utime(path, (1, 1))
    annotation(found).unlink()  # it could not be made anew
    assert len(opened(found)) == 100
    assert path.stat().st_ino == inode


def test_annotations_that_are_not_the_locks_are_refused_and_leave_nothing(made: Make) -> None:
    found = made(ROWS)
    flip_byte(annotation(found), 20)
    with pytest.raises(IntegrityError, match=r"train\.json: altered: expected sha256"):
        opened(found)
    assert not list(Path(found.store.root, "prepared").rglob("*.arrow*"))


def test_many_processes_make_one_table(made: Make) -> None:
    found = made(ROWS * 1000)
    script = """
import pickle, sys
from assetmgr.datasets import load
dataset = load(pickle.load(sys.stdin.buffer), split="train")
print(len(dataset), dataset[99_999]["text_input"])
"""
    children = [
        subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    told = [child.communicate(pickle.dumps(found))[0] for child in children]
    assert told == [b"100000 caption 99\n"] * 4
    assert len([path for path in prepared(found).parent.iterdir() if path.is_file()]) == 2


def test_a_full_disk_is_named_and_leaves_nothing(made: Make) -> None:
    found = made(ROWS)
    folder = Path(found.store.root, "prepared")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small file system here")
    try:
        with pytest.raises(DiskSpaceError, match=r"made, split train: .*prepared"):
            opened(found)
        assert not [path for path in folder.rglob("*") if path.is_file()]
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    assert len(opened(found)) == 100


def test_who_may_not_write_in_the_store_keeps_tables_in_a_cache_of_their_own(made: Make, tmp_path: Path) -> None:
    found = made(ROWS)
    root = Path(found.store.root)
    for folder in (root, root / ".assetmgr"):
        folder.chmod(0o555)
    script = """
import pickle, sys
from assetmgr.datasets import load
print(load(pickle.load(sys.stdin.buffer), split="train").table.path)
"""
    own = tmp_path / "own"
    environment = {**os.environ, "XDG_CACHE_HOME": str(own)}
    command = [*without_root_powers(), sys.executable, "-c", script]
    try:
        done = subprocess.run(command, input=pickle.dumps(found), capture_output=True, env=environment, check=False)
    finally:
        for folder in (root, root / ".assetmgr"):
            folder.chmod(0o755)
    assert done.returncode == 0, done.stderr.decode()
    assert Path(done.stdout.decode().strip()).is_relative_to(own)


def test_where_nothing_can_be_written_that_is_said(made: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = made(ROWS)
    root = Path(found.store.root)
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    script = """
import pickle, sys
from assetmgr import errors
from assetmgr.datasets import load
try:
    load(pickle.load(sys.stdin.buffer), split="train")
except errors.AssetError as error:
    print(error.message, error.mend)
"""
    for folder in (root, root / ".assetmgr"):
        folder.chmod(0o555)
    command = [*without_root_powers(), sys.executable, "-c", script]
    try:
        done = subprocess.run(command, input=pickle.dumps(found), capture_output=True, check=False)
    finally:
        for folder in (root, root / ".assetmgr"):
            folder.chmod(0o755)
    assert b"can be written" in done.stdout, done.stderr.decode()
    assert b"XDG_CACHE_HOME" in done.stdout


@pytest.mark.parametrize("which", ["", ".json"])
def test_a_folder_where_a_table_goes_is_named(made: Make, which: str) -> None:
    found = made(ROWS)
    path = opened(found).table.path
    assert path is not None
    Path(path + which).unlink()
    Path(path + which).mkdir()
    with pytest.raises(AssetError, match=f"a folder stands .*{Path(path).name}"):
        opened(found)
    Path(path + which).rmdir()
    assert len(opened(found)) == 100


def test_numbers_and_texts_in_one_column_keep_their_types(made: Make) -> None:
    rows: list[Any] = [["q", "a", number] for number in range(70_000)] + [["q", "a", "0007"]]
    dataset = load(made(json.dumps(rows).encode(), samples="vqa"), split="train")
    assert isinstance(dataset, Dataset)
    ids = dataset.select_columns("image_id")
    assert (ids[69_999], ids[-1]) == ({"image_id": 69_999}, {"image_id": "0007"})
