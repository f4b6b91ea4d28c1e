"""What may go is decided of what is known, without a look at the disk."""

from __future__ import annotations

import itertools

import pytest

from assetmgr.housekeeping.copies import fewest
from assetmgr.housekeeping.deciding import Fate, Standing, decide_file, decide_old, requiring
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.receipt import Receipt


def receipt(
    name: str, commit: str = "1", *, requires: tuple[str, ...] = (), wanted_by: tuple[str, ...] = ("/a.yaml",)
) -> Receipt:
    entry = LockedAsset("model", "hub", "d", (), name, repo="o/n", commit=commit, requires=requires)
    return Receipt(entry, (), 1, wanted_by=wanted_by)


@pytest.mark.parametrize(
    ("known", "fate"),
    [
        ({"there": False}, Fate.GONE),
        ({"fits": True}, Fate.REMOVE),
        ({"fits": True, "by_hand": True}, Fate.LEAVE),
        ({"same_size": True}, Fate.PROVE),
        ({"same_size": False}, Fate.LEAVE),
        ({"is_regular": False, "same_size": True}, Fate.LEAVE),
        ({"is_regular": False, "fits": True}, Fate.REMOVE),  # a link that leads where it led
        ({"is_blob": True}, Fate.REMOVE),
        ({"is_blob": True, "linked": True}, Fate.LEAVE),
        ({"is_blob": True, "is_regular": False}, Fate.LEAVE),
    ],
)
def test_a_file_goes_only_as_it_was_put(known: dict[str, bool], fate: Fate) -> None:
    usual = {"there": True, "is_regular": True, "is_blob": False, "fits": False, "same_size": False, "by_hand": False}
    assert decide_file(**{**usual, **known}) is fate


def test_a_file_that_somebody_handed_in_or_links_to_never_goes() -> None:
    keys = ("is_regular", "is_blob", "fits", "same_size")
    for values in itertools.product((False, True), repeat=len(keys)):
        known = dict(zip(keys, values, strict=True))
        assert decide_file(there=True, by_hand=True, **known) is Fate.LEAVE
        assert decide_file(there=True, by_hand=False, linked=True, **known) is Fate.LEAVE


def test_what_was_replaced_is_old_and_what_it_still_takes_is_not() -> None:
    kept = receipt("kept", requires=("needed",))
    needed, other = receipt("needed", "1"), receipt("needed", "2")
    kept = Receipt(kept.entry, (), 1, wanted_by=("/a.yaml",), pins={"needed": needed.entry.digest()})
    mine = receipt("mine", wanted_by=())
    found = decide_old(
        [
            Standing(kept, wanted=True, locked=None),
            Standing(needed, wanted=False, locked=None),
            Standing(other, wanted=False, locked=None),
            Standing(mine, wanted=False, locked=None),  # came without a manifest, and no lock here has moved on
            Standing(receipt("moved", wanted_by=()), wanted=False, locked=False),
            Standing(receipt("named", wanted_by=()), wanted=False, locked=True),
        ]
    )
    assert [(one.entry.name, one.entry.commit) for one in found] == [("needed", "2"), ("moved", "1")]


def test_what_is_required_is_told_with_who_requires_it() -> None:
    receipts = [receipt("a"), receipt("b", requires=("a",)), receipt("c", requires=("a", "b"))]
    assert requiring({"a"}, receipts) == {"a": ("b", "c")}
    assert requiring({"a", "b", "c"}, receipts) == {}


def test_a_copy_counts_as_itself_or_in_its_archive_and_each_mirror_once() -> None:
    one, two = LockedFile("1", 1, sha256="1"), LockedFile("2", 1, sha256="2")
    assert fewest([one, two], {"1": ("x",), "2": ("x",)}, {}, 1) is None
    assert fewest([one, two], {"1": ("x",)}, {}, 1) == (two, 0)
    assert fewest([one, two], {"1": ("x",), "a": ("x", "y")}, {"2": "a", "1": "a"}, 2) is None
    assert fewest([one], {"1": ("x",), "a": ("x",)}, {"1": "a"}, 2) == (one, 1)
