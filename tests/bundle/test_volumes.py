"""Which file goes onto which volume."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from assetmgr.bundle.volumes import split
from assetmgr.errors import UsageError

SIZES = st.dictionaries(st.text("abcdef", min_size=1, max_size=4), st.integers(0, 300_000), max_size=30)


@given(sizes=SIZES, most=st.integers(1, 700_000), common=st.sets(st.text("abcdef", min_size=1, max_size=2)))
def test_every_file_is_on_one_volume_and_none_is_too_full(sizes: dict[str, int], most: int, common: set[str]) -> None:
    shared = common & sizes.keys()
    try:
        volumes = split(sizes, most, common=common)
    except UsageError as error:
        least = int(error.mend.split()[1])
        assert least > most
        volumes = split(sizes, least, common=common)
        most = least
    assert volumes
    for volume in volumes:
        assert shared <= volume
        assert sum(sizes[each] for each in volume) <= most
    own = [each for volume in volumes for each in volume - shared]
    assert sorted(own) == sorted(sizes.keys() - shared)


@given(sizes=SIZES, more=SIZES)
def test_what_is_on_a_volume_stays_there(sizes: dict[str, int], more: dict[str, int]) -> None:
    first = split(sizes, 500_000)
    before = {each: number for number, volume in enumerate(first) for each in volume}
    again = split({**more, **sizes}, 500_000, before=before)
    assert all(each in again[number] for each, number in before.items())
