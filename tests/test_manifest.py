"""A manifest is read whole or refused with every mistake in it, each at its place."""

from __future__ import annotations

import json
import pickle
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from assetmgr.errors import ManifestError
from assetmgr.manifest import (
    SAMPLE_READERS,
    Asset,
    Extraction,
    FileSource,
    FilesSource,
    HubSource,
    Manifest,
    ManifestLimits,
    json_schema,
    load_manifest,
    parse_manifest,
)
from assetmgr.manifest_yaml import Mapping, Node, Problems, Scalar, Sequence, compose

HERE = Path("/somewhere/assets.yaml")
ROOT = Path(__file__).parent.parent
MD5 = "aa31ac474cf6250ebb81d18348a07ed8"
SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

FULL = f"""\
version: 1
cache_root: ~/store
models:
  blip2-opt-2.7b:
    hub: Salesforce/blip2-opt-2.7b      # or {{repo: ..., endpoint: https://...}}
    revision: main
    allow_patterns: ["*.json", "*.txt", "*.safetensors"]
    ignore_patterns: "*.bin"
    local_dir: links/blip2
    local_dir_links: hardlink
    groups: [demo]
    load:
      {{dtype: float16, quantize: int8, device_map: {{"": 0, head: cpu}}, class: a.B, backend: x, task: vqa}}
  blip_caption/base_coco:
    files:
      - url: ["https://mirror.example/x/model_base%20large.pth?a=1", https://example.org/other]
        place: torch
    requires: bert-base-uncased
    twins: Salesforce/blip-image-captioning-base
    load: {{lavis: {{name: blip_caption, model_type: base_coco}}, device_map: auto}}
datasets:
  coco_caption:
    hub: {{repo: org/coco, endpoint: "https://hub.example:8080/hf/"}}
    splits: {{train: a.json, val: [b/a.json, b/b.json]}}
    media: {{train: train2017, val: .}}
    samples: caption
    variants: {{eval: {{splits: {{val: c.json}}, media: ., samples: vqa}}}}
  local:
    files:
      - {{url: ./data/a.json, sha256: {SHA256}, size: 1_000}}
      - {{url: file:b%20c.json, md5: {MD5}, crc32c: '01234567', path: d/e.json, place: lavis/coco/x}}
      - {{url: 'C:\\data\\f.json', place: clip}}
      - {{url: ./g.zip, extract: files/g, strip: 1, prefix: a/b, keep_archive: no}}
      - {{url: ./h.zip, extract: off}}
      - {{url: ./i-0a1b2c3d.pth, sha256_prefix: 0a1b2c3d}}
"""


def parse(text: str, path: Path = HERE) -> Manifest:
    return parse_manifest(text, path)


def problems(text: str | bytes, limits: ManifestLimits | None = None) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(text, Path("assets.yaml"), limits=limits or ManifestLimits())
    assert all(problem.file == "assets.yaml" for problem in caught.value.problems)
    return [str(problem).removeprefix("assets.yaml:") for problem in caught.value.problems]


def model(body: str) -> str:
    return f"version: 1\nmodels: {{a: {{{body}}}}}"


def dataset(body: str) -> str:
    return f"version: 1\ndatasets: {{a: {{hub: o/r, {body}}}}}"


def file(body: str) -> str:
    return model(f"files: [{{{body}}}]")


def assets(text: str, path: Path = HERE) -> dict[str, Asset]:
    return {asset.name: asset for asset in parse(text, path).assets}


def test_every_key_of_the_format_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    manifest = parse(FULL)
    found = {asset.name: asset for asset in manifest.assets}
    assert manifest.cache_root == "/home/me/store"
    assert list(found) == ["blip2-opt-2.7b", "blip_caption/base_coco", "coco_caption", "local"]
    assert found["blip2-opt-2.7b"] == Asset(
        "blip2-opt-2.7b",
        "model",
        HubSource("Salesforce/blip2-opt-2.7b", None, "main", ("*.json", "*.txt", "*.safetensors"), ("*.bin",)),
        groups=("demo",),
        local_dir="/somewhere/links/blip2",
        local_dir_links="hardlink",
        use={
            "load": {
                "dtype": "float16",
                "quantize": "int8",
                "device_map": {"": 0, "head": "cpu"},
                "class": "a.B",
                "backend": "x",
                "task": "vqa",
            }
        },
        declared_at=found["blip2-opt-2.7b"].declared_at,
    )
    assert str(found["blip2-opt-2.7b"].declared_at) == "/somewhere/assets.yaml:4:3"
    lavis = found["blip_caption/base_coco"]
    assert (lavis.requires, lavis.twins) == (("bert-base-uncased",), ("Salesforce/blip-image-captioning-base",))
    assert lavis.source == FilesSource(
        (
            FileSource(
                ("https://mirror.example/x/model_base%20large.pth?a=1", "https://example.org/other"),
                "model_base large.pth",
                "torch",
            ),
        )
    )
    coco = found["coco_caption"]
    assert (coco.kind, coco.source) == ("dataset", HubSource("org/coco", "https://hub.example:8080/hf"))
    assert coco.use == {
        "splits": {"train": ["a.json"], "val": ["b/a.json", "b/b.json"]},
        "media": {"train": "train2017", "val": "."},
        "samples": "caption",
        "variants": {"eval": {"splits": {"val": ["c.json"]}, "media": ".", "samples": "vqa"}},
    }
    assert found["local"].source == FilesSource(
        (
            FileSource(("file:///somewhere/data/a.json",), "a.json", size=1000, sha256=SHA256),
            FileSource(
                ("file:///somewhere/b%20c.json",),
                "d/e.json",
                "lavis/coco/x",
                md5=MD5,
                crc32c="01234567",
            ),
            FileSource(("file:///C:/data/f.json",), "f.json", "clip"),
            FileSource(("file:///somewhere/g.zip",), "g.zip", extract=Extraction("files/g", 1, "a/b", False)),
            FileSource(("file:///somewhere/h.zip",), "h.zip"),
            FileSource(("file:///somewhere/i-0a1b2c3d.pth",), "i-0a1b2c3d.pth", sha256_prefix="0a1b2c3d"),
        )
    )


def test_what_ships_is_valid() -> None:
    for path in (ROOT / "manifests").glob("*.yaml"):
        assert load_manifest(path).assets


# What is wrong: the only complaint (or all, with | between), without the file's name.
ONE_MISTAKE = {
    "": "1:1: it is empty; a manifest begins with 'version: 1'",
    "# nothing": "1:1: it is empty; a manifest begins with 'version: 1'",
    "- a": "1:1: the manifest is a list; it must be a mapping with the keys of the manifest",
    "models: {}": "1:1: the manifest needs the key 'version': The format's version.",
    "version: 2\nmodles: {}": "1:10: unsupported version 2: this assetmgr reads version 1",
    "version: '1'": "1:10: version is '1'; it must be the number 1",
    "version: yes": "1:10: version is true or false, yes; it must be the number 1",
    "version: 1\nmodles: {}": "2:1: unknown key 'modles' in the manifest; did you mean 'models'?",
    "version: 1\nhub: a/b": "2:1: 'hub' belongs in a model or a dataset, not in the manifest",
    "version: 1\nmodels:": "2:8: models is empty; it must be a mapping from name to model",
    "version: 1\nmodels: {a: b}": "2:13: a is 'b'; it must be a mapping with the keys of a model",
    "version: 1\nmodels: {no: {hub: a/b}}": (
        "2:10: name under models: YAML reads no as true or false: write it in quotes: 'no'"
    ),
    "version: 1\nmodels: {../x: {hub: a/b}}": (
        "2:10: name under models '../x': a name has letters, digits, '.', '_', '-', '+', and '/' between its parts"
    ),
    "version: 1\nmodels: {? [a] : b}": "2:12: a key must be a text, not a list or a mapping",
    "version: 1\nmodels: {a: {hub: o/r}}\ndatasets: {a: {hub: o/r}}": (
        "3:12: 'a' is a model and also a dataset; the other is on line 2"
    ),
    "version: 1\nmodels: {a: {hub: o/r}, a: {hub: o/r}}": "2:25: duplicate key 'a'; the first is on line 2",
    "version: 1\nversion: 1": "2:1: duplicate key 'version'; the first is on line 1",
    "version: 1\ncache_root: $ASSETMGR_NO_SUCH/x": (
        "2:13: cache_root '$ASSETMGR_NO_SUCH/x': the environment variable 'ASSETMGR_NO_SUCH' is not set"
    ),
    model(""): "2:10: a model needs one of the keys 'hub' or 'files'",
    model("hub: o/r, allow_paterns: x"): (
        "2:24: unknown key 'allow_paterns' in a model; did you mean 'allow_patterns'?"
    ),
    model("hub: o/r, colour: x, Revision: main"): (
        "2:24: unknown key 'colour' in a model; it may be hub, revision, allow_patterns, ignore_patterns, transport, "
        "files, requires, groups, twins, license, description, local_dir, local_dir_links, load, prepare|"
        "2:35: unknown key 'Revision' in a model; did you mean 'revision'?"
    ),
    file("url: ./x, sha256_prefix: B5F2EF4D"): (
        "2:48: sha256_prefix 'B5F2EF4D': it is 8 to 63 lower-case hexadecimal digits; a whole one is `sha256`"
    ),
    file(f"url: ./x, sha256: {SHA256}, sha256_prefix: 'ffffffff'"): "2:122: 'sha256' does not begin with 'ffffffff'",
    model("hub: o/r, extract: files"): "2:24: 'extract' belongs in a file under 'files', not in a model",
    model("hub: o/r, samples: vqa"): "2:24: 'samples' belongs in a dataset, not in a model",
    model("hub: o/r, files: [{url: ./x}]"): "2:24: 'files' cannot stand beside 'hub': a model has one origin",
    model("files: [{url: ./x}], revision: v1"): "2:35: 'revision' goes with 'hub', and here is 'files'",
    model("hub: a/b/c"): "2:19: hub 'a/b/c': a hub repo is ORG/NAME or NAME, of letters, digits, '-', '_' and '.'",
    model("hub: datasets/a/b"): "2:19: hub 'datasets/a/b': leave out 'datasets/': the section says it",
    model("hub: https://huggingface.co/a/b"): (
        "2:19: hub 'https://huggingface.co/a/b': write only ORG/NAME; a hub of your own goes under "
        "{repo: ORG/NAME, endpoint: https://...}"
    ),
    model("hub: [o/r]"): "2:19: hub is a list; it must be a repo, or {repo: ..., endpoint: ...}",
    model("hub: {endpoint: https://h}"): "2:14: a hub origin needs the key 'repo': The repo: ORG/NAME.",
    model("hub: {repo: o/r, endpoint: 'ftp://h'}"): (
        "2:41: endpoint 'ftp://h': an endpoint begins with https:// or http://"
    ),
    model("hub: {repo: o/r, endpoint: 'https://h?a'}"): (
        "2:41: endpoint 'https://h?a': an endpoint has no '?' and no '#'"
    ),
    model("hub: {repo: o/r, endpoint: 'https://u:hunter2@h'}"): (
        "2:41: endpoint 'https://***@h': it holds credentials, and a manifest is no place for them: "
        "put them in ~/.netrc"
    ),
    model("hub: o/r, revision: 1.10"): ("2:34: revision: YAML reads 1.10 as a number: write it in quotes: '1.10'"),
    model("hub: o/r, revision: 0123456"): (
        "2:34: revision: YAML reads 0123456 as a number: write it in quotes: '0123456'"
    ),
    model("hub: o/r, revision: 2024-01-01"): (
        "2:34: revision: YAML reads 2024-01-01 as a date: write it in quotes: '2024-01-01'"
    ),
    model("hub: o/r, revision: off"): ("2:34: revision: YAML reads off as true or false: write it in quotes: 'off'"),
    model("hub: o/r, revision: "): "2:34: revision is empty; it must be a branch, tag or commit",
    model("hub: o/r, revision: ''"): "2:34: revision '': it is empty",
    model("hub: o/r, revision: a/../b"): "2:34: revision 'a/../b': it climbs out of its folder with '..'",
    model("hub: o/r, allow_patterns: []"): (
        "2:40: allow_patterns is an empty list; it must be a pattern or a list of patterns"
    ),
    model("hub: o/r, allow_patterns: {}"): (
        "2:40: allow_patterns is a mapping; it must be a pattern or a list of patterns"
    ),
    model('hub: o/r, groups: ["a b"]'): ("2:33: groups 'a b': it is a word of letters, digits, '_', '.', '+', '-'"),
    model("hub: o/r, requires: [a]"): "2:35: 'a' requires itself",
    model("hub: o/r, local_dir_links: symlnk"): (
        "2:41: local_dir_links 'symlnk' is not a link style; did you mean 'symlink'?"
    ),
    model('hub: o/r, local_dir: "a\\0b"'): "2:35: local_dir 'a\\x00b': it has a control character",
    model("hub: o/r, local_dir: ~no-such-user-here/x"): (
        "2:35: local_dir '~no-such-user-here/x': there is no such user's home folder"
    ),
    model("hub: o/r, load: auto"): "2:30: load is 'auto'; it must be a mapping with the keys of load",
    model("hub: o/r, load: {dtype: fp16}"): (
        "2:38: dtype 'fp16' is not a dtype; it may be auto, float32, float16, bfloat16"
    ),
    model("hub: o/r, load: {quantise: int8}"): "2:31: unknown key 'quantise' in load; did you mean 'quantize'?",
    model(
        "hub: o/r, load: {class: a b}"
    ): "2:38: class 'a b': it is the name of a Python class, or package.module:Class",
    model("hub: o/r, load: {lavis: {name: a}}"): ("2:31: load.lavis needs the key 'model_type': LAVIS's model type."),
    model("hub: o/r, load: {device_map: {a: -1}}"): "2:47: a '-1' is not a device's number",
    dataset("load: {dtype: auto}"): "2:33: unknown key 'dtype' in load; it may be config_name, data_dir, data_files",
    dataset("load: {data_files: ../a}"): (
        "2:45: data_files '../a': data files are of the repo: a relative path or pattern such as 'data/train-*.parquet'"
    ),
    dataset("prepare: {}"): "2:26: 'prepare' belongs in a model, not in a dataset",
    model("hub: o/r, prepare: {dtype: float16}"): (
        "2:24: prepare needs the key 'format': What the weights are converted to once they are pulled."
    ),
    model("hub: o/r, prepare: {format: gguf}"): ("2:42: format 'gguf' is not a format; it may be safetensors"),
    model("hub: o/r, load: {class: 'a:b:c'}"): (
        "2:38: class 'a:b:c': it is the name of a Python class, or package.module:Class"
    ),
    model("hub: o/r, load: {weights: ../x}"): "2:40: weights '../x': it climbs out of its folder with '..'",
    model("hub: o/r, load: {args: 3}"): "2:37: args is a number, 3; it must be a list of values",
    model("hub: o/r, load: {kwargs: [3]}"): "2:39: kwargs is a list; it must be a mapping from name to value",
    dataset("samples: vga"): "2:35: samples 'vga' is not a reader of samples; did you mean 'vqa'?",
    dataset("samples: 3"): ("2:35: samples '3' is not a reader of samples; it may be " + ", ".join(SAMPLE_READERS)),
    dataset("samples: [vqa]"): (
        "2:35: samples is a list; it must be a reader of samples, or a mapping from split to reader"
    ),
    dataset("samples: {val: vqa_evl}"): "2:41: val 'vqa_evl' is not a reader of samples; did you mean 'vqa_eval'?",
    dataset("media: /x"): "2:33: media '/x': it is absolute",
    dataset("splits: {train: ../x}"): "2:42: train '../x': it climbs out of its folder with '..'",
    dataset("splits: {train: [a, 1]}"): "2:46: train: YAML reads 1 as a number: write it in quotes: '1'",
    dataset("splits: [a]"): "2:34: splits is a list; it must be a mapping from split to files",
    dataset("variants: {eval: {split: {}}}"): ("2:44: unknown key 'split' in a variant; did you mean 'splits'?"),
    model("files: []"): "2:21: files is an empty list; it must be a list of files",
    model("files: {url: ./x}"): "2:21: files is a mapping; it must be a list of files",
    file("path: x"): (
        "2:22: a file needs the key 'url' or 'ask': A URL (http, https, file, gdrive, kaggle) or a path relative to "
        "the manifest; of several, the first that works."
    ),
    file("url: []"): "2:28: url is an empty list; it must be a URL or a list of URLs",
    file("url: x/y"): "2:28: url 'x/y': begin a URL with https: and a local path with './'",
    file("url: s3://b/x"): "2:28: url 's3://b/x': the scheme 's3' is not one of http, https, file, gdrive, kaggle",
    file("url: https:///x"): "2:28: url 'https:///x': it names no host",
    file("url: 'http://h:99999/x'"): "2:28: url 'http://h:99999/x': it is not a URL: Port out of range 0-65535",
    file("url: 'https://h/a b'"): "2:28: url 'https://h/a b': a URL has no spaces; write %20",
    file("url: 'https://h/a#b'"): "2:28: url 'https://h/a#b': leave out the '#...', which is never sent",
    file("url: 'https://me:hunter2@h/x'"): (
        "2:28: url 'https://***@h/x': it holds credentials, and a manifest is no place for them: put them in ~/.netrc"
    ),
    file("url: 'file://other/x'"): (
        "2:28: url 'file://other/x': a file: URL names a file of this machine: file:///folder/name"
    ),
    file("url: './x/'"): "2:28: url './x/': it names a folder, not a file",
    file("url: 'file:///a%00b'"): "2:28: url 'file:///a%00b': it has a control character",
    file("url: 'https://h/'"): ("2:28: url 'https://h/' ends in no usable file name (it is empty); give it a 'path'"),
    file("url: 'https://h/..%2Fx'"): (
        "2:28: url 'https://h/..%2Fx' ends in no usable file name (it is empty); give it a 'path'"
    ),
    file("url: ./x, path: ../y"): "2:39: path '../y': it climbs out of its folder with '..'",
    file("url: 'https://h/', path: ../y"): "2:48: path '../y': it climbs out of its folder with '..'",
    file("url: ./x, extract: hub"): (
        "2:42: extract 'hub': archives are extracted to files, files/<folder>, torch, clip or lavis/<folder>"
    ),
    file("url: ./x, extract: files/../../x"): "2:42: extract 'files/../../x': it climbs out of its folder with '..'",
    file("url: ./x, extract: true"): (
        "2:42: extract is true or false, true; "
        "it must be false, or files, files/<folder>, torch, clip or lavis/<folder>"
    ),
    file("url: ./x, strip: 1"): "2:33: 'strip' goes with 'extract'",
    file("url: ./x, extract: false, prefix: a"): "2:49: 'prefix' says how to extract, and 'extract' is false",
    file("url: ./x, extract: files, prefix: /a"): "2:57: prefix '/a': it is absolute",
    file("url: ./x, extract: files, strip: -1"): "2:56: strip '-1' is not a number of folders",
    file("url: ./x, extract: files, keep_archive: maybe"): "2:63: keep_archive is 'maybe'; it must be true or false",
    file("url: ./x, place: hub"): "2:40: place 'hub': a place is files, torch, clip or lavis/<folder>",
    file("url: ./x, place: lavis/../hub"): ("2:40: place 'lavis/../hub': it climbs out of its folder with '..'"),
    file("url: ./x, size: -1"): "2:39: size '-1' is not a number of bytes",
    file("url: ./x, size: 1.5"): "2:39: size is a number, 1.5; it must be a number of bytes",
    file(f"url: ./x, md5: {MD5.upper()}"): f"2:38: md5 '{MD5.upper()}': write it in lower case",
    file("url: ./x, md5: abc"): "2:38: md5 'abc': a md5 is 32 hexadecimal digits, and this has 3 characters",
    file("url: ./x, crc32c: 12345678"): (
        "2:41: crc32c: YAML reads 12345678 as a number: write it in quotes: '12345678'"
    ),
    model("files: [{url: ./x}, {url: ./b/X}]"): (
        "2:34: it would be the same file 'files/x' as the entry on line 2; give it another 'path'"
    ),
    model("files: [{url: ./x}, {url: ./x, path: x/y}]"): (
        "2:34: it would be inside 'files/x', which is the entry on line 2; give it another 'path'"
    ),
    # YAML itself
    "version: 1\nmodels: {a: !!python/object:os.system {hub: o/r}}": (
        "2:13: the tag '!!python/object:os.system' has no place here; leave it out"
    ),
    "version: 1\nmodels: {a: {hub: !!binary o/r}}": ("2:19: the tag '!!binary' has no place here; leave it out"),
    "version: !!int one": "1:10: version 'one' is not the number 1",
    "version: 1\nmodels: {a: {hub: o/r, <<: [b]}}": "2:29: '<<' takes a mapping or a list of mappings",
    "version: 1\nmodels: *nowhere": "2:9: the alias 'nowhere' names no anchor above it",
    "version: 1\nmodels: &a {b: *a}": "2:16: the alias 'a' stands inside what it names",
    "version: 1\n---\nversion: 1": "2:1: a manifest is one YAML document, and a second one begins here",
    "version: 1\nmodels: {a: b": (
        "3:1: it is not valid YAML: did not find expected ',' or '}' (while parsing a flow mapping from line 2)"
    ),
    "version: 1\nmodels:\n\ta: b": (
        "3:1: it is not valid YAML: found character that cannot start any token; "
        "indent with spaces, not tabs (while scanning for the next token from line 3)"
    ),
}


@pytest.mark.parametrize("text", ONE_MISTAKE)
def test_a_mistake_is_told_with_its_place_its_text_and_what_was_meant(text: str) -> None:
    assert problems(text) == ONE_MISTAKE[text].split("|")


@pytest.mark.parametrize("text", [text for text in ONE_MISTAKE if "hunter2" in text])
def test_a_password_is_never_repeated(text: str) -> None:
    assert "hunter2" not in "".join(problems(text))


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = """\
version: 1
modles: {}
models:
  a:
    hub: o/r
    revision: 1.10
    load: {dtype: half, quantise: int8}
  b:
    files:
      - {url: ../x, md5: xyz}
      - {path: ../y}
  a: {}
datasets: []
"""
    found = problems(text)
    assert [line.split(":")[0] for line in found] == [*"2677", "10", "11", "11", "12", "12", "13"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"version: 1\nmodels: {\xff}", "2:10: it is not UTF-8: invalid start byte"),
        ("vers\x07ion: 1", "1:5: it is not valid YAML: control characters are not allowed"),
        ("version: 1\nmod\x07els", "2:4: it is not valid YAML: control characters are not allowed"),
        ("\ud800", "1:1: it is not UTF-8: surrogates not allowed"),
        ("version: 1\x00", "1:11: it is not valid YAML: control characters are not allowed"),
    ],
)
def test_what_is_not_text_is_refused_with_its_place(data: str | bytes, expected: str) -> None:
    assert problems(data) == [expected]


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert parse_manifest(b"\xef\xbb\xbf" + FULL.encode(), HERE).assets == parse(FULL).assets


def test_a_file_that_cannot_be_read_is_a_manifest_error(tmp_path: Path) -> None:
    for path, why in [(tmp_path / "none.yaml", "there is no such file"), (tmp_path, "it cannot be read")]:
        with pytest.raises(ManifestError, match=f"{re.escape(str(path))}:1:1: {why}"):
            load_manifest(path)
    with pytest.raises(ManifestError, match="it cannot be read"):
        load_manifest(Path("a\0b"))


def test_words_that_only_look_like_numbers_stay_words() -> None:
    for revision in ("1e10", "1.2.3", "v1", "deadbeef", "'123'", "12e4567"):
        (asset,) = parse(model(f"hub: o/r, revision: {revision}")).assets
        assert isinstance(asset.source, HubSource)
        assert asset.source.revision == revision.strip("'")


def test_merge_keys_and_anchors_work_and_own_keys_win() -> None:
    text = """\
version: 1
models:
  a: &base {hub: o/a, revision: v1, allow_patterns: &json ["*.json"], groups: x}
  b: {<<: *base, hub: o/b}
  c: {hub: o/c, ignore_patterns: *json, <<: [{revision: v3}, *base]}
"""
    found = assets(text)
    assert found["b"].source == HubSource("o/b", None, "v1", ("*.json",))
    assert found["c"].source == HubSource("o/c", None, "v3", ("*.json",), ("*.json",))
    assert found["c"].groups == ("x",)


def test_a_mistake_in_what_is_merged_is_told_once() -> None:
    text = "version: 1\nmodels:\n  a: &a {hub: o/r, revison: x}\n  b: *a\n  c: {<<: *a}"
    assert problems(text) == ["3:20: unknown key 'revison' in a model; did you mean 'revision'?"]


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 20)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 100))
HOSTILE = {
    "a billion laughs": (LAUGHS, "with its aliases expanded, the manifest has more than"),
    "a chain of aliases": (CHAIN, "with its aliases expanded, it is nested more than 32 deep"),
    "deep lists": ("a: " + "[" * 1_000_000, "it is nested more than 32 deep"),
    "deep mappings": ("{a: " * 500_000, "it is nested more than 32 deep"),
    "deep blocks": ("".join(" " * i + "a:\n" for i in range(1000)), "it is nested more than 32 deep"),
    "dashes": ("- " * 1_000_000, "it is nested more than 32 deep"),
    "many nodes": ("a: [" + "x," * 1_000_000 + "]", "the manifest has more than 200000 nodes"),
    "many aliases": ("a: &a x\nb: [" + "*a," * 100_000 + "]", "the manifest uses more than 2000 aliases"),
    "a huge file": ("#" * 5_000_000, "it is larger than a manifest may be: 4194304 bytes"),
    "many mistakes": (
        "version: 1\nmodels: {" + ",".join(f"a{i}: {{h: x}}" for i in range(10_000)) + "}",
        "and more: only 200 mistakes are shown",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_manifest_is_refused_fast(name: str) -> None:
    text, expected = HOSTILE[name]
    started = time.process_time()
    assert expected in problems(text)[-1]
    assert time.process_time() - started < 5  # a blow-up would take hours, a slow machine does not


def test_a_deep_manifest_is_refused_by_the_python_parser_too() -> None:
    with pytest.raises(ManifestError, match="nested more than 32 deep"):
        compose("[" * 100_000, Problems("x", 9), ManifestLimits(), loader=yaml.SafeLoader)


def test_every_limit_is_a_field() -> None:
    for name, text in {
        "file_bytes": FULL,
        "depth": FULL,
        "nodes": FULL,
        "aliases": "version: 1\nmodels: {a: &a {hub: o/r}, b: *a, c: *a}",
        "expanded_nodes": FULL,
    }.items():
        limits = ManifestLimits(**{name: 1})
        assert len(problems(text, limits)) == 1


def outline(node: Node | None) -> object:
    if isinstance(node, Mapping):
        return [(outline(key), outline(value)) for key, value in node.pairs]
    if isinstance(node, Sequence):
        return [outline(item) for item in node.items]
    assert isinstance(node, Scalar)
    return node.line, node.column, node.text, node.kind


def test_both_parsers_of_pyyaml_give_the_same_tree() -> None:
    limits = ManifestLimits()
    trees = [
        outline(compose(FULL, Problems("x", 9), limits, loader=loader))
        for loader in (yaml.SafeLoader, yaml.CSafeLoader)
    ]
    assert trees[0] == trees[1]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("groups", "x"),
        ("local_dir", "elsewhere"),
        ("local_dir_links", "copy"),
        ("load", "{dtype: auto}"),
    ],
)
def test_what_does_not_resolve_does_not_change_the_digest(key: str, value: str) -> None:
    plain, changed = (parse(model("hub: o/r" + more)).assets[0] for more in ("", f", {key}: {value}"))
    assert plain.digest() == changed.digest()
    assert plain != changed


def test_whatever_resolves_changes_the_digest() -> None:
    bodies = [
        "hub: o/r",
        "hub: o/s",
        "hub: {repo: o/r, endpoint: https://h}",
        "hub: o/r, revision: v1",
        "hub: o/r, allow_patterns: x",
        "hub: o/r, ignore_patterns: x",
        "hub: o/r, requires: b",
        "files: [{url: ./x}]",
        "files: [{url: ./y}]",
        "files: [{url: [./x, ./y]}]",
        "files: [{url: [./y, ./x]}]",
        "files: [{url: ./x, path: y}]",
        "files: [{url: ./x, place: torch}]",
        "files: [{url: ./x, size: 1}]",
        f"files: [{{url: ./x, md5: {MD5}}}]",
        f"files: [{{url: ./x, sha256: {SHA256}}}]",
        "files: [{url: ./x, crc32c: abcdef01}]",
        "files: [{url: ./x, extract: files}]",
        "files: [{url: ./x, extract: files/x}]",
        "files: [{url: ./x, extract: files, strip: 1}]",
        "files: [{url: ./x, extract: files, prefix: a}]",
        "files: [{url: ./x, extract: files, keep_archive: false}]",
    ]
    digests = [parse(model(body)).assets[0].digest() for body in bodies]
    digests.append(parse("version: 1\ndatasets: {a: {hub: o/r}}").assets[0].digest())
    assert len(set(digests)) == len(digests)
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)


def test_a_digest_does_not_depend_on_order_name_or_defaults_written_out() -> None:
    pairs = [
        ("hub: o/r, allow_patterns: [a, b]", "hub: o/r, allow_patterns: [b, a], revision: main"),
        ("hub: o/r, requires: [x, y]", "hub: o/r, requires: [y, x]"),
        ("files: [{url: ./x}, {url: ./y}]", "files: [{url: ./y, path: y}, {url: ./x, place: files}]"),
        ("hub: {repo: o/r, endpoint: https://h/}", "hub: {repo: o/r, endpoint: https://h}"),
        ("files: [{url: ./x}]", "files: [{url: ./x, extract: false}]"),
        ("files: [{url: ./x, extract: clip}]", "files: [{url: ./x, extract: clip, strip: 0, keep_archive: true}]"),
    ]
    for one, other in pairs:
        assert parse(model(one)).assets[0].digest() == parse(model(other)).assets[0].digest()


@pytest.mark.parametrize("url", ["./x", "../x", "~/x", "file:x", "file:../x", "/x", "file:///x"])
def test_a_digest_does_not_depend_on_where_the_manifest_lies(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = parse(file(f"url: '{url}'"), Path("/a/b/assets.yaml")).assets[0]
    monkeypatch.setenv("HOME", "/another/home")
    there = parse(file(f"url: '{url}'"), Path("/c/d/assets.yaml")).assets[0]
    assert here.digest() == there.digest()
    assert isinstance(here.source, FilesSource)
    assert here.source.files[0].urls[0].startswith("file:///")


def test_the_digest_of_a_plain_asset_never_changes() -> None:
    """A lock written by an older assetmgr must not become stale: a change here needs a new lock version."""
    expected = "4f4d5488f610b90bf65f5de79d329d2adc64fd4b6d1854a77090f6441f04b1a9"
    assert parse(model("hub: o/r")).assets[0].digest() == expected
    expected = "d3abaa78e0fc89ef87e5dc872c31e48d7f43d5c92063f4f33bc63411fb772293"
    assert parse(file("url: https://h/x.zip")).assets[0].digest() == expected


def test_folders_begin_at_the_manifest_and_expand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASSETMGR_TEST_DISK", "/disk")
    for written, expected in {
        "x": f"{tmp_path}/sub/x",
        "../x": f"{tmp_path}/x",
        "/x": "/x",
        "$ASSETMGR_TEST_DISK/x": "/disk/x",
        "'${ASSETMGR_TEST_DISK}/x'": "/disk/x",
    }.items():
        text = f"version: 1\ncache_root: {written}\nmodels: {{a: {{hub: o/r, local_dir: {written}}}}}"
        manifest = parse(text, Path("sub/assets.yaml"))
        assert manifest.cache_root == expected
        assert manifest.assets[0].local_dir == expected


def test_an_asset_can_be_hashed_and_pickled() -> None:
    for asset in parse(FULL).assets:
        assert pickle.loads(pickle.dumps(asset)) == asset
        assert len({asset, asset}) == 1


def test_use_is_plain_json() -> None:
    for asset in parse(FULL).assets:
        assert json.loads(json.dumps(asset.use)) == asset.use


# The schema


@pytest.fixture(scope="module")
def schema_accepts() -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(json.dumps(json_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema).is_valid


def test_the_schema_accepts_what_is_valid(schema_accepts: Any) -> None:
    assert schema_accepts(yaml.safe_load(FULL))
    for path in (ROOT / "manifests").glob("*.yaml"):
        assert schema_accepts(yaml.safe_load(path.read_text()))


# What only this machine, two places compared, or YAML itself can tell.
BEYOND_A_SCHEMA = re.compile(
    "duplicate|tag|is a model and also|requires itself|home folder|is not set|it would be|file name"
    "|names a folder"
    "|Port|it names no host|not one YAML|not valid YAML|alias|one YAML|'<<'|a key must|YAML reads (2024|no )"
    "|control character|this machine|is not the number|and 'extract' is false|does not begin with"
)


@pytest.mark.parametrize("text", [text for text, message in ONE_MISTAKE.items() if not BEYOND_A_SCHEMA.search(message)])
def test_the_schema_refuses_what_is_simply_wrong(schema_accepts: Any, text: str) -> None:
    assert not schema_accepts(json.loads(json.dumps(yaml.safe_load(text))))


def test_the_schema_says_something_about_every_key() -> None:
    def undescribed(schema: object) -> list[str]:
        if isinstance(schema, list):
            return [name for part in schema for name in undescribed(part)]
        if not isinstance(schema, dict):
            return []
        names = [name for name, part in schema.get("properties", {}).items() if not part.get("description")]
        return names + [name for part in schema.values() for name in undescribed(part)]

    assert undescribed(json_schema()) == []


# Properties


@given(st.text() | st.text("[]{}&*!<:-, \n#ab1'\"%?|>~\t", max_size=60) | st.binary())
def test_no_text_raises_anything_but_a_manifest_error(text: str | bytes) -> None:
    try:
        parse_manifest(text, HERE)
    except ManifestError as error:
        refused(error)


@given(st.data())
@settings(max_examples=300)
def test_no_damage_to_a_valid_manifest_raises_anything_but_a_manifest_error(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(FULL)))
    end = data.draw(st.integers(start, min(len(FULL), start + 30)))
    damaged = FULL[:start] + data.draw(st.text(max_size=8)) + FULL[end:]
    try:
        parse(damaged)
    except ManifestError as error:
        refused(error)


def refused(error: ManifestError) -> None:
    assert error.problems
    assert all(problem.line >= 1 and problem.column >= 1 for problem in error.problems)


word = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,8}(-[a-z0-9]{1,4})?", fullmatch=True).filter(
    lambda text: text.lower() not in {"con", "prn", "aux", "nul"}
)
path = st.lists(word, min_size=1, max_size=3).map("/".join)
free = st.text(st.characters(exclude_categories=["Cc", "Cs", "Co", "Cn"]), min_size=1, max_size=12)


def optional(required: dict[str, Any], **others: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=others)


digest = st.integers(0, 2**128 - 1).map("{:032x}".format)
url = st.builds("{}://{}.example/{}".format, st.sampled_from(["http", "https"]), word, path) | path.map("./{}".format)
files = st.lists(
    optional({"url": url | st.lists(url, min_size=1), "path": word}, size=st.integers(0, 2**62), md5=digest),
    min_size=1,
    max_size=3,
    unique_by=lambda entry: entry["path"].lower(),
)
shared = {
    "requires": st.lists(word, max_size=2),
    "groups": word | st.lists(word, max_size=2),
    "local_dir_links": st.sampled_from(["symlink", "hardlink", "copy"]),
}
patterns = free | st.lists(free, min_size=1)
hub = st.builds("{}/{}".format, word, word)
splits = st.dictionaries(word, path | st.lists(path, min_size=1), max_size=3)
readers = st.sampled_from(["caption", "vqa", "gqa_eval", "image_folder"])
reading = {
    "splits": splits,
    "media": path | st.just(".") | st.dictionaries(word, path, max_size=2),
    "samples": readers | st.dictionaries(word, readers, max_size=2),
}
load = optional({}, dtype=st.sampled_from(["auto", "float16"]), device_map=free | st.dictionaries(free, free))
origin = {"revision": path, "allow_patterns": patterns, "ignore_patterns": patterns}
models = optional({"hub": hub}, load=load, **origin, **shared) | optional({"files": files}, **shared)
datasets = optional({"hub": hub}, variants=st.dictionaries(word, optional({}, **reading)), **reading, **shared)


documents = st.builds(
    lambda models, datasets: {
        "version": 1,
        "models": {f"m-{name}": body for name, body in models.items()},
        "datasets": {f"d-{name}": body for name, body in datasets.items()},
    },
    st.dictionaries(word, models, max_size=3),
    st.dictionaries(word, datasets, max_size=3),
)


@given(documents)
@settings(deadline=None)
def test_the_schema_accepts_whatever_is_valid(schema_accepts: Any, document: dict[str, Any]) -> None:
    assert schema_accepts(document)


@given(documents)
@settings(deadline=None)
def test_what_is_valid_comes_back_as_it_was_written(document: dict[str, Any]) -> None:
    found = assets(yaml.safe_dump(document, allow_unicode=True, sort_keys=False))
    for kind, section in (("model", "models"), ("dataset", "datasets")):
        for name, body in document[section].items():
            check(found.pop(name), kind, body)
    assert not found


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def check(asset: Asset, kind: str, body: dict[str, Any]) -> None:
    assert asset.kind == kind
    assert list(asset.requires) == list(dict.fromkeys(body.get("requires", [])))
    assert list(asset.groups) == list(dict.fromkeys(listed(body.get("groups", []))))
    assert asset.local_dir_links == body.get("local_dir_links", "symlink")
    assert asset.use.get("load") == body.get("load")
    assert asset.use.get("media") == body.get("media")
    if "splits" in body:
        assert asset.use["splits"] == {name: listed(paths) for name, paths in body["splits"].items()}
    if isinstance(asset.source, HubSource):
        assert asset.source.repo == body["hub"]
        assert asset.source.revision == body.get("revision", "main")
        for key in ("allow_patterns", "ignore_patterns"):
            found = getattr(asset.source, key)
            assert (found and list(found)) == (listed(body[key]) if key in body else None)
    else:
        assert isinstance(asset.source, FilesSource)
        for one, entry in zip(asset.source.files, body["files"], strict=True):
            assert list(one.written) == listed(entry["url"])
            assert (one.path, one.size, one.md5) == (entry["path"], entry.get("size"), entry.get("md5"))


def test_what_a_class_is_made_with_is_any_plain_value() -> None:
    text = "{class: a.b:C.d, args: [1, -2.5, x, yes, null, 2020-01-01, {a: [~]}], kwargs: {x: {y: 1}}, key: model}"
    (asset,) = parse_manifest(model(f"hub: o/r, load: {text}"), Path("assets.yaml")).assets
    assert asset.use["load"] == {
        "class": "a.b:C.d",
        "args": [1, -2.5, "x", True, None, "2020-01-01", {"a": [None]}],
        "kwargs": {"x": {"y": 1}},
        "key": "model",
    }
