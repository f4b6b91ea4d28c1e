"""The benchmarks run, at small sizes, and say what they did not measure. What they measure then is not looked at."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import REPOSITORY, clean_environment


def run(*names: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "--quick", *names],
        cwd=REPOSITORY,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("adopt", ["pull from a hub cache", "its requests"]),
        ("pull-folder", ["pull from a folder, 4 x 16 MiB, copied / cp, then sha256sum"]),
        ("kills", ["fetched again after kill -9"]),
        ("transfer", ["/ sha256 of it alone"]),
        ("serve", ["to 1 / nginx", "to 8 / nginx"]),
        ("look", ["list, 200 assets", "whereis, 200 assets"]),
        ("packed-media", ["from a zip, stored", "from a zip, deflated"]),
        ("memory", ["memory, lock of", "memory, pull of"]),
    ],
)
def test_a_benchmark_of_the_engine_runs(name: str, rows: list[str]) -> None:
    said = run(name)
    assert all(row in said for row in rows) or "there is no nginx" in said, said


def test_a_peer_that_is_absent_is_said_and_not_hidden(tmp_path: object) -> None:
    said = run("transfer", "kills", PATH=str(tmp_path))
    assert said.count("there is no nginx") == 2
