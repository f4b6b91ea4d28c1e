"""Tables of text: columns that line up, and that are as wide as the screen where there is one."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from assetmgr.cli.output import shown

_GAP = "  "
_LEAST = 20
"""Columns of the screen below which a shortened cell says nothing any more."""


def table(
    rows: Sequence[Sequence[str]],
    right: Container[int] = (),
    *,
    room: int | None = None,
    flexible: Sequence[int] = (),
) -> str:
    """Columns that line up; the columns named in ``right`` are numbers.

    Parameters
    ----------
    room
        How wide the screen is. None: as wide as it takes.
    flexible
        The columns that are shortened where the screen is narrower, the one first that is to stay the longest: where
        shortening is not enough, the last of them is left out.
    """
    cleaned = [[shown(cell) for cell in row] for row in rows]
    widths = [max(_columns(row[column]) for row in cleaned) for column in range(len(rows[0]))]
    chosen = dict(enumerate(widths)) if room is None else fitted(widths, room, flexible)
    lines = []
    for row in cleaned:
        cells = []
        for column, width in chosen.items():
            cell = _cut(row[column], width)
            blank = " " * (width - _columns(cell))
            cells.append(blank + cell if column in right else cell + blank)
        lines.append(_GAP.join(cells).rstrip())
    return "\n".join(lines)


def fitted(widths: Sequence[int], room: int, flexible: Sequence[int]) -> Mapping[int, int]:
    """Which columns a screen has room for, and how wide each may be."""
    kept = list(flexible)
    while True:
        columns = [column for column in range(len(widths)) if column in kept or column not in flexible]
        fixed = sum(widths[column] for column in columns if column not in kept)
        left = room - fixed - len(_GAP) * (len(columns) - 1)
        chosen = {column: widths[column] for column in columns}
        for number, column in enumerate(sorted(kept, key=lambda column: widths[column])):
            chosen[column] = min(widths[column], left // (len(kept) - number))
            left -= chosen[column]
        if all(chosen[column] >= min(widths[column], _LEAST) for column in kept):
            return chosen
        kept.pop()


def _cut(text: str, width: int) -> str:
    """A text as short as it must be: an address without its middle, a sentence without its end."""
    if _columns(text) <= width:
        return text
    end = "" if " " in text else text[len(text) - (width - 3) // 2 :]
    while end and _columns(end) > (width - 3) // 2:
        end = end[1:]
    start = text
    while _columns(start) + 3 + _columns(end) > width:
        start = start[:-1]
    return f"{start}...{end}"


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes: two for each character of East Asia's scripts, none for accents."""
    if text.isascii():
        return len(text)
    import unicodedata

    wide = sum(unicodedata.east_asian_width(one) in "WF" for one in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))
