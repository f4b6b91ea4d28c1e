"""What it costs to import the package and to ask for help."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from tests.benchmarks.runner import Bench, Row, alternate, at_most, process, seconds
from tests.benchmarks.workplace import ASSETMGR, HF
from tests.support import clean_environment

IMPORT_BOUND = 0.015
HELP_BOUND = 0.15


def import_package(bench: Bench) -> Iterator[Row]:
    """`import assetmgr` over a bare Python."""
    env = clean_environment()
    took = alternate(
        bench.rounds(31),
        ours=process(sys.executable, "-c", "import assetmgr", cwd=bench.place, env=env),
        bare=process(sys.executable, "-c", "pass", cwd=bench.place, env=env),
    )
    over = took["ours"] - took["bare"]
    yield Row(
        "import assetmgr, over bare Python",
        seconds(took["ours"]),
        seconds(took["bare"]),
        f"{over * 1000:+.1f} ms",
        f"<= +{IMPORT_BOUND * 1000:g} ms",
        over <= IMPORT_BOUND,
    )


def help_text(bench: Bench) -> Iterator[Row]:
    """`assetmgr --help` against `hf --help`."""
    env = clean_environment(HOME=str(bench.place), HF_HOME=str(bench.place / "hf"), HF_HUB_DISABLE_UPDATE_CHECK="1")
    took = alternate(
        bench.rounds(15),
        ours=process(ASSETMGR, "--help", cwd=bench.place, env=env),
        peer=process(HF, "--help", cwd=bench.place, env=env),
    )
    yield at_most("assetmgr --help / hf --help", took["ours"], took["peer"], HELP_BOUND)
