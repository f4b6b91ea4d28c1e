"""Progress on a terminal: the whole, and a line a file in flight; nothing torn, nothing left behind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pexpect", reason="needs pexpect and pyte")
pytest.importorskip("pyte", reason="needs pexpect and pyte")

from tests.cli.screen import Screen
from tests.hub import Fault, Hub
from tests.support import Project, served

NAMES = [f"a/rather/long/path/to/the/file-number-{number}.bin" for number in range(4)]
SIZE = 120_000


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    for name in NAMES:
        hub.publish(f"/f/{name}", name.encode() * (SIZE // len(name)))
    return hub


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    """Four files, locked and not yet here, that come slowly."""
    with served(hub, tmp_path / "project") as project:
        files = "".join(f"      - {{url: '{{endpoint}}/f/{name}', path: '{name}'}}\n" for name in NAMES)
        project.write(f"version: 1\nmodels:\n  slow:\n    files:\n{files}")
        project.run("lock")
        (partial,) = project.root.glob(".assetmgr/partial")
        for file in partial.iterdir():
            file.unlink()
        hub.faults.add(Fault(match="/f/", throttle=60_000, times=None))
        yield project


def bars(shown: list[str]) -> list[str]:
    return [line for line in shown if "%|" in line or "B/s" in line]


def test_the_whole_and_each_file_in_flight_have_a_line_and_leave_none(project: Project) -> None:
    screen = Screen(project, "pull", "--jobs", "3", columns=200)
    shown = screen.until(lambda shown: len(bars(shown)) == 4)
    assert re.match(r"slow: +\d+%\|.*\| [\d.]+k/48\dk \[\d\d:\d\d<\d\d:\d\d, +[\d.]+kB/s\]$", shown[0]), shown
    assert all(re.search(r"file-number-\d\.bin: +\d+%\|", line) for line in shown[1:]), shown
    assert screen.end() == 0
    assert [line.split(":")[0] for line in screen.shown] == ["assetmgr"], "the last word alone"
    assert "4 files fetched" in screen.shown[0]


def test_what_huggingface_hub_brings_has_its_lines_too(project: Project, hub: Hub) -> None:
    repo = hub.create("org/slow")
    repo.commit({f"part-{number}.safetensors": f"{number}".encode() * 400_000 for number in range(2)})
    hub.faults.clear()
    hub.faults.add(Fault(match="/resolve/", throttle=150_000, times=None))
    project.env["ASSETMGR_TRANSPORT"] = "snapshot"
    project.write("version: 1\nmodels:\n  parts: {hub: org/slow}\n")
    project.run("lock")
    screen = Screen(project, "pull", columns=200)
    shown = screen.until(lambda shown: len(bars(shown)) == 3)
    whole, *flying = (line.split(":")[0].strip() for line in bars(shown))
    assert (whole, sorted(flying)) == ("parts", [f"part-{number}.safetensors" for number in range(2)])
    assert screen.end() == 0
    assert len(screen.shown) == 1, screen.shown


@pytest.mark.parametrize(("columns", "lines"), [(20, 24), (40, 2), (0, 0), (100, 3)])
def test_a_narrow_a_low_and_an_unknown_terminal_are_survived(project: Project, columns: int, lines: int) -> None:
    screen = Screen(project, "pull", columns=columns, lines=lines)
    assert screen.end() == 0
    assert b"Traceback" not in screen.raw
    for line in screen.raw.split(b"assetmgr: ")[0].replace(b"\x1b[A", b"\n").replace(b"\r", b"\n").split(b"\n"):
        assert len(line.decode()) <= (columns or 80)


def test_a_terminal_that_is_resized_is_survived(project: Project) -> None:
    screen = Screen(project, "pull")
    screen.until(bars)
    screen.process.setwinsize(10, 40)
    assert screen.end() == 0


def test_words_while_bars_are_up_stand_on_lines_of_their_own(project: Project, hub: Hub) -> None:
    hub.faults.clear()
    hub.faults.add(Fault(match="file-number-3", status=503, times=1, after=0))
    hub.faults.add(Fault(match="/f/", throttle=60_000, times=None))
    screen = Screen(project, "pull", columns=200)
    screen.until(lambda shown: any("HTTP 503" in line for line in shown) and bars(shown))
    assert screen.end() == 0
    assert all(line.startswith("assetmgr: ") for line in screen.shown), screen.shown


def test_ctrl_c_takes_the_bars_away_and_ends_with_130(project: Project) -> None:
    screen = Screen(project, "pull")
    screen.until(lambda shown: len(bars(shown)) == 5)
    code, seconds = screen.interrupt()
    assert (code, seconds < 2.0) == (130, True), "a second, and the machine's own delays"
    assert screen.shown == ["assetmgr: interrupted; what has arrived is kept, and the same command goes on from there"]
    assert screen.raw.endswith(b"\n")


@pytest.mark.parametrize(
    ("arguments", "env"),
    [(("pull", "-q"), {}), (("pull", "--json"), {}), (("pull",), {"TERM": "dumb"})],
    ids=["quiet", "json", "dumb"],
)
def test_there_are_no_bars_where_nobody_wants_them(
    project: Project, arguments: tuple[str, ...], env: dict[str, str]
) -> None:
    screen = Screen(project, *arguments, env=env)
    assert screen.end() == 0
    assert b"%" not in screen.raw
    assert b"\x1b" not in screen.raw


def test_colours_are_for_a_terminal_whose_user_wants_them(project: Project) -> None:
    def raw(env: dict[str, str]) -> bytes:
        screen = Screen(project, "path", "slow", env=env)
        assert screen.end() == 4
        return screen.raw

    assert b"\x1b[1;31merror:\x1b[0m slow: not installed" in raw({})
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"CLICOLOR": "0"}):
        assert b"\x1b" not in raw(env)
        assert b"error: slow: not installed" in raw(env)
