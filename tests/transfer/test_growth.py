"""When a file is given more streams: a table of flows, in MB/s for all streams together, and what follows."""

from __future__ import annotations

import pytest

from assetmgr.transfer.growth import Growth
from assetmgr.transfer.limits import Limits


@pytest.mark.parametrize(
    ("flows", "added"),
    [
        pytest.param([1000, 500, 100], [0, 0, 0], id="fast stays one"),
        pytest.param([20, 160, 160], [7, 0, 0], id="a crawl has all at once"),
        pytest.param([60, 20, 160], [0, 7, 0], id="a burst first, then a crawl"),
        pytest.param([60, 60, 120, 120, 240, 240, 480], [0, 1, 0, 2, 0, 4, 0], id="slow doubles"),
        pytest.param([60, 60, 150, 900, 150, 900], [0, 1, 0, 0, 0, 0], id="one bad moment is none"),
        pytest.param([60, 60, 220, 220, 220], [0, 1, 0, 0, 0], id="enough is enough"),
        pytest.param([60, 60, 60, 60, 60, 60], [0, 1, 0, 2, 0, 0], id="two steps in vain are enough"),
        pytest.param([5, 5, 5, 5], [7, 0, 0, 0], id="never more than the most"),
    ],
)
def test_streams_are_added_while_each_is_slow_and_more_bring_more(flows: list[float], added: list[int]) -> None:
    growth, streams, found = Growth(Limits(connections=8, slow=100e6)), 1, []
    for flow in flows:
        found.append(growth.wanted(flow * 1e6, streams))
        streams += found[-1]
    assert found == added
