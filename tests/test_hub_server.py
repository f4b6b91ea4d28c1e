"""The loopback hub speaks the hub's protocol, and fails exactly as told. Asked with a bare http.client."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.hub import Fault, Hub, RawEntry

ROOT = Path(__file__).parent.parent
BODY = bytes(range(256)) * 1000
RESOLVE = "/org/name/resolve/main/w.bin"


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def ask(endpoint: str, path: str, method: str = "GET", **headers: str) -> Answer:
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


@pytest.fixture
def hub() -> Hub:
    hub = Hub(tokens={"hf_all": "*", "hf_none": ()})
    hub.create("org/name").commit({"config.json": b"{}", "w.bin": BODY, "sub/deep/x.txt": b"x"})
    return hub


@pytest.fixture
def endpoint(hub: Hub) -> Iterator[str]:
    with hub.serve() as endpoint:
        yield endpoint


# Content


def test_commits_are_the_same_in_two_runs_and_differ_by_content() -> None:
    first, second = (Hub().create("o/n").commit({"a": b"1"}) for _ in range(2))
    assert first == second
    assert re.fullmatch("[0-9a-f]{40}", first)
    assert Hub().create("o/n").commit({"a": b"2"}) != first


def test_digests_are_those_of_git_and_lfs(endpoint: str) -> None:
    rows = {row["path"]: row for row in json.loads(ask(endpoint, "/api/models/org/name/tree/main").body)}
    assert rows["config.json"]["oid"] == hashlib.sha1(b"blob 2\0{}").hexdigest()
    sha256 = hashlib.sha256(BODY).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(BODY)}\n".encode()
    assert rows["w.bin"]["oid"] == hashlib.sha1(b"blob %d\0" % len(pointer) + pointer).hexdigest()
    assert rows["w.bin"]["lfs"] == {"oid": sha256, "size": len(BODY), "pointerSize": len(pointer)}
    assert rows["sub"]["type"] == "directory"
    assert "sub/deep/x.txt" not in rows


def test_a_commit_keeps_the_tree_before_it_less_what_it_deletes(hub: Hub) -> None:
    repo = hub.repos["model", "org/name"]
    sha = repo.commit({"new": b"n"}, delete=["config.json"])
    assert set(repo.commits[sha].entries) == {"new", "w.bin", "sub/deep/x.txt"}


def test_lfs_is_decided_by_the_caller_if_he_wishes() -> None:
    repo = Hub().create("o/n")
    commit = repo.commits[repo.commit({"a.txt": b"1", "b.bin": b"2"}, lfs=lambda path, size: path == "a.txt")]
    assert [commit.entries[name].lfs for name in ("a.txt", "b.bin")] == [True, False]


def test_a_folder_is_served_from_disk(hub: Hub, endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "big.bin").write_bytes(BODY * 4)
    hub.create("org/data", "dataset").commit_folder(tmp_path)
    assert ask(endpoint, "/datasets/org/data/resolve/main/sub/big.bin").body == BODY * 4
    assert (
        ask(endpoint, "/datasets/org/data/resolve/main/sub/big.bin", Range="bytes=-300000").body == BODY[-44000:] + BODY
    )


def test_lies_are_published_as_told_and_honest_names_are_checked(hub: Hub, endpoint: str) -> None:
    repo = hub.create("org/evil")
    names = ["../x", "a/../../x", "C:\\x", "nul"]
    lie = RawEntry(b"12345", size=10**15, etag="../../../../x")
    repo.commit(dict.fromkeys(names, lie))
    rows = json.loads(ask(endpoint, "/api/models/org/evil/tree/main?recursive=true").body)
    assert sorted(row["path"] for row in rows) == sorted(names)
    assert {row["size"] for row in rows} == {10**15}
    head = ask(endpoint, "/org/evil/resolve/main/nul", "HEAD").headers
    assert (head["ETag"], head["Content-Length"]) == ('"../../../../x"', str(10**15))
    assert ask(endpoint, "/org/evil/resolve/main/../x").body == b"12345"
    with pytest.raises(ValueError, match="RawEntry"):
        repo.commit({"../x": b""})


# Protocol


@pytest.mark.parametrize("revision", ["main", "v1", "refs%2Fpr%2F1", "feature%2Fone", "COMMIT"])
def test_every_kind_of_revision_is_found(hub: Hub, endpoint: str, revision: str) -> None:
    repo = hub.repos["model", "org/name"]
    first = repo.branches["main"]
    repo.tag("v1", first)
    repo.branch("refs/pr/1", first)
    repo.branch("feature/one", first)
    revision = revision.replace("COMMIT", first)
    info = json.loads(ask(endpoint, f"/api/models/org/name/revision/{revision}?blobs=true").body)
    assert (info["sha"], info["private"], info["gated"]) == (first, False, False)
    sizes = {sibling["rfilename"]: sibling["size"] for sibling in info["siblings"]}
    assert sizes == {"config.json": 2, "w.bin": len(BODY), "sub/deep/x.txt": 1}
    assert ask(endpoint, f"/org/name/resolve/{revision}/config.json").headers["X-Repo-Commit"] == first


def test_listings_come_in_pages(hub: Hub, endpoint: str) -> None:
    hub.page_size = 2
    path, paths = f"{endpoint}/api/models/org/name/tree/main?recursive=true", []
    while path:
        answer = ask(endpoint, path.removeprefix(endpoint))
        rows = json.loads(answer.body)
        assert len(rows) <= 2
        paths += [row["path"] for row in rows]
        path = (answer.headers["Link"] or "").partition(">")[0].removeprefix("<")
    assert paths == ["sub", "sub/deep", "config.json", "sub/deep/x.txt", "w.bin"]


@pytest.mark.parametrize(
    ("path", "token", "status", "code"),
    [
        ("/api/models/org/none", None, 401, "RepoNotFound"),
        ("/api/models/org/none", "hf_all", 404, "RepoNotFound"),
        ("/api/datasets/org/name/revision/main", "hf_all", 404, "RepoNotFound"),
        ("/datasets/org/name/resolve/main/config.json", "hf_all", 404, "RepoNotFound"),
        ("/api/models/org/name", "hf_bad", 401, None),
        ("/api/models/org/name/revision/none", None, 404, "RevisionNotFound"),
        ("/org/name/resolve/none/config.json", None, 404, "RevisionNotFound"),
        ("/org/name/resolve/main/none", None, 404, "EntryNotFound"),
        ("/api/models/org/name/tree/main/none", None, 404, "EntryNotFound"),
        ("/api/models/org/private", None, 401, "RepoNotFound"),
        ("/api/models/org/private", "hf_none", 404, "RepoNotFound"),
        ("/api/models/org/private", "hf_all", 200, None),
        ("/api/models/org/gated", None, 200, None),
        ("/org/gated/resolve/main/f", None, 401, "GatedRepo"),
        ("/org/gated/resolve/main/f", "hf_none", 403, "GatedRepo"),
        ("/org/gated/resolve/main/f", "hf_all", 200, None),
        ("/api/whoami-v2", None, 401, None),
        ("/api/whoami-v2", "hf_none", 200, None),
    ],
)
def test_refusals_are_those_of_the_hub(
    hub: Hub, endpoint: str, path: str, token: str | None, status: int, code: str | None
) -> None:
    hub.create("org/private", private=True).commit({"f": b""})
    hub.create("org/gated", gated="auto").commit({"f": b""})
    answer = ask(endpoint, path, **({"Authorization": f"Bearer {token}"} if token else {}))
    assert (answer.status, answer.headers["X-Error-Code"]) == (status, code)
    assert (answer.headers["X-Error-Message"] is None) == (status == 200)


def test_a_renamed_repository_redirects(hub: Hub, endpoint: str) -> None:
    hub.alias("name", "org/name")
    assert ask(endpoint, "/api/models/name/revision/main").headers["Location"] == "/api/models/org/name/revision/main"
    answer = ask(endpoint, "/name/resolve/main/w.bin")
    assert (answer.status, answer.headers["Location"]) == (307, RESOLVE)


@pytest.mark.parametrize("elsewhere", [None, "http://localhost:1"])
def test_lfs_files_redirect_when_asked_to(hub: Hub, endpoint: str, elsewhere: str | None) -> None:
    hub.redirect_lfs = elsewhere or True
    answer = ask(endpoint, RESOLVE, "HEAD")
    sha256 = hashlib.sha256(BODY).hexdigest()
    assert answer.status == 302
    assert (answer.headers["X-Linked-Etag"], answer.headers["X-Linked-Size"]) == (
        f'"{sha256}"',
        str(len(BODY)),
    )
    base = elsewhere or endpoint
    assert answer.headers["Location"].startswith(base + "/cdn/")
    assert ask(endpoint, answer.headers["Location"].removeprefix(base)).body == BODY


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=1000-", 206, 1000, len(BODY)),
        ("bytes=-5", 206, len(BODY) - 5, len(BODY)),
        ("bytes=5-999999999", 206, 5, len(BODY)),
        ("bytes=5-4", 200, 0, len(BODY)),
        ("bytes=0-1,3-4", 200, 0, len(BODY)),
        ("lines=0-1", 200, 0, len(BODY)),
    ],
)
def test_ranges(endpoint: str, asked: str, status: int, start: int, end: int) -> None:
    answer = ask(endpoint, RESOLVE, Range=asked)
    assert (answer.status, answer.headers["Accept-Ranges"], answer.body) == (status, "bytes", BODY[start:end])
    expected = f"bytes {start}-{end - 1}/{len(BODY)}" if status == 206 else None
    assert answer.headers["Content-Range"] == expected


def test_a_range_past_the_end_is_416(endpoint: str) -> None:
    answer = ask(endpoint, RESOLVE, Range=f"bytes={len(BODY)}-")
    assert (answer.status, answer.headers["Content-Range"], answer.body) == (416, f"bytes */{len(BODY)}", b"")


def test_conditional_requests(endpoint: str) -> None:
    etag = ask(endpoint, RESOLVE, "HEAD").headers["ETag"]
    assert etag == f'"{hashlib.sha256(BODY).hexdigest()}"'
    assert ask(endpoint, RESOLVE, If_None_Match=etag).status == 304
    assert ask(endpoint, RESOLVE, Range="bytes=0-1", If_Range=etag).status == 206
    assert ask(endpoint, RESOLVE, Range="bytes=0-1", If_Range='"other"').status == 200


def test_plain_files_and_redirects(hub: Hub, endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(BODY)
    hub.publish("/static/a.bin", tmp_path / "a")
    hub.publish("/static/bare", b"abc", etag=False, ranges=False, headers={"Last-Modified": "yesterday"})
    hub.redirect("/static/r", "http://example.invalid/", status=301)
    answer = ask(endpoint, "/static/a.bin?x=1", Range="bytes=1-2")
    assert (answer.status, answer.body) == (206, BODY[1:3])
    assert answer.headers["ETag"]
    bare = ask(endpoint, "/static/bare", Range="bytes=1-2")
    assert (bare.status, bare.body, bare.headers["ETag"], bare.headers["Last-Modified"]) == (
        200,
        b"abc",
        None,
        "yesterday",
    )
    assert ask(endpoint, "/static/r").headers["Location"] == "http://example.invalid/"


# Faults


def test_a_status_with_retry_after_passes_and_ends_as_counted(hub: Hub, endpoint: str) -> None:
    fault = hub.faults.add(Fault(re.compile("w.bin$"), times=2, after=1, status=503, retry_after=7, body=b"busy"))
    answers = [ask(endpoint, RESOLVE) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 503, 503, 200]
    assert (answers[1].headers["Retry-After"], answers[1].body) == ("7", b"busy")
    assert hub.faults.fired(fault) == 2


def test_a_dropped_connection_sends_nothing(hub: Hub, endpoint: str) -> None:
    hub.faults.add(Fault(drop=True))
    with pytest.raises(http.client.RemoteDisconnected):
        ask(endpoint, RESOLVE)
    assert (hub.requests[0].status, hub.requests[0].sent) == (0, 0)


@pytest.mark.parametrize("cut", [0, 1000, 200_000])
def test_a_reset_comes_after_so_many_bytes(hub: Hub, endpoint: str, cut: int) -> None:
    hub.faults.add(Fault(reset_after=cut))
    got: list[bytes] = []
    with socket.create_connection(("127.0.0.1", int(endpoint.rpartition(":")[2]))) as connection:
        connection.sendall(f"GET {RESOLVE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        with pytest.raises(ConnectionResetError):
            got.extend(iter(lambda: connection.recv(1 << 16), None))
    assert b"".join(got).partition(b"\r\n\r\n")[2] == BODY[:cut]


def test_a_truncated_body_is_shorter_than_promised(hub: Hub, endpoint: str) -> None:
    hub.faults.add(Fault(truncate_after=1000))
    assert ask(endpoint, RESOLVE, "HEAD").status == 200
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(endpoint, RESOLVE)
    assert caught.value.partial == BODY[:1000]
    assert [(record.method, record.sent) for record in hub.requests] == [("HEAD", 0), ("GET", 1000)]


def test_a_stall_ends_when_released(hub: Hub, endpoint: str) -> None:
    fault = hub.faults.add(Fault(stall_after=1000))
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(ask(endpoint, RESOLVE)))
    thread.start()
    assert hub.faults.wait_stalled()
    assert not answers
    hub.faults.release(fault)
    thread.join(10)
    assert answers[0].body == BODY


def test_a_stall_ends_when_the_hub_closes(hub: Hub) -> None:
    hub.faults.add(Fault(stall_after=0, stall_seconds=1000))
    with hub.serve() as endpoint:
        connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=10)
        connection.request("GET", RESOLVE)
        assert hub.faults.wait_stalled()
        began = time.monotonic()
    assert time.monotonic() - began < 2
    with pytest.raises((http.client.HTTPException, OSError)):
        connection.getresponse().read()
    connection.close()


def test_one_byte_is_flipped_wherever_the_ranges_lie(hub: Hub, endpoint: str) -> None:
    hub.faults.add(Fault(flip_at=5000, times=None))
    wrong = BODY[:5000] + bytes([BODY[5000] ^ 0xFF]) + BODY[5001:]
    assert ask(endpoint, RESOLVE).body == wrong
    assert ask(endpoint, RESOLVE, Range="bytes=4999-5001").body == wrong[4999:5002]
    assert ask(endpoint, RESOLVE, Range="bytes=6000-6999").body == BODY[6000:7000]


def test_other_bytes_come_under_the_true_headers(hub: Hub, endpoint: str) -> None:
    hub.faults.add(Fault(body=b"other bytes", times=None))
    head, answer = ask(endpoint, RESOLVE, "HEAD"), ask(endpoint, RESOLVE)
    assert (answer.body, answer.headers["ETag"]) == (b"other bytes", head.headers["ETag"])
    assert ask(endpoint, RESOLVE, Range="bytes=6-").body == b"bytes"


def test_headers_are_replaced_added_and_removed(hub: Hub, endpoint: str) -> None:
    hub.faults.add(Fault(headers={"etag": '"../../x"', "X-New": "1", "X-Repo-Commit": None, "Content-Length": None}))
    answer = ask(endpoint, RESOLVE)
    assert [answer.headers[name] for name in ("ETag", "X-New", "X-Repo-Commit")] == ['"../../x"', "1", None]
    assert (answer.headers["Content-Length"], answer.body) == (None, BODY)


def test_delay_and_throttle_take_their_time(hub: Hub, endpoint: str) -> None:
    hub.faults.add(Fault(delay=0.1))
    hub.faults.add(Fault(throttle=1_280_000))
    began = time.monotonic()
    ask(endpoint, RESOLVE)
    assert time.monotonic() - began >= 0.1
    began = time.monotonic()
    assert ask(endpoint, RESOLVE).body == BODY
    assert 0.15 <= time.monotonic() - began < 2


def test_an_endless_body_ends_with_the_client(hub: Hub, endpoint: str) -> None:
    hub.faults.add(Fault(endless=True))
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=10)
    connection.request("GET", RESOLVE)
    response = connection.getresponse()
    assert response.getheader("Content-Length") is None
    assert response.read(len(BODY) + 10) == BODY + bytes(10)
    response.close()
    connection.close()


# Serving


def test_requests_are_logged_before_the_client_has_the_answer(hub: Hub, endpoint: str) -> None:
    ask(endpoint, RESOLVE, X_Mark="here")
    (record,) = hub.requests
    assert (record.method, record.path, record.status, record.sent) == ("GET", RESOLVE, 200, len(BODY))
    assert record.headers["x-mark"] == "here"
    ask(endpoint, RESOLVE, "HEAD")
    assert (hub.count(), hub.count("HEAD"), hub.count(match="none"), hub.count("GET", "w.bin")) == (
        2,
        1,
        0,
        1,
    )
    hub.reset_log()
    assert hub.count() == 0


def test_a_connection_is_kept_and_many_are_served_at_once(hub: Hub, endpoint: str) -> None:
    def work() -> None:
        connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=10)
        for _ in range(50):
            connection.request("GET", "/org/name/resolve/main/config.json")
            assert connection.getresponse().read() == b"{}"
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert hub.count() == 400
    assert time.monotonic() - began < 5  # Nagle's algorithm and delayed acknowledgements would take 17 s


def test_a_hub_stops_at_once_and_starts_again_at_its_port(hub: Hub) -> None:
    before = set(threading.enumerate())
    with hub.serve() as endpoint:
        connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=10)
        connection.request("GET", "/api/models/org/name")
        connection.getresponse().read()
        began = time.monotonic()
    assert time.monotonic() - began < 2
    assert not set(threading.enumerate()) - before
    with pytest.raises(ConnectionRefusedError):
        ask(endpoint, RESOLVE)
    with hub.serve(port=int(endpoint.rpartition(":")[2])) as again:
        assert again == endpoint
        assert ask(again, RESOLVE).body == BODY
    connection.close()


def test_the_command_serves_folders_until_told_to_stop(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "a.json").write_bytes(b"{}")
    command = [sys.executable, "-m", "tests.hub", "--port-file", str(tmp_path / "port"), "--tag", "o/m:v1"]
    command += ["--model", f"o/m={tmp_path / 'repo'}", "--dataset", f"o/d={tmp_path / 'repo'}"]
    with subprocess.Popen([*command, "--static", str(tmp_path / "repo")], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        endpoint = process.stdout.readline().decode().strip()
        try:
            assert (tmp_path / "port").read_text().strip() == endpoint.rpartition(":")[2]
            paths = ["/o/m/resolve/v1/a.json", "/datasets/o/d/resolve/main/a.json", "/static/a.json"]
            assert [ask(endpoint, path).body for path in paths] == [b"{}"] * 3
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
