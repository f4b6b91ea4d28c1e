"""`rm` takes out of the store what is an asset's own, all of it and nothing else; what may not go stays whole."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import assetmgr
from assetmgr import Workspace
from assetmgr.errors import NotInstalledError
from tests.housekeeping.conftest import BODY, SHARED, WEIGHTS, Run, below
from tests.hub import Fault, Hub
from tests.server.support import serving
from tests.support import Project, flip_byte, hub_manifest, without_root_powers


def write(project: Project, run: Run, text: str) -> None:
    project.write(text)
    run("lock")
    run("pull")


TWO = """version: 1
models:
  m: {hub: org/name}
  n: {hub: org/name, allow_patterns: [vocab.txt]}
  f: {files: [{url: '{endpoint}/f/w.bin'}]}
"""


def test_an_asset_goes_with_what_it_alone_has_and_the_rest_stays_proved(project: Project, run: Run) -> None:
    write(project, run, TWO)
    before = below(project.root)
    foretold = run("rm", "--dry-run", "m")
    assert below(project.root) == before
    done = run("rm", "m")
    assert done.removed == foretold.removed
    assert done.json["bytes"] == foretold.json["bytes"] > len(BODY)
    gone = before - below(project.root)
    assert {path for path in done.removed if not path.startswith(".assetmgr")} == gone
    assert [path.rpartition("/")[2] for path in sorted(gone) if "/snapshots/" in path] == [
        "config.json",
        "model.safetensors",
    ]
    run("verify", "--full", "n", "f")
    assert [row["state"] for row in run("status").json if row["name"] == "m"] == ["not installed"]
    run("rm", "n", "f")
    assert below(project.root) == set()
    assert not (project.root / "hub" / "models--org--name").exists()
    run("pull")
    run("verify", "--full")


def test_what_is_not_installed_removes_nothing(project: Project, run: Run) -> None:
    write(project, run, TWO)
    before = below(project.root)
    assert "x: not installed" in run("rm", "m", "x", code=4).err
    assert below(project.root) == before


def test_changed_and_foreign_files_stay_and_are_told(project: Project, run: Run) -> None:
    write(project, run, TWO)
    snapshot = Path(run("path", "m").json["path"])
    (snapshot / "notes.txt").write_text("mine")
    config = snapshot / "config.json"
    config.unlink()
    config.write_text("my own")
    plain = project.root / "files" / "f" / "w.bin"
    plain.unlink()
    plain.write_bytes(BODY[::-1])
    done = run("rm", "m", "f")
    assert {Path(left["path"]).name: left["why"] for left in done.json["left"]} == {
        "config.json": "changed since",
        "w.bin": "changed since",
    }
    assert config.read_text() == "my own"
    assert (snapshot / "notes.txt").read_text() == "mine"
    assert plain.read_bytes() == BODY[::-1]


def test_a_rewritten_file_of_the_same_bytes_is_ours_still(project: Project, run: Run) -> None:
    write(project, run, TWO)
    plain = project.root / "files" / "f" / "w.bin"
    plain.unlink()
    plain.write_bytes(BODY)
    run("rm", "f")
    assert not plain.exists()


@pytest.mark.parametrize("style", ["symlink", "hardlink", "copy"])
def test_what_shows_it_elsewhere_goes_and_what_a_user_added_there_stays(
    project: Project, run: Run, tmp_path: Path, style: str
) -> None:
    shown = tmp_path / "shown"
    write(project, run, hub_manifest(extra=[f"local_dir: {shown}", f"local_dir_links: {style}"]))
    (shown / "mine.txt").write_text("mine")
    assert len(below(shown)) == 4
    foretold = run("rm", "--dry-run", "m")
    done = run("rm", "m")
    assert done.removed == foretold.removed
    assert done.json["bytes"] == foretold.json["bytes"]
    assert below(shown) == {"mine.txt"}
    assert below(project.root) == set()
    run("pull")
    run("verify")


def test_several_go_as_it_was_told(project: Project, run: Run, tmp_path: Path) -> None:
    """They share blobs, a snapshot, a ref, a folder that shows them, and a link in it."""
    shown = f", local_dir: {tmp_path / 'shown'}, local_dir_links: hardlink}}"
    text = TWO.replace("{hub: org/name}", "{hub: org/name" + shown).replace("[vocab.txt]}", "[vocab.txt]" + shown)
    write(project, run, text)
    for names in (["m", "n"], ["n", "f", "m"], ["f"]):
        run("pull")
        foretold = run("rm", "--dry-run", *names)
        done = run("rm", *names)
        assert done.removed == foretold.removed
        assert done.json["bytes"] == foretold.json["bytes"]
        if "m" in names:
            assert below(tmp_path / "shown") == set()


def test_members_of_an_archive_go_with_it(hub: Hub, project: Project, run: Run) -> None:
    with io.BytesIO() as data:
        with tarfile.open(fileobj=data, mode="w") as tar:
            for name in ("a/1.txt", "a/2.txt"):
                member = tarfile.TarInfo(name)
                member.size = len(SHARED)
                tar.addfile(member, io.BytesIO(SHARED))
        hub.publish("/f/a.tar", data.getvalue())
    write(
        project,
        run,
        "version: 1\ndatasets:\n  d:\n    files: [{url: '{endpoint}/f/a.tar', extract: lavis/coco/images}]\n",
    )
    mine = project.root / "lavis" / "coco" / "images" / "a" / "3.txt"
    mine.write_text("mine")
    assert len(run("rm", "d").removed) == 4  # the archive, too, and its receipt
    assert below(project.root) == {"lavis/coco/images/a/3.txt"}


def test_what_another_requires_or_another_project_wants_is_refused(project: Project, run: Run, tmp_path: Path) -> None:
    text = TWO.replace("m: {hub: org/name}", "m: {hub: org/name, requires: [f]}")
    write(project, run, text)
    before = below(project.root)
    assert "m requires it" in run("rm", "f", code=2).err
    other = tmp_path / "other"
    other.mkdir()
    for name in ("assets.yaml", "assets.lock.json"):
        (other / name).write_bytes((project.folder / name).read_bytes())
    run("--manifest", str(other / "assets.yaml"), "pull", "n")
    assert f"{other / 'assets.yaml'} wants it" in run("rm", "n", code=2).err
    assert below(project.root) == before
    (other / "assets.yaml").unlink()
    (other / "assets.lock.json").unlink()  # that project is gone
    run("rm", "n")
    run("rm", "--force", "f")


def test_the_last_copy_among_the_mirrors_is_refused_until_it_is_told_or_pushed(
    project: Project, run: Run, tmp_path: Path
) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    write(project, run, TWO.replace("models:", f"mirrors: [{mirror}]\nmodels:"))
    before = below(project.root)
    told = run("rm", "m", code=2)
    assert "on 0 of 1 mirrors" in told.err
    assert "assetmgr mirror push" in told.err
    assert below(project.root) == before
    run("mirror", "push", str(mirror), "m")
    blob = next(path for path in mirror.glob("blobs/sha256/*") if path.read_bytes() == WEIGHTS)
    flip_byte(blob)
    assert "model.safetensors is on 0 of 1 mirrors" in run("rm", "m", code=2).err, "it is hashed there"
    run("mirror", "push", "--full", str(mirror), "m")
    assert "2 copies are asked for" in run("rm", "--copies", "2", "m", code=2).err
    run("rm", "m")
    run("rm", "--last-copy", "f")


def test_what_an_error_says_to_type_mends_it(project: Project, run: Run, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    text = TWO.replace("models:", f"mirrors: [{mirror}]\nmodels:")
    write(project, run, text.replace("m: {hub: org/name}", "m: {hub: org/name, requires: [f]}"))

    def mends(*words: str) -> list[str]:
        """The commands that are named, of a command that is refused, as words."""
        said = run(*words, code=2).json["errors"][0]["mend"]
        return [mend.removeprefix("assetmgr ") for mend in re.split(", or |: ", said) if mend.startswith("assetmgr ")]

    run("pin", "n")
    (unpin,) = mends("rm", "n")
    run(*unpin.split())
    push, force = mends("rm", "n")
    run(*push.split())
    run("rm", "n")
    run("pull", "n")
    run(*force.split())
    (both, _) = mends("rm", "f")
    assert both == "rm m f"
    run(*both.split(), "--last-copy")
    assert below(project.root) == set()


def test_a_server_of_this_very_store_is_no_other_copy(project: Project, run: Run, tmp_path: Path) -> None:
    write(project, run, TWO)
    before = below(project.root)
    with serving(Workspace()) as own:
        assert "on 0 of 1 mirrors" in run("rm", "--mirror", own.address, "m", code=2).err
    assert below(project.root) == before
    copy = tmp_path / "copy"
    shutil.copytree(project.root, copy, symlinks=True)
    run("--root", str(copy), "verify")  # whose stamps are its own
    with serving(Workspace(root=copy)) as other:
        run("rm", "--mirror", other.address, "m")


def test_what_a_dataset_object_has_open_is_refused_and_then_goes(project: Project, run: Run) -> None:
    (project.folder / "a.json").write_text('[{"caption": "x", "image": "1.jpg"}]')
    project.write(
        "version: 1\ndatasets:\n  d: {files: [{url: ./a.json}], samples: image_text, splits: {train: a.json}}\n"
    )
    run("lock")
    run("pull")
    code = (
        "import assetmgr, sys\n"
        "d = assetmgr.load_dataset('d', split='train').select_columns('text_input')\n"
        "print('open', flush=True)\nsys.stdin.read()\n"
    )
    before = below(project.root)
    command = ["-m", "assetmgr", "run", "--needs", "d", "--", "sh", "-c", "echo open; read line; true"]
    for words in (["-c", code], command):
        holder = subprocess.Popen(
            [sys.executable, *words],
            cwd=project.folder,
            env=project.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        for dry in (["--dry-run"], []):
            told = run("rm", *dry, "d", code=8)
            assert f"in use by process {holder.pid}" in told.err
            assert told.json["removed"] == []
        assert below(project.root) >= before
        holder.communicate("")
    run("rm", "d")
    assert below(project.root) == set()
    with pytest.raises(NotInstalledError):
        assetmgr.load_dataset("d")


def test_what_is_being_pulled_is_refused_and_the_pull_completes(hub: Hub, project: Project, run: Run) -> None:
    write(project, run, TWO)
    hub.repos["model", "org/name"].commit({"new.bin": BODY * 900})
    large = BODY[1:] * 900
    hub.publish("/f/large.bin", large)
    pin = f"sha256: {hashlib.sha256(large).hexdigest()}, size: {len(large)}"  # with it, `lock` fetches nothing
    project.write(TWO + "  g: {files: [{url: '{endpoint}/f/large.bin', PIN}]}\n".replace("PIN", pin))
    run("lock", "--upgrade", "m", "--upgrade", "n")
    run("lock")
    for name, busy in (("m", ("m", "n")), ("g", ("f",))):
        hub.faults.add(Fault(match="new.bin" if name == "m" else "large.bin", method="GET", stall_after=len(BODY)))
        pull = project.start("pull", name)
        assert hub.faults.wait_stalled()
        before = below(project.root)
        for each in busy:
            for words in (["--dry-run"], []):
                told = run("rm", *words, each, code=8)
                assert f"process {pull.pid}" in told.err
                assert told.json["removed"] == []
        run("gc")  # neither what has come of it so far
        assert below(project.root) == before
        hub.faults.release()
        out, err = pull.communicate(timeout=60)
        assert pull.returncode == 0, f"{out}\n{err}"
    run("pull")
    run("verify", "--full")


def test_a_user_who_may_only_read_is_told_so_and_nothing_goes(project: Project, run: Run) -> None:
    write(project, run, TWO)
    project.prefix = without_root_powers()
    before = below(project.root)
    folders = [Path(at) for at, _, _ in os.walk(project.root)]
    for folder in folders:
        folder.chmod(0o555)
    try:
        for command in (("rm", "m"), ("gc",)):
            done = project.run(*command, code=7)
            assert "ermission denied" in done.err
        project.run("rm", "--dry-run", "m")
        assert below(project.root) == before
    finally:
        for folder in folders:
            folder.chmod(0o755)
    project.prefix = ()
    run("verify", "--full")


@pytest.mark.skipif(os.name == "nt", reason="no kill -9")
def test_after_a_kill_at_any_moment_nothing_half_removed_is_called_whole(project: Project, run: Run) -> None:
    write(project, run, TWO)
    # Dies at the n-th removal of a file, as by kill -9.
    code = (
        "import os, sys, signal\nfrom assetmgr.cli import main\nreal, left = os.unlink, [int(sys.argv[1])]\n"
        "def unlink(path, *more, **also):\n"
        "    if 'hub/' in os.fspath(path):\n"
        "        left[0] -= 1\n"
        "        if not left[0]: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(path, *more, **also)\n"
        "os.unlink = unlink\nsys.exit(main(['rm', 'm']))\n"
    )
    for count in (1, 2, 4):
        project.python(code, str(count), expect=-signal.SIGKILL)
        states = {row["name"]: row["state"] for row in run("status").json}
        assert states["m"] == "not installed"
        assert "not installed" in run("path", "m", code=4).err
        run("verify", "n", "f")
        run("gc")
        assert {path.rpartition("/")[2] for path in below(project.root) if "/snapshots/" in path} == {"vocab.txt"}
        run("pull")
        run("verify", "--full")
