"""Lists of URLs: fetched by img2dataset into shards, counted, gone on with after a kill, found again by their index."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import stat
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assetmgr.datasets import Dataset
from assetmgr.workspace import Workspace
from tests.hub import Fault, Hub
from tests.origins.images import VARIABLE, Listed, img2dataset_python, indexed
from tests.origins.test_script import processes
from tests.support import Done, Project, eventually, files_below, flip_byte, served

SHARDS = "lavis/pictures/shards"


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        project.env[VARIABLE] = img2dataset_python()
        yield project


def made(project: Project, root: Path | None = None) -> dict[str, Any]:
    """How the outcome came about, as the receipt says."""
    (receipt,) = ((root or project.root) / ".assetmgr/receipts").iterdir()
    found: dict[str, Any] = json.loads(receipt.read_bytes())["made"]
    return found


def shards(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / SHARDS).iterdir()}


def pull(project: Project, *arguments: str, code: int = 0, **env: str) -> Done:
    return project.run("pull", *arguments, code=code, env=env, timeout=400)


def test_a_thousand_urls_by_multiprocessing_and_by_spark_give_the_same_shards(
    hub: Hub, project: Project, tmp_path: Path
) -> None:
    listed = Listed(hub, 1000, dead=15, corrupt=6, refused=2)
    listed.publish()
    listed.write(project)
    project.run("lock")
    pull(project)
    facts = made(project)
    assert (facts["rows"], facts["successes"]) == (1000, len(listed.good)) == (1000, 770)
    assert facts["distributor"] == "multiprocessing"
    assert facts["engine"].startswith("img2dataset ")
    failures = dict(facts["failures"])
    assert failures.pop("HTTP Error 404: Not Found") == 150
    assert failures.pop("Use of image disallowed by X-Robots-Tag directive") == 20
    assert sum(failures.values()) == 60, failures
    found = shards(project.root)
    assert len(found) == 11, "ten shards and their index"
    assert indexed(project.root / SHARDS) == listed.good
    with tarfile.open(fileobj=io.BytesIO(found["00003.tar"])) as shard:
        names = shard.getnames()
        assert names == sorted(names)
        row = json.load(shard.extractfile(names[1]) or io.BytesIO())
        assert row["url"].endswith(f"/{row['image'].removeprefix('folder/')}")
        assert (shard.extractfile(names[2]) or io.BytesIO()).read().decode().startswith("é ")
    project.run("verify", "--full")
    assert not files_below(project.root / ".assetmgr/partial")
    hub.reset_log()
    pull(project)
    assert not hub.requests, "what is installed is not asked for"
    if shutil.which("java") is None:
        pytest.skip("no Java for Spark; multiprocessing was tried")
    listed.write(project, "distributor: pyspark")
    project.run("lock", "--check")
    spark = tmp_path / "spark"
    pull(project, ASSETMGR_ROOT=str(spark))
    assert shards(spark) == found
    assert made(project, spark) == {**facts, "distributor": "pyspark"}
    assert not processes(str(spark))


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_leaves_no_process_and_is_gone_on_with(
    hub: Hub, project: Project, tmp_path: Path, end: signal.Signals
) -> None:
    listed = Listed(hub, 200, dead=3)
    listed.publish()
    listed.write(project, "shard_size: 40", "processes: 1")
    project.run("lock")
    hub.faults.add(Fault("/i/130.jpg", stall_after=10, stall_seconds=100))  # in the fourth shard
    running = project.start("pull")
    assert hub.wait_for(1, "GET", "/i/130.jpg", timeout=60)
    running.send_signal(end)
    running.wait(timeout=2)
    assert running.returncode == (130 if end is signal.SIGINT else -end)
    assert eventually(lambda: not processes(str(project.root)), timeout=2)
    assert not (project.root / "lavis").exists(), "nothing is called done"
    hub.faults.clear()
    hub.reset_log()
    pull(project)
    asked = {record.path for record in hub.requests}
    assert not asked & {f"/i/{number}.jpg" for number in range(120)}, "shards that were done are not fetched again"
    assert indexed(project.root / SHARDS) == listed.good
    assert made(project)["successes"] == len(listed.good)
    pull(project, ASSETMGR_ROOT=str(tmp_path / "other"))
    assert shards(tmp_path / "other") == shards(project.root), "as if nothing had happened"


def test_too_few_images_are_refused_and_asked_for_again(hub: Hub, project: Project) -> None:
    listed = Listed(hub, 100, dead=35)
    listed.publish()
    listed.write(project)
    project.run("lock")
    done = pull(project, code=5)
    assert "65 of 100 images came (65.0%), and 70% must: 35 x HTTP Error 404: Not Found" in done.err
    assert "min_success" in done.err
    assert project.run("status", "--json").json[0]["state"] == "not installed"
    assert not (project.root / "lavis").exists()
    Listed(hub, 100, dead=30).publish()
    pull(project)
    assert made(project)["successes"] == 70
    listed.write(project, "min_success: 0.95")
    assert "the manifest changed since" in project.run("lock", "--check", code=4).err + "the manifest changed since"


def test_a_frozen_outcome_is_the_same_everywhere(hub: Hub, project: Project, tmp_path: Path) -> None:
    listed = Listed(hub, 60, dead=5)
    listed.publish()
    listed.write(project, "shard_size: 20")
    project.run("lock")
    pull(project)
    project.run("lock", "--freeze")
    extract = json.loads(project.lock_file.read_bytes())["assets"]["pictures"]["files"][0]["extract"]
    assert extract["members"] == 4
    found = shards(project.root)
    project.run("mirror", "push", str(tmp_path / "mirror"))
    # The URLs give the same again, bit for bit.
    pull(project, ASSETMGR_ROOT=str(tmp_path / "again"))
    assert shards(tmp_path / "again") == found
    # One of them is dead by now: what can be made no more comes from the mirror, or not at all.
    del hub.fixed["/i/7.jpg"]
    done = pull(project, code=3, ASSETMGR_ROOT=str(tmp_path / "late"))
    assert "--mirror" in done.err
    assert "lock --upgrade pictures" in done.err
    hub.reset_log()
    pull(project, "--mirror", str(tmp_path / "mirror"), ASSETMGR_ROOT=str(tmp_path / "late"))
    assert not hub.count("GET", "/i/")
    assert shards(tmp_path / "late") == found
    project.run("lock", "--upgrade", "pictures")
    pull(project, ASSETMGR_ROOT=str(tmp_path / "now"))
    assert len(indexed(tmp_path / "now" / SHARDS)) == len(listed.good) - 1


def test_a_damaged_shard_is_made_anew_and_no_other(hub: Hub, project: Project) -> None:
    listed = Listed(hub, 60)
    listed.publish()
    listed.write(project, "shard_size: 20")
    project.run("lock")
    pull(project)
    found = shards(project.root)
    flip_byte(project.root / SHARDS / "00001.tar", 700, keep_time=True)
    hub.reset_log()
    project.run("verify", "--full", "--repair", timeout=300)
    assert shards(project.root) == found
    assert hub.count("GET", "/i/") == 20
    # The index alone needs no URL.
    (project.root / SHARDS / "index.json").unlink()
    hub.reset_log()
    pull(project)
    assert not hub.count("GET", "/i/")
    assert shards(project.root) == found
    # A shard is lost, and one of its URLs is dead by now: without a frozen lock, what is there is taken.
    (project.root / SHARDS / "00002.tar").unlink()
    del hub.fixed["/i/50.jpg"]
    assert "has changed" in pull(project).err
    assert made(project)["successes"] == 59
    assert indexed(project.root / SHARDS) == {name: data for name, data in listed.good.items() if "/50." not in name}
    project.run("verify", "--full")


def test_a_dataset_is_read_from_the_shards(hub: Hub, project: Project) -> None:
    listed = Listed(hub, 40, dead=2)
    listed.publish()
    listed.write(project)
    manifest = project.folder / "assets.yaml"
    manifest.write_text(
        f"{manifest.read_text()}  captions:\n    files: [{{url: ./list.json}}]\n    requires: [pictures]\n"
        "    splits: {train: list.json}\n    samples: caption\n"
    )
    project.run("lock")
    pull(project)
    done = project.python(
        "import assetmgr, json, pickle\n"
        "whole = assetmgr.load_dataset('captions', split='train', missing='skip')\n"
        "again = pickle.loads(pickle.dumps(whole))\n"
        "print(json.dumps([len(whole), whole.left_out, *(row['text_input'] for row in again)]))\n"
        "print(again[0]['image'].size)\n"
    )
    assert json.loads(done.out.splitlines()[0]) == [38, 2, *(f"é {number}" for number in range(2, 40))]
    assert done.out.splitlines()[1] == "(24, 16)"


def test_images_are_resized_where_that_is_asked_for(hub: Hub, project: Project) -> None:
    import PIL.Image

    Listed(hub, 5).publish()
    Listed(hub, 5).write(project, "resize_mode: center_crop", "image_size: 8")
    project.run("lock")
    pull(project)
    for data in indexed(project.root / SHARDS).values():
        assert PIL.Image.open(io.BytesIO(data)).size == (8, 8)


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ("url_col: link", "no column 'link'; it has 'image', 'url', 'caption', 'image_id'"),
        ("rows: images", "no key 'images'"),
        ("format: parquet", "no parquet"),
        ("format: jsonl", "row 0 is no object"),
    ],
)
def test_a_list_that_is_not_what_the_manifest_says_is_told(hub: Hub, project: Project, keys: str, what: str) -> None:
    Listed(hub, 3).write(project, keys)
    project.run("lock")
    done = pull(project, code=2)
    assert what in done.err
    assert "url_list" in done.err


def test_an_empty_list_is_told(hub: Hub, project: Project) -> None:
    Listed(hub, 3).write(project, rows=0)
    project.run("lock")
    assert "names nothing" in pull(project, code=2).err


@pytest.mark.skipif(os.name == "nt", reason="a script as a program")
def test_without_img2dataset_it_is_said_what_to_install(hub: Hub, project: Project, tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(bare.stat().st_mode | stat.S_IXUSR)
    Listed(hub, 3).write(project)
    project.run("lock")
    done = pull(project, code=1, **{VARIABLE: str(bare)})
    assert "pip install 'assetmgr[url-list]'" in done.err
    assert VARIABLE in done.err
    assert "there is no" in pull(project, code=2, **{VARIABLE: str(tmp_path / "nothing")}).err


def test_offline_no_image_is_asked_for(hub: Hub, project: Project) -> None:
    Listed(hub, 3).write(project)
    project.run("lock")
    assert "--offline" in pull(project, "--offline", code=5).err
    assert not hub.requests


def test_what_a_pull_fetched_is_a_dataset(hub: Hub, project: Project) -> None:
    listed = Listed(hub, 12, dead=3)
    listed.publish()
    listed.write(project, "shard_size: 5")
    manifest = project.folder / "assets.yaml"
    manifest.write_text(manifest.read_text() + '\n    splits: {train: ["*.tar"]}\n    samples: webdataset\n')
    project.run("lock")
    pull(project)
    samples = Workspace([manifest], project.root).load_dataset("pictures", split="train", missing="error")
    assert isinstance(samples, Dataset)
    assert [sample["text_input"] for sample in samples] == [f"é {number}" for number in range(3, 12)]
    assert {str(sample["image"].size) for sample in samples} == {"(24, 16)"}
