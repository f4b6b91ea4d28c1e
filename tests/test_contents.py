"""An entry's files and its archives' members are one list, and stamps keep to it where a listing is missing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr.archives import ListedMember, dump_listing
from assetmgr.contents import Contents, contents
from assetmgr.errors import LockError
from assetmgr.lock import LockedAsset, LockedExtraction, LockedFile


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def listing(*paths: str) -> bytes:
    return dump_listing(ListedMember(path, len(path), sha256(path.encode())) for path in paths)


def archive(path: str, members: bytes, count: int, size: int, *, keep: bool = True) -> LockedFile:
    extract = LockedExtraction("lavis/x", listing=sha256(members), members=count, size=size, keep_archive=keep)
    return LockedFile(path, 9, sha256(b"archive"), place="files", extract=extract)


def asset(*files: LockedFile) -> LockedAsset:
    return LockedAsset("dataset", "files", "d", files, "m")


TWO = listing("a", "bb")
THREE = listing("ccc", "d/d", "e")
PLAIN = LockedFile("plain", 1, sha256(b"x"), place="files")
ENTRY = asset(
    archive("1.zip", TWO, 2, 3), PLAIN, archive("2.zip", THREE, 3, 7, keep=False), archive("3.zip", TWO, 2, 3)
)
LISTINGS = {sha256(data): data for data in (TWO, THREE)}


def of(entry: LockedAsset, listings: Mapping[str, bytes] = LISTINGS) -> Contents:
    return contents(entry, listings.get)


def test_members_stand_after_the_files_and_an_archive_that_is_not_kept_does_not() -> None:
    found = of(ENTRY)
    assert [(file.place, file.path) for file in found.files] == [
        ("files", "1.zip"),
        ("files", "plain"),
        ("files", "3.zip"),
        *(("lavis/x", path) for path in ("a", "bb", "ccc", "d/d", "e", "a", "bb")),
    ]
    assert (ENTRY.count, ENTRY.size) == (len(found.files), sum(file.size for file in found.files))
    assert found.unlisted == ()


def test_an_entry_without_archives_is_its_own_contents() -> None:
    plain = asset(PLAIN)
    assert of(plain).placed is plain


@given(st.sets(st.sampled_from(sorted(LISTINGS))), st.lists(st.integers(0, 9), min_size=10, max_size=10))
def test_stamps_find_their_files_whichever_listings_are_there(there: set[str], stamps: list[int]) -> None:
    assert ENTRY.count == 10
    whole, part = of(ENTRY), of(ENTRY, {digest: LISTINGS[digest] for digest in there})
    by_name = dict(zip(map(str, range(10)), zip(whole.files, stamps, strict=True), strict=True))
    shown = part.of_receipt(stamps)
    assert len(shown) == len(part.files)
    expected = iter(by_name.values())
    for file, stamp in zip(part.files, shown, strict=True):
        assert (file, stamp) in expected, "in the order of the whole"
    assert part.for_receipt(shown, stamps) == tuple(stamps)
    unknown = part.for_receipt(shown, ())
    assert len(unknown) == 10
    assert sum(stamp is None for stamp in unknown) == 10 - len(shown)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no listing"),
        (b"\xff", "no listing"),
        (b'{"members": [{"path": 3}]}', "no listing"),
        (b'{"members": "x"}', "no listing"),
        (listing("a"), "names 1 files of 1 bytes, and the lock says 2 of 3"),
        (listing("a", "b"), "names 2 files of 2 bytes"),
    ],
)
def test_a_listing_that_is_not_what_the_lock_says_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(LockError, match=says) as caught:
        of(ENTRY, {sha256(TWO): data})
    assert "m: 1.zip" in caught.value.message
