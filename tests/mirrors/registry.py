"""A real registry on loopback: docker-registry, with a folder of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

USER, PASSWORD = "reader", "s3cret:word"
# What `htpasswd -B` would have written.
_HTPASSWD = "reader:$2y$05$abcdefghijklmnopqrstuu2JDQLR7mbHhdpill4/jMLDoVbsBhlUi\n"
_CONFIG = """\
version: 0.1
log: {{level: info, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {folder}}}
  delete: {{enabled: true}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http:
  addr: 127.0.0.1:0
  secret: of-the-tests
{auth}"""
_LISTENING = re.compile(r"listening on 127\.0\.0\.1:([0-9]+)")


class Registry:
    """One that runs."""

    def __init__(self, place: Path, process: subprocess.Popen[str], port: int) -> None:
        self.folder, self.process, self.port = place / "data", process, port
        self.host = f"127.0.0.1:{port}"

    def mirror(self, repository: str = "lab/assets:v1") -> str:
        return f"oci://{self.host}/{repository}"

    def get(self, path: str, accept: str = "*/*") -> bytes:
        request = urllib.request.Request(f"http://{self.host}/v2/{path}", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=30) as answer:
            data: bytes = answer.read()
        return data

    def blob_file(self, sha256: str) -> Path:
        """Where it has a content on its disk."""
        return self.folder / "docker/registry/v2/blobs/sha256" / sha256[:2] / sha256 / "data"


@contextlib.contextmanager
def running(place: Path, *, login: bool = False) -> Iterator[Registry]:
    """A registry, started and in the end stopped; with ``login`` it lets nobody in but `USER`."""
    program = shutil.which("docker-registry") or shutil.which("registry")
    if os.name == "nt" or program is None:
        pytest.skip("docker-registry is not installed: apt-get install docker-registry")
    place.mkdir(parents=True, exist_ok=True)
    auth = ""
    if login:
        (place / "htpasswd").write_text(_HTPASSWD)
        auth = f"auth: {{htpasswd: {{realm: lab, path: {place / 'htpasswd'}}}}}\n"
    (place / "config.yml").write_text(_CONFIG.format(folder=place / "data", auth=auth))
    process = subprocess.Popen(
        [program, "serve", str(place / "config.yml")],
        env={"PATH": os.environ["PATH"], "HOME": str(place), "OTEL_TRACES_EXPORTER": "none"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        port = 0
        for line in process.stderr:
            if found := _LISTENING.search(line):
                port = int(found[1])
                break
        assert port, "the registry did not start"
        # Whatever it says from now on is not read: a full pipe would stop it.
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        try:
            yield Registry(place, process, port)
        finally:
            process.terminate()
            process.wait(30)
            drain.wait(30)
    finally:
        process.kill()
        process.wait(30)
        process.stderr.close()


def skopeo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run skopeo, which must succeed; skip where there is none."""
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed: apt-get install skopeo")
    done = subprocess.run(["skopeo", *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done
