"""`assetmgr lock` against a real hub server: what is pinned, what is refused, what stays the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import Fault, Hub
from tests.support import Project, files_below, hub_manifest, served

pytestmark = pytest.mark.hub


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        yield project


def locked(project: Project) -> dict[str, dict[str, object]]:
    document = json.loads(project.lock_file.read_bytes())
    assets: dict[str, dict[str, object]] = document["assets"]
    return assets


# --- errors -----------------------------------------------------------------------------------------------------


def test_gated_private_and_missing_are_different_errors(hub: Hub, project: Project) -> None:
    hub.tokens["hf_mine"] = {"org/open"}
    hub.create("org/open").commit({"a.json": b"{}"})
    hub.create("org/gated", gated="manual").commit({"a.json": b"{}"})
    hub.create("org/private", private=True).commit({"a.json": b"{}"})
    token = {"HF_TOKEN": "hf_mine"}
    cases: tuple[tuple[str, int, tuple[str, ...], dict[str, str]], ...] = (
        (hub_manifest(repo="org/gated"), 7, ("gated", "accept its terms at", "org/gated"), {}),
        (hub_manifest(repo="org/gated"), 7, ("gated",), token),
        (hub_manifest(repo="org/private"), 7, ("private", "HF_TOKEN"), {}),
        (hub_manifest(repo="org/missing"), 5, ("no model org/missing",), token),
        (hub_manifest(repo="org/open", extra=["revision: v9"]), 5, ("no revision 'v9'",), {}),
        (hub_manifest(repo="org/open", extra=["revision: " + "e" * 40]), 5, ("no revision",), {}),
    )
    for text, code, words, env in cases:
        project.write(text)
        done = project.run("lock", code=code, env=env)
        assert all(word in done.err for word in words), done.err
        assert "mend:" in done.err
        assert "hf_mine" not in done.err
        assert not project.lock_file.exists()


@pytest.mark.parametrize(("kind", "section"), [("model", "datasets"), ("dataset", "models")])
def test_a_repo_of_the_other_kind_says_so_and_names_the_fix(
    hub: Hub, project: Project, kind: str, section: str
) -> None:
    hub.create("Salesforce/blip2-opt-2.7b", kind="model" if kind == "model" else "dataset").commit({"a.json": b"{}"})
    project.write(hub_manifest(repo="Salesforce/blip2-opt-2.7b", section=section))
    done = project.run("lock", code=5)
    assert f"is a {kind} on" in done.err
    assert f"to `{kind}s:`" in done.err


def test_a_token_goes_to_its_own_hub_alone_and_into_no_file(hub: Hub, project: Project) -> None:
    hub.tokens["hf_canary"] = "*"
    hub.create("org/name", private=True).commit({"a.json": b"{}", "w.bin": b"w"})
    canary = {"HF_TOKEN": "hf_canary"}
    project.write(hub_manifest())
    project.run("lock", env=canary)
    project.run("pull", env=canary)
    assert any("hf_canary" in record.headers.get("authorization", "") for record in hub.requests)
    for name in files_below(project.folder):
        assert b"hf_canary" not in (project.folder / name).read_bytes(), name
    # The same address as an endpoint of the manifest, while the token's hub is another one.
    project.lock_file.unlink()
    project.write(hub_manifest().replace("hub: org/name", "hub: {repo: org/name, endpoint: '{endpoint}'}"))
    hub.reset_log()
    done = project.run("lock", code=7, env=canary | {"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert not any("authorization" in record.headers for record in hub.requests)
    assert "HF_ENDPOINT=" in done.err


def test_a_hub_that_is_not_there_is_an_origin_error_in_bounded_time(project: Project) -> None:
    project.write(hub_manifest())
    done = project.run("lock", code=5, env={"HF_ENDPOINT": "http://127.0.0.1:9"}, timeout=60)
    assert "127.0.0.1:9" in done.err


def test_several_failures_are_all_told_and_the_gravest_gives_the_code(hub: Hub, project: Project) -> None:
    hub.create("org/gated", gated="auto").commit({"a.json": b"{}"})
    hub.create("org/fine").commit({"a.json": b"{}"})
    project.write(
        "version: 1\nmodels:\n  a: {hub: org/gated}\n  b: {hub: org/fine, revision: nope}\n  c: {hub: org/fine}\n"
    )
    done = project.run("lock", code=7)
    assert "a: a.json: org/gated is gated" in done.err
    assert "b: org/fine has no revision" in done.err


# --- what is pinned -----------------------------------------------------------------------------------------------


def test_the_lock_is_complete_and_holds_the_whole_paged_tree(hub: Hub, project: Project) -> None:
    hub.page_size = 7
    files: dict[str, bytes | Path] = {f"data/{i:03}.json": b"%d" % i for i in range(50)}
    hub.create("org/name").commit(files | {"w.bin": b"w" * 1000})
    project.write(hub_manifest())
    project.run("lock")
    entry = locked(project)["m"]
    rows = entry["files"]
    assert isinstance(rows, list)
    assert {row["path"] for row in rows} == {*files, "w.bin"}
    assert all(len(row["sha256"]) == 64 and row["size"] > 0 for row in rows)
    assert project.endpoint not in project.lock_file.read_text(), "a lock names no machine's endpoint"
    assert all(line.count('"path"') <= 1 for line in project.lock_file.read_text().splitlines()), "one file a line"


def test_what_lock_fetched_to_hash_is_not_fetched_again(hub: Hub, project: Project) -> None:
    hub.create("org/name").commit({"a.json": b"{}", "w.bin": b"w" * 1000})
    project.write(hub_manifest())
    project.run("lock")
    hub.reset_log()
    project.run("pull")
    assert hub.count("GET", "a.json") == 0
    assert hub.count("GET", "w.bin") == 1


def test_relocking_without_a_change_gives_the_same_bytes_and_asks_nobody(hub: Hub, project: Project) -> None:
    hub.create("org/name").commit({"a.json": b"{}"})
    project.write(hub_manifest())
    project.run("lock")
    first = project.lock_file.read_bytes()
    hub.reset_log()
    project.run("lock")
    assert project.lock_file.read_bytes() == first
    assert len(hub.requests) == 0
    project.lock_file.unlink()
    project.run("lock")
    assert project.lock_file.read_bytes() == first


def test_a_lock_stays_at_its_commit_until_it_is_upgraded(hub: Hub, project: Project) -> None:
    repo = hub.create("org/name")
    first = repo.commit({"a.json": b"1", "b.json": b"b"})
    project.write(hub_manifest())
    project.run("lock")
    second = repo.commit({"a.json": b"2", "c.json": b"c"}, delete=["b.json"])
    project.run("lock")
    assert locked(project)["m"]["commit"] == first
    # A change of the declaration that has nothing to do with the revision does not move it either.
    project.write(hub_manifest(extra=["ignore_patterns: ['*.md']"]))
    project.run("lock")
    assert locked(project)["m"]["commit"] == first
    done = project.run("lock", "--upgrade", "m")
    assert locked(project)["m"]["commit"] == second
    assert f"{first[:12]} -> {second[:12]}" in done.out
    assert "+ c.json" in done.out
    assert "- b.json" in done.out
    assert "~ a.json" in done.out


def test_check_fails_when_manifest_and_lock_disagree_and_writes_nothing(hub: Hub, project: Project) -> None:
    hub.create("org/name").commit({"a.json": b"{}", "b.bin": b"b"})
    project.write(hub_manifest())
    project.run("lock", "--check", code=4)
    assert not project.lock_file.exists()
    project.run("lock")
    project.run("lock", "--check")
    before = project.lock_file.read_bytes()
    for extra, stale in (
        (["load: {dtype: float16}", "local_dir: ./x", "groups: [g]"], False),
        (["revision: dev"], True),
    ):
        project.write(hub_manifest(extra=extra))
        project.run("lock", "--check", code=4 if stale else 0)
        assert project.lock_file.read_bytes() == before
    project.write("version: 1\nmodels:\n  other:\n    hub: org/name\n")
    done = project.run("lock", "--check", code=4)
    assert "other: declared at" in done.err
    assert "m: in " in done.err


def test_pull_of_a_stale_lock_takes_the_locked_bytes_and_locked_refuses(hub: Hub, project: Project) -> None:
    hub.create("org/name").commit({"a.json": b"{}", "b.bin": b"b"})
    project.write(hub_manifest())
    project.run("lock")
    before = project.lock_file.read_bytes()
    project.write(hub_manifest(extra=["allow_patterns: '*.json'"]))
    assert "assetmgr lock m" in project.run("pull", "--locked", code=4).err
    assert "manifest changed" in project.run("pull").err
    assert (project.path("m") / "b.bin").is_file()
    assert project.lock_file.read_bytes() == before, "pull never writes a lock"


def test_without_fetch_sha256_stays_open_and_pull_refuses(hub: Hub, project: Project) -> None:
    hub.create("org/name").commit({"a.json": b"{}", "b.bin": b"b"})
    project.write(hub_manifest())
    project.run("lock", "--no-fetch")
    assert hub.count("GET", "resolve/") == 0
    assert "a.json has no sha256" in project.run("pull", code=2).err
    project.run("lock")
    project.run("pull")
    project.run("verify", "--full")


def test_the_lock_is_closed_over_requires_of_any_manifest(hub: Hub, project: Project) -> None:
    hub.create("org/name").commit({"a.json": b"{}"})
    hub.create("org/base").commit({"b.json": b"{}"})
    project.write("version: 1\nmodels:\n  top:\n    hub: org/name\n    requires: [middle]\n")
    (project.folder / "more.yaml").write_text(
        "version: 1\nmodels:\n  middle:\n    hub: org/base\n    requires: [bottom]\n  bottom:\n    hub: org/base\n"
    )
    both = ("--manifest", "more.yaml", "--manifest", "assets.yaml")
    project.run(*both, "lock", "top")
    assert set(locked(project)) == {"top", "middle", "bottom"}
    project.run(*both, "pull", "top")
    # The lock is enough: the other manifest is not needed to pull from it.
    (project.folder / "more.yaml").unlink()
    project.run("pull", "top")
    assert {row["name"] for row in project.run("status", "top", "--json").json} == {"top", "middle", "bottom"}


def test_what_a_manifest_requires_by_name_is_wanted_like_what_it_declares(hub: Hub, project: Project) -> None:
    for name in ("top", "base", "mine"):
        hub.create(f"org/{name}").commit({"a.json": name.encode()})
    project.write("version: 1\nmodels:\n  top: {hub: org/top, requires: [base]}\n  base: {hub: org/base}\n")
    (project.folder / "assets.yaml").rename(project.folder / "catalog.yaml")
    project.write("version: 1\nrequires: [top]\nmodels:\n  mine: {hub: org/mine}\n")
    both = ("--manifest", "catalog.yaml", "--manifest", "assets.yaml")
    assert "requires 'top', which no manifest declares" in project.run("lock", code=2).err
    project.run(*both, "lock")
    assert set(locked(project)) == {"mine", "top", "base"}
    project.run("pull")
    assert {row["name"]: row["state"] for row in project.run(*both, "status", "--json").json} == dict.fromkeys(
        ("mine", "top", "base"), "installed"
    )
    project.run(*both, "lock", "--check")
    project.write("version: 1\nmodels:\n  mine: {hub: org/mine}\n")
    assert "top: in " in project.run(*both, "lock", "--check", code=4).err
    project.run("lock", "mine")
    assert set(locked(project)) == {"mine"}
    project.write("version: 1\nmodels:\n  mine: {hub: org/mine}\nrequires: base\n")
    assert "base: required at assets.yaml:4:11, not in" in project.run(*both, "lock", "--check", code=4).err


def test_a_cycle_of_requires_is_an_error_that_shows_it(project: Project) -> None:
    project.write(
        "version: 1\nmodels:\n  a:\n    hub: org/name\n    requires: [b]\n  b:\n    hub: org/name\n    requires: [a]\n"
    )
    done = project.run("lock", code=2)
    assert re.search(r"a \(\S*assets.yaml:3:3\) -> b \(\S*assets.yaml:6:3\) -> a", done.err)


def test_two_assets_that_claim_one_branch_at_different_commits_are_a_lock_error(hub: Hub, project: Project) -> None:
    repo = hub.create("org/name")
    repo.commit({"a.json": b"1"})
    project.write(hub_manifest())
    project.run("lock")
    repo.commit({"a.json": b"2"})
    before = project.lock_file.read_bytes()
    project.write(hub_manifest() + "  n:\n    hub: org/name\n    allow_patterns: '*.json'\n")
    done = project.run("lock", code=2)
    assert "--upgrade" in done.err
    assert project.lock_file.read_bytes() == before
    project.run("lock", "--upgrade", "m", "--upgrade", "n")
    project.run("pull")


def test_a_commit_of_a_listing_that_changed_is_an_integrity_error(hub: Hub, project: Project) -> None:
    hub.create("org/name").commit({"a.bin": b"1", "b.bin": b"2"})
    project.write(hub_manifest(extra=["allow_patterns: a.bin"]))
    project.run("lock")
    for listing in (project.root / ".assetmgr/listings").iterdir():
        listing.unlink()
    hub.faults.add(Fault(match="/tree/", body=b"[]", times=None))
    assert "unlike the lock" in project.run("pull", code=3).err


def test_a_hostile_lock_is_refused_before_anything_is_written(hub: Hub, project: Project) -> None:
    hub.create("org/name").commit({"a.bin": b"1"})
    project.write(hub_manifest())
    project.run("lock")
    good = project.lock_file.read_text()
    before = files_below(project.folder.parent)
    for old, new in (("a.bin", "../../../../escaped"), ("org/name", "../../x"), ('"main"', '"../../../x"')):
        project.lock_file.write_text(good.replace(old, new))
        assert project.run("pull", code=None).code in (2, 3)
        assert files_below(project.folder.parent) - before == set()
