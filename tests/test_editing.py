"""`init`, `add` and `remove` keep manifest and lock in step, and write nothing where something is wrong."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.manifest import parse_manifest
from assetmgr.memory import Fit, Room, judge, rooms, stored_dtype, weight_bytes
from tests.hub import Hub
from tests.support import Project, files_below, served, without_root_powers

pytestmark = pytest.mark.hub
COMMENTED = """\
# Ours.
version: 1

models:
  # The first.
  first: {hub: org/first}   # here
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    hub = Hub()
    hub.create("org/first").commit({"a.json": b"{}"})
    hub.create("org/model").commit({"a.json": b"{}", "model.safetensors": b"x" * 3000, "model.bin": b"y" * 3000})
    hub.create("org/data", "dataset").commit({"rows.json": b"[]", "b.md": b"#"})
    hub.create("org/gated", gated="manual").commit({"a.json": b"{}"})
    hub.tokens["hf_x"] = {"org/first"}
    with served(hub, tmp_path / "project") as project:
        yield project


def manifest_of(project: Project) -> str:
    return (project.folder / "assets.yaml").read_text()


def locked(project: Project) -> set[str]:
    return set(json.loads(project.lock_file.read_bytes())["assets"])


def own_files(project: Project) -> set[str]:
    return {name for name in files_below(project.folder) if not name.startswith(("store", "home"))}


def test_a_first_add_begins_a_manifest_and_what_it_says_next_works(project: Project) -> None:
    done = project.run("add", "hub:org/model", "--name", "m", "--exclude", "*.bin", "--group", "demo")
    assert "there was no manifest here: assets.yaml begun" in done.err
    assert "next: assetmgr pull m" in done.err
    for words in ("m: 2 files, 3.0 kB, org/model at ", "licence: not stated", "model.safetensors  3.0 kB", "it fits"):
        assert words in done.out
    assert manifest_of(project) == (
        'version: 1\nmodels:\n  m:\n    hub: org/model\n    ignore_patterns: ["*.bin"]\n    groups: [demo]\n'
    )
    project.run("lock", "--check")
    project.run("pull", "m")
    assert (project.path("m") / "model.safetensors").stat().st_size == 3000


def test_add_and_remove_leave_every_other_byte_and_keep_the_lock_in_step(project: Project) -> None:
    project.write(COMMENTED)
    project.run("lock")
    before = project.lock_file.read_bytes()
    project.run("add", "hub-dataset:org/data@main", "--include", "*.json", "--local-dir", "shown")
    assert manifest_of(project) == COMMENTED + (
        'datasets:\n  org/data:\n    hub: org/data\n    revision: main\n    allow_patterns: ["*.json"]\n'
        "    local_dir: shown\n"
    )
    assert locked(project) == {"first", "org/data"}
    project.run("lock", "--check")
    done = project.run("remove", "org/data", "--json").json
    assert done["removed"] == ["org/data"]
    assert done["locks"][0]["changes"] == ["- org/data"]
    assert manifest_of(project) == COMMENTED
    assert project.lock_file.read_bytes() == before
    project.run("remove", "first")
    assert locked(project) == set()
    project.run("lock", "--check")


def test_what_else_the_lock_lacks_is_said(project: Project) -> None:
    project.write(COMMENTED)
    assert "all else that the manifest asks for: assetmgr lock" in project.run("add", "hub:org/model").err
    project.run("lock")
    assert project.run("add", "hub-dataset:org/data", "--json").json["lock_stale"] is False


def test_what_is_not_there_or_not_for_this_user_writes_nothing(project: Project) -> None:
    project.write(COMMENTED)
    project.run("lock")
    before = own_files(project)
    texts = manifest_of(project), project.lock_file.read_bytes()
    token = {"HF_TOKEN": "hf_x"}
    cases: tuple[tuple[tuple[str, ...], int, str], ...] = (
        (("hub:org/missing",), 5, "no model org/missing"),
        (("hub:org/first@v9", "--name", "x"), 5, "no revision 'v9'"),
        (("hub:org/data",), 5, "assetmgr add hub-dataset:org/data"),
        (("hub:org/gated",), 7, "gated"),
        (("hub:org/model", "--include", "*.zzz"), 2, "zzz"),
        (("./missing.json",), 5, "missing.json"),
        (("./missing.json", "--no-lock"), 5, "missing.json"),
        (("hub:org/model", "--offline"), 5, "repeat the command without --offline"),
        (("hub:org/first", "--name", "first"), 2, "assets.yaml:6:3: the name 'first' is taken"),
        (("first",), 2, "declared there already"),
        (("tiny-blip",), 2, "did you mean 'tiny-blip2'?"),
        (("org/model",), 2, "assetmgr add hub:org/model"),
        (("tiny-blip2", "--name", "x"), 2, "assetmgr add tiny-blip2"),
        (("hub:org/data", "--kind", "dataset"), 2, "assetmgr add hub-dataset:org/data"),
        (("hub:org/model", "--name", "a b"), 2, "a name has letters"),
        (("hub:org/model", "--group", "a b"), 2, "it is a word of letters"),
        (("hub:nonsense/a/b",), 2, "write hub:nonsense/a"),
    )
    for arguments, code, words in cases:
        done = project.run("add", *arguments, code=code, env={} if code == 7 else token)
        assert words in done.err, done.err
        assert (manifest_of(project), project.lock_file.read_bytes()) == texts
        assert own_files(project) == before


def test_a_url_is_added_with_its_digest_and_a_wrong_one_is_refused(project: Project) -> None:
    data = b'["yes", "no"]'
    (project.folder / "v.json").write_bytes(data)
    wrong = project.run("add", "./v.json", "--sha256", "0" * 64, code=3)
    assert "sha256" in wrong.err
    assert not (project.folder / "assets.yaml").exists()
    assert not project.lock_file.exists()
    good = hashlib.sha256(data).hexdigest()
    (project.folder / "sub").mkdir()
    assert project.run("add", "./v.json", "--sha256", good, "--name", "answers", "--no-lock").code == 0
    assert not project.lock_file.exists()
    assert 'files:\n      - url: ./v.json\n        sha256: "' + good in manifest_of(project)
    assert "declared at" in project.run("lock", "--check", code=4).err


def test_a_declared_name_is_required_and_stays_while_something_needs_it(project: Project) -> None:
    project.write(COMMENTED)
    other = "version: 1\nmodels:\n  zoo/top: {hub: org/model, requires: zoo/base}\n  zoo/base: {hub: org/first}\n"
    (project.folder / "zoo.yaml").write_text(other)
    both = ("--manifest", "zoo.yaml", "--manifest", "assets.yaml")
    done = project.run(*both, "add", "zoo/top", "--json").json
    assert (done["required"], [asset["name"] for asset in done["assets"]]) == (True, ["zoo/base", "zoo/top"])
    assert manifest_of(project) == COMMENTED + "requires:\n  - zoo/top\n"
    refused = project.run(*both, "remove", "zoo/base", code=2)
    assert "zoo.yaml:3:3: zoo/top requires zoo/base" in refused.err
    assert "remove zoo/top zoo/base" in refused.err
    assert (project.folder / "zoo.yaml").read_text() == other
    done = project.run(*both, "remove", "zoo/top")  # from the last manifest that has it
    assert "zoo/top stays wanted as it is declared elsewhere" in done.err
    assert manifest_of(project) == COMMENTED
    assert (project.folder / "zoo.yaml").read_text() == other
    assert "did you mean 'first'?" in project.run("remove", "fist", code=2).err


def test_a_manifest_that_cannot_be_written_leaves_the_lock_as_it_was(project: Project) -> None:
    project.write(COMMENTED)
    project.run("lock")
    before = project.lock_file.read_bytes()
    os.chmod(project.folder / "assets.yaml", 0o444)
    project.prefix = without_root_powers()
    assert "read-only" in project.run("add", "hub:org/model", code=2).err
    assert "read-only" in project.run("remove", "first", code=2).err
    assert project.lock_file.read_bytes() == before
    assert manifest_of(project) == COMMENTED


def test_init_writes_a_manifest_that_loads_and_never_over_another(project: Project) -> None:
    done = project.run("init", "new/folder")
    path = project.folder / "new" / "folder" / "assets.yaml"
    assert "next: assetmgr add hub:ORG/NAME" in done.err
    assert parse_manifest(path.read_text(), path).assets == ()
    assert "is not overwritten" in project.run("init", "new/folder", code=2).err
    nested = project.run("init", "new/folder/deeper", "--json").json
    assert nested["hides"] == str(path)
    # What its comments show is right too.
    shown = "\n".join(line.removeprefix("# ") for line in path.read_text().splitlines()[3:] if line[:4] != "# Wh")
    assert len(parse_manifest(f"version: 1\n{shown.replace('0123...', 'a' * 64)}", path).assets) == 2


def entry(**sizes: int) -> LockedAsset:
    files = tuple(LockedFile(name.replace("__", "/"), size) for name, size in sizes.items())
    return LockedAsset("model", "hub", "", files)


@pytest.mark.parametrize(
    ("files", "weights"),
    [
        ({"model.safetensors": 10, "pytorch_model.bin": 20, "onnx/model.safetensors": 5}, 10),
        ({"model-1.safetensors": 10, "model-2.safetensors": 11}, 21),
        ({"unet/x.safetensors": 10, "vae/y.safetensors": 1}, 11),
        ({"pytorch_model.bin": 20, "training_args.bin": 1, "a.json": 7}, 20),
        ({"q4.gguf": 4, "q8.gguf": 8}, 8),
        ({"a.json": 7, "m.pth": -1}, 0),
        ({}, 0),
    ],
)
def test_the_weights_are_those_that_a_loader_takes(files: dict[str, int], weights: int) -> None:
    assert weight_bytes(entry(**files)) == weights


@pytest.mark.parametrize(
    ("config", "dtype"),
    [
        ('{"torch_dtype": "float16"}', "float16"),
        ('{"dtype": "torch.bfloat16"}', "float16"),
        ('{"torch_dtype": "float32"}', "float32"),
        ("{}", "float32"),
        ("[1]", "float32"),
        ("{", "float32"),
        ('{"dtype": ["int8"]}', "float32"),
        (None, "float32"),
    ],
)
def test_the_dtype_of_stored_weights_is_what_the_config_says(config: str | None, dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    if config is not None:
        path.write_text(config)
    assert stored_dtype(str(path)) == dtype


def test_a_gpu_is_asked_in_bounded_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    alone = rooms()
    assert [room.where for room in alone] == ["memory"]
    smi = tmp_path / "nvidia-smi"
    for script, found in (("echo '0, 81000'; echo '1, [N/A]'", [Room("GPU 0", 81000 << 20)]), ("exit 9", [])):
        smi.write_text(f"#!/bin/sh\n{script}\n")
        smi.chmod(0o755)
        assert rooms()[1:] == found


def test_what_does_not_fit_is_told_with_the_widest_dtype_that_would() -> None:
    free = [Room("memory", 100), Room("GPU 0", 50), Room("GPU 1", 30), Room("GPU 2", 10)]
    assert judge(100, free, "float16") == [
        Fit("memory", 100, True),
        Fit("GPU 0", 50, False, "int8"),
        Fit("GPU 1", 30, False, "nf4"),
        Fit("GPU 2", 10, False, None),
    ]
