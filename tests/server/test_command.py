"""`assetmgr serve` as a user runs it."""

from __future__ import annotations

import contextlib
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from assetmgr.cli import main
from assetmgr.cli.shapes import shape
from assetmgr.workspace import Workspace
from tests.hub import Hub
from tests.server.support import FILES, MANIFEST, manifest, stocked
from tests.support import Project, eventually


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
    jsonschema = pytest.importorskip("jsonschema")
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


# --- killed and started again -----------------------------------------------------------------------------------------

KILLED = 'version: 1\nmodels:\n  big: {hub: {repo: org/big, endpoint: "ENDPOINT"}}\n'


@pytest.mark.hub
def test_a_server_that_is_killed_and_started_again_in_the_middle_lets_every_client_end(tmp_path: Path) -> None:
    hub = Hub()
    weights = random.Random(3).randbytes(8_000_000)
    hub.create("org/big").commit({"big.bin": weights, "config.json": b"{}"})
    stocked(tmp_path / "lab", hub, KILLED)
    lab = Project(tmp_path / "lab")

    def begin(port: int) -> tuple[subprocess.Popen[str], str]:
        process = lab.start("--root", str(lab.root), "serve", "--port", str(port), "--rate-limit", "8M")
        return process, address_of(process)

    server, address = begin(0)
    client = Project(tmp_path / "client", address, env={"HF_HUB_DOWNLOAD_TIMEOUT": "30"})
    client.write("version: 1\nmodels:\n  big: {hub: org/big}\n")
    shutil.copy(tmp_path / "lab" / "assets.lock.json", client.lock_file)
    cache = tmp_path / "cache"
    plain = [sys.executable, "-c", DOWNLOAD, address, str(cache)]
    try:
        ours = client.start("pull", "big")
        hubs = subprocess.Popen(plain, env=client.environment(), stderr=subprocess.PIPE, text=True)
        assert eventually(lambda: partly(client.root) > 1_000_000 and partly(cache) > 1_000_000)
        server.kill()
        server.communicate()
        server, again = begin(int(address.rpartition(":")[2]))
        assert again == address
        _, words = ours.communicate(timeout=60)
        assert ours.returncode == 0, words
        _, words = hubs.communicate(timeout=60)
        if hubs.returncode:  # some of the hub's clients give up, and go on when they are asked again
            done = subprocess.run(
                plain, env=client.environment(), capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, words + done.stderr
    finally:
        server.kill()
        server.communicate()
    assert (client.path("big") / "big.bin").read_bytes() == weights
    (there,) = cache.glob("models--org--big/snapshots/*/big.bin")
    assert there.read_bytes() == weights


def test_two_hundred_clients_end_though_the_server_is_killed_and_started_again(tmp_path: Path) -> None:
    hub = Hub()
    weights = random.Random(5).randbytes(300_000)
    hub.create("org/big").commit({"big.bin": weights, "config.json": b"{}"})
    stocked(tmp_path / "lab", hub, KILLED)
    lab = Project(tmp_path / "lab")

    def begin(port: int) -> tuple[subprocess.Popen[str], str]:
        process = lab.start("--root", str(lab.root), "serve", "--port", str(port), "--rate-limit", "30M")
        return process, address_of(process)

    server, address = begin(0)
    folder = tmp_path / "client"
    wanted = manifest(folder, address, KILLED)
    shutil.copy(lab.folder / "assets.lock.json", folder / "assets.lock.json")
    together = threading.Barrier(201)
    ended: list[int] = []

    def pull(number: int) -> bytes:
        workspace = Workspace(wanted, folder / f"store-{number}", local_caches=False)
        together.wait(60)
        workspace.pull(["big"])
        ended.append(number)
        return Path(workspace.path("big"), "big.bin").read_bytes()

    try:
        with ThreadPoolExecutor(200) as pool:
            clients = [pool.submit(pull, number) for number in range(200)]
            together.wait(60)
            assert eventually(lambda: len(ended) >= 20)
            server.kill()
            server.communicate()
            assert len(ended) < 180, "the server was killed too late to try anything"
            server, again = begin(int(address.rpartition(":")[2]))
            assert again == address
            assert all(client.result(100) == weights for client in clients)
    finally:
        server.kill()
        server.communicate()


DOWNLOAD = """
import sys
import huggingface_hub
huggingface_hub.hf_hub_download("org/big", "big.bin", endpoint=sys.argv[1], cache_dir=sys.argv[2], token=False)
"""


def partly(folder: Path) -> int:
    """Bytes on disk of the largest file that has begun to come."""
    sizes = [0]
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file():
                sizes.append(path.stat().st_blocks * 512)
    return max(sizes)
