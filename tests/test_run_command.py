"""`assetmgr run`: the command is itself, begins only on what is proved, and its Pythons run the hook."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import Hub
from tests.support import REPOSITORY, Project, flip_byte, served


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    hub = Hub()
    hub.create("org/name").commit({"config.json": b"{}", "model.safetensors": b"weights"})
    hub.create("org/base").commit({"vocab.txt": b"[PAD]"})
    with served(hub, tmp_path / "project") as project:
        project.write("version: 1\nmodels:\n  m:\n    hub: org/name\n    requires: base\n  base:\n    hub: org/base\n")
        yield project


def python(project: Project, code: str, *arguments: str, run: tuple[str, ...] = (), **extra: str) -> str:
    """What a Python under `assetmgr run` prints."""
    return project.run("run", *run, "--", sys.executable, "-c", code, *arguments, env=extra).out


def test_the_command_is_itself(project: Project) -> None:
    code = "import sys; print(sys.argv[1:], sys.stdin.read()); sys.exit(37)"
    process = subprocess.run(
        [sys.executable, "-m", "assetmgr", "run", "--", sys.executable, "-c", code, "--json", "--", "-q"],
        cwd=project.folder,
        env=project.environment(),
        input="typed",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stdout, process.stderr) == (37, "['--json', '--', '-q'] typed\n", "")
    assert project.run("run", sys.executable, "-c", "print(1)").out == "1\n"


@pytest.mark.skipif(os.name == "nt", reason="signals are of POSIX")
def test_the_commands_process_and_signals_are_its_own(project: Project) -> None:
    process = project.start("run", "--", "sh", "-c", "echo $$; exec sleep 60")
    assert process.stdout is not None
    assert int(process.stdout.readline()) == process.pid
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == -signal.SIGINT
    process.stdout.close()
    # Ignored signals would be inherited: `yes | head` must end.
    done = project.run("run", "--", "sh", "-c", "(yes; echo $? >&2) | head -1; sleep 0")
    assert done.out == "y\n"
    assert done.err.strip() == str(128 + signal.SIGPIPE)


def test_what_cannot_be_run_is_said(project: Project) -> None:
    assert "nowhere: cannot be run: No such file" in project.run("run", "--", "nowhere", code=2).err
    assert "no command is given" in project.run("run", code=2).err
    assert "no command is given" in project.run("run", "--", code=2).err
    assert "no command is given" in project.run("run", "--", "", "x", code=2).err
    (project.folder / "plain").write_text("x")
    assert "Permission denied" in project.run("run", "--", "./plain", code=2).err


def test_it_begins_only_when_what_it_needs_is_proved(project: Project) -> None:
    ok = ("run", "--needs", "m", "--", sys.executable, "-c", "print('begun')")

    def refused(code: int, *words: str) -> None:
        done = project.run(*ok, code=code)
        assert done.out == ""
        for word in words:
            assert word in done.err

    refused(4, "m: not installed", "assetmgr lock m && assetmgr pull m")
    project.run("lock")
    refused(4, "m: not installed", "assetmgr pull m")
    project.run("pull", "base")
    refused(4, "m: not installed", "assetmgr pull m")
    project.run("pull", "m")
    assert project.run(*ok).out == "begun\n"
    # What it requires counts, and so does the ref by which it is found offline.
    flip_byte(project.path("base") / "vocab.txt")
    refused(3, "base: vocab.txt: altered", "assetmgr verify base --repair")
    project.run("verify", "base", "--repair")
    (project.root / "hub" / "models--org--name" / "refs" / "main").unlink()
    refused(3, "m: ", "refs/main", "assetmgr verify m --repair")
    project.run("verify", "m", "--repair")
    assert project.run(*ok).out == "begun\n"
    for receipt in (project.root / ".assetmgr" / "receipts").rglob("*"):
        if receipt.is_file() and b"org/base" in receipt.read_bytes():
            receipt.unlink()
    refused(4, "m: requires base, which is not installed", "assetmgr pull m")
    document = project.run("--json", "run", "--needs", "nothing-such", "--", "true", code=2).json
    assert document["errors"][0]["type"] == "UnknownAssetError"


MODULES = "import json, sys; print(json.dumps(['assetmgr_hook' in sys.modules, 'assetmgr' in sys.modules]))"


def test_every_python_below_it_runs_the_hook(project: Project) -> None:
    assert json.loads(python(project, MODULES)) == [True, False]
    (project.folder / "asked.py").write_text(MODULES)
    assert json.loads(project.run("run", "--", sys.executable, "-m", "asked").out) == [True, False]
    spawned = (
        "import multiprocessing as m, sys\n"
        "def ask(_): return 'assetmgr_hook' in sys.modules\n"
        "if __name__ == '__main__': print(m.get_context('spawn').Pool(1).map(ask, [1]))\n"
    )
    (project.folder / "spawned.py").write_text(spawned)
    assert project.run("run", "--", sys.executable, "spawned.py").out == "[True]\n"
    twice = project.run("run", "--", sys.executable, "-m", "assetmgr", "run", "--", sys.executable, "-c", MODULES)
    assert json.loads(twice.out) == [True, False]


def test_what_the_hook_hides_is_run_too(project: Project) -> None:
    for name in ("sitecustomize", "usercustomize"):
        (project.folder / "own" / name).mkdir(parents=True)
        (project.folder / "own" / name / "__init__.py").write_text("print(__name__, __file__.count('own'))")
    path = os.pathsep.join([str(project.folder / "own"), project.environment()["PYTHONPATH"]])
    out = python(project, "import sitecustomize; print(sitecustomize.__name__)", PYTHONPATH=path)
    assert out.splitlines()[0] == "sitecustomize 1"
    assert out.splitlines()[-1] == "sitecustomize"
    (project.folder / "own" / "sitecustomize" / "__init__.py").write_text("raise RuntimeError('theirs')")
    done = project.run("run", "--", sys.executable, "-c", "print(1)", env={"PYTHONPATH": path})
    assert done.out.endswith("1\n")
    assert "RuntimeError: theirs" in done.err


def test_a_hook_that_fails_tells_and_the_program_goes_on(project: Project) -> None:
    (project.folder / "lavis").mkdir()
    (project.folder / "lavis" / "__init__.py").write_text("there = 1")
    done = project.run("run", "--", sys.executable, "-c", "import lavis; print(lavis.there)")
    assert done.out == "1\n"
    assert done.err.startswith("assetmgr run: lavis is left as it is: AttributeError(")
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("version", ["3.8", "3.9", "2.7"])
def test_other_pythons_run_it_too(project: Project, version: str) -> None:
    versions = Path("~/.pyenv/versions").expanduser()
    interpreter = next(versions.glob(f"{version}.*/bin/python"), None)
    if interpreter is None:
        pytest.skip(f"there is no Python {version} here")
    (project.folder / "lavis").mkdir()
    (project.folder / "lavis" / "__init__.py").write_text(
        "class registry: mapping = {'paths': {'cache_root': 'before'}}\n"
    )
    code = "import lavis; print(lavis.registry.mapping['paths']['cache_root'])"
    done = project.run("run", "--", str(interpreter), "-c", code)
    assert (done.out, done.err) == ("before\n" if version == "2.7" else f"{project.root}/lavis\n", "")


CLIP = """
import os, urllib, urllib.request

def _download(url: str, root: str):
    target = os.path.join(root, os.path.basename(url))
    if os.path.isfile(target):
        return target
    with urllib.request.urlopen(url) as source:
        raise AssertionError(source)

def load(name, device="cpu", jit=False, download_root=None):
    return _download(name, download_root or os.path.expanduser("~/.cache/clip"))
"""


def test_clip_looks_in_the_store_and_fetches_nothing(project: Project) -> None:
    (project.folder / "clip").mkdir()
    (project.folder / "clip" / "__init__.py").write_text("from .clip import *")
    (project.folder / "clip" / "clip.py").write_text(CLIP)
    (project.root / "clip").mkdir(parents=True)
    (project.root / "clip" / "RN50.pt").write_bytes(b"")
    assert (
        python(project, "import clip; print(clip.load('http://far/RN50.pt'))").strip() == f"{project.root}/clip/RN50.pt"
    )
    code = "import clip\ntry: clip.load('http://far/other.pt')\nexcept OSError as e: print(e)"
    assert "http://far/other.pt is not in the store" in python(project, code)
    # Another package of that name is left alone, without a word.
    (project.folder / "clip" / "clip.py").write_text("board = 1")
    assert project.run("run", "--", sys.executable, "-c", "import clip.clip; print(clip.clip.board)").err == ""


def test_spacy_finds_the_model_of_the_store_after_an_installed_one(project: Project) -> None:
    (project.folder / "spacy.py").write_text("import en_core_web_sm as model, importlib.metadata as m\n")
    packed = project.root / "files" / "en_core_web_sm"
    for folder, version in ((packed, "3.8.0"), (project.folder / "installed", "3.7.0")):
        (folder / f"en_core_web_sm-{version}.dist-info").mkdir(parents=True)
        (folder / f"en_core_web_sm-{version}.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: en_core_web_sm\nVersion: {version}\n"
        )
        (folder / "en_core_web_sm.py").write_text("")
    code = "import sys, spacy; print(spacy.m.version('en_core_web_sm'), spacy.model.__file__)"
    assert python(project, code).split() == ["3.8.0", str(packed / "en_core_web_sm.py")]
    path = os.pathsep.join([str(project.folder / "installed"), str(REPOSITORY)])
    assert python(project, code, PYTHONPATH=path).startswith("3.7.0")


def test_a_module_that_is_only_looked_for_is_not_touched(project: Project) -> None:
    code = "import importlib.util as u; s = u.find_spec('{0}'); print(s.loader.get_source('{0}') is not None)"
    (project.folder / "torchvision").mkdir()
    (project.folder / "torchvision" / "__init__.py").write_text("")
    (project.folder / "torchvision" / "extension.py").write_text("# as it is")
    assert python(project, code.format("torchvision.extension")) == "True\n"


EIGHT_BITS = """
import sys, warnings
warnings.simplefilter("always")
from transformers import AutoModelForImageTextToText, BitsAndBytesConfig
for flags in ({"load_in_8bit": True}, {"load_in_8bit": True}, {"load_in_8bit": False}):
    model = AutoModelForImageTextToText.from_pretrained("org/tiny", device_map="cpu", **flags)
    print(getattr(model, "is_loaded_in_8bit", False))
try:
    AutoModelForImageTextToText.from_pretrained("org/tiny", load_in_8bit=True, quantization_config=BitsAndBytesConfig())
except ValueError as error:
    print(error)
"""


@pytest.mark.torch
def test_a_flag_that_transformers_dropped_is_translated_with_one_warning(tmp_path: Path) -> None:
    for name in ("transformers", "bitsandbytes"):
        pytest.importorskip(name)
    hub = Hub()
    hub.create("org/tiny").commit_folder(REPOSITORY / "tests" / "data" / "tiny_blip2_vqa")
    with served(hub, tmp_path / "project") as project:
        project.write("version: 1\nmodels:\n  tiny:\n    hub: org/tiny\n")
        project.run("lock")
        project.run("pull")
        done = project.run("run", "--needs", "tiny", "--", sys.executable, "-c", EIGHT_BITS)
    assert done.out.splitlines() == [
        "True",
        "True",
        "False",
        "load_in_8bit cannot be given together with quantization_config",
    ]
    told = "assetmgr run takes it as quantization_config=BitsAndBytesConfig(load_in_8bit=True)"
    assert done.err.count(told) == 1
