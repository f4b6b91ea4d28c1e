"""Pulling by what a mirror tells, without manifest and lock: whole, said aloud, believed as little as may be."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from assetmgr import Workspace
from assetmgr.carried import MEDIA_TYPE, Carriage, Carried, dump_carriage, parse_carriage, parse_list
from assetmgr.digests import sha256_text
from assetmgr.errors import (
    AccessError,
    AssetError,
    LockError,
    NotLockedError,
    OfflineError,
    OriginError,
    UnknownAssetError,
    UsageError,
)
from assetmgr.mirrored import judge
from assetmgr.mirrors.http import mirror_tokens
from tests.mirrors.support import stock
from tests.mirrors.told import MANIFEST, WEIGHTS, empty, machine
from tests.server.support import serving
from tests.support import flip_byte
from tests.transfer.support import Words


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mirror that tells of three assets; where their bytes came from is gone."""
    folder = tmp_path_factory.mktemp("told")
    first = machine(folder / "first")
    report = first.push(str(folder / "mirror"))
    assert not report.errors
    for name in ("words.txt", "weights.bin", "rows.json"):
        (folder / "first" / name).unlink()
    return folder / "mirror"


@contextlib.contextmanager
def plain_server(folder: Path) -> Iterator[str]:
    """A server of plain files."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing is to be seen."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def bundle_of(mirror: Path, folder: Path) -> Path:
    """The same assets as an OCI layout alone: an index over a manifest, whose config tells of them."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for blob in (mirror / "blobs" / "sha256").iterdir():
        os.link(blob, blobs / blob.name)
    told = [parse_carriage(each.read_bytes(), "") for each in (mirror / "assetmgr/v1/assets").rglob("*.json")]
    assets = {each.name: each for one in sorted(told, key=lambda one: len(one.assets)) for each in one.assets}

    def put(data: bytes, kind: str) -> dict[str, object]:
        digest = sha256_text(data)
        (blobs / digest).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    config = put(dump_carriage(Carriage(tuple(assets.values()))), MEDIA_TYPE)
    image = "application/vnd.oci.image.manifest.v1+json"
    manifest = put(json.dumps({"schemaVersion": 2, "config": config, "layers": []}).encode(), image)
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    return folder


@contextlib.contextmanager
def offered(kind: str, mirror: Path, folder: Path) -> Iterator[str]:
    """The same assets by every kind of mirror."""
    if kind == "assetmgr serve":
        with serving(Workspace([], mirror.parent / "first" / "store")) as server:
            yield f"http://127.0.0.1:{server.port}"
        return
    place = bundle_of(mirror, folder) if "bundle" in kind else mirror
    with plain_server(place) if "server" in kind else contextlib.nullcontext(str(place)) as where:
        yield where


@pytest.mark.parametrize("kind", ["folder", "server", "bundle", "server of a bundle", "assetmgr serve"])
def test_what_a_mirror_tells_of_is_pulled_and_used_without_a_manifest(mirror: Path, tmp_path: Path, kind: str) -> None:
    with offered(kind, mirror, tmp_path / "bundle") as where:
        there, said = empty(tmp_path / "there", where, offline=kind in ("folder", "bundle"))
        listed = there.on_mirrors([where])
        assert [(row.name, row.state, row.mirror) for row in listed] == [
            (name, "not installed", where) for name in ("org/model", "rows", "words")
        ]
        assert {done.name for done in there.pull(["org/model", "rows"])} == {"words", "org/model", "rows"}
        assert [row.state for row in there.on_mirrors([where], "model")] == ["installed"]
    assert any(f"org/model: in no manifest or lock here; mirror {where} tells" in line for line in said)
    assert there.traffic().mirrors[0].files == 3

    alone = Workspace([], tmp_path / "there", offline=True)
    assert alone.installed("org/model", check="full").use == {"load": {"dtype": "float16"}}
    assert Path(alone.path("org/model"), "weights.bin").read_bytes() == WEIGHTS
    assert not alone.verify(full=True).findings
    assert {row.name: row.state for row in alone.status()} == dict.fromkeys(("org/model", "rows", "words"), "installed")
    assert alone.show("org/model").requires == ("words",)
    assert len(alone.load_dataset("rows", split="train")) == 1


def test_a_push_tells_of_what_is_whole_there_and_keeps_what_was_told(tmp_path: Path) -> None:
    first = machine(tmp_path / "first")
    target = tmp_path / "mirror"
    first.push(str(target), ["rows"])
    flip_byte(Path(first.path("words"), "words.txt"))
    report = first.push(str(target))
    assert len(report.errors) == 1
    names = {each.name for each in parse_list((target / "assetmgr/v1/assets.json").read_bytes(), "it")}
    assert names == {"rows"}, "neither what is damaged nor what requires it"
    assert sorted(path.name for path in (target / "assetmgr/v1/assets").rglob("*.json")) == ["rows.json"]
    first.verify(["words"], repair=True)
    first.push(str(target), ["org/model"])
    names = {each.name for each in parse_list((target / "assetmgr/v1/assets.json").read_bytes(), "it")}
    assert names == {"rows", "words", "org/model"}
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*.json")}
    first.push(str(target))
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*.json")} == before


def test_an_unknown_name_is_told_with_the_nearest_and_what_to_type(mirror: Path, tmp_path: Path) -> None:
    there, _ = empty(tmp_path / "there", mirror)
    with pytest.raises(UnknownAssetError, match=r"did you mean 'org/model'\?") as told:
        there.pull(["org/modell"])
    assert told.value.mend == f"see what there is: assetmgr list --mirror {mirror}"
    with pytest.raises(UnknownAssetError, match="they have org/model, rows, words"):
        there.pull(["zzz"])
    # One that is not there does not keep the others from being pulled.
    with pytest.raises(UnknownAssetError):
        there.pull(["zzz", "words"])
    assert there.status(["words"])[0].state == "installed"


def test_offline_a_mirror_elsewhere_is_not_asked_and_the_name_is_not_blamed(mirror: Path, tmp_path: Path) -> None:
    there, _ = empty(tmp_path / "there", "http://127.0.0.1:9", offline=True)
    with pytest.raises(OfflineError, match=r"words: .*--offline .* forbids to ask http://127\.0\.0\.1:9") as told:
        there.pull(["words"])
    assert "without --offline: assetmgr pull words --mirror http://127.0.0.1:9" in told.value.mend
    there, _ = empty(tmp_path / "there", "http://127.0.0.1:9", mirror, offline=True)
    assert there.pull(["words"])
    there, said = empty(tmp_path / "there", "http://127.0.0.1:9", offline=True)
    assert there.pull(["words"])
    assert "taking it as it was pulled before" in said[0]


def test_a_mirror_that_tells_nothing_or_is_down_is_skipped_with_a_word(mirror: Path, tmp_path: Path) -> None:
    stock(tmp_path / "bytes", b"alone")
    there, _ = empty(tmp_path / "there", tmp_path / "bytes")
    with pytest.raises(UnknownAssetError, match="gives bytes and tells of no asset") as told:
        there.pull(["words"])
    assert "assetmgr mirror push" in told.value.mend
    with pytest.raises(OriginError, match="gives bytes, and tells of no asset"):
        there.on_mirrors([str(tmp_path / "bytes")])
    down = "http://127.0.0.1:9"
    there, _ = empty(tmp_path / "there", down)
    with pytest.raises(OriginError, match="no mirror answers"):
        there.pull(["words"])
    there, _ = empty(tmp_path / "there", down, tmp_path / "gone", tmp_path / "bytes", mirror)
    assert there.pull(["words"])
    states = {report.mirror: report.state for report in there.traffic().mirrors}
    assert states[down] == states[str(tmp_path / "gone")] == "left out"
    assert there.traffic().mirrors[0].complaint()
    # What was pulled once is there also when every mirror is gone.
    assert Workspace([], tmp_path / "there", offline=True).pull(["words"])
    there, said = empty(tmp_path / "there", down)
    assert there.pull(["words"])
    assert any("taking it as it was pulled before" in line for line in said)


def test_locked_takes_no_pins_from_a_mirror(mirror: Path, tmp_path: Path) -> None:
    there, _ = empty(tmp_path / "there", mirror)
    with pytest.raises(NotLockedError, match="--locked takes no pins from a mirror"):
        there.pull(["words"], locked=True)
    assert there.store.installed_names() == ()


def test_a_lock_here_goes_before_what_a_mirror_tells(mirror: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "words.txt").write_bytes(b"other words")
    (own / "assets.yaml").write_text("version: 1\nmodels:\n  words: {files: [{url: ./words.txt}]}\n")
    words = Words()
    here = Workspace(own / "assets.yaml", own / "store", mirrors=[mirror], local_caches=False, reporter=words)
    here.lock()
    here.pull()
    here.pull(["org/model"])
    assert any("words: mirror" in line and "the lock here, which counts" in line for line in words.said)
    assert Path(here.installed("words").folder).exists()
    assert [receipt.entry.files[0].size for receipt in here.store.receipts_of("words")] == [11]
    assert here.carriage(["org/model"]).assets[-1].pins == {"words": here.locked(["words"])[0].digest()}


def test_what_comes_with_assetmgr_is_taken_from_a_mirror_where_no_origin_answers(mirror: Path, tmp_path: Path) -> None:
    each = _told(mirror, "words")
    shipped = msgspec.structs.replace(
        each, name="coco_caption", entry=msgspec.structs.replace(each.entry, kind="dataset")
    )
    path = mirror / "assetmgr/v1/assets/coco_caption.json"
    path.write_bytes(dump_carriage(Carriage((shipped,))))
    there, said = empty(tmp_path / "there", mirror, offline=True)
    try:
        assert [done.name for done in there.pull(["coco_caption"])] == ["coco_caption"]
    finally:
        path.unlink()
    assert any("pinned as a mirror has it" in line for line in said)


def test_of_several_mirrors_the_first_counts_and_the_others_are_named(mirror: Path, tmp_path: Path) -> None:
    other = machine(tmp_path / "other", MANIFEST.replace("words.txt", "rows.json"))
    other.push(str(tmp_path / "mirror"))
    there, said = empty(tmp_path / "there", tmp_path / "mirror", mirror)
    there.pull(["words"])
    assert there.store.receipts_of("words")[0].entry.files[0].path == "rows.json"
    assert [line for line in said if f"mirror {mirror} tells of other bytes" in line]


def test_a_server_that_asks_for_a_token_gets_the_one_that_is_named_for_it_alone(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    with serving(Workspace([], mirror.parent / "first" / "store"), token="secret") as server:
        where = f"http://127.0.0.1:{server.port}"
        for tokens, said in (
            ("", "asks for a token"),
            ("http://127.0.0.1:1 secret", "asks for a token"),
            (f"{where} other", "does not take the token"),
        ):
            monkeypatch.setenv("ASSETMGR_MIRROR_TOKENS", tokens)
            there, _ = empty(tmp_path / "there", where)
            with pytest.raises(AccessError, match=said) as told:
                there.pull(["words"])
            assert f"ASSETMGR_MIRROR_TOKENS='{where} TOKEN'" in told.value.mend
        monkeypatch.setenv("ASSETMGR_MIRROR_TOKENS", f"http://other:1 x {where}/ secret")
        there, _ = empty(tmp_path / "there", where)
        there.pull(["words"])
        assert there.traffic().mirrors[0].state == "used"
        assert there.whereis("words").mirrors[0].state == "whole"


@pytest.mark.parametrize("text", ["http://h:1", "http://h:1 a b", "folder secret", "http://h:1 s\u00e9cret"])
def test_tokens_that_are_named_for_nothing_are_refused_and_not_shown(text: str) -> None:
    with pytest.raises(UsageError) as told:
        mirror_tokens(text)
    assert "cret" not in str(told.value)


def _told(mirror: Path, name: str) -> Carried:
    data = (mirror / f"assetmgr/v1/assets/{name}.json").read_bytes()
    return parse_carriage(data, "it").assets[-1]


@pytest.mark.parametrize(
    ("use", "kept", "said"),
    [
        (
            {"load": {"class": "os:system", "args": ["x"], "dtype": "float16"}},
            {"load": {"dtype": "float16"}},
            "names code",
        ),
        ({"load": {"trust": True}}, {}, "no manifest may say"),
        ({"splits": {"train": "../../etc/passwd"}}, {}, "no manifest may say"),
        ({"prepare": 7, "nonsense": []}, {}, "no manifest may say"),
        ({"load": {"dtype": "bfloat16"}}, {"load": {"dtype": "bfloat16"}}, "in no manifest"),
    ],
)
def test_what_a_mirror_says_of_the_use_is_held_to_the_rules_of_a_manifest(
    mirror: Path, tmp_path: Path, use: dict[str, object], kept: dict[str, object], said: str
) -> None:
    hostile = tmp_path / "hostile"
    each = msgspec.structs.replace(_told(mirror, "words"), use=use)
    path = hostile / "assetmgr/v1/assets/words.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(dump_carriage(Carriage((each,))))
    there, heard = empty(tmp_path / "there", hostile, mirror)
    there.pull(["words"])
    assert there.installed("words").use == kept, heard
    assert any(said in line for line in heard), heard


@pytest.mark.parametrize(
    "data",
    [b"", b"<html>not found</html>", b"[]", b'{"version": 1, "assets": [{"name": "../x"}]}', b"{" * 9999],
)
def test_a_document_that_is_none_is_named_and_the_next_mirror_asked(mirror: Path, tmp_path: Path, data: bytes) -> None:
    bad = tmp_path / "bad"
    (bad / "assetmgr/v1/assets").mkdir(parents=True)
    (bad / "assetmgr/v1/assets/words.json").write_bytes(data)
    (bad / "assetmgr/v1/assets.json").write_bytes(data)
    there, said = empty(tmp_path / "there", bad, mirror)
    there.pull(["words"])
    assert any(f"mirror {bad} tells nothing of use" in line for line in said)
    there, _ = empty(tmp_path / "alone", bad)
    with pytest.raises(LockError, match="is of no use"):
        there.pull(["words"])
    with pytest.raises(OriginError):
        there.on_mirrors([str(bad)])


def test_the_document_of_another_asset_is_none_of_this(mirror: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    (bad / "assetmgr/v1/assets").mkdir(parents=True)
    (bad / "assetmgr/v1/assets/other.json").write_bytes((mirror / "assetmgr/v1/assets/words.json").read_bytes())
    there, _ = empty(tmp_path / "there", bad)
    with pytest.raises(UnknownAssetError):
        there.pull(["other"])


def test_a_damaged_config_of_a_bundle_is_refused(mirror: Path, tmp_path: Path) -> None:
    place = bundle_of(mirror, tmp_path / "bundle")
    for blob in (place / "blobs" / "sha256").iterdir():
        if MEDIA_TYPE not in blob.read_text(errors="replace") and b'"assets"' in blob.read_bytes():
            flip_byte(blob, 20)
    there, _ = empty(tmp_path / "there", place)
    with pytest.raises(LockError, match="is damaged"):
        there.pull(["words"])


def test_the_first_answer_counts_whatever_failed_before_it() -> None:
    fault = OriginError("down")
    one, other = Carriage(()), Carriage((_named("a"),))
    assert judge("a", [("x", fault), ("y", None)]).carriage is None
    told = judge("a", [("x", fault), ("y", other), ("z", one), ("v", other)])
    assert (told.mirror, told.carriage, told.differing, told.faults) == ("y", other, ("z",), (("x", fault),))


def _named(name: str) -> Carried:
    from assetmgr.lock import LockedAsset, LockedFile

    entry = LockedAsset("model", "files", "d" * 64, (LockedFile("a", 3, "a" * 64, place="files"),), name=name)
    return Carried(name, entry)


def test_wrong_bytes_of_what_a_mirror_tells_are_never_placed(mirror: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    (bad / "assetmgr/v1/assets").mkdir(parents=True)
    (bad / "assetmgr/v1/assets/words.json").write_bytes((mirror / "assetmgr/v1/assets/words.json").read_bytes())
    digest = _told(mirror, "words").entry.files[0].sha256
    (bad / "blobs/sha256").mkdir(parents=True)
    (bad / f"blobs/sha256/{digest}").write_bytes(b"SOME WORDS")
    there, _ = empty(tmp_path / "there", bad)
    with pytest.raises(AssetError):
        there.pull(["words"])
    assert not [row for row in there.status() if row.state == "installed"]
