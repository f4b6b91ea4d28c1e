"""Which bundle is older than what was loaded: a table of cases."""

from __future__ import annotations

import pytest

from assetmgr.bundle.serials import Brought, Loaded, judge

LAB = Loaded("lab", 5, 0, {"a": Brought(5, "new"), "b": Brought(3, "old")})
OTHER = Loaded("other", 8, 0, {"c": Brought(8, "c")})


@pytest.mark.parametrize(
    ("name", "serial", "assets", "older"),
    [
        ("lab", 5, {"a": "new"}, None),
        ("lab", 6, {"a": "newer"}, None),
        ("lab", 4, {"a": "new"}, (5, "")),
        ("lab", 4, {"x": "x"}, (5, "")),
        ("lab", None, {"a": "older"}, None),
        ("june", 4, {"a": "older"}, (5, "a")),
        ("june", 4, {"a": "new"}, None),
        ("june", 4, {"x": "x"}, None),
        ("june", 4, {"b": "other"}, None),
        ("june", 2, {"b": "other"}, (3, "b")),
        ("june", 7, {"a": "newer", "c": "older"}, (8, "c")),
        ("", 4, {"a": "older"}, (5, "a")),
    ],
)
def test_what_was_loaded_later_goes_before(
    name: str, serial: int | None, assets: dict[str, str], older: tuple[int, str] | None
) -> None:
    found = judge(name, serial, assets, [LAB, OTHER])
    assert (None if found is None else (found.serial, found.asset)) == older
