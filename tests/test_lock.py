"""A lock reads well, says the same in the same bytes, and a hostile one is refused before any of it is a path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assetmgr.differences import compare, in_words
from assetmgr.errors import LockError, LockVersionError, NotLockedError
from assetmgr.lock import (
    Lock,
    LockedAsset,
    LockedExtraction,
    LockedFile,
    check_entry,
    check_refs,
    dump_lock,
    load_lock,
    lock_path,
    parse_lock,
)
from tests.support import Project

SHA256 = "a" * 64
COMMIT = "c" * 40


def hex_digits(count: int) -> st.SearchStrategy[str]:
    return st.integers(0, 16**count - 1).map(f"{{:0{count}x}}".format)


NAME = st.from_regex(r"[a-z][a-z0-9]{0,6}(/[a-z][a-z0-9]{0,4})?", fullmatch=True)
# No part is a prefix of another path: a file is never the folder of another one.
PATH = st.from_regex(r"([a-f]{1,3}/){0,2}[\u00e0-\u00e5 g-m]{0,4}[g-m]\.[a-z]{2}x", fullmatch=True)
SIZE = st.integers(0, 2**50)
URL = st.from_regex(r"https://[a-z]{1,8}\.example/[a-z]{1,8}", fullmatch=True) | st.just("./local file \u00e9.json")

EXTRACTION = st.builds(
    LockedExtraction,
    place=st.sampled_from(["files", "files/x", "torch", "lavis/coco/images"]),
    strip=st.integers(0, 2),
    prefix=st.none() | PATH,
    keep_archive=st.booleans(),
    listing=st.none() | hex_digits(64),
    members=st.integers(0, 3),
    size=SIZE,
)


@st.composite
def locked_files(draw: st.DrawFn, origin: str) -> LockedFile:
    file = LockedFile(path=draw(PATH), size=draw(SIZE), sha256=draw(hex_digits(64)))
    if origin == "hub":
        return msgspec.structs.replace(file, git_sha1=draw(st.none() | hex_digits(40)))
    return msgspec.structs.replace(
        file,
        md5=draw(st.none() | hex_digits(32)),
        crc32c=draw(st.none() | hex_digits(8)),
        etag=draw(st.none() | st.text(max_size=10)),
        place=draw(st.sampled_from(["files", "torch", "clip", "lavis/coco", "lavis/coco/images"])),
        urls=tuple(draw(st.lists(URL, max_size=2))),
        extract=draw(st.none() | EXTRACTION),
    )


def sort_key(file: LockedFile) -> tuple[str, str]:
    return file.path, file.place


@st.composite
def locked_assets(draw: st.DrawFn, name: str = "m") -> LockedAsset:
    origin: Literal["hub", "files"] = draw(st.sampled_from(["hub", "files"]))
    # One place holds a path once, also where case and Unicode form do not count: PATH has neither.
    # One blob has one content: two files with one digest would be one of two sizes.
    files = draw(st.lists(locked_files(origin), max_size=4, unique_by=(sort_key, lambda file: file.blob)))
    entry = LockedAsset(
        kind=draw(st.sampled_from(["model", "dataset"])),
        origin=origin,
        declared=draw(hex_digits(64)),
        files=tuple(sorted(files, key=sort_key)),
        name=name,
        requires=tuple(draw(st.lists(NAME, max_size=2))),
    )
    if origin == "files":
        return entry
    patterns = st.none() | st.lists(st.text(max_size=6), max_size=2).map(tuple)
    return msgspec.structs.replace(
        entry,
        repo="org/name",
        commit=draw(hex_digits(40)),
        revision=draw(st.sampled_from(["main", "v1.0", "refs/pr/1"])),
        allow_patterns=draw(patterns),
        ignore_patterns=draw(patterns),
        listing=draw(st.none() | hex_digits(64)),
    )


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    names = draw(st.lists(NAME, max_size=3, unique=True))
    return Lock(assets={name: draw(locked_assets(name)) for name in names})


# Drawing a lock is slow; these are enough to find what there was to find.
few = settings(max_examples=40)

# --- the document -------------------------------------------------------------------------------------------------


@few
@given(locks())
def test_what_is_written_is_what_is_read(lock: Lock) -> None:
    assert parse_lock(dump_lock(lock), "lock") == lock


@few
@given(locks(), st.randoms(use_true_random=False))
def test_equal_locks_have_equal_bytes_whatever_the_order(lock: Lock, random: Any) -> None:
    shuffled = {}
    for name in random.sample(sorted(lock.assets), len(lock.assets)):
        files = list(lock.assets[name].files)
        random.shuffle(files)
        shuffled[name] = msgspec.structs.replace(lock.assets[name], files=tuple(files))
    assert dump_lock(Lock(assets=shuffled)) == dump_lock(lock)


@few
@given(locks())
def test_each_file_has_a_line_of_its_own(lock: Lock) -> None:
    lines = [line.strip().rstrip(",") for line in dump_lock(lock).decode().split("\n")]
    for entry in lock.assets.values():
        for file in entry.files:
            fields = json.loads(msgspec.json.encode(file))
            assert any(line.startswith('{"') and json.loads(line) == fields for line in lines)
    assert sum(line.startswith('{"') for line in lines) == sum(len(entry.files) for entry in lock.assets.values())


@few
@given(locks())
def test_a_lock_is_json_with_sorted_keys(lock: Lock) -> None:
    data = dump_lock(lock)
    document = json.loads(data)
    assert document["version"] == 1
    assert list(document["assets"]) == sorted(lock.assets)
    for entry in document["assets"].values():
        assert list(entry) == sorted(entry)
        assert "name" not in entry, "a name is said once"
    assert data.endswith(b"}\n")


def asset(name: str = "m", *paths: str, **fields: Any) -> LockedAsset:
    files = tuple(LockedFile(path, 1, SHA256, place="files") for path in paths)
    return LockedAsset(**{"kind": "model", "origin": "files", "declared": "d", "files": files, "name": name} | fields)


def hub_asset(name: str = "m", *, commit: str = COMMIT, revision: str = "main", **fields: Any) -> LockedAsset:
    given = {"origin": "hub", "repo": "org/name", "commit": commit, "revision": revision, "files": ()}
    return asset(name, **given | fields)


def test_one_changed_file_is_a_diff_of_one_line() -> None:
    before = asset("m", "a", "b", "c")
    after = msgspec.structs.replace(before, files=(*before.files[:2], LockedFile("c", 2, "b" * 64, place="files")))
    old, new = (dump_lock(Lock(assets={"m": entry})).splitlines() for entry in (before, after))
    assert sum(one != other for one, other in zip(old, new, strict=True)) == 1


@few
@given(locked_assets())
def test_equal_entries_have_equal_digests_and_any_other_field_another(entry: LockedAsset) -> None:
    again = parse_lock(dump_lock(Lock(assets={"m": entry})), "lock").assets["m"]
    assert again.digest() == entry.digest()
    assert msgspec.structs.replace(entry, name="n").digest() != entry.digest()
    assert msgspec.structs.replace(entry, declared="other").digest() != entry.digest()


# --- hostile documents --------------------------------------------------------------------------------------------


def is_valid_or_refused(data: bytes) -> None:
    refusal: LockError | None = None
    try:
        lock = parse_lock(data, "lock")
    except LockError as error:
        refusal = error
        lock = Lock(assets={})
    if refusal is not None:
        assert refusal.message.startswith("lock: ")
        assert refusal.mend
    for entry in lock.assets.values():
        check_entry(entry)
    again = parse_lock(dump_lock(lock), "lock")
    assert dump_lock(again) == dump_lock(lock)


@few
@given(locks(), st.data())
def test_a_lock_with_changed_bytes_is_a_lock_or_a_lock_error(lock: Lock, data: st.DataObject) -> None:
    document = bytearray(dump_lock(lock))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(document)))
        width = data.draw(st.integers(0, 3))
        document[at : at + width] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"{", b"9" * 400, b"\\ud800"])
        )
    is_valid_or_refused(bytes(document))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("../x"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON value."""
    keys: list[Any] = (
        list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    )
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


@few
@given(locks(), st.data())
def test_a_lock_with_changed_values_is_a_lock_or_a_lock_error(lock: Lock, data: st.DataObject) -> None:
    document = json.loads(dump_lock(lock))
    container, key = data.draw(st.sampled_from(places(document)))
    container[key] = data.draw(JSON)
    is_valid_or_refused(json.dumps(document).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"version": 1}',
        b'{"version": 1, "assets": []}',
        b'{"version": 1, "assets": {"m": 1}}',
        b'{"version": "1", "assets": {}}',
        b'{"version": true, "assets": {}}',
        b'{"version": 1, "assets": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"version": 1, "assets": {"m": {"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}}",
        b'{"version": 1, "assets": {"m": {"kind": "model\xff"}}}',
        b'{"version": 1, "assets": {"\xff": {}}}',
        b'{"version": 1, "assets": {"m": {"declared": "\\ud800"}}}',
    ],
    ids=lambda data: repr(data[:60]),
)
def test_what_is_no_lock_is_told_to_be_none(data: bytes) -> None:
    with pytest.raises(LockError) as caught:
        parse_lock(data, "assets.lock.json")
    assert not isinstance(caught.value, LockVersionError)
    assert "assets.lock.json" in caught.value.message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("assets", ["{}", "[]", '{"m": {"new": true}}', "7"])
@pytest.mark.parametrize("version", [0, 2, 99])
def test_another_version_is_no_invalid_lock_whatever_it_holds(version: int, assets: str) -> None:
    with pytest.raises(LockVersionError) as caught:
        parse_lock(f'{{"assets": {assets}, "version": {version}}}'.encode(), "lock")
    assert f"version {version}" in caught.value.message


def hostile(**changed: Any) -> bytes:
    """A good document with one thing in it changed: of the file where the file has such a field, else of the asset."""
    file: dict[str, Any] = {"path": "a", "place": "files", "sha256": SHA256, "size": 1, "urls": ["https://h.example/a"]}
    entry: dict[str, Any] = {"declared": "d", "files": [file], "kind": "model", "origin": "files"}
    file |= {key: value for key, value in changed.items() if key in LockedFile.__struct_fields__}
    entry |= {
        key: value for key, value in changed.items() if key not in LockedFile.__struct_fields__ and key != "asset"
    }
    return json.dumps({"assets": {changed.get("asset", "m"): entry}, "version": 1}).encode()


HUB = {"origin": "hub", "place": "", "repo": "org/name", "commit": COMMIT, "revision": "main"}


def twice(**changed: Any) -> list[dict[str, Any]]:
    one = {"path": "a/b", "place": "files", "sha256": SHA256, "size": 1}
    return [one, one | changed]


def test_the_documents_that_are_made_hostile_are_good() -> None:
    assert parse_lock(hostile(), "lock").assets["m"].files[0].path == "a"
    assert parse_lock(hostile(**HUB), "lock").assets["m"].repo == "org/name"
    assert len(parse_lock(hostile(files=twice(path="c")), "lock").assets["m"].files) == 2


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"path": "../escaped"}, "climbs"),
        ({"path": "/etc/passwd"}, "absolute"),
        ({"path": "a\\..\\b"}, "backslash"),
        ({"path": "C:x"}, "drive"),
        ({"path": "nul"}, "device"),
        ({"path": ""}, "empty"),
        ({"sha256": "A" * 64}, "sha256"),
        ({"sha256": "../" * 21 + "x"}, "sha256"),
        ({"sha256": ""}, "sha256"),
        ({"git_sha1": SHA256}, "git_sha1"),
        ({"md5": "x"}, "md5"),
        ({"crc32c": "0x123456"}, "crc32c"),
        ({"size": -1}, "negative"),
        ({"size": -7, "sha256": None}, "negative"),
        ({"size": 1.5}, "size"),
        ({"place": ""}, "place"),
        ({"place": "hub"}, "place"),
        ({"place": "lavis"}, "place"),
        ({"place": "lavis/"}, "place"),
        ({"place": "lavis/../../x"}, "place"),
        ({"place": "/abs"}, "place"),
        ({"place": "torch/hub"}, "place"),
        ({"asset": "../m"}, "name"),
        ({"asset": "/m"}, "name"),
        ({"asset": ""}, "name"),
        ({"asset": "a/../b"}, "name"),
        ({"requires": ["../x"]}, "required name"),
        ({"kind": "space"}, "kind"),
        ({"origin": "ftp"}, "origin"),
        ({"files": None}, "files"),
        ({"files": twice()}, "twice"),
        ({"files": twice(sha256="b" * 64)}, "twice"),
        ({"files": twice(path="A/B")}, "one file where case"),
        ({"files": twice(path="a")}, "also the folder"),
        ({**HUB, "place": "files"}, "no place"),
        ({**HUB, "repo": "../../x"}, "repo id"),
        ({**HUB, "repo": "a--b/c"}, "repo id"),
        ({**HUB, "repo": ""}, "repo id"),
        ({**HUB, "commit": "main"}, "commit"),
        ({**HUB, "commit": "../" * 13 + "x"}, "commit"),
        ({**HUB, "revision": "../../../etc"}, "revision"),
        ({**HUB, "revision": ""}, "revision"),
        ({**HUB, "listing": "../../x"}, "listing"),
        ({"urls": ["http://[::1"]}, "url"),
        ({"urls": ["gopher://h.example/a"]}, "url"),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, dict) else "",
)
def test_a_hostile_lock_is_refused_and_says_why(changed: dict[str, Any], word: str) -> None:
    with pytest.raises(LockError) as caught:
        parse_lock(hostile(**changed), "evil.lock.json")
    assert word in caught.value.message
    assert caught.value.message.startswith("evil.lock.json: ")


def test_two_contents_under_one_blob_name_contradict_each_other() -> None:
    blobs = [
        {"path": path, "sha256": digest * 64, "git_sha1": "e" * 40, "size": 1}
        for path, digest in (("a", "1"), ("b", "2"))
    ]
    with pytest.raises(LockError):
        parse_lock(hostile(**HUB | {"files": blobs}), "lock")


@pytest.mark.parametrize("path", ["../../escaped", "/tmp/escaped-by-a-lock", "a\\..\\..\\escaped"])
def test_a_hostile_lock_beside_a_manifest_writes_nothing(tmp_path: Path, path: str) -> None:
    project = Project(tmp_path / "project")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "source").write_text("x")
    project.write("version: 1\nmodels:\n  m:\n    files: [{url: ./source, path: a}]\n")
    project.run("lock")
    project.lock_file.write_text(project.lock_file.read_text().replace('"path": "a"', f'"path": {json.dumps(path)}'))
    assert "unsafe" in project.run("pull", code=3).err
    assert not list(tmp_path.rglob("*escaped*"))
    assert not Path("/tmp/escaped-by-a-lock").exists()


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://h.example:port/a", "http://127.0.0.1:99999/a", "nonsense", "ftp://h/a"]
)
def test_a_lock_with_a_broken_url_is_an_error_with_words(tmp_path: Path, url: str) -> None:
    project = Project(tmp_path / "project")
    project.folder.mkdir()
    (project.folder / "source").write_text("x")
    project.write("version: 1\nmodels:\n  m:\n    files: [{url: ./source, path: a}]\n")
    project.run("lock")
    for partial in project.root.glob(".assetmgr/partial/*"):
        partial.unlink()
    project.lock_file.write_text(project.lock_file.read_text().replace('["./source"]', json.dumps([url])))
    done = project.run("pull", code=None)
    assert done.code in (2, 5)
    assert "m: a" in done.err, "the asset and the file are named"


# --- reading and writing ------------------------------------------------------------------------------------------


def test_there_may_be_no_lock(tmp_path: Path) -> None:
    assert load_lock(tmp_path / "assets.lock.json") is None


def test_a_lock_that_cannot_be_read_is_a_lock_error(tmp_path: Path) -> None:
    with pytest.raises(LockError, match="cannot be read"):
        load_lock(tmp_path)


@pytest.mark.parametrize(
    ("manifest", "lock"),
    [
        ("assets.yaml", "assets.lock.json"),
        ("a/lab.yml", "a/lab.lock.json"),
        ("x.y.yaml", "x.y.lock.json"),
        ("m", "m.lock.json"),
    ],
)
def test_a_lock_lies_beside_its_manifest(manifest: str, lock: str) -> None:
    assert lock_path(Path(manifest)) == Path(lock)


# --- closures, refs, changes --------------------------------------------------------------------------------------


def graph(**requires: str) -> Lock:
    return Lock(assets={name: asset(name, requires=tuple(text.split())) for name, text in requires.items()})


def closed(lock: Lock, *names: str) -> list[str]:
    return [entry.name for entry in lock.closure(names)]


@pytest.mark.parametrize(
    ("lock", "names", "expected"),
    [
        (graph(a=""), ["a"], ["a"]),
        (graph(a="b", b="c", c=""), ["a"], ["c", "b", "a"]),
        (graph(a="b c", b="d", c="d", d=""), ["a"], ["d", "b", "c", "a"]),
        (graph(a="", b=""), ["b", "a", "b"], ["b", "a"]),
        (graph(a="", b=""), [], []),
    ],
)
def test_a_closure_has_each_asset_once_after_what_it_requires(
    lock: Lock, names: list[str], expected: list[str]
) -> None:
    assert closed(lock, *names) == expected


@pytest.mark.parametrize("lock", [graph(a="a"), graph(a="b", b="a"), graph(a="b", b="c", c="a b")])
def test_a_circle_in_a_lock_ends(lock: Lock) -> None:
    assert sorted(closed(lock, "a")) == sorted(lock.assets)


def test_a_chain_of_any_length_ends() -> None:
    chain = {f"a{n}": asset(f"a{n}", requires=(f"a{n + 1}",)) for n in range(20_000)}
    chain["a20000"] = asset("a20000")
    found = Lock(assets=chain).closure(["a0"])
    assert (len(found), found[0].name, found[-1].name) == (20_001, "a20000", "a0")


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=3), min_size=1))
def test_a_closure_of_any_graph_is_whole_or_an_error(edges: dict[str, list[str]]) -> None:
    lock = Lock(assets={name: asset(name, requires=tuple(requires)) for name, requires in edges.items()})
    start = sorted(edges)[0]
    reached = {start}
    for _ in edges:
        reached |= {required for name in reached & set(edges) for required in edges[name]}
    if reached - set(edges):
        with pytest.raises(NotLockedError, match="not in the lock"):
            lock.closure([start])
        return
    found = closed(lock, start)
    assert len(found) == len(set(found))
    assert set(found) == reached


@pytest.mark.parametrize("lock", [graph(), graph(a="gone")])
def test_what_is_not_in_the_lock_is_named_with_the_command_that_puts_it_there(lock: Lock) -> None:
    with pytest.raises(NotLockedError) as caught:
        lock.closure(["a"])
    name = "gone" if lock.assets else "a"
    assert (caught.value.message, caught.value.mend) == (f"{name}: not in the lock", f"assetmgr lock {name}")
    assert caught.value.exit_code == 4


OTHER = "d" * 40


@pytest.mark.parametrize(
    ("entries", "agree"),
    [
        ([hub_asset("a"), hub_asset("b")], True),
        ([hub_asset("a"), hub_asset("b", commit=OTHER)], False),
        ([hub_asset("a"), hub_asset("b", commit=OTHER, revision="v2")], True),
        ([hub_asset("a"), hub_asset("b", commit=OTHER, kind="dataset")], True),
        ([hub_asset("a"), hub_asset("b", commit=OTHER, repo="org/other")], True),
        ([hub_asset("a"), hub_asset("b", commit=OTHER, revision=OTHER)], True),
        ([asset("a"), asset("b")], True),
    ],
)
def test_one_ref_leads_to_one_commit(entries: list[LockedAsset], agree: bool) -> None:
    if agree:
        check_refs(entries)
        return
    with pytest.raises(LockError) as caught:
        check_refs(entries)
    for word in ("a and b", "org/name", "'main'", COMMIT[:12], OTHER[:12], "--upgrade"):
        assert word in str(caught.value)


def test_changes_are_told_by_asset_and_file() -> None:
    old = {"a": asset("a", "x", "y"), "gone": asset("gone"), "same": asset("same", "z"), "h": hub_asset("h")}
    moved = msgspec.structs.replace(
        old["a"], files=(LockedFile("x", 5, "b" * 64, place="files"), asset("a", "w").files[0])
    )
    new = {"a": moved, "same": old["same"], "new": asset("new", "n", "o"), "h": hub_asset("h", commit=OTHER)}
    assert in_words(compare(old, new)) == [
        "~ a",
        "    + w",
        "    ~ x: 1 -> 5 bytes",
        "    - y",
        "- gone",
        f"~ h {COMMIT[:12]} -> {OTHER[:12]}",
        "+ new: 2 files",
    ]
    assert compare(old, old) == ()


def test_a_lock_is_stale_by_what_resolves_and_not_by_the_rest(tmp_path: Path) -> None:
    project = Project(tmp_path)
    (tmp_path / "a.json").write_text("[]")
    (tmp_path / "b.json").write_text("[1]")
    text = "version: 1\ndatasets:\n  d:\n    files: [{url: ./a.json}]\n"
    project.write(text)
    project.run("lock")
    project.write("# a comment\n" + text + "    splits: {val: a.json}\n    samples: caption\n    groups: [demo]\n")
    project.run("lock", "--check")
    project.write(text.replace("./a.json", "./b.json"))
    done = project.run("lock", "--check", code=4)
    assert "d: changed at assets.yaml:" in done.err.replace(f"{tmp_path}/", "")
    assert "mend: assetmgr lock" in done.err
