"""What huggingface_hub gets wrong, a test a row: each is a case that a lockfile must get right.

Every fault is injected at the wire or on the disk; the client is the command line, as a user runs it.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import Fault, Hub, RawEntry
from tests.support import Project, files_below, flip_byte, hub_manifest, served, truncate

pytestmark = pytest.mark.hub

WEIGHTS = bytes(range(256)) * 4000
FILES: dict[str, bytes | Path] = {
    "config.json": b'{"hidden": 1}',
    "tokenizer/vocab.txt": b"one\ntwo\n",
    "model.safetensors": WEIGHTS,
}


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.create("org/name").commit(FILES)
    return hub


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        project.write(hub_manifest())
        yield project


@pytest.fixture(params=["direct", "snapshot"])
def transport(request: pytest.FixtureRequest, project: Project) -> str:
    """Each way of moving a hub's bytes, for what must hold on both."""
    project.env["ASSETMGR_TRANSPORT"] = request.param
    return str(request.param)


def snapshot(project: Project) -> Path:
    (folder,) = project.root.glob("hub/models--org--name/snapshots/*")
    return folder


def assert_whole(project: Project) -> None:
    """Every byte is right, offline, by full hashing; and right by comparison with what was published."""
    project.run("verify", "--full", "--offline")
    for name, content in FILES.items():
        assert (project.path("m") / name).read_bytes() == content


# --- bytes ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("transport")
def test_one_wrong_byte_from_the_server_is_refetched_once(hub: Hub, project: Project) -> None:
    project.run("lock")
    hub.faults.add(Fault(match="model.safetensors", method="GET", flip_at=1000, times=1))
    done = project.run("pull")
    assert "once more" in done.err
    assert_whole(project)


@pytest.mark.usefixtures("transport")
def test_one_wrong_byte_from_the_server_every_time_is_an_error_and_the_rest_is_kept(hub: Hub, project: Project) -> None:
    project.run("lock")
    fault = hub.faults.add(Fault(match="model.safetensors", method="GET", flip_at=1000, times=None))
    done = project.run("pull", code=3)
    assert "m: model.safetensors" in done.err
    assert "expected sha256" in done.err
    assert "found" in done.err
    assert "mend:" in done.err
    assert not list(project.root.glob("hub/*/snapshots/*/model.safetensors"))
    assert WEIGHTS[:1000] not in b"".join(p.read_bytes() for p in project.root.glob("hub/*/blobs/*"))
    hub.faults.remove(fault)
    hub.reset_log()
    project.run("pull")
    assert hub.count("GET", "resolve/") == 1, "what was right was kept"
    assert_whole(project)


@pytest.mark.usefixtures("transport")
def test_wrong_small_file_at_lock_is_an_error(hub: Hub, project: Project) -> None:
    hub.faults.add(Fault(match="config.json", method="GET", flip_at=2, times=None))
    done = project.run("lock", code=3)
    assert "git sha1" in done.err
    assert not project.lock_file.exists()


@pytest.mark.parametrize("keep_time", [False, True], ids=["edited", "bit rot"])
def test_cached_blob_flipped_is_found_and_mended(hub: Hub, project: Project, keep_time: bool) -> None:
    project.run("lock")
    project.run("pull")
    flip_byte(snapshot(project) / "model.safetensors", 77, keep_time=keep_time)
    done = project.run("verify", "--full", "--offline", code=3)
    assert "m: model.safetensors: altered" in done.out
    assert "--repair" in done.err
    # A finding is remembered: a stamp that fits is no proof any more.
    assert "model.safetensors" in project.run("verify", "--offline", code=3).out
    hub.reset_log()
    assert "repaired: m: model.safetensors" in project.run("verify", "--repair").out
    assert hub.count("GET", "resolve/") == 1, "only the damaged file is fetched"
    assert_whole(project)


def test_cached_blob_truncated_is_found_by_the_quick_look_and_mended(hub: Hub, project: Project) -> None:
    project.run("lock")
    project.run("pull")
    truncate(snapshot(project) / "model.safetensors", 1000)
    done = project.run("verify", "--offline", code=3)
    assert f"truncated: expected {len(WEIGHTS)} bytes, found 1000" in done.out
    project.run("pull")
    assert_whole(project)


def test_tree_listing_missing_an_entry_is_found_and_mended(project: Project) -> None:
    project.run("lock")
    project.run("pull")
    (tree,) = project.root.glob("hub/*/trees/*.json")
    document = json.loads(tree.read_bytes())
    del document["files"]["model.safetensors"]
    tree.chmod(0o644)
    tree.write_text(json.dumps(document))
    assert "tree listing" in project.run("verify", "--offline", code=3).out
    project.run("verify", "--repair", "--offline")
    assert "model.safetensors" in json.loads(tree.read_bytes())["files"]
    assert_whole(project)


# --- the wire ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_one_busy_answer_on_a_file_is_waited_out(hub: Hub, project: Project, status: int) -> None:
    project.run("lock")
    hub.faults.add(Fault(match="model.safetensors", method="GET", status=status, retry_after=1, times=1))
    before = len(hub.requests)
    done = project.run("pull")
    assert f"HTTP {status}" in done.err
    times = [r.time for r in hub.requests[before:] if r.method == "GET" and "model.safetensors" in r.path]
    assert len(times) == 2
    assert times[1] - times[0] >= 0.9, "Retry-After is honoured"
    assert_whole(project)


def test_busy_answers_on_the_api_are_waited_out(hub: Hub, project: Project) -> None:
    hub.faults.add(Fault(match="/api/models/org/name", status=429, retry_after=0, times=2))
    project.run("lock")
    project.run("pull")
    assert_whole(project)


@pytest.mark.usefixtures("transport")
def test_a_server_that_asks_for_an_hour_is_not_asked_again(hub: Hub, project: Project) -> None:
    project.run("lock")
    hub.faults.add(Fault(match="model.safetensors", method="GET", status=503, retry_after=3600, times=None))
    done = project.run("pull", code=5, timeout=60)
    assert "3600" in done.err
    assert "503" in done.err


@pytest.mark.parametrize(("transport", "method"), [("snapshot", "HEAD"), ("snapshot", "GET"), ("direct", "GET")])
def test_connection_dropped_before_the_answer_is_retried(
    hub: Hub, project: Project, transport: str, method: str
) -> None:
    project.env["ASSETMGR_TRANSPORT"] = transport
    project.run("lock")
    hub.faults.add(Fault(match="model.safetensors", method=method, drop=True, times=2))
    project.run("pull")
    assert_whole(project)


@pytest.mark.usefixtures("transport")
def test_connection_reset_in_the_body_is_retried(hub: Hub, project: Project) -> None:
    project.run("lock")
    hub.faults.add(Fault(match="model.safetensors", method="GET", reset_after=5000, times=2))
    project.run("pull")
    assert_whole(project)


@pytest.mark.usefixtures("transport")
def test_body_truncated_by_the_server_is_retried(hub: Hub, project: Project) -> None:
    project.run("lock")
    hub.faults.add(Fault(match="model.safetensors", method="GET", truncate_after=5000, times=1))
    project.run("pull")
    assert_whole(project)


# --- patterns, offline, shared caches -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern", ["*.onnx", "tokenizer", "**/*.json", "file[1].txt"], ids=["absent", "folder", "stars", "class"]
)
def test_patterns_that_match_nothing_are_an_error(project: Project, pattern: str) -> None:
    project.write(hub_manifest(extra=[f"allow_patterns: ['{pattern}']"]))
    done = project.run("lock", code=2)
    assert pattern in done.err
    assert "assets.yaml:" in done.err
    assert "config.json" in done.err, "what the repo holds is shown"
    assert not project.lock_file.exists()


OFFLINE_SNAPSHOT = """
import sys
from huggingface_hub import snapshot_download
print(snapshot_download("org/name", local_files_only=True, **eval(sys.argv[1])))
"""


def test_filtered_snapshot_is_not_taken_for_the_whole_commit_offline(project: Project) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    project.write(hub_manifest(extra=["allow_patterns: ['*.json']"]))
    project.run("lock")
    project.run("pull")
    project.run("verify", "--full", "--offline")
    cache = {"HF_HUB_CACHE": str(project.root / "hub"), "HF_HUB_OFFLINE": "1"}
    done = project.python(OFFLINE_SNAPSHOT, "{'allow_patterns': ['*.json']}", env=cache)
    assert Path(done.out.strip(), "config.json").is_file()
    if int(huggingface_hub.__version__.split(".")[0]) >= 2:
        assert "ncomplete" in project.python(OFFLINE_SNAPSHOT, "{}", expect=1, env=cache).err


def test_whole_snapshot_is_accepted_offline_by_branch(project: Project) -> None:
    pytest.importorskip("huggingface_hub")
    project.run("lock")
    project.run("pull")
    cache = {"HF_HUB_CACHE": str(project.root / "hub"), "HF_HUB_OFFLINE": "1"}
    done = project.python(OFFLINE_SNAPSHOT, "{}", env=cache)
    assert Path(done.out.strip(), "model.safetensors").read_bytes() == WEIGHTS


def test_offline_local_dir_of_another_revision_is_never_returned(hub: Hub, project: Project) -> None:
    repo = hub.create("org/other")
    first = repo.commit({"a.bin": b"one"})
    repo.commit({"a.bin": b"two"})
    project.write(hub_manifest(repo="org/other", extra=[f"revision: {first}", "local_dir: ./view"]))
    project.run("lock")
    project.run("pull")
    project.write(hub_manifest(repo="org/other", extra=["revision: main", "local_dir: ./view"]))
    project.run("lock")
    done = project.run("pull", "--offline", code=5)
    assert "mend:" in done.err
    project.run("path", "m", code=4)
    assert (project.folder / "view/a.bin").read_bytes() == b"one", "nothing half-done is shown"
    project.run("pull")
    assert (project.path("m") / "a.bin").read_bytes() == b"two"
    assert (project.folder / "view/a.bin").read_bytes() == b"two"


@pytest.mark.parametrize("style", ["symlink", "hardlink", "copy"])
def test_extra_files_in_local_dir_are_removed_but_never_a_foreign_one(hub: Hub, project: Project, style: str) -> None:
    repo = hub.create("org/other")
    first = repo.commit({"a.txt": b"one", "old/gone.txt": b"old"})
    repo.commit({"a.txt": b"two"}, delete=["old/gone.txt"])
    line = [f"local_dir_links: {style}", "local_dir: ./view"]
    project.write(hub_manifest(repo="org/other", extra=[f"revision: {first}", *line]))
    project.run("lock")
    project.run("pull")
    view = project.folder / "view"
    assert files_below(view) == {"a.txt", "old/gone.txt"}
    (view / "mine.txt").write_text("mine")
    project.write(hub_manifest(repo="org/other", extra=line))
    project.run("lock")
    project.run("pull")
    assert files_below(view) == {"a.txt", "mine.txt"}
    assert (view / "a.txt").read_bytes() == b"two"
    assert not (view / "old").exists()


def test_shared_cache_is_readable_by_a_second_user_of_the_group(project: Project) -> None:
    project.root.mkdir()
    project.root.chmod(0o2770)
    project.run("lock", env={})
    previous = os.umask(0o077)
    try:
        project.run("pull")
    finally:
        os.umask(previous)
    for at, folders, files in os.walk(project.root):
        for name in folders:
            mode = stat.S_IMODE(Path(at, name).stat().st_mode)
            assert mode & 0o2070 == 0o2070, f"{at}/{name}: {mode:o}"
        for name in files:
            mode = stat.S_IMODE(Path(at, name).stat().st_mode)
            assert mode & 0o040, f"{at}/{name}: {mode:o}: less readable than its folder"


# --- hostile servers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["ETag", "X-Linked-Etag"])
@pytest.mark.parametrize("etag", ['"../../../../escaped"', '"/tmp/escaped"', '"abc"', '"' + "A" * 40 + '"'])
def test_hostile_etag_is_refused_before_anything_is_written(hub: Hub, project: Project, header: str, etag: str) -> None:
    project.env["ASSETMGR_TRANSPORT"] = "snapshot"
    project.run("lock")
    shutil.rmtree(project.root)
    before = files_below(project.folder.parent)
    hub.faults.add(Fault(match="resolve/", headers={header: etag}, times=None))
    done = project.run("pull", code=3)
    assert "unsafe" in done.err
    assert "nothing was written" in done.err
    written = files_below(project.folder.parent) - before
    assert all(name.startswith("project/store/.assetmgr/") for name in written), written
    assert not any("escaped" in name for name in written)


def test_direct_has_no_use_for_an_etag(hub: Hub, project: Project) -> None:
    before = files_below(project.folder.parent)
    hub.faults.add(Fault(match="resolve/", headers={"ETag": '"../../../../escaped"'}, times=None))
    project.run("lock")
    project.run("pull")
    assert_whole(project)
    assert not any("escaped" in name for name in files_below(project.folder.parent) - before)


@pytest.mark.parametrize(
    "name",
    ["../escaped", "a/../../escaped", "/abs", "C:\\x", "C:x", "nul", "a\\..\\b", "aux.txt", "dot.", "space ", "n\x01l"],
)
def test_hostile_file_name_is_refused_by_lock(hub: Hub, project: Project, name: str) -> None:
    hub.create("org/bad").commit({"fine.txt": b"fine", name: RawEntry(b"escaped")})
    project.write(hub_manifest(repo="org/bad"))
    done = project.run("lock", code=None)
    assert done.code in (3, 5), done.err
    assert not project.lock_file.exists()
    assert not [found for found in files_below(project.folder.parent) if found.endswith("escaped")]


def test_disk_too_small_is_said_before_the_first_byte(hub: Hub, project: Project) -> None:
    hub.create("org/huge").commit({"model.safetensors": RawEntry(b"small", size=10**15)})
    project.write(hub_manifest(repo="org/huge"))
    project.run("lock")
    hub.reset_log()
    done = project.run("pull", code=6)
    assert "1,000,000,000,000,000 bytes are needed" in done.err
    assert len(hub.requests) == 0
    assert project.run("plan", code=6).out.count("disk:") == 1


def test_two_processes_that_pull_one_asset_fetch_it_once(hub: Hub, project: Project) -> None:
    project.run("lock")
    hub.faults.add(Fault(match="model.safetensors", method="GET", delay=2, times=1))
    hub.reset_log()
    both = [project.start("pull"), project.start("pull")]
    words = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], words
    assert hub.count("GET", "model.safetensors") == 1
    assert any("waiting for process" in text for text in words), words
    assert_whole(project)


def test_verify_needs_no_network_takes_many_repos_and_calls_a_filtered_snapshot_whole(
    hub: Hub, project: Project
) -> None:
    hub.create("org/data", kind="dataset").commit({"rows.csv": b"1", "rows.parquet": b"2" * 100})
    project.write(
        hub_manifest(extra=["allow_patterns: '*.json'"])
        + "datasets:\n  d:\n    hub: org/data\n    ignore_patterns: '*.parquet'\n"
    )
    project.run("lock")
    project.run("pull")
    hub.stop()
    for full in ((), ("--full",)):
        result = project.run("verify", "--json", *full, env={"HF_ENDPOINT": "http://127.0.0.1:9"}).json
        assert (result["assets"], result["files"], result["findings"]) == (2, 2, [])
    # With the manifest gone too.
    (project.folder / "assets.yaml").unlink()
    assert project.run("verify", "--json").json["assets"] == 2
