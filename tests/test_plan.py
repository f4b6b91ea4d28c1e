"""A plan puts every file into one list, fetches every content once, and its bytes add up. No disk is touched."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr.contents import Contents
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.plan import AssetPlan, plan_all, plan_asset
from assetmgr.store import State


def content(number: int, path: str) -> LockedFile:
    """A file whose size and digest follow from a number: equal numbers, equal bytes."""
    return LockedFile(path, 10**number, f"{number:064x}", place="files")


def asset(name: str, numbers: Sequence[int]) -> LockedAsset:
    files = tuple(content(number, f"f{index}") for index, number in enumerate(numbers))
    return LockedAsset("model", "files", "d", files, name)


def contents(entry: LockedAsset) -> Contents:
    return Contents(entry, entry)


def plan_of(
    name: str, cases: Sequence[tuple[int, State]], *, elsewhere: Sequence[int] = (), staged: int = 0, view: int = 0
) -> AssetPlan:
    return plan_asset(
        contents(asset(name, [number for number, _ in cases])),
        [state for _, state in cases],
        elsewhere={f"{number:064x}" for number in elsewhere},
        brought={f"{number:064x}": staged for number, _ in cases},
        view=view,
    )


@pytest.mark.parametrize(
    ("state", "elsewhere", "where"),
    [
        (State.PROVED, False, "keep"),
        (State.PROVED, True, "keep"),
        (State.UNPROVED, False, "prove"),
        (State.UNPROVED, True, "prove"),
        (State.UNLINKED, False, "prove"),
        (State.UNLINKED, True, "prove"),
        (State.MISSING, False, "fetch"),
        (State.MISSING, True, "link"),
    ],
)
def test_what_is_done_with_a_file_follows_from_what_is_there(state: State, elsewhere: bool, where: str) -> None:
    plan = plan_of("m", [(1, state)], elsewhere=[1] if elsewhere else [])
    assert {name: len(getattr(plan, name)) for name in ("keep", "prove", "link", "fetch")} == {
        "keep": 0,
        "prove": 0,
        "link": 0,
        "fetch": 0,
    } | {where: 1}


CASES = st.lists(st.tuples(st.integers(0, 4), st.sampled_from(State)), max_size=6)
ELSEWHERE = st.lists(st.integers(0, 4), max_size=3)
PLANS = st.builds(
    lambda cases, elsewhere, staged, view: plan_of("m", cases, elsewhere=elsewhere, staged=staged, view=view),
    CASES,
    ELSEWHERE,
    st.integers(0, 20_000),
    st.integers(0, 100),
)


def lists(plan: AssetPlan) -> list[LockedFile]:
    return [*plan.keep, *plan.prove, *plan.link, *plan.fetch]


@given(PLANS)
def test_each_file_is_in_exactly_one_list(plan: AssetPlan) -> None:
    assert sorted(lists(plan), key=lambda file: file.path) == list(plan.entry.files)


@given(PLANS)
def test_bytes_add_up(plan: AssetPlan) -> None:
    different = {file.sha256: file.size for file in plan.fetch}
    assert plan.fetch_bytes == sum(different.values()) - plan.staged
    assert plan.fetch_bytes >= 0
    assert plan.disk_bytes == plan.fetch_bytes + plan.view
    assert plan.held_bytes + sum(file.size for file in plan.fetch) == plan.entry.size


@given(st.lists(PLANS, max_size=4))
def test_over_several_assets_each_content_is_fetched_once(plans: list[AssetPlan]) -> None:
    merged = plan_all(plans)
    for before, after in zip(plans, merged.assets, strict=True):
        assert (after.entry, after.keep, after.prove, after.view) == (
            before.entry,
            before.keep,
            before.prove,
            before.view,
        )
        assert sorted(lists(after), key=lambda file: file.path) == list(before.entry.files)
        assert after.fetch_bytes >= 0
    fetched = [{file.sha256 for file in plan.fetch} for plan in merged.assets]
    assert sum(map(len, fetched)) == len(set().union(*fetched)), "no content is fetched for two assets"
    wanted = {file.sha256: file.size for plan in plans for file in plan.fetch}
    assert set().union(*fetched) == set(wanted), "and none is forgotten"
    assert merged.fetch_bytes == sum(wanted.values()) - sum(plan.staged for plan in merged.assets)
    assert merged.disk_bytes == merged.fetch_bytes + sum(plan.view for plan in plans)


def test_a_duplicate_within_an_asset_counts_once() -> None:
    plan = plan_of("m", [(3, State.MISSING), (3, State.MISSING), (2, State.MISSING)])
    assert len(plan.fetch) == 3
    assert plan.fetch_bytes == 1100


def test_a_duplicate_over_assets_is_fetched_for_the_first_and_linked_for_the_rest() -> None:
    merged = plan_all([plan_of("a", [(3, State.MISSING)]), plan_of("b", [(3, State.MISSING), (2, State.MISSING)])])
    assert [plan.fetch_bytes for plan in merged.assets] == [1000, 100]
    assert [len(plan.link) for plan in merged.assets] == [0, 1]


def test_staged_bytes_are_not_fetched_again_and_never_more_than_there_are() -> None:
    assert plan_of("m", [(3, State.MISSING)], staged=400).fetch_bytes == 600
    assert plan_of("m", [(3, State.MISSING)], staged=4000).fetch_bytes == 0
    assert plan_of("m", [(3, State.PROVED)], staged=400).fetch_bytes == 0


def test_a_file_of_unknown_size_counts_nothing() -> None:
    entry = LockedAsset("model", "files", "d", (LockedFile("a", -1, "a" * 64, place="files"),), "m")
    plan = plan_asset(contents(entry), [State.MISSING])
    assert (plan.fetch_bytes, plan.disk_bytes) == (0, 0)


def test_what_is_proved_needs_nothing() -> None:
    plan = plan_all([plan_of("m", [(5, State.PROVED)] * 3)])
    assert (plan.fetch_bytes, plan.disk_bytes) == (0, 0)


def test_a_state_for_every_file() -> None:
    with pytest.raises(ValueError, match="zip"):
        plan_asset(contents(asset("m", [1, 2])), [State.MISSING])
