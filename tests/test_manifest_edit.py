"""An edit of a manifest changes what was asked for and leaves every other byte; what it cannot do so, it refuses."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assetmgr.errors import ManifestError, UnknownAssetError, UsageError
from assetmgr.manifest import HubSource, parse_manifest
from assetmgr.manifest_edit import add_asset, add_required, edited, remove, write_back

HERE = Path("/somewhere/assets.yaml")
BOM = "\ufeff"
NEW = {"hub": "o/new", "revision": "v1.0", "allow_patterns": ["*.json", "no"]}


def added(text: str, name: str = "new", section: str = "models") -> str:
    data = add_asset(text.encode(), HERE, "model" if section == "models" else "dataset", name, NEW)
    return data.decode()


def removed(text: str, name: str) -> str:
    return remove(text.encode(), HERE, name).decode()


# --- adding -----------------------------------------------------------------------------------------------------


BLOCK = '  new:\n    hub: o/new\n    revision: v1.0\n    allow_patterns: ["*.json", "no"]\n'
FLOW = 'new: {hub: o/new, revision: v1.0, allow_patterns: ["*.json", "no"]}'
ADDED = [
    ("", f"version: 1\nmodels:\n{BLOCK}"),
    ("# mine", f"# mine\nversion: 1\nmodels:\n{BLOCK}"),
    ("version: 1\n", f"version: 1\nmodels:\n{BLOCK}"),
    ("version: 1", f"version: 1\nmodels:\n{BLOCK}"[:-1]),
    ("version: 1\n...\n", f"version: 1\nmodels:\n{BLOCK}...\n"),
    ("\ufeff---\nversion: 1\n", f"\ufeff---\nversion: 1\nmodels:\n{BLOCK}"),
    ("version: 1\nmodels: {}\n", f"version: 1\nmodels: {{{FLOW}}}\n"),
    ("version: 1\nmodels: {a: {hub: o/a}}\n", f"version: 1\nmodels: {{a: {{hub: o/a}}, {FLOW}}}\n"),
    (
        "version: 1\nmodels: {\n  a: {hub: o/a},  # a\n}\n",
        f"version: 1\nmodels: {{\n  a: {{hub: o/a}}, {FLOW},  # a\n}}\n",
    ),
    ("{version: 1}", f"{{version: 1, models: {{{FLOW}}}}}"),
    (
        '{"version": 1, "models": {}}',
        '{"version": 1, "models": {"new": {"hub": "o/new", "revision": "v1.0", "allow_patterns": ["*.json", "no"]}}}',
    ),
    # Comments below the last entry that stand deeper are its own; the section's stay behind.
    (
        "version: 1\nmodels:\n  a:\n    hub: o/a\n    # of a\n  # of the section\nrequires: [b]\n",
        f"version: 1\nmodels:\n  a:\n    hub: o/a\n    # of a\n{BLOCK}  # of the section\nrequires: [b]\n",
    ),
    # Where entries are spaced, the new one is; the manifest's own indent is kept.
    (
        "version: 1\nmodels:\n    a:\n        hub: o/a\n\n    b: {hub: o/b}\n\ndatasets: {}\n",
        (
            "version: 1\nmodels:\n    a:\n        hub: o/a\n\n    b: {hub: o/b}\n\n    new:\n        hub: o/new\n"
            '        revision: v1.0\n        allow_patterns: ["*.json", "no"]\n\ndatasets: {}\n'
        ),
    ),
    (
        "version: 1\r\nmodels:\r\n  a: {hub: o/a}\r\n",
        f"version: 1\nmodels:\n  a: {{hub: o/a}}\n{BLOCK}".replace("\n", "\r\n"),
    ),
    # A comment in a text is none.
    (
        "version: 1\nmodels:\n  a:\n    files:\n      - path: x\n        ask: |\n          do\n          # this\n\n",
        (
            "version: 1\nmodels:\n  a:\n    files:\n      - path: x\n        ask: |\n          do\n          # this\n"
            f"{BLOCK}\n"
        ),
    ),
    (
        "version: 1\nmodels:\n  a: &a {hub: o/a}\n  b: *a\n",
        f"version: 1\nmodels:\n  a: &a {{hub: o/a}}\n  b: *a\n{BLOCK}",
    ),
]


@pytest.mark.parametrize(("before", "after"), ADDED)
def test_an_asset_is_added_after_its_like_in_the_manifests_own_style(before: str, after: str) -> None:
    assert added(before) == after
    source = parse_manifest(after, HERE).assets[-1].source
    assert source == HubSource("o/new", revision="v1.0", allow_patterns=("*.json", "no"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("version: 1\n", "version: 1\nrequires:\n  - zoo/a\n"),
        ("version: 1\nrequires: b\n", "version: 1\nrequires: [b, zoo/a]\n"),
        ("version: 1\nrequires: []\n", "version: 1\nrequires: [zoo/a]\n"),
        ("version: 1\nrequires: [b, c]  # zoo\n", "version: 1\nrequires: [b, c, zoo/a]  # zoo\n"),
        ("version: 1\nrequires:\n- b # b\nmodels: {}\n", "version: 1\nrequires:\n- b # b\n- zoo/a\nmodels: {}\n"),
        ("version: 1\nrequires:\n    - b\n", "version: 1\nrequires:\n    - b\n    - zoo/a\n"),
    ],
)
def test_a_name_is_added_to_what_a_manifest_requires(before: str, after: str) -> None:
    assert add_required(before.encode(), HERE, "zoo/a").decode() == after


def test_a_name_that_is_taken_is_refused_with_its_place() -> None:
    text = "version: 1\nmodels:\n  a: {hub: o/a}\ndatasets: {d: {hub: o/d}}\nrequires: [b]\n"
    for name, place in (("a", "3:3"), ("d", "4:12")):
        with pytest.raises(UsageError, match=rf"assets\.yaml:{place}: the name '{name}' is taken"):
            added(text, name)
    with pytest.raises(UsageError, match=r"assets\.yaml:5:12: 'b' is required already"):
        add_required(text.encode(), HERE, "b")


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("version: 1\nmodels: &m {}\ndatasets: *m\n", 3, "'datasets' is the alias"),
        ("version: 1\ndatasets: &m {}\nmodels: *m\n", 2, "is a model and also a dataset"),
    ],
)
def test_what_cannot_be_added_to_safely_is_refused_with_its_line(text: str, line: int, why: str) -> None:
    with pytest.raises(UsageError, match=rf"assets\.yaml:{line}: .*{why}"):
        added(text, section="datasets")


def test_a_manifest_that_is_wrong_is_told_as_everywhere() -> None:
    for text, place in (("version: 1\nmodels:\n\ta: {}\n", "3:1"), ("version: 1\nmodel: {}\n", "2:1"), ("\xff", "1:1")):
        data = text.encode("latin-1")
        with pytest.raises(ManifestError, match=rf"assets\.yaml:{place}"):
            add_asset(data, HERE, "model", "x", NEW)
        with pytest.raises(ManifestError, match=rf"assets\.yaml:{place}"):
            remove(data, HERE, "x")


# --- removing ---------------------------------------------------------------------------------------------------

ENTRIES = """\
version: 1   # the format

models:
  # The first,
  # in two lines.
  a:           # here
    hub: o/a
    # deeper: still of a

  # The second.
  b: {hub: o/b}

  # The third.
  c:
    hub: o/c
# The datasets.
datasets:
  d: {hub: o/d}
requires: [x, y]  # more
"""
REMOVED = [
    ("a", "  # The first,\n  # in two lines.\n  a:           # here\n    hub: o/a\n    # deeper: still of a\n", ""),
    ("b", "\n  # The second.\n  b: {hub: o/b}\n", ""),
    ("c", "\n  # The third.\n  c:\n    hub: o/c\n", ""),
    ("d", "datasets:\n  d: {hub: o/d}\n", ""),
    ("x", "[x, y]", "[y]"),
    ("y", "[x, y]", "[x]"),
]


@pytest.mark.parametrize(("name", "gone", "instead"), REMOVED)
def test_an_entry_goes_with_its_own_comments_and_the_others_stay(name: str, gone: str, instead: str) -> None:
    assert removed(ENTRIES, name) == ENTRIES.replace(gone, instead)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("version: 1\nmodels:  # mine\n  a: {hub: o/a}\n", "version: 1\nmodels: {}  # mine\n"),
        ("version: 1\nmodels: {a: {hub: o/a}}\n", "version: 1\nmodels: {}\n"),
        ("version: 1\nmodels: {a: {hub: o/a},}\n", "version: 1\nmodels: {}\n"),
        ("version: 1\nmodels: {a: {hub: o/a}, b: {hub: o/b}}\n", "version: 1\nmodels: {b: {hub: o/b}}\n"),
        ("version: 1\nmodels:\n  a: {hub: o/a}", "version: 1"),
        ("version: 1\nrequires: a\n", "version: 1\n"),
        ("version: 1\nrequires:\n- a\n- b\n", "version: 1\nrequires:\n- b\n"),
        ("version: 1\nrequires:\n  # a\n  - a\n  - b\n", "version: 1\nrequires:\n  - b\n"),
        ("version: 1\nrequires:  # zoo\n  - a\n", "version: 1\nrequires: []  # zoo\n"),
        ("version: 1\nmodels:\n  'a':\n    hub: o/a\n  b: {hub: o/b}\n", "version: 1\nmodels:\n  b: {hub: o/b}\n"),
        (
            "version: 1\nmodels: {\n  b: {hub: o/b},  # b\n  a: {hub: o/a},  # a\n  c: {hub: o/c}\n}\n",
            "version: 1\nmodels: {\n  b: {hub: o/b},  # b\n    # a\n  c: {hub: o/c}\n}\n",
        ),
    ],
)
def test_what_is_left_of_a_section_is_valid(before: str, after: str) -> None:
    assert removed(before, "a") == after
    parse_manifest(after, HERE)


def test_what_another_part_of_the_text_uses_is_not_removed() -> None:
    text = (
        "version: 1\nmodels:\n  a:\n    hub: o/a\n    allow_patterns: &json ['*.json']\n"
        "  b: {hub: o/b, allow_patterns: *json}\n"
    )
    with pytest.raises(UsageError, match=r"assets\.yaml:5: 'a' sets the anchor &json, which line 6 uses") as caught:
        removed(text, "a")
    assert "*json" in caught.value.mend
    assert "  b:" not in removed(text, "b")
    merged = "version: 1\nmodels:\n  <<: {a: {hub: o/a}}\n  b: {hub: o/b}\n"
    with pytest.raises(UsageError, match=r"assets\.yaml:3: 'a' comes into 'models' by a merge"):
        removed(merged, "a")
    aliased = "version: 1\nmodels: &m\n  a: {hub: o/a}\n  b: {hub: o/a}\n"
    assert removed(aliased, "b") == aliased.replace("  b: {hub: o/a}\n", "")


def test_a_name_that_is_declared_and_required_too_goes_from_both() -> None:
    assert removed("version: 1\nmodels:\n  a: {hub: o/a}\nrequires: [a, b]\n", "a") == "version: 1\nrequires: [b]\n"


def test_a_name_that_is_not_there_is_told() -> None:
    with pytest.raises(UnknownAssetError, match="has no 'x'"):
        removed("version: 1\n", "x")


# --- add, then remove -------------------------------------------------------------------------------------------

comments = st.sampled_from(["", "", "", "# one", "# it's: {odd", "#"])
blanks = st.sampled_from(["", "", "", "\n", "\n\n"])


@st.composite
def entries(draw: st.DrawFn, name: str, indent: str, step: str) -> str:
    text = draw(blanks)
    for comment in draw(st.lists(st.sampled_from(["# above", "# a: b"]), max_size=2)):
        text += f"{indent}{comment}\n" + draw(blanks)
    key = draw(st.sampled_from([name, f"'{name}'", f'"{name}"']))
    tail = draw(comments)
    end = f"  {tail}\n" if tail else "\n"
    body = draw(
        st.sampled_from(
            [
                f" {{hub: o/r}}{end}",
                f"{end}{indent}{step}hub: o/r{end}",
                (
                    f"{end}{indent}{step}hub: o/r\n{indent}{step}allow_patterns:\n"
                    f"{indent}{step}- 'a'\n{indent}{step}- \"#b\"{end}"
                ),
                f" {{\n{indent}{step}hub: o/r,{end}{indent}}}\n",
                (
                    f"{end}{indent}{step}files:\n{indent}{step}  - path: x\n{indent}{step}    ask: >-\n"
                    f"{indent}{step}      # a text\n{indent}{step}      and more\n"
                ),
            ]
        )
    )
    text += f"{indent}{key}:{body}"
    for comment in draw(
        st.lists(st.sampled_from([f"{indent}{step}# below", f"{indent}# beside", "# left"]), max_size=2)
    ):
        text += f"{comment}\n"
    return text


@st.composite
def manifests(draw: st.DrawFn) -> str:
    indent, step = draw(st.sampled_from([("  ", "  "), ("    ", "    "), (" ", "   ")]))
    parts = [f"version: 1{draw(st.sampled_from(['', ' # v']))}\n"]
    if draw(st.booleans()):
        parts.append("mirrors: [/mnt/x]\n")
    for section in draw(st.permutations(["models", "datasets"])):
        names = [f"{section}-{number}" for number in range(draw(st.integers(0, 3)))]
        if names:
            header = f"{draw(blanks)}{section}:{draw(st.sampled_from(['', '  # all', ' &anchor']))}\n"
            header = header.replace("&anchor", f"&{section}")
            parts.append(header + "".join(draw(entries(name, indent, step)) for name in names))
        elif draw(st.booleans()):
            parts.append(
                f"{section}: {draw(st.sampled_from(['{}', '{f: {hub: o/f}}', '{ }', '{f-: {hub: o/f,},}']))}\n"
            )
    if draw(st.booleans()):
        parts.append(
            f"{draw(blanks)}requires:{draw(st.sampled_from([' [q]', ' []', chr(10) + '- q', chr(10) + '  - q # q']))}\n"
        )
    text = "".join(draw(st.permutations(parts)))
    text += draw(st.sampled_from(["", "# end\n", "\n", "# end"]))
    if draw(st.booleans()):
        text = text.rstrip("\n")
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    return draw(st.sampled_from(["", "\ufeff", "# top\n"])) + text


def meaning(text: str) -> dict[str, object]:
    manifest = parse_manifest(text, HERE)
    return {
        "assets": {asset.name: asset for asset in manifest.assets},
        "order": [asset.name for asset in manifest.assets],
        "rest": (manifest.requires, manifest.cache_root, manifest.mirrors),
    }


@settings(max_examples=300)
@given(manifests(), st.sampled_from(["models", "datasets", "requires"]))
def test_to_add_and_then_remove_restores_every_byte(text: str, section: str) -> None:
    try:
        meaning(text)
    except ManifestError:  # such as two names that fall together
        return
    after = add_required(text.encode(), HERE, "new").decode() if section == "requires" else added(text, section=section)
    assert removed(after, "new") == text
    was, now = meaning(text), meaning(after)
    assert isinstance(was["assets"], dict)
    assert isinstance(now["assets"], dict)
    assert was["assets"].items() <= now["assets"].items()


@settings(max_examples=300)
@given(manifests(), st.data())
def test_whatever_is_removed_the_others_stay_as_they_were_and_the_rest_is_lines_of_the_old(
    text: str, data: st.DataObject
) -> None:
    try:
        was = meaning(text)
    except ManifestError:
        return
    order = was["order"]
    assert isinstance(order, list)
    if not order:
        return
    name = data.draw(st.sampled_from(order))
    now = meaning(after := removed(text, name))
    assert isinstance(was["assets"], dict)
    assert now["assets"] == {key: asset for key, asset in was["assets"].items() if key != name}
    assert now["rest"] == was["rest"]
    if "{}" not in after and "f" not in name.split("-"):
        assert set(after.lstrip(BOM).splitlines()) <= set(text.lstrip(BOM).splitlines())


# --- the file ---------------------------------------------------------------------------------------------------


def test_a_manifest_is_written_where_it_lies_with_its_mode_through_a_link(tmp_path: Path) -> None:
    real = tmp_path / "shared" / "real.yaml"
    real.parent.mkdir()
    real.write_text("version: 1\n")
    real.chmod(0o664)
    link = tmp_path / "assets.yaml"
    link.symlink_to("shared/real.yaml")
    write_back(link, edited(link, lambda data: add_asset(data, link, "model", "new", NEW)))
    assert link.is_symlink()
    assert "o/new" in real.read_text()
    assert stat.S_IMODE(real.stat().st_mode) == 0o664
    assert sorted(os.listdir(real.parent)) == ["real.yaml"]


def test_a_manifest_that_is_not_there_begins_empty(tmp_path: Path) -> None:
    path = tmp_path / "assets.yaml"
    write_back(path, edited(path, lambda data: add_required(data, path, "zoo/a")))
    assert path.read_text() == "version: 1\nrequires:\n  - zoo/a\n"
