"""Bundles made, looked at, carried and loaded: all of it, what is new, on several volumes, in a tar."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from assetmgr import Workspace
from assetmgr.bundle.creating import Order
from assetmgr.errors import (
    IntegrityError,
    NotInstalledError,
    NotLockedError,
    OriginError,
    StaleLockError,
    UsageError,
)
from assetmgr.reporting import Progress, Silent
from tests.bundle.support import Site, blobs, everything_is_there, faults, keygen, machine, needs_keys
from tests.support import files_below, flip_byte


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """One that no test changes."""
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def own(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.mark.parametrize("name", ["bundle", "bundle.tar"])
def test_a_bundle_alone_makes_a_store_that_has_never_seen_the_network(site: Site, tmp_path: Path, name: str) -> None:
    made = site.create(tmp_path / name)
    assert [each.name for each in made.assets] == ["words", "model", "pictures"]
    assert not faults(tmp_path / name)
    before = {path: (tmp_path / path).stat() for path in files_below(tmp_path)}
    there = machine(tmp_path / "there")
    done = there.load_bundle([tmp_path / name])
    assert {each.name for each in done.assets} == {"words", "model", "pictures"}
    assert everything_is_there(there)
    assert there.installed("model").use == {"load": {"dtype": "float16"}}
    assert {path: (tmp_path / path).stat() for path in before} == before, "nothing is written into a bundle"
    again = there.load_bundle([tmp_path / name])
    assert not any(each.fetched_files for each in again.assets)


class _Labels(Silent):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def progress(self, label: str, total: int, /, *, unit: str = "B") -> Progress:
        self.seen.append(label)
        return super().progress(label, total, unit=unit)


@pytest.mark.parametrize("name", ["bundle", "bundle.tar"])
def test_who_makes_a_bundle_is_not_told_of_a_push(site: Site, tmp_path: Path, name: str) -> None:
    labels = _Labels()
    maker = Workspace(site.folder / "assets.yaml", site.folder / "here", local_caches=False, reporter=labels)
    maker.create_bundle(Order(str(tmp_path / name)), ["words"])
    assert f"writing {tmp_path / name}" in labels.seen
    assert not any("push" in label for label in labels.seen)


def test_some_assets_are_loaded_with_what_they_require(site: Site, tmp_path: Path) -> None:
    site.create(tmp_path / "bundle")
    there = machine(tmp_path / "there")
    there.load_bundle([tmp_path / "bundle"], ["model"])
    assert there.store.installed_names() == ("model", "words")
    with pytest.raises(NotLockedError, match=r"no nothing in it; it has words, model"):
        there.load_bundle([tmp_path / "bundle"], ["nothing"])


def test_a_bundle_is_a_mirror_that_tells_of_assets(site: Site, tmp_path: Path) -> None:
    from assetmgr import Workspace

    for name in ("bundle", "bundle.tar"):
        site.create(tmp_path / name)
        there = Workspace([], tmp_path / f"there-{name}", offline=True, mirrors=[tmp_path / name], local_caches=False)
        there.pull(["model"])
        assert there.installed("model", check="full").name == "model"
        assert {each.name for each in there.on_mirrors([str(tmp_path / name)])} == {"words", "model", "pictures"}


def test_a_second_create_writes_what_is_new_and_removes_what_it_has_no_more(own: Site, tmp_path: Path) -> None:
    first = own.create(tmp_path / "bundle")
    before = blobs(tmp_path / "bundle")
    same = own.create(tmp_path / "bundle")
    assert (same.changed, same.serial) == (False, first.serial)
    assert blobs(tmp_path / "bundle") == before

    own.write("weights.bin", b"others!" * 40_000)
    own.update()
    changed = own.create(tmp_path / "bundle")
    (part,) = changed.parts
    assert (part.written.files, part.written.removed_files) == (1, 1)
    assert changed.serial > first.serial
    now = blobs(tmp_path / "bundle")
    kept = now.keys() & before.keys()
    assert {name: now[name] for name in kept} == {name: before[name] for name in kept}
    assert len(kept) == len(before) - 3, "but for the old file, its manifest and its config"
    assert not faults(tmp_path / "bundle")


def test_an_asset_is_taken_out_of_a_bundle_only_when_told(site: Site, tmp_path: Path) -> None:
    site.create(tmp_path / "bundle")
    before = blobs(tmp_path / "bundle")
    with pytest.raises(UsageError, match="holds model, pictures too"):
        site.create(tmp_path / "bundle", "words")
    assert blobs(tmp_path / "bundle") == before
    assert site.create(tmp_path / "bundle", "words", drop=True).dropped == ("model", "pictures")
    assert len(blobs(tmp_path / "bundle")) == 3
    assert not faults(tmp_path / "bundle")


def test_a_dry_run_tells_the_same_and_writes_nothing(site: Site, tmp_path: Path) -> None:
    told = site.create(tmp_path / "bundle", dry_run=True)
    assert not (tmp_path / "bundle").exists()
    done = site.create(tmp_path / "bundle")
    assert [part.written for part in told.parts] == [part.written for part in done.parts]


def test_a_damaged_blob_is_replaced_by_create_full(site: Site, tmp_path: Path) -> None:
    site.create(tmp_path / "bundle")
    largest = max((tmp_path / "bundle/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    flip_byte(largest)
    (found,) = faults(tmp_path / "bundle")
    assert (found.kind, largest.name in found.what) == ("damaged", True)
    site.create(tmp_path / "bundle")
    assert faults(tmp_path / "bundle"), "what is there in its size is not read again"
    site.create(tmp_path / "bundle", full=True)
    assert not faults(tmp_path / "bundle")


def test_what_is_damaged_in_the_store_goes_into_no_bundle(own: Site, tmp_path: Path) -> None:
    own.create(tmp_path / "bundle", "words")
    before = files_below(tmp_path / "bundle")
    flip_byte(own.folder / "here/files/model/weights.bin", keep_time=True)
    for name in ("bundle", "new", "new.tar"):
        with pytest.raises(IntegrityError, match=r"model: weights\.bin.*\n.*--repair"):
            own.create(tmp_path / name)
    assert not (tmp_path / "new.tar").exists()
    assert files_below(tmp_path / "bundle") >= before
    with pytest.raises(OriginError, match="no such bundle"):
        faults(tmp_path / "nowhere")
    with pytest.raises(IntegrityError, match=r"no index\.json"):
        faults(tmp_path / "new")


# --- deltas, volumes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["", ".tar"])
def test_a_delta_has_what_the_older_bundle_lacks_and_needs_it_or_the_store(
    own: Site, tmp_path: Path, kind: str
) -> None:
    old, delta = tmp_path / f"old{kind}", tmp_path / f"delta{kind}"
    own.create(old)
    own.write("weights.bin", b"others!" * 40_000)
    own.pictures({"one.jpg": b"one" * 100, "two.jpg": b"two" * 40_000, "three.jpg": b"three" * 700})
    own.update()
    made = own.create(delta, since=str(old))
    (part,) = made.parts
    assert part.files == 4, "the weights, the archive, one more member, the listing"
    assert made.name == "old", "it is of the same line"
    assert not faults(delta)

    alone = machine(tmp_path / "alone")
    with pytest.raises(NotInstalledError, match=r"made since another bundle, and 4 files .*\n.*--with"):
        alone.load_bundle([delta])
    assert not alone.store.installed_names()
    alone.load_bundle([delta], others=[old])
    assert everything_is_there(alone)

    updated = machine(tmp_path / "updated")
    updated.load_bundle([old])
    done = updated.load_bundle([delta])
    assert sum(each.fetched_files for each in done.assets) <= 2
    assert everything_is_there(updated)
    assert (tmp_path / "updated/lavis/pictures/three.jpg").read_bytes() == b"three" * 700


@pytest.mark.parametrize("name", ["bundle", "bundle.tar"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_volumes_are_loaded_one_after_another_in_any_order(
    site: Site, tmp_path: Path, name: str, order: tuple[int, ...]
) -> None:
    made = site.create(tmp_path / name, volume_size=400_000)
    paths = [Path(part.path) for part in made.parts]
    assert len(paths) == 3
    for path in paths:
        files = [path] if path.is_file() else [path / each for each in files_below(path)]
        assert sum(file.stat().st_size for file in files) <= 400_000
        assert not faults(path)
    assert not faults(tmp_path / name), "all of them at once"
    there = machine(tmp_path / "there")
    for at in order[:-1]:
        awaited = there.load_bundle([paths[at]]).awaited
        assert awaited
        states = {each.name: each.state for each in there.status()}
        assert all(states.get(each.name) != "installed" for each in awaited)
    assert not there.load_bundle([paths[order[-1]]]).awaited
    assert everything_is_there(there)
    whole = machine(tmp_path / "whole")
    assert not whole.load_bundle([tmp_path / name]).awaited


def test_a_file_larger_than_a_volume_is_an_error_that_says_how_large_one_must_be(site: Site, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the largest file has 290,002 bytes") as caught:
        site.create(tmp_path / "bundle", volume_size=200_000)
    least = int(caught.value.mend.split()[1])
    site.create(tmp_path / "bundle", volume_size=least)
    assert not faults(tmp_path / "bundle")
    # Without volumes again: those that were there give way.
    site.create(tmp_path / "bundle")
    assert not list((tmp_path / "bundle").glob("volume-*"))
    assert not faults(tmp_path / "bundle")


def test_volumes_of_two_bundles_are_not_taken_for_one(own: Site, tmp_path: Path) -> None:
    own.create(tmp_path / "bundle", volume_size=400_000)
    shutil.copytree(tmp_path / "bundle", tmp_path / "older")
    own.write("words.txt", b"other words")
    own.update()
    own.create(tmp_path / "bundle", volume_size=400_000)
    with pytest.raises(UsageError, match="is of another bundle than"):
        faults(tmp_path / "bundle/volume-1", tmp_path / "older/volume-2")


# --- where to ---------------------------------------------------------------------------------------------------------


def test_nothing_but_a_bundle_is_written_over(site: Site, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    (tmp_path / "file").write_text("dear")
    (tmp_path / "folder.tar").mkdir()
    for name, said in (
        ("mine", "holds other things, such as 'letter.txt'"),
        ("file", "is a file"),
        ("folder.tar", "is a folder"),
        ("site-link", "lies inside the store"),
    ):
        if name == "site-link":
            (tmp_path / name).symlink_to(site.folder / "here")
        with pytest.raises(UsageError, match=said):
            site.create(tmp_path / name)
    assert files_below(tmp_path) == {"mine/letter.txt", "file"}


def test_a_delta_is_not_written_over_what_it_is_made_since(site: Site, tmp_path: Path) -> None:
    site.create(tmp_path / "bundle")
    site.create(tmp_path / "split", volume_size=400_000)
    for output, since in (("bundle", "bundle"), ("bundle", "bundle/index.json"), ("split", "split/volume-1")):
        with pytest.raises(UsageError, match="is what would be written over"):
            site.create(tmp_path / output, since=str(tmp_path / since))
    assert not faults(tmp_path / "bundle")
    assert not faults(tmp_path / "split")


def test_a_bundle_of_what_is_not_installed_says_so(site: Site, tmp_path: Path) -> None:
    there = machine(tmp_path / "there")
    with pytest.raises((NotInstalledError, UsageError)):
        there.create_bundle(Order(str(tmp_path / "bundle")), ["words"])


# --- older ones -------------------------------------------------------------------------------------------------------


@needs_keys
def test_an_older_bundle_of_a_line_is_loaded_only_when_told(own: Site, tmp_path: Path) -> None:
    own.create(tmp_path / "old", name="lab", key=str(keygen(tmp_path / "key")))
    own.write("words.txt", b"other words")
    own.update()
    own.create(tmp_path / "new", name="lab", serial=10**17, key=str(tmp_path / "key"))
    there = machine(tmp_path / "there")
    keys = str(tmp_path / "key.pub")
    assert there.load_bundle([tmp_path / "old"], verify_with=keys).signer is not None
    there.load_bundle([tmp_path / "new"], verify_with=keys)
    with pytest.raises(StaleLockError, match=r"it is lab 2026\d+, and lab 100000000000000000 was loaded"):
        there.load_bundle([tmp_path / "old"], verify_with=keys)
    assert (tmp_path / "there/files/words/words.txt").read_bytes() == b"other words"
    there.load_bundle([tmp_path / "old"], verify_with=keys, allow_older=True)
    assert (tmp_path / "there/files/words/words.txt").read_bytes() == b"some words"
    with pytest.raises(UsageError, match="older than 100000000000000000, which is there"):
        own.create(tmp_path / "new", serial=7)


def test_an_older_bundle_of_another_line_does_not_bring_old_bytes_back(own: Site, tmp_path: Path) -> None:
    own.create(tmp_path / "may", serial=5)
    own.create(tmp_path / "words", "words", serial=4)
    own.write("weights.bin", b"others!" * 40_000)
    own.update()
    own.create(tmp_path / "june", serial=6)
    there = machine(tmp_path / "there")
    there.load_bundle([tmp_path / "june"])
    with pytest.raises(StaleLockError, match="may 5, and june 6, with other bytes of model, was loaded"):
        there.load_bundle([tmp_path / "may"])
    there.load_bundle([tmp_path / "words"])


def test_a_delta_may_be_split_too(own: Site, tmp_path: Path) -> None:
    own.create(tmp_path / "old.tar")
    own.write("weights.bin", b"others!" * 40_000)
    own.write("config.json", b"{}" + b"\n" * 290_000)
    own.update()
    made = own.create(tmp_path / "delta", since=str(tmp_path / "old.tar"), volume_size=400_000)
    assert len(made.parts) == 2
    assert not faults(tmp_path / "delta")
    there = machine(tmp_path / "there")
    there.load_bundle([tmp_path / "old.tar"])
    assert [bool(there.load_bundle([part.path]).awaited) for part in reversed(made.parts)] == [True, False]
    assert everything_is_there(there)
    next_one = own.create(tmp_path / "next", since=str(tmp_path / "delta"))
    assert next_one.parts[0].files == 0, "who has loaded a delta has all that it names"


def test_a_store_that_cannot_be_written_is_made_a_bundle_of(own: Site, tmp_path: Path) -> None:
    medium = tmp_path / "medium"
    medium.mkdir()
    mount = ["mount", "--bind", str(own.folder), str(medium)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(medium)], check=True)
        machine(medium / "here").create_bundle(Order(str(tmp_path / "bundle")), ["model", "pictures"])
    finally:
        subprocess.run(["umount", str(medium)], check=True)
    assert not faults(tmp_path / "bundle")


def test_a_bundle_of_more_files_than_a_manifest_takes_is_as_good(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from assetmgr import Workspace

    monkeypatch.setattr("assetmgr.images.LAYERS_MOST", 3)
    for name in ("bundle", "bundle.tar"):
        site.create(tmp_path / name)
        assert not faults(tmp_path / name)
        there = machine(tmp_path / f"there-{name}")
        there.load_bundle([tmp_path / name])
        assert everything_is_there(there)
    pulling = Workspace([], tmp_path / "pulling", mirrors=[tmp_path / "bundle"], local_caches=False)
    pulling.pull(["model"])
    if shutil.which("skopeo"):
        copy = ["skopeo", "copy", "--all", "oci:bundle:latest", "oci:copy"]
        subprocess.run(copy, check=True, cwd=tmp_path, capture_output=True)
        assert not faults(tmp_path / "copy")


# --- other tools ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")
def test_skopeo_reads_and_carries_it(site: Site, tmp_path: Path) -> None:
    def skopeo(*arguments: str) -> bytes:
        return subprocess.run(["skopeo", *arguments], capture_output=True, check=True, cwd=tmp_path).stdout

    site.create(tmp_path / "bundle")
    assert b"vnd.assetmgr.bundle.v1" in skopeo("inspect", "--raw", "oci:bundle:latest")
    skopeo("copy", "oci:bundle:latest", "oci:copy:mine")
    skopeo("copy", "oci:bundle", "oci-archive:copy.tar:mine")
    for name in ("copy", "copy.tar"):
        assert not faults(tmp_path / name)
        there = machine(tmp_path / f"there-{name}")
        there.load_bundle([tmp_path / name])
        assert everything_is_there(there)
    subprocess.run(["tar", "cf", "plain.tar", "-C", "bundle", "."], check=True, cwd=tmp_path)
    assert not faults(tmp_path / "plain.tar")


def test_a_registry_carries_it_and_is_pulled_from(site: Site, tmp_path: Path) -> None:
    from assetmgr import Workspace
    from tests.mirrors.registry import running, skopeo

    site.create(tmp_path / "bundle", name="lab")
    with running(tmp_path / "registry") as registry:
        there = f"docker://{registry.host}/lab/assets:v1"
        skopeo("copy", "--dest-tls-verify=false", f"oci:{tmp_path}/bundle:latest", there)
        skopeo("copy", "--src-tls-verify=false", there, f"oci:{tmp_path}/back:v1")
        mirror = registry.mirror()
        pulling = Workspace([], tmp_path / "pulling", mirrors=[mirror], local_caches=False)
        pulling.pull(["words", "model", "pictures"])
        assert everything_is_there(pulling)
        site.workspace.push(registry.mirror("lab/pushed:v1"), ["words", "model", "pictures"])
        pushed = f"docker://{registry.host}/lab/pushed:v1"
        skopeo("copy", "--all", "--src-tls-verify=false", pushed, f"oci:{tmp_path}/pushed:v1")
    assert not faults(tmp_path / "back")
    assert not faults(tmp_path / "pushed"), "what was pushed to a registry is a bundle without a serial"
    machine(tmp_path / "by-push").load_bundle([tmp_path / "pushed"])
    loading = machine(tmp_path / "loading")
    loading.load_bundle([tmp_path / "back"])
    assert everything_is_there(loading)
