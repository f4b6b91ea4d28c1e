"""One file from one or several URLs: every fault at the wire is met, and no secret leaves for where it is not meant."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from assetmgr.errors import AccessError, AssetError, IntegrityError, OriginError
from assetmgr.transfer.evidence import evidence
from assetmgr.transfer.fetch import fetch
from assetmgr.transfer.http1 import Fields
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.source import Fetched
from assetmgr.transfer.urls import local_path, redirect_target, safe_url
from tests.hub import Fault, Hub
from tests.support import Project, without_root_powers

BODY = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(BODY).hexdigest()
LIMITS = Limits(attempts=3, backoff=0.001, connect_timeout=5, read_timeout=5)
CANARY = "canary-7f3a"


@pytest.fixture(autouse=True)
def no_login_of_this_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    hub.publish("/f/w.bin", BODY)
    with hub.serve():
        yield hub


@pytest.fixture
def other() -> Iterator[Hub]:
    """Another server of this machine: another port, and another host where it is called localhost."""
    hub = Hub()
    hub.publish("/f/w.bin", BODY)
    with hub.serve():
        yield hub


class Attempt:
    """One `fetch`, with what it said, waited and counted."""

    def __init__(self, partial: Path) -> None:
        self.partial = partial
        self.said: list[str] = []
        self.waits: list[float] = []
        self.steps: list[int] = []

    def __call__(self, *urls: str, limits: Limits = LIMITS, **options: Any) -> Fetched:
        return fetch(
            urls,
            str(self.partial),
            limits=limits,
            progress=self.steps.append,
            say=self.said.append,
            sleep=self.waits.append,
            **options,
        )

    def fails(self, kind: type[AssetError], *urls: str, **options: Any) -> str:
        """Fetch, expecting a failure; return its words, and everything said before it."""
        with pytest.raises(AssetError) as caught:
            self(*urls, **options)
        assert type(caught.value) is kind, repr(caught.value)
        assert sum(self.steps) == 0, "a bar goes back by what did not count"
        return str(caught.value) + "\n" + "\n".join(self.said)


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    return Attempt(tmp_path / "partial" / "file")


def assert_whole(attempt: Attempt, fetched: Fetched) -> None:
    assert attempt.partial.read_bytes() == BODY
    assert (fetched.size, fetched.digests["sha256"]) == (len(BODY), SHA256)
    assert sum(attempt.steps) == len(BODY)


# --- the plain way ------------------------------------------------------------------------------------------------


def test_a_file_arrives_hashed(hub: Hub, attempt: Attempt) -> None:
    fetched = attempt(f"{hub.endpoint}/f/w.bin", size=len(BODY), algorithms=["sha256", "md5", "git_sha1"])
    assert_whole(attempt, fetched)
    assert fetched.digests["md5"] == hashlib.md5(BODY).hexdigest()
    assert fetched.digests["git_sha1"] == hashlib.sha1(b"blob %d\0" % len(BODY) + BODY).hexdigest()
    assert fetched.url == f"{hub.endpoint}/f/w.bin"
    assert not attempt.said
    assert not attempt.waits
    assert len(hub.requests) == 1


def test_an_empty_file_arrives(hub: Hub, attempt: Attempt) -> None:
    hub.publish("/empty", b"")
    assert attempt(f"{hub.endpoint}/empty", size=0).size == 0
    assert attempt.partial.read_bytes() == b""


def test_a_longer_partial_of_before_is_forgotten(hub: Hub, attempt: Attempt) -> None:
    attempt.partial.parent.mkdir()
    attempt.partial.write_bytes(BODY * 2)
    assert_whole(attempt, attempt(f"{hub.endpoint}/f/w.bin"))


def test_a_file_without_a_length_arrives(hub: Hub, attempt: Attempt) -> None:
    hub.faults.add(Fault(headers={"Content-Length": None}, times=None))
    assert_whole(attempt, attempt(f"{hub.endpoint}/f/w.bin", size=len(BODY)))


def test_the_bytes_are_the_files_own_and_not_a_decoded_form(hub: Hub, attempt: Attempt) -> None:
    # Many servers announce a .gz file so; what the lock names is the file.
    hub.publish("/f/data.json.gz", BODY, headers={"Content-Encoding": "gzip"})
    assert_whole(attempt, attempt(f"{hub.endpoint}/f/data.json.gz", size=len(BODY)))
    assert hub.requests[0].headers["accept-encoding"] == "identity"


def test_redirects_are_followed_to_an_end(hub: Hub, other: Hub, attempt: Attempt) -> None:
    hub.redirect("/a", "/b")
    hub.redirect("/b", f"{other.endpoint}/f/w.bin", status=307)
    assert_whole(attempt, attempt(f"{hub.endpoint}/a"))


def test_redirects_in_a_circle_end(hub: Hub, attempt: Attempt) -> None:
    hub.redirect("/a", "/a")
    attempt.fails(OriginError, f"{hub.endpoint}/a", limits=Limits(redirects=4))
    assert len(hub.requests) == 5


# --- faults at the wire -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=503, times=2),
        Fault(status=429, times=1),
        Fault(drop=True, times=2),
        Fault(truncate_after=1000, times=2),
        Fault(truncate_after=0, times=1),
        Fault(reset_after=200_000, times=2),
        Fault(stall_after=1000, times=1),
        Fault(delay=30, times=1),
    ],
    ids=["503", "429", "drop", "truncate", "truncate at 0", "reset", "stall", "silence"],
)
def test_a_passing_fault_is_tried_again(hub: Hub, attempt: Attempt, fault: Fault) -> None:
    hub.faults.add(fault)
    patience = Limits(attempts=3, backoff=0.001, read_timeout=0.3)
    assert_whole(attempt, attempt(f"{hub.endpoint}/f/w.bin", size=len(BODY), limits=patience))
    assert hub.faults.fired(fault) == fault.times
    assert len(attempt.waits) == len(attempt.said) == fault.times
    assert all(f"{hub.endpoint}/f/w.bin" in text and "again in" in text for text in attempt.said)


@pytest.mark.parametrize(
    "fault",
    [Fault(status=500, times=None), Fault(drop=True, times=None), Fault(truncate_after=9, times=None)],
    ids=["status", "drop", "truncate"],
)
def test_a_lasting_fault_ends_after_the_attempts(hub: Hub, attempt: Attempt, fault: Fault) -> None:
    hub.faults.add(fault)
    words = attempt.fails(OriginError, f"{hub.endpoint}/f/w.bin", size=len(BODY))
    assert "3 times" in words
    assert "mend:" in words
    assert len(hub.requests) == 3


@pytest.mark.parametrize(("asked", "waits"), [("7", [7.0]), ("0", [0.0]), (2, [2.0])])
def test_retry_after_is_waited_for(hub: Hub, attempt: Attempt, asked: str | int, waits: list[float]) -> None:
    hub.faults.add(Fault(status=503, retry_after=asked))
    assert_whole(attempt, attempt(f"{hub.endpoint}/f/w.bin"))
    assert attempt.waits == waits


def test_a_server_that_asks_for_an_hour_is_left_alone(hub: Hub, attempt: Attempt) -> None:
    hub.faults.add(Fault(status=503, retry_after=3600, times=None))
    words = attempt.fails(OriginError, f"{hub.endpoint}/f/w.bin")
    assert "503" in words
    assert "3600" in words, "why it was not asked again"
    assert attempt.waits == []
    assert len(hub.requests) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, AccessError),
        (403, AccessError),
        (404, OriginError),
        (410, OriginError),
        (400, OriginError),
        (501, OriginError),
    ],
)
def test_an_answer_is_not_asked_for_again(hub: Hub, attempt: Attempt, status: int, kind: type[AssetError]) -> None:
    hub.faults.add(Fault(status=status, times=None))
    words = attempt.fails(kind, f"{hub.endpoint}/f/w.bin")
    assert f"HTTP {status}" in words
    assert "mend:" in words
    assert len(hub.requests) == 1


def test_a_file_that_nobody_serves_is_404(hub: Hub, attempt: Attempt) -> None:
    assert "HTTP 404" in attempt.fails(OriginError, f"{hub.endpoint}/none")


@pytest.mark.parametrize("size", [len(BODY) - 1, 1000, 0])
def test_more_than_the_locked_size_is_never_written(hub: Hub, attempt: Attempt, size: int) -> None:
    words = attempt.fails(IntegrityError, f"{hub.endpoint}/f/w.bin", size=size)
    assert f"{size} bytes" in words
    assert not attempt.partial.exists() or attempt.partial.stat().st_size <= size
    assert len(hub.requests) == 1, "wrong bytes are no passing fault"


def test_less_than_the_locked_size_is_wrong(hub: Hub, attempt: Attempt) -> None:
    words = attempt.fails(IntegrityError, f"{hub.endpoint}/f/w.bin", size=len(BODY) + 5)
    assert f"expected {len(BODY) + 5} bytes, found {len(BODY)}" in words


@pytest.mark.parametrize("size", [len(BODY), None])
def test_an_endless_body_is_stopped(hub: Hub, attempt: Attempt, size: int | None) -> None:
    hub.faults.add(Fault(endless=True, times=None))
    attempt.fails(IntegrityError, f"{hub.endpoint}/f/w.bin", size=size, limits=Limits(largest=len(BODY)))
    assert not attempt.partial.exists() or attempt.partial.stat().st_size <= len(BODY)


@pytest.mark.parametrize("length", ["\udcb2", "-5", "1e3", "many", "5, 5"])
def test_a_length_that_is_no_number_is_no_crash(hub: Hub, attempt: Attempt, length: str) -> None:
    hub.faults.add(Fault(headers={"Content-Length": length}, times=None))
    try:
        attempt(f"{hub.endpoint}/f/w.bin", size=len(BODY))
    except AssetError as error:
        assert error.code in (3, 5)  # noqa: PT017 - to fail with words is as good


@pytest.mark.parametrize(
    "target",
    [
        "http://[::1",
        "http://h.example:port/",
        "ftp://h.example/x",
        "http://",
        "//",
        "http://h.example:99999/",
        "http://h ost/",
    ],
)
def test_a_redirect_to_nonsense_is_an_error_with_words(hub: Hub, attempt: Attempt, target: str) -> None:
    hub.redirect("/a", target)
    assert "/a" in attempt.fails(OriginError, f"{hub.endpoint}/a")


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://h.example:port/a",
        "http://127.0.0.1:99999/a",
        "nonsense",
        "ftp://h/a",
        "http:///a",
        "http://h ost/",
    ],
)
def test_a_url_that_is_none_is_an_error_with_words(attempt: Attempt, url: str) -> None:
    attempt.fails(OriginError, url)


def test_no_url_at_all_is_an_error_with_words(attempt: Attempt) -> None:
    attempt.fails(OriginError)


# --- several URLs -------------------------------------------------------------------------------------------------


def closed_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


FIRST: dict[str, tuple[Callable[[Hub], str], str]] = {
    "404": (lambda hub: f"{hub.endpoint}/none", "HTTP 404"),
    "403": (lambda hub: f"{hub.endpoint}/f/forbidden", "HTTP 403"),
    "dead": (lambda hub: f"http://127.0.0.1:{closed_port()}/f/w.bin", "refused"),
    "too long": (lambda hub: f"{hub.endpoint}/f/long.bin", "more than"),
    "too short": (lambda hub: f"{hub.endpoint}/f/short.bin", "expected"),
    "no file": (lambda hub: "file:///nowhere/w.bin", "No such file"),
    "broken": (lambda hub: "http://[::1", "[::1"),
}


@pytest.mark.parametrize("first", FIRST)
def test_the_second_url_is_tried_when_the_first_fails(hub: Hub, other: Hub, attempt: Attempt, first: str) -> None:
    hub.publish("/f/long.bin", BODY + b"x")
    hub.publish("/f/short.bin", BODY[:-1])
    hub.faults.add(Fault(match="/f/forbidden", status=403))
    make, why = FIRST[first]
    fetched = attempt(make(hub), f"{other.endpoint}/f/w.bin", size=len(BODY))
    assert_whole(attempt, fetched)
    assert fetched.url.startswith(other.endpoint)
    assert why in attempt.said[-1]
    assert f"trying {other.endpoint}/f/w.bin" in attempt.said[-1]


def test_the_second_url_is_not_asked_when_the_first_answers(hub: Hub, other: Hub, attempt: Attempt) -> None:
    attempt(f"{hub.endpoint}/f/w.bin", f"{other.endpoint}/f/w.bin")
    assert other.requests == []


def test_a_url_with_wrong_bytes_is_passed_over(hub: Hub, other: Hub, attempt: Attempt) -> None:
    hub.publish("/f/w.bin", bytes(len(BODY)))
    fetched = attempt(f"{hub.endpoint}/f/w.bin", f"{other.endpoint}/f/w.bin", size=len(BODY), sha256=SHA256)
    assert_whole(attempt, fetched)
    assert fetched.url.startswith(other.endpoint)
    assert len(hub.requests) == 1


def test_wrong_bytes_from_every_url_are_fetched_once_more_and_told(hub: Hub, other: Hub, attempt: Attempt) -> None:
    for server in (hub, other):
        server.publish("/f/w.bin", bytes(len(BODY)))
    words = attempt.fails(
        IntegrityError, f"{hub.endpoint}/f/w.bin", f"{other.endpoint}/f/w.bin", size=len(BODY), sha256=SHA256
    )
    found = hashlib.sha256(bytes(len(BODY))).hexdigest()
    assert f"{other.endpoint}/f/w.bin: expected sha256 {SHA256}, found {found}, twice" in words
    assert (len(hub.requests), len(other.requests)) == (2, 2)


def test_when_all_fail_the_last_failure_is_raised_and_the_others_were_said(hub: Hub, attempt: Attempt) -> None:
    hub.faults.add(Fault(match="/two", status=403))
    words = attempt.fails(AccessError, f"{hub.endpoint}/one", f"{hub.endpoint}/two")
    assert "/one: HTTP 404" in words


# --- evidence -----------------------------------------------------------------------------------------------------

MD5 = hashlib.md5(BODY)
MD5_BASE64 = base64.b64encode(MD5.digest()).decode()
SHA256_BASE64 = base64.b64encode(bytes.fromhex(SHA256)).decode()
S3 = {"Server": "AmazonS3"}


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, {}),
        ({"Content-MD5": MD5_BASE64}, {"md5": MD5.hexdigest()}),
        ({"x-goog-hash": f"crc32c=AAAAAQ==,md5={MD5_BASE64}"}, {"crc32c": "00000001", "md5": MD5.hexdigest()}),
        ({"x-goog-hash": "crc32c=AAAAAQ==", "Content-MD5": MD5_BASE64}, {"crc32c": "00000001", "md5": MD5.hexdigest()}),
        ({"x-goog-hash": f"md5={MD5_BASE64}", "Content-MD5": "AAAA"}, {"md5": MD5.hexdigest()}),
        ({"ETag": '"abc-5"'}, {"etag": '"abc-5"'}),
        ({"ETag": 'W/"abc"'}, {"etag": 'W/"abc"'}),
        ({"ETag": "x" * 5000}, {}),
        ({"Content-MD5": "!!!"}, {}),
        ({"x-goog-hash": "crc32c=,md5=???,sha9=AAAA"}, {}),
        ({"Content-MD5": base64.b64encode(b"short").decode()}, {}),
        ({"x-goog-hash": "crc32c=AAAA"}, {}),
        ({"x-goog-hash": f"md5={MD5_BASE64}", "x-goog-stored-content-encoding": "gzip"}, {}),
        (
            {"x-goog-hash": f"md5={MD5_BASE64}", "x-goog-stored-content-encoding": "identity"},
            {"md5": MD5.hexdigest()},
        ),
        ({"Repr-Digest": f"sha-512=:AAAA:, sha-256=:{SHA256_BASE64}:"}, {"sha256": SHA256}),
        ({"Content-Digest": f"sha-256=:{SHA256_BASE64}:"}, {"sha256": SHA256}),
        ({"Digest": f"MD5={MD5_BASE64},SHA-256={SHA256_BASE64}"}, {"md5": MD5.hexdigest(), "sha256": SHA256}),
        ({"Digest": "SHA-256=,sha=AAAA,unixsum=30637"}, {}),
        ({"x-amz-checksum-sha256": SHA256_BASE64}, {"sha256": SHA256}),
        ({"x-amz-checksum-sha256": f"{SHA256_BASE64}-3"}, {}),
        ({"x-amz-checksum-sha256": SHA256_BASE64, "x-amz-checksum-type": "COMPOSITE"}, {}),
    ],
)
def test_what_a_server_says_of_the_bytes_is_told_in_hex(
    hub: Hub, attempt: Attempt, headers: dict[str, str], said: dict[str, str]
) -> None:
    hub.publish("/f/e.bin", BODY, etag=False, headers=headers)
    assert dict(attempt(f"{hub.endpoint}/f/e.bin").evidence) == said


MD5_ETAG = f'"{MD5.hexdigest()}"'


@pytest.mark.parametrize(
    ("headers", "md5"),
    [
        (S3, True),
        ({"x-amz-request-id": "4442587FB7D0A2F9"}, True),
        ({"Server": "MinIO"}, True),
        (S3 | {"x-amz-server-side-encryption": "AES256"}, True),
        ({}, False),
        ({"Server": "nginx"}, False),
        (S3 | {"ETag": f'"{MD5.hexdigest()}-2"'}, False),
        (S3 | {"ETag": f'W/"{MD5.hexdigest()}"'}, False),
        (S3 | {"ETag": f'"{MD5.hexdigest().upper()}"'}, False),
        (S3 | {"x-amz-server-side-encryption": "aws:kms"}, False),
        (S3 | {"x-amz-server-side-encryption": "aws:kms:dsse"}, False),
        (S3 | {"x-amz-server-side-encryption-customer-algorithm": "AES256"}, False),
        (S3 | {"x-amz-storage-class": "EXPRESS_ONEZONE"}, False),
        (S3 | {"Content-Encoding": "gzip"}, False),
    ],
)
def test_an_etag_is_an_md5_only_where_a_bucket_means_it(headers: dict[str, str], md5: bool) -> None:
    assert ("md5" in evidence({"ETag": MD5_ETAG} | headers)) == md5


def test_of_a_part_only_what_is_of_the_whole_is_believed() -> None:
    of_whole = {"Repr-Digest": f"sha-256=:{SHA256_BASE64}:", "x-goog-hash": f"md5={MD5_BASE64}"}
    assert evidence(of_whole, part=True) == {"sha256": SHA256, "md5": MD5.hexdigest()}
    of_part = {
        "Content-Digest": f"sha-256=:{SHA256_BASE64}:",
        "Digest": f"SHA-256={SHA256_BASE64}",
        "Content-MD5": MD5_BASE64,
        "x-amz-checksum-sha256": SHA256_BASE64,
    }
    assert evidence(of_part, part=True) == {}


def test_a_field_that_is_sent_twice_counts_twice() -> None:
    """Google's buckets send x-goog-hash once for each digest."""
    headers = ["x-goog-hash: crc32c=AAAAAQ==", f"X-Goog-Hash: md5={MD5_BASE64}"]
    assert evidence(Fields(headers)) == {"crc32c": "00000001", "md5": MD5.hexdigest()}


# --- credentials --------------------------------------------------------------------------------------------------


@pytest.fixture
def netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A login for the host 127.0.0.1, and for no other."""
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login me password {CANARY}\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def canaries(hub: Hub) -> int:
    """How many requests to a hub carried the password, plain or as Basic has it."""
    secret = base64.b64encode(f"me:{CANARY}".encode()).decode()
    texts = [f"{record.path} {dict(record.headers)}" for record in hub.requests]
    return sum(CANARY in text or secret in text for text in texts)


@pytest.mark.usefixtures("netrc")
def test_a_login_of_netrc_goes_to_its_host(hub: Hub, attempt: Attempt) -> None:
    assert_whole(attempt, attempt(f"{hub.endpoint}/f/w.bin"))
    assert canaries(hub) == 1


@pytest.mark.usefixtures("netrc")
def test_a_login_of_netrc_goes_to_no_other_host(other: Hub, attempt: Attempt) -> None:
    attempt(other.endpoint.replace("127.0.0.1", "localhost") + "/f/w.bin")
    assert len(other.requests) == 1
    assert canaries(other) == 0


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_login_is_dropped_on_a_redirect_to_another_host(hub: Hub, other: Hub, attempt: Attempt, status: int) -> None:
    hub.redirect("/a", other.endpoint.replace("127.0.0.1", "localhost") + "/f/w.bin", status=status)
    attempt(f"{hub.endpoint}/a")
    assert (canaries(hub), canaries(other), len(other.requests)) == (1, 0, 1)


@pytest.mark.usefixtures("netrc")
def test_a_login_is_dropped_on_a_redirect_to_another_port(hub: Hub, other: Hub, attempt: Attempt) -> None:
    # Another port of a host is another server, maybe another user's.
    hub.redirect("/a", f"{other.endpoint}/f/w.bin")
    attempt(f"{hub.endpoint}/a")
    assert (canaries(hub), canaries(other), len(other.requests)) == (1, 0, 1)


@pytest.mark.usefixtures("netrc")
def test_the_second_url_does_not_get_the_firsts_login(hub: Hub, other: Hub, attempt: Attempt) -> None:
    attempt(f"{hub.endpoint}/none", other.endpoint.replace("127.0.0.1", "localhost") + "/f/w.bin")
    assert (canaries(hub), canaries(other)) == (1, 0)


@pytest.mark.usefixtures("netrc")
def test_no_login_is_ever_in_a_message(hub: Hub, attempt: Attempt) -> None:
    hub.faults.add(Fault(status=503, times=None))
    words = attempt.fails(OriginError, f"{hub.endpoint}/f/w.bin", f"{hub.endpoint}/none")
    assert canaries(hub) == 6
    assert CANARY not in words


@pytest.mark.parametrize("location", ["http://h.example/x", "HTTP://h.example/x", " http://h.example/x", "http:x"])
def test_https_is_never_left_for_http(location: str) -> None:
    with pytest.raises(OriginError, match="from https to") as caught:
        redirect_target(f"https://h.example/a?token={CANARY}", f"{location}?token={CANARY}")
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("https://h.example/a", "https://other.example/x", "https://other.example/x"),
        ("https://h.example/a", "/x", "https://h.example/x"),
        ("https://h.example/a", "//other.example/x", "https://other.example/x"),
        ("http://h.example/a", "https://h.example/x#part", "https://h.example/x"),
        ("http://h.example/a", "https://h.example/x", "https://h.example/x"),
        ("http://h.example/a", "http://h.example/x", "http://h.example/x"),
        ("http://h.example/a", "http://h.example/x?y=1", "http://h.example/x?y=1"),
    ],
)
def test_other_redirects_are_allowed(url: str, location: str, target: str) -> None:
    assert redirect_target(url, location) == target


# --- secrets in URLs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h.example/a/b.bin", "https://h.example/a/b.bin"),
        ("https://me:SECRET@h.example/a", "https://h.example/a"),
        ("https://SECRET@h.example:8443/a", "https://h.example:8443/a"),
        ("https://h.example/a?X-Amz-Signature=SECRET", "https://h.example/a?..."),
        ("https://h.example/a#SECRET", "https://h.example/a"),
        ("https://me:SECRET@[::1]:80/a?SECRET#SECRET", "https://[::1]:80/a?..."),
        ("file:///a/b", "file:///a/b"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert safe_url(url) == shown


@pytest.mark.parametrize(
    "url", ["https://me:SECRET@[::1", "https://me:SECRET@h:port/a?SECRET", "https://h:99999/a?SECRET"]
)
def test_a_broken_url_is_shown_without_its_secrets_too(url: str) -> None:
    assert "SECRET" not in safe_url(url)


SIGNED = f"?token={CANARY}"


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=404, times=None),
        Fault(status=403, times=None),
        Fault(status=503, times=None),
        Fault(drop=True, times=None),
        Fault(truncate_after=5, times=None),
        Fault(reset_after=5, times=None),
        Fault(stall_after=5, times=None),
        Fault(headers={"Content-Length": "5"}, times=None),
    ],
    ids=["404", "403", "503", "drop", "truncate", "reset", "stall", "short"],
)
def test_the_query_of_a_url_is_in_no_message(hub: Hub, attempt: Attempt, fault: Fault) -> None:
    hub.faults.add(fault)
    url = f"{hub.endpoint}/f/w.bin{SIGNED}"
    patience = Limits(attempts=2, backoff=0.001, read_timeout=0.3)
    with pytest.raises(AssetError) as caught:
        attempt(url, url, size=len(BODY), limits=patience)
    assert CANARY not in "\n".join([str(caught.value), *attempt.said])
    assert "/f/w.bin" in str(caught.value)


@pytest.mark.parametrize(
    "target",
    ["ftp://h.example/x", "http://[::1", "/a", "http://h.example:99999/x", "http://127.0.0.1:{closed}/x", "/f/none"],
)
def test_the_query_of_a_redirects_target_is_in_no_message(hub: Hub, attempt: Attempt, target: str) -> None:
    hub.redirect("/a", target.replace("{closed}", str(closed_port())) + SIGNED)
    with pytest.raises(AssetError) as caught:
        attempt(f"{hub.endpoint}/a")
    assert CANARY not in "\n".join([str(caught.value), *attempt.said])


def test_the_query_of_a_dead_hosts_url_is_in_no_message(attempt: Attempt) -> None:
    words = attempt.fails(OriginError, f"http://127.0.0.1:{closed_port()}/f/w.bin{SIGNED}")
    assert CANARY not in words
    assert "refused" in words


# --- local files --------------------------------------------------------------------------------------------------


def test_a_local_file_is_copied_and_hashed(attempt: Attempt, tmp_path: Path) -> None:
    path = tmp_path / "a b \u00e9%20#.bin"
    path.write_bytes(BODY)
    assert_whole(attempt, attempt(path.as_uri(), size=len(BODY)))
    assert local_path(path.as_uri()) == str(path)
    assert path.read_bytes() == BODY


@pytest.mark.parametrize("size", [len(BODY) - 1, len(BODY) + 1])
def test_a_local_file_of_another_size_is_wrong(attempt: Attempt, tmp_path: Path, size: int) -> None:
    (tmp_path / "w").write_bytes(BODY)
    attempt.fails(IntegrityError, (tmp_path / "w").as_uri(), size=size)


def test_a_local_file_that_is_not_there_is_named(attempt: Attempt, tmp_path: Path) -> None:
    words = attempt.fails(OriginError, (tmp_path / "gone").as_uri())
    assert str(tmp_path / "gone") in words
    assert "mend:" in words
    assert attempt.waits == []


def test_a_folder_is_no_file(attempt: Attempt, tmp_path: Path) -> None:
    assert str(tmp_path) in attempt.fails(OriginError, tmp_path.as_uri())


def test_a_local_file_that_may_not_be_read_is_a_matter_of_access(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", prefix=without_root_powers())
    project.write("version: 1\nmodels:\n  m:\n    files: [{url: ./w}]\n")
    (project.folder / "w").write_bytes(BODY)
    (project.folder / "w").chmod(0)
    assert "readable" in project.run("lock", code=7).err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(attempt: Attempt, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    words = attempt.fails(OriginError, (tmp_path / "pipe").as_uri(), "file://[::1")
    assert f"{tmp_path / 'pipe'}: a pipe" in words


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no such device")
def test_an_endless_device_is_stopped_at_the_locked_size(attempt: Attempt) -> None:
    attempt.fails(IntegrityError, "file:///dev/zero", size=1000)
    assert not attempt.partial.exists()


def test_a_planted_link_at_the_partial_is_not_written_through(hub: Hub, attempt: Attempt, tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    attempt.partial.parent.mkdir()
    attempt.partial.symlink_to(tmp_path / "victim")
    try:
        attempt(f"{hub.endpoint}/f/w.bin")
    except OSError as error:
        assert error.filename == str(attempt.partial)  # noqa: PT017 - refused, or replaced
    assert (tmp_path / "victim").read_bytes() == b"precious"
