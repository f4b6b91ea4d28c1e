"""`assetmgr help` explains everything offline, and says what the code says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import assetmgr
from assetmgr import errors
from assetmgr.cli import main, topics, variables
from assetmgr.cli.parser import make_parser
from assetmgr.manifest_schema import DATASET, MANIFEST, MODEL
from tests.support import REPOSITORY, Project
from tests.test_errors import leaves

PACKAGE = Path(assetmgr.__file__).parent
TABLE = {name for one in (*variables.OURS, *variables.OTHERS) for name in one.names}


def text(topic: str) -> str:
    return topics.TOPICS[topic].text(make_parser())


def test_every_topic_and_every_command_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for topic in [*topics.TOPICS, *make_parser().commands]:
        assert main(["help", topic]) == 0
        shown = capsys.readouterr()
        assert len(shown.out) > 200
        assert not shown.err
        assert all(len(line) <= 120 for line in shown.out.splitlines())
        assert main(["help"]) == 0
        assert topic in capsys.readouterr().out


def test_no_manifest_no_store_and_no_network_is_needed(tmp_path: Path) -> None:
    done = Project(tmp_path, env={"ASSETMGR_MANIFEST": "gone.yaml", "ASSETMGR_ROOT": "/proc/nothing"}).run(
        "help", "store"
    )
    assert "setgid" in done.out


@pytest.mark.parametrize(("said", "meant"), [("sotre", "store"), ("exit", "exit-codes"), ("stat", "status")])
def test_a_mistyped_topic_is_answered_by_the_nearest(said: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", said]) == 2
    told = capsys.readouterr().err
    assert f"did you mean {meant!r}" in told
    assert "mend: assetmgr help" in told


def test_the_manifest_topic_has_every_key_with_its_meaning() -> None:
    shown = " ".join(text("manifest").split())
    for record in (MANIFEST, MODEL, DATASET):
        for name, field in record.fields.items():
            assert f"{name}: {' '.join(field.doc.split())}" in shown


def test_the_exit_codes_are_those_of_the_errors() -> None:
    told = {name: code for code, found in topics.exit_codes().items() for name, _ in found}
    assert told == {kind.__name__: kind.exit_code for kind in leaves() if kind is not errors.SeveralErrors}
    assert all(words for found in topics.exit_codes().values() for _, words in found)
    readme = (REPOSITORY / "README.md").read_text()
    (table,) = re.findall(r"\| code \| meaning \|\n\|---\|---\|\n(.*?)\n\n", readme, re.DOTALL)
    in_readme = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert in_readme == {0, 130, 141, *topics.exit_codes()}


def constants(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_every_variable_that_the_code_reads_is_in_the_table() -> None:
    name = re.compile(r"(?!O_|ASSETMGR_TEST_)[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|TERM|NETRC|CLICOLOR|LOCALAPPDATA")
    read = set()
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        if not any(_name(node) in ("environ", "getenv", "variable") for node in ast.walk(tree)):
            continue
        if path.name in NOT_OURS:
            continue
        read |= set(filter(name.fullmatch, constants(tree)))
    set_for_others = {"HF_HUB_DISABLE_SHARED_BLOBS", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_TELEMETRY"}
    set_for_others |= {"PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON", "NO_ALBUMENTATIONS_UPDATE", "WANDB_MODE"}
    set_for_others |= {"HF_DATASETS_OFFLINE", "USE_TORCH", "USE_TF", "USE_JAX", "LC_ALL"}
    set_for_others |= {"ASSETMGR_IMAGES"}  # ... by which a child finds its job
    assert read - set_for_others - TABLE == set()
    proxies = {one for one in TABLE if one.endswith("_PROXY")}  # which requests reads
    assert TABLE - proxies - read == set(), "no variable is told that does nothing"


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


# What writes variables for other programs (`env`, `run`), and what a shell says to complete a line.
NOT_OURS = ("environment.py", "completing.py")


def test_the_readme_tells_of_the_variables() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    assert {name for one in variables.OURS for name in one.names if name not in readme} == set()
