"""`gc` removes what assetmgr has put into the store and nothing names any more, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from assetmgr.store import Store
from tests.housekeeping.conftest import BODY, Run, below
from tests.hub import Fault, Hub
from tests.support import Project, hub_manifest

ONE = hub_manifest() + "  f: {files: [{url: '{endpoint}/f/w.bin'}]}\n"
DAY = 86_400


def install(project: Project, run: Run, text: str = ONE) -> set[str]:
    project.write(text)
    run("lock")
    run("pull")
    return below(project.root)


def age(path: Path, seconds: float = 2 * DAY) -> None:
    """Let a file or a folder with all below it be as old as that."""
    then = time.time() - seconds
    for at, inside, names in os.walk(path):
        for name in (*inside, *names):
            os.utime(Path(at, name), (then, then), follow_symlinks=False)
    os.utime(path, (then, then))


def test_a_tidy_store_stays_as_it_is(project: Project, run: Run) -> None:
    before = install(project, run)
    for words in ([], ["--old"], ["--dry-run"]):
        done = run("gc", *words)
        assert (done.json["files"], done.json["bytes"], done.json["left"]) == (0, 0, [])
    assert below(project.root) == before
    run("verify", "--full")


def test_what_no_receipt_names_goes_and_what_others_put_there_stays(project: Project, run: Run) -> None:
    before = install(project, run)
    repo = project.root / "hub" / "models--org--name"
    foreign = repo / "snapshots" / ("a" * 40)
    foreign.mkdir()
    blob = Path(os.readlink(next(repo.glob("snapshots/*/config.json")))).name
    (foreign / "config.json").symlink_to(f"../../blobs/{blob}")
    (repo / "blobs" / ("b" * 64)).write_bytes(b"another tool's")
    (project.root / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    (project.root / "torch" / "hub" / "checkpoints" / "theirs.pth").write_bytes(b"theirs")
    theirs = below(project.root) - before
    for receipt in (project.root / ".assetmgr" / "receipts").iterdir():
        receipt.unlink()
    foretold = run("gc", "--dry-run")
    assert below(project.root) == before | theirs
    done = run("gc")
    assert done.removed == foretold.removed
    assert done.json["bytes"] == foretold.json["bytes"] > 2 * len(BODY)
    kept = [left["path"] for left in done.json["left"]]
    assert below(project.root) == theirs | set(kept)
    assert [Path(path).parent.name for path in kept] == ["blobs"], "which the other tool's snapshot leads to"
    assert (foreign / "config.json").read_bytes() == b"{}"


def test_old_partials_listings_and_results_go_and_new_ones_stay(project: Project, run: Run) -> None:
    install(project, run)
    store = Store(project.root)
    old, new = "1" * 64, "2" * 64
    made: dict[str, Path] = {}
    for number, name in enumerate((old, new)):
        made[f"partial-{number}"] = Path(store.partial(name))
        made[f"journal-{number}"] = Path(store.partial(f"{name}.journal"))
        made[f"listing-{number}"] = Path(store.state, "listings", name)
        made[f"unwritten-{number}"] = Path(store.state, "receipts", f".writing-x-{number}")
        made[f"staged-{number}"] = Path(store.partial("hub", f"models--o--{number}", "blobs", "x"))
    for path in made.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        if "0" in path.name[-1:] or old in path.name or "models--o--0" in str(path):
            age(path)
            if "models" in str(path):
                age(path.parent.parent)
    gone = project.root / "prepared" / "tables" / "gone" / f"train-{'0' * 16}.arrow"
    others = project.root / "prepared" / "datasets" / "gone" / "default"
    for path in (gone, others):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    assert len(run("gc").removed) == 6
    assert {name for name, path in made.items() if path.exists()} == {name for name in made if name.endswith("1")}
    assert not gone.parent.exists()
    assert others.exists()


@pytest.mark.skipif(os.name == "nt", reason="no kill -9")
def test_what_a_killed_pull_left_stays_for_a_day_and_then_goes(hub: Hub, project: Project, run: Run) -> None:
    project.write(hub_manifest())
    run("lock")
    hub.faults.add(Fault(match="model.safetensors", method="GET", stall_after=100))
    pull = project.start("pull")
    assert hub.faults.wait_stalled()
    before = below(project.root)
    run("gc")
    assert below(project.root) == before
    pull.send_signal(signal.SIGKILL)
    pull.communicate()
    hub.faults.release()
    assert "can go on" in json.dumps(run("gc").json["left"])
    assert below(project.root) == before
    age(project.root / ".assetmgr" / "placed")
    age(project.root / ".assetmgr" / "partial")
    run("gc")
    assert below(project.root) == set()
    run("pull")
    run("verify", "--full")


def test_what_a_newer_revision_replaced_goes_when_it_is_asked_for(hub: Hub, project: Project, run: Run) -> None:
    install(project, run)
    old = Path(run("path", "m").json["path"])
    hub.repos["model", "org/name"].commit({"config.json": b'{"new": 1}'})
    run("lock", "--upgrade", "m")
    run("pull")
    assert run("gc").json["files"] == 0
    assert (old / "config.json").exists()
    done = run("gc", "--old")
    assert len([path for path in done.removed if "/blobs/" in path]) == 1, "the others are the new revision's, too"
    assert not old.exists()
    run("verify", "--full")


def test_where_there_is_no_store_none_is_made(project: Project, run: Run) -> None:
    for words in (["gc"], ["gc", "--dry-run"], ["rm", "m"], ["gc", "--max-size", "1G"]):
        assert "that the disk is mounted" in run(*words, code=4).err
    run("root", "move", str(project.folder / "new"), code=2)
    run("pin", "m", code=4)
    assert not project.root.exists()


def test_a_damaged_receipt_removes_nothing(project: Project, run: Run) -> None:
    before = install(project, run)
    receipt = next((project.root / ".assetmgr" / "receipts").glob("f@*"))
    receipt.write_text("{")
    for command in (["gc"], ["rm", "m"]):
        assert "nothing is removed" in run(*command, code=3).err
    assert below(project.root) == before
    run("pull", "f")
    assert run("gc").json["files"] == 0


def test_two_at_once_remove_each_thing_once(project: Project, run: Run) -> None:
    install(project, run)
    for receipt in (project.root / ".assetmgr" / "receipts").iterdir():
        receipt.unlink()
    both = [project.start("--json", "gc") for _ in range(2)]
    removed: list[str] = []
    for one in both:
        out, err = one.communicate(timeout=60)
        assert one.returncode == 0, err
        removed += [gone["path"] for gone in json.loads(out)["removed"]]
    assert len(removed) == len(set(removed)) > 4
    assert below(project.root) == set()
