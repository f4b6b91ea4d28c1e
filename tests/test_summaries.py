"""A look at a large store is quick and honest: it never says that what is gone, replaced or changed in size is there.

Here a store is large from a few files on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from assetmgr import summaries
from assetmgr.inventory_rows import AssetStatus
from assetmgr.receipt import Stamp
from assetmgr.workspace import Workspace
from tests.benchmarks.verify_quick import archive_store, files_store, hub_store
from tests.support import Project, truncate

COUNT = 60


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "LONG", 1000)
    monkeypatch.setattr(summaries, "SETTLED", -1e9)


def look(project: Project, *, check: bool = False) -> AssetStatus:
    (row,) = Workspace(project.folder / "assets.yaml", project.root).status(check=check)
    return row


def state(project: Project) -> str:
    return look(project).state


@pytest.fixture(params=[files_store, hub_store, archive_store])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Project, Path]:
    """A project, and the first of its files by name, which is none of the largest."""
    build: Callable[[Path, int], tuple[Project, str]] = request.param
    project, folder = build(tmp_path / "project", COUNT)
    return project, Path(folder) / "train/000/000000.txt"


def test_a_second_look_is_at_the_largest_files_and_all_folders_and_says_so(store: tuple[Project, Path]) -> None:
    project, _ = store
    first = look(project)
    assert (first.state, first.files, first.not_looked_at) == ("installed", COUNT, 0)
    second = look(project)
    assert (second.state, second.looked_at) == ("installed", first.looked_at)
    assert second.not_looked_at == COUNT - summaries.LARGEST
    assert (second.files, second.bytes, second.proved_at) == (first.files, first.bytes, first.proved_at)
    assert look(project, check=True).not_looked_at == 0


def test_what_is_gone_or_replaced_is_never_called_installed(store: tuple[Project, Path]) -> None:
    project, small = store
    look(project)
    assert look(project).not_looked_at > 0, "the quick way is taken"
    content = small.read_bytes()
    real = Path(os.path.realpath(small))
    other = real.with_name("other")
    other.write_bytes(content + b"more")
    os.replace(other, real)
    assert state(project) == "unproved"
    real.unlink()
    assert state(project) == "incomplete"
    small.parent.rename(small.parent.with_name("away"))
    assert state(project) == "incomplete"
    assert look(project).not_looked_at == 0, "what is not right is looked at anew, each time"


def test_a_name_that_is_gone_from_a_snapshot_is_seen(tmp_path: Path) -> None:
    project, folder = hub_store(tmp_path, COUNT)
    look(project)
    assert look(project).not_looked_at > 0
    (Path(folder) / "train/000/000000.txt").unlink()
    assert state(project) == "incomplete"


def test_the_largest_files_are_looked_at_themselves(tmp_path: Path) -> None:
    project, folder = files_store(tmp_path, COUNT)
    look(project)
    largest = max(Path(folder).rglob("*.txt"), key=lambda path: path.stat().st_size)
    truncate(largest, 1)
    assert state(project) == "unproved"


def test_a_change_within_a_small_file_is_seen_by_check_and_the_quick_look_does_not_vouch_for_it(
    store: tuple[Project, Path],
) -> None:
    project, small = store
    first = look(project)
    truncate(small, 1)
    row = look(project)
    assert (row.state, row.not_looked_at, row.looked_at) == ("installed", COUNT - summaries.LARGEST, first.looked_at)
    assert look(project, check=True).state == "unproved"


def test_summaries_that_are_damaged_old_or_cannot_be_kept_change_no_answer(store: tuple[Project, Path]) -> None:
    project, _ = store
    folder = project.root / ".assetmgr/summaries"
    before = look(project)
    kept = list(folder.iterdir())
    assert {path.name[:4] for path in kept} >= {"rece"}, "those of the lock only where it is long"
    for text in (b"", b"{", b'{"receipts":{"x":1}}', b'{"format":99,"receipts":{},"assets":{}}', os.urandom(100)):
        for path in kept:
            path.write_bytes(text)
        row = look(project)
        assert (row.state, row.files, row.bytes, row.not_looked_at) == ("installed", before.files, before.bytes, 0)
        assert look(project).not_looked_at > 0, "made anew"
    for path in kept:
        path.unlink()
    folder.rmdir()
    folder.write_text("in the way")
    assert look(project) == look(project)
    assert look(project).state == "installed"


def test_nothing_is_kept_of_what_changed_a_moment_ago(
    store: tuple[Project, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, _ = store
    monkeypatch.setattr(summaries, "SETTLED", 3600.0)
    look(project)
    assert look(project).not_looked_at == 0
    assert not (project.root / ".assetmgr/summaries").exists()


def test_an_edited_lock_and_a_new_receipt_count_at_once(tmp_path: Path) -> None:
    project, _ = files_store(tmp_path, COUNT)
    look(project)
    workspace = Workspace(project.folder / "assets.yaml", project.root)
    (receipt,) = workspace.store.receipts()
    assert receipt.stamps[0] is not None
    old = [Stamp(stamp.size, stamp.mtime_ns, stamp.inode, 7) for stamp in receipt.stamps if stamp]
    workspace.store.save_receipt(type(receipt)(receipt.entry, tuple(old), 9, wanted_by=receipt.wanted_by))
    assert look(project).proved_at == 7
    document = json.loads(project.lock_file.read_bytes())
    del document["assets"]["asset"]["files"][0]
    project.lock_file.write_text(json.dumps(document))
    row = look(project)
    assert (row.state, row.files) == ("not installed", COUNT - 1)
