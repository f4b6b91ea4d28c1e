"""What other tools have on the machine already: taken instead of fetched, proved, and left as it was."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import Hub
from tests.support import Project, files_below, flip_byte, hub_manifest, served, truncate, without_root_powers

pytestmark = pytest.mark.hub

WEIGHTS = bytes(range(256)) * 4000
FILES = {"config.json": b"{}", "sub/vocab.txt": b"v", "model.safetensors": WEIGHTS}
LOOK = "import sys, huggingface_hub as h; h.snapshot_download('org/name', cache_dir=sys.argv[1])"
OFFLINE = "import huggingface_hub as h; print(h.snapshot_download('org/name', local_files_only=True))"


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.create("org/name").commit(FILES)
    return hub


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    """With a hub cache that huggingface_hub has filled, where it does by itself."""
    with served(hub, tmp_path / "project") as project:
        project.write(hub_manifest())
        project.python(LOOK, str(cache_of(project)))
        hub.reset_log()
        yield project


def cache_of(project: Project) -> Path:
    return project.folder / "home" / ".cache" / "huggingface" / "hub"


def state(folder: Path) -> dict[str, tuple[object, ...]]:
    """All that can be seen of a folder but how often its files are named."""
    found: dict[str, tuple[object, ...]] = {}
    for at, folders, names in os.walk(folder):
        for name in (*folders, *names):
            status = os.lstat(os.path.join(at, name))
            found[os.path.join(at, name)] = (status.st_mode, status.st_uid, status.st_mtime_ns, status.st_size)
    return found


def blob(folder: Path, content: bytes = WEIGHTS) -> Path:
    return folder / "models--org--name" / "blobs" / hashlib.sha256(content).hexdigest()


def test_what_a_hub_cache_holds_is_linked_not_fetched_and_the_cache_stays_as_it_was(hub: Hub, project: Project) -> None:
    before = state(cache_of(project))
    project.run("lock")
    assert hub.count("GET", "/resolve/") == 0, "git's own digest tells what a cached file is"
    hub.reset_log()
    plan = project.run("plan", "--json").json
    assert sorted(plan["assets"][0]["found"]) == sorted(FILES)
    assert (plan["assets"][0]["fetch"], plan["fetch_bytes"], plan["disk_bytes"]) == ([], 0, 0)
    words = project.run("plan").out
    assert "3 files found (1.0 MB); linked if they prove equal" in words
    done = project.run("pull")
    assert "3 files (1.0 MB) linked from ~/.cache/huggingface/hub" in done.err
    assert "fetched" not in done.err
    assert hub.requests == []
    assert state(cache_of(project)) == before
    assert os.path.samefile(blob(project.root / "hub"), blob(cache_of(project)))
    project.run("verify", "--full", "--offline")
    folder = project.python(OFFLINE, env={"HF_HUB_CACHE": str(project.root / "hub")}).out.strip()
    assert {name: Path(folder, name).read_bytes() for name in FILES} == FILES
    # What the cache's owner throws away is not ours to lose.
    shutil.rmtree(cache_of(project))
    project.run("verify", "--full", "--offline")


def test_with_a_lock_everything_comes_from_the_cache_without_a_network(hub: Hub, project: Project) -> None:
    project.run("lock")
    shutil.rmtree(project.root)
    hub.reset_log()
    done = project.run("pull", "--offline", "--json")
    assert done.json["assets"][0]["adopted_files"] == 3
    assert done.json["assets"][0]["fetched_files"] == 0
    (cache,) = done.json["caches"]
    assert cache["cache"] == str(cache_of(project))
    assert (cache["linked_files"], cache["linked_bytes"]) == (3, sum(map(len, FILES.values())))
    assert hub.requests == []
    # huggingface_hub 2 keeps the commit's listing in its cache too.
    assert ("listing" in done.err) != any(cache_of(project).glob("*/trees/*.json"))
    project.run("verify", "--full", "--offline")


@pytest.mark.parametrize(
    "variable", ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "ASSETMGR_LOCAL_CACHES"]
)
def test_a_cache_is_found_by_each_variable_that_names_one(hub: Hub, project: Project, variable: str) -> None:
    moved = project.folder / "elsewhere"
    below = {"HF_HOME": "hub", "XDG_CACHE_HOME": "huggingface/hub"}.get(variable, "")
    (moved / below).parent.mkdir(parents=True, exist_ok=True)
    cache_of(project).rename(moved / below)
    env = {variable: f"{project.folder}/none:{moved}" if variable == "ASSETMGR_LOCAL_CACHES" else str(moved)}
    project.run("lock", env=env)
    project.run("pull", env=env)
    assert hub.count("GET", "/resolve/") == 0


def test_nobody_looks_where_the_user_says_so(hub: Hub, project: Project) -> None:
    project.run("lock", "--no-local-caches")
    assert hub.count("GET", "/resolve/") == 2
    for arguments, env in ((["--no-local-caches"], {}), ([], {"ASSETMGR_LOCAL_CACHES": "off"})):
        assert project.run("plan", "--json", *arguments, env=env).json["assets"][0]["found"] == []
        shutil.rmtree(project.root, ignore_errors=True)
        assert "3 files fetched" in project.run("pull", *arguments, env=env).err


@pytest.mark.parametrize("damage", ["altered", "truncated", "broken", "unreadable", "folder", "pipe"])
def test_what_is_no_good_in_a_cache_is_fetched_and_told_in_no_more_than_a_word(
    hub: Hub, project: Project, damage: str
) -> None:
    project.run("lock")
    theirs = blob(cache_of(project))
    if damage == "altered":
        flip_byte(theirs, 1000, keep_time=True)
    elif damage == "truncated":
        truncate(theirs, 1000)
    elif damage == "unreadable":
        theirs.chmod(0)
        project.prefix = without_root_powers()
    else:
        theirs.unlink()
        if damage == "folder":
            theirs.mkdir()
        elif damage == "pipe":
            os.mkfifo(theirs)
    before = state(cache_of(project))
    done = project.run("pull")
    assert "1 file fetched (1.0 MB" in done.err
    assert "2 files (3 B) linked from" in done.err
    assert ("1 file there is not what its name says; passed over" in done.err) == (damage == "altered")
    assert len(done.err.splitlines()) == 1 + (damage == "altered")
    assert state(cache_of(project)) == before
    project.run("verify", "--full", "--offline")


def test_a_linked_file_that_its_owner_writes_into_is_found_and_mended_without_touching_theirs(
    project: Project,
) -> None:
    project.run("lock")
    project.run("pull")
    with blob(cache_of(project)).open("ab") as theirs:
        theirs.write(b"more")
    assert "expected 1024000 bytes, found 1024004" in project.run("verify", code=3).out
    project.run("verify", "--repair", "--full")
    assert blob(cache_of(project)).read_bytes() == WEIGHTS + b"more"
    assert blob(project.root / "hub").read_bytes() == WEIGHTS


def test_the_store_that_is_the_users_own_hub_cache_is_no_other_tools(hub: Hub, project: Project) -> None:
    project.run("lock")
    for root, env in (
        (project.folder / "home" / ".cache" / "huggingface", {}),
        (project.folder / "link", {}),
        (project.folder / "moved", {"HF_HUB_CACHE": str(project.folder / "moved" / "hub")}),
    ):
        if root.name == "link":
            (root).mkdir()
            (root / "hub").symlink_to(cache_of(project))
        if root.name == "moved":
            root.mkdir()
            cache_of(project).rename(root / "hub")
        hub.reset_log()
        done = project.run("--root", str(root), "pull", "--json", env=env).json
        assert "caches" not in done
        assert done["assets"][0]["kept_files"] == 3
        assert hub.count("GET", "/resolve/") == 0
        project.run("--root", str(root), "verify", "--full", "--offline", env=env)


def test_across_file_systems_it_is_copied_read_only_and_proved(hub: Hub, project: Project) -> None:
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == project.folder.stat().st_dev:
        pytest.skip("one file system only")
    root = shm / f"assetmgr-test-{os.getpid()}"
    try:
        project.run("lock")
        hub.reset_log()
        assert project.run("--root", str(root), "plan", "--json").json["disk_bytes"] == sum(map(len, FILES.values()))
        done = project.run("--root", str(root), "pull")
        assert "3 files (1.0 MB) copied from ~/.cache/huggingface/hub" in done.err
        assert hub.count("GET", "/resolve/") == 0
        assert stat.S_IMODE(blob(root / "hub").stat().st_mode) == 0o444
        assert not list((root / ".assetmgr" / "partial").glob("*adopted*"))
        # A wrong one leaves nothing behind.
        shutil.rmtree(root)
        flip_byte(blob(cache_of(project)))
        done = project.run("--root", str(root), "pull")
        assert "1 file fetched" in done.err
        assert not list((root / ".assetmgr" / "partial").glob("*adopted*"))
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.mark.parametrize("mode", [0o666, 0o600])
def test_a_file_with_other_rights_than_the_stores_is_copied(project: Project, mode: int) -> None:
    project.run("lock")
    blob(cache_of(project)).chmod(mode)
    done = project.run("pull")
    assert "1 file (1.0 MB) copied from" in done.err
    assert stat.S_IMODE(blob(project.root / "hub").stat().st_mode) == 0o444
    assert stat.S_IMODE(blob(cache_of(project)).stat().st_mode) == mode


def test_two_projects_share_what_one_of_them_took(hub: Hub, project: Project) -> None:
    project.write(hub_manifest() + "  other:\n    hub: org/name\n    allow_patterns: '*.json'\n")
    project.run("lock")
    done = project.run("pull", "--json").json
    assert sum(one["adopted_files"] for one in done["assets"]) == 3
    assert hub.count("GET", "/resolve/") == 0


def test_plain_files_are_found_in_the_folders_of_torch_clip_and_lavis(project: Project, tmp_path: Path) -> None:
    """The server is gone: what is here must be enough."""
    home = project.folder / "home"
    contents = {"torch": b"torch" * 99, "clip": b"clip" * 99, "lavis": b"lavis" * 99, "renamed": b"renamed" * 99}
    for content, place in (
        ("torch", home / ".cache/torch/hub/checkpoints/weights.pth"),
        ("renamed", home / ".cache/torch/hub/checkpoints/model_large.pth"),
        ("clip", home / ".cache/clip/ViT-B-32.pt"),
        ("lavis", home / ".cache/lavis/coco/annotations/coco.json"),
    ):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(contents[content])
    lines = ["version: 1", "models:", "  a:", "    files:"]
    for content, url, more in (
        ("torch", "weights.pth", "place: torch"),
        ("renamed", "model_large.pth?x=1", "place: torch, path: other.pth"),
        ("clip", "ViT-B-32.pt", "place: clip"),
        ("lavis", "coco.json", "place: lavis/coco/annotations"),
    ):
        digest = hashlib.sha256(contents[content]).hexdigest()
        # Without its size: that is read off the file with this digest.
        lines.append(f"      - {{url: 'http://127.0.0.1:9/{url}', sha256: {digest}, {more}}}")
    project.write("\n".join(lines) + "\n")
    project.run("lock")
    done = project.run("pull", "--json").json
    assert done["assets"][0]["adopted_files"] == 4
    assert (project.root / "torch/hub/checkpoints/other.pth").read_bytes() == contents["renamed"]
    assert {Path(one["cache"]).name for one in done["caches"]} == {"torch", "clip", "lavis"}
    project.run("verify", "--full", "--offline")


def test_members_that_a_lavis_folder_has_already_are_linked_and_the_archive_is_not_fetched(project: Project) -> None:
    import zipfile

    with zipfile.ZipFile(project.folder / "images.zip", "w") as archive:
        for number in range(5):
            archive.writestr(f"val/{number}.jpg", f"picture {number}" * 50)
    project.write(
        "version: 1\ndatasets:\n  images:\n    files:\n"
        "      - {url: ./images.zip, extract: lavis/coco/images, keep_archive: false}\n"
    )
    project.run("lock")
    lavis = project.folder / "home/.cache/lavis/coco/images"
    with zipfile.ZipFile(project.folder / "images.zip") as archive:
        archive.extractall(lavis)
    (project.folder / "images.zip").unlink()
    shutil.rmtree(project.root / ".assetmgr" / "partial")
    done = project.run("pull", "--json").json
    assert (done["assets"][0]["adopted_files"], done["assets"][0]["unpacked_files"]) == (5, 0)
    assert files_below(project.root / "lavis") == {f"coco/images/val/{number}.jpg" for number in range(5)}
    project.run("verify", "--full", "--offline")
