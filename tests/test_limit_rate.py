"""``--limit-rate`` holds for a whole run: every file, every connection, every command that fetches."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from assetmgr.errors import UsageError
from assetmgr.transfer.limits import parse_rate
from assetmgr.transfer.rate import Bucket
from assetmgr.workspace import Workspace
from tests.hub import Hub
from tests.support import Project, flip_byte, hub_manifest, served
from tests.transfer.relay import Relay

# A bucket may be full at the start: a tenth of a second's worth.
BURST = 0.1


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        yield project


def publish(hub: Hub, project: Project, sizes: list[int], endpoint: str = "{endpoint}") -> None:
    lines = "".join(f"      - {{url: '{endpoint}/f/{number}'}}\n" for number in range(len(sizes)))
    for number, size in enumerate(sizes):
        hub.publish(f"/f/{number}", Random(number).randbytes(size))
    project.write(f"version: 1\ndatasets:\n  m:\n    files:\n{lines}")


@pytest.mark.parametrize(
    ("text", "rate"),
    [("20M", 20 << 20), ("1.5G", 3 << 29), ("500K", 500 << 10), ("500k", 500 << 10), ("1024", 1024), ("1T", 1 << 40)],
)
def test_a_rate_is_written_as_for_curl_wget_and_aria2c(text: str, rate: int) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "0", "1", "1023", "-5", "20MB", "1e9", "fast", "20 M", "M", "inf", "nan", "٣M"])
def test_what_is_no_rate_is_refused_with_the_form(text: str, project: Project) -> None:
    with pytest.raises(ValueError, match="20M"):
        parse_rate(text)
    project.write("version: 1\n")
    assert "20M" in project.run("pull", f"--limit-rate={text}", code=2).err
    if text:
        done = project.run("lock", code=2, env={"ASSETMGR_LIMIT_RATE": text})
        assert "ASSETMGR_LIMIT_RATE" in done.err
        assert "20M" in done.err


def test_the_python_api_refuses_what_is_no_rate(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1024"):
        Workspace([], tmp_path, rate=0)


@pytest.mark.parametrize("how", ["option", "variable"])
def test_lock_pull_and_repair_keep_to_the_rate_over_all_files(hub: Hub, project: Project, how: str) -> None:
    sizes = [300_000] * 5
    publish(hub, project, sizes)
    option = ["--limit-rate", "1M"] if how == "option" else []
    env = {} if how == "option" else {"ASSETMGR_LIMIT_RATE": "1M"}
    least = sum(sizes) / (1 << 20) - BURST

    began = time.monotonic()
    project.run("lock", *option, env=env)
    assert time.monotonic() - began > least
    for partial in (project.root / ".assetmgr/partial").glob("*"):
        partial.unlink()
    pulled = project.run("--json", "pull", *option, "--jobs", "4", env=env).json
    assert pulled["seconds"] > least
    for path in (project.root / "files/m").iterdir():
        flip_byte(path)
    began = time.monotonic()
    project.run("verify", "--full", "--repair", *option, env=env)
    assert time.monotonic() - began > least
    assert sum(record.sent for record in hub.requests) >= 3 * sum(sizes), "all of it was fetched three times"


def test_several_connections_of_one_file_share_the_rate(hub: Hub, project: Project) -> None:
    size, rate = 17 << 20, 6 << 20
    relay = Relay(int(project.endpoint.rpartition(":")[2]), rate=2e6)
    publish(hub, project, [size], f"http://127.0.0.1:{relay.port}")
    began = time.monotonic()
    project.run("lock", "--limit-rate", "6M")
    assert time.monotonic() - began > size / rate - BURST
    assert relay.accepted > 1
    relay.close()


@pytest.mark.parametrize("rate", [None, 1024.0, 50_000.0, 2e6, 1e9])
def test_a_portion_is_never_more_than_what_is_wanted(rate: float | None) -> None:
    bucket = Bucket(rate, threading.Event())
    for wanted in (1, 7, 1023, 1024, 1025, 100_000, 1 << 20):
        assert 1 <= bucket.portion(wanted) <= wanted


@pytest.mark.parametrize("rate", ["1M", "1.3M", "2M"])
def test_a_file_of_several_pieces_arrives_from_a_server_without_ranges(hub: Hub, project: Project, rate: str) -> None:
    publish(hub, project, [2_500_000])
    hub.publish("/f/0", Random(0).randbytes(2_500_000), ranges=False)
    project.run("lock", "--limit-rate", rate)
    assert hub.count("GET", "/f/0") == 1


@pytest.mark.hub
def test_a_hubs_files_keep_to_the_rate(tmp_path: Path) -> None:
    hub = Hub()
    weights = {f"model-{number}.safetensors": Random(number).randbytes(300_000) for number in range(5)}
    hub.create("org/name").commit(weights)
    with served(hub, tmp_path / "project") as project:
        project.write(hub_manifest())
        project.run("lock")
        pulled = project.run("--json", "pull", "--limit-rate", "1M").json
    assert pulled["seconds"] > 1_500_000 / (1 << 20) - BURST


def test_the_option_goes_before_the_variable(hub: Hub, project: Project) -> None:
    publish(hub, project, [100_000])
    project.run("lock", "--limit-rate", "1G", env={"ASSETMGR_LIMIT_RATE": "1K"}, timeout=30)
