"""`mirror push`, and a second machine that has nothing but the mirror, the manifest and the lock."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from assetmgr.mirrors.folder_target import FolderTarget
from assetmgr.mirrors.pushing import HeldFile, held_files
from assetmgr.mutex import held
from assetmgr.reporting import Silent
from assetmgr.store import Store
from assetmgr.transfer.limits import Limits
from tests.hub import Fault, Hub
from tests.mirrors.support import blob, sha256, stock
from tests.support import (
    Project,
    eventually,
    files_below,
    flip_byte,
    hub_manifest,
    served,
    truncate,
    without_root_powers,
)
from tests.transfer.support import body

CONTENTS = {f"{number:02}": body(300, number) for number in range(9)} | {"big": body(3 << 20, 8)}
WEIGHTS = body(9 << 20, 21)  # large enough for `transport: auto` to ask whether the hub has it over Xet
REPO = {"config.json": b"{}", "vocab.txt": b"a\nb\n", "model.safetensors": WEIGHTS, "left-out.bin": b"never asked for"}


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    for name, data in CONTENTS.items():
        hub.publish(f"/f/{name}", data)
    hub.create("org/name").commit(REPO)
    return hub


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "first") as project:
        files = "".join(f"      - url: '{{endpoint}}/f/{name}'\n" for name in CONTENTS)
        project.write(f"version: 1\ndatasets:\n  m:\n    files:\n{files}")
        project.run("lock")
        project.run("pull")
        yield project


def another_machine(project: Project, **env: str) -> Project:
    """A project with the same manifest and lock in another place, and nothing else."""
    other = Project(project.folder.parent / "second", project.endpoint, env=env)
    other.folder.mkdir()
    for name in ("assets.yaml", "assets.lock.json"):
        (other.folder / name).write_bytes((project.folder / name).read_bytes())
    return other


# --- two machines -------------------------------------------------------------------------------------------------


@pytest.mark.hub
@pytest.mark.parametrize("transport", ["auto", "direct", "snapshot"])
def test_a_machine_with_a_mirror_alone_gets_everything_and_asks_the_dead_hub_for_nothing(
    hub: Hub, tmp_path: Path, transport: str
) -> None:
    with served(hub, tmp_path / "first") as first:
        first.env["HF_HUB_DISABLE_XET"] = "0"
        extra = [f"transport: {transport}", "ignore_patterns: ['*.bin']"]
        first.write(hub_manifest(extra=extra) + "datasets:\n  d:\n    files: [{url: '{endpoint}/f/big'}]\n")
        first.run("lock")
        first.run("pull")
        first.run("mirror", "push", "../mirror")
        second = another_machine(first, HF_HUB_DISABLE_XET="0")
        hub.faults.add(Fault(status=500, times=None))
        hub.reset_log()
        done = second.run("pull", "--mirror", "../mirror", "--json").json
        assert hub.requests == []
    assert done["mirrors"][0]["files"] == 5, "four files and the listing"
    verified = second.run("verify", "--full", "--json").json
    assert (verified["findings"], verified["errors"], verified["files"]) == ([], [], 4)
    assert all(row["state"] == "installed" for row in second.run("status", "--json").json)
    snapshot = second.path("m")
    assert {path.name for path in snapshot.iterdir()} == {"config.json", "vocab.txt", "model.safetensors"}
    assert (snapshot / "model.safetensors").read_bytes() == WEIGHTS
    # huggingface_hub itself takes a part for a part, by the listing.
    assert files_below(second.root / "hub" / "models--org--name" / "trees") == files_below(
        first.root / "hub" / "models--org--name" / "trees"
    )


@pytest.mark.hub
def test_what_the_mirror_lacks_comes_from_the_hub(hub: Hub, tmp_path: Path) -> None:
    with served(hub, tmp_path / "first") as first:
        first.write(hub_manifest())
        first.run("lock")
        stock(tmp_path / "mirror", WEIGHTS)
        second = another_machine(first)
        hub.reset_log()
        done = second.run("pull", "--mirror", "../mirror", "--json").json
        assert hub.count(match="model.safetensors") == 0
    assert (done["mirrors"][0]["files"], done["origin"]["files"]) == (1, 3)
    second.run("verify", "--full")


@pytest.mark.hub
def test_no_token_of_the_hub_goes_to_a_mirror(hub: Hub, tmp_path: Path) -> None:
    canary = "hf_canary7d2f"
    mirror = Hub()
    with mirror.serve() as address, served(hub, tmp_path / "first") as first:
        first.env["HF_TOKEN"] = canary
        hub.tokens[canary] = "*"
        stock(mirror, b"{}", WEIGHTS)
        first.write(hub_manifest() + f"mirrors: {address}\n")
        first.run("lock")
        first.run("pull")
        assert mirror.requests
        assert all(canary not in str(record) for record in mirror.requests)


# --- push ---------------------------------------------------------------------------------------------------------


def test_a_push_leaves_blobs_that_are_read_only_copies_and_nothing_half_done(project: Project) -> None:
    done = project.run("mirror", "push", "out/mirror", "--json").json
    size = sum(map(len, CONTENTS.values()))
    assert done == {
        "code": 0,
        "target": str(project.folder / "out" / "mirror"),
        "pushed": {"files": len(CONTENTS), "bytes": size},
        "present": {"files": 0, "bytes": 0},
        "errors": [],
    }
    mirror = project.folder / "out" / "mirror"
    names = {name for name in files_below(mirror) if not name.startswith((".pushing", "assetmgr/"))}
    assert names == {blob(data) for data in CONTENTS.values()}
    for data in CONTENTS.values():
        status = (mirror / blob(data)).stat()
        assert (mirror / blob(data)).read_bytes() == data
        assert status.st_nlink == 1, "no inode of the store's"
        assert stat.S_IMODE(status.st_mode) & 0o222 == 0


def test_a_second_push_sends_what_is_new_or_cut_short_alone(project: Project) -> None:
    project.run("mirror", "push", "mirror")
    truncate(project.folder / "mirror" / blob(CONTENTS["03"]), 5)
    (project.folder / "mirror" / blob(CONTENTS["big"])).unlink()
    said = project.run("mirror", "push", "mirror").err
    assert "2 blobs pushed (3.1 MB), 8 blobs already there" in said
    assert "0 blobs pushed (0 B), 10 blobs already there" in project.run("mirror", "push", "mirror").err


def test_a_full_push_replaces_what_has_other_bytes(project: Project) -> None:
    project.run("mirror", "push", "mirror")
    path = project.folder / "mirror" / blob(CONTENTS["03"])
    flip_byte(path)
    assert "0 blobs pushed" in project.run("mirror", "push", "mirror").err
    assert "1 blob pushed" in project.run("mirror", "push", "mirror", "--full").err
    assert path.read_bytes() == CONTENTS["03"]


def test_what_is_damaged_in_the_store_is_refused_and_named_and_the_rest_goes_on(project: Project) -> None:
    flip_byte(project.root / "files/m/03", keep_time=True)
    truncate(project.root / "files/m/big", 5)
    (project.root / "files/m/05").unlink()
    done = project.run("mirror", "push", "mirror", "--json", code=3)
    assert done.json["pushed"]["files"] == len(CONTENTS) - 3
    told = {error["message"].split(":")[1].strip(): error for error in done.json["errors"]}
    assert sorted(told) == ["03", "05", "big"]
    assert "expected sha256" in told["03"]["message"]
    assert "is missing" in told["05"]["message"]
    assert "expected 3145728 bytes, found 5" in told["big"]["message"]
    assert "assetmgr verify m --repair" in told["03"]["mend"]
    there = {name for name in files_below(project.folder / "mirror") if not name.startswith(".pushing")}
    assert there == {blob(data) for name, data in CONTENTS.items() if name not in ("03", "05", "big")}
    assert "error: m: 05: not pushed" in done.err


def test_names_choose_and_what_is_not_installed_is_told(project: Project) -> None:
    (project.folder / "more").write_text("more")
    text = (project.folder / "assets.yaml").read_text()
    project.write(text + "  n:\n    files: [{url: ./more}]\n")
    project.run("lock")
    done = project.run("mirror", "push", "mirror", "n", "--json", code=4).json
    assert done["pushed"]["files"] == 0
    assert done["errors"][0]["mend"] == "assetmgr pull n"
    assert project.run("mirror", "push", "mirror", code=4).err.count("error:") == 1
    project.run("pull")
    project.run("mirror", "push", "other", "n")
    assert (project.folder / "other" / blob(b"more")).read_bytes() == b"more"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("http://127.0.0.1:1/x", "read from, not pushed to"),
        ("https://me:secret@host/x", "it holds a login"),
        ("hf://org/name", "not a mirror"),
        ("oops:x", "a bucket is written oops://name/prefix"),
    ],
)
def test_a_target_that_cannot_be_pushed_to_is_an_error_of_usage(project: Project, target: str, words: str) -> None:
    said = project.run("mirror", "push", target, code=2).err
    assert words in said
    assert "secret" not in said


@pytest.mark.parametrize("below", ["", ".assetmgr", "files/m", "link"])
def test_a_target_inside_the_store_is_refused(project: Project, below: str) -> None:
    target = project.root / below
    if below == "link":
        target = project.folder / "link"
        target.symlink_to(project.root / "files")
    before = files_below(project.root)
    said = project.run("mirror", "push", str(target), code=2).err
    assert "inside the store" in said
    assert files_below(project.root) == before


@pytest.mark.parametrize("blocking", ["mirror", "mirror/blobs", "mirror/blobs/sha256", "mirror/.pushing"])
@pytest.mark.parametrize("kind", ["file", "dangling link"])
@pytest.mark.parametrize("target", ["mirror", "mirror/below"])
def test_what_stands_in_the_way_of_a_target_is_named(project: Project, blocking: str, kind: str, target: str) -> None:
    path = project.folder / blocking.replace("mirror/", f"{target}/")
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "file":
        path.write_text("mine")
    else:
        path.symlink_to("nowhere")
    said = project.run("mirror", "push", target, code=2).err
    assert said.count("error:") == 1
    assert f"{path} is no folder" in said
    assert "store" not in said.partition("mend:")[2]
    path.unlink()
    project.run("mirror", "push", target)


def test_a_target_that_may_not_be_written_is_named_with_who_may(project: Project) -> None:
    project.prefix = without_root_powers()
    mirror = project.folder / "mirror"
    mirror.mkdir(mode=0o555)
    said = project.run("mirror", "push", "mirror", code=7).err
    assert f"see who owns {mirror}" in said


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="it sets the limit")
def test_a_file_that_is_too_large_for_the_target_is_named_with_what_helps(project: Project) -> None:
    project.prefix = ("prlimit", "--fsize=2000000")
    said = project.run("mirror", "push", "mirror", code=6).err
    assert "m: big" in said
    assert "too large a file" in said
    assert "free some space" not in said
    assert "FAT32" in said
    project.prefix = ()
    project.run("mirror", "push", "mirror")


def test_a_folder_at_a_blobs_name_is_named_and_the_rest_is_pushed(project: Project) -> None:
    taken = project.folder / "mirror" / blob(CONTENTS["03"])
    (taken / "mine").mkdir(parents=True)
    done = project.run("mirror", "push", "mirror", "--json", code=3).json
    (error,) = done["errors"]
    assert f"m: 03: not pushed: a folder stands at {blob(CONTENTS['03'])}" in error["message"]
    assert str(taken) in error["mend"]
    assert done["pushed"]["files"] == len(CONTENTS) - 1
    assert (taken / "mine").is_dir()
    taken.rename(project.folder / "away")
    assert project.run("mirror", "push", "mirror", "--json").json["pushed"]["files"] == 1


def test_planted_links_and_pipes_in_a_target_are_replaced_never_followed(project: Project, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    project.run("mirror", "push", "mirror")
    blobs = project.folder / "mirror"
    for name in ("03", "05"):
        (blobs / blob(CONTENTS[name])).unlink()
    (blobs / blob(CONTENTS["03"])).symlink_to(victim)
    os.mkfifo(blobs / blob(CONTENTS["05"]))
    assert "2 blobs pushed" in project.run("mirror", "push", "mirror").err
    assert victim.read_text() == "untouched"
    for name in ("03", "05"):
        assert not (blobs / blob(CONTENTS[name])).is_symlink()
        assert (blobs / blob(CONTENTS[name])).read_bytes() == CONTENTS[name]


def test_a_second_push_from_the_same_store_waits_for_the_first(project: Project) -> None:
    project.run("mirror", "push", "mirror")
    (lock,) = (project.folder / "mirror" / ".pushing").glob("*/lock")
    with held(lock, "pushing"):
        said = project.run("mirror", "push", "mirror", "--wait", "0", code=8).err
    assert "still holds it" in said
    project.run("mirror", "push", "mirror")


# --- kills --------------------------------------------------------------------------------------------------------


def test_a_push_that_is_killed_is_gone_on_with_and_never_leaves_a_part_at_a_blobs_name(
    project: Project,
) -> None:
    mirror = project.folder / "mirror"
    for attempt in range(6):
        process = project.start("mirror", "push", "mirror")
        eventually(lambda count=attempt: len(files_below(mirror)) > count, 5)  # type: ignore[misc]
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for name in files_below(mirror):
            if name.startswith("blobs/"):
                assert sha256((mirror / name).read_bytes()) == Path(name).name
    project.run("mirror", "push", "mirror")
    assert {name for name in files_below(mirror) if name.startswith("blobs/")} == {
        blob(data) for data in CONTENTS.values()
    }


def test_a_push_that_is_killed_within_a_large_file_goes_on_there(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.folder.mkdir()
    data = body(96 << 20, 4)
    (project.folder / "w").write_bytes(data)
    project.write("version: 1\nmodels:\n  m:\n    files: [{url: ./w}]\n")
    project.run("lock")
    project.run("pull")
    partials = project.folder / "mirror" / ".pushing"

    def is_under_way() -> bool:
        with contextlib.suppress(FileNotFoundError):
            return any(path.stat().st_blocks * 512 > 8 << 20 for path in partials.glob("*/*"))
        return False

    for _ in range(20):  # until a kill comes while the file is under way
        process = project.start("mirror", "push", "mirror")
        eventually(is_under_way, 10)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if list(partials.glob(f"*/{sha256(data)}.journal")):
            break
        shutil.rmtree(project.folder / "mirror")
    else:
        pytest.skip("this machine is too quick for it")
    bar = Bar()
    store = Store(project.root)
    (receipt,) = store.receipts()
    files = [file for file in held_files(store, receipt, bar) if isinstance(file, HeldFile)]
    report = FolderTarget(str(project.folder / "mirror"), store, Limits(), bar).put(files)
    assert report.files == 1
    assert bar.steps[0] >= 4 << 20, "what was there is counted at once, and not read again"
    assert sum(bar.steps) == len(data)
    assert (project.folder / "mirror" / blob(data)).read_bytes() == data


class Bar(Silent):
    """A reporter that keeps the steps of its one bar."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def progress(self, label: str, total: int, /, *, unit: str = "B") -> Bar:
        return self

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def add(self, amount: int, /) -> None:
        self.steps.append(amount)

    def reach(self, amount: int, /) -> None:
        return None


def test_a_pull_from_a_mirror_that_is_killed_is_gone_on_with(hub: Hub, project: Project) -> None:
    mirror = Hub()
    with mirror.serve() as address:
        stock(mirror, *CONTENTS.values())
        second = another_machine(project)
        hub.reset_log()
        stalled = mirror.faults.add(Fault(match=blob(CONTENTS["big"]), stall_after=2 << 20, stall_seconds=60))
        process = second.start("pull", "--mirror", address)
        assert mirror.faults.wait_stalled()
        partial = second.root / ".assetmgr" / "partial" / sha256(CONTENTS["big"])
        assert eventually(lambda: partial.exists() and partial.stat().st_blocks * 512 >= 2 << 20)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        mirror.faults.remove(stalled)
        mirror.reset_log()
        second.run("pull", "--mirror", address)
        (again,) = [record for record in mirror.requests if blob(CONTENTS["big"]) in record.path]
        assert again.status == 206
        assert again.sent <= (1 << 20) + (1 << 19)
    assert hub.requests == []
    second.run("verify", "--full")


def test_ctrl_c_ends_a_pull_from_a_stalling_mirror_at_once(hub: Hub, project: Project) -> None:
    mirror = Hub()
    with mirror.serve() as address:
        stock(mirror, *CONTENTS.values())
        second = another_machine(project)
        mirror.faults.add(Fault(stall_after=10, times=None, stall_seconds=60))
        process = second.start("pull", "--mirror", address)
        assert mirror.faults.wait_stalled()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "interrupted" in said
