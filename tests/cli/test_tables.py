"""Tables line up, and fit the screen where there is one."""

from __future__ import annotations

import pytest

from assetmgr.cli.tables import fitted, table


def test_a_table_lines_up_and_has_no_trailing_spaces() -> None:
    text = table([("asset", "files"), ("a", "1"), ("a longer name", "1,000")], right=(1,))
    assert text.splitlines() == ["asset          files", "a                  1", "a longer name  1,000"]


def test_a_table_lines_up_whatever_the_names_are_written_in() -> None:
    lines = table([("\u4e2d\u6587", "1"), ("a\u0301b", "2"), ("x\ny", "3")]).splitlines()
    assert [line[:-1].rstrip() for line in lines] == ["\u4e2d\u6587", "a\u0301b", "x\\ny"]
    assert lines[0].endswith("\u6587  1")
    assert lines[1].endswith("b    2")


@pytest.mark.parametrize(
    ("room", "chosen"),
    [
        (200, {0: 20, 1: 5, 2: 90, 3: 40}),  # there is room for all
        (100, {0: 20, 1: 5, 2: 35, 3: 34}),  # both give way
        (80, {0: 20, 1: 5, 2: 25, 3: 24}),
        (50, {0: 20, 1: 5, 2: 21}),  # what says nothing any more is left out, the last first
        (30, {0: 20, 1: 5}),
        (10, {0: 20, 1: 5}),  # and what may not be shortened is not
    ],
)
def test_columns_give_way_to_a_narrow_screen(room: int, chosen: dict[int, int]) -> None:
    assert fitted((20, 5, 90, 40), room, flexible=(2, 3)) == chosen


def test_a_short_column_stays_as_it_is_and_a_shortened_one_keeps_what_tells_most() -> None:
    address, words = "https://example.org/a/long/way/to/weights.bin", "a sentence that goes on and on and on"
    lines = table(
        [("name", "origin", "about"), ("m", address, words), ("n", "hub:o/n", "\u4e2d\u6587" * 20)],
        room=60,
        flexible=(1, 2),
    )
    rows = lines.splitlines()
    assert rows[1] == "m     https://exam...weights.bin  a sentence that goes on..."
    assert "..." in rows[2]
    assert len(rows[2]) < 60, "wide characters take two columns each"
