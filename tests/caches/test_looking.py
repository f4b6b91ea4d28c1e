"""Caches as they are on disk: which of them are asked, and what counts as a candidate."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from assetmgr.caches.known import Cache
from assetmgr.caches.looking import LocalCaches
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.store import Store

FILES = LockedAsset("model", "files", "d", (), "name")
FILE = LockedFile("w.bin", 4, "b" * 64, place="torch")


def cache(folder: Path, content: bytes = b"wwww") -> Cache:
    (folder / "hub" / "checkpoints").mkdir(parents=True)
    (folder / "hub" / "checkpoints" / "w.bin").write_bytes(content)
    return Cache(str(folder), "torch")


def test_a_candidate_has_the_size_and_one_file_under_two_names_is_one(tmp_path: Path) -> None:
    first, second, third = (cache(tmp_path / name) for name in "abc")
    other = cache(tmp_path / "d", b"www")
    (tmp_path / "c/hub/checkpoints/w.bin").unlink()
    os.link(tmp_path / "a/hub/checkpoints/w.bin", tmp_path / "c/hub/checkpoints/w.bin")
    (tmp_path / "e").symlink_to(tmp_path / "a")
    caches = LocalCaches([first, second, third, other, Cache(str(tmp_path / "e"), "torch"), Cache("/none", "torch")])
    assert [one.cache for one in caches.candidates(FILES, FILE)] == [first.folder, second.folder]
    unknown = LockedFile("w.bin", -1, "b" * 64, place="torch")
    assert [one.cache for one in caches.candidates(FILES, unknown)] == [first.folder, second.folder, other.folder]


def test_what_a_link_leads_out_to_is_not_inside(tmp_path: Path) -> None:
    one = cache(tmp_path / "a")
    (tmp_path / "w.bin").write_bytes(b"wwww")
    inside = tmp_path / "a/hub/checkpoints/w.bin"
    (found,) = LocalCaches([one]).candidates(FILES, FILE)
    assert found.is_inside
    inside.unlink()
    inside.symlink_to(tmp_path / "w.bin")
    (found,) = LocalCaches([one]).candidates(FILES, FILE)
    assert not found.is_inside


def test_a_part_of_the_store_is_no_cache_whatever_leads_there(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    own = cache(tmp_path / "store" / "torch")
    elsewhere = cache(tmp_path / "elsewhere")
    (tmp_path / "store" / "clip").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(tmp_path / "store" / "torch")
    caches = LocalCaches([own, elsewhere, Cache(str(tmp_path / "link"), "torch")], store)
    assert caches.candidates(FILES, FILE) == []


def test_one_that_does_not_answer_is_said_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    gone, there = Cache(str(tmp_path / "gone"), "torch"), cache(tmp_path / "there")
    never = threading.Event()
    words: list[str] = []

    def look(folder: str) -> os.stat_result:
        if folder == gone.folder:
            never.wait(60)
        return os.stat(folder)

    caches = LocalCaches([gone, there], say=words.append, look=look, patience=0.05)
    try:
        assert [one.cache for one in caches.candidates(FILES, FILE)] == [there.folder]
        assert words == [f"{gone.folder} does not answer, and is not looked into"]
    finally:
        never.set()


def test_only_a_file_that_is_named_by_a_digest_can_be_wrong(tmp_path: Path) -> None:
    one = cache(tmp_path / "a")
    caches = LocalCaches([one])
    (found,) = caches.candidates(FILES, FILE)
    caches.passed_over(found, FILE, "altered")
    assert caches.candidates(FILES, FILE) == []
    assert caches.report() == ()
    named = found._replace(path=f"{tmp_path}/blobs/{FILE.sha256}")
    caches.passed_over(named, FILE, "unreadable")
    assert caches.report() == ()
    caches.passed_over(named._replace(path=f"/other/{FILE.sha256}"), FILE, "altered")
    assert [report.wrong_files for report in caches.report()] == [1]


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000])
def test_a_name_that_no_system_takes_is_nothing(tmp_path: Path, path: str) -> None:
    file = LockedFile(path, 4, "b" * 64, place="lavis")
    assert LocalCaches([Cache(str(tmp_path), "lavis")]).candidates(FILES, file) == []
