"""Where in a cache a file may lie: by names alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr.caches.known import Kind
from assetmgr.caches.places import places
from assetmgr.lock import LockedAsset, LockedFile

COMMIT, GIT, SHA = "c" * 40, "a" * 40, "b" * 64
HUB = LockedAsset("dataset", "hub", "d", (), "name", repo="Org/Name", commit=COMMIT)
FILES = LockedAsset("model", "files", "d", (), "name")
REPO = "datasets--Org--Name"


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (LockedFile("sub/a.json", 1, SHA, GIT), (f"{REPO}/blobs/{SHA}", f"{REPO}/blobs/{GIT}")),
        (LockedFile("sub/a.json", 1, SHA), (f"{REPO}/blobs/{SHA}",)),
        (LockedFile("sub/a.json", 1, None, GIT), (f"{REPO}/blobs/{GIT}",)),
    ],
)
def test_a_hub_file_is_a_blob_of_its_digest_or_a_name_of_its_commit(
    file: LockedFile, expected: tuple[str, ...]
) -> None:
    assert places("hub", HUB, file) == (*expected, f"{REPO}/snapshots/{COMMIT}/sub/a.json")
    assert places("torch", HUB, file) == places("clip", HUB, file) == places("lavis", HUB, file) == ()
    assert set(places("any", HUB, file)) >= {*expected, *(f"hub/{name}" for name in expected), "sub/a.json"}


@pytest.mark.parametrize(
    ("place", "kind", "expected"),
    [
        ("torch", "torch", ("hub/checkpoints/own.pth", "hub/checkpoints/w 1.pth")),
        ("torch", "clip", ("own.pth", "w 1.pth")),
        ("files", "torch", ("hub/checkpoints/own.pth", "hub/checkpoints/w 1.pth")),
        ("clip", "clip", ("own.pth", "w 1.pth")),
        ("clip", "lavis", ()),
        ("clip", "hub", ()),
        ("lavis/coco/annotations", "lavis", ("coco/annotations/sub/own.pth",)),
        ("lavis", "lavis", ("sub/own.pth",)),
        ("lavis/coco", "torch", ()),
        ("files/x", "lavis", ()),
    ],
)
def test_a_plain_file_has_its_own_name_or_its_urls(place: str, kind: Kind, expected: tuple[str, ...]) -> None:
    urls = ("https://host/folder/w%201.pth?x=/y#z", "http://host/", "https://host/..")
    assert places(kind, FILES, LockedFile("sub/own.pth", 1, SHA, place=place, urls=urls)) == expected


def test_a_folder_that_the_user_names_may_be_a_store_a_torch_home_a_lavis_root_or_just_files() -> None:
    found = places("any", FILES, LockedFile("sub/w.bin", 1, SHA, place="lavis/coco"))
    assert set(found) == {"lavis/coco/sub/w.bin", "hub/checkpoints/w.bin", "coco/sub/w.bin", "sub/w.bin", "w.bin"}


@given(url=st.text(), kind=st.sampled_from(["torch", "clip", "any"]))
def test_no_url_leads_out_of_a_cache(url: str, kind: Kind) -> None:
    for name in places(kind, FILES, LockedFile("w.bin", 1, SHA, place="torch", urls=(url,))):
        assert not name.startswith("/")
        assert not {"..", "."} & set(name.replace("\\", "/").split("/"))
        assert "\0" not in name
