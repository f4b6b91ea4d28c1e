"""`init --scan`: what a project says becomes a manifest that locks."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from assetmgr.catalog import Catalog, shipped_manifests
from assetmgr.manifest import FilesSource, HubSource, parse_manifest
from assetmgr.transfer.detour import VARIABLE
from tests.hub import Hub
from tests.support import REPOSITORY, Project, served

pytestmark = pytest.mark.hub
DATA = REPOSITORY / "tests" / "data" / "scan"
# What the notes and the config name of the catalog, on the tests' own hub.
ZOO = """\
version: 1
models:
  blip_caption/base_coco: {hub: zoo/small}
  blip_vqa/vqav2: {hub: zoo/small}
  blip_feature_extractor/base: {hub: zoo/small}
  blip2_t5/pretrain_flant5xxl: {hub: zoo/small}
  blip2_image_text_matching/pretrain: {hub: zoo/small}
datasets:
  coco_caption: {hub: zoo/captions, requires: coco-images}
  coco-images: {hub: zoo/captions}
"""
WITH_ZOO = ("--manifest", "zoo.yaml")
BOTH = (*WITH_ZOO, "--manifest", "assets.yaml")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    hub = Hub()
    for repo in ("zoo/small", "Salesforce/blip2-opt-2.7b", "sentence-transformers/all-MiniLM-L6-v2", "org/adapter"):
        hub.create(repo).commit({"config.json": b"{}", "a.bin": b"x"})
    for repo in ("zoo/captions", "org/rows", "lab/data"):
        hub.create(repo, "dataset").commit({"lab_train.json": b"[]", "lab_val.json": b"[1]"})
    with served(hub, tmp_path / "project") as project:
        (project.folder / "zoo.yaml").write_text(ZOO)
        yield project


def locked(project: Project) -> set[str]:
    return set(json.loads(project.lock_file.read_bytes())["assets"])


def test_notes_become_a_manifest_that_locks_and_their_slip_is_noticed(project: Project) -> None:
    shutil.copy(DATA / "notes.md", project.folder)
    done = project.run(*WITH_ZOO, "init", "--scan", "notes.md")
    text = (project.folder / "assets.yaml").read_text()
    manifest = parse_manifest(text, project.folder / "assets.yaml")
    assert [(asset.name, asset.kind) for asset in manifest.assets] == [("Salesforce/blip2-opt-2.7b", "model")]
    assert set(manifest.requires) == {
        "blip_caption/base_coco",
        "blip_vqa/vqav2",
        "blip_feature_extractor/base",
        "blip2_t5/pretrain_flant5xxl",
        "blip2_image_text_matching/pretrain",
        "coco_caption",
    }
    slip = next(line for line in text.splitlines() if "repo_type='dataset'" in line)
    assert "fetches Salesforce/blip2-opt-2.7b with repo_type='dataset', but notes.md:" in slip
    assert slip.strip("# ") in done.err
    line = next(n for n, line in enumerate((DATA / "notes.md").read_text().splitlines(), 1) if "repo_type" in line)
    assert f"notes.md:{line} fetches" in slip
    assert "'your/target/repo' is no hub repo" in text
    project.run(*BOTH, "lock")
    assert locked(project) == {*manifest.requires, "Salesforce/blip2-opt-2.7b", "coco-images"}
    project.run(*BOTH, "lock", "--check")
    assert "is not overwritten" in project.run("init", "--scan", "notes.md", code=2).err
    assert (project.folder / "assets.yaml").read_text() == text


def test_a_captioning_config_of_lavis_becomes_a_manifest_that_locks(project: Project) -> None:
    config = (DATA / "caption_coco_ft.yaml").read_text()
    at = f"{project.endpoint}/datasets/lab/data/resolve/main"
    (project.folder / "ft.yaml").write_text(config.replace("https://example.org/lab", at))
    printed = project.run(*WITH_ZOO, "init", "--scan", "ft.yaml", "--output", "-")
    assert not (project.folder / "assets.yaml").exists()
    project.run(*WITH_ZOO, "init", "--scan", "ft.yaml")
    text = (project.folder / "assets.yaml").read_text()
    assert printed.out == text
    manifest = parse_manifest(text, project.folder / "assets.yaml")
    assert set(manifest.requires) == {"blip_caption/base_coco", "coco_caption"}
    (asset,) = manifest.assets
    assert (asset.name, asset.kind, asset.use) == (
        "lab_caption",
        "dataset",
        {"splits": {"train": ["lab_train.json"], "val": ["val.json"]}},
    )
    assert "  # seen in ft.yaml:19\n" in text
    assert "lab/images/" in text
    project.run(*BOTH, "lock")
    assert locked(project) == {*manifest.requires, "coco-images", "lab_caption"}
    project.run(*BOTH, "pull", "lab_caption")
    assert (project.root / "lavis" / "lab" / "annotations" / "val.json").read_bytes() == b"[1]"


def test_a_project_becomes_a_manifest_that_locks_and_what_others_installed_is_not_read(project: Project) -> None:
    code = project.folder / "src"
    (code / "deep").mkdir(parents=True)
    (code / "train.py").write_text(
        "from datasets import load_dataset\n"
        "from transformers import AutoModel\n"
        "import peft\n"
        'BASE = "Salesforce/blip2-opt-2.7b"\n'
        "model = AutoModel.from_pretrained(BASE)\n"
        'model = peft.PeftModel.from_pretrained(model, "org/adapter")\n'
        'rows = load_dataset("org/rows", split="train")\n'
        "other = AutoModel.from_pretrained(args.other)\n"
    )
    (code / "deep" / "embed.py").write_text(
        'from sentence_transformers import SentenceTransformer\nS = SentenceTransformer("all-MiniLM-L6-v2")\n'
    )
    (code / "old.py").write_text("print 'python 2'\n")
    (code / "odd.py").write_bytes(b"\xff\xfe\0")
    (code / "run.ipynb").write_text(
        '{"cells": [{"cell_type": "code", "source": "X.from_pretrained(\'org/adapter\')"}]}'
    )
    never = "X.from_pretrained('never/seen')\n"
    for folder in (".git", ".venv/lib", "node_modules/a", "my-env/lib", "__pycache__"):
        (code / folder).mkdir(parents=True)
        (code / folder / "a.py").write_text(never)
    (code / "my-env" / "pyvenv.cfg").touch()
    (code / "huge.py").write_text(never + "#" * (5 << 20))
    (code / "loop").symlink_to(".")
    (code / "gone.py").symlink_to("nowhere.py")
    os.mkfifo(code / "pipe.py")
    done = project.run("init", "--scan", "src", "--json").json
    text = done["text"]
    assert (project.folder / "assets.yaml").read_text() == text
    assert (done["models"], done["datasets"], done["requires"], done["slips"]) == (3, 1, 0, [])
    assert "# seen in src/run.ipynb:cell 1:1, src/train.py:6\n  org/adapter:\n" in text
    assert "#   src/train.py:8: AutoModel.from_pretrained: " in text
    assert "is computed: args.other" in text
    assert "#   src/old.py:1: a line that is no Python was passed over" in text
    assert "#   src/huge.py:1: it is larger than" in text
    assert "never/seen" not in text
    project.run("lock")
    assert locked(project) == {
        "Salesforce/blip2-opt-2.7b",
        "org/adapter",
        "org/rows",
        "sentence-transformers/all-MiniLM-L6-v2",
    }


# What nobody can stand in for, since the catalog knows its digests.
LAB = """\
version: 1
datasets:
  coco_caption: {hub: zoo/captions, requires: coco-images}
  coco-images: {hub: zoo/captions}
"""
SCRIPT = """\
from lavis.datasets.builders import load_dataset
from lavis.models import load_model_and_preprocess
from transformers import AutoProcessor

model, processors, _ = load_model_and_preprocess("blip_caption", "base_coco", is_eval=True)
pictures = load_dataset("coco_caption")
processor = AutoProcessor.from_pretrained("Salesforce/blip2-opt-2.7b")
"""


@pytest.mark.parametrize("said", ["notes.md", "caption_coco_ft.yaml", "train.py"])
def test_a_draft_locks_with_the_catalog_that_ships(tmp_path: Path, said: str) -> None:
    hub, catalog, hosts = Hub(), Catalog([], shipped_manifests()), set[str]()
    hub.create("zoo/captions", "dataset").commit({"a.json": b"[]"})
    hub.create("Salesforce/blip2-opt-2.7b").commit({"config.json": b"{}"})
    with served(hub, tmp_path / "project") as project:
        (project.folder / "train.py").write_text(SCRIPT)
        for name in ("notes.md", "caption_coco_ft.yaml"):
            shutil.copy(DATA / name, project.folder)
        project.run("init", "--scan", said)
        manifest = parse_manifest((project.folder / "assets.yaml").read_text(), project.folder / "assets.yaml")
        own = {asset.name for asset in manifest.assets}
        assert {"blip_caption/base_coco", "coco_caption"} <= set(manifest.requires)
        wanted = catalog.closure(manifest.requires)
        for asset in (*wanted, *manifest.assets):
            if isinstance(asset.source, FilesSource):
                for file in asset.source.files:
                    scheme, _, place = file.urls[0].partition("://")
                    hosts.add(f"{scheme}://{place.partition('/')[0]}")
                    hub.publish(f"/{place}", place.encode())
            elif isinstance(asset.source, HubSource) and asset.name not in own:
                hub.create(asset.source.repo).commit({"config.json": b"{}", "pytorch_model.bin": bytes(99)})
        project.env[VARIABLE] = json.dumps({host: f"{hub.endpoint}/{host.partition('://')[2]}" for host in hosts})
        project.run("lock", "--no-fetch")
        assert locked(project) == {asset.name for asset in wanted} | own
        project.run("lock", "--check")
        (project.folder / "lab.yaml").write_text(LAB)
        project.lock_file.unlink()
        lab = ("--manifest", "lab.yaml", "--manifest", "assets.yaml")
        project.run(*lab, "lock")
        assert locked(project) == {asset.name for asset in wanted} | own
        files = [
            file for asset in json.loads(project.lock_file.read_bytes())["assets"].values() for file in asset["files"]
        ]
        assert all(file["sha256"] for file in files)
        project.run(*lab, "sync", "--locked")


def test_a_path_that_is_not_there_is_an_error_and_nothing_found_is_still_a_manifest(project: Project) -> None:
    assert "no such file" in project.run("init", "--scan", "nowhere", code=2).err
    assert not (project.folder / "assets.yaml").exists()
    (project.folder / "empty").mkdir()
    assert "0 files read" in project.run("init", "sub", "--scan", "empty").err
    path = project.folder / "sub" / "assets.yaml"
    assert parse_manifest(path.read_text(), path).assets == ()
