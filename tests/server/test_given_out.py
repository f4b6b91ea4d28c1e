"""What is given out: what a receipt names, as it was proved, and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from assetmgr.carried import parse_carriage
from assetmgr.digests import sha256_text
from assetmgr.server.catalog import Catalogs
from assetmgr.server.server import Server
from assetmgr.workspace import Workspace
from tests.hub import Hub
from tests.server.support import FILES, WEIGHTS, Client, get, manifest, serving, stocked
from tests.support import flip_byte, truncate

BLOB = f"/blobs/sha256/{sha256_text(WEIGHTS)}"
FILE = "/org/name/resolve/main/model.safetensors"
ONE = 'version: 1\nmodels:\n  whole: {hub: {repo: org/name, endpoint: "ENDPOINT"}}\n'


def names(server: Server) -> list[str]:
    return [asset["name"] for asset in json.loads(get(server, "/assetmgr/v1/assets").body)["assets"]]


def weights(workspace: Workspace) -> Path:
    return Path(workspace.path("whole"), "model.safetensors")


def test_a_blob_is_given_whole_in_part_and_by_condition(server: Server) -> None:
    with Client(server.port) as client:
        whole = client.get(BLOB)
        etag = whole.headers["etag"]
        assert (whole.status, whole.body, etag) == (200, WEIGHTS, f'"{BLOB[-64:]}"')
        assert (whole.headers["accept-ranges"], whole.headers["content-length"]) == ("bytes", str(len(WEIGHTS)))
        head = client.get(BLOB, method="HEAD")
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(WEIGHTS)))
        part = client.get(BLOB, "Range: bytes=100-299", f"If-Range: {etag}")
        assert (part.status, part.body) == (206, WEIGHTS[100:300])
        assert part.headers["content-range"] == f"bytes 100-299/{len(WEIGHTS)}"
        stale = client.get(BLOB, "Range: bytes=100-299", 'If-Range: "other"')
        assert (stale.status, len(stale.body)) == (200, len(WEIGHTS))
        over = client.get(BLOB, f"Range: bytes={len(WEIGHTS)}-")
        assert (over.status, over.headers["content-range"]) == (416, f"bytes */{len(WEIGHTS)}")
        assert client.get(BLOB, f"If-None-Match: {etag}").status == 304
        assert client.get("/org/name/resolve/main/empty.txt").body == b""
        # Asked again, it is the loop that answers, and in the same way.
        small = "/org/name/resolve/main/config.json"
        client.get(small)
        assert client.get(small, method="POST").status == 405
        replies = [client.get(small) for _ in range(3)]
        assert [(one.status, one.body) for one in replies] == [(200, b'{"model_type": "gpt2"}')] * 3
        assert client.get(small, "Range: bytes=1-3").body == b'"mo'
        assert client.get(small, method="HEAD").headers["content-length"] == "22"
        assert client.get(small, f"If-None-Match: {replies[0].headers['etag']}").status == 304
        assert replies[0].headers["content-disposition"].startswith("inline; filename*=UTF-8''config.json;")


def test_requests_sent_at_once_are_answered_in_their_order(server: Server) -> None:
    targets = ["/healthz", "/org/name/resolve/main/config.json", FILE, "/org/name/resolve/main/data/a.txt"] * 3
    with Client(server.port) as client:
        client.send(b"".join(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode() for target in targets))
        assert [len(client.read().body) for _ in targets] == [3, 22, len(WEIGHTS), 1] * 3


def test_an_asset_is_told_with_all_that_it_requires(server: Server, workspace: Workspace) -> None:
    found = json.loads(get(server, "/assetmgr/v1/assets").body)
    assert {asset["name"] for asset in found["assets"]} == {"whole", "tagged", "part", "rows", "plain"}
    whole = next(asset for asset in found["assets"] if asset["name"] == "whole")
    assert (whole["kind"], whole["repo"], whole["revision"], whole["files"]) == (
        "model",
        "org/name",
        "main",
        len(FILES),
    )
    assert whole["bytes"] == sum(map(len, FILES.values()))
    assert whole["proved_at"]
    reply = get(server, "/assetmgr/v1/assets/rows")
    document = parse_carriage(reply.body, "the server's answer")
    assert [each.name for each in document.assets] == ["whole", "rows"]
    assert document == workspace.carriage(["rows"])
    assert get(server, "/assetmgr/v1/assets/rows", f"If-None-Match: {reply.headers['etag']}").status == 304
    assert get(server, "/assetmgr/v1/assets/none").status == 404
    for each in document.assets:
        for digest in [each.entry.listing, *(file.sha256 for file in each.entry.files)]:
            assert sha256_text(get(server, f"/blobs/sha256/{digest}").body) == digest


def test_what_is_told_of_an_asset_is_made_once_for_all_who_ask(workspace: Workspace) -> None:
    catalog = Catalogs(workspace.store).now()
    first = catalog.document("rows")
    assert first is not None
    assert catalog.document("rows") is first
    assert all(catalog.document(name) for name in ("whole", "tagged", "part", "plain"))
    assert catalog.document("rows") == first, "also after it was forgotten for others"


def test_the_page_shows_each_asset_and_obeys_no_name(server: Server) -> None:
    page = get(server, "/")
    text = page.body.decode()
    assert page.headers["content-type"].startswith("text/html")
    assert "script" not in text
    for name in ("whole", "tagged", "org/part", "rows", "export HF_ENDPOINT=http://127.0.0.1"):
        assert name in text
    assert get(server, "/healthz").body == b"ok\n"


@pytest.mark.parametrize("name", ["/etc/passwd", ".assetmgr/receipts", "hub", "assets.lock.json", "store"])
def test_no_path_of_the_disk_is_a_path_of_the_server(server: Server, name: str) -> None:
    for target in (f"/{name}", f"/org/name/resolve/main/{name}", f"/blobs/{name}", f"/blobs/sha256/{name}"):
        assert get(server, target).status in (400, 404)


@pytest.mark.parametrize("fault", ["flip", "truncate", "remove", "link", "pipe", "folder"])
def test_a_file_that_is_no_longer_as_it_was_proved_is_not_given_out(tmp_path: Path, hub: Hub, fault: str) -> None:
    workspace = stocked(tmp_path, hub, ONE)
    real = Path(os.path.realpath(weights(workspace)))
    with serving(workspace) as server:
        assert get(server, FILE).body == WEIGHTS
        if fault == "flip":
            flip_byte(real)
        elif fault == "truncate":
            truncate(real, 10)
        else:
            real.unlink()
            if fault == "link":
                real.symlink_to("/etc/passwd")
            elif fault == "pipe":
                os.mkfifo(real)
            elif fault == "folder":
                real.mkdir()
        for target, method in ((FILE, "GET"), (FILE, "HEAD"), (BLOB, "GET")):
            reply = get(server, target, method=method)
            assert (reply.status, reply.headers["x-error-code"]) == (404, "RevisionNotFound"), (target, method)
            assert "assetmgr verify whole --repair" in reply.headers["x-error-message"]
        assert get(server, "/org/name/resolve/main/config.json").status == 200
        if fault == "flip":
            flip_byte(real)  # and back
            workspace.verify(full=True)
            assert get(server, FILE).body == WEIGHTS


def test_a_file_that_changes_while_it_is_sent_is_not_ended(tmp_path: Path, hub: Hub) -> None:
    big = os.urandom(1 << 20) * 40
    hub.create("org/big").commit({"big.bin": big})
    workspace = stocked(tmp_path, hub, ONE.replace("org/name", "org/big"))
    with serving(workspace) as server, Client(server.port) as client:
        client.send(b"GET /org/big/resolve/main/big.bin HTTP/1.1\r\nHost: h\r\n\r\n")
        first = client.socket.recv(1000)
        assert b"200 OK" in first
        flip_byte(Path(workspace.path("whole"), "big.bin"))
        got = len(first)
        while data := client.socket.recv(1 << 20):
            got += len(data)
        assert got == len(big) + first.index(b"\r\n\r\n") + 4 - 1


def test_what_is_pulled_or_forgotten_while_it_runs_comes_and_goes(tmp_path: Path, hub: Hub) -> None:
    workspace = Workspace(None, tmp_path / "store")
    with serving(workspace) as server:
        assert names(server) == []
        assert b"No asset" in get(server, "/").body
        assert get(server, FILE).headers["x-error-code"] == "RepoNotFound"
        filled = stocked(tmp_path, hub, ONE)
        assert names(server) == ["whole"]
        assert [get(server, target).status for target in (FILE, BLOB, FILE)] == [200, 200, 200]
        (receipt,) = filled.store.receipts()
        filled.store.drop_receipt(receipt)
        assert [get(server, target).status for target in (FILE, BLOB, "/api/models/org/name")] == [404, 404, 404]
        assert names(server) == []


def test_a_damaged_receipt_hides_only_itself(tmp_path: Path, hub: Hub) -> None:
    workspace = stocked(tmp_path, hub)
    (file,) = (name for name in workspace.store.receipt_files() if name.startswith("part@"))
    Path(workspace.store.state, "receipts", file).write_bytes(b"{")
    with serving(workspace) as server:
        assert names(server) == ["plain", "rows", "tagged", "whole"]


def test_without_the_token_only_health_is_told(workspace: Workspace) -> None:
    with serving(workspace, token="open-sesame") as server, Client(server.port) as client:
        shown = "Authorization: Bearer open-sesame"
        for _ in range(2):
            for target in (BLOB, "/org/name/resolve/main/config.json", "/", "/metrics", "/api/models/org/name"):
                for field in ("X-Nothing: 1", "Authorization: Bearer open-sesamf", "Authorization: Basic b3Blbg=="):
                    reply = client.get(target, field)
                    assert (reply.status, reply.headers["www-authenticate"]) == (401, 'Bearer realm="assetmgr"'), target
                assert client.get(target, shown).status == 200, target
        assert client.get("/healthz").status == 200
        assert client.get("/api/whoami-v2", shown).status == 200


def test_another_assetmgr_pulls_whole_assets_from_it_without_manifest_or_lock(
    server: Server, workspace: Workspace, tmp_path: Path
) -> None:
    there = Workspace([], tmp_path / "store", mirrors=[server.address], local_caches=False)
    assert {one.name for one in there.on_mirrors([server.address])} == {"whole", "tagged", "part", "rows", "plain"}
    there.pull(["rows", "plain", "part"])
    assert there.carriage(["rows", "plain", "part"]) == workspace.carriage(["rows", "plain", "part"])
    assert Path(there.path("whole"), "model.safetensors").read_bytes() == WEIGHTS
    assert not there.verify(full=True).findings


def test_another_assetmgr_locks_by_it_as_by_the_hub(server: Server, workspace: Workspace, tmp_path: Path) -> None:
    text = ONE + '  part:\n    hub: {repo: org/part, endpoint: "ENDPOINT"}\n    allow_patterns: ["*.json", "data/*"]\n'
    there = Workspace(manifest(tmp_path, server.address, text), tmp_path / "store", local_caches=False)
    there.lock()
    here = {entry.name: entry for entry in workspace.locked()}
    for entry in there.locked():
        assert (entry.commit, entry.files, entry.listing) == (
            here[entry.name].commit,
            here[entry.name].files,
            here[entry.name].listing,
        )
    there.pull()
