"""Whose login is for which repository, as docker and podman write them; and what a registry says that it wants."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from assetmgr.registry_urls import parse_repository
from assetmgr.transfer.admission import Admission, challenges, find_login
from assetmgr.transfer.urls import address

HUB = "https://index.docker.io/v1/"


def auths(**users: str) -> str:
    every = {name: {"auth": base64.b64encode(f"{user}:word".encode()).decode()} for name, user in users.items()}
    return json.dumps({"auths": every})


@pytest.mark.parametrize(
    ("text", "names", "user"),
    [
        ("oci://reg.example/team-a/x", ["reg.example"], "reg.example"),
        ("oci://reg.example/team-a/x", ["reg.example", "reg.example/team-a"], "reg.example/team-a"),
        ("oci://reg.example/team-a/x", ["reg.example/team-a", "reg.example"], "reg.example/team-a"),
        ("oci://reg.example/team-a/x", ["reg.example/team-a", "reg.example/team-a/x"], "reg.example/team-a/x"),
        ("oci://reg.example/team-ab/x", ["reg.example/team-a"], None),
        ("oci://reg.example/x", ["reg.example/team-a"], None),
        ("oci://reg.example/x", ["https://reg.example/v1/"], "https://reg.example/v1/"),
        ("oci://reg.example/x", ["https://reg.example"], "https://reg.example"),
        ("oci://reg.example/x", ["http://reg.example"], None),
        ("oci://reg.example/x", ["reg.example:5000", "other.example", "example", "xreg.example"], None),
        ("oci://reg.example:5000/x", ["reg.example", "reg.example:5000"], "reg.example:5000"),
        ("oci+http://reg.example/x", ["reg.example", "http://reg.example"], None),
        ("oci://127.0.0.2:5000/x", ["127.0.0.2:5000"], "127.0.0.2:5000"),
        ("oci://[::1]:5000/x", ["[::1]:5000"], "[::1]:5000"),
        ("oci://localhost:5000/x", ["https://localhost:5000"], None),
        ("oci://docker.io/lab/x", [HUB], HUB),
        ("oci://docker.io/lab/x", ["docker.io/other", "docker.io/lab"], "docker.io/lab"),
        ("oci://registry-1.docker.io/lab/x", ["docker.io"], "docker.io"),
        ("oci://docker.io.evil.example/lab/x", [HUB, "docker.io"], None),
        ("oci://reg.example/x", ["", "/", "://", "reg.example:x", "https://"], None),
    ],
)
def test_a_login_is_found_for_the_very_host_and_the_longest_path(
    tmp_path: Path, text: str, names: list[str], user: str | None
) -> None:
    file = tmp_path / "auth.json"
    file.write_text(auths(**{name: name.replace(":", "_") or "none" for name in names}))
    repository = parse_repository(text)
    found = find_login(address(repository.base), repository.name, [str(tmp_path / "none"), str(file)])
    assert found == (None if user is None else (user.replace(":", "_"), "word"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"auths": []}',
        '{"auths": {"reg.example": 1}}',
        "\0",
        '{"auths": {"reg.example": {"auth": "%"}}}',
    ],
)
def test_a_file_of_logins_that_is_none_has_none(tmp_path: Path, text: str) -> None:
    broken, good = tmp_path / "broken", tmp_path / "good"
    broken.write_text(text)
    good.write_text(auths(**{"reg.example": "me"}))
    assert find_login(address("https://reg.example"), "x", [str(broken), str(good)]) == ("me", "word")


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('Basic realm="lab"', [("basic", {"realm": "lab"})]),
        (
            'Bearer realm="https://a.example/t?x=1,2",service="a b",scope="repository:x:pull"',
            [("bearer", {"realm": "https://a.example/t?x=1,2", "service": "a b", "scope": "repository:x:pull"})],
        ),
        ('Negotiate, Basic realm="a \\"b\\""', [("negotiate", {}), ("basic", {"realm": 'a "b"'})]),
        ("", []),
        ("=,=", []),
    ],
)
def test_what_a_registry_wants_is_read_as_http_has_it(header: str, found: list[tuple[str, dict[str, str]]]) -> None:
    assert [(one.scheme, one.parameters) for one in challenges(header)] == found


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("oci://reg.example/x", "docker login reg.example,"),
        ("oci://reg.example:5000/x", "docker login reg.example:5000,"),
        ("oci://docker.io/lab/x", "docker login docker.io,"),
        ("oci+http://reg.example/x", "no login is sent by plain http"),
    ],
)
def test_who_has_no_login_is_told_what_to_type(text: str, place: str) -> None:
    repository = parse_repository(text)
    assert place in Admission(repository.base, repository.name).mend
