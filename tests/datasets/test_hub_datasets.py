"""Hub datasets: the library's own splits and values, of proved files alone, without a network, kept in the store."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assetmgr.datasets import Dataset, Splits, load
from assetmgr.datasets.hub_table import HubTable, is_coded
from assetmgr.errors import AssetError, DiskSpaceError, IntegrityError, MissingExtraError, UsageError
from assetmgr.verify import Installed
from tests.datasets.conftest import png
from tests.datasets.stored import Content, store_asset
from tests.hub import Hub
from tests.support import flip_byte, hub_manifest, served, truncate

pytest.importorskip("datasets")

CARD = """---
configs:
- config_name: en
  data_files:
  - {split: train, path: en/a.jsonl}
- config_name: de
  data_files:
  - {split: train, path: de/a.jsonl}
  - {split: dev, path: de/b.jsonl}
---
"""
CONFIGS: dict[str, bytes] = {
    "README.md": CARD.encode(),
    "en/a.jsonl": b'{"t": "an apple"}\n',
    "de/a.jsonl": b'{"t": "ein Apfel"}\n',
    "de/b.jsonl": b'{"t": "eine Birne"}\n{"t": "ein Kern"}\n',
}
ROWS = b'{"file_name": "1.png", "text": "one"}\n{"file_name": "2.png", "text": "two"}\n'

Store = Callable[..., Installed]


def parquet(rows: dict[str, list[Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(rows), buffer)
    return buffer.getvalue()


def tar(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


@pytest.fixture
def stored(tmp_path: Path) -> Store:
    def store(files: dict[str, Content], use: dict[str, Any] | None = None, name: str = "d", **how: Any) -> Installed:
        return store_asset(tmp_path / "store", name, files, use or {}, **how)

    return store


def splits_of(found: Installed, **how: Any) -> Splits:
    splits = load(found, **how)
    assert isinstance(splits, Splits)
    return splits


def rows_of(splits: Splits) -> dict[str, list[dict[str, Any]]]:
    """Every row, with what an image is in place of it."""
    return {
        split: [
            {name: value.getpixel((0, 0)) if hasattr(value, "getpixel") else value for name, value in sample.items()}
            for sample in dataset
        ]
        for split, dataset in splits.items()
    }


CSV = b"file_name,text\n1.png,one\n2.png,two\n"
RED, BLUE = (255, 0, 0), (0, 0, 255)
FORMATS: dict[str, tuple[dict[str, Content], dict[str, list[dict[str, Any]]]]] = {
    "parquet": (
        {
            "data/train-00000-of-00002.parquet": parquet({"a": [1, 2], "t": ["x", None]}),
            "data/train-00001-of-00002.parquet": parquet({"a": [3], "t": ["z"]}),
            "data/test-00000-of-00001.parquet": parquet({"a": [9], "t": ["q"]}),
        },
        {"train": [{"a": 1, "t": "x"}, {"a": 2, "t": None}, {"a": 3, "t": "z"}], "test": [{"a": 9, "t": "q"}]},
    ),
    "jsonl": (
        {
            "train.jsonl": b'{"l": [1, 2], "d": {"x": "y"}}\n{"l": [], "d": {"x": null}}\n',
            "validation.jsonl.gz": gzip.compress(b'{"l": [3], "d": {"x": "z"}}\n'),
        },
        {
            "train": [{"l": [1, 2], "d": {"x": "y"}}, {"l": [], "d": {"x": None}}],
            "validation": [{"l": [3], "d": {"x": "z"}}],
        },
    ),
    "csv": ({"train.csv": b"a,b\n1,x\n2,y\n"}, {"train": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]}),
    "tsv": ({"train.tsv": b"a\tb\n1\tx\n"}, {"train": [{"a": 1, "b": "x"}]}),
    "a csv without rows": ({"train.csv": b"a,b\n"}, {"train": []}),
    "text": ({"notes.txt": "ä\nb\n".encode()}, {"train": [{"text": "ä"}, {"text": "b"}]}),
    "imagefolder": (
        {"train/cat/1.png": png("red"), "train/dog/2.png": png("blue"), "test/dog/3.png": png("red")},
        {"train": [{"image": RED, "label": 0}, {"image": BLUE, "label": 1}], "test": [{"image": RED, "label": 1}]},
    ),
    "imagefolder with metadata": (
        {"train/1.png": png("red"), "train/2.png": png("blue"), "train/metadata.csv": CSV},
        {"train": [{"image": RED, "text": "one"}, {"image": BLUE, "text": "two"}]},
    ),
    "imagefolder in a zip": (
        {"train.zip": zipped({"1.png": png("red"), "2.png": png("blue"), "metadata.jsonl": ROWS})},
        {"train": [{"image": RED, "text": "one"}, {"image": BLUE, "text": "two"}]},
    ),
    "webdataset": (
        {"train-0.tar": tar({"a.png": png("red"), "a.json": b'{"c": 1}', "b.png": png("blue"), "b.json": b'{"c": 2}'})},
        {"train": [{"png": RED, "json": {"c": 1}, "__key__": "a"}, {"png": BLUE, "json": {"c": 2}, "__key__": "b"}]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_the_library_reads_it_and_the_samples_are_its_own(stored: Store, form: str) -> None:
    files, expected = FORMATS[form]
    found = stored(files)
    for splits in (splits_of(found), pickle.loads(pickle.dumps(splits_of(found)))):
        got = rows_of(splits)
        for samples in got.values():
            for sample in samples:
                sample.pop("__url__", None)
        assert got == expected
        assert list(splits) == list(expected)
    for split, dataset in splits.items():
        hf = dataset.to_hf()
        assert len(hf) == len(expected[split])
        assert tuple(hf.column_names) == dataset.columns
        assert dataset.columns == tuple(hf.features)
    if form != "a csv without rows":
        first = splits["train"].columns[0]
        assert list(splits["train"].select_columns(first)[-1]) == [first]
        assert len(splits["train"][[0, -1]]) == 2


def test_what_was_prepared_once_opens_without_the_library(stored: Store) -> None:
    found = stored(FORMATS["parquet"][0])
    first = splits_of(found)["train"]
    assert isinstance(first.table, HubTable)
    assert Path(first.table.paths[0]).is_relative_to(Path(found.store.root, "prepared/datasets/d"))
    script = """
import pickle, sys
from assetmgr.datasets import load
dataset = load(pickle.load(sys.stdin.buffer), split="train")
assert dataset[2] == {"a": 3, "t": "z"} and dataset[:] == list(dataset)
print("datasets" in sys.modules, "pandas" in sys.modules, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], input=pickle.dumps(found), capture_output=True, check=True)
    assert done.stdout == b"False False False\n"


def test_a_configuration_is_the_manifests_or_the_calls_and_must_be_chosen(stored: Store) -> None:
    with pytest.raises(UsageError, match="d has 2 configurations, and none is chosen; it may be en, de") as caught:
        load(stored(CONFIGS))
    assert "load: {config_name: en}" in caught.value.mend
    assert rows_of(splits_of(stored(CONFIGS), config_name="en")) == {"train": [{"t": "an apple"}]}
    german = splits_of(stored(CONFIGS, {"load": {"config_name": "de"}}))
    assert [len(german["train"]), len(german["dev"])] == [1, 2]
    assert german["dev"].annotations[0].endswith("de/b.jsonl")
    with pytest.raises(UsageError, match="no configuration 'dee'; did you mean 'de'"):
        load(stored(CONFIGS), config_name="dee")
    chosen = stored(CONFIGS, {"load": {"data_files": {"mine": ["*/a.jsonl"]}}})
    assert sorted(sample["t"] for sample in splits_of(chosen)["mine"]) == ["an apple", "ein Apfel"]
    with pytest.raises(KeyError, match="d has no split 'tain'; it may be mine"):
        load(chosen, split="tain")


@pytest.mark.parametrize(
    ("files", "kind", "words"),
    [
        ({"d.py": b"open('ran', 'w')", "README.md": b""}, UsageError, "scripts of datasets are not run"),
        ({"README.md": b"# hi", "a.bin": b"x"}, UsageError, "finds no data that it reads"),
        ({"train.jsonl": b""}, UsageError, "its files have no rows"),
        ({"train.jsonl": b'{"a": 1}\n{"a":'}, IntegrityError, r"cannot read it: .*train\.jsonl"),
        ({"train.parquet": b"PAR1 no"}, IntegrityError, r"cannot read it: .*train\.parquet"),
        (
            {"README.md": b"---\nconfigs:\n- config_name: default\n  data_files: https://example.com/a.jsonl\n---\n"},
            UsageError,
            "asks for the network",
        ),
    ],
    ids=["script", "no data", "no rows", "broken json", "broken parquet", "elsewhere"],
)
def test_what_cannot_be_read_says_why_and_leaves_nothing(
    stored: Store, files: dict[str, Content], kind: type[AssetError], words: str
) -> None:
    found = stored(files)
    with pytest.raises(kind, match=words) as caught:
        load(found)
    assert caught.value.message.startswith("d: ")
    assert caught.value.mend
    assert not [path for path in Path(found.store.root, "prepared").rglob("*") if path.is_file()]
    assert not list(Path().glob("ran"))


def test_a_value_that_names_another_file_or_an_address_is_not_followed(stored: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes(png())
    card = "---\ndataset_info:\n  features:\n  - {name: image, dtype: image}\n---\n"
    named = [os.fspath(outside), "http://127.0.0.1:9/x.png", f"{tmp_path}/store/../outside.png"]
    rows = "".join(json.dumps({"image": name}) + "\n" for name in named)
    train = splits_of(stored({"README.md": card.encode(), "train.jsonl": rows.encode()}))["train"]
    for number in range(len(named)):
        with pytest.raises(IntegrityError, match=f"sample {number}, column image: .*: not a file of this dataset"):
            train[number]


def test_an_image_that_cannot_be_decoded_is_named(stored: Store) -> None:
    found = stored({"train/1.png": png("red"), "train/2.png": png()[:40], "train/metadata.jsonl": ROWS})
    train = splits_of(found)["train"]
    assert train[0]["image"].size == (4, 3)
    with pytest.raises(IntegrityError) as caught:
        train[1]
    for words in ("d, split train", "sample 1", "column image", "train/2.png", "cannot be decoded"):
        assert words in caught.value.message
    assert caught.value.mend == "assetmgr verify d --repair"
    Path(found.folder, "train/1.png").unlink()
    with pytest.raises(IntegrityError, match=r"sample 0, column image: .*train/1\.png: no such file"):
        train[0]
    assert train.select_columns("text")[1] == {"text": "two"}


def test_files_that_are_not_the_entrys_are_not_read(stored: Store) -> None:
    """Another asset, or another program, may have put more of the same commit into the snapshot."""
    found = stored({"data/train-0.jsonl": b'{"a": 1}\n'})
    Path(found.folder, "data/train-1.jsonl").write_bytes(b'{"a": 2}\n')
    Path(found.folder, "README.md").write_bytes(CARD.encode())
    assert rows_of(splits_of(found)) == {"train": [{"a": 1}]}


def test_what_is_damaged_is_found_before_it_is_prepared(stored: Store) -> None:
    found = stored({"train.jsonl": b'{"a": 1}\n'})
    flip_byte(Path(found.folder, "train.jsonl"), 6, keep_time=True)
    with pytest.raises(IntegrityError, match=r"train\.jsonl: altered") as caught:
        load(found)
    assert caught.value.mend == "assetmgr verify d --full --repair"


def test_what_was_prepared_is_made_anew_where_it_is_not_whole(stored: Store) -> None:
    found = stored({"train.jsonl": b'{"a": 1}\n'})
    table = splits_of(found)["train"].table
    assert isinstance(table, HubTable)
    (path,) = map(Path, table.paths)
    for damage in ("a bit", "its end", "all"):
        if damage == "a bit":
            flip_byte(path, 8)
        elif damage == "its end":
            truncate(path, 100)
        else:
            path.unlink()
        assert rows_of(splits_of(found)) == {"train": [{"a": 1}]}
    os.utime(path, ns=(1, 1))  # copied: proved by its bytes
    before = path.stat().st_ino
    assert rows_of(splits_of(found)) == {"train": [{"a": 1}]}
    assert path.stat().st_ino == before


def test_another_revision_is_another_table(stored: Store) -> None:
    old = stored({"train.jsonl": b'{"a": 1}\n'})
    assert rows_of(splits_of(old)) == {"train": [{"a": 1}]}
    new = stored({"train.jsonl": b'{"a": 2}\n'})
    assert rows_of(splits_of(new)) == {"train": [{"a": 2}]}
    assert old.entry.digest() != new.entry.digest()


def test_two_processes_prepare_it_once(stored: Store) -> None:
    found = stored({"train.jsonl": b"".join(b'{"a": %d}\n' % number for number in range(5000))})
    script = """
import pickle, sys
from assetmgr.datasets import load
train = load(pickle.load(sys.stdin.buffer), split="train")
print(len(train), train[-1]["a"], train.table.paths[0])
"""
    children = [
        subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    told = {child.communicate(pickle.dumps(found))[0] for child in children}
    assert len(told) == 1
    assert told.pop().startswith(b"5000 4999 ")
    (folder,) = Path(found.store.root, "prepared/datasets/d").glob("*/")
    assert [path.name for path in folder.iterdir()] == ["train-00000.arrow"]


def test_a_full_disk_is_named_and_leaves_nothing(stored: Store) -> None:
    found = stored({"train.jsonl": b"".join(b'{"a": "%0200d"}\n' % number for number in range(5000))})
    folder = Path(found.store.root, "prepared")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small file system here")
    try:
        with pytest.raises(DiskSpaceError, match=r"d: .*no room"):
            load(found)
        assert not [path for path in folder.rglob("*") if path.is_file()]
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    assert len(splits_of(found)["train"]) == 5000


@pytest.mark.torch
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_data_loader_workers_read_it(stored: Store, context: str) -> None:
    from torch.utils.data import DataLoader

    train = splits_of(stored(FORMATS["imagefolder with metadata"][0]), transform=_text)["train"]
    assert isinstance(train, Dataset)
    loader = DataLoader(train, batch_size=2, num_workers=2, multiprocessing_context=context)
    assert [list(batch) for batch in loader] == [["one 4x3", "two 4x3"]]


def _text(sample: dict[str, Any]) -> str:
    return f"{sample['text']} {sample['image'].width}x{sample['image'].height}"


def test_without_the_library_the_extra_is_named(stored: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "datasets" else there(name))
    with pytest.raises(MissingExtraError) as caught:
        load(stored(CONFIGS))
    assert caught.value.mend == "pip install 'assetmgr[hub-datasets]'"


@pytest.mark.parametrize(
    ("feature", "coded"),
    [
        ({"dtype": "int64", "_type": "Value"}, False),
        ({"names": ["a"], "_type": "ClassLabel"}, False),
        ({"shape": [1, 2], "dtype": "float32", "_type": "Array2D"}, False),
        ({"_type": "Image"}, True),
        ({"decode": False, "_type": "Image"}, False),
        ({"feature": {"_type": "Image"}, "_type": "List"}, True),
        ({"feature": {"a": {"dtype": "string", "_type": "Value"}}, "_type": "Sequence"}, False),
        ([{"_type": "Audio"}], True),
        ({"a": {"b": {"_type": "Video"}}}, True),
        ({"a": {"_type": {"dtype": "string", "_type": "Value"}}}, False),
    ],
)
def test_which_values_the_library_decodes(feature: Any, coded: bool) -> None:
    assert is_coded(feature) is coded


LOADED = """
import sys, assetmgr
splits = assetmgr.load_dataset("fruit", config_name="de")
print(splits)
print(splits["dev"], splits["dev"][1])
"""


def test_from_the_manifest_to_the_rows_with_the_hub_closed(tmp_path: Path) -> None:
    hub = Hub()
    hub.create("org/fruit", "dataset").commit(CONFIGS)
    with served(hub, tmp_path / "project") as project:
        project.write(hub_manifest("fruit", "org/fruit", "datasets", ["load: {config_name: en}"]))
        project.run("lock")
        project.run("pull")
        hub.reset_log()
        out = project.python(LOADED).out
        assert hub.requests == []
    assert "dev: 2 rows of t" in out
    assert "{'t': 'ein Kern'}" in out
    assert "verified: " in out
    assert project.python(LOADED).out == out
    flip_byte(project.path("fruit") / "de/b.jsonl", 3)
    failed = project.python(LOADED, expect=1)
    assert "altered" in failed.err
    assert "assetmgr verify fruit --repair" in failed.err
