"""Whatever a command is started with, and wherever it is stopped: words and an exit code, never a trace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from assetmgr.cli.output import shown
from tests.hub import Hub
from tests.support import Done, Project, served, without_root_powers

pytestmark = pytest.mark.skipif(os.name == "nt", reason="descriptors as a shell of Unix hands them out")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    hub = Hub()
    hub.publish("/f/w.bin", b"bytes")
    with served(hub, tmp_path_factory.mktemp("streams")) as project:
        project.write("version: 1\nmodels:\n  m:\n    files: [{url: '{endpoint}/f/w.bin'}]\n")
        project.run("lock")
        project.run("pull")
        yield project


def shell(project: Project, line: str, **env: str) -> Done:
    """A line of bash, in which ``assetmgr`` is the command."""
    script = f'assetmgr() {{ "{sys.executable}" -m assetmgr "$@"; }}; {line}'
    done = subprocess.run(
        ["bash", "-c", script], cwd=project.folder, env=project.environment(**env), capture_output=True, timeout=60
    )
    words = done.stderr.decode(errors="surrogateescape")
    assert "Traceback" not in words
    assert "Exception ignored" not in words
    return Done(done.returncode, done.stdout.decode(errors="surrogateescape"), words)


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("assetmgr status >&-", 1, "standard output: Bad file descriptor"),
        ("assetmgr pull >&-", 0, "1 file already there"),
        ("assetmgr pull 2>&-", 0, ""),
        ("assetmgr path nothing 2>&-", 2, ""),
        ("assetmgr verify --full <&- >&- 2>&-", 0, ""),
        ("assetmgr status >/dev/full", 6, "standard output: No space left"),
        ("assetmgr --help >/dev/full", 6, "standard output: No space left"),
        ("assetmgr --json status >/dev/full", 6, "standard output: No space left"),
        ("assetmgr verify 2>/dev/full", 0, ""),
        ("assetmgr path nothing 2>/dev/full", 2, ""),
        ("set -o pipefail; assetmgr schema | head -c 1 >/dev/null", 141, ""),
        ("set -o pipefail; assetmgr --json path nothing 2>&1 | true", 141, ""),
    ],
)
@pytest.mark.parametrize("buffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_stream_that_cannot_be_written_loses_data_with_a_word_and_words_without(
    project: Project, line: str, code: int, said: str, buffered: str
) -> None:
    done = shell(project, line, PYTHONUNBUFFERED=buffered)
    assert done.code in (code, 0 if code == 141 else code), done
    assert said in done.err


def test_a_path_is_printed_as_the_bytes_that_it_is_on_disk(project: Project) -> None:
    root = os.fsencode(project.folder / "caf\u00e9 \udcff")
    line = f"export ASSETMGR_ROOT=$'{project.folder}/caf\\xc3\\xa9 \\xff'; assetmgr pull -q && assetmgr path m"
    for environment in ({}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        assert os.fsencode(shell(project, line, **environment).out) == root + b"/files/m\n"
    done = shell(project, f"{line} --json")
    assert os.fsencode(json.loads(done.out)["path"]) == root + b"/files/m"


def test_what_an_encoding_lacks_is_written_by_its_number(project: Project) -> None:
    done = shell(project, "assetmgr --root caf\u00e9 status; assetmgr path \u4e2d", PYTHONIOENCODING="ascii")
    assert "\\u4e2d" in done.err


@pytest.mark.parametrize(
    "module", ["assetmgr.cli.running", "assetmgr.cli.parser", "assetmgr.workspace", "assetmgr.lock"]
)
def test_ctrl_c_while_it_starts_is_a_word_and_no_trace(project: Project, module: str) -> None:
    code = f"""
    import os, signal, sys
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == {module!r}:
                os.kill(os.getpid(), signal.SIGINT)
    sys.meta_path.insert(0, Finder())
    from assetmgr.cli import main
    os.mkfifo("pipe-{module}")
    nobody_writes = os.open("pipe-{module}", os.O_RDWR)
    sys.argv[1:] = ["--manifest", "pipe-{module}", "status"]  # it would wait for ever
    sys.exit(main())
    """
    done = project.python(textwrap.dedent(code), expect=130)
    assert done.err == "assetmgr: interrupted; what has arrived is kept, and the same command goes on from there\n"


@pytest.mark.parametrize(
    ("root", "code", "said"),
    [
        ("$NOPE/store", 2, "the environment variable 'NOPE' is not set"),
        ("~nobody-of-that-name/store", 2, "no such user's home folder"),
        ("assets.yaml", 1, "Not a directory"),
        ("x" * 300, 1, "File name too long"),
        ("/proc/store", None, "/proc"),
    ],
)
def test_a_root_that_cannot_be_is_told_with_what_to_do(
    project: Project, root: str, code: int | None, said: str
) -> None:
    before = set(os.listdir(project.folder))
    done = project.run("pull", env={"ASSETMGR_ROOT": root}, code=code)
    assert done.code != 0
    assert said in done.err
    assert "mend: " in done.err
    assert set(os.listdir(project.folder)) == before, "nothing is made in its place"


def test_a_root_that_may_not_be_written_is_told(project: Project, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(project.root, root, symlinks=True)
    for folder, _, _ in os.walk(root):
        os.chmod(folder, 0o555)
    try:
        mine = Project(project.folder, project.endpoint, prefix=without_root_powers())
        assert mine.run("--root", str(root), "status").code == 0
        assert "Permission denied" in mine.run("--root", str(root / "sub"), "pull", code=7).err
    finally:
        for folder, _, _ in os.walk(root):
            os.chmod(folder, 0o755)


def test_a_manifest_that_is_none_is_told(project: Project, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    for name, said in (("", "directory"), ("pipe", "empty"), ("binary", "UTF-8"), ("gone", "no such file")):
        done = project.run("--manifest", str(tmp_path / name), "status", code=2)
        assert said in done.err
    assert "larger than" in project.run("--manifest", "/dev/zero", "status", code=2).err
    assert shell(project, "assetmgr --manifest <(cat assets.yaml) status").code == 0


def test_a_lock_that_has_no_end_is_told_and_not_read_to_it(project: Project) -> None:
    done = project.run("diff", "assets.lock.json", "/dev/zero", code=2)
    assert "/dev/zero: not a lock: it is larger than" in done.err


def test_a_working_folder_and_a_home_that_are_gone_are_survived(project: Project, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    done = shell(project, f"cd '{tmp_path}/gone' && rmdir '{tmp_path}/gone' && assetmgr status")
    assert (done.code, done.out) == (1, "")
    assert "the working folder is gone" in done.err
    assert shell(project, "unset HOME ASSETMGR_ROOT; assetmgr status").code == 0


def test_a_fault_of_our_own_is_one_line_and_v_shows_where(project: Project) -> None:
    code = "import sys, assetmgr.cli as c, assetmgr.workspace as w; w.Workspace.status = None; sys.exit(c.main({}))"
    done = project.python(code.format('["status"]'), expect=1)
    assert done.err.splitlines()[0].startswith("error: this is a bug in assetmgr: TypeError: ")
    assert "Traceback" not in done.err
    assert "Traceback" in project.python(code.format('["status", "-v"]'), expect=1).err


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\u202eb", "a\\u202eb"),
        ("a\rb\x07\x9b", "a\\rb\\x07\\x9b"),
        ("\udcff", "\\xff"),
        ("\u00e9\u4e2d\U0001f600 ~", "\u00e9\u4e2d\U0001f600 ~"),
        ("a\nb", "a\\nb"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_by_its_number(text: str, seen: str) -> None:
    assert shown(text) == seen
