"""A local_dir shows an asset, and nothing in it that is somebody's own is ever changed, removed or led out of it."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr import view_records, views
from assetmgr.errors import AssetError, IntegrityError, UsageError
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.placing import LinkStyle, link, write_document
from assetmgr.reporting import Silent
from assetmgr.store import Layout, Store
from assetmgr.view_records import Shown
from assetmgr.views import Found, Wanted, decide
from tests.support import files_below

STYLES: list[LinkStyle] = ["symlink", "hardlink", "copy"]

# --- the decision -------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c/d"])
TARGETS = st.sampled_from(["/store/1", "/store/2"])
DIGESTS = st.sampled_from(["1" * 64, "2" * 64])
SMALL = st.integers(1, 2)
ASSETS = st.sampled_from(["m", "other"])


@st.composite
def shown_files(draw: st.DrawFn) -> Shown:
    asked, style = draw(st.sampled_from(STYLES)), draw(st.sampled_from(STYLES))
    if style == "symlink":
        return Shown(draw(ASSETS), draw(DIGESTS), asked, style, draw(TARGETS))
    return Shown(draw(ASSETS), draw(DIGESTS), asked, style, "", draw(SMALL), draw(SMALL), draw(SMALL))


FOUND = st.builds(Found, TARGETS) | st.builds(Found, st.just(""), SMALL, SMALL, SMALL)
WANTED = st.dictionaries(NAMES, st.builds(Wanted, TARGETS, DIGESTS, SMALL))
RECORD = st.dictionaries(NAMES, shown_files())


def is_as_recorded(own: Shown | None, seen: Found | None) -> bool:
    if own is None or seen is None:
        return False
    if own.style == "symlink":
        return seen.target == own.target
    return (seen.target, *seen[1:]) == ("", own.size, own.mtime_ns, own.inode)


@given(WANTED, st.sampled_from(STYLES), ASSETS, RECORD, st.dictionaries(NAMES, FOUND))
def test_a_decision_never_touches_what_is_somebodys_own(
    wanted: dict[str, Wanted], style: LinkStyle, asset: str, record: dict[str, Shown], found: dict[str, Found]
) -> None:
    changes = decide(wanted, style, asset, record, found)
    put, remove, foreign = set(changes.put), set(changes.remove), set(changes.foreign)
    assert put | foreign <= set(wanted)
    assert not put & foreign
    assert not remove & set(wanted)
    for name in put & set(found):
        own = record[name]
        assert is_as_recorded(own, found[name]), "only what stands as we put it is replaced"
        assert own.asset == asset or own.sha256 == wanted[name].sha256, "and not another asset's other bytes"
    for name in remove:
        assert record[name].asset == asset
        assert is_as_recorded(record[name], found.get(name))
    for name in set(wanted) - set(found):
        assert name in put, "what is missing is put there"
    for name in set(wanted) & set(found):
        if not is_as_recorded(record.get(name), found[name]):
            assert name in foreign or found[name].target == wanted[name].target
    for name, own in record.items():
        if own.asset == asset and name not in wanted and is_as_recorded(own, found.get(name)):
            assert name in remove, "what an older revision left is taken away"


@given(WANTED, st.sampled_from(STYLES), RECORD, st.dictionaries(NAMES, FOUND))
def test_what_was_decided_and_done_is_not_decided_again(
    wanted: dict[str, Wanted], style: LinkStyle, record: dict[str, Shown], found: dict[str, Found]
) -> None:
    changes = decide(wanted, style, "m", record, found)
    for name in changes.remove:
        del record[name], found[name]
    for name in changes.put:
        want = wanted[name]
        if style == "symlink":
            record[name] = Shown("m", want.sha256, style, style, want.target)
            found[name] = Found(want.target)
        else:
            record[name] = Shown("m", want.sha256, style, style, "", 9, 9, 9)
            found[name] = Found("", 9, 9, 9)
    again = decide(wanted, style, "m", record, found)
    assert (again.put, again.remove, again.foreign) == ((), (), changes.foreign)


def test_another_style_or_target_is_put_anew_and_a_fallback_is_not_tried_each_time() -> None:
    wanted = {"a": Wanted("/store/1", "1" * 64, 1)}
    fallen = {"a": Shown("m", "1" * 64, "symlink", "copy", "", 1, 2, 3)}
    here = {"a": Found("", 1, 2, 3)}
    assert decide(wanted, "symlink", "m", fallen, here).put == ()
    assert decide(wanted, "hardlink", "m", fallen, here).put == ("a",)
    moved = {"a": Shown("m", "1" * 64, "symlink", "symlink", "/old/1")}
    assert decide(wanted, "symlink", "m", moved, {"a": Found("/old/1")}).put == ("a",)


# --- folders ------------------------------------------------------------------------------------------------------


class Words(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str, /) -> None:
        self.said.append(text)


class Stage:
    """A store with proved files, and a folder to show them in."""

    def __init__(self, folder: Path) -> None:
        self.base = folder
        self.store = Store(folder / "store")
        self.view = folder / "view"
        self.words = Words()

    def asset(self, files: dict[str, str], name: str = "m", place: str = "files") -> LockedAsset:
        """An asset whose files stand in the store."""
        locked = []
        for path, text in files.items():
            data = text.encode()
            locked.append(LockedFile(path, len(data), hashlib.sha256(data).hexdigest(), place=place))
        entry = LockedAsset("model", "files", "d", tuple(locked), name)
        for file, text in zip(locked, files.values(), strict=True):
            stored = Path(self.store.at(Layout(entry).name(file)))
            stored.parent.mkdir(parents=True, exist_ok=True)
            stored.unlink(missing_ok=True)
            stored.write_text(text)
            stored.chmod(0o444)
        return entry

    def show(self, entry: LockedAsset, style: LinkStyle = "symlink", folder: Path | None = None) -> None:
        views.show(self.store, entry, str(folder or self.view), style, self.words)

    def is_shown(self, entry: LockedAsset, style: LinkStyle) -> bool:
        return views.is_shown(self.store, entry, str(self.view), style)

    def problems(self, entry: LockedAsset) -> list[tuple[str, str]]:
        return views.problems(self.store, entry, str(self.view))

    def texts(self) -> dict[str, str]:
        return {name: (self.view / name).read_text() for name in files_below(self.view)}


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


FILES = {"config.json": "{}", "sub/deep/vocab.txt": "one two"}


def style_of(path: Path) -> LinkStyle:
    if path.is_symlink():
        return "symlink"
    return "hardlink" if path.stat().st_nlink > 1 else "copy"


@pytest.mark.parametrize("style", STYLES)
def test_an_asset_is_shown_in_its_style(stage: Stage, style: LinkStyle) -> None:
    entry = stage.asset(FILES)
    assert not stage.is_shown(entry, style)
    stage.show(entry, style)
    assert stage.texts() == FILES
    assert {style_of(stage.view / name) for name in FILES} == {style}
    assert stage.is_shown(entry, style)
    assert stage.problems(entry) == []
    assert stage.words.said == []


@pytest.mark.parametrize("after", STYLES)
@pytest.mark.parametrize("before", STYLES)
def test_a_change_of_style_changes_every_file(stage: Stage, before: LinkStyle, after: LinkStyle) -> None:
    entry = stage.asset(FILES)
    stage.show(entry, before)
    assert stage.is_shown(entry, after) == (before == after)
    stage.show(entry, after)
    assert {style_of(stage.view / name) for name in FILES} == {after}
    assert stage.texts() == FILES


@pytest.mark.parametrize("style", STYLES)
def test_another_revision_replaces_adds_and_removes(stage: Stage, style: LinkStyle) -> None:
    stage.show(stage.asset({"a": "old", "gone/x/y": "old", "same": "same"}), style)
    (stage.view / "gone" / "mine").write_text("mine")
    new = stage.asset({"a": "new", "more/z": "new", "same": "same"})
    stage.show(new, style)
    assert stage.texts() == {"a": "new", "more/z": "new", "same": "same", "gone/mine": "mine"}
    assert not (stage.view / "gone" / "x").exists(), "folders that became empty go too"
    assert stage.is_shown(new, style)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("own", ["file", "link", "folder"])
def test_somebodys_own_file_is_kept_and_named_and_nothing_is_changed(stage: Stage, style: LinkStyle, own: str) -> None:
    entry = stage.asset(FILES)
    path = stage.view / "config.json"
    stage.view.mkdir()
    if own == "file":
        path.write_text("mine")
    elif own == "link":
        (stage.base / "mine").write_text("mine")
        path.symlink_to(stage.base / "mine")
    else:
        path.mkdir()
        (path / "mine").write_text("mine")
    before = files_below(stage.base)
    with pytest.raises(IntegrityError) as caught:
        stage.show(entry, style)
    assert "config.json" in caught.value.message
    assert "sub/deep/vocab.txt" not in caught.value.message
    assert str(stage.view) in caught.value.message
    assert "assetmgr pull m" in caught.value.mend
    new = files_below(stage.base) - before
    assert all(name.startswith("store/.assetmgr/") for name in new)
    assert (path / "mine" if own == "folder" else path).read_text() == "mine"


def test_somebodys_own_file_where_a_folder_is_wanted_is_kept_and_named(stage: Stage) -> None:
    entry = stage.asset(FILES)
    stage.view.mkdir()
    (stage.view / "sub").write_text("mine")
    with pytest.raises(AssetError) as caught:
        stage.show(entry)
    assert "sub" in caught.value.message
    assert stage.texts() == {"sub": "mine"}


@pytest.mark.parametrize("style", STYLES)
def test_somebodys_own_file_with_the_right_bytes_is_kept_and_never_ours(stage: Stage, style: LinkStyle) -> None:
    stage.view.mkdir()
    (stage.view / "config.json").write_text("{}")
    inode = (stage.view / "config.json").stat().st_ino
    stage.show(stage.asset(FILES), style)
    assert stage.texts() == FILES
    stage.show(stage.asset({"sub/deep/vocab.txt": "one two"}), style)
    assert stage.texts() == FILES
    assert (stage.view / "config.json").stat().st_ino == inode


@pytest.mark.parametrize("next_style", STYLES)
def test_a_copy_that_was_edited_is_never_overwritten(stage: Stage, next_style: LinkStyle) -> None:
    stage.show(stage.asset({"a": "old", "b": "old"}), "copy")
    (stage.view / "a").write_text("edited")
    entry = stage.asset({"a": "new", "b": "new"})
    with pytest.raises(IntegrityError, match="that were changed since: a"):
        stage.show(entry, next_style)
    assert stage.texts() == {"a": "edited", "b": "old"}
    (stage.view / "a").rename(stage.view / "a.mine")
    stage.show(entry, next_style)
    assert stage.texts() == {"a": "new", "a.mine": "edited", "b": "new"}


def test_a_copy_that_was_edited_is_not_removed_with_its_revision_and_is_foreign_then(stage: Stage) -> None:
    stage.show(stage.asset({"a": "old", "b": "old"}), "copy")
    (stage.view / "a").write_text("edited")
    stage.show(stage.asset({"b": "old"}), "copy")
    assert stage.texts() == {"a": "edited", "b": "old"}
    with pytest.raises(IntegrityError):
        stage.show(stage.asset({"a": "old", "b": "old"}), "copy")
    assert stage.texts() == {"a": "edited", "b": "old"}


@pytest.mark.parametrize("style", STYLES)
def test_what_is_wrong_with_a_view_is_told_by_name_and_mended(stage: Stage, style: LinkStyle) -> None:
    entry = stage.asset({"a": "a", "b": "b", "c": "c"})
    stage.show(entry, style)
    (stage.view / "a").unlink()
    (stage.view / "b").unlink()
    (stage.view / "b").write_text("changed")
    assert stage.problems(entry) == [("a", "missing"), ("b", "altered")]
    (stage.view / "b").unlink()
    stage.show(entry, style)
    assert stage.problems(entry) == []
    assert stage.texts() == {"a": "a", "b": "b", "c": "c"}


def test_a_link_whose_target_is_gone_is_told(stage: Stage) -> None:
    entry = stage.asset(FILES)
    stage.show(entry)
    Path(stage.store.at("files/m/config.json")).unlink()
    assert stage.problems(entry) == [("config.json", "broken link")]


# --- out of the folder --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
def test_a_folder_that_is_a_link_out_of_the_view_is_refused(stage: Stage, style: LinkStyle) -> None:
    outside = stage.base / "outside"
    outside.mkdir()
    stage.view.mkdir()
    (stage.view / "sub").symlink_to(outside)
    with pytest.raises(IntegrityError) as caught:
        stage.show(stage.asset(FILES), style)
    assert str(outside) in caught.value.message
    assert list(outside.iterdir()) == []
    assert files_below(stage.view) == set(), "nothing is changed"


def test_a_folder_that_is_a_link_within_the_view_is_fine(stage: Stage) -> None:
    (stage.view / "real").mkdir(parents=True)
    (stage.view / "sub").symlink_to("real")
    stage.show(stage.asset(FILES))
    assert (stage.view / "real" / "deep" / "vocab.txt").read_text() == "one two"


def test_nothing_is_removed_through_a_link_that_leads_out_of_the_view(stage: Stage) -> None:
    stage.show(stage.asset(FILES), "copy")
    outside = stage.base / "outside"
    (stage.view / "sub").rename(outside)
    (stage.view / "sub").symlink_to(outside)
    try:
        stage.show(stage.asset({"config.json": "{}"}), "copy")
    except AssetError as error:
        assert str(outside) in error.message  # noqa: PT017 - a refusal is as good as leaving it alone
    assert (outside / "deep" / "vocab.txt").read_text() == "one two"


def test_a_view_may_itself_be_a_link(stage: Stage) -> None:
    (stage.base / "disk").mkdir()
    stage.view.symlink_to(stage.base / "disk")
    entry = stage.asset(FILES)
    stage.show(entry)
    assert (stage.base / "disk" / "config.json").read_text() == "{}"
    assert stage.is_shown(entry, "symlink")


@pytest.mark.parametrize("inside", ["", "files", "views", ".assetmgr/receipts", "link"])
def test_a_view_in_the_store_is_refused(stage: Stage, inside: str) -> None:
    entry = stage.asset(FILES)
    folder = Path(stage.store.root, inside)
    if inside == "link":
        folder = stage.base / "link"
        folder.symlink_to(Path(stage.store.root, "files"))
    before = files_below(stage.base)
    with pytest.raises(UsageError, match="inside the store") as caught:
        stage.show(entry, folder=folder)
    assert caught.value.mend
    assert files_below(stage.base) == before


# --- several assets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
def test_two_assets_share_a_folder_and_each_takes_only_its_own_away(stage: Stage, style: LinkStyle) -> None:
    one, two = stage.asset({"a": "1", "x/a": "1"}, "one"), stage.asset({"b": "2", "x/b": "2"}, "two")
    stage.show(one, style)
    stage.show(two, style)
    assert stage.is_shown(one, style)
    assert stage.is_shown(two, style)
    stage.show(stage.asset({}, "one"), style)
    assert stage.texts() == {"b": "2", "x/b": "2"}


@pytest.mark.parametrize("style", STYLES)
def test_two_assets_with_other_bytes_at_one_name_contradict_each_other(stage: Stage, style: LinkStyle) -> None:
    stage.show(stage.asset({"a": "1"}, "one"), style)
    with pytest.raises(IntegrityError, match=": a"):
        stage.show(stage.asset({"a": "2"}, "two"), style)
    assert stage.texts() == {"a": "1"}


@pytest.mark.parametrize("leaves", ["one", "two"])
@pytest.mark.parametrize("style", STYLES)
def test_two_assets_with_equal_bytes_at_one_name_are_both_shown_and_neither_takes_it_from_the_other(
    stage: Stage, style: LinkStyle, leaves: str
) -> None:
    one, two = stage.asset({"a": "same"}, "one"), stage.asset({"a": "same"}, "two")
    stage.show(one, style)
    stage.show(two, style)
    assert stage.is_shown(one, style), "or every pull would do it again, back and forth"
    assert stage.is_shown(two, style)
    stage.show(stage.asset({}, leaves), style)
    assert stage.texts() == {"a": "same"}, "the other one still wants it"


def test_two_stores_may_show_in_two_folders_of_one_name_apart(stage: Stage, tmp_path: Path) -> None:
    other = Stage(tmp_path / "other")
    stage.show(stage.asset(FILES))
    other.show(other.asset({"z": "z"}))
    assert stage.texts() == FILES
    assert other.texts() == {"z": "z"}


# --- where links are refused --------------------------------------------------------------------------------------


def refuse(*_: Any, **__: Any) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize(
    ("refused", "style", "got"),
    [(["symlink"], "symlink", "hardlink"), (["symlink", "link"], "symlink", "copy"), (["link"], "hardlink", "copy")],
)
def test_a_refused_style_falls_back_says_so_once_and_is_not_tried_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, refused: list[str], style: LinkStyle, got: LinkStyle
) -> None:
    entry = stage.asset(FILES)
    for function in refused:
        monkeypatch.setattr(os, function, refuse)
    stage.show(entry, style)
    assert stage.texts() == FILES
    assert {style_of(stage.view / name) for name in FILES} == {got}
    (word,) = stage.words.said
    assert style in word
    assert got in word
    assert stage.is_shown(entry, style)
    stage.show(entry, style)
    assert len(stage.words.said) == 1


def test_what_was_put_before_a_failure_is_recorded_as_ours(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = stage.asset({"a": "a", "b": "b"})
    symlink = os.symlink
    made: list[str] = []

    def second_fails(target: str, name: str) -> None:
        if made:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        symlink(target, name)
        made.append(name)

    with monkeypatch.context() as patched:
        patched.setattr(os, "symlink", second_fails)
        with pytest.raises(OSError, match="nput/output"):
            stage.show(entry)
    assert files_below(stage.view) == {"a"}
    stage.show(stage.asset({"b": "b"}))
    assert stage.texts() == {"b": "b"}


def killed_after_one(stage: Stage, entry: LockedAsset, style: LinkStyle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Show an asset and be killed when one file is put: nothing is written down after the intent."""
    written: list[str] = []
    put: list[str] = []

    def only_the_intent(path: str, data: bytes) -> None:
        if not written:
            write_document(path, data)
            written.append(path)

    def one_only(target: str, name: str, style: LinkStyle) -> LinkStyle:
        if put:
            raise KeyboardInterrupt
        put.append(name)
        return link(target, name, style)

    with monkeypatch.context() as patched:
        patched.setattr(view_records, "write_document", only_the_intent)
        patched.setattr(views, "link", one_only)
        with pytest.raises(KeyboardInterrupt):
            stage.show(entry, style)


@pytest.mark.parametrize("between", ["shown again", "not shown again"])
@pytest.mark.parametrize("style", STYLES)
def test_a_kill_while_a_revision_is_replaced_leaves_a_folder_that_every_later_revision_can_be_shown_in(
    stage: Stage, style: LinkStyle, between: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As an archive that is unpacked somewhere else from one revision to the next: what the links led to is gone.
    first, second, third = (stage.asset({"a": f"a {v}", "b": f"b {v}"}, place=f"lavis/{v}") for v in (1, 2, 3))
    stage.show(first, style)
    for file in first.files:
        Path(stage.store.at(Layout(first).name(file))).unlink()
    killed_after_one(stage, second, style, monkeypatch)
    assert not stage.is_shown(second, style)
    assert [name for name, _ in stage.problems(second)], "a folder that is half remade is no good"
    if between == "shown again":
        stage.show(second, style)
        assert stage.texts() == {"a": "a 2", "b": "b 2"}
        assert stage.is_shown(second, style)
        assert stage.problems(second) == []
    stage.show(third, style)
    assert stage.texts() == {"a": "a 3", "b": "b 3"}
    assert stage.problems(third) == []


@pytest.mark.parametrize("style", STYLES)
def test_what_somebody_put_where_a_run_was_killed_stays_theirs(
    stage: Stage, style: LinkStyle, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.show(stage.asset({"a": "a 1", "b": "b 1"}), style)
    killed_after_one(stage, stage.asset({"a": "a 2", "b": "b 2"}), style, monkeypatch)
    for name in ("a", "b"):
        (stage.view / name).unlink()
        (stage.view / name).write_text("mine")
    with pytest.raises(IntegrityError, match="did not put there"):
        stage.show(stage.asset({"a": "a 3", "b": "b 3"}), style)
    assert stage.texts() == {"a": "mine", "b": "mine"}


def test_a_link_that_leads_nowhere_is_told_whichever_revision_put_it(stage: Stage) -> None:
    stage.show(stage.asset({"a": "old", "b": "old"}))
    entry = stage.asset({"a": "new", "b": "new"})
    for name in ("a", "b"):
        Path(stage.store.at(f"files/m/{name}")).unlink()
    assert stage.problems(entry) == [("a", "broken link"), ("b", "broken link")]


def test_a_damaged_record_is_an_error_that_says_what_to_do_and_touches_nothing(stage: Stage) -> None:
    entry = stage.asset(FILES)
    stage.show(entry, "copy")
    (record,) = Path(stage.store.state, "views").iterdir()
    for damage in (b"", b"{", b"\xff", b'{"folder": "\xff"}'):
        record.write_bytes(damage)
        with pytest.raises(IntegrityError) as caught:
            stage.show(entry, "copy")
        assert str(record) in caught.value.message
        assert str(stage.view) in caught.value.mend
    assert stage.texts() == FILES


@pytest.mark.parametrize(("style", "expected"), [("symlink", 0), ("hardlink", 0), ("copy", 9)])
def test_only_copies_that_are_not_there_take_room(stage: Stage, style: LinkStyle, expected: int) -> None:
    entry = stage.asset(FILES)
    assert views.copy_bytes(stage.store, entry, str(stage.view), style) == expected
    stage.show(entry, style)
    assert views.copy_bytes(stage.store, entry, str(stage.view), style) == 0
