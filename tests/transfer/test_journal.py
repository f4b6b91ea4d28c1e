"""The journal: what was written is read, what was not written whole is nothing, whatever the bytes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from assetmgr.transfer.journal import Header, Journal, is_part_of, parse_journal, read_journal, render_journal
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.pieces import Claim, Pieces, piece_size

SIZES = st.integers(1, 1 << 44)
PIECES = st.integers(1 << 20, 16 << 20)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)
SHA256 = st.one_of(st.none(), st.text("0123456789abcdef", min_size=64, max_size=64))


@st.composite
def headers(draw: st.DrawFn, most: int = 1 << 34) -> Header:
    return Header(draw(TEXTS), draw(st.integers(1, most)), draw(TEXTS), draw(PIECES), draw(SHA256))


@given(headers())
def test_a_new_journal_reads_as_nothing_arrived(header: Header) -> None:
    noted = parse_journal(render_journal(header))
    assert noted is not None
    assert noted.header == header
    assert noted.marks == (0,) * header.pieces
    assert noted.reach == 0


@given(headers(), st.data())
def test_a_cut_or_longer_journal_is_none(header: Header, data: st.DataObject) -> None:
    content = render_journal(header)
    at = data.draw(st.integers(0, len(content) - 1))
    assert parse_journal(content[:at]) is None
    assert parse_journal(content + b"\0") is None


@given(st.binary(max_size=300))
def test_any_bytes_are_a_journal_or_none(content: bytes) -> None:
    noted = parse_journal(content)
    assert noted is None or render_journal(noted.header)


@given(headers(), st.data())
def test_a_changed_byte_never_claims_more_than_a_piece_can_hold(header: Header, data: st.DataObject) -> None:
    content = bytearray(render_journal(header))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    noted = parse_journal(bytes(content))
    if noted is not None:
        assert noted.reach <= noted.header.size
        assert all(mark <= noted.header.piece for mark in noted.marks)


@given(st.integers(1, 200), st.data())
def test_what_is_marked_is_read_by_another_process(pieces: int, data: st.DataObject) -> None:
    header = Header("u", pieces * 1000 - data.draw(st.integers(0, 999)), '"e"', 1000)
    last = header.size - (pieces - 1) * 1000
    wanted = {}
    with tempfile.TemporaryDirectory() as folder:
        partial = str(Path(folder, "file"))
        journal = Journal(partial, header, fresh=True)
        for _ in range(data.draw(st.integers(0, 20))):
            piece = data.draw(st.integers(0, pieces - 1))
            count = data.draw(st.integers(0, last if piece == pieces - 1 else 1000))
            journal.mark(piece, count)
            wanted[piece] = count
            # Read as after kill -9 at this moment: the journal is not closed.
            noted = read_journal(partial)
            assert noted is not None
            assert noted.marks == tuple(wanted.get(number, 0) for number in range(pieces))
        journal.close()
        again = Journal(partial, header, fresh=False)
        again.mark(0, 1)
        again.close()
        noted = read_journal(partial)
        assert noted is not None
        assert noted.marks[1:] == tuple(wanted.get(number, 0) for number in range(1, pieces))


def test_a_part_is_of_what_is_wanted_or_is_not() -> None:
    locked = Header("http://h/a#1", 10, '"e"', 5, "a" * 64)
    free = Header("http://h/a#1", 10, '"e"', 5)
    cases = [
        (locked, ["http://other/b"], 10, "a" * 64, True),
        (locked, ["http://other/b"], 11, "a" * 64, False),
        (locked, ["http://other/b"], 10, "b" * 64, False),
        (locked, ["http://other/b"], 10, None, False),
        (free, ["http://other/b"], 10, None, False),
        (free, ["http://other/b"], 10, "a" * 64, False),
    ]
    for header, urls, size, sha256, part in cases:
        noted = parse_journal(render_journal(header))
        assert noted is not None
        assert is_part_of(noted, urls, size, sha256) is part, (header, urls, size, sha256)


# --- the queue of pieces ----------------------------------------------------------------------------------------------


@given(SIZES)
def test_pieces_are_within_bounds_and_few(size: int) -> None:
    limits = Limits()
    piece = piece_size(size, limits)
    assert limits.piece_least <= piece <= limits.piece_most
    assert -(-size // piece) <= 4096 or piece == limits.piece_most


def test_claims_are_large_in_the_beginning_and_small_in_the_end() -> None:
    pieces = Pieces(1 << 30, 1 << 20, None, lambda piece, mark: None, 16 << 20)
    taken = []
    while (claim := pieces.claim(8)) is not None:
        taken.append((claim.end - claim.start) >> 20)
        pieces.advance(claim, claim.end - claim.start)
    assert sum(taken) == 1024
    assert taken[0] == 16
    assert taken == sorted(taken, reverse=True)
    assert taken[-1] == 1


def test_a_stream_that_is_alone_runs_on_and_leaves_the_rest_to_others() -> None:
    pieces = Pieces(8 << 20, 1 << 20, None, lambda piece, mark: None, 16 << 20)
    alone = pieces.claim()
    assert alone is not None
    assert (alone.start, alone.end, pieces.run(alone)) == (0, 1 << 20, 8 << 20)
    pieces.extend(alone, 2)  # another one comes
    assert alone.end == 4 << 20
    other = pieces.claim(2)
    assert other is not None
    assert (other.start, pieces.run(alone)) == (4 << 20, 4 << 20)
    pieces.advance(alone, 4 << 20)
    assert pieces.follow(alone) is None
    pieces.release(other)
    pieces.extend(alone, 1)  # done, and goes on
    pieces.release(alone)
    assert pieces.open() == 4, "nothing is anybody's"


def test_a_stream_that_is_done_takes_over_half_of_what_the_slowest_lacks() -> None:
    pieces = Pieces(8 << 20, 1 << 20, None, lambda piece, mark: None, 16 << 20)
    slow = pieces.claim()
    assert slow is not None
    pieces.extend(slow, 1)
    assert (slow.start, slow.end, pieces.open()) == (0, 8 << 20, 0)
    pieces.advance(slow, 100_000)
    taken = pieces.claim(2)
    assert taken is not None
    assert (slow.end, taken.start, taken.end) == (5 << 20, 5 << 20, 8 << 20)
    pieces.release(taken)
    assert pieces.open() == 3


def test_what_a_stream_may_be_writing_is_not_taken_over() -> None:
    pieces = Pieces(300_000, 100_000, None, lambda piece, mark: None, 300_000)
    claim = pieces.claim()
    assert claim is not None
    pieces.extend(claim, 1)
    assert pieces.claim(2) is None
    pieces.advance(claim, 10_000)
    assert pieces.claim(2) is None
    assert claim.end == 300_000


@given(
    st.integers(1, 100),
    st.integers(1, 20),
    st.integers(1, 60),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30)), max_size=200),
)
def test_every_byte_is_somebodys_once(size: int, piece: int, most: int, steps: list[tuple[int, int]]) -> None:
    """Four streams take, bring and give back in any order: no byte is brought twice, and all are in the end."""
    marks: dict[int, int] = {}
    pieces = Pieces(size, piece, None, marks.__setitem__, most, 30)
    brought = [0] * size
    claims: dict[int, Claim] = {}
    for stream, amount in [*steps, *((number % 4, 30) for number in range(8 * size))]:
        if stream not in claims:
            new = pieces.claim(1 + stream)
            if new is None:
                continue
            claims[stream] = new
        claim = claims[stream]
        count = min(amount, claim.end - claim.at)
        for at in range(claim.at, claim.at + count):
            brought[at] += 1
        pieces.advance(claim, count)
        if claim.at == claim.end:
            del claims[stream]
            following = pieces.follow(claim) if amount % 2 else None
            if following is not None:
                assert following.start == claim.end <= pieces.run(claim)
                claims[stream] = following
        elif amount % 3 == 0:
            pieces.release(claims.pop(stream))
    assert all(count <= 1 for count in brought)
    assert pieces.arrived == sum(brought) == sum(marks.values())
    frontier = brought.index(0) if 0 in brought else size
    assert pieces.frontier() == frontier
    assert pieces.is_whole() == (frontier == size)
