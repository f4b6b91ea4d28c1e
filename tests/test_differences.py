"""What differs is told by asset, commit, file and bytes; `diff` compares locks, and what is installed with a lock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from assetmgr.differences import AssetDifference, FileDifference, compare, in_words
from assetmgr.lock import Lock, LockedAsset, LockedExtraction, LockedFile, dump_lock, parse_differing
from tests.hub import Hub
from tests.support import Project, hub_manifest, served


def file(path: str, size: int = 1, digit: str = "a", **more: object) -> LockedFile:
    return LockedFile(path, size, digit * 64, place="files", **more)  # type: ignore[arg-type]


def asset(name: str, *files: LockedFile, **more: object) -> LockedAsset:
    return LockedAsset("dataset", "files", "d", files, name, **more)  # type: ignore[arg-type]


def test_what_is_the_same_is_no_difference() -> None:
    old = {"a": asset("a", file("x")), "b": asset("b")}
    assert compare(old, dict(old)) == ()
    assert compare({}, {}) == ()


ZIP = file("z.zip", extract=LockedExtraction("files", members=2, size=5))


@pytest.mark.parametrize(
    ("old", "new", "files", "changed_bytes"),
    [
        (asset("a", file("x")), asset("a", file("x", 5, "b")), [("x", "changed", 1, 5)], 5),
        (asset("a"), asset("a", file("x", 7)), [("x", "added", None, 7)], 7),
        (asset("a", file("x", 7)), asset("a"), [("x", "removed", 7, None)], 0),
        (asset("a", file("x")), None, [("x", "removed", 1, None)], 0),
        (None, asset("a", file("x", 3), file("y", 4)), [("x", "added", None, 3), ("y", "added", None, 4)], 7),
        (asset("a"), asset("a", license="mit"), [], 0),
        (asset("a"), asset("a", requires=("b",)), [], 0),
        (asset("a", file("z.zip")), asset("a", ZIP), [("z.zip", "changed", 1, 1)], 0),
        (asset("a"), asset("a", LockedFile("u", -1, place="files")), [("u", "added", None, -1)], 0),
    ],
)
def test_files_are_told_by_what_became_of_them(
    old: LockedAsset | None, new: LockedAsset | None, files: list[tuple[object, ...]], changed_bytes: int
) -> None:
    (found,) = compare({"a": old} if old else {}, {"a": new} if new else {})
    assert [(one.path, one.change, one.old_bytes, one.bytes) for one in found.files] == files
    assert (found.added, found.removed, found.changed) == tuple(
        sum(change == one[1] for one in files) for change in ("added", "removed", "changed")
    )
    assert found.changed_bytes == changed_bytes
    assert found.change == ("added" if old is None else "removed" if new is None else "changed")


def test_words_name_so_many_files_and_count_the_rest() -> None:
    (found,) = compare({"a": asset("a")}, {"a": asset("a", *(file(f"f{number}") for number in range(9)))})
    assert in_words([found], most=2) == ["~ a", "    + f0", "    + f1", "    ... and 7 more files"]
    assert len(in_words([found])) == 10
    assert isinstance(found, AssetDifference)
    assert isinstance(found.files[0], FileDifference)


def test_of_two_locks_only_what_differs_is_read() -> None:
    old = Lock({name: asset(name, file("x")) for name in "abc"})
    new = Lock({**old.assets, "b": asset("b", file("y")), "d": asset("d")})
    before, after, same = parse_differing(dump_lock(old), "old", dump_lock(new), "new")
    assert (sorted(before.assets), sorted(after.assets), same) == (["b"], ["b", "d"], 2)
    assert compare(before.assets, after.assets) == compare(old.assets, new.assets)
    spaced = msgspec.json.format(dump_lock(old), indent=4)
    before, after, same = parse_differing(spaced, "old", dump_lock(new), "new")
    assert compare(before.assets, after.assets) == compare(old.assets, new.assets), "however it is written"


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.create("org/name").commit({"a.json": b"{}", "b.json": b"[]"})
    hub.create("org/other").commit({"c.json": b"1"})
    return hub


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        project.write(hub_manifest() + "  other:\n    hub: org/other\n")
        yield project


def test_diff_tells_what_a_pull_would_change_and_what_an_upgrade_has(hub: Hub, project: Project) -> None:
    done = project.run("diff")
    assert "not locked: m, other; next: assetmgr lock" in done.err, "that nothing differs is no answer then"
    assert project.run("--json", "diff").json["unlocked"] == ["m", "other"]
    project.run("lock")
    done = project.run("diff")
    assert [line.split()[:2] for line in done.out.splitlines()] == [["+", "m"], ["+", "other"]]
    assert "2 added; 0 the same; 5 B in files that are new or differ" in done.err
    project.run("pull")
    done = project.run("diff")
    assert (done.out, "no asset differs; 2 the same" in done.err) == ("", True)
    (receipt,) = (project.root / ".assetmgr" / "receipts").glob("other@*")
    whole = receipt.read_bytes()
    receipt.chmod(0o644)
    receipt.write_bytes(whole[:50])
    assert project.run("diff").out.startswith("+ other"), "as status has it: not installed"
    receipt.write_bytes(whole)
    old = project.folder / "old.json"
    old.write_bytes(project.lock_file.read_bytes())
    hub.repos["model", "org/name"].commit({"a.json": b"{ }", "d.json": b"new"}, delete=["b.json"])
    project.run("lock", "--upgrade", "m")
    words = ["    ~ a.json: 2 -> 3 bytes", "    - b.json", "    + d.json"]
    for arguments in ([], [str(old)], [str(old), "assets.lock.json"]):
        done = project.run("diff", *arguments)
        assert done.out.splitlines()[1:] == words, arguments
        assert "1 changed; 1 the same; 6 B in files" in done.err
    assert project.run("--json", "diff", str(old)).json["assets"][0]["name"] == "m"
    project.write(hub_manifest())
    project.run("lock")
    assert project.run("diff").out.splitlines()[-1] == "- other", "pulled by this manifest, and not asked for any more"


def test_what_diff_cannot_compare_is_told(project: Project, tmp_path: Path) -> None:
    (project.folder / "no.json").write_text("[]")
    for arguments, words in (
        (["gone.json", "assets.lock.json"], "gone.json: there is no such lock"),
        (["-", "-"], "cannot both"),
        (["no.json", "no.json"], "not a lock"),
        (["."], "cannot be read"),
    ):
        error = project.run("diff", *arguments, code=2).err
        assert words in error, error
        assert "mend" in error or "cannot be read" in error
    elsewhere = Project(tmp_path / "elsewhere")
    elsewhere.folder.mkdir()
    assert "no manifest here" in elsewhere.run("diff", code=2).err
