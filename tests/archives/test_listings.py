"""A listing says the same of the same content, in the same bytes, and a hostile one gets nowhere."""

from __future__ import annotations

import io
import json

import pytest

from assetmgr.archives import ListedMember, dump_listing, extract, listing, parse_listing
from assetmgr.errors import AssetError, LockError, LockVersionError, UnsafeNameError
from tests.archives.building import zip_of

DIGEST = "0" * 64


def document(*members: dict[str, object], version: object = 1) -> bytes:
    return json.dumps({"version": version, "members": members}).encode()


def test_the_document_is_sorted_with_one_member_a_line() -> None:
    members = [ListedMember("b", 1, DIGEST), ListedMember("a/caf\u00e9", 2, DIGEST)]
    data = dump_listing(members)
    assert data == dump_listing(reversed(members))
    assert data.decode().splitlines() == [
        '{"version":1,"members":[',
        f'{{"path":"a/caf\u00e9","size":2,"sha256":"{DIGEST}"}},',
        f'{{"path":"b","size":1,"sha256":"{DIGEST}"}}',
        "]}",
    ]
    assert parse_listing(data, "x") == tuple(sorted(members, key=lambda member: member.path))
    assert parse_listing(dump_listing([]), "x") == ()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"version":1}',
        b"[" * 100_000,
        document({"path": "../x", "size": 1, "sha256": DIGEST}),
        document({"path": "/x", "size": 1, "sha256": DIGEST}),
        document({"path": ".Extracting-0123456789abcdef/x", "size": 1, "sha256": DIGEST}),
        document({"path": "x", "size": -1, "sha256": DIGEST}),
        document({"path": "x", "size": "1", "sha256": DIGEST}),
        document({"path": "x", "size": 1, "sha256": "../../x"}),
        document({"path": "x", "size": 1, "sha256": DIGEST.replace("0", "A")}),
        document({"path": "x", "size": 1}),
        document({"path": "x", "size": 1, "sha256": DIGEST}, {"path": "X", "size": 1, "sha256": DIGEST}),
        document({"path": "x", "size": 1, "sha256": DIGEST}, {"path": "x/y", "size": 1, "sha256": DIGEST}),
    ],
)
def test_a_hostile_listing_is_refused_with_the_name_of_the_document(data: bytes) -> None:
    with pytest.raises(LockError, match=r"coco\.listing"):
        parse_listing(data, "coco.listing")


def test_a_newer_listing_is_told_apart_from_a_damaged_one() -> None:
    with pytest.raises(LockVersionError, match="version 2"):
        parse_listing(document(version=2), "x")


def test_extract_checks_a_listing_that_nobody_parsed(tmp_path: object) -> None:
    archive = io.BytesIO(zip_of({"x": b"1"}))
    for member in (ListedMember("../x", 1, DIGEST), ListedMember("x", 1, "y"), ListedMember("x", -1, DIGEST)):
        with pytest.raises(AssetError):
            extract(archive, f"{tmp_path}/out", [member])


def test_stripping_and_a_folder_select_what_is_listed() -> None:
    files = {"top/train/a": b"1", "top/val/b": b"2", "top/readme": b"3", "readme": b"4", "topping/c": b"5"}
    archive = io.BytesIO(zip_of(files))

    def paths(strip: int = 0, prefix: str | None = None) -> list[str]:
        return [member.path for member in listing(archive, strip=strip, prefix_filter=prefix)]

    assert paths() == sorted(files)
    assert paths(1) == ["c", "readme", "train/a", "val/b"]
    assert paths(2) == ["a", "b"]
    assert paths(0, "top") == paths(0, "top/") == ["top/readme", "top/train/a", "top/val/b"]
    assert paths(1, "top") == ["readme", "train/a", "val/b"]
    assert paths(2, "top/train") == ["a"]
    assert paths(0, "to") == []


def test_members_that_become_one_by_stripping_are_refused() -> None:
    archive = io.BytesIO(zip_of({"a/x": b"1", "b/X": b"2"}))
    with pytest.raises(UnsafeNameError, match="one file where case"):
        listing(archive, strip=1)
