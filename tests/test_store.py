"""Where a file lies follows from its asset alone, two assets never share a place with other bytes, and a look tells."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr.contents import Contents
from assetmgr.errors import LockError, LockVersionError, UnsafeNameError
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.receipt import Receipt, Stamp
from assetmgr.store import Layout, State, Store, check_places, default_root, repo_folder
from assetmgr.verify import verify
from tests.test_lock import COMMIT, few, locked_assets

GIT = "e" * 40


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def file(path: str, content: bytes = b"x", **fields: Any) -> LockedFile:
    return LockedFile(path, len(content), sha256(content), **{"place": "files"} | fields)


def files_asset(name: str, *files: LockedFile, **fields: Any) -> LockedAsset:
    return LockedAsset(**{"kind": "model", "origin": "files", "declared": "d", "files": files, "name": name} | fields)


def hub_asset(name: str = "m", *files: LockedFile, **fields: Any) -> LockedAsset:
    given = {"origin": "hub", "repo": "Org/Name", "commit": COMMIT, "revision": "main"}
    return files_asset(name, *files, **given | fields)


# --- layouts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "repo", "folder"),
    [
        ("model", "org/name", "models--org--name"),
        ("model", "gpt2", "models--gpt2"),
        ("dataset", "org/name", "datasets--org--name"),
    ],
)
def test_a_repos_folder_is_the_one_of_a_hub_cache(kind: str, repo: str, folder: str) -> None:
    assert repo_folder(kind, repo) == folder


@pytest.mark.parametrize(
    ("entry", "name", "place"),
    [
        (
            hub_asset("m", file("sub/w.bin", git_sha1=GIT, place="")),
            f"hub/models--Org--Name/snapshots/{COMMIT}/sub/w.bin",
            f"hub/models--Org--Name/blobs/{GIT}",
        ),
        (
            hub_asset("m", file("w.bin", place=""), kind="dataset"),
            f"hub/datasets--Org--Name/snapshots/{COMMIT}/w.bin",
            f"hub/datasets--Org--Name/blobs/{sha256(b'x')}",
        ),
        (files_asset("a/b", file("c/d.json")), "files/a/b/c/d.json", "files/a/b/c/d.json"),
        (files_asset("m", file("w.pth", place="torch")), "torch/hub/checkpoints/w.pth", "torch/hub/checkpoints/w.pth"),
        (files_asset("m", file("ViT.pt", place="clip")), "clip/ViT.pt", "clip/ViT.pt"),
        (
            files_asset("m", file("a.json", place="lavis/coco/annotations")),
            "lavis/coco/annotations/a.json",
            "lavis/coco/annotations/a.json",
        ),
    ],
    ids=["hub model", "hub dataset", "files", "torch", "clip", "lavis"],
)
def test_a_file_lies_where_the_libraries_look(entry: LockedAsset, name: str, place: str) -> None:
    layout = Layout(entry)
    assert (layout.name(entry.files[0]), layout.bytes(entry.files[0])) == (name, place)


@pytest.mark.parametrize(
    ("entry", "folder"),
    [
        (hub_asset(), f"hub/models--Org--Name/snapshots/{COMMIT}"),
        (files_asset("m", file("a"), file("b/c")), "files/m"),
        (files_asset("m", file("a")), "files/m"),
        (files_asset("m", file("w.pth", place="torch")), "torch/hub/checkpoints/w.pth"),
        (
            files_asset("m", file("a", place="lavis/coco/annotations"), file("b", place="lavis/coco/annotations")),
            "lavis/coco/annotations",
        ),
        (files_asset("m", file("a", place="lavis/coco/x"), file("b", place="lavis/coco/y")), "lavis/coco"),
        (files_asset("m"), "files/m"),
    ],
)
def test_the_path_of_an_asset_is_what_its_files_have_in_common(entry: LockedAsset, folder: str) -> None:
    assert Layout(entry).folder == folder


@pytest.mark.parametrize(
    ("places", "folder"), [(("torch", "clip"), ""), (("torch", "files"), ""), (("lavis/a", "clip"), "")]
)
def test_the_path_of_an_asset_in_several_places_is_the_root(places: tuple[str, str], folder: str) -> None:
    assert Layout(files_asset("m", *(file(f"f{n}", place=place) for n, place in enumerate(places)))).folder == folder


TREE = f"hub/models--Org--Name/trees/{COMMIT}.json"


@pytest.mark.parametrize(
    ("entry", "ref", "tree"),
    [
        (hub_asset(), "hub/models--Org--Name/refs/main", TREE),
        (
            hub_asset(revision="refs/pr/1"),
            "hub/models--Org--Name/refs/refs/pr/1",
            TREE,
        ),
        (hub_asset(revision=COMMIT), None, TREE),
    ],
)
def test_refs_and_listings_lie_where_the_hubs_client_looks(entry: LockedAsset, ref: str | None, tree: str) -> None:
    assert (Layout(entry).ref, Layout(entry).tree) == (ref, tree)


@few
@given(locked_assets())
def test_every_file_lies_below_the_root_at_a_name_of_its_own(entry: LockedAsset) -> None:
    layout = Layout(entry)
    names = [layout.name(file) for file in entry.files]
    assert len(set(names)) == len(names)
    for name in [*names, *(layout.bytes(file) for file in entry.files)]:
        assert os.path.normpath(name) == name
        assert not os.path.isabs(name)
        assert name.split("/")[0] in ("hub", "files", "torch", "clip", "lavis")


# --- collisions ---------------------------------------------------------------------------------------------------

ONE, TWO = b"one", b"two"


def lavis_asset(name: str, path: str, content: bytes, folder: str) -> LockedAsset:
    return files_asset(name, file(path, content, place=f"lavis/{folder}"))


@pytest.mark.parametrize(
    ("first", "second", "fine"),
    [
        (files_asset("a", file("w", ONE, place="torch")), files_asset("b", file("w", ONE, place="torch")), True),
        (files_asset("a", file("w", ONE, place="torch")), files_asset("b", file("w", TWO, place="torch")), False),
        (files_asset("a", file("w", ONE, place="torch")), files_asset("b", file("W", TWO, place="torch")), False),
        (files_asset("a", file("w", ONE, place="torch")), files_asset("b", file("w", TWO, place="clip")), True),
        (files_asset("a", file("w", ONE)), files_asset("b", file("w", TWO)), True),
        (files_asset("a", file("w", ONE)), files_asset("A", file("w", TWO)), False),
        (files_asset("a", file("b/w", ONE)), files_asset("a/b", file("w", TWO)), False),
        (files_asset("a", file("b/w", ONE)), files_asset("a/b", file("w", ONE)), True),
        (files_asset("a", file("b", ONE)), files_asset("a/b", file("w", TWO)), False),
        (files_asset("a/b", file("w", ONE)), files_asset("a", file("B", ONE)), False),
        (
            files_asset("a", file("x/y", ONE, place="lavis/c")),
            files_asset("b", file("y", TWO, place="lavis/c/x")),
            False,
        ),
        (files_asset("a", file("x", ONE, place="lavis/c")), files_asset("b", file("y", TWO, place="lavis/c/x")), False),
        (files_asset("a", file("x", ONE, place="lavis/c")), files_asset("b", file("y", TWO, place="lavis/C/X")), False),
        (
            files_asset("a", file("caf\u00e9", ONE, place="clip")),
            files_asset("b", file("cafe\u0301", TWO, place="clip")),
            False,
        ),
        (hub_asset("a", file("w", ONE, place="")), hub_asset("b", file("w", ONE, place="")), True),
        (hub_asset("a", file("w", ONE, place="")), hub_asset("b", file("w", TWO, place="")), False),
        (hub_asset("a", file("w", ONE, place="")), hub_asset("b", file("w", TWO, place=""), commit="d" * 40), True),
        (hub_asset("a", file("w", ONE, place="")), hub_asset("b", file("w", TWO, place=""), kind="dataset"), True),
    ],
)
def test_one_place_holds_one_content_on_any_file_system(first: LockedAsset, second: LockedAsset, fine: bool) -> None:
    for entries in ((first, second), (second, first)):
        if fine:
            check_places(Contents(entry, entry) for entry in entries)
            continue
        with pytest.raises(LockError) as caught:
            check_places(Contents(entry, entry) for entry in entries)
        assert first.name in caught.value.message
        assert second.name in caught.value.message
        assert "`path:`" in caught.value.mend


@pytest.mark.parametrize(
    "files",
    [
        [file("b/c", ONE, place="lavis/a"), file("c", TWO, place="lavis/a/b")],
        [file("c", ONE, place="lavis/a"), file("c", TWO, place="lavis/A")],
        [file("b", ONE, place="lavis/a"), file("c", TWO, place="lavis/a/b")],
    ],
)
def test_one_asset_does_not_collide_with_itself_through_two_places(files: list[LockedFile]) -> None:
    asset = files_asset("m", *files)
    with pytest.raises(LockError):
        check_places([Contents(asset, asset)])


# --- what is there ------------------------------------------------------------------------------------------------


def write(store: Store, relative: str, content: bytes) -> Stamp:
    path = Path(store.at(relative))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    status = path.stat()
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ino, 1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_look_tells_proved_unproved_and_missing(store: Store) -> None:
    entry = files_asset("m", file("good"), file("touched"), file("unknown"), file("gone"), file("folder"))
    stamps: list[Stamp | None] = [write(store, f"files/m/{name}", b"x") for name in ("good", "touched", "unknown")]
    os.utime(store.at("files/m/touched"), ns=(0, 0))
    stamps[2] = None
    os.makedirs(store.at("files/m/folder"))
    states = store.survey(entry, [*stamps, Stamp(1, 2, 3, 4), None])
    assert states == [State.PROVED, State.UNPROVED, State.UNPROVED, State.MISSING, State.UNPROVED]
    assert store.survey(entry, None) == [State.UNPROVED] * 3 + [State.MISSING, State.UNPROVED]


def test_a_look_into_a_hub_cache_follows_the_snapshots_links(store: Store) -> None:
    names = ("good", "unlinked", "broken", "gone")
    entry = hub_asset("m", *(file(name, name.encode(), place="") for name in names))
    layout = Layout(entry)
    good = write(store, layout.bytes(entry.files[0]), b"good")
    unlinked = write(store, layout.bytes(entry.files[1]), b"unlinked")
    snapshot = Path(store.at(layout.folder))
    snapshot.mkdir(parents=True)
    (snapshot / "good").symlink_to(f"../../blobs/{entry.files[0].blob}")
    (snapshot / "broken").symlink_to(f"../../blobs/{entry.files[2].blob}")
    states = store.survey(entry, [good, unlinked, None, None])
    assert states == [State.PROVED, State.UNLINKED, State.MISSING, State.MISSING]


def test_what_was_proved_under_another_name_is_found_while_its_stamp_fits(store: Store) -> None:
    entry = files_asset("m", file("a", ONE), file("b", TWO), file("c", b"three"))
    stamps = [write(store, f"files/m/{name}", content) for name, content in (("a", ONE), ("b", TWO))]
    store.save_receipt(Receipt(entry, (*stamps, None), 1))
    os.utime(store.at("files/m/b"), ns=(0, 0))
    wanted = {sha256(content) for content in (ONE, TWO, b"three", b"never seen")}
    assert store.proved_elsewhere(wanted) == {sha256(ONE): [store.at("files/m/a")]}
    assert store.proved_elsewhere({sha256(TWO)}) == {}


# --- documents ----------------------------------------------------------------------------------------------------


def receipt_of(entry: LockedAsset, pulled_at: int = 1) -> Receipt:
    return Receipt(entry, tuple(None for _ in entry.files), pulled_at)


def receipt_path(store: Store) -> Path:
    (path,) = Path(store.state, "receipts").iterdir()
    return path


def test_an_empty_store_holds_nothing(store: Store) -> None:
    assert store.read_receipt(files_asset("m")) is None
    assert list(store.receipts()) == store.receipts_of("m") == []
    assert store.installed_names() == ()
    assert store.read_listing("a" * 64) is None


def test_one_name_at_two_revisions_has_two_receipts_the_last_pulled_in_front(store: Store) -> None:
    old, new = hub_asset("m"), hub_asset("m", commit="d" * 40)
    for receipt in (receipt_of(new, 20), receipt_of(old, 10), receipt_of(files_asset("m/n"), 30)):
        store.save_receipt(receipt)
    assert [receipt.entry for receipt in store.receipts_of("m")] == [new, old]
    assert store.read_receipt(old) == receipt_of(old, 10)
    assert store.installed_names() == ("m", "m/n")
    assert len(list(store.receipts())) == 3


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xff", b"[]", b'{"entry": {}}'])
def test_a_damaged_receipt_counts_as_none(store: Store, damage: bytes) -> None:
    entry = files_asset("m", file("a"))
    store.save_receipt(receipt_of(entry))
    store.save_receipt(receipt_of(files_asset("other")))
    (path,) = Path(store.state, "receipts").glob("m@*")
    path.write_bytes(damage)
    assert store.read_receipt(entry) is None
    assert store.receipts_of("m") == []
    assert [receipt.entry.name for receipt in store.receipts()] == ["other"]
    store.save_receipt(receipt_of(entry))
    assert store.read_receipt(entry) == receipt_of(entry)


def test_a_receipt_that_speaks_of_another_entry_than_its_name_counts_as_none(store: Store) -> None:
    entry = files_asset("m", file("a"))
    store.save_receipt(receipt_of(entry))
    path = receipt_path(store)
    path.write_bytes(path.read_bytes().replace(sha256(b"x").encode(), sha256(b"y").encode()))
    assert store.read_receipt(entry) is None


def test_a_newer_receipt_is_not_overwritten_unread(store: Store) -> None:
    entry = files_asset("m")
    store.save_receipt(msgspec.structs.replace(receipt_of(entry), version=2))
    with pytest.raises(LockVersionError):
        store.read_receipt(entry)
    assert store.receipts_of("m") == []


def test_other_files_among_the_receipts_are_passed_over(store: Store) -> None:
    store.save_receipt(receipt_of(files_asset("m")))
    folder = Path(store.state, "receipts")
    (folder / ".writing-abc").write_bytes(b"")
    (folder / "README").write_bytes(b"")
    assert store.installed_names() == ("m",)
    assert len(list(store.receipts())) == 1


def test_a_receipt_that_cannot_be_read_does_not_hide_the_others(store: Store) -> None:
    store.save_receipt(receipt_of(files_asset("m")))
    Path(store.state, "receipts", "other@abc.json").mkdir()  # root may read any file, but not this
    assert [receipt.entry.name for receipt in store.receipts()] == ["m"]


def test_a_listing_is_named_by_what_it_holds(store: Store) -> None:
    digest = store.write_listing(b"[1]")
    assert digest == sha256(b"[1]")
    assert store.read_listing(digest) == b"[1]"
    (path,) = Path(store.state, "listings").iterdir()
    path.write_bytes(b"[2]")
    assert store.read_listing(digest) is None, "a damaged listing counts as none"
    assert store.write_listing(b"[1]") == digest
    assert store.read_listing(digest) == b"[1]"


@pytest.mark.parametrize("name", ["../../x", "", "A" * 64, "a" * 63])
def test_a_listings_name_is_checked(store: Store, name: str) -> None:
    with pytest.raises(UnsafeNameError):
        store.read_listing(name)


# --- the root -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "variable", "manifest", "expected"),
    [
        ("/a", "/b", "/c", "/a"),
        (None, "/b", "/c", "/b"),
        (None, None, "/c", "/c"),
        (None, "", "/c", "/c"),
        ("~/store", None, None, "{home}/store"),
        (None, "~/store", None, "{home}/store"),
        ("relative/x", None, None, "{cwd}/relative/x"),
    ],
)
def test_the_root_is_the_first_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    chosen: str | None,
    variable: str | None,
    manifest: str | None,
    expected: str,
) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ASSETMGR_ROOT", raising=False)
    if variable is not None:
        monkeypatch.setenv("ASSETMGR_ROOT", variable)
    assert str(default_root(chosen, manifest)) == expected.format(home=tmp_path / "home", cwd=tmp_path / "cwd")


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/caches"}, "/caches/assetmgr"),
        ("linux", {"XDG_CACHE_HOME": ""}, "/home/me/.cache/assetmgr"),
        ("darwin", {}, "/home/me/Library/Caches/assetmgr"),
    ],
)
def test_else_it_is_the_platforms_cache_folder(
    monkeypatch: pytest.MonkeyPatch, platform: str, variables: dict[str, str], expected: str
) -> None:
    monkeypatch.delenv("ASSETMGR_ROOT", raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(default_root()) == expected


@given(st.lists(st.sampled_from([ONE, TWO]), min_size=1, max_size=4))
def test_equal_places_are_fine_exactly_when_all_their_bytes_are_equal(contents: Sequence[bytes]) -> None:
    entries = [files_asset(f"a{n}", file("w", content, place="torch")) for n, content in enumerate(contents)]
    if len(set(contents)) == 1:
        check_places(Contents(entry, entry) for entry in entries)
    else:
        with pytest.raises(LockError):
            check_places(Contents(entry, entry) for entry in entries)


# --- a full proof reads what each name leads to ----------------------------------------------------------------------


@pytest.mark.parametrize("hub", [False, True], ids=["hard link", "snapshot's link to another blob"])
def test_a_name_that_leads_to_another_files_bytes_of_the_same_size_is_found(store: Store, hub: bool) -> None:
    place = "" if hub else "files"
    files = (file("a", ONE, place=place), file("b", TWO, place=place))
    entry = hub_asset("m", *files, revision=COMMIT) if hub else files_asset("m", *files)
    layout = Layout(entry)
    for each, content in zip(files, (ONE, TWO), strict=True):
        write(store, layout.bytes(each), content)
    wrong = Path(store.at(layout.name(files[1])))
    if hub:
        wrong.parent.mkdir(parents=True)
        for name in ("a", "b"):
            (wrong.parent / name).symlink_to(f"../../blobs/{files[0].blob}")
    else:
        wrong.unlink()
        os.link(store.at(layout.name(files[0])), wrong)
    for full in (True, False):
        verdict = verify(store, receipt_of(entry), full=full)
        assert [(finding.path, finding.kind) for finding in verdict.findings] == [("b", "altered")]
        assert verdict.receipt.stamps[1] is None
