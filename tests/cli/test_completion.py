"""Tab in the real shells: commands, options, their values, and the names of assets, whatever is in them."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator

import pytest

pytest.importorskip("pexpect", reason="needs pexpect")
pytest.importorskip("argcomplete", reason="needs argcomplete")
import pexpect

from tests.support import Project

MANIFEST = """\
version: 1
models:
  minilm: {hub: a/b, groups: [demo]}
  blip/base-coco: {hub: a/c, groups: [demo, nightly]}
  blip/base-flickr: {hub: a/d}
datasets:
  coco_caption: {hub: a/e}
"""
START = {
    "bash": ("--norc", "--noprofile", "-i"),
    "zsh": ("-f", "-i"),
    "fish": ("--no-config", "-i"),
}
SET_UP = {
    "bash": 'PS1="ready> "; bind "set bell-style none"; bind "set enable-bracketed-paste off"; source {script}',
    "zsh": 'PS1="ready> "; unsetopt zle_bracketed_paste; autoload -Uz compinit; compinit -u -D; source {script}',
    "fish": 'function fish_prompt; echo -n "ready> "; end; source {script}',
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project, and `assetmgr` as a command of its shells that tells what words it was given."""
    project = Project(tmp_path_factory.mktemp("completion"))
    project.write(MANIFEST)
    (project.folder / "other file.yaml").write_text(MANIFEST.replace("minilm", "elsewhere"))
    (project.folder / "col:on dir").mkdir()
    folder = project.folder / "bin"
    folder.mkdir()
    command = folder / "assetmgr"
    command.write_text(
        '#!/bin/sh\nif [ -z "$_ARGCOMPLETE" ]; then printf "words:"; printf " <%s>" "$@"; echo; exit; fi\n'
        f'exec "{sys.executable}" -m assetmgr "$@"\n'
    )
    command.chmod(0o755)
    for shell in START:
        (folder / f"script.{shell}").write_text(project.run("completion", shell).out)
    return project


class Shell:
    """An interactive shell that completes."""

    def __init__(self, name: str, project: Project) -> None:
        program = shutil.which(name)
        if program is None:
            pytest.skip(f"{name} is not installed")
        folder = project.folder / "bin"
        env = project.environment(PATH=f"{folder}{os.pathsep}{os.environ['PATH']}", TERM="dumb", LC_ALL="C.UTF-8")
        if name == "fish":
            env["TERM"] = "xterm"  # it has no completions for a dumb one
        self.process: pexpect.spawn[str] = pexpect.spawn(
            program,
            list(START[name]),
            cwd=str(project.folder),
            env=env,
            encoding="utf-8",
            dimensions=(50, 200),
            timeout=20,
        )
        self.process.sendline(SET_UP[name].format(script=folder / f"script.{name}"))
        self.process.sendline(
            "echo set-up-is-done-$((40 + 2))" if name != "fish" else "echo set-up-is-done-(math 40 + 2)"
        )
        self.process.expect("set-up-is-done-42")
        self.process.expect("ready> ")

    def words(self, typed: str) -> str:
        """What `assetmgr` is given when this is typed: ``sta[tus]`` types ``sta`` and Tab, which must add ``tus``."""
        for text, added in re.findall(r"([^\[]+)(?:\[([^\]]+)\])?", typed):
            self.process.send(text)
            if added:
                self.process.send("\t")
                self.process.expect_exact(added)
        self.process.send("\r")
        self.process.expect(r"words:([^\r\n]*)\r")
        assert isinstance(self.process.match, re.Match)
        words = str(self.process.match[1]).strip()
        self.process.expect("ready> ")
        return words

    def close(self) -> None:
        self.process.close(force=True)


@pytest.fixture(params=list(START), scope="module")
def shell(request: pytest.FixtureRequest, project: Project) -> Iterator[Shell]:
    shell = Shell(request.param, project)
    yield shell
    shell.close()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("assetmgr sta[tus]", "<status>"),
        ("assetmgr pull --offl[ine]minil[m]", "<pull> <--offline> <minilm>"),
        ("assetmgr pull bl[ip/base-]c[oco]", "<pull> <blip/base-coco>"),
        ("assetmgr pull --group ni[ghtly]", "<pull> <--group> <nightly>"),
        ("assetmgr completion fi[sh]", "<completion> <fish>"),
        ("assetmgr --manifest oth[er]path els[ewhere]", "<--manifest> <other file.yaml> <path> <elsewhere>"),
        ("assetmgr --root col[on] sta[tus]", "<--root> <col:on dir/> <status>"),
    ],
)
def test_tab_gives_what_may_stand_there(shell: Shell, typed: str, words: str) -> None:
    assert shell.words(typed) == words


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("assetmgr pull blip/", {"blip/base-coco", "blip/base-flickr"}),
        ("assetmgr pull minilm ", {"blip/base-coco", "blip/base-flickr", "coco_caption"}),
        ("assetmgr help exi", {"exit-codes"}),
        ("assetmgr list minil", {"minilm"}),
        ("assetmgr show minil", {"minilm"}),
        ("assetmgr diff assets", {"assets.yaml"}),
        ("assetmgr init --scan ot", {"other\\ file.yaml"}),
        ("assetmgr pull --jobs ", set()),
        ("assetmgr pull --jo", {"--jobs"}),
        ("assetmgr verify --full --b", {"--budget"}),
        ("assetmgr add coco_capti", set()),
        ("assetmgr add okv", set()),
        ("assetmgr add ok_", {"ok_vqa"}),
        ("assetmgr --manifest nothing.yaml pull ", set()),
        ("assetmgr pull --loc", {"--locked", "--local-dir", "--local-dir-links"}),
        ("assetmgr --manifest assets.yaml pull a:b", set()),
    ],
)
def test_a_shell_is_answered_quickly_and_rightly(project: Project, line: str, found: set[str]) -> None:
    answer = project.folder / "answer"
    env = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_SHELL": "bash",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
    }
    done = project.run(env=env)
    assert (done.out, done.err) == ("", "")
    assert set(filter(None, answer.read_text().split("\013"))) == found
