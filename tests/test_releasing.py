"""What a manifest lets go of is what it alone had, and has no more."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr.claims import is_gone
from assetmgr.lock import LockedAsset
from assetmgr.receipt import Receipt
from assetmgr.releasing import Wants, decide_release
from assetmgr.view_records import Shown, View
from assetmgr.views import Found, leave

ME, YOU = "/me/assets.yaml", "/you/assets.yaml"


def entry(name: str, commit: str = "1") -> LockedAsset:
    return LockedAsset("model", "hub", "d", (), name, repo="o/n", commit=commit)


def receipt(name: str, commit: str, *users: str) -> Receipt:
    return Receipt(entry(name, commit), (), 1, wanted_by=users)


@pytest.mark.parametrize(
    ("wants", "receipts", "shown", "names", "folders"),
    [
        # still wanted, and shown where it should be
        (Wants(ME, {"m": entry("m")}, {"m": "/a"}), [receipt("m", "1", ME)], [View("/a", asked={"m": (ME,)})], [], []),
        # dropped
        (Wants(ME, {}, {}), [receipt("m", "1", ME)], [View("/a", asked={"m": (ME,)})], ["m"], [("m", "/a")]),
        # another commit of it is wanted now, in the same folder
        (Wants(ME, {"m": entry("m", "2")}, {"m": "/a"}), [receipt("m", "1", ME)], [], ["m"], []),
        # another folder, or none
        (Wants(ME, {"m": entry("m")}, {"m": "/b"}), [], [View("/a", asked={"m": (ME,)})], [], [("m", "/a")]),
        (Wants(ME, {"m": entry("m")}, {}), [], [View("/a", asked={"m": (ME,)})], [], [("m", "/a")]),
        # the manifest was not looked at: what the lock still names stays where it is shown
        (Wants(ME, {"m": entry("m")}, None), [], [View("/a", asked={"m": (ME,)})], [], []),
        (Wants(ME, {}, None), [], [View("/a", asked={"m": (ME,)})], [], [("m", "/a")]),
        # of others, of a command line, and of nobody who said so
        (Wants(ME, {}, {}), [receipt("m", "1", YOU)], [View("/a", asked={"m": (YOU,), "n": ("",)})], [], []),
        (Wants(ME, {}, {}), [receipt("m", "1")], [View("/a", {"f": Shown("m", "0", "copy", "copy")})], [], []),
        # not in question
        (Wants(ME, {}, {}, {"x"}), [receipt("m", "1", ME)], [View("/a", asked={"m": (ME,)})], [], []),
        (
            Wants(ME, {}, {}, {"m"}),
            [receipt("m", "1", ME), receipt("n", "1", ME)],
            [View("/a", asked={"m": (ME, YOU), "n": (ME,)})],
            ["m"],
            [("m", "/a")],
        ),
    ],
)
def test_what_is_let_go_of_is_decided_without_a_look(
    wants: Wants, receipts: list[Receipt], shown: list[View], names: list[str], folders: list[tuple[str, str]]
) -> None:
    release = decide_release(wants, receipts, shown)
    assert [one.entry.name for one in release.receipts] == names
    assert list(release.folders) == folders
    assert bool(release) == bool(names or folders)


_NAMES = st.sampled_from(["a", "b", "c/d"])
_OWN = st.builds(
    Shown,
    st.sampled_from(["m", "n"]),
    st.just("0"),
    st.just("copy"),
    st.just("copy"),
    size=st.integers(1, 2),
    also=st.sampled_from([(), ("o",)]),
)


@given(
    st.dictionaries(_NAMES, _OWN),
    st.dictionaries(_NAMES, st.builds(Found, st.sampled_from(["", "/x"]), st.integers(1, 2))),
)
def test_only_what_is_ours_alone_and_as_it_was_put_is_removed(
    record: dict[str, Shown], found: dict[str, Found]
) -> None:
    removed, left = leave("m", record, found)
    assert not set(removed) & set(left)
    for name in {*removed, *left}:
        assert record[name].owners == {"m"}
        assert (name in removed) == (found[name] == Found("", record[name].size, 0, 0))


def test_a_project_is_gone_only_where_its_folder_shows_that(tmp_path: Path) -> None:
    manifest = tmp_path / "there" / "assets.yaml"
    assert not is_gone(str(manifest)), "its disk may not be mounted"
    manifest.parent.mkdir()
    assert is_gone(str(manifest))
    (manifest.parent / "assets.lock.json").write_text("{}")
    assert not is_gone(str(manifest)), "its lock alone can say what it wants"
    manifest.write_text("version: 1")
    assert not is_gone(str(manifest))
