"""Files that a user must fetch by hand: what is said, where they are handed in, and that all else goes on."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hub import Fault, Hub
from tests.origins.test_files import locked, manifest
from tests.support import Project, served, without_root_powers

BODY = b"behind a licence" * 1000
SHA256 = hashlib.sha256(BODY).hexdigest()
ASK = "Download val.tar from https://licence.example/get?y=2012 after accepting its terms"
PINS = f"sha256: '{SHA256}', size: {len(BODY)}"


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.publish("/f/w.bin", b"free")
    hub.publish("/f/val.tar", BODY)
    return hub


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        yield project


def place(project: Project, name: str = "val.tar") -> Path:
    path = project.root / "files/m" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@pytest.mark.parametrize("command", ["lock", "pull"])
@pytest.mark.parametrize("url", ["", "url: ./drop/val.tar, ", "url: 'file:drop/val.tar', "])
def test_what_is_missing_is_asked_for_with_the_place_and_the_next_command(
    project: Project, command: str, url: str
) -> None:
    project.write(manifest(f"{url}path: val.tar, ask: '{ASK}'" + (f", {PINS}" if command == "pull" else "")))
    if command == "pull":
        project.run("lock")
    done = project.run(command, code=7)
    for words in ("m: val.tar: ", ASK, str(place(project)), f"assetmgr {command} m"):
        assert words in done.err
    assert (str(project.folder / "drop/val.tar") in done.err) == bool(url)
    document = project.run("--json", command, code=7).json
    assert document["errors"][0]["type"] == "FetchByHandError"
    assert ASK in document["errors"][0]["message"]


@pytest.mark.parametrize("url", ["", "url: ./drop/val.tar, "])
@pytest.mark.parametrize("pins", ["", f", {PINS}", f", md5: {hashlib.md5(BODY).hexdigest()}"])
def test_what_is_handed_in_is_pinned_and_proved(project: Project, url: str, pins: str) -> None:
    project.write(manifest(f"{url}path: val.tar, ask: '{ASK}'{pins}"))
    there = project.folder / "drop/val.tar" if url else place(project)
    there.parent.mkdir(parents=True, exist_ok=True)
    there.write_bytes(BODY)
    project.run("lock")
    assert locked(project)[0]["sha256"] == SHA256
    assert locked(project)[0]["ask"] == ASK
    project.run("pull")
    project.run("verify", "--full")
    assert place(project).read_bytes() == BODY
    assert not [path for path in (project.root / ".assetmgr/partial").glob("*") if path.is_file()], "no second copy"


def test_a_link_at_the_place_is_replaced_by_a_proved_copy(project: Project, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.tar").write_bytes(BODY)
    place(project).symlink_to(tmp_path / "elsewhere.tar")
    project.write(manifest(f"path: val.tar, ask: '{ASK}'"))
    project.run("lock")
    project.run("pull")
    assert not place(project).is_symlink()
    assert place(project).read_bytes() == BODY


@pytest.mark.parametrize("url", ["", "url: ./drop/val.tar, "])
@pytest.mark.parametrize("wrong", [b"x" * len(BODY), BODY[:-1], b""])
def test_what_is_handed_in_wrong_is_refused_with_what_was_expected(project: Project, url: str, wrong: bytes) -> None:
    project.write(manifest(f"{url}path: val.tar, ask: '{ASK}', {PINS}"))
    project.run("lock")
    there = project.folder / "drop/val.tar" if url else place(project)
    there.parent.mkdir(parents=True, exist_ok=True)
    there.write_bytes(wrong)
    done = project.run("pull", code=3)
    assert "expected" in done.err
    assert str(there) in done.err
    assert ASK in done.err, "and how to get the right one"
    assert project.run("status", "--json", code=None).json[0]["state"] != "installed"
    there.unlink()
    there.write_bytes(BODY)
    project.run("pull")


@pytest.mark.parametrize("pin", ["sha256: '" + "0" * 64 + "'", "md5: '" + "0" * 32 + "'", "size: 7"])
def test_lock_refuses_what_is_handed_in_and_is_not_what_the_manifest_pins(project: Project, pin: str) -> None:
    place(project).write_bytes(BODY)
    project.write(manifest(f"path: val.tar, ask: '{ASK}', {pin}"))
    assert "expected" in project.run("lock", code=3).err
    assert not project.lock_file.exists()


def test_a_missing_file_keeps_nothing_else_from_being_locked_and_pulled(hub: Hub, project: Project) -> None:
    free = "  free:\n    files: [{url: '{endpoint}/f/w.bin'}]\n"
    project.write(manifest(f"path: val.tar, ask: '{ASK}'", "path: b.tar, ask: Fetch b.", more=free))
    done = project.run("lock", code=7)
    assert "Fetch b." in done.err, "all that is asked for is told at once"
    assert ASK in done.err
    assert project.run("pull", code=4).err.count("error:") == 1
    assert (project.root / "files/free/w.bin").read_bytes() == b"free"
    # Locked elsewhere, where the files were there: here they are asked for, and the rest is pulled.
    for name in ("val.tar", "b.tar"):
        place(project, name).write_bytes(name.encode())
    project.run("lock")
    shutil.rmtree(project.root)
    done = project.run("pull", code=7)
    assert done.err.count("error:") == 2
    assert (project.root / "files/free/w.bin").read_bytes() == b"free"


def test_a_lock_with_its_instruction_serves_on_another_machine(project: Project, tmp_path: Path) -> None:
    project.write(manifest(f"url: ./drop/val.tar, ask: '{ASK}'"))
    (project.folder / "drop").mkdir()
    (project.folder / "drop/val.tar").write_bytes(BODY)
    project.run("lock")
    assert str(project.folder) not in project.lock_file.read_text()
    other = Project(tmp_path / "other")
    other.folder.mkdir()
    for name in ("assets.yaml", "assets.lock.json"):
        shutil.copy(project.folder / name, other.folder / name)
    done = other.run("pull", code=7)
    assert str(other.folder / "drop/val.tar") in done.err
    assert "16,000 bytes" in done.err
    (other.folder / "drop").mkdir()
    (other.folder / "drop/val.tar").write_bytes(BODY)
    other.run("pull")
    before = other.lock_file.read_bytes()
    assert other.run("lock", "--upgrade", "m").code == 0
    assert other.lock_file.read_bytes() == before, "nothing in it is of one machine"


def test_a_url_that_wants_a_login_is_told_with_the_instruction(hub: Hub, project: Project) -> None:
    hub.faults.add(Fault("/f/val.tar", status=403, times=None))
    project.write(manifest(f"url: '{{endpoint}}/f/val.tar', ask: '{ASK}', {PINS}"))
    project.run("lock")
    done = project.run("pull", code=7)
    assert "HTTP 403" in done.err
    assert ASK in done.err
    place(project).write_bytes(BODY)
    asked = len(hub.requests)
    project.run("pull")
    assert len(hub.requests) == asked, "what was handed in is not asked for"
    hub.faults.clear()
    place(project).unlink()
    project.run("pull")


def test_offline_takes_what_is_handed_in_and_asks_for_what_is_not(project: Project) -> None:
    project.write(manifest(f"path: val.tar, ask: '{ASK}', {PINS}"))
    project.run("lock", "--offline")
    assert ASK in project.run("pull", "--offline", code=7).err
    place(project).write_bytes(BODY)
    project.run("pull", "--offline")


@pytest.mark.parametrize("command", ["lock", "pull"])
def test_what_is_handed_in_and_cannot_be_read_is_told_as_that(project: Project, command: str) -> None:
    user = replace(project, prefix=without_root_powers())
    place(project).write_bytes(BODY)
    place(project).chmod(0)
    project.write(manifest(f"path: val.tar, ask: '{ASK}'" + (f", {PINS}" if command == "pull" else "")))
    if command == "pull":
        user.run("lock")
    done = user.run(command, code=7)
    assert "denied" in done.err
    assert "not there yet" not in done.err


def test_repair_asks_again_for_what_is_damaged(project: Project) -> None:
    project.write(manifest(f"path: val.tar, ask: '{ASK}', {PINS}"))
    place(project).write_bytes(BODY)
    project.run("lock")
    project.run("pull")
    place(project).unlink()
    done = project.run("verify", "--repair", code=None)
    assert done.code in (3, 7)
    assert ASK in done.err


def test_an_instruction_cannot_drive_a_terminal(project: Project) -> None:
    project.write(manifest(f"path: val.tar, ask: 'Get it back', {PINS}"))
    project.run("lock")
    text = project.lock_file.read_text()
    project.lock_file.write_text(text.replace("Get it", "Get \\u001b[2J\\u0085\\u009b\\u202eit"))
    done = project.run("pull", code=7)
    assert not set("\x1b\x9b\x85\u202e") & set(done.err)
    assert "Get" in done.err


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("sha256: '" + "0" * 64 + "'", "'url'"),
        ("ask: Fetch it.", "'path'"),
        ("path: a, ask: ''", "empty"),
        ("path: a, ask: '  '", "empty"),
        ("path: a, ask: 5", "quotes"),
        ("path: ../a, ask: Fetch it.", "path"),
        ("url: nonsense, ask: Fetch it.", "url"),
    ],
)
def test_a_mistaken_entry_is_told_with_its_place(project: Project, file: str, words: str) -> None:
    project.write(manifest(file))
    done = project.run("lock", code=2)
    assert "assets.yaml:5:" in done.err
    assert words in done.err


def test_an_instruction_may_have_several_lines(project: Project) -> None:
    project.write(
        "version: 1\nmodels:\n  m:\n    files:\n"
        "      - path: a\n        ask: |\n          First this,\n          then that.\n"
    )
    assert "First this, then that." in project.run("lock", code=7).err


def test_another_instruction_is_a_change_of_the_lock_and_fetches_nothing(project: Project) -> None:
    project.write(manifest(f"path: val.tar, ask: '{ASK}'"))
    place(project).write_bytes(BODY)
    project.run("lock")
    place(project).unlink()
    project.write(manifest("path: val.tar, ask: Ask the librarian."))
    project.run("lock", "--check", code=4)
    project.run("lock")
    assert locked(project)[0]["ask"] == "Ask the librarian."
    assert locked(project)[0]["sha256"] == SHA256
