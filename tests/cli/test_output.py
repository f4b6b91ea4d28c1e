"""Data on stdout, words on stderr, one JSON document for programs, and an exit code for every kind of failure."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assetmgr.cli.output import size
from assetmgr.cli.parser import make_parser
from assetmgr.cli.shapes import SHAPES, shape
from tests.hub import Fault, Hub, RawEntry
from tests.support import REPOSITORY, Project, flip_byte, hub_manifest, served
from tests.test_mutex import holder

jsonschema = pytest.importorskip("jsonschema")

BODY = b"0123456789" * 300
MANIFEST = """\
version: 1
models:
  minilm:
    files: [{url: '{endpoint}/f/w.bin'}]
    groups: [demo]
  other:
    files: [{url: '{endpoint}/f/v.bin'}]
"""


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.publish("/f/w.bin", BODY)
    hub.publish("/f/v.bin", BODY[:-1])
    return hub


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        project.write(MANIFEST)
        yield project


@pytest.fixture
def installed(project: Project) -> Project:
    project.run("lock")
    project.run("pull")
    return project


def stage_away(project: Project) -> None:
    shutil.rmtree(project.root / ".assetmgr" / "partial")


# --- one document -------------------------------------------------------------------------------------------------


def test_json_is_one_document_for_every_command(project: Project) -> None:
    shown: dict[str, Any] = {}
    for arguments in (
        ["lock"],
        ["lock", "--check"],
        ["plan"],
        ["pull"],
        ["verify"],
        ["status"],
        ["path", "minilm"],
        ["env", "--hook"],
        ["whereis", "minilm"],
        ["diff"],
        ["show", "other"],
        ["list", "minilm"],
        ["help"],
        ["help", "lock"],
        ["requirements", "lavis"],
        ["completion", "fish"],
        ["mirror", "push", str(project.folder / "mirror")],
        ["bundle", "create", "-o", str(project.folder / "bundle")],
        ["bundle", "inspect", str(project.folder / "bundle")],
        ["bundle", "verify", str(project.folder / "bundle")],
        ["bundle", "load", str(project.folder / "bundle")],
        ["sync"],
        ["remove", "other"],
        ["add", "{endpoint}/f/v.bin".replace("{endpoint}", project.endpoint), "--kind", "model"],
        ["init", "new"],
        ["init", "--scan", ".", "--output", "-"],
        ["pin", "minilm"],
        ["unpin", "minilm"],
        ["rm", "minilm"],
        ["gc"],
        ["root", "move", "--dry-run", "moved"],
        ["schema"],
    ):
        if arguments[0] == "init":
            (project.folder / "new").mkdir(exist_ok=True)
        done = project.run("--json", *arguments)
        shown[" ".join(arguments)] = done.json
        assert "\r" not in done.err
        if arguments[0] != "schema":
            jsonschema.validate(done.json, shape(arguments[0]))
    commands = {*make_parser().commands}
    assert commands - {*SHAPES} == {"run", "schema"}, "every other command's document has a shape"
    # `try` wants a model, `doctor` looks at the whole machine, `serve` does not end: see their own tests.
    assert commands - {words.split()[0] for words in shown} == {"doctor", "run", "serve", "try"}
    assert shown["lock"][0]["assets"] == 2
    assert shown["lock --check"] == [{**shown["lock"][0], "changes": []}]
    assert shown["env --hook"]["HF_HUB_OFFLINE"] == "1"
    assert shown["remove other"]["removed"] == ["other"]
    assert [one["name"] for one in shown["sync"]["assets"]] == ["minilm", "other"]
    assert shown["plan"]["assets"][0]["name"] == "minilm"
    assert [one["name"] for one in shown["pull"]["assets"]] == ["minilm", "other"]
    assert (shown["verify"]["code"], shown["verify"]["findings"]) == (0, [])
    assert [(row["name"], row["state"]) for row in shown["status"]] == [("minilm", "installed"), ("other", "installed")]
    assert shown["path minilm"] == {"name": "minilm", "path": str(project.root / "files/minilm")}
    assert shown["schema"]["type"] == "object"


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["pull"], 4, "NotLockedError"),
        (["plan"], 4, "NotLockedError"),
        (["path", "minilm"], 4, "NotInstalledError"),
        (["path", "nothing"], 2, "UnknownAssetError"),
        (["lock", "--check"], 4, "StaleLockError"),
        (["--manifest", "gone.yaml", "status"], 2, "ManifestError"),
        (["lock", "--offline"], 5, "OfflineError"),
        (["lock", "--group", "nobody"], 2, "UnknownAssetError"),
    ],
)
def test_json_is_one_document_for_an_error_too(project: Project, arguments: list[str], code: int, kind: str) -> None:
    done = project.run("--json", *arguments, code=code)
    assert done.json["code"] == code
    for error in done.json["errors"]:
        assert (error["type"], error["code"]) == (kind, code)
        assert error["message"]
    assert done.err.startswith("error: "), "a person at the pipe is told as well"


def test_json_names_every_mistake_of_a_manifest_with_its_place(project: Project) -> None:
    project.write("version: 1\nmodels:\n  m: {hub: a/b, revison: x}\n  n: {}\n")
    (error,) = project.run("--json", "status", code=2).json["errors"]
    assert [(problem["line"], problem["file"].endswith("assets.yaml")) for problem in error["problems"]] == [
        (3, True),
        (4, True),
    ]
    assert "'revision'" in error["problems"][0]["message"]


def test_json_tells_several_errors_in_one_document(hub: Hub, project: Project) -> None:
    project.run("lock")
    stage_away(project)
    hub.publish("/f/w.bin", BODY[::-1])
    hub.faults.add(Fault(match="v.bin", status=404, times=None))
    done = project.run("--json", "pull", code=3)
    assert {(error["type"], error["code"]) for error in done.json["errors"]} == {
        ("IntegrityError", 3),
        ("OriginError", 5),
    }
    assert done.err.count("error: ") == 2


def test_json_of_findings_is_one_document(installed: Project) -> None:
    flip_byte(installed.root / "files/minilm/w.bin")
    done = installed.run("--json", "verify", "--full", code=3)
    assert done.json["code"] == 3
    (finding,) = done.json["findings"]
    assert (finding["asset"], finding["path"], finding["kind"]) == ("minilm", "w.bin", "altered")


def test_json_of_what_does_not_fit_is_one_document(hub: Hub, project: Project) -> None:
    hub.create("org/huge").commit({"model.safetensors": RawEntry(b"small", size=10**15)})
    project.write(hub_manifest(repo="org/huge"))
    project.run("lock")
    for command in ("plan", "pull"):
        done = project.run("--json", command, code=6)
        assert isinstance(done.json, dict), command


def test_json_of_a_wrong_command_line_is_one_document(project: Project) -> None:
    assert project.run("--json", "pull", "--jobs", "0", code=2).json["code"] == 2


# --- stdout and stderr --------------------------------------------------------------------------------------------


def test_words_are_on_stderr_and_data_on_stdout(project: Project) -> None:
    done = project.run("lock")
    assert [line.split(":")[0] for line in done.out.splitlines()] == ["+ minilm", "+ other"]
    assert "2 assets" in done.err
    assert project.run("lock").out == ""
    assert project.run("lock", "--check").out == ""
    done = project.run("pull")
    assert done.out == ""
    assert "2 assets proved" in done.err
    done = project.run("verify")
    assert done.out == ""
    assert "all proved" in done.err
    assert project.run("path", "minilm").out == f"{project.root / 'files/minilm'}\n"
    done = project.run("status")
    assert [line.split()[0] for line in done.out.splitlines()] == ["asset", "minilm", "other"]
    assert done.err == "assetmgr: 2 assets: 2 installed; 6.0 kB in the store\n"


def test_an_error_is_on_stderr_alone_and_says_what_mends_it(project: Project) -> None:
    done = project.run("pull", code=4)
    assert done.out == ""
    assert done.err.startswith("error: minilm: not locked")
    assert "\n  mend: assetmgr lock minilm\n" in done.err


def test_quiet_says_only_what_fails(project: Project) -> None:
    for arguments in (["lock"], ["lock", "--check"], ["pull"], ["verify"]):
        assert project.run("-q", *arguments).err == ""
    assert project.run("-q", "path", "nothing", code=2).err.startswith("error: ")


def test_there_are_no_bars_and_no_colours_in_a_pipe(hub: Hub, project: Project) -> None:
    hub.faults.add(Fault(match="w.bin", throttle=4000, times=None))  # slow enough for a bar to be due
    for done in (project.run("lock"), project.run("pull"), project.run("verify", "--full")):
        for text in (done.out, done.err):
            assert "\r" not in text
            assert "\x1b" not in text
            assert "%" not in text


def test_findings_are_data_a_line_each(installed: Project) -> None:
    flip_byte(installed.root / "files/minilm/w.bin")
    (installed.root / "files/other/v.bin").unlink()
    done = installed.run("verify", "--full", code=3)
    assert [line.split(": ")[:3] for line in done.out.splitlines()] == [
        ["minilm", "w.bin", "altered"],
        ["other", "v.bin", "missing"],
    ]
    assert "mend: assetmgr verify minilm other --repair --full" in done.err


def test_a_reader_who_goes_away_is_no_error(project: Project) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "assetmgr", "schema"],
        cwd=project.folder,
        env=project.environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    words = process.stderr.read()
    process.stderr.close()
    assert process.wait(20) in (0, 141)
    assert words == b""


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["lock", "plan", "pull", "verify", "status", "path"])
def test_a_mistyped_name_is_answered_by_the_nearest(project: Project, command: str) -> None:
    done = project.run(command, "minilmm", code=2)
    assert "minilmm" in done.err
    assert "did you mean 'minilm'" in done.err


@pytest.mark.parametrize("name", ["../x", "", "-", "a b", "\u00e9", "x" * 5000, "a\x1b[31mb"])
def test_a_name_that_cannot_be_is_unknown_and_breaks_nothing(project: Project, name: str) -> None:
    done = project.run("path", "--", name, code=None)
    assert done.code in (2, 4)
    assert "\x1b" not in done.err, "what came from outside does not drive the terminal"


def test_a_mistyped_group_is_answered(project: Project) -> None:
    done = project.run("lock", "--group", "demos", code=2)
    assert "demos" in done.err


# --- exit codes ---------------------------------------------------------------------------------------------------


def test_exit_2_no_manifest_and_no_name(tmp_path: Path) -> None:
    done = Project(tmp_path).run("pull", code=2)
    assert "no manifest here" in done.err


def test_exit_0_nothing_is_installed_is_no_error_for_status(tmp_path: Path) -> None:
    assert Project(tmp_path).run("--json", "status").json == []


def test_exit_2_a_damaged_lock(project: Project) -> None:
    for text in (
        b"",
        b"{",
        b"\xff",
        b'{"version": 1, "assets": {"m": {"kind": "\xff"}}}',
        b'{"version": 2, "assets": {}}',
    ):
        project.lock_file.write_bytes(text)
        done = project.run("pull", code=2)
        assert str(project.lock_file) in done.err
        assert "mend:" in done.err


def test_exit_3_wrong_bytes(hub: Hub, project: Project) -> None:
    project.run("lock")
    stage_away(project)
    hub.publish("/f/w.bin", BODY[::-1])
    done = project.run("pull", code=3)
    assert "minilm: w.bin" in done.err
    assert project.run("verify", "other").code == 0, "the rest was done"


def test_exit_4_not_installed(project: Project) -> None:
    project.run("lock")
    for arguments in (["path", "minilm"], ["verify"]):
        done = project.run(*arguments, code=4)
        assert "minilm: not installed" in done.err
        assert "assetmgr pull minilm" in done.err


def test_exit_4_a_lock_that_the_manifest_has_outrun(project: Project) -> None:
    project.run("lock")
    project.write(MANIFEST.replace("/f/w.bin'", "/f/w.bin', path: other.bin"))
    assert "minilm" in project.run("pull", "--locked", code=4).err
    assert "minilm" in project.run("pull").err, "without --locked it is said, and what is locked is pulled"


def test_exit_5_a_dead_origin(hub: Hub, project: Project) -> None:
    hub.faults.add(Fault(match="/f/", status=404, times=None))
    project.run("lock", code=5)


def test_exit_7_no_access(hub: Hub, project: Project) -> None:
    hub.faults.add(Fault(match="/f/", status=403, times=None))
    project.run("lock", code=7)


def test_exit_8_busy(project: Project) -> None:
    project.run("lock")
    project.run("pull", "other")
    locks = {path.name for path in project.root.glob(".assetmgr/mutex/files-*.lock")}
    project.run("pull", "minilm")
    (mine,) = {path.name for path in project.root.glob(".assetmgr/mutex/files-*.lock")} - locks
    (project.root / "files/minilm/w.bin").unlink()
    with holder(project.root / ".assetmgr" / "mutex" / mine) as other:
        done = project.run("pull", "--wait", "0", code=8)
    assert f"process {other.pid}" in done.err
    assert "minilm" in done.err
    project.run("pull")


def test_exit_130_interrupted_and_the_same_command_goes_on(hub: Hub, project: Project) -> None:
    project.run("lock")
    stage_away(project)
    fault = hub.faults.add(Fault(match="w.bin", stall_after=1000, stall_seconds=60, times=1))
    process = project.start("pull")
    assert hub.faults.wait_stalled(timeout=30)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=30)
    hub.faults.remove(fault)
    assert process.returncode == 130
    assert "interrupted" in words
    assert "Traceback" not in words
    project.run("pull")
    project.run("verify", "--full")


def test_ctrl_c_ends_a_command_that_imports_a_large_library(project: Project, tmp_path: Path) -> None:
    project.run("lock")
    project.run("pull")
    large = tmp_path / "large"
    begun = large / "begun"
    (large / "torch").mkdir(parents=True)
    (large / "torch" / "__init__.py").write_text(
        f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\nfor _ in range(6000): time.sleep(0.01)\n"
    )
    process = project.start("try", "minilm", "--text", "a", PYTHONPATH=f"{large}{os.pathsep}{REPOSITORY}")
    until = time.monotonic() + 30
    while not begun.exists() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=20)
    assert process.returncode == 130, words
    assert "interrupted" in words
    assert "Traceback" not in words


def test_exit_1_a_store_that_cannot_be_written_is_words_and_no_trace(project: Project) -> None:
    project.root.write_text("a file")
    done = project.run("lock", code=1)
    assert str(project.root) in done.err


# --- words for a person -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (4_200_000, "4.2 MB"),
        (1_500_000_000, "1.5 GB"),
        (10**15, "1000.0 TB"),
        (999_999, "1.0 MB"),
    ],
)
def test_bytes_for_a_person(count: int, shown: str) -> None:
    assert size(count) == shown
