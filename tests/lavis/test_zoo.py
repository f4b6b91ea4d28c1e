"""The catalog has what LAVIS itself fetches and opens, for each of its 56 model types and 25 datasets.

``recorded.json`` is what the package does, written down by `recording`. Where LAVIS is installed (marker ``lavis``) it
is recorded anew and compared, and the manifests are generated anew.
"""

from __future__ import annotations

import fnmatch
import functools
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from assetmgr.catalog import Catalog, shipped_manifests
from assetmgr.manifest import Asset, FileSource, FilesSource, HubSource, UrlListSource
from assetmgr.names import fold
from tests.lavis import generate, package
from tests.support import REPOSITORY, clean_environment

RECORDED: dict[str, Any] = json.loads(Path(__file__).with_name("recorded.json").read_text())
HAND = generate.HAND


@functools.cache
def catalog() -> Catalog:
    return Catalog([], shipped_manifests())


def placed(file: FileSource) -> str:
    """Where a file comes to stand in the store."""
    return f"{'torch/hub/checkpoints' if file.place == 'torch' else file.place}/{file.path}"


def sources(asset: Asset) -> tuple[FileSource, ...]:
    return asset.source.files if isinstance(asset.source, FilesSource) else ()


def everything(asset: Asset) -> tuple[FileSource, ...]:
    """All that is fetched as it is or asked for, lists of URLs among them."""
    return (asset.source.file,) if isinstance(asset.source, UrlListSource) else sources(asset)


def fetched(asset: Asset) -> dict[str, FileSource]:
    """The files that LAVIS looks for by their own names: not those that hold media."""
    return {placed(file): file for file in sources(asset) if file.extract is None}


def media_folders(asset: Asset) -> set[str]:
    return {file.extract.place for file in sources(asset) if file.extract is not None}


# --- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(RECORDED["models"]))
def test_a_models_files_places_and_requires_are_what_lavis_fetches(name: str) -> None:
    recorded = RECORDED["models"][name]
    closure = catalog().closure([name])
    files = {
        placed(file): file for asset in closure for file in sources(asset) if asset.name not in recorded["packages"]
    }
    assert {place: file.urls for place, file in files.items()} == {
        place: (url,) for place, url in recorded["files"].items()
    }
    hub = {asset.source.repo: asset.source for asset in closure if isinstance(asset.source, HubSource)}
    assert set(hub) == set(recorded["hub"])
    for repo, names in recorded["hub"].items():
        patterns = hub[repo].allow_patterns or ()
        missed = [asked for asked in names if not any(fnmatch.fnmatch(asked, pattern) for pattern in patterns)]
        assert not missed, f"{repo}: {missed}"
    own = catalog().get(name)
    assert set(recorded["packages"]) <= set(own.requires)
    # What is shared is an asset of its own.
    parts = {asset.name for asset in closure} - {name}
    assert parts == set(own.requires)
    assert own.use["load"] == {"lavis": dict(zip(("name", "model_type"), name.split("/"), strict=True))}


def test_every_checksum_in_a_name_or_a_url_is_in_the_catalog() -> None:
    hashes = {url: prefix for model in RECORDED["models"].values() for url, prefix in model["hashes"].items()}
    assert hashes
    seen = set()
    for asset in catalog():
        for file in sources(asset):
            (url, *_) = file.urls or ("",)
            if url in hashes:
                assert file.sha256_prefix == hashes[url]
                seen.add(url)
            if "openaipublic" in url:
                assert file.sha256 == url.split("/")[-2]
    assert seen == set(hashes)


def test_a_pattern_takes_one_format_of_a_repositorys_weights() -> None:
    formats = ("pytorch_model.bin", "model.safetensors", "tf_model.h5", "flax_model.msgpack", "rust_model.ot")
    for asset in catalog():
        if isinstance(asset.source, HubSource) and asset.declared_at.file.endswith(("models.yaml", "language.yaml")):
            patterns = asset.source.allow_patterns or ()
            taken = [name for name in formats if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]
            assert len(taken) == 1 or "diffusion" in str(patterns), (asset.name, taken)


# --- datasets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(RECORDED["datasets"]))
def test_a_datasets_files_places_and_media_are_what_lavis_opens(name: str) -> None:
    recorded = RECORDED["datasets"][name]
    base, _, form = name.partition("/")
    variants: Any = catalog().get(base).use.get("variants", {})
    asset = catalog().get(base if form in variants else name)
    files = fetched(asset)
    if form in variants:
        splits: Any = variants[form]["splits"]
        kept = {entry for entries in splits.values() for entry in entries}
        files = {place: file for place, file in files.items() if file.path in kept}
    assert set(files) == set(recorded["files"])
    for place, url in recorded["files"].items():
        # What lies on machines of LAVIS's makers is asked for; all else has LAVIS's URL.
        assert files[place].urls == ((url,) if url.startswith("https://") else ())
        assert (files[place].ask is None) == bool(files[place].urls)
    looked = {folder.rstrip("/") for folder in (*recorded["media"].values(), *recorded["others"])}
    closure = catalog().closure([asset.name])
    given = {folder for other in closure for folder in media_folders(other)}
    shards = {other.source.place for other in closure if isinstance(other.source, UrlListSource)}
    for folder in looked:
        if folder.startswith("lavis/"):
            # What is fetched image by image lies in shards beside the folder in which LAVIS looks for single files.
            beside = str(Path(folder).parent)
            assert (
                folder in given
                or {folder} & {str(Path(place).parent) for place in given}
                or (shards and all(place.startswith(f"{beside}/shards") for place in shards))
            ), folder
        else:
            # A folder of LAVIS's makers: who looks at it is told, and how to name another.
            assert "LAVIS looks for" in (asset.description or "")
    assert given or shards, "every dataset has its media"


@pytest.mark.parametrize("name", sorted(RECORDED["datasets"]))
def test_a_datasets_splits_are_lavis_own_and_name_its_files(name: str) -> None:
    recorded = RECORDED["datasets"][name]
    base, _, form = name.partition("/")
    variants: Any = catalog().get(base).use.get("variants", {})
    asset = catalog().get(base if form in variants else name)
    splits: Any = variants[form]["splits"] if form in variants else asset.use.get("splits", {})
    assert set(splits) == set(recorded["media"]) or not recorded["files"]
    paths = [file.path for file in fetched(asset).values()]
    named = {entry for entries in splits.values() for entry in entries}
    # There are no annotations: a split is a folder of media, or shards.
    if asset.use.get("samples") in ("image_folder", "webdataset"):
        assert not paths
        named = set()
    assert all(paths.count(entry) == 1 for entry in named)
    # Whatever LAVIS opens while it builds its splits is in one of them, or beside them (classes of answers).
    opened = {Path(path).name for path in recorded["opened"]}
    assert opened - named <= {"qa_ans2label.json"}


def test_an_archives_own_folder_is_dropped_where_lavis_drops_it() -> None:
    extractions = [file.extract for asset in catalog() for file in sources(asset) if file.extract is not None]
    assert {extract.prefix for extract in extractions} > {
        "images",
        "YouTubeClips",
        "videos",
        "TrainValVideo",
        "TestVideo",
    }
    for extract in extractions:
        assert extract.strip == (extract.prefix.count("/") + 1 if extract.prefix else 0)


def test_what_evaluation_fetches_is_in_the_catalog() -> None:
    files = fetched(catalog().get("coco-caption-evaluation"))
    assert {place: file.urls[0] for place, file in files.items()} == RECORDED["evaluation"]


def test_every_published_md5_is_in_the_catalog() -> None:
    found = {file.md5 for asset in catalog() for file in sources(asset)}
    assert {
        "aa31ac474cf6250ebb81d18348a07ed8",  # coco_karpathy_train.json
        "b273847456ef5580e33713b1f7de52a0",
        "3ff34b0ef2db02d01c37399f6a2a6cd1",
        "0da8c0bd3d6becc4dcb32757491aca88",  # train2014.zip
        "a3d79f5ed8d289b7a7554ce06a5782b3",
        "04127eef689ceac55e3a572c2c92f264",
    } <= found


# --- the whole --------------------------------------------------------------------------------------------------------


def test_every_required_name_and_every_twin_is_there_and_twins_name_each_other() -> None:
    names = catalog().names()
    assert catalog().closure(names)
    for asset in catalog():
        for twin in asset.twins:
            assert asset.name in catalog().get(twin).twins, (asset.name, twin)


def test_no_two_assets_want_one_place_from_different_urls() -> None:
    """But for the two sizes of one newer architecture, of which LAVIS itself can have only one."""
    wanted: dict[str, tuple[str, ...]] = {}
    for asset in catalog():
        for place, file in fetched(asset).items():
            if file.place != "files" and "xinstruct" not in asset.name:
                assert wanted.setdefault(fold(place), file.urls) == file.urls, (asset.name, place)


def test_what_nobody_may_fetch_says_what_to_do() -> None:
    asked = {asset.name for asset in catalog() for file in everything(asset) if not file.urls}
    assert {"flickr30k-images", "imagenet", "laion2B_multi", "msrvtt-videos", "conceptual_caption_3m", "gqa"} <= asked
    for asset in catalog():
        for file in everything(asset):
            assert file.urls or file.ask


@pytest.mark.parametrize(
    ("name", "lists"),
    [
        ("nocaps", {"nocaps-val-images", "nocaps-test-images"}),
        ("sbu_caption", {"sbu-images"}),
        ("conceptual_caption_3m", {"cc3m-images"}),
        ("conceptual_caption_12m", {"cc12m-images"}),
        ("laion2B_multi", {"laion2B_multi"}),
    ],
)
def test_what_is_millions_of_urls_is_a_list_of_them(name: str, lists: set[str]) -> None:
    closure = catalog().closure([name])
    assert {asset.name for asset in closure if isinstance(asset.source, UrlListSource)} == lists


def test_the_notes_older_list_of_datasets_is_among_the_names() -> None:
    newer = {"avsd_dialogue", "gqa"}
    assert len(set(RECORDED["dataset_zoo"]) - newer) == 23
    assert set(RECORDED["dataset_zoo"]) <= set(catalog().names())


def test_generated_manifests_are_canonical_yaml_that_says_what_it_was_made_of() -> None:
    """What a second reader makes of them is what was meant: no digest became a number, no name a truth value."""
    for name in (generate.MODELS, generate.DATASETS, generate.HUB):
        document = yaml.safe_load((REPOSITORY / "manifests" / name).read_text())
        for asset in (document.get("models") or document["datasets"]).values():
            for file in asset.get("files", ()):
                texts = [file.get(key, "") for key in ("url", "path", "sha256", "md5", "sha256_prefix")]
                assert all(isinstance(text, str) for text in texts)


@pytest.mark.lavis
def test_what_the_tokenizers_of_every_model_need_is_installed_with_lavis() -> None:
    if package.find_package() is None:
        pytest.skip("LAVIS is not installed here: make test-lavis")
    asked = {name for model in RECORDED["models"].values() for names in model["hub"].values() for name in names}
    assert "spiece.model" in asked
    assert importlib.util.find_spec("sentencepiece"), "transformers' T5Tokenizer, of pnp_vqa and img2prompt_vqa"


@pytest.mark.lavis
def test_the_manifests_are_what_the_package_generates() -> None:
    folder = package.find_package()
    if folder is None:
        pytest.skip("LAVIS is not installed here")
    for name, text in generate.generate(folder).items():
        assert (REPOSITORY / "manifests" / name).read_text() == text, f"{name}: python -m tests.lavis.generate"


@pytest.mark.lavis
def test_the_record_is_what_lavis_does() -> None:
    if package.find_package() is None:
        pytest.skip("LAVIS is not installed here")
    done = subprocess.run(
        [sys.executable, "-m", "tests.lavis.recording"],
        cwd=REPOSITORY,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == RECORDED
