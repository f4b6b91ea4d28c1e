"""When a mirror is asked: what it lacked, what it had, what was wrong with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr.errors import AccessError, AssetError, IntegrityError, OriginError
from assetmgr.mirrors.standing import MirrorReport, Standing, Turn
from assetmgr.transfer.limits import Limits

LIMITS = replace(Limits(), mirror_misses=3, mirror_probe=1000, mirror_gap=4)


def asked(standing: Standing, *, has: str, size: int = 1) -> str:
    """Ask for files in turn; what comes of it, a letter a file: '+' given, '-' lacked, '.' passed by."""
    story = ""
    for letter in has:
        if standing.turn(size) is not Turn.FIRST:
            story += "."
        elif letter == "+":
            standing.gave(size)
            story += "+"
        else:
            standing.lacks()
            story += "-"
    return story


@pytest.mark.parametrize(
    ("has", "story"),
    [
        ("+" * 9, "+" * 9),
        ("-" * 9, "---......"),  # it never had anything
        ("--+--+--+", "--+--+--+"),
        ("+" + "-" * 20, "+---.-..-....-....-.."),  # it had something once: tried now and then
        ("+---++++", "+---.+++"),  # ... and at once again in use
    ],
)
def test_a_mirror_that_lacks_several_files_in_a_row_is_passed_by(has: str, story: str) -> None:
    assert asked(Standing("x", LIMITS, is_local=False), has=has) == story


def test_a_mirror_is_tried_again_when_a_vain_request_costs_nothing_beside_the_bytes() -> None:
    assert asked(Standing("x", LIMITS, is_local=False), has="-" * 12, size=500) == "---.-.-.-.-."


def test_a_folder_is_always_looked_at_for_that_costs_nothing() -> None:
    standing = Standing("/x", LIMITS, is_local=True)
    assert asked(standing, has="-" * 50) == "-" * 50
    assert standing.report().state == "lacking"


@pytest.mark.parametrize(
    "error", [OriginError("m: x: HTTP 500"), AccessError("m: x: HTTP 401"), IntegrityError("m: x: wrong")]
)
def test_one_fault_is_enough(error: AssetError) -> None:
    for is_local, turn in ((False, Turn.NEVER), (True, Turn.LAST)):
        standing = Standing("x", LIMITS, is_local=is_local)
        standing.gave(10)
        standing.fails(error)
        standing.fails(IntegrityError("another"))
        assert standing.turn(1) is turn
        assert standing.is_wanted() is is_local
        assert standing.report() == MirrorReport("x", "left out", 1, 10, 0, error.message)


def test_a_bad_blob_of_a_folder_is_not_held_against_the_others_unless_none_can_be_read() -> None:
    standing = Standing("/x", LIMITS, is_local=True)
    for _ in range(9):
        standing.has_bad(IntegrityError("m: x: wrong"))
    assert standing.turn(1) is Turn.FIRST
    assert standing.report() == MirrorReport("/x", "damaged", why="m: x: wrong")
    for _ in range(LIMITS.mirror_misses):
        assert standing.turn(1) is Turn.FIRST
        standing.has_bad(OriginError("m: x: Input/output error"))
    assert standing.turn(1) is Turn.LAST
    assert standing.report().state == "left out"


@given(st.text("+-", max_size=300))
def test_however_files_are_spread_few_requests_are_in_vain(has: str) -> None:
    limits = replace(LIMITS, mirror_gap=64)
    story = asked(Standing("x", limits, is_local=False), has=has)
    hits = story.count("+")
    # After a hit: the misses in a row that are allowed, then one for each doubling of the gap, and one each full gap.
    assert story.count("-") <= (hits + 1) * (3 + 7) + len(has) / 64


def test_what_a_report_complains_of() -> None:
    assert MirrorReport("x", "used", 1, 1).complaint() is None
    assert MirrorReport("x").complaint() is None
    assert MirrorReport("x", "lacking", 2, 9, 5).complaint() == "mirror x lacked 5 of the 7 files it was asked for"
    assert "passed over: wrong" in (MirrorReport("x", "damaged", why="wrong").complaint() or "")
    assert MirrorReport("x", "left out", why="it lied").complaint() == "mirror x was left out of this run: it lied"
