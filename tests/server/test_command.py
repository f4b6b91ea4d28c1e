"""`assetmgr serve` as a user runs it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from assetmgr.cli import main
from assetmgr.cli.shapes import shape
from tests.hub import Hub
from tests.server.support import FILES, MANIFEST, manifest, stocked
from tests.support import Project

jsonschema = pytest.importorskip("jsonschema")


@pytest.fixture(scope="module")
def project(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("served")
    stocked(folder, hub)
    with hub.serve() as endpoint:
        manifest(folder, endpoint, MANIFEST)
        yield Project(folder, endpoint)


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    found = re.fullmatch(r"export HF_ENDPOINT=(http://127\.0\.0\.1:\d+)\n", process.stdout.readline())
    assert found is not None
    return found[1]


def read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as reply:
        data: bytes = reply.read()
    return data


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_how_it_is_reached_and_ends_when_it_is_told(project: Project, number: int) -> None:
    process = project.start("serve", "--port", "0", "--access-log", "log.txt")
    address = address_of(process)
    assert process.stdout is not None
    assert process.stdout.readline() == f"assetmgr pull NAME --mirror {address}\n"
    assert read(f"{address}/org/name/resolve/v1/config.json") == FILES["config.json"]
    process.send_signal(number)
    out, words = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
    assert "5 assets of " in words
    assert "the server has ended" in words
    line = (project.folder / "log.txt").read_text().splitlines()[-1]
    assert re.fullmatch(
        r'127\.0\.0\.1 \S+Z "GET /org/name/resolve/v1/config\.json HTTP/1\.1" 200 22 \d+\.\d{3} "Python-urllib/\S+"',
        line,
    )


def test_what_cannot_be_served_is_told_with_its_mend(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ["--root", str(project.root)]
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "none.pem").write_text("nothing")
    cases = {
        ("--port", "70000"): 2,
        ("--max-connections", "0"): 2,
        ("--rate-limit", "12"): 2,
        ("--token", "two words"): 2,
        ("--token", "a", "--token-file", "b"): 2,
        ("--token-file", str(tmp_path / "nowhere")): 2,
        ("--token-file", str(tmp_path / "empty")): 2,
        ("--tls-cert", str(tmp_path / "none.pem")): 2,
        ("--tls-key", "key.pem"): 2,
        ("--host", "192.0.2.1", "--port", "0"): 2,
        ("--host", "no such host", "--port", "0"): 2,
        ("--json", "--access-log", "-"): 2,
    }
    for words, code in cases.items():
        assert main([*store, "serve", *words]) == code, words
        assert "error: " in capsys.readouterr().err
    monkeypatch.setenv("ASSETMGR_SERVE_TOKEN", "with\u00e9")
    assert main([*store, "serve"]) == 2


def test_a_port_that_is_taken_is_busy(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    process = project.start("serve", "--port", "0", "--json")
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        while lines[-1] != "}\n":
            lines.append(process.stdout.readline())
        told = json.loads("".join(lines))
        jsonschema.validate(told, shape("serve"))
        assert told == {
            "address": f"http://127.0.0.1:{told['port']}",
            "port": told["port"],
            "root": str(project.root),
            "assets": 5,
            "pid": process.pid,
        }
        assert main(["--root", str(project.root), "serve", "--port", str(told["port"])]) == 8
        assert "--port" in capsys.readouterr().err
    finally:
        process.terminate()
        process.communicate(timeout=20)
