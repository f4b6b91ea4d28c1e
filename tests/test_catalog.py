"""The catalog finds assets by name, later declarations winning, and reads what ships only when it must."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr.catalog import Catalog, find_manifest, shipped_manifests
from assetmgr.errors import AssetError, ManifestError, SeveralErrors, UnknownAssetError
from assetmgr.manifest import HubSource, Manifest, load_manifest, parse_manifest

NOWHERE = Path("/nowhere/shipped.yaml")  # a look-up that reads it fails
CIRCLE = "assets require each other in a circle: "


def manifest(body: str, file: str = "assets.yaml") -> Manifest:
    return parse_manifest(f"version: 1\nmodels:\n{body}", Path(file))


def requiring(edges: dict[str, list[str]], file: str = "assets.yaml") -> Manifest:
    return manifest("".join(f"  {name}: {{hub: o/r, requires: {edges[name]}}}\n" for name in edges), file)


def repo(catalog: Catalog, name: str) -> str:
    source = catalog.get(name).source
    assert isinstance(source, HubSource)
    return source.repo


def test_later_manifests_win_and_the_users_win_over_the_shipped() -> None:
    shipped = [
        manifest("  a: {hub: s1/a}\n  b: {hub: s1/b}\n  c: {hub: s1/c}"),
        manifest("  b: {hub: s2/b}"),
    ]
    users = [manifest("  z: {hub: u1/z}\n  a: {hub: u1/a}"), manifest("  z: {hub: u2/z}\n  y: {hub: u2/y}")]
    catalog = Catalog(users, shipped)
    expected = {"a": "u1/a", "b": "s2/b", "c": "s1/c", "y": "u2/y", "z": "u2/z"}
    assert {name: repo(catalog, name) for name in expected} == expected
    assert catalog.names() == tuple(expected)
    assert [asset.name for asset in catalog] == list(expected)
    assert catalog.user_names == ("z", "a", "y")
    assert "b" in catalog
    assert "nothing" not in catalog


def test_what_ships_is_not_read_for_a_name_that_the_user_declares() -> None:
    catalog = Catalog([requiring({"a": ["b"], "b": []})], [NOWHERE])
    assert repo(catalog, "a") == "o/r"
    assert "b" in catalog
    assert [asset.name for asset in catalog.closure(["a"])] == ["b", "a"]
    with pytest.raises(ManifestError, match="no such file"):
        catalog.get("c")
    with pytest.raises(ManifestError, match="no such file"):
        catalog.names()


def test_what_ships_is_read_only_as_far_as_the_name(tmp_path: Path) -> None:
    last = tmp_path / "last.yaml"
    last.write_text("version: 1\nmodels: {a: {hub: s/a}}\n")
    catalog = Catalog([], [NOWHERE, last])
    assert repo(catalog, "a") == "s/a"
    last.unlink()
    assert repo(catalog, "a") == "s/a"


def test_an_unknown_name_is_told_with_the_nearest_and_where_it_was_sought() -> None:
    catalog = Catalog(
        [manifest("  minilm: {hub: o/r}", "mine.yaml")], [manifest("  blip2: {hub: o/r}", "shipped.yaml")]
    )
    with pytest.raises(
        UnknownAssetError,
        match=r"'minlm' in mine\.yaml, or among the assets that come with assetmgr; did you mean 'minilm'\?",
    ) as caught:
        catalog.get("minlm")
    assert caught.value.code == 2
    assert "assets.yaml" in caught.value.mend
    with pytest.raises(UnknownAssetError, match="no asset 'x' in any manifest: there is none"):
        Catalog([]).get("x")


def test_a_closure_has_what_is_required_first_and_everything_once() -> None:
    edges = {"top": ["left", "right"], "left": ["base"], "right": ["left", "base"], "base": [], "other": []}
    catalog = Catalog([requiring(edges)])
    assert [asset.name for asset in catalog.closure(["top", "left", "top"])] == [
        "base",
        "left",
        "right",
        "top",
    ]
    assert catalog.closure([]) == ()


@given(st.integers(1, 12).flatmap(lambda n: st.lists(st.sets(st.integers(0, n)), min_size=n, max_size=n)))
def test_every_closure_is_closed_and_ordered(wanted: list[set[int]]) -> None:
    edges = {f"n{i}": [f"n{j}" for j in sorted(lower) if j < i] for i, lower in enumerate(wanted)}
    found = [asset.name for asset in Catalog([requiring(edges)]).closure(list(edges))]
    assert sorted(found) == sorted(edges)
    assert all(found.index(required) < found.index(name) for name in edges for required in edges[name])


def test_a_long_chain_is_no_trouble() -> None:
    edges = {f"n{i}": [f"n{i + 1}"] for i in range(3000)} | {"n3000": []}
    assert len(Catalog([requiring(edges)]).closure(["n0"])) == 3001


def test_a_circle_is_shown_with_every_place_in_it() -> None:
    mine = requiring({"start": ["a"], "a": ["b"]}, "mine.yaml")
    shipped = requiring({"b": ["c"], "c": ["a"]}, "shipped.yaml")
    with pytest.raises(ManifestError) as caught:
        Catalog([mine], [shipped]).closure(["start"])
    assert [str(problem) for problem in caught.value.problems] == [
        f"mine.yaml:4:3: {CIRCLE}a (mine.yaml:4:3) -> b (shipped.yaml:3:3) -> c (shipped.yaml:4:3) -> a"
    ]


def test_every_unknown_requirement_and_every_circle_is_told() -> None:
    edges = {"a": ["b", "minlm", "nothing"], "b": ["a"], "minilm": []}
    with pytest.raises(ManifestError) as caught:
        Catalog([requiring(edges)]).closure(["a"])
    assert [str(problem) for problem in caught.value.problems] == [
        "assets.yaml:3:3: 'a' requires 'minlm', which no manifest declares; did you mean 'minilm'?",
        "assets.yaml:3:3: 'a' requires 'nothing', which no manifest declares",
        f"assets.yaml:3:3: {CIRCLE}a (assets.yaml:3:3) -> b (assets.yaml:4:3) -> a",
    ]


def test_every_unknown_name_that_was_asked_for_is_told() -> None:
    with pytest.raises(SeveralErrors) as caught:
        Catalog([requiring({"a": []})]).closure(["x", "a", "y"])
    assert caught.value.code == 2
    assert [re.findall("'.'", str(error))[0] for error in caught.value.errors] == ["'x'", "'y'"]


def wanting(names: str, body: str = "", file: str = "assets.yaml") -> Manifest:
    return parse_manifest(f"version: 1\nrequires: {names}\n{body}", Path(file))


def test_what_a_manifest_requires_is_the_users_and_may_be_declared_anywhere() -> None:
    shipped = requiring({"zoo/a": ["zoo/b"], "zoo/b": [], "zoo/c": []}, "shipped.yaml")
    catalog = Catalog([wanting("[zoo/a, other]", "models: {mine: {hub: o/r}}"), requiring({"other": []})], [shipped])
    assert catalog.user_names == ("mine", "other", "zoo/a")
    assert [asset.name for asset in catalog.closure(catalog.user_names)] == ["mine", "other", "zoo/b", "zoo/a"]


def test_an_unknown_name_that_a_manifest_requires_is_told_at_its_place_with_the_nearest() -> None:
    catalog = Catalog([wanting("\n  - zoo/a\n  - zoo/bb\n  - nothing")], [requiring({"zoo/a": [], "zoo/b": []})])
    with pytest.raises(ManifestError) as caught:
        catalog.closure(catalog.user_names)
    assert [str(problem) for problem in caught.value.problems] == [
        "assets.yaml:4:5: the manifest requires 'zoo/bb', which no manifest declares; did you mean 'zoo/b' or 'zoo/a'?",
        "assets.yaml:5:5: the manifest requires 'nothing', which no manifest declares",
    ]
    with pytest.raises(ManifestError, match=r"assets\.yaml:5:5: "):
        catalog.get("nothing")


def test_a_group_is_its_members_and_an_unknown_one_is_an_error() -> None:
    mine = manifest("  b: {hub: o/r, groups: demo}\n  c: {hub: o/r}")
    catalog = Catalog([mine], [manifest("  a: {hub: o/r, groups: [demo, zoo]}")])
    assert catalog.group("demo") == ("a", "b")
    with pytest.raises(UnknownAssetError, match=r"group 'dmo'; did you mean 'demo'\?"):
        catalog.group("dmo")


def test_the_nearest_manifest_upward_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    assert find_manifest(deep) is None or tmp_path not in (find_manifest(deep) or tmp_path).parents
    (tmp_path / "assets.yaml").touch()
    (tmp_path / "a" / "b" / "assets.yaml").mkdir()  # a folder of that name is no manifest
    assert find_manifest(deep) == tmp_path / "assets.yaml"
    (deep / "assets.yaml").touch()
    assert find_manifest(deep) == deep / "assets.yaml"
    monkeypatch.chdir(tmp_path / "a")
    assert find_manifest(Path()) == tmp_path / "assets.yaml"


def test_what_ships_is_found_and_valid() -> None:
    paths = shipped_manifests()
    assert paths
    assert len(Catalog([], paths).names()) >= len({a.name for path in paths for a in load_manifest(path).assets})


def test_a_shipped_manifest_is_read_only_where_the_name_may_be_in_it(tmp_path: Path) -> None:
    """What does not hold the name is not even parsed; what ships writes every name as it is."""
    broken = tmp_path / "broken.yaml"
    broken.write_text("version: 1\nmodels: [mine\n")
    for name in ("other", "\ud800", "ä"):
        assert Catalog([], [broken]).find(name) is None
    with pytest.raises(ManifestError):
        Catalog([], [broken]).find("mine")
    with pytest.raises(AssetError):
        Catalog([], [tmp_path / "gone.yaml"]).find("mine")
    for path in shipped_manifests():
        text = path.read_text(encoding="utf-8")
        assert [asset.name for asset in load_manifest(path).assets if asset.name not in text] == []
