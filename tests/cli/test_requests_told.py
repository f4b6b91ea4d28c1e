"""`-v` shows every request: method, URL, status, bytes, time and whose it is; and never a secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from assetmgr.transfer.trace import told_url
from tests.hub import Fault, Hub
from tests.support import Project, served

TOKEN = "hf_" + "Secret0123456789" * 2
SIGNED = "X-Amz-Signature=5ecret51gnature&X-Amz-Credential=AKIA5ecret&token=5ecret&sig=5ecret&5ecretflag&download=true"
LINE = re.compile(r"assetmgr: ([A-Z]+) (http\S+): (.+), ([\d,]+) bytes, \d+\.\d\d s, (origin|mirror)")


@pytest.fixture
def hub() -> Hub:
    hub = Hub(tokens={TOKEN: "*"}, redirect_lfs=True)
    repo = hub.create("org/name", private=True)
    repo.commit({"config.json": b"{}", "model.safetensors": b"weights" * 1000})
    hub.publish("/f/w.bin", b"bytes" * 100)
    hub.publish("/else/w.bin", b"bytes" * 100)
    return hub


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        project.env["HF_TOKEN"] = TOKEN
        project.write(
            "version: 1\nmodels:\n  m: {hub: org/name}\n"
            "  f:\n    files: [{url: '{endpoint}/f/w.bin?token=5ecret&download=true'}]\n"
        )
        host = project.endpoint.rpartition(":")[0].removeprefix("http://")
        (tmp_path / "project" / "home").mkdir()
        (tmp_path / "project" / "home" / ".netrc").write_text(f"machine {host} login 5ecretuser password 5ecretword\n")
        hub.faults.add(
            Fault(
                match="/f/w.bin",
                status=302,
                headers={"Location": f"/else/w.bin?{SIGNED}", "Set-Cookie": "5ecret=1"},
                times=None,
            )
        )
        yield project


def told(words: str) -> list[tuple[str, ...]]:
    assert not re.search("5ecret|Secret01|AKIA|Bearer|Basic ", words)
    return [match.groups() for match in map(LINE.match, words.splitlines()) if match]


@pytest.mark.parametrize("transport", ["direct", "snapshot"])
def test_every_request_is_told_and_no_secret(project: Project, hub: Hub, transport: str) -> None:
    project.env["ASSETMGR_TRANSPORT"] = transport
    lines = []
    for command in ("lock", "pull"):
        hub.reset_log()
        found = told(project.run("-v", command).err)
        asked = sorted((one.method, one.path.partition("?")[0]) for one in hub.requests)
        assert (
            sorted((method, url.removeprefix(project.endpoint).partition("?")[0]) for method, url, *_ in found) == asked
        )
        lines += found
    urls = {url.removeprefix(project.endpoint): (came, size) for _, url, came, size, _ in lines}
    assert urls["/f/w.bin?token=***&download=true"][0] == "302"
    (signed,) = (url for url in urls if url.startswith("/else/"))
    assert "X-Amz-Signature=***" in signed
    assert signed.endswith("&***&download=true")
    assert urls[signed] == ("200", "500")
    assert {whose for *_, whose in lines} == {"origin"}
    assert any(url.endswith("/model.safetensors") and came[0] in ("200", "302") for url, came in urls.items())


def test_a_request_that_fails_and_one_to_a_mirror_are_told(project: Project, hub: Hub) -> None:
    project.run("lock")
    for partial in (project.root / ".assetmgr" / "partial").iterdir():
        if partial.is_file():
            partial.unlink()
    hub.faults.clear()
    hub.faults.add(Fault(match="/blobs/", drop=True, times=None))
    words = project.run("-v", "pull", "f", "--mirror", f"{project.endpoint}/mirror").err
    lines = told(words)
    assert any(whose == "mirror" for *_, whose in lines), words


def test_without_v_nothing_is_told(project: Project) -> None:
    assert "GET" not in project.run("lock").err


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pass@host:8080/a?recursive=true", "https://host:8080/a?recursive=true"),
        ("https://host/a?recursive=hf_x%20y", "https://host/a?recursive=***"),
        ("https://host/a?b#c=d", "https://host/a?***"),
        ("https://host/hf_abcdefghijklmnop/x", "https://host/***/x"),
        ("https://host/a\x1b[31m", "https://host/a [31m"),
        ("https://[broken/a?b=c", "https://[broken/a"),
        ("s3://bucket/key", "s3://bucket/key"),
    ],
)
def test_what_a_url_hides_is_not_shown(url: str, shown: str) -> None:
    assert told_url(url) == shown
