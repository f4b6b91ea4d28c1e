"""One store, many users: each a real user of the machine, with a umask, in the store's group or not."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.hub import Fault, Hub
from tests.support import REPOSITORY, eventually, flip_byte, hub_manifest
from tests.users import GROUP, User, user

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root can be several users of a machine"
)

LARGE = 6_000_000


class Lab(NamedTuple):
    """Two members of a group, somebody who is in no group, and root; their hub, and the store that they share."""

    hub: Hub
    one: User
    two: User
    reader: User
    root: User
    store: Path


@pytest.fixture(scope="module")
def machine() -> Iterator[tuple[Hub, list[User], Path]]:
    hub = Hub()
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # pytest's own folders are root's alone
    folder.chmod(0o755)
    small = folder / "small"  # a disk that can be filled: mounted first, so that every user sees it
    small.mkdir()
    mounted = not subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", small], check=False).returncode
    with hub.serve() as endpoint, contextlib.ExitStack() as stack:
        users = [
            stack.enter_context(user(uid, folder, groups=groups, endpoint=endpoint))
            for uid, groups in ((64001, (GROUP,)), (64002, (GROUP,)), (64003, ()), (0, ()))
        ]
        yield hub, users, folder
    if mounted:
        subprocess.run(["umount", small], check=True)
    shutil.rmtree(folder)


@pytest.fixture
def lab(machine: tuple[Hub, list[User], Path]) -> Lab:
    hub, users, folder = machine
    hub.repos.clear()
    hub.faults.clear()
    hub.reset_log()
    for name in ("a", "b", "c"):
        hub.create(f"org/{name}").commit(
            {"config.json": b"{}", "own.txt": name.encode(), "model.safetensors": name.encode() * 3000}
        )
    hub.create("org/large").commit({"config.json": b"{}", "model.safetensors": os.urandom(LARGE)})
    hub.create("lab/pictures", "dataset").commit_folder(REPOSITORY / "tests" / "data" / "coco-sample")
    store = Path(tempfile.mkdtemp(dir=folder))
    opened(store, 0o2775)
    for each in users:
        each.visit(store)
    one, two, reader, root = users
    return Lab(hub, one, two, reader, root, store)


def opened(store: Path, mode: int, owner: int = 0, group: int = GROUP) -> None:
    os.chown(store, owner, group)
    store.chmod(mode)


def pulled(by: User, name: str) -> None:
    by.write(hub_manifest(name, f"org/{name}"))
    by.run("lock")
    by.run("pull")


def sharing(by: User) -> list[str]:
    """What is wrong with how a store is shared, and the command that mends it: `doctor`'s words, for a user."""
    code = """
from types import SimpleNamespace as Of
from assetmgr.doctor.storing import check_sharing
for finding in check_sharing(Of(machine=Of(store=%r, platform="linux"))):
    print(finding.level, finding.message, finding.mend.removeprefix("as root: "), sep="\\n")
"""
    return by.run(code=code % str(by.root)).out.splitlines()


def shut(store: Path, *, others: bool = True) -> list[str]:
    """What in a store some of its group cannot use, or nobody else can read."""
    found = []
    for at, folders, files in os.walk(store):
        for name in (*folders, *files):
            path = Path(at, name)
            status = path.lstat()
            mode = stat.S_IMODE(status.st_mode)
            needed = 0o2075 if path.is_dir() else 0o064 if name.endswith(".lock") else 0o044
            needed &= 0o7777 if others else 0o7770
            if not path.is_symlink() and (status.st_gid != GROUP or mode & needed != needed):
                found.append(f"{path.relative_to(store)}: {mode:o} {status.st_uid}:{status.st_gid}")
    return found


def weights(store: Path, name: str) -> Path:
    (path,) = store.glob(f"hub/models--org--{name}/snapshots/*/model.safetensors")
    return path


@pytest.mark.parametrize("umask", [0o077, 0o022, 0o002])
def test_members_of_a_group_pull_repair_and_upgrade_what_others_pulled_and_everybody_reads(
    lab: Lab, umask: int
) -> None:
    everybody = (lab.one, lab.two, lab.reader, lab.root)
    for each in everybody:
        each.umask = umask
    pulled(lab.one, "a")
    pulled(lab.two, "b")
    assert shut(lab.store) == []
    for each in everybody:
        assert "all proved" in each.run("verify", "a", "b").err
        assert each.run("path", "a").out.startswith(str(lab.store))
        assert "installed" in each.run("show", "b").out
        assert "installed" in each.run("status", "a").out
    flip_byte(weights(lab.store, "a"))
    assert "altered" in lab.two.run("verify", "a", "--full", "--repair").out
    flip_byte(weights(lab.store, "b"))
    assert "altered" in lab.root.run("verify", "b", "--full", "--repair").out
    lab.hub.repos["model", "org/b"].commit({"config.json": b"{1}"})
    lab.one.write(hub_manifest("b", "org/b"))
    lab.one.run("lock", "--upgrade", "b")
    lab.one.run("pull")
    pulled(lab.root, "c")
    assert shut(lab.store) == []
    pulled(lab.one, "c")
    assert "all proved" in lab.two.run("verify", "--full").err
    assert "all proved" in lab.reader.run("verify", "--full").err


def test_a_closed_group_keeps_others_out_and_its_own_in(lab: Lab) -> None:
    opened(lab.store, 0o2770)
    pulled(lab.one, "a")
    lab.two.run("verify", "--full")
    for words in (("verify",), ("path", "a"), ("pull", "a"), ("status",)):
        assert "Permission denied" in lab.reader.run(*words, expect=7).err


def test_who_may_only_read_is_told_so_and_changes_nothing(lab: Lab) -> None:
    pulled(lab.one, "a")
    lab.reader.write(hub_manifest("b", "org/b"))
    flip_byte(weights(lab.store, "a"))
    before = sorted((str(path), path.lstat().st_ino) for path in lab.store.rglob("*"))
    for words in (("lock",), ("sync",), ("add", "hub:org/c"), ("pull", "Salesforce/blip2-opt-2.7b", "--offline")):
        assert "Permission denied" in lab.reader.run(*words, expect=None).err
    said = lab.reader.run("lock", expect=7).err
    assert f"it is of user {lab.one.uid}, group {GROUP}, mode 2775; you are {lab.reader.uid}" in said
    lab.reader.run("verify", "a", expect=3)
    assert "you are" in lab.reader.run("verify", "a", "--repair", expect=3).err
    assert sorted((str(path), path.lstat().st_ino) for path in lab.store.rglob("*")) == before


@pytest.mark.parametrize("killed", ["one", "root"])
def test_what_a_killed_member_had_fetched_another_goes_on_with(lab: Lab, killed: str) -> None:
    first: User = getattr(lab, killed)
    for each in (first, lab.two):
        each.umask = 0o077
        each.write(hub_manifest("large", "org/large"))
        each.run("lock")
    lab.hub.faults.add(Fault(match="model.safetensors", method="GET", stall_after=LARGE // 2, times=None))
    process = first.start("pull")
    arrived = [path for path in lab.store.glob(".assetmgr/partial/*") if not path.name.endswith(".journal")]
    assert eventually(
        lambda: any(path.stat().st_size > LARGE // 4 for path in lab.store.glob(".assetmgr/partial/*"))
    ), arrived
    said = lab.two.run("pull", "--wait", "0", expect=8).err
    told = rf"process {process} on \S+ \(user {first.uid or 'root'}: assetmgr pull\), pulling large since 20\d\d-"
    assert re.search(told, said)
    os.killpg(process, 9)
    first.finish(-9)
    lab.hub.faults.clear()
    assert "going on after" in lab.two.run("pull").err
    (path,) = {path.resolve() for path in lab.store.glob("hub/*/snapshots/*/model.safetensors")}
    assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (lab.two.uid, 0o444)
    assert shut(lab.store) == []
    lab.one.run("verify", "--full")


def test_a_member_goes_on_where_another_ones_child_was_killed(lab: Lab) -> None:
    for each in (lab.one, lab.two):
        each.umask = 0o077
        each.write(hub_manifest("large", "org/large"))
        each.run("lock")
    lab.hub.faults.add(Fault(match="model.safetensors", method="GET", stall_after=LARGE // 2, times=None))
    process = lab.one.start("pull", ASSETMGR_TRANSPORT="snapshot")
    assert lab.hub.faults.wait_stalled()
    os.killpg(process, 9)
    lab.one.finish(-9)
    lab.hub.faults.clear()
    lab.two.run("pull", ASSETMGR_TRANSPORT="snapshot")
    lab.one.run("verify", "--full")
    assert shut(lab.store) == []
    assert not list(lab.store.rglob(".locks")), "huggingface_hub's lock files, which only their maker may open"


def test_a_waiting_member_goes_in_when_the_holder_is_killed(lab: Lab) -> None:
    for each in (lab.one, lab.two):
        each.write(hub_manifest("large", "org/large"))
        each.run("lock")
    lab.hub.faults.add(Fault(match="model.safetensors", method="GET", stall_after=LARGE // 2))
    process = lab.one.start("pull")
    assert lab.hub.faults.wait_stalled()
    lab.two.start("pull", "--wait", "60")
    assert eventually(lambda: f"waiting for process {process}" in lab.two.said())
    os.killpg(process, 9)
    lab.one.finish(-9)
    lab.two.finish()


@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_what_root_pulls_into_a_users_own_store_is_that_users(lab: Lab, mode: int) -> None:
    opened(lab.store, mode, lab.one.uid, lab.one.uid)
    lab.root.umask = 0o077
    pulled(lab.root, "a")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("folder/member.txt", b"member")
    lab.hub.publish("/packed.zip", packed.getvalue())
    view = lab.one.folder / "view"
    lab.root.write(
        hub_manifest("a", "org/a", extra=[f"local_dir: {view}", "local_dir_links: copy"])
        + f"  z:\n    files: [{{url: '{lab.hub.endpoint}/packed.zip', extract: files/z}}]\n"
    )
    lab.root.run("lock")
    lab.root.run("pull")
    assert {path.stat().st_uid for path in [view, *view.rglob("*")]} == {lab.one.uid}
    others = [path for path in lab.store.rglob("*") if not path.is_symlink() and path.stat().st_uid != lab.one.uid]
    assert others == []
    pulled(lab.one, "a")
    pulled(lab.one, "b")
    flip_byte(weights(lab.store, "a"))
    lab.one.run("verify", "a", "--full", "--repair")


def test_a_store_that_was_one_users_and_is_opened_to_a_group_is_told_mended_and_used(lab: Lab) -> None:
    opened(lab.store, 0o755, lab.one.uid, lab.one.uid)
    lab.one.umask = 0o077
    pulled(lab.one, "a")
    opened(lab.store, 0o2775)
    lab.two.write(hub_manifest("a", "org/a"))
    assert "mode 700" in lab.two.run("verify", expect=7).err
    opened(lab.store, 0o2775)
    for folder in (lab.store, *(path for path in lab.store.rglob("*") if path.is_dir())):
        opened(folder, 0o2775)
    assert "receipts" in lab.two.run("verify", "a", expect=7).err, "what may not be read is not told as not installed"
    # A lock that others may read: it gives way as soon as nobody holds it.
    for path in lab.store.glob(".assetmgr/receipts/*"):
        path.chmod(0o644)
    for path in lab.store.glob(".assetmgr/mutex/*.lock"):
        path.chmod(0o644)
    holding = lab.one.start(
        code=f"""
import time
from pathlib import Path
from assetmgr.mutex import held
import filelock
lock = filelock.FileLock({str(lab.store)!r} + "/.assetmgr/mutex/models--org--a.lock")
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""
    )
    assert eventually(lambda: "held" in lab.one.said())
    weights(lab.store, "a").unlink()
    lab.two.run("verify", "a", "--repair", "--wait", "0", expect=3)
    os.kill(holding, 9)
    lab.one.finish(-9)
    lab.two.run("verify", "a", "--repair", "--wait", "0")
    # One that they may not: doctor's mend.
    for path in lab.store.glob(".assetmgr/mutex/*.lock"):
        path.chmod(0o600)
        os.chown(path, lab.one.uid, lab.one.uid)
    assert "mode 600" in lab.two.run("lock", expect=7).err
    level, message, mend = sharing(lab.two)
    assert level == "warning"
    assert ".assetmgr/mutex/" in message
    subprocess.run(["sh", "-ec", mend], check=True)
    lab.two.run("lock")
    lab.two.run("pull")
    assert shut(lab.store, others=False) == []
    assert sharing(lab.two) == ["ok", f"{lab.store} is open to its group", ""]


def test_a_folder_that_another_program_shut_is_named_with_its_owner(lab: Lab) -> None:
    pulled(lab.one, "a")
    for path in (lab.store / "hub" / "models--org--b", lab.store / "hub" / "models--org--b" / "blobs"):
        path.mkdir()
        opened(path, 0o2755, lab.one.uid)
    lab.two.write(hub_manifest("b", "org/b"))
    said = lab.two.run("lock", expect=7).err
    assert "hub/models--org--b/blobs" in said
    assert f"it is of user {lab.one.uid}" in said
    assert "hub/models--org--b" in sharing(lab.two)[1]


@pytest.mark.parametrize("number", [38, 37, 95])  # ENOSYS, ENOLCK, EOPNOTSUPP
def test_a_file_system_without_locks_is_told_and_what_is_installed_is_used(lab: Lab, number: int) -> None:
    pulled(lab.one, "a")
    code = f"""
import fcntl, os, sys
def flock(descriptor, how):
    raise OSError({number}, os.strerror({number}))
fcntl.flock = flock
from assetmgr.cli import main
assert main(["verify", "--full"]) == 0
assert main(["path", "a"]) == 0
sys.exit(main(["lock", "--upgrade", "a"]))
"""
    said = lab.one.run(code=code, expect=1).err
    assert "its file system has no locks" in said
    assert "mend: mount it with locks" in said


def test_a_full_disk_of_one_leaves_what_others_have_loadable(lab: Lab) -> None:
    small = lab.store.parent / "small"
    if not os.path.ismount(small):
        pytest.skip("no right to mount a small file system")
    opened(small, 0o2775)
    for each in (lab.one, lab.two, lab.reader):
        each.root = small
    pulled(lab.one, "a")
    lab.two.write(hub_manifest("large", "org/large"))
    lab.two.run("lock")
    lab.two.run("pull", expect=6)
    filler = small / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    lab.two.write(hub_manifest("b", "org/b"))
    lab.two.run("lock", expect=6)
    for each in (lab.one, lab.two, lab.reader):
        assert "all proved" in each.run("verify", "a", "--full").err
        each.run("path", "a")
    filler.unlink()
    pulled(lab.two, "b")
    assert shut(small) == []


def test_a_prepared_table_is_made_once_for_all_and_a_reader_makes_their_own(lab: Lab) -> None:
    pytest.importorskip("pyarrow")
    load = "import assetmgr; print(assetmgr.load_dataset('pictures')['val'][0]['text_input'])"
    lab.one.write(
        "version: 1\ndatasets:\n  pictures:\n    hub: lab/pictures\n    samples: caption\n    media: val2017\n"
        "    splits: {val: annotations/captions_val2017.json}\n"
    )
    lab.one.umask = lab.two.umask = 0o077
    lab.one.run("lock")
    lab.one.run("pull")

    def tables() -> set[tuple[Path, int]]:
        return {(path, path.stat().st_ino) for path in lab.store.glob("prepared/tables/*/*.arrow")}

    (ours, *_) = [each.run(code=load).out for each in (lab.reader, lab.two)]
    made = tables()
    assert len(made) == 1
    assert [each.run(code=load).out for each in (lab.one, lab.reader)] == [ours, ours]
    assert tables() == made
    assert shut(lab.store) == []
    (path,) = (path for path, _ in made)
    flip_byte(path)
    assert lab.one.run(code=load).out == ours, "another user's table is replaced"
    assert shut(lab.store) == []


def test_what_other_libraries_make_is_kept_out_of_a_store_that_is_shared(lab: Lab) -> None:
    pulled(lab.one, "a")
    assert "HF_DATASETS_CACHE" not in lab.one.run("env").out
    opened(lab.store, 0o755, lab.one.uid)
    assert "HF_DATASETS_CACHE" in lab.one.run("env").out


def test_doctor_finds_what_is_anothers_in_a_users_own_store(lab: Lab) -> None:
    opened(lab.store, 0o755, lab.one.uid, lab.one.uid)
    pulled(lab.one, "a")
    os.chown(lab.store / "hub", 0, 0)
    level, message, mend = sharing(lab.one)
    assert level == "warning"
    assert "parts of it are another's: hub" in message
    subprocess.run(["sh", "-ec", mend], check=True)
    pulled(lab.one, "b")


def test_what_one_user_pulled_another_of_the_group_removes_and_who_may_only_read_does_not(lab: Lab) -> None:
    lab.one.umask = 0o077
    view = lab.store.with_name(f"{lab.store.name}-view")
    view.mkdir()
    os.chown(view, lab.one.uid, lab.one.uid)
    lab.one.write(hub_manifest("a", "org/a", extra=[f"local_dir: {view}"]))
    lab.one.run("lock")
    lab.one.run("pull")
    view.chmod(0o755)
    pulled(lab.two, "b")
    before = {path for path in lab.store.rglob("*") if ".assetmgr" not in path.parts}
    for words in (("rm", "a"), ("gc",), ("rm", "--force", "a")):
        assert "ermission denied" in lab.reader.run(*words, expect=7).err
    assert {path for path in lab.store.rglob("*") if ".assetmgr" not in path.parts} == before
    use = f"""
import time
from assetmgr import Workspace
used = Workspace(root={str(lab.store)!r}).require(["a"])
print("open", flush=True)
time.sleep(60)
"""
    reading = lab.reader.start(code=use)  # who may not write here is seen to use it all the same
    assert eventually(lambda: "open" in lab.reader.said())
    assert f"in use by process {reading}" in lab.two.run("rm", "--force", "a", expect=8).err
    os.kill(reading, 9)
    lab.reader.finish(-9)
    assert f"{lab.one.folder}/assets.yaml wants it" in lab.two.run("rm", "a", expect=2).err
    assert f"left: {view} (a is shown there" in lab.two.run("rm", "--force", "a").err
    assert [path.name for path in (lab.store / "hub").glob("models--*")] == ["models--org--b"]
    lab.one.run("gc")
    lab.reader.run("verify", "b", "--full")
    lab.one.write(hub_manifest("a", "org/a"))
    lab.one.run("lock")
    lab.one.run("pull")
    assert shut(lab.store) == []
