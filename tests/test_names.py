"""A name from outside becomes a path only when it means one file, inside its folder, on every system."""

from __future__ import annotations

import unicodedata
import warnings
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr.errors import UnsafeNameError
from assetmgr.names import (
    asset_name_fault,
    check_digest,
    check_distinct,
    check_path,
    fold,
    is_blob_name,
    is_digest,
    is_repo,
    path_fault,
)

SAFE = [
    "config.json",
    "tokenizer/vocab.txt",
    ".gitattributes",
    "a b.txt",
    "a..b",
    "..a",
    "-rf",
    "~",
    "1_Pooling/config.json",
    "model-00001-of-00002.safetensors",
    "nulls.txt",
    "console/aux_data.bin",
    "com10.txt",
    "Com.txt",
    "caf\u00e9/\u65e5\u672c\u8a9e.txt",
    "(a) [b] {c} & 100%.txt",
    "x" * 255,
]
CLIMBING = ["..", "../x", "a/..", "a/../../x", "a/../x", "./..", "..\\x", "a\\..\\..\\x", "a/..\\..\\x"]
ABSOLUTE = [
    "/x",
    "//server/share/x",
    "\\x",
    "\\\\server\\share\\x",
    "\\\\?\\C:\\x",
    "C:\\x",
    "C:/x",
    "C:x",
    "c:",
    "a/C:x",
]
HIDDEN = ["", ".", "./x", "a/./x", "a//x", "a/", "a/ ", "dot.", "a./x", "space ", "a /x", "...", "a\\b"]
CONTROL = ["a\0b", "a\nb", "a\x1bb", "a\x7fb", "a\x85b", "\ud800", "\0"]
DEVICES = [
    *("nul", "NUL", "con", "prn", "aux", "com1", "LPT9", "com\u00b9", "conin$", "CONOUT$", "aux.txt", "nul.tar.gz"),
    *("a/nul", "a/nul.txt/b", "con.d/x", "nul .txt", "nul:", "nul:.txt", "aux  .x"),
]
STREAMS = ["a.txt:stream", "a.txt::$DATA", "a/b:c/d"]
LONG = ["x" * 256, "\u00e9" * 128, "/".join(["abcdefg"] * 200), "a/" * 600 + "a"]


@pytest.mark.parametrize("path", SAFE)
def test_ordinary_names_pass_unchanged(path: str) -> None:
    assert path_fault(path) is None
    assert check_path(path) is path


@pytest.mark.parametrize("path", [*CLIMBING, *ABSOLUTE, *HIDDEN, *CONTROL, *DEVICES, *STREAMS, *LONG])
def test_unsafe_names_are_refused_with_a_reason_and_the_name(path: str) -> None:
    with pytest.raises(UnsafeNameError) as caught:
        check_path(path, "member")
    assert "unsafe member" in str(caught.value)
    assert repr(path) in str(caught.value)
    assert caught.value.exit_code == 3
    str(caught.value).encode()  # it can be printed


PIECES = [
    "..",
    ".",
    "/",
    "/",
    "\\",
    "C:",
    ":",
    "nul",
    "AUX",
    "com1",
    "con",
    ".txt",
    " ",
    "a",
    "B",
    "\0",
    "\u00e9",
    "~",
    "$",
]
hostile_paths = st.lists(st.sampled_from(PIECES), max_size=8).map("".join) | st.text(max_size=30)


@given(hostile_paths)
def test_a_name_that_passes_stays_inside_its_folder_by_the_rules_of_both_systems(path: str) -> None:
    if path_fault(path) is not None:
        return
    parts = tuple(path.split("/"))
    for root in (PurePosixPath("/root/folder"), PureWindowsPath("D:\\root\\folder")):
        joined = root / path
        assert joined.parts == (*root.parts, *parts)
    windows = PureWindowsPath(path)
    assert not windows.drive
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert not any(PureWindowsPath(part).is_reserved() for part in windows.parts)
    assert not any(part.endswith((".", " ")) or ":" in part for part in parts)
    assert not any(ord(character) < 32 for character in path)


@given(
    st.lists(st.sampled_from([*"ab0_+=@,.-/", "nul", "con", "lpt1", "com", "AUX", ".txt"]), max_size=12).map("".join)
)
def test_the_quick_check_and_the_slow_one_agree(path: str) -> None:
    # A part that is not ASCII keeps the quick check from answering.
    assert (path_fault(path) is None) == (path_fault(f"\u00e9/{path}") is None)


# --- collisions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "paths",
    [
        ["a", "a"],
        ["README.md", "readme.md"],
        ["a/B/c", "A/b/C"],
        ["caf\u00e9", "cafe\u0301"],
        ["CAF\u00c9", "cafe\u0301"],
        ["stra\u00dfe", "STRASSE"],
        ["\u212a", "k"],
        ["\u00c5ngstr\u00f6m", "\u212bngstro\u0308m"],
        ["a", "a/b"],
        ["a/b/c", "A/B"],
        ["x/y", "z", "X/Y/w"],
        ["caf\u00e9/x", "CAFE\u0301"],
    ],
)
def test_names_that_are_one_file_somewhere_are_refused(paths: list[str]) -> None:
    for order in (paths, paths[::-1]):
        with pytest.raises(UnsafeNameError) as caught:
            check_distinct(order)
        assert sum(repr(path) in str(caught.value) for path in set(paths)) >= min(2, len(set(paths)))


@pytest.mark.parametrize("paths", [[], ["a"], ["a", "b"], ["a/b", "a/c", "ab"], ["a", "a.b", "a-b/c", "ab/a"]])
def test_names_that_differ_everywhere_pass(paths: list[str]) -> None:
    check_distinct(paths)


@given(st.lists(st.lists(st.sampled_from(["a", "A", "b", "\u00e9", "E\u0301"]), min_size=1, max_size=3), max_size=5))
def test_collisions_are_found_exactly(split: list[list[str]]) -> None:
    keys = [tuple(unicodedata.normalize("NFC", part).casefold() for part in parts) for parts in split]
    collide = len(set(keys)) < len(keys) or any(
        one != other and other[: len(one)] == one for one in keys for other in keys
    )
    try:
        check_distinct("/".join(parts) for parts in split)
        found = False
    except UnsafeNameError:
        found = True
    assert found == collide


@given(st.text(max_size=20))
def test_folding_forgets_the_unicode_form_and_folding_twice_changes_nothing(text: str) -> None:
    assert fold(unicodedata.normalize("NFD", text)) == fold(unicodedata.normalize("NFC", text))
    assert fold(fold(text)) == fold(text)


# --- digests, repos, assets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("algorithm", "digits"), [("sha256", 64), ("git_sha1", 40), ("md5", 32), ("crc32c", 8)])
def test_a_digest_is_lower_case_hex_of_its_length(algorithm: str, digits: int) -> None:
    good = ("abcdef0123456789" * 4)[:digits]
    assert check_digest(good, algorithm) == good
    upper, newline, stranger = good.upper(), good[:-1] + "\n", good[:-1] + "g"
    for bad in ("", good[:-1], good + "0", good + "\n", upper, newline, stranger, "../" + good[3:], "\u0661" * digits):
        assert not is_digest(bad, algorithm)
        with pytest.raises(UnsafeNameError):
            check_digest(bad, algorithm, "etag")


def test_a_bad_digest_is_named_but_a_huge_one_is_not_shown_whole() -> None:
    with pytest.raises(UnsafeNameError, match=r"config\.json: md5: 'xyz'"):
        check_digest("xyz", "md5", "config.json: md5")
    with pytest.raises(UnsafeNameError) as caught:
        check_digest("x" * 10**6, "md5")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("etag", "safe"),
    [
        ("a" * 40, True),
        ("0" * 64, True),
        ("A" * 40, False),
        ("a" * 39, False),
        ("a" * 32, False),
        ("../" + "a" * 37, False),
        ("", False),
    ],
)
def test_an_etag_names_a_blob_only_as_40_or_64_hex_digits(etag: str, safe: bool) -> None:
    assert is_blob_name(etag) is safe


@pytest.mark.parametrize("repo", ["gpt2", "org/name", "Org_1/na.me-2", "a/b", "x" * 96])
def test_repo_ids(repo: str) -> None:
    assert is_repo(repo)


@pytest.mark.parametrize(
    "repo",
    [
        "",
        "/",
        "a/",
        "/a",
        "a/b/c",
        "../x",
        "a/..",
        "a--b/c",
        "a/b--c",
        "a..b",
        "-a/b",
        "a/.b",
        "a b",
        "a\\b",
        "nul",
        "a/con",
        "a/b\n",
        "x" * 97,
        "a/b.",
        "a:b/c",
        "\u00e9/a",
    ],
)
def test_what_is_no_repo_id(repo: str) -> None:
    assert not is_repo(repo)


@pytest.mark.parametrize("name", ["a", "minilm", "blip2-opt-2.7b", "blip_caption/base_coco", "c++", "A_1", "v1.5/x+y"])
def test_asset_names(name: str) -> None:
    assert asset_name_fault(name) is None


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "-a",
            ".a",
            "a.",
            "a-",
            "/a",
            "a/",
            "a//b",
            "../a",
            "a/../b",
            "a b",
            "a\\b",
            "a@b",
            "a:b",
            "nul",
            "a/nul.x",
        ),
        *("a\n", "\u00e9", "a" * 201, "_a"),
    ],
)
def test_what_cannot_name_an_asset(name: str) -> None:
    assert asset_name_fault(name)
