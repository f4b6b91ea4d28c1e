"""LAVIS's zoo as a lab pulls it: the catalog's own URLs, served on this machine with stand-ins."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from assetmgr.catalog import Catalog, shipped_manifests
from assetmgr.manifest import FilesSource
from assetmgr.transfer.detour import VARIABLE
from tests.hub import Fault, Hub
from tests.support import REPOSITORY, Project, files_below, served

RECORDED = json.loads((REPOSITORY / "tests" / "lavis" / "recorded.json").read_text())
GOOGLE = "https://storage.googleapis.com/sfr-vision-language-research"
BERT = {name: name.encode() * 50 for name in ("config.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json")}
WEIGHTS = {name: name.encode() * 500 for name in ("pytorch_model.bin", "model.safetensors", "tf_model.h5")}


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    # The hub has renamed it; LAVIS and transformers look for it under its old name.
    hub.create("google-bert/bert-base-uncased").commit({**BERT, **WEIGHTS, "coreml/model.bin": b"x" * 100})
    hub.alias("bert-base-uncased", "google-bert/bert-base-uncased")
    return hub


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        hosts = (
            "storage.googleapis.com",
            "openaipublic.azureedge.net",
            "dl.fbaipublicfiles.com",
            "downloads.cs.stanford.edu",
        )
        project.env[VARIABLE] = json.dumps({f"https://{host}": f"{hub.endpoint}/{host}" for host in hosts})
        yield project


def publish(hub: Hub, url: str, content: bytes, **headers: str) -> None:
    hub.publish(url.replace("https:/", "", 1), content, headers=headers)


def packed(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, name.encode())
    return buffer.getvalue()


def test_a_model_is_pulled_by_its_lavis_name_to_where_lavis_and_transformers_look(hub: Hub, project: Project) -> None:
    name = "blip_caption/base_coco"
    files = RECORDED["models"][name]["files"]
    for url in files.values():
        publish(hub, url, url.encode() * 1000)
    assert "not locked" in project.run("pull", "--locked", name, code=4).err
    done = project.run("pull", name)
    assert f"{name}: not locked yet; locking in " in done.err
    assert "locking" not in project.run("pull", name).err
    for place, url in files.items():
        assert (project.root / place).read_bytes() == url.encode() * 1000
    snapshots = project.root / "hub" / "models--bert-base-uncased" / "snapshots"
    commit = (project.root / "hub" / "models--bert-base-uncased" / "refs" / "main").read_text()
    assert files_below(snapshots / commit) == {*BERT, "pytorch_model.bin"}, "one format of the weights"
    project.run("verify", "--full", name)
    done = project.run("env", "--json")
    assert done.json["TORCH_HOME"] == str(project.root / "torch")


@pytest.mark.parametrize(
    ("name", "fault", "code", "words"),
    [
        ("clip/RN50", "other bytes", 3, "RN50.pt: *expected sha256 afeb0e10f9e5a86d*found"),
        ("deit_base_patch16_224", "other bytes", 3, "b5f2ef4d.pth: *expected sha256 b5f2ef4d..., found"),
        ("eva_vit_g", "truncated", 5, "eva_vit_g.pth: *the body ended"),
        ("clip_vit_L", "absent", 5, "clip_vit_L.pth: *HTTP 404"),
        ("alpro_pretrain", "page", 5, "alpro_pretrain.pt: *gave an HTML page, not the file"),
        (
            "coco_caption",
            "other bytes",
            3,
            "coco_karpathy_train.json: *expected md5 aa31ac474cf6250ebb81d18348a07ed8, found",
        ),
    ],
)
def test_what_is_cut_short_altered_gone_or_a_page_is_refused_by_name(
    hub: Hub, project: Project, name: str, fault: str, code: int, words: str
) -> None:
    source = Catalog([], shipped_manifests()).get(name).source
    assert isinstance(source, FilesSource)
    url = source.files[0].urls[0]
    if fault == "page":
        publish(hub, url, b"<!DOCTYPE html><html>This link has expired</html>", **{"Content-Type": "text/html"})
    elif fault != "absent":
        publish(hub, url, b"not what was meant " * 20_000)
    if fault == "truncated":
        hub.faults.add(Fault(match=url.rpartition("/")[2], truncate_after=10_000, times=None))
    if name == "coco_caption":  # its images are not the point
        hub.publish("/images.zip", packed("val2014/a.jpg"))
        project.write(
            "version: 1\nrequires: [coco_caption]\ndatasets:\n  coco-images:\n"
            "    files: [{url: '{endpoint}/images.zip', extract: lavis/coco/images}]\n"
        )
    done = project.run("lock", name, code=code)
    for word in words.split("*"):
        assert word in done.err
    assert name in done.err
    assert "correct" not in done.err, "what comes with assetmgr is not for its user to correct"
    assert (f"declare {name} in a manifest of your own" in done.err) == (fault != "truncated")
    assert not [path for path in files_below(project.root) if path.startswith(("torch/", "clip/", "lavis/"))]


def test_what_cannot_be_had_does_not_keep_the_others_away(hub: Hub, project: Project) -> None:
    publish(hub, f"{GOOGLE}/LAVIS/models/BLIP2/eva_vit_g.pth", b"eva" * 1000)
    done = project.run("pull", "clip_vit_L", "eva_vit_g", code=5)
    assert "clip_vit_L.pth: " in done.err
    assert "HTTP 404" in done.err
    assert "assets.lock.json written; it lacks what failed:" in done.err
    states = {row["name"]: row["state"] for row in project.run("status", "eva_vit_g", "--json").json}
    assert states == {"eva_vit_g": "installed"}
    publish(hub, f"{GOOGLE}/LAVIS/models/BLIP2/clip_vit_L.pth", b"clip" * 1000)
    hub.reset_log()
    project.run("pull", "clip_vit_L", "eva_vit_g")
    assert not [record.path for record in hub.requests if "eva_vit_g" in record.path], "it is asked for once"
    project.run("run", "--needs", "clip_vit_L", "--needs", "eva_vit_g", "--", "true")


def test_a_dataset_takes_images_of_the_users_own_and_goes_to_lavis_folders(hub: Hub, project: Project) -> None:
    """gqa/balanced_val: annotations from their own URLs, images from a URL of the user's."""
    for url in RECORDED["datasets"]["gqa/balanced_val"]["files"].values():
        publish(hub, url, b"[]")
    hub.publish("/images.zip", packed("images/1.jpg", "images/2.jpg"))
    project.write(
        "version: 1\nrequires: [gqa/balanced_val]\ndatasets:\n  gqa-images:\n"
        "    files: [{url: '{endpoint}/images.zip', extract: lavis/gqa/images, prefix: images, strip: 1}]\n"
    )
    project.run("lock")
    project.run("pull")
    for place in RECORDED["datasets"]["gqa/balanced_val"]["files"]:
        assert (project.root / place).read_bytes() == b"[]"
    assert (project.root / RECORDED["datasets"]["gqa/balanced_val"]["media"]["val"] / "1.jpg").is_file()


def test_what_nobody_may_fetch_is_taken_from_where_it_is_asked_for(hub: Hub, project: Project) -> None:
    for url in RECORDED["datasets"]["flickr30k"]["files"].values():
        publish(hub, url, b"[]")
    done = project.run("pull", "flickr30k", code=7)
    place = project.root / "files" / "flickr30k-images" / "flickr-image-dataset.zip"
    for words in ("kaggle.com/datasets/hsankesara/flickr-image-dataset", str(place), "assetmgr lock flickr30k-images"):
        assert words in done.err
    place.parent.mkdir(parents=True)
    place.write_bytes(packed("flickr30k_images/flickr30k_images/1000092795.jpg", "flickr30k_images/results.csv"))
    project.run("pull", "flickr30k")
    folder = project.root / RECORDED["datasets"]["flickr30k"]["media"]["train"]
    assert files_below(folder) == {"flickr30k-images/1000092795.jpg"}
    assert place.is_file(), "what a user brought is kept"
