"""`list`, `show` and `status` as a user types them: what they say, to a person and to a program."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from assetmgr.cli.shapes import SHAPES, shape
from tests.hub import Hub
from tests.support import Project, served

jsonschema = pytest.importorskip("jsonschema")

MANIFEST = """\
version: 1
mirrors: [./mirror]
models:
  minilm:
    hub: org/minilm
    groups: [text, demo]
    description: A small one
  weights:
    files: [{url: '{endpoint}/f/w.bin'}]
    license: cc-by-4.0
datasets:
  captions:
    hub: org/captions
    requires: minilm
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    hub = Hub()
    hub.create("org/minilm").commit({"README.md": b"---\nlicense: mit\n---\n", "a.json": b"{}", "w.bin": b"w" * 5000})
    hub.create("org/captions", "dataset").commit({"c.json": b"[]"})
    hub.publish("/f/w.bin", b"weights")
    with served(hub, tmp_path / "project") as project:
        project.write(MANIFEST)
        yield project


def rows(project: Project, *arguments: str) -> dict[str, tuple[str, ...]]:
    """The lines of a table by their first cell."""
    lines = project.run(*arguments).out.splitlines()[1:]
    return {line.split()[0]: tuple(line.split()) for line in lines}


def document(project: Project, *arguments: str) -> object:
    """What a command prints with ``--json``, which has the shape that it says."""
    found: object = project.run("--json", *arguments).json
    jsonschema.validate(found, shape(arguments[0]))
    return found


def test_list_has_the_catalog_and_what_is_installed_and_patterns_choose(project: Project) -> None:
    before = rows(project, "list")
    assert {"minilm", "weights", "captions"} <= before.keys()
    assert "tiny-blip2" in before, "what ships is in the catalog too"
    assert before["minilm"][2:4] == ("not", "locked")
    project.run("lock")
    project.run("pull", "minilm")
    done = project.run("list", "MINI*")
    assert done.out.splitlines()[1].split(maxsplit=6) == [
        "minilm",
        "model",
        "installed",
        "5.0",
        "kB",
        "text,demo",
        "hub:org/minilm  A small one",
    ]
    assert done.err == "assetmgr: 1 asset: 1 installed; 5.0 kB in the store\n"
    (weights,) = (project.root / "hub" / "models--org--minilm" / "snapshots").glob("*/w.bin")
    link = weights.readlink()
    weights.unlink()
    assert project.run("status", "minilm").err == "assetmgr: 1 asset: 1 incomplete; 0 B in the store\n"
    weights.symlink_to(link)
    assert rows(project, "list", "aptions").keys() == {"captions"}
    assert rows(project, "list", "--kind", "dataset", "--group", "text").keys() == set()
    assert rows(project, "list", "--group", "text").keys() == {"minilm"}
    assert rows(project, "list", "--installed").keys() == {"minilm"}
    assert "did you mean 'minilm'?" in project.run("list", "minilmm").err
    assert "did you mean 'text'?" in project.run("list", "--group", "txt", code=2).err
    (project.folder / "assets.yaml").unlink()
    project.lock_file.unlink()
    assert rows(project, "list", "*inil*").keys() == {"minilm"}, "found by its receipt"


def test_show_says_all_that_is_known_and_what_to_type_next(project: Project) -> None:
    done = project.run("show", "minilm")
    assert "not locked" in done.out
    assert "next: assetmgr lock minilm && assetmgr pull minilm" in done.err
    project.run("lock")
    done = project.run("show", "captions")
    assert "next: assetmgr pull captions" in done.err
    project.run("pull")
    done = project.run("show", "minilm")
    facts = done.out
    for words in (
        "model     minilm",
        "about     A small one",
        "state     installed",
        "origin    hub:org/minilm",
        "licence   mit",
        "size      5.0 kB in 3 files",
        f"declared at {project.folder / 'assets.yaml'}:4:3",
        "required by captions",
        f"pulled by {project.folder / 'assets.yaml'}",
        f"mirrors   {project.folder / 'mirror'}",
        "w.bin      5.0 kB",
    ):
        assert words in facts, (words, facts)
    assert "next" not in done.err
    assert "licence  cc-by-4.0" in project.run("show", "weights").out
    error = project.run("show", "minlm", code=2).err
    assert "did you mean 'minilm'?" in error


def test_each_document_has_the_shape_that_it_says(project: Project) -> None:
    document(project, "list")
    document(project, "show", "minilm")
    project.run("lock")
    project.run("pull")
    for arguments in (["list", "--installed"], ["show", "minilm", "--files"], ["status"], ["status", "--check"]):
        assert document(project, *arguments)
    for command in SHAPES:
        jsonschema.Draft202012Validator.check_schema(shape(command))
    assert project.run("schema", "status").json == json.loads(json.dumps(shape("status")))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate([{"name": "m"}], shape("status"))


def test_nothing_that_a_terminal_obeys_reaches_it(project: Project) -> None:
    project.run("lock")
    text = project.lock_file.read_text()
    hostile = r'"m\u001b[2J\u202egpj\n x"'
    project.lock_file.write_text(text.replace('"mit"', hostile))
    for arguments in (["show", "minilm"], ["list"], ["status"], ["--json", "show", "minilm"]):
        done = project.run(*arguments)
        assert not {"\x1b", "\u202e"} & set(done.out + done.err), arguments
    assert "licence   m\\x1b[2J\\u202egpj\\n x\n" in project.run("show", "minilm").out
    assert project.run("--json", "show", "minilm").json["license"] == "m\x1b[2J\u202egpj\n x"


def test_the_other_commands_print_their_shapes_too(project: Project, tmp_path: Path) -> None:
    jsonschema.validate(project.run("--json", "plan", code=4).json, shape("error"))
    mirror = str(tmp_path / "mirror")
    for arguments in (
        ["lock"],
        ["plan"],
        ["pull", "--mirror", mirror],
        ["verify"],
        ["verify", "--full", "--budget", "10m"],
        ["mirror", "push", mirror],
        ["path", "minilm"],
        ["sync", "--dry-run"],
        ["sync"],
        ["sync", "--frozen"],
        ["pull", "hub:org/captions", "--offline"],
    ):
        if arguments[-1] == "--offline":
            jsonschema.validate(project.run("--json", *arguments, code=None).json, shape("error"))
            continue
        document(project, *arguments)
    document(project, "pull", "hub-dataset:org/captions")
    (project.folder / "assets.yaml").write_text("version: 1\nmodls: {}\n")
    jsonschema.validate(project.run("--json", "status", code=2).json, shape("error"))
