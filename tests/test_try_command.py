"""`try` loads a model and tries it: the answer on stdout, words on stderr, no traceback for what a user can cause."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assetmgr.cli import main
from assetmgr.cli.shapes import shape
from tests.hub import Hub
from tests.models.conftest import EXPECTED
from tests.support import REPOSITORY, Project, served

jsonschema = pytest.importorskip("jsonschema")
pytestmark = pytest.mark.torch
DATA = REPOSITORY / "tests" / "data"
CAPTION = EXPECTED["captions"][0]
QUESTION = EXPECTED["vqa"][0]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    hub = Hub()
    hub.create("o/vqa").commit_folder(DATA / "tiny_blip2_vqa")
    with served(hub, tmp_path_factory.mktemp("try") / "project") as project:
        project.write("version: 1\nmodels:\n  m: {hub: {repo: o/vqa, endpoint: '{endpoint}'}}\n")
        project.run("lock")
        project.run("pull")
    return project


def test_a_caption_and_an_answer_are_the_measured_ones(project: Project) -> None:
    picture = str(DATA / "coco-sample" / CAPTION["image"])
    done = project.run("try", "m", "--image", picture, "--device", "cpu")
    assert done.out == f"{CAPTION['model']}\n"
    loaded, spent = done.err.splitlines()
    assert loaded.startswith("assetmgr: m: Blip2ForConditionalGeneration, float16 on cpu, ")
    assert "; loaded by transformers in " in loaded
    assert spent.startswith("assetmgr: caption in ")


def test_json_is_one_document(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    picture = str(DATA / "easy-vqa" / QUESTION["image"])
    asked = ["--image", picture, "--question", QUESTION["question"], "--device", "cpu"]
    where = ["--root", str(project.root), "--manifest", str(project.folder / "assets.yaml")]
    assert main([*where, "--json", "try", "m", *asked]) == 0
    found = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, shape("try"))
    assert found["outcome"]["task"] == "answer"
    assert found["outcome"]["text"] == QUESTION["model"]
    assert found["footprint_bytes"] > 1_000_000


def test_earlier_questions_go_before_the_question(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    picture = str(DATA / "easy-vqa" / QUESTION["image"])
    where = ["--root", str(project.root), "--manifest", str(project.folder / "assets.yaml")]
    turns = ["--context", "is it red?", "no", "--context", "is it a circle?", "yes"]
    assert main([*where, "try", "m", "--image", picture, "--question", "why?", *turns, "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    prompt = "Question: is it red? Answer: no. Question: is it a circle? Answer: yes. Question: why? Answer:"
    assert main([*where, "try", "m", "--image", picture, "--prompt", prompt, "--device", "cpu"]) == 0
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        (["m"], 2, "nothing to try it on"),
        (["m", "--image", "none.png"], 2, "none.png: there is no such picture"),
        (["m", "--task", "match", "--text", "a cat"], 2, "match: there is no --image"),
        (["n", "--text", "a cat"], 2, "no asset 'n'"),
        (["m", "--text", "a cat", "--context", "why?", "so"], 2, "there is none"),
        (["m", "--text", "a cat", "--device", "cpu"], 2, "it has features of images only"),
        (["m", "--text", "a cat", "--device", "gpu"], 2, "device 'gpu' cannot be used"),
        (["m", "--task", "embed", "--text", "a cat", "--device", "cpu"], 2, "it cannot embed"),
        (["m", "--image", __file__, "--device", "cpu"], 2, "cannot be read as an image"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_tried_is_told(
    project: Project, line: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--root", str(project.root), "--manifest", str(project.folder / "assets.yaml")]
    assert main([*where, "try", *line]) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err


def test_a_model_that_is_not_pulled_is_told_with_its_mend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "Salesforce/blip-vqa-base"
    assert main(["--root", str(tmp_path), "try", name, "--text", "a cat"]) == 4
    mend = f"assetmgr --root {tmp_path} lock {name} && assetmgr --root {tmp_path} pull {name}"
    assert mend in capsys.readouterr().err
