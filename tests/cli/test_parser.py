"""The command line is found, explained and completed; what is wrong with it is told with exit code 2."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from assetmgr.cli.parser import make_parser
from tests.support import Project

COMMANDS = ["lock", "plan", "pull", "verify", "list", "show", "status", "path", "schema"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    project.write("version: 1\n")
    return project


def parse(*arguments: str) -> argparse.Namespace:
    return make_parser().parse_args(arguments)


def test_help_names_every_command_and_every_exit_code(project: Project) -> None:
    done = project.run("--help")
    for command in COMMANDS:
        assert command in done.out
    for code in ("2 manifest", "3 integrity", "4 not installed", "5 origin", "6 disk", "7 access", "8 busy", "130"):
        assert code in " ".join(done.out.split())
    assert done.err == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(command, "--help")
    shown = capsys.readouterr().out
    assert caught.value.code == 0
    assert "examples:" in shown
    assert f"assetmgr {command}" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ("--root", "/r", "--manifest", "a", "--manifest", "b", "--json", "-q", "-v", "status"),
        ("status", "--root", "/r", "--manifest", "a", "--manifest", "b", "--json", "-q", "-v"),
    ],
    ids=["before", "after"],
)
def test_options_of_all_commands_stand_before_or_after_the_command(arguments: tuple[str, ...]) -> None:
    options = parse(*arguments)
    assert (options.root, options.manifest, options.json, options.quiet, options.verbose) == (
        "/r",
        ["a", "b"],
        True,
        True,
        True,
    )


def test_manifests_given_before_and_after_the_command_all_count() -> None:
    assert parse("--manifest", "a", "status", "--manifest", "b").manifest == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "COMMAND"),
        (("pul",), "pul"),
        (("pull", "--lock"), "--lock"),
        (("pull", "--jobs", "0"), "1 to 256"),
        (("pull", "--jobs", "257"), "1 to 256"),
        (("pull", "--jobs", "many"), "1 to 256"),
        (("pull", "--limit-rate", "20MB"), "500K, 20M or 1.5G"),
        (("plan", "--limit-rate", "20M"), "--limit-rate"),
        (("pull", "--wait", "long"), "--wait"),
        (("pull", "--wait", "nan"), "--wait"),
        (("path",), "NAME"),
        (("path", "a", "b"), "b"),
        (("lock", "--upgrade"), "--upgrade"),
        (("--manifes", "x", "status"), "--manifes"),
    ],
)
def test_a_wrong_command_line_is_told_with_its_usage(
    arguments: tuple[str, ...], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(*arguments)
    shown = capsys.readouterr()
    assert caught.value.code == 2
    assert word in shown.err
    assert "usage: assetmgr" in shown.err
    assert shown.out == ""


def test_an_unknown_command_is_told_the_nearest_one(project: Project) -> None:
    assert "pull" in project.run("pul", code=2).err


def test_the_version_is_the_packages_own(project: Project) -> None:
    import assetmgr

    assert project.run("--version").out == f"assetmgr {assetmgr.__version__}\n"
