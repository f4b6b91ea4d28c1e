"""A store that is kept within a size gives up what was used longest ago, and never what is pinned or in use."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr import Workspace
from assetmgr.housekeeping.evicting import Tenant, decide_next, total
from assetmgr.uses import use, use_path
from tests.housekeeping.conftest import BODY, Run, below
from tests.hub import Hub
from tests.support import Project


def tenant(key: str, last_use: float, sizes: dict[str, int], *requires: str) -> Tenant:
    return Tenant(key, last_use, dict(sizes.items()), requires)


@pytest.mark.parametrize(
    ("limit", "stays", "going"),
    [
        (25, (), None),
        (24, (), "old"),
        (24, ("old",), "user"),  # not `required`, though it is older: `user` requires it
        (24, ("old", "user"), "new"),
        (24, ("old", "user", "new"), None),
        (0, (), "old"),
    ],
)
def test_the_next_to_go_was_used_longest_ago_and_nothing_that_stays_requires_it(
    limit: int, stays: tuple[str, ...], going: str | None
) -> None:
    tenants = [
        tenant("new", 9, {"n": 5, "shared": 5}),
        tenant("old", 1, {"o": 5, "shared": 5}),
        tenant("required", 2, {"r": 5}),
        tenant("user", 3, {"u": 5}, "required"),
        tenant("empty", 0, {}),
    ]
    found = decide_next(tenants, limit, stays)
    assert (found.key if found else None) == going


_TENANTS = st.lists(
    st.builds(
        tenant,
        st.sampled_from("abcdefgh"),
        st.integers(0, 5),
        st.dictionaries(st.sampled_from("uvwxyz"), st.just(3), max_size=3),
        st.sampled_from("abcdefgh"),
    ),
    unique_by=lambda one: one.key,
    max_size=8,
)


@given(_TENANTS, st.integers(0, 20), st.sets(st.sampled_from("abcdefgh")))
def test_one_after_the_other_ends_within_the_limit_or_with_what_may_not_go(
    tenants: list[Tenant], limit: int, stays: set[str]
) -> None:
    left = list(tenants)
    while (going := decide_next(left, limit, stays)) is not None:
        assert going.key not in stays
        assert not any(going.key in one.requires for one in left)
        left.remove(going)
    required = {key for one in left for key in one.requires}
    assert total(left) <= limit or all(one.key in stays | required or not one.contents for one in left)


NAMES = ("a", "b", "c", "d")


@pytest.fixture
def four(hub: Hub, project: Project, run: Run) -> Project:
    """Four assets of 3 kB each, used in their order, long ago."""
    text = "version: 1\nmodels:\n"
    for number, name in enumerate(NAMES):
        hub.publish(f"/f/{name}", BODY[number:] + BODY[:number])
        text += f"  {name}: {{files: [{{url: '{{endpoint}}/f/{name}'}}]}}\n"
    project.write(text)
    run("lock")
    run("pull")
    store = Workspace().store
    for receipt in store.receipts():
        then = time.time() - 1000 + NAMES.index(receipt.entry.name)
        os.utime(use_path(store, receipt), (then, then))
        document = Path(store.receipt_path(receipt))
        document.write_bytes(document.read_bytes().replace(b'"pulled_at":', b'"pulled_at":1,"x":'))
    return project


def installed(run: Run) -> str:
    return "".join(row["name"] for row in run("status").json if row["state"] == "installed")


def test_what_was_used_longest_ago_goes_and_what_is_pinned_or_open_stays(four: Project, run: Run) -> None:
    assert run("pin", "a").json == ["a"]
    run("path", "b")  # which uses it now
    store = Workspace().store
    (held,) = store.receipts_of("c")
    using = use(store, [held])
    os.utime(use_path(store, held), (1, 1))
    foretold = run("gc", "--max-size", "9000", "--dry-run")
    assert installed(run) == "abcd"
    done = run("gc", "--max-size", "9000")
    assert done.removed == foretold.removed
    assert installed(run) == "abc"
    assert [left["path"] for left in done.json["left"]] == ["c"]
    assert run("gc", "--max-size", "9000").removed == []
    for words in (["--dry-run"], []):
        told = run("gc", "--max-size", "1K", *words, code=6)
        assert "what stays takes 6,000 bytes, and 1,000 are allowed (a: pinned; c: in use)" in told.err
    assert installed(run) == "ac"
    using.close()
    run("gc", "--max-size", "3k")
    assert installed(run) == "a"
    for words in (["rm", "a"], ["rm", "--force", "a"]):
        assert "pinned" in run(*words, code=2).err
    assert run("pin").json == ["a"]
    assert run("unpin", "a").json == []
    run("rm", "a")
    assert "not installed" in run("pin", "a", code=4).err
    assert below(four.root) == set()


def test_a_pull_makes_room_for_what_it_brings_or_removes_nothing(four: Project, run: Run) -> None:
    run("rm", "d")
    assert installed(run) == "abc"
    run("pin", "c")
    before = below(four.root)
    assert "to be pulled" not in run("pull", "d", "--max-size", "5000", code=6).err
    assert below(four.root) == before
    run("pull", "b", "d", "--max-size", "9000")
    assert installed(run) == "bcd"
    run("verify", "--full", "b", "c", "d")
    run("pull", "d", "--max-size", "6000")
    assert installed(run) == "cd"


def test_what_cannot_be_had_again_stays(project: Project, run: Run) -> None:
    source = project.folder / "w.bin"
    source.write_bytes(BODY)
    project.write("version: 1\nmodels:\n  m: {files: [{url: ./w.bin}]}\n")
    run("lock")
    run("pull")
    source.rename(project.folder / "moved.bin")
    assert "m: it cannot be had again" in run("gc", "--max-size", "1", code=6).err
    assert installed(run) == "m"
    (project.folder / "moved.bin").rename(source)
    run("gc", "--max-size", "1")
    assert installed(run) == ""


def test_what_others_put_there_goes_after_they_were_asked(four: Project, run: Run) -> None:
    ours = below(four.root)
    theirs = [
        "hub/models--x--y/refs/main",
        "hub/models--x--y/blobs/" + "0" * 40,
        "hub/models--x--y/snapshots/" + "1" * 40 + "/config.json",
        "torch/hub/checkpoints/their.pth",
        "files/a/their.txt",
    ]
    for name in theirs:
        path = four.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"theirs") if "snapshots" not in name else path.symlink_to("../../blobs/" + "0" * 40)
    (four.root / "notes.txt").write_text("in nobody's layout")
    everything = below(four.root)
    assert run("gc").removed == []
    assert "nobody is there to be asked" in run("gc", "--foreign", code=2).err
    assert run("gc", "--foreign", "--dry-run").removed == sorted(theirs)
    for answer in ("no", "yes"):
        assert below(four.root) == everything
        ends = pty.openpty()
        asked = subprocess.Popen(
            [sys.executable, "-m", "assetmgr", "gc", "--foreign"],
            env=four.environment(),
            cwd=four.folder,
            stdin=ends[1],
            stdout=subprocess.PIPE,
            stderr=ends[1],
        )
        os.write(ends[0], f"{answer}\n".encode())
        asked.communicate(timeout=60)
        assert asked.returncode == 0
        for end in ends:
            os.close(end)
    assert below(four.root) == ours | {"notes.txt"}
    assert not (four.root / "hub" / "models--x--y").exists()
    run("verify", "--full")
    (four.root / "files" / "a" / "more.txt").write_text("theirs")
    run("gc", "--foreign", "--yes")
    assert below(four.root) == ours | {"notes.txt"}


def test_a_folder_that_somebody_moved_to_another_disk_is_not_foreign(four: Project, run: Run, tmp_path: Path) -> None:
    for name in ("files/a", "files"):
        (four.root / name).rename(tmp_path / "disk")
        (four.root / name).symlink_to(tmp_path / "disk")
        run("verify")
        assert run("gc", "--foreign", "--yes").removed == []
        assert (four.root / name).is_symlink()
        (four.root / name).unlink()
        (tmp_path / "disk").rename(four.root / name)
    run("verify", "--full")
