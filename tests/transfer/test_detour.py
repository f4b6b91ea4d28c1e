"""A catalog's own URLs, served on this machine: what is asked, and that no login goes there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from assetmgr.errors import OriginError, UsageError
from assetmgr.transfer.detour import VARIABLE, detoured
from assetmgr.transfer.looking import header_of
from assetmgr.transfer.source import Source
from tests.hub import Hub
from tests.support import Project
from tests.transfer.support import QUICK, Attempt, body, sha256

FAR = "https://files.far.example"
BODY = body(300_000)


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    hub.publish("/far/w.bin", BODY)
    hub.publish("/far/page.pth", b"<!DOCTYPE html><html>expired</html>", headers={"Content-Type": "text/html"})
    with hub.serve():
        yield hub


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        (f"{FAR}/w.bin", "http://a/w.bin"),
        (f"{FAR}/deep/w.bin", "http://b/w.bin"),
        (f"{FAR}/deeper.bin", "http://a/deeper.bin"),
        ("https://other.example/w.bin", "https://other.example/w.bin"),
        ("gdrive:1A2b3C4d5E6f7G8h", "http://c/1A2b3C4d5E6f7G8h"),
    ],
)
def test_the_longest_beginning_counts(url: str, asked: str) -> None:
    detours = {f"{FAR}/": "http://a/", f"{FAR}/deep/": "http://b/", "gdrive:": "http://c/"}
    assert detoured(url, detours) == asked


def test_a_detoured_url_is_fetched_and_told_by_its_own_name(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password secret-55d0\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv(VARIABLE, json.dumps({FAR: f"{hub.endpoint}/far"}))
    attempt = Attempt(tmp_path / "partial" / "file")
    fetched = attempt(f"{FAR}/w.bin", sha256=sha256(BODY))
    attempt.assert_whole(fetched, BODY)
    assert fetched.url == f"{FAR}/w.bin"
    assert header_of(Source(f"{FAR}/w.bin", token="secret-55d0"), "ETag", QUICK) == fetched.evidence["etag"]
    assert hub.requests
    assert not any("authorization" in map(str.lower, request.headers) for request in hub.requests)
    for name, what in (("none.bin", "HTTP 404"), ("page.pth", "page")):
        with pytest.raises(OriginError, match=what) as caught:
            attempt(f"{FAR}/{name}")
        assert f"{FAR}/{name}" in caught.value.message


@pytest.mark.parametrize("said", ["far=near", "[]", '{"https://far.example": 1}'])
def test_a_variable_that_is_no_table_of_urls_is_refused(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setenv(VARIABLE, said)
    with pytest.raises(UsageError, match=VARIABLE):
        Attempt(tmp_path / "partial" / "file")(f"{hub.endpoint}/far/w.bin")


def test_the_lock_records_the_declared_url(hub: Hub, tmp_path: Path) -> None:
    project = Project(tmp_path / "project", env={VARIABLE: json.dumps({FAR: f"{hub.endpoint}/far"})})
    project.write(f"version: 1\nmodels:\n  m:\n    files: [{{url: {FAR}/w.bin}}]\n")
    project.run("lock")
    project.run("pull")
    assert hub.endpoint not in project.lock_file.read_text()
    (entry,) = json.loads(project.lock_file.read_text())["assets"]["m"]["files"]
    assert entry["urls"] == [f"{FAR}/w.bin"]
    assert (project.root / "files" / "m" / "w.bin").read_bytes() == BODY
