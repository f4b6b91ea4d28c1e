"""The command line is found, explained and completed; what is wrong with it is told with exit code 2."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from assetmgr.cli import main
from assetmgr.cli.parser import ELSEWHERE, GROUPS, make_parser
from tests.support import Project

COMMANDS = list(make_parser().commands)


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
    examples = shown.partition("examples:\n")[2].splitlines()
    said = [
        match[1] for line in examples for match in re.finditer(r"\bassetmgr ((?:[^|>#)\"']|\"[^\"]*\"|'[^']*')+)", line)
    ]
    assert said
    assert all(command in words for words in said)
    for words in said:
        parse(*shlex.split(words))


def test_the_name_alone_is_answered_by_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "every day:" in told.err


def test_every_command_is_in_a_group_of_the_help() -> None:
    grouped = [name for _, names in GROUPS for name in names]
    assert len(grouped) == len(set(grouped))
    assert set(COMMANDS) <= set(grouped)
    assert "more:" not in make_parser().format_help()


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("pul",), "pull"),
        (("statsu",), "status"),
        (("download",), "pull"),
        (("install",), "pull"),
        (("check",), "verify"),
        (("repair",), "verify --repair"),
        (("upgrade",), "lock --upgrade"),
        (("pull", "--lockd"), "--locked"),
        (("--rot", "x", "status"), "--root"),
        (("mirror", "pusch", "x"), "push"),
    ],
)
def test_a_wrong_word_is_answered_by_the_one_that_was_meant(
    arguments: tuple[str, ...], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(*arguments)
    said = capsys.readouterr().err
    assert f"did you mean {meant!r}" in said or (meant == "pull" and "did you mean 'sync'" in said)


def test_an_option_of_other_commands_is_answered_by_those(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (("status", "--full"), ("--full", "status")):
        with pytest.raises(SystemExit):
            parse(*arguments)
        assert "verify" in capsys.readouterr().err.splitlines()[-1]


def test_what_is_suggested_for_other_tools_words_is_a_command_line_of_ours() -> None:
    planned = {name for _, names in GROUPS for name in names}
    for said, ours in ELSEWHERE.items():
        assert said not in planned
        assert {words.split()[0] for words in ours} <= planned


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
        (("pull", "--jobs", "\u0663"), "1 to 256"),
        (("pull", "--wait", "\u0663"), "--wait"),
        (("pull", "--wait", "1_0"), "--wait"),
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
