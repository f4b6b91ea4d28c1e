"""Which folders are looked into, by the environment alone."""

from __future__ import annotations

import os

import pytest

from assetmgr.caches.known import Cache, known_caches

pytestmark = pytest.mark.skipif(os.name == "nt", reason="paths of another kind")

CLIP_AND_LAVIS = [
    Cache("/home/me/.cache/clip", "clip"),
    Cache("/home/me/.cache/lavis", "lavis"),
    Cache("/export/home/.cache/lavis", "lavis"),
]
USUAL = [Cache("/home/me/.cache/huggingface/hub", "hub"), Cache("/home/me/.cache/torch", "torch"), *CLIP_AND_LAVIS]


def known(**environ: str) -> list[Cache]:
    return known_caches(environ, "/home/me", "/work")


def test_without_any_variable_they_are_the_usual_ones() -> None:
    assert known() == USUAL


@pytest.mark.parametrize(
    ("variable", "value", "cache"),
    [
        ("HF_HUB_CACHE", "/a", Cache("/a", "hub")),
        ("HUGGINGFACE_HUB_CACHE", "/a/", Cache("/a", "hub")),
        ("TRANSFORMERS_CACHE", "~/a", Cache("/home/me/a", "hub")),
        ("HF_HOME", "/a", Cache("/a/hub", "hub")),
        ("HF_HOME", "$HOME/a", Cache("/there/a/hub", "hub")),
        ("HF_HUB_CACHE", "a/../b", Cache("/work/b", "hub")),
        ("TORCH_HOME", "/t", Cache("/t", "torch")),
        ("ASSETMGR_LOCAL_CACHES", "/a", Cache("/a", "any")),
    ],
)
def test_each_variable_adds_one_and_takes_none_away(variable: str, value: str, cache: Cache) -> None:
    found = known(HOME="/there", **{variable: value})
    assert set(found) == {cache, *USUAL}


def test_another_cache_folder_of_the_user_counts_beside_the_usual_one() -> None:
    found = known(XDG_CACHE_HOME="/x")
    assert set(found) == {Cache("/x/huggingface/hub", "hub"), Cache("/x/torch", "torch"), *USUAL}


def test_what_the_user_names_comes_first_and_off_is_none_at_all() -> None:
    assert known(ASSETMGR_LOCAL_CACHES="/b::/a")[:2] == [Cache("/b", "any"), Cache("/a", "any")]
    for word in ("off", "OFF", " none ", "0", "no"):
        assert known(ASSETMGR_LOCAL_CACHES=word, HF_HOME="/a") == []


def test_none_comes_twice() -> None:
    assert known(HF_HOME="/home/me/.cache/huggingface", TORCH_HOME="/home/me/.cache/torch/") == USUAL
