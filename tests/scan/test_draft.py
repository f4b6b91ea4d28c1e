"""A draft declares what is certain, once, with where it was seen; it is always a manifest."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from assetmgr.catalog import Catalog
from assetmgr.manifest import HubSource, Manifest, parse_manifest
from assetmgr.scan.draft import Draft, draft
from assetmgr.scan.finds import Find, Listed, Named, Remark, Repo
from assetmgr.scan.project import Known

HERE = Path("/somewhere/assets.yaml")
ZOO = Path("/zoo.yaml")
CATALOG = """\
version: 1
models:
  blip_caption/base_coco: {hub: o/blip}
  known: {hub: o/known}
datasets:
  coco_caption: {hub: o/coco, requires: [coco-images], samples: caption}
  coco-images: {hub: o/images}
"""


def drafted(*finds: Find) -> Draft:
    return draft(finds, Known(Catalog([], [parse_manifest(CATALOG, ZOO)])), ".", HERE)


def manifest(*finds: Find) -> Manifest:
    return parse_manifest(drafted(*finds).text, HERE)


def use(where: str, repo: str = "o/m", **more: object) -> Repo:
    return Repo(where, "model", repo, is_use=True, **more)  # type: ignore[arg-type]


def fetch(where: str, repo: str = "o/m", kind: str = "model", **more: object) -> Repo:
    return Repo(where, kind, repo, **more)  # type: ignore[arg-type]


def test_duplicates_are_one_entry_with_every_place() -> None:
    done = drafted(use("a.py:1"), use("b.py:2"), use("a.py:1"), *(use(f"c.py:{n}") for n in range(9)))
    assert "  # seen in a.py:1, b.py:2, c.py:0, c.py:1, c.py:2, c.py:3 and 5 more\n  o/m:\n    hub: o/m\n" in done.text
    assert (done.models, done.datasets, done.requires) == (1, 0, 0)


def test_patterns_are_united_and_the_whole_wins() -> None:
    def source(*finds: Find) -> HubSource:
        (asset,) = manifest(*finds).assets
        assert isinstance(asset.source, HubSource)
        return asset.source

    one, two = fetch("a:1", allow=("*.json",)), fetch("a:2", allow=("*.txt", "*.json"))
    assert source(one, two).allow_patterns == ("*.json", "*.txt")
    assert source(one, use("a:3")).allow_patterns is None
    assert source(fetch("a:1", ignore=("*.bin",))).ignore_patterns == ("*.bin",)
    assert source(fetch("a:1", ignore=("*.bin", "*.h5")), fetch("a:2", ignore=("*.bin",))).ignore_patterns == ("*.bin",)
    mixed = source(one, fetch("a:2", ignore=("*.json",)))
    assert (mixed.allow_patterns, mixed.ignore_patterns) == (None, None)


def test_revisions_and_kinds_of_one_repo_are_entries_of_their_own() -> None:
    found = manifest(
        use("a:1"), use("a:2", revision="v1/x"), use("a:4", revision="main"), Repo("a:3", "dataset", "o/m", is_use=True)
    )
    assert [(asset.name, asset.kind) for asset in found.assets] == [
        ("o/m", "model"),
        ("o/m+v1-x", "model"),
        ("o/m+dataset", "dataset"),
    ]


def test_a_model_that_is_fetched_as_a_dataset_is_told_and_declared_as_the_model_that_it_is() -> None:
    done = drafted(fetch("a.py:9", kind="dataset"), use("b.py:1"), fetch("a.py:10", "o/known", kind="dataset"))
    assert done.slips == (
        "a.py:9 fetches o/m with repo_type='dataset', but b.py:1 loads it as a model: declared as a model",
        (
            "a.py:10 fetches o/known with repo_type='dataset', but the catalog has it as the model known: "
            "declared as a model"
        ),
    )
    assert all(f"  # {slip}\n" in done.text for slip in done.slips)
    assert (done.models, done.datasets) == (2, 0)
    assert drafted(fetch("a.py:9", kind="dataset")).datasets == 1


def test_names_of_the_catalog_are_required_and_others_are_left_open_with_the_nearest() -> None:
    done = drafted(Named("a:1", "coco_caption"), Named("a:2", "blip_caption/base_cocoo"), Named("b:1", "coco_caption"))
    assert "requires:\n  # seen in a:1, b:1\n  - coco_caption\n" in done.text
    assert "#   a:2: 'blip_caption/base_cocoo' is in no catalog; did you mean 'blip_caption/base_coco'?" in done.text


def test_a_dataset_with_its_own_files_takes_the_catalogs_images() -> None:
    files = {"files": [{"url": "https://example.org/a.json", "place": "lavis/coco/annotations"}]}
    found = manifest(Listed("c:1", "dataset", "coco_caption", files), Named("c:2", "coco_caption"))
    (asset,) = found.assets
    assert (asset.requires, asset.use, found.requires) == (("coco-images",), {"samples": "caption"}, ())


def test_a_folder_of_another_machine_is_only_said() -> None:
    assert manifest(fetch("a:1", local_dir="models/x")).assets[0].local_dir == "/somewhere/models/x"
    for folder in ("E:\\x", "/data/x", "~/x", "../x", "$HOME/x"):
        done = drafted(fetch("a:1", local_dir=folder))
        assert "local_dir:" not in done.text
        assert f"# shown in {folder!r} there" in done.text


words = st.text(max_size=30)
names = st.sampled_from(["o/m", "o/n", "bert", "o/known"])
finds = st.one_of(
    st.builds(Remark, words, words),
    st.builds(Named, words, st.one_of(words, st.sampled_from(["coco_caption", "known"]))),
    st.builds(
        Repo,
        words,
        st.sampled_from(["model", "dataset"]),
        names,
        st.none() | words,
        st.none() | st.lists(words, min_size=1, max_size=2).map(tuple),
        st.none() | st.lists(words, min_size=1, max_size=2).map(tuple),
        st.none() | words,
        st.booleans(),
    ),
    st.builds(
        Listed,
        words,
        st.sampled_from(["model", "dataset"]),
        st.one_of(words, st.sampled_from(["coco_caption", "known"])),
        st.fixed_dictionaries({"files": st.lists(st.fixed_dictionaries({"url": words}), min_size=1, max_size=2)}),
    ),
)


@given(st.lists(finds, max_size=8))
def test_whatever_a_project_says_a_draft_is_a_manifest(found: list[Find]) -> None:
    text = drafted(*found).text
    parse_manifest(text, HERE)
    assert not set(text) & (set(map(chr, range(32))) - {"\n"})
