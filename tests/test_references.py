"""A reference on a command line becomes what a manifest would declare, or says the nearest right form."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr.errors import UsageError
from assetmgr.manifest import FilesSource, HubSource, parse_manifest
from assetmgr.names import asset_name_fault
from assetmgr.references import (
    Details,
    Reference,
    asset_of,
    is_reference,
    parse_reference,
    rebased,
    render,
    safe_name,
    scalar,
    typed,
)

SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "details", "kind", "name", "declaration"),
    [
        ("hub:org/name", Details(), "model", "org/name", {"hub": "org/name"}),
        ("hub:gpt2", Details(), "model", "gpt2", {"hub": "gpt2"}),
        ("hub-dataset:org/d", Details(), "dataset", "org/d", {"hub": "org/d"}),
        ("hub:org/name@v1.0", Details(), "model", "org/name", {"hub": "org/name", "revision": "v1.0"}),
        ("hub:o/n@refs/pr/1", Details(), "model", "o/n", {"hub": "o/n", "revision": "refs/pr/1"}),
        ("hub:o/n", Details(revision=COMMIT), "model", "o/n", {"hub": "o/n", "revision": COMMIT}),
        ("hub:o/n@v1", Details(revision="v1"), "model", "o/n", {"hub": "o/n", "revision": "v1"}),
        (
            "hub:o/n",
            Details(include=["*.json"], exclude=["*.bin", "x"], local_dir="X", local_dir_links="copy"),
            "model",
            "o/n",
            {
                "hub": "o/n",
                "allow_patterns": ["*.json"],
                "ignore_patterns": ["*.bin", "x"],
                "local_dir": "X",
                "local_dir_links": "copy",
            },
        ),
        (
            "https://h/a/model.pth?download=1",
            Details(sha256=SHA256.upper(), size=7),
            "model",
            "model.pth",
            {"files": [{"url": "https://h/a/model.pth?download=1", "size": 7, "sha256": SHA256}]},
        ),
        ("./a b.json", Details(), "dataset", "a-b.json", {"files": [{"url": "./a b.json"}]}),
        ("/data/_x.tar", Details(kind="model"), "model", "x.tar", {"files": [{"url": "/data/_x.tar"}]}),
        (
            "https://h/",
            Details(path="d/w.pt"),
            "model",
            "w.pt",
            {"files": [{"url": "https://h/", "path": "d/w.pt"}]},
        ),
        (
            "gdrive:1A2b3C4d5E6f7G8h",
            Details(),
            "dataset",
            "1A2b3C4d5E6f7G8h",
            {"files": [{"url": "gdrive:1A2b3C4d5E6f7G8h", "path": "1A2b3C4d5E6f7G8h"}]},
        ),
        ("kaggle:o/d/v.json", Details(), "dataset", "v.json", {"files": [{"url": "kaggle:o/d/v.json"}]}),
    ],
)
def test_a_reference_is_what_a_manifest_would_declare(
    text: str, details: Details, kind: str, name: str, declaration: dict[str, object]
) -> None:
    assert is_reference(text)
    found = parse_reference(text, details)
    assert (found.kind, found.name, found.declaration) == (kind, name, declaration)


@pytest.mark.parametrize(
    ("text", "details", "told"),
    [
        ("hub:", Details(), "hub:ORG/NAME"),
        ("hub:a/b/c/d", Details(), "write hub:a/b"),
        ("hub:datasets/o/n", Details(), "write hub-dataset:o/n"),
        ("hub://o/n", Details(), "write hub:o/n"),
        ("hf://datasets/o/n@v1", Details(), "write hub-dataset:o/n@v1"),
        ("hub_dataset:o/n", Details(), "write hub-dataset:o/n"),
        ("hub-datasets:o/n", Details(), "write hub-dataset:o/n"),
        ("huggingface:o/n", Details(), "write hub:o/n"),
        ("o/n@v1", Details(), "write hub:o/n@v1"),
        ("https://huggingface.co/o/n/tree/v1", Details(), "write hub:o/n@v1"),
        ("https://huggingface.co/datasets/o/n", Details(), "write hub-dataset:o/n"),
        ("hub:o/n@", Details(), "leave it out"),
        ("hub:o/n@../x", Details(), "climbs"),
        ("hub:o/n@v1", Details(revision="v2"), "two revisions"),
        ("hub:o/n", Details(sha256=SHA256), "hub:o/n@COMMIT"),
        ("hub:o/n", Details(include=[""]), "empty"),
        ("hub:o/n", Details(local_dir_links="copy"), "--local-dir"),
        ("hub:o/n", Details(local_dir="$NO_SUCH_VARIABLE_HERE/x"), "NO_SUCH_VARIABLE_HERE"),
        ("https://h/a.bin", Details(include=["*"]), "include"),
        ("https://h/a.bin", Details(sha256="12"), "64 hexadecimal digits"),
        ("https://h/", Details(), "--path NAME"),
        ("https://h/a", Details(path="../a"), "climbs"),
        ("https://user:secret@h/a", Details(), "netrc"),
        ("s3://bucket/a", Details(), "hub:ORG/NAME"),
        ("htps:a", Details(), "https"),
        ("./folder/", Details(), "not a file"),
        ("./\udcff", Details(), "UTF-8"),
        (":", Details(), "hub:ORG/NAME"),
    ],
)
def test_what_is_no_reference_says_the_nearest_form(text: str, details: Details, told: str) -> None:
    assert is_reference(text)
    with pytest.raises(UsageError) as caught:
        parse_reference(text, details)
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["minilm", "org/name", "blip_caption/base_coco", "a.b+c-d"])
def test_a_name_is_no_reference(name: str) -> None:
    assert not is_reference(name)


_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
_PART = st.from_regex(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,10}[A-Za-z0-9_])?", fullmatch=True)


@given(
    st.sampled_from(["hub", "hub-dataset"]),
    st.lists(_PART, min_size=1, max_size=2),
    st.one_of(st.none(), _TEXT, st.sampled_from(["1.0", "yes", "null", "1e3", "0x10", "~", "2024-01-01", COMMIT])),
    st.lists(_TEXT, max_size=3),
    st.lists(_TEXT, max_size=3),
    st.one_of(st.none(), _TEXT),
)
def test_what_a_hub_reference_renders_is_read_back_as_the_same_asset(
    prefix: str, parts: list[str], revision: str | None, include: list[str], exclude: list[str], local_dir: str | None
) -> None:
    repo = "/".join(parts)
    try:
        found = parse_reference(f"{prefix}:{repo}", Details(revision, include, exclude, local_dir))
    except UsageError:
        return
    asset = parse_manifest(f"version: 1\n{render(found)}", Path("/here/assets.yaml")).assets[0]
    assert asset == asset_of(found, "/here")
    assert (asset.name, asset.kind) == (found.name, "dataset" if "dataset" in prefix else "model")
    assert asset.source == HubSource(
        repo, None, revision or "main", tuple(include) or None, tuple(exclude) or None, "auto"
    )


@given(
    st.sampled_from(["https://h/", "http://h:1/a/", "./", "/d/", "file:///d/", "kaggle:o/d/"]),
    _TEXT,
    st.one_of(st.none(), st.binary(min_size=32, max_size=32).map(bytes.hex)),
    st.one_of(st.none(), _TEXT),
)
def test_what_a_url_renders_is_read_back_as_the_same_asset(
    start: str, end: str, sha256: str | None, path: str | None
) -> None:
    try:
        found = parse_reference(start + end, Details(sha256=sha256, path=path))
    except UsageError:
        return
    asset = parse_manifest(f"version: 1\n{render(found)}", Path("/here/assets.yaml")).assets[0]
    assert isinstance(asset.source, FilesSource)
    file = asset.source.files[0]
    assert (file.written, file.sha256) == ((start + end,), sha256)
    assert path is None or file.path == path


@given(_TEXT)
def test_every_text_has_a_name_that_an_asset_may_have(text: str) -> None:
    assert asset_name_fault(safe_name(text)) is None


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_a_scalar_is_read_back_as_the_text_that_it_was(text: str) -> None:
    import yaml

    for written in (f"a: {scalar(text)}\n", f"a: [{scalar(text)}, b]\n"):
        value: Any = yaml.safe_load(written)["a"]
        assert (value if isinstance(value, str) else value[0]) == text


def test_a_declaration_with_more_in_it_is_rendered_too() -> None:
    found = Reference(
        "", "model", "m", {"hub": {"repo": "o/n", "endpoint": "https://h.example"}, "load": {"dtype": "auto"}}
    )
    asset = parse_manifest(f"version: 1\n{render(found)}", Path("/here/assets.yaml")).assets[0]
    assert asset.source == HubSource("o/n", "https://h.example")
    assert asset.use == {"load": {"dtype": "auto"}}


@pytest.mark.skipif(os.name == "nt", reason="POSIX paths")
@pytest.mark.parametrize(
    ("text", "local_dir", "folder", "url", "shown"),
    [
        ("./a.json", "X", None, "file:///work/here/a.json", "/work/here/X"),
        ("./a.json", "X", "/work", "./here/a.json", "here/X"),
        ("../a.json", "../X", "/work/here/sub", "../../a.json", "../../X"),
        ("/d/a.json", "/X", "/work", "/d/a.json", "/X"),
        ("~/a.json", "~/X", "/work", "~/a.json", "~/X"),
        ("https://h/a.json", "X", "/work/here", "https://h/a.json", "X"),
    ],
)
def test_relative_paths_are_said_from_another_folder(
    text: str, local_dir: str, folder: str | None, url: str, shown: str
) -> None:
    found = rebased(parse_reference(text, Details(local_dir=local_dir)), "/work/here", folder)
    assert found.declaration == {"files": [{"url": url}], "local_dir": shown}


@pytest.mark.parametrize(
    ("text", "details", "line"),
    [
        ("hub:o/n@v1", Details(), "hub:o/n@v1"),
        ("hub:o/n", Details(revision="v1", include=["*.json", "a b"], exclude=["x"]), None),
        ("hub:o/n", Details(local_dir="X y", local_dir_links="copy"), None),
        ("https://h/a.pth", Details(sha256=SHA256, path="b.pth", kind="dataset"), None),
        ("https://h/a.pth", Details(kind="model"), "https://h/a.pth"),
    ],
)
def test_what_is_to_be_typed_again_means_the_same(text: str, details: Details, line: str | None) -> None:
    import shlex

    from assetmgr.cli.commands.pulling import details_of
    from assetmgr.cli.parser import make_parser

    reference = parse_reference(text, details)
    said = typed(reference)
    assert line is None or said == line
    options = make_parser().parse_args(["pull", *shlex.split(said)])
    assert parse_reference(options.names[0], details_of(options)).declaration == reference.declaration
    assert parse_reference(options.names[0], details_of(options)).kind == reference.kind
