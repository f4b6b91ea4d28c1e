"""When a cache's file may be shared, and what becomes of one that may not."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from pathlib import Path

import pytest

from assetmgr.adopting import may_link, settle, take
from assetmgr.caches.known import Cache
from assetmgr.caches.looking import LocalCaches
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.origins import Context
from assetmgr.placing import clone
from assetmgr.store import Store

REGULAR, FOLDER = stat.S_IFREG, stat.S_IFDIR


def status(mode: int, device: int = 1, user: int = 100, group: int = 100) -> os.stat_result:
    return os.stat_result((mode, 7, device, 1, user, group, 4, 0, 0, 0))


@pytest.mark.parametrize(
    ("found", "folder", "may"),
    [
        (status(REGULAR | 0o644), status(FOLDER | 0o755), True),
        (status(REGULAR | 0o444), status(FOLDER | 0o755), True),
        (status(REGULAR | 0o600), status(FOLDER | 0o700), True),
        (status(REGULAR | 0o644, device=2), status(FOLDER | 0o755), False),
        (status(REGULAR | 0o644, user=0), status(FOLDER | 0o755), False),  # not ours
        (status(REGULAR | 0o600), status(FOLDER | 0o755), False),  # less readable than the store's
        (status(REGULAR | 0o200), status(FOLDER | 0o700), False),
        (status(REGULAR | 0o664), status(FOLDER | 0o775), True),  # who may write it may replace it
        (status(REGULAR | 0o664), status(FOLDER | 0o755), False),
        (status(REGULAR | 0o664, group=7), status(FOLDER | 0o775), False),
        (status(REGULAR | 0o666), status(FOLDER | 0o775), False),
        (status(REGULAR | 0o644, group=7), status(FOLDER | 0o2775), True),
        (status(REGULAR | 0o640), status(FOLDER | 0o2770), True),
        (status(REGULAR | 0o640, group=7), status(FOLDER | 0o2770), False),  # another group's to read
    ],
)
def test_a_hard_link_is_of_ones_own_file_with_rights_that_fit(
    found: os.stat_result, folder: os.stat_result, may: bool
) -> None:
    assert may_link(found, folder, 100) is may


CONTENT = b"content" * 1000
ENTRY = LockedAsset("model", "files", "d", (), "name")
FILE = LockedFile("w.bin", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), place="torch")


def context(store: Path, cache: Path, content: bytes = CONTENT) -> Context:
    (cache / "hub/checkpoints").mkdir(parents=True, exist_ok=True)
    (cache / "hub/checkpoints/w.bin").write_bytes(content)
    opened = Store(store)
    return Context(opened, caches=LocalCaches([Cache(str(cache), "torch")], opened))


def taken(context: Context) -> tuple[Path, bool] | None:
    final = context.store.at("torch/hub/checkpoints/w.bin")
    done = take(context, ENTRY, FILE, final, lambda count: None)
    if done is None:
        return None
    stamp = settle(done, FILE, final)
    assert stamp is not None
    assert stamp.fits(os.stat(final))
    return Path(final), done.is_shared


def test_where_blocks_can_be_shared_the_store_has_a_file_of_its_own(cloning: Path) -> None:
    found = taken(context(cloning / "store", cloning / "cache"))
    assert found is not None
    final, is_shared = found
    theirs = cloning / "cache/hub/checkpoints/w.bin"
    assert is_shared
    assert not os.path.samefile(final, theirs)
    assert stat.S_IMODE(final.stat().st_mode) == 0o444
    theirs.write_bytes(b"other")
    assert final.read_bytes() == CONTENT


def test_a_clone_of_wrong_bytes_is_removed(cloning: Path) -> None:
    assert taken(context(cloning / "store", cloning / "cache", CONTENT[::-1])) is None
    assert os.listdir(cloning / "store/.assetmgr/partial") == []


def test_where_no_clone_can_be_none_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    if not clone(str(tmp_path / "a"), str(tmp_path / "b")):
        assert os.listdir(tmp_path) == ["a"]
    assert not clone(str(tmp_path / "none"), str(tmp_path / "c"))
    assert not os.path.exists(tmp_path / "c")


def test_what_another_process_left_of_a_copy_is_swept_away(tmp_path: Path) -> None:
    from assetmgr.origins.fetching import ADOPTED, own_name, recover

    one = context(tmp_path / "store", tmp_path / "cache")
    ended = subprocess.Popen(["true"])
    ended.wait()
    partial = Path(one.store.partial())
    partial.mkdir(parents=True)
    host, _, rest = own_name().split(".")
    (partial / f"{ADOPTED}.{host}.{ended.pid}.{rest}").write_bytes(b"x" * (9 << 20))
    mine = partial / f"{ADOPTED}.{own_name()}"
    mine.write_bytes(b"x")
    recover(one)
    assert os.listdir(partial) == [mine.name]


def test_wrong_bytes_leave_nothing_and_are_looked_at_once(tmp_path: Path) -> None:
    one = context(tmp_path / "store", tmp_path / "cache", CONTENT[::-1])
    assert taken(one) is None
    assert one.caches.candidates(ENTRY, FILE) == []
    assert not os.path.exists(one.store.at("torch/hub/checkpoints/w.bin"))
