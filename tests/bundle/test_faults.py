"""Bundles in trouble: killed, on a full disk, on a medium that cannot be written; and bundles that mean harm."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from assetmgr.errors import AccessError, AssetError, DiskSpaceError, IntegrityError, UsageError
from tests.bundle.support import Site, blobs, everything_is_there, faults, looked_at, machine
from tests.support import Project, eventually, files_below, flip_byte, truncate


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = Site(tmp_path_factory.mktemp("site"))
    site.create(site.folder / "bundle", name="lab")
    site.create(site.folder / "bundle.tar", name="lab")
    return site


@pytest.fixture
def bundle(site: Site, tmp_path: Path) -> Path:
    return Path(shutil.copytree(site.folder / "bundle", tmp_path / "bundle"))


def mounted(folder: Path, *options: str) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    if shutil.which("mount") is None or subprocess.run(["mount", *options, str(folder)], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    yield from mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=500k", "none")


# --- interruptions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("name", ["bundle", "bundle.tar"])
def test_after_a_kill_there_is_no_bundle_or_the_old_one_and_the_same_command_goes_on(
    tmp_path: Path, name: str, end: signal.Signals
) -> None:
    project = Project(tmp_path / "project")
    project.write("version: 1\nmodels:\n  m: {files: [{url: ./a.bin}, {url: ./b.bin}]}\n")
    (project.folder / "a.bin").write_bytes(bytes(40_000_000))
    (project.folder / "b.bin").write_bytes(b"b" * 1000)
    project.run("lock")
    project.run("pull")
    output = tmp_path / name
    process = project.start("bundle", "create", "-o", str(output), "--limit-rate", "20M")
    assert eventually(lambda: any(map(_is_partial, tmp_path.rglob("*"))) or process.poll() is not None)
    process.send_signal(end)
    process.communicate(timeout=60)
    if process.returncode:
        assert process.returncode in (-9, 130)
        done = project.run("bundle", "verify", str(output), code=None)
        assert done.code in (3, 5), "there is no bundle"
    again = project.run("bundle", "create", "-o", str(output), "--json").json
    assert again["volumes"][0]["written"]["files"] <= 2
    project.run("bundle", "verify", str(output))
    assert not list(tmp_path.glob(".creating-*"))
    assert not (output / ".pushing").exists()


def _is_partial(path: Path) -> bool:
    """Whether it is a file that is on its way into a bundle."""
    return path.name != "lock" and path.is_file() and (".pushing" in path.parts or path.name.startswith(".creating-"))


def test_a_load_that_was_cut_off_goes_on(site: Site, bundle: Path, tmp_path: Path) -> None:
    gone = max((bundle / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    flip_byte(gone, 200_000)
    there = machine(tmp_path / "there")
    with pytest.raises(IntegrityError, match=gone.name):
        there.load_bundle([bundle])
    flip_byte(gone, 200_000)
    done = there.load_bundle([bundle]).assets
    assert sum(each.fetched_files for each in done) == 1, "the others came before"
    assert everything_is_there(there)


def test_a_medium_that_fills_up_is_said_and_gone_on_with(site: Site, small: Path) -> None:
    for name in ("bundle", "bundle.tar"):
        with pytest.raises(DiskSpaceError, match=r"are to be written and .* are free|No space left"):
            site.create(small / name)
        assert not (small / "bundle" / "index.json").exists()
        assert not list(small.glob("*.tar"))
        shutil.rmtree(small / name, ignore_errors=True)
    site.create(small / "bundle", "words", "pictures")
    before = blobs(small / "bundle")
    (small / "other").write_bytes(bytes(100_000))
    with pytest.raises(DiskSpaceError):
        site.create(small / "bundle")
    assert not faults(small / "bundle"), "the old one is as it was"
    (small / "other").unlink()
    subprocess.run(["mount", "-o", "remount,size=4m", str(small)], check=True)
    site.create(small / "bundle")
    assert not faults(small / "bundle")
    now = blobs(small / "bundle")
    assert sum(now.get(name) == one for name, one in before.items()) >= 4, "what was there is not written again"


def test_a_store_that_fills_up_is_said_before_a_byte_is_loaded(site: Site, small: Path) -> None:
    there = machine(small / "store")
    with pytest.raises(DiskSpaceError, match="bytes are needed"):
        there.load_bundle([site.folder / "bundle"])
    there.load_bundle([site.folder / "bundle"], ["words"])
    assert there.installed("words", check="full").name == "words"


def test_a_medium_that_cannot_be_written_is_loaded_and_verified(site: Site, tmp_path: Path) -> None:
    for medium in mounted(tmp_path / "medium", "--bind", str(site.folder)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(medium)], check=True)
        for name in ("bundle", "bundle.tar"):
            assert not faults(medium / name)
            there = machine(tmp_path / f"there-{name}")
            there.load_bundle([medium / name])
            assert everything_is_there(there)
        with pytest.raises(AccessError):
            site.create(medium / "new")
        with pytest.raises(AccessError):
            site.create(medium / "new.tar")


# --- hostile ----------------------------------------------------------------------------------------------------------


def refused(path: Path, root: Path, says: str) -> None:
    with pytest.raises(AssetError, match=says) as caught:
        looked_at(path, root)
    assert caught.value.code in (2, 3, 5, 7)
    assert caught.value.mend
    before = files_below(root) if root.exists() else set()
    with pytest.raises(AssetError):
        machine(root).load_bundle([path])
    assert (files_below(root) if root.exists() else set()) == before


@pytest.mark.parametrize(
    ("member", "says"),
    [
        ({"name": "../outside"}, "unsafe name"),
        ({"name": "/etc/outside"}, "unsafe name"),
        ({"name": "blobs/sha256/x", "type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "symbolic link"),
        ({"name": "blobs/sha256/x", "type": tarfile.LNKTYPE, "linkname": "index.json"}, "hard link"),
        ({"name": "pipe", "type": tarfile.FIFOTYPE}, "fifo"),
        ({"name": "device", "type": tarfile.CHRTYPE}, "device"),
        ({"name": "INDEX.JSON"}, "are one file where case"),
        ({"name": "index.json"}, "there twice"),
        ({"name": "huge", "size": 1 << 50}, "cut off|limit"),
        ({"name": "letter.txt"}, "named by nothing"),
    ],
)
def test_a_hostile_tar_is_refused(site: Site, tmp_path: Path, member: dict[str, object], says: str) -> None:
    path = tmp_path / "bundle.tar"
    with tarfile.open(site.folder / "bundle.tar") as old, tarfile.open(path, "w") as new:
        for each in old:
            new.addfile(each, old.extractfile(each))
        evil = tarfile.TarInfo()
        for key, value in member.items():
            setattr(evil, key, value)
        assert new.fileobj is not None
        new.fileobj.write(evil.tobuf(tarfile.GNU_FORMAT))
    refused(path, tmp_path / "store", says)
    assert not (tmp_path / "outside").exists()


def test_a_compressed_or_foreign_file_is_no_bundle(tmp_path: Path) -> None:
    for name, data in {
        "a.tar": b"\x1f\x8b\x08" + bytes(1000),
        "b.tar": b"",
        "c.tar": b"no tar at all" * 100,
        "d.tar": bytes(10240),
    }.items():
        (tmp_path / name).write_bytes(data)
        refused(tmp_path / name, tmp_path / "store", name)
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", tmp_path / "store", "neither a folder nor a tar")
    refused(tmp_path / "nowhere", tmp_path / "store", "no such bundle")
    refused(tmp_path, tmp_path / "store", "there is no bundle")


def test_a_layout_that_leads_elsewhere_or_never_ends_is_refused(bundle: Path, tmp_path: Path) -> None:
    index = bundle / "index.json"
    data = json.loads(index.read_bytes())
    named = data["manifests"][0]

    def write(text: bytes) -> None:
        index.unlink(missing_ok=True)
        index.write_bytes(text)

    def changed(**more: object) -> bytes:
        return json.dumps({**data, "manifests": [{**named, **more}]}).encode()

    for text, says in (
        (changed(digest="sha256:../../../../etc/passwd"), "is no digest"),
        (changed(digest="sha512:" + "0" * 128), "is no digest"),
        (changed(digest="sha256:" + "0" * 64), "missing"),
        (changed(size=-1), "damaged"),
        (changed(size=1 << 70), "damaged"),
        (json.dumps({**data, "manifests": []}).encode(), "names 0 images"),
        (json.dumps({**data, "manifests": [named] * 2}).encode(), "names 2 images"),
        (index.read_bytes().replace(b'{"', b'{"schemaVersion":2,"', 1), "not as a bundle's"),
        (b"[" * 100_000, "not as a bundle's"),
        (b"\xff\xfe", "not as a bundle's"),
        (b'{"manifests": ' + b" " * (5 << 20) + b"[]}", "too long"),
        (b"null", "not as a bundle's"),
    ):
        write(text)
        refused(bundle, tmp_path / "store", says)
    index.unlink()
    index.symlink_to("/dev/zero")
    refused(bundle, tmp_path / "store", "index.json|bundle")
    index.unlink()
    os.mkfifo(index)
    refused(bundle, tmp_path / "store", "index.json|bundle")


def test_what_climbs_collides_or_runs_code_in_an_entry_is_refused(site: Site, tmp_path: Path) -> None:
    from tests.bundle.test_mutations import rewrite

    def files(config: Any) -> Any:
        return config["assets"][1]["entry"]["files"]

    def file(config: Any, **more: object) -> None:
        files(config)[0] |= more

    cases: list[tuple[Callable[[Any], object], str]] = [
        (lambda config: file(config, path="../../../outside"), "outside"),
        (lambda config: file(config, path="/etc/outside"), "outside"),
        (lambda config: file(config, place="../outside"), "outside"),
        (lambda config: file(config, path="a\x00b"), "a"),
        (lambda config: file(config, path="CON"), "CON"),
        (lambda config: files(config).append({**files(config)[0], "path": "WEIGHTS.bin"}), "WEIGHTS"),
        (lambda config: config["assets"][0].update(name="../words"), "words"),
    ]
    for number, (edit, says) in enumerate(cases):
        path = Path(shutil.copytree(site.folder / "bundle", tmp_path / f"bundle-{number}"))
        rewrite(path, edit)
        refused(path, tmp_path / "store", says)
    path = Path(shutil.copytree(site.folder / "bundle", tmp_path / "code"))
    rewrite(path, lambda config: config["assets"][1]["use"]["load"].update({"class": "os:system", "args": ["true"]}))
    there = machine(tmp_path / "there")
    there.load_bundle([path])
    assert there.installed("model").use == {"load": {"dtype": "float16"}}


def test_a_damaged_note_of_what_was_loaded_is_said(bundle: Path, tmp_path: Path) -> None:
    there = machine(tmp_path / "there")
    there.load_bundle([bundle])
    note = tmp_path / "there/.assetmgr/bundles/lab.json"
    truncate(note, 10)
    with pytest.raises(IntegrityError, match=r"lab\.json: damaged.*\n.*rm "):
        there.load_bundle([bundle])
    there.load_bundle([bundle], allow_older=True)
    there.load_bundle([bundle])


def test_a_place_that_is_being_written_is_waited_for(site: Site, tmp_path: Path) -> None:
    """Two creates into one folder: the second goes on where the first has ended."""
    code = "import sys; from tests.bundle.test_faults import create_as; create_as(*sys.argv[1:])"
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(site.folder), str(tmp_path / "bundle")], cwd=os.getcwd())
        for _ in range(2)
    ]
    assert [child.wait(60) for child in children] == [0, 0]
    assert not faults(tmp_path / "bundle")


@pytest.mark.parametrize("document", ["oci-layout", "index.json"])
def test_a_document_that_another_create_writes_or_was_killed_over_is_no_other_thing(
    site: Site, tmp_path: Path, document: str
) -> None:
    begun = tmp_path / "bundle" / f".writing-{document}-0a1b2c3d"
    begun.parent.mkdir()
    begun.write_text("{")
    site.create(tmp_path / "bundle")
    assert not begun.exists()
    assert not faults(tmp_path / "bundle")


def create_as(folder: str, output: str) -> None:
    from assetmgr import Workspace
    from assetmgr.bundle.creating import Order

    Workspace(Path(folder, "assets.yaml"), Path(folder, "here")).create_bundle(Order(output))


def test_a_name_that_is_none_is_refused(site: Site, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="bundle's name"):
        site.create(tmp_path / "bundle", name="../x")
    assert not (tmp_path / "bundle").exists()
