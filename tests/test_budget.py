"""The order in which a budget is spent: decisions only, on a clock that is a number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr.budget import ASSUMED_RATE, MEASURED, Due, in_turn, is_begun, rate_of, shares

NIGHT = 86_400


def hashed_in_a_night(files: list[Due], budget: float, rate: float, chance: int) -> list[Due]:
    """What one thread of a rate that never changes gets through."""
    unproved, proved = in_turn(files, chance)
    spent, done = 0.0, []
    for due, end in zip((unproved, proved), shares(budget, is_anything_proved=bool(proved)), strict=True):
        for number, one in enumerate(due):
            if not is_begun(one.size, is_first=number == 0, spent=spent, end=end, rate=rate):
                break
            spent += one.size / rate
            done.append(one)
    return done


def test_files_without_a_proof_come_first_then_the_oldest_proof() -> None:
    files = [Due(1, 300, 0), Due(1, None, 1), Due(1, 100, 2), Due(1, 200, 3), Due(1, 100, 4)]
    unproved, proved = in_turn(files, 7)
    assert [one.key for one in unproved] == [1]
    assert [one.key for one in proved] == [2, 4, 3, 0]


def test_the_order_of_files_without_a_proof_is_chances_so_that_none_always_waits() -> None:
    files = [Due(1, None, key) for key in range(5)]
    assert {in_turn(files, chance)[0][0].key for chance in range(100)} == set(range(5))
    assert in_turn(files, 3) == in_turn(files, 3)


@pytest.mark.parametrize(
    ("size", "is_first", "spent", "rate", "begun"),
    [
        (10**12, True, 0, 1e6, True),  # larger than any budget: its turn has come
        (10**12, True, 500, 1e6, True),
        (100, False, 599, 100, True),  # ends just in time
        (101, False, 599, 100, False),
        (int(ASSUMED_RATE), False, 599, None, True),
        (int(ASSUMED_RATE) + 1, False, 599, None, False),
        (0, False, 601, 100, False),
    ],
)
def test_a_file_is_begun_where_it_ends_in_time_and_the_first_always(
    size: int, is_first: bool, spent: float, rate: float | None, begun: bool
) -> None:
    assert is_begun(size, is_first=is_first, spent=spent, end=600, rate=rate) is begun


def test_a_few_small_files_say_nothing_of_how_fast_a_large_one_is_hashed() -> None:
    assert rate_of(6, 0.001) is None, "6 kB a second would leave every large file to another night"
    assert rate_of(0, 0.0) is None
    assert rate_of(2 * MEASURED, 2.0) == MEASURED


def test_what_has_no_proof_takes_half_of_the_time_while_others_wait() -> None:
    assert shares(600, is_anything_proved=True) == (300, 600)
    assert shares(600, is_anything_proved=False) == (600, 600)


@given(
    sizes=st.lists(st.integers(0, 1000), min_size=1, max_size=12),
    damaged=st.sets(st.integers(0, 11), max_size=3),
    fresh=st.sets(st.integers(0, 11), max_size=6),
    budget=st.floats(0.1, 500),
)
def test_several_runs_cover_everything_also_beside_damaged_files_and_ones_larger_than_the_budget(
    sizes: list[int], damaged: set[int], fresh: set[int], budget: float
) -> None:
    proofs: dict[int, int | None] = {key: None if key in damaged | fresh else 10 + key for key in range(len(sizes))}
    seen: set[int] = set()
    for night in range(1, 400):
        files = [Due(size, proofs[key], key) for key, size in enumerate(sizes)]
        for one in hashed_in_a_night(files, budget, rate=10, chance=night):
            seen.add(one.key)
            proofs[one.key] = None if one.key in damaged else night * NIGHT
        if len(seen) == len(sizes):
            return
    raise AssertionError(f"never hashed: {set(proofs) - seen}")


@given(sizes=st.lists(st.integers(0, 1000), min_size=1, max_size=20), budget=st.floats(0.1, 500))
def test_a_run_goes_over_its_budget_by_no_more_than_one_file_of_each_sort(sizes: list[int], budget: float) -> None:
    files = [Due(size, None if key % 2 else key, key) for key, size in enumerate(sizes)]
    done = hashed_in_a_night(files, budget, rate=10, chance=1)
    largest = sum(sorted((one.size for one in done), reverse=True)[:2])
    assert sum(one.size for one in done) / 10 <= budget + largest / 10
