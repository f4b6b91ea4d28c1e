"""One writer at a time between real processes: the second one waits, is told for whom, and is never stuck."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from assetmgr.errors import BusyError
from assetmgr.mutex import held
from tests.support import clean_environment

HOLDER = """
import sys
from pathlib import Path
from assetmgr.mutex import held
with held(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.readline()
print("free", flush=True)
"""


@contextmanager
def holder(path: Path, purpose: str = "pulling first") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a lock until a line is written to it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), purpose],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


def let_go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mutex" / "repo.lock"


def test_a_free_lock_is_held_without_a_word_and_leaves_no_note(path: Path) -> None:
    said: list[str] = []
    with held(path, "pulling m", say=said.append):
        note = json.loads(path.with_name("repo.lock.holder").read_bytes())
        assert (note["pid"], note["purpose"]) == (os.getpid(), "pulling m")
    assert said == []
    assert os.listdir(path.parent) == ["repo.lock"]


def test_a_second_process_waits_and_is_told_for_whom(path: Path) -> None:
    said: list[str] = []
    with holder(path) as first:

        def say(text: str) -> None:
            said.append(text)
            let_go(first)

        with held(path, "pulling second", say=say):
            assert first.wait(20) == 0, "the first has gone when the second goes in"
    (word,) = said
    assert f"process {first.pid} on " in word
    assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", word)


def test_who_waits_is_told_what_the_holder_does_and_not_what_itself_would(path: Path) -> None:
    said: list[str] = []
    with holder(path, "pulling first") as first:

        def say(text: str) -> None:
            said.append(text)
            let_go(first)

        with held(path, "pulling second", say=say):
            pass
    assert "pulling first" in said[0]
    assert "pulling second" not in said[0]


@pytest.mark.parametrize("wait", [0.0, 0.05, -1.0])
def test_past_the_wait_it_is_busy_and_names_the_holder(path: Path, wait: float) -> None:
    with holder(path) as first:
        with pytest.raises(BusyError) as caught, held(path, "pulling second", wait=wait):
            pytest.fail("two hold one lock")
        assert f"process {first.pid}" in caught.value.message
        assert "--wait" in caught.value.mend
        assert caught.value.exit_code == 8
        assert first.poll() is None
        assert path.with_name("repo.lock.holder").exists(), "the holder's note is not the waiter's to remove"


def test_a_holder_that_was_killed_holds_nothing(path: Path) -> None:
    with holder(path) as first:
        os.kill(first.pid, signal.SIGKILL)
        first.wait(20)
        assert path.with_name("repo.lock.holder").exists(), "its note is left behind"
        said: list[str] = []
        with held(path, "pulling second", wait=0, say=said.append):
            note = json.loads(path.with_name("repo.lock.holder").read_bytes())
            assert note["pid"] == os.getpid()
        assert said == []


def test_a_waiter_goes_in_when_the_holder_is_killed(path: Path) -> None:
    with holder(path) as first, held(path, "pulling second", wait=60, say=lambda _: os.kill(first.pid, signal.SIGKILL)):
        assert first.wait(20) == -signal.SIGKILL


def test_threads_of_one_process_exclude_each_other(path: Path) -> None:
    inside = 0
    most = 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(3):
            with held(path, "working", wait=60):
                with guard:
                    inside += 1
                    most = max(most, inside)
                with guard:
                    inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == 1


def test_an_error_inside_lets_go(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), held(path, "working"):
        raise ZeroDivisionError
    with held(path, "working", wait=0):
        pass


@pytest.mark.parametrize("note", [b"", b"[]", b"\xff"])
def test_a_damaged_note_does_not_keep_anybody_from_waiting(path: Path, note: bytes) -> None:
    with holder(path):
        path.with_name("repo.lock.holder").write_bytes(note)
        with pytest.raises(BusyError, match="another process"), held(path, "pulling", wait=0):
            pytest.fail("two hold one lock")


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
@pytest.mark.parametrize(("folder", "mode"), [(0o2770, 0o660), (0o755, 0o644), (0o700, 0o600)])
def test_whoever_may_write_in_the_folder_may_hold_its_locks(path: Path, folder: int, mode: int) -> None:
    path.parent.mkdir()
    path.parent.chmod(folder)
    previous = os.umask(0o077)
    try:
        with held(path, "working"):
            pass
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == mode
