"""A plan puts every file into one list, fetches every content once, and its bytes add up. No disk is touched."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr.contents import Contents, Unpacked
from assetmgr.lock import LockedAsset, LockedExtraction, LockedFile
from assetmgr.plan import AssetPlan, is_pinned, plan_all, plan_asset, stand_in
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


# --- archives -------------------------------------------------------------------------------------------------------

MEMBERS = tuple(LockedFile(f"m{number}", 10**number, f"{number:064x}", place="lavis/x") for number in range(4))
SIZE = sum(member.size for member in MEMBERS)


def zipped(*, keep: bool, listed: bool = True, size: int = 500, sha256: str = "f" * 64, name: str = "z") -> Contents:
    """An asset of one archive."""
    extract = LockedExtraction("lavis/x", keep_archive=keep, listing="e" * 64, members=len(MEMBERS), size=SIZE)
    archive = LockedFile("set.zip", size, sha256, place="files", extract=extract)
    entry = LockedAsset("dataset", "files", "d", (archive,), name)
    files = (*([archive] if keep else []), *(MEMBERS if listed else ()))
    placed = LockedAsset("dataset", "files", "d", files, name)
    return Contents(entry, placed, (Unpacked(archive, extract, MEMBERS if listed else None),))


@pytest.mark.parametrize("keep", [True, False])
@given(
    states=st.lists(st.sampled_from(State), min_size=5, max_size=5),
    elsewhere=st.sets(st.sampled_from([*(member.sha256 for member in MEMBERS), "f" * 64])),
    staged=st.sampled_from([0, 100, 500]),
    size=st.sampled_from([500, 1 << 20]),
)
def test_each_file_and_member_is_in_exactly_one_list_and_the_bytes_add_up(
    keep: bool, states: list[State], elsewhere: set[str], staged: int, size: int
) -> None:
    found = zipped(keep=keep, size=size)
    archive = found.unpacked[0].archive
    plan = plan_asset(found, states[: len(found.files)], elsewhere=elsewhere, brought={"f" * 64: staged})
    unpacked = [member for unpacking in plan.unpack for member in unpacking.members]
    there = [*lists(plan), *unpacked]
    assert sorted(file.path for file in there if file != archive or keep) == sorted(file.path for file in found.files)
    assert plan.disk_bytes == plan.fetch_bytes + sum(member.size for member in unpacked)
    if unpacked:
        has_archive = keep or archive in plan.fetch or archive.sha256 in elsewhere
        assert has_archive, "what is unpacked comes out of something"
    elif not keep:
        assert archive not in plan.fetch, "an archive that nobody needs is not fetched"
    taken = states[: len(found.files)][-4:]
    assert all(taken[MEMBERS.index(member)] is State.MISSING for member in unpacked)


def test_a_few_members_of_a_large_remote_zip_are_fetched_alone() -> None:
    states = [State.PROVED, State.PROVED, State.MISSING, State.PROVED]
    small, large = (plan_asset(zipped(keep=False, size=size), states) for size in (150, 1 << 20))
    assert ([file.path for file in large.fetch], large.unpack) == (["m2"], ())
    assert ([file.path for file in small.fetch], small.unpack_files) == (["set.zip"], 1)
    staged = plan_asset(zipped(keep=False, size=1 << 20), states, brought={"f" * 64: 1 << 20})
    assert (staged.fetch_bytes, staged.unpack_files) == (0, 1), "one that lock has brought is unpacked"


def test_an_archive_that_is_not_listed_here_counts_by_what_the_lock_says() -> None:
    plan = plan_asset(zipped(keep=True, listed=False), [State.MISSING])
    assert (plan.fetch_bytes, plan.unpack_files, plan.unpack_bytes) == (500, 4, SIZE)
    assert plan.disk_bytes == 500 + SIZE


@pytest.mark.parametrize("keep", [True, False])
def test_what_one_asset_unpacks_the_next_one_links(keep: bool) -> None:
    missing = [State.MISSING] * 5
    plans = [plan_asset(zipped(keep=keep, name=name), missing[: 4 + keep]) for name in ("a", "b")]
    merged = plan_all(plans)
    assert (merged.fetch_bytes, merged.unpack_bytes) == (500, SIZE)
    assert sorted(file.path for file in merged.assets[1].link) == sorted(
        [member.path for member in MEMBERS] + (["set.zip"] if keep else [])
    )


def test_what_is_not_pinned_yet_can_be_planned_with_each_content_counted_once() -> None:
    def file(path: str, git_sha1: str | None = None, size: int = 5) -> LockedFile:
        return LockedFile(path, size, git_sha1=git_sha1)

    entry = LockedAsset("model", "hub", "d", (file("a", "1"), file("b", "1"), file("c", "2"), file("d", None, -1)), "m")
    assert not is_pinned(entry)
    known = stand_in(entry)
    a, b, c, d = known.files
    assert is_pinned(known)
    assert a.sha256 == b.sha256
    assert len({a.sha256, c.sha256, d.sha256}) == 3
    assert d.size == 0
    assert stand_in(known) is known
