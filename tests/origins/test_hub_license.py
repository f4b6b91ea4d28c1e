"""What a hub says of a repo's licence is in the lock as one plain line; no lock is stale by it, no file unproved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from assetmgr.differences import compare, in_words
from assetmgr.errors import LockError
from assetmgr.lock import Lock as LockDocument
from assetmgr.lock import LockedAsset, LockedFile, check_entry, dump_lock, parse_lock
from assetmgr.origins.hub_license import stated_license
from tests.hub import Hub
from tests.support import Project, hub_manifest, served

CARD = b"---\nlicense: apache-2.0\ntags: [vision]\n---\n# A model\n"


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.create("org/name").commit({"README.md": CARD, "a.json": b"{}"})
    return hub


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        yield project


def licence(project: Project, name: str = "m") -> str | None:
    found: str | None = json.loads(project.lock_file.read_bytes())["assets"][name].get("license")
    return found


@pytest.mark.parametrize(
    ("card", "tags", "expected"),
    [
        ({"license": "apache-2.0"}, ["license:mit"], "apache-2.0"),
        ({"license": ["mit", "cc-by-4.0"]}, None, "mit, cc-by-4.0"),
        ({"license": "other", "license_name": "llama3"}, None, "other (llama3)"),
        ({"license": "other"}, None, "other"),
        ({"license": None}, ["vision", "license:bsd-3-clause"], "bsd-3-clause"),
        ({}, ["vision"], None),
        (None, None, None),
        ("a text", "license:mit", "mit"),
        ({"license": {"a": 1}}, [1, None], None),
        ({"license": ""}, ["license:mit"], "mit"),
        ({"license": "mit\n\x1b[2Jall yours\u202e"}, None, "mit [2Jall yours"),
        ({"license": "x" * 5000}, None, "x" * 200),
    ],
)
def test_a_licence_is_one_plain_line_whatever_the_hub_says(card: object, tags: object, expected: str | None) -> None:
    assert stated_license(card, tags) == expected


@pytest.mark.hub
@pytest.mark.parametrize("transport", ["direct", "snapshot"])
def test_lock_takes_the_licence_along_without_another_request(hub: Hub, project: Project, transport: str) -> None:
    project.write(hub_manifest(extra=[f"transport: {transport}"]))
    project.run("lock")
    assert licence(project) == "apache-2.0"
    asked = hub.count(match="/api/")
    hub.create("org/bare").commit({"README.md": b"# A model\n", "a.json": b"{}"})
    project.write(hub_manifest(repo="org/bare", extra=[f"transport: {transport}"]))
    project.run("lock")
    assert licence(project) is None
    assert hub.count(match="/api/") == 2 * asked, "the commit and its files, as without a licence"


def test_the_manifest_goes_before_the_hub_and_changes_nothing_else(hub: Hub, project: Project) -> None:
    project.write(hub_manifest())
    project.run("lock")
    project.run("pull")
    before = project.lock_file.read_bytes()
    project.write(hub_manifest(extra=["license: MIT OR Apache-2.0", "description: Small"]))
    project.run("lock", "--check")
    hub.reset_log()
    done = project.run("lock")
    assert "licence: apache-2.0 -> MIT OR Apache-2.0" in done.out
    assert licence(project) == "MIT OR Apache-2.0"
    assert project.lock_file.read_bytes() != before
    assert [row["state"] for row in project.run("--json", "status").json] == ["installed"]
    project.run("pull")
    assert hub.requests == [], "nobody is asked again"


def test_a_lock_from_before_licences_still_loads_and_is_not_stale(project: Project) -> None:
    project.write(hub_manifest())
    project.run("lock")
    document = json.loads(project.lock_file.read_bytes())
    del document["assets"]["m"]["license"]
    project.lock_file.write_text(json.dumps(document))
    project.run("lock", "--check")
    project.run("pull")
    project.run("lock", "--upgrade", "m")
    assert licence(project) == "apache-2.0"
    assert [row["state"] for row in project.run("--json", "status").json] == ["installed"]


def test_a_licence_makes_no_other_entry() -> None:
    plain = LockedAsset("model", "files", "d", (LockedFile("a", 1, "a" * 64, place="files"),), "m")
    told = msgspec.structs.replace(plain, license="mit")
    assert told == plain
    assert not told != plain  # noqa: SIM202 - both operators are the entry's own
    assert (hash(told), told.digest()) == (hash(plain), plain.digest())
    assert msgspec.structs.replace(told, commit="c") != told
    assert plain != "m"
    assert in_words(compare({"m": plain}, {"m": told})) == ["~ m", "    licence: not stated -> mit"]
    assert parse_lock(dump_lock(LockDocument({"m": told})), "here").assets["m"].license == "mit"


@pytest.mark.parametrize("text", ["", " ", "mit\x1b[2J", "mit\u202e", "a\nb", "x" * 201])
def test_a_licence_that_no_line_can_show_is_refused_in_a_lock_and_a_manifest(text: str, tmp_path: Path) -> None:
    entry = LockedAsset("model", "files", "d", (), "m", license=text)
    with pytest.raises(LockError, match="license"):
        check_entry(entry)
    project = Project(tmp_path)
    project.write(hub_manifest(extra=[f"license: {json.dumps(text)}"]))
    assert "license" in project.run("status", code=2).err
