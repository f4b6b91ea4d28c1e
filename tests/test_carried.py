"""What is told of assets to another machine: complete, checked as a lock is, and enough to pull by."""

from __future__ import annotations

from pathlib import Path

import pytest

from assetmgr import Workspace
from assetmgr.bundle.creating import Order
from assetmgr.carried import Carriage, Carried, dump_carriage, parse_carriage
from assetmgr.errors import LockError, LockVersionError, NotLockedError
from assetmgr.lock import LockedAsset, LockedFile

_SHA = "a" * 64


def _asset(name: str, *requires: str, path: str = "a.bin", sha256: str = _SHA) -> Carried:
    entry = LockedAsset(
        "model", "files", "d" * 64, (LockedFile(path, 3, sha256, place="files"),), name=name, requires=requires
    )
    return Carried(name, entry, use={"load": {"dtype": "float16"}})


def test_a_document_says_again_what_it_was_made_of() -> None:
    document = Carriage((_asset("words"), _asset("model", "words")))
    data = dump_carriage(document)
    assert parse_carriage(data, "it") == document
    assert dump_carriage(parse_carriage(data, "it")) == data
    assert [each.name for each in document.of(["words"]).assets] == ["words"]
    with pytest.raises(NotLockedError, match="other"):
        document.of(["other"])


@pytest.mark.parametrize(
    ("assets", "said"),
    [
        ([_asset("../up")], "unsafe asset name"),
        ([_asset("a", path="../up")], "up"),
        ([_asset("a", sha256="../../x")], "sha256"),
        ([_asset("a"), _asset("a")], "twice"),
        ([_asset("a", "b")], "requires b, which is not in it"),
        ([_asset("b"), Carried("a", _asset("a", "b").entry, pins={"b": "0" * 64})], "another b"),
    ],
)
def test_what_is_unsafe_or_contradicts_itself_is_refused(assets: list[Carried], said: str) -> None:
    with pytest.raises(LockError, match=said):
        parse_carriage(dump_carriage(Carriage(tuple(assets))), "it")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"version": 1, "assets": {}}', b"\xff", b"[" * 10_000])
def test_what_is_no_such_document_is_refused(data: bytes) -> None:
    with pytest.raises(LockError, match="it"):
        parse_carriage(data, "it")


def test_a_newer_document_says_what_to_upgrade() -> None:
    with pytest.raises(LockVersionError, match="version 2"):
        parse_carriage(b'{"version": 2, "assets": "whatever"}', "it")


def test_another_store_becomes_the_same_by_a_document_and_its_bytes_alone(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_bytes(b"some words")
    (tmp_path / "weights.bin").write_bytes(b"weights" * 100)
    (tmp_path / "assets.yaml").write_text(
        """
version: 1
models:
  words: {files: [{url: ./words.txt}]}
  model: {files: [{url: ./weights.bin}], requires: [words], load: {dtype: float16}}
"""
    )
    first = Workspace(tmp_path / "assets.yaml", tmp_path / "here")
    first.lock()
    first.pull()
    first.create_bundle(Order(str(tmp_path / "bundle")), ["model"])
    data = dump_carriage(first.carriage(["model"]))
    (tmp_path / "words.txt").unlink()
    (tmp_path / "weights.bin").unlink()

    there = Workspace([], tmp_path / "there", local_caches=False)
    assert {done.name for done in there.load_bundle([tmp_path / "bundle"]).assets} == {"words", "model"}
    assert there.installed("model", check="full").use == {"load": {"dtype": "float16"}}
    assert there.carriage(["model"]) == parse_carriage(data, "it")
