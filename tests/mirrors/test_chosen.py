"""Which mirrors are asked, and in which order; what a text may name."""

from __future__ import annotations

from pathlib import Path

import pytest

from assetmgr.errors import UsageError
from assetmgr.manifest_urls import mirror_fault, resolve_mirror
from assetmgr.mirrors.chosen import chosen_mirrors


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("variable", "mirrors"),
    [
        ("", []),
        ("  ", []),
        ("/a http://h:8470/x s3://b/p", ["/a", "http://h:8470/x", "s3://b/p"]),
        ("/a\n\t/b", ["/a", "/b"]),
        ("'/media/my stick' \"/b c\"", ["/media/my stick", "/b c"]),
        ("/a /a http://h/ http://h", ["/a", "http://h"]),
    ],
)
def test_the_variable_separates_by_blanks_and_quotes_keep_one(
    monkeypatch: pytest.MonkeyPatch, variable: str, mirrors: list[str]
) -> None:
    monkeypatch.setenv("ASSETMGR_MIRRORS", variable)
    assert chosen_mirrors([], []) == mirrors


def test_the_command_goes_first_then_the_environment_then_the_manifest(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSETMGR_MIRRORS", "http://e ./shared")
    declared = ["http://m", str(here / "shared"), "http://c"]
    assert chosen_mirrors(["http://c", "asked"], declared) == [
        "http://c",
        str(here / "asked"),
        "http://e",
        str(here / "shared"),
        "http://m",
    ]


@pytest.mark.parametrize(
    "text", ["s3:x", "http://", "ftp::s3://x/y", "s3://x::ftp://y/z", "http://h/#x", "http://h h/", "file://host/x"]
)
def test_a_text_that_names_none_is_an_error_wherever_it_stands(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    assert mirror_fault(text) is not None
    with pytest.raises(UsageError, match="mirror"):
        chosen_mirrors([text], [])
    if " " not in text:
        monkeypatch.setenv("ASSETMGR_MIRRORS", text)
        with pytest.raises(UsageError, match="mirror"):
            chosen_mirrors([], [])


@pytest.mark.parametrize(
    ("text", "resolved"),
    [
        ("mirror", "/m/mirror"),
        ("./mirror/", "/m/mirror"),
        ("../mirror", "/mirror"),
        ("file:///a%20b", "/a b"),
        ("file:mirror", "/m/mirror"),
        ("$PLACE/x", "/p/x"),
        ("http://h/x//", "http://h/x"),
        ("http://[::1]:8470/", "http://[::1]:8470"),
        ("s3://bucket", "s3://bucket"),
        ("abfs://container@account.dfs.core.windows.net/x", "abfs://container@account.dfs.core.windows.net/x"),
    ],
)
def test_what_a_text_means(monkeypatch: pytest.MonkeyPatch, text: str, resolved: str) -> None:
    monkeypatch.setenv("PLACE", "/p")
    assert mirror_fault(text) is None
    assert resolve_mirror(text, "/m") == resolved
