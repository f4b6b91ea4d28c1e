"""Annotation files are read in pieces, and every piece ends between two rows."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assetmgr.datasets.annotations import Annotation
from assetmgr.errors import IntegrityError

TEXT = st.text(st.sampled_from('ab"\\{}[],: \n\u2028é'), max_size=12)
INNER = st.recursive(TEXT | st.integers(0, 9), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner))
ROWS = st.lists(st.fixed_dictionaries({"k": INNER}, optional={"}, {": INNER, "z": INNER}), max_size=30)


def pieces(path: Path, kind: Any = dict[str, Any], sha256: str = "") -> list[list[Any]]:
    return list(Annotation("asset", "train", str(path), sha256).rows(kind))


@settings(max_examples=200)
@given(ROWS, st.sampled_from([None, 1]), st.integers(16, 200))
def test_the_pieces_are_the_list_whatever_stands_in_the_rows(rows: list[Any], indent: int | None, block: int) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr("assetmgr.datasets.annotations._BLOCK", block)
        file.write(json.dumps(rows, indent=indent, ensure_ascii=False).encode())
        file.flush()
        assert [row for piece in pieces(Path(file.name)) for row in piece] == rows


def test_a_long_file_comes_in_bounded_pieces(tmp_path: Path) -> None:
    rows = [{"image": f"{number}.jpg", "answers": [{"answer": "}, {"}] * 3} for number in range(200_000)]
    (tmp_path / "long.json").write_text(json.dumps(rows))
    listed = pieces(tmp_path / "long.json")
    assert [row for piece in listed for row in piece] == rows
    assert max(map(len, listed)) < 100_000


@pytest.mark.parametrize("ending", [b"", b",", b",]", b"] x", b"}]", b"]]"])
def test_a_list_that_does_not_end_is_refused_in_any_piece(tmp_path: Path, ending: bytes) -> None:
    rows = json.dumps([{"k": number} for number in range(500_000)]).encode().removesuffix(b"]")
    (tmp_path / "cut.json").write_bytes(rows + ending)
    with pytest.raises(IntegrityError, match="not JSON"):
        pieces(tmp_path / "cut.json")


def test_a_wrong_row_is_counted_from_the_start_of_the_file(tmp_path: Path) -> None:
    rows: list[Any] = [{"k": number} for number in range(500_000)]
    rows[444_444] = {"k": "x"}
    (tmp_path / "wrong.json").write_text(json.dumps(rows))
    with pytest.raises(IntegrityError, match=r"row \[444444\]"):
        pieces(tmp_path / "wrong.json", dict[str, int])


def test_bytes_that_are_not_the_locks_are_refused_before_the_last_row(tmp_path: Path) -> None:
    data = json.dumps([{"k": 1}]).encode()
    (tmp_path / "a.json").write_bytes(data)
    assert pieces(tmp_path / "a.json", sha256=hashlib.sha256(data).hexdigest()) == [[{"k": 1}]]
    (tmp_path / "a.json").write_bytes(data.replace(b"1", b"2"))
    with pytest.raises(IntegrityError, match="altered: expected sha256"):
        pieces(tmp_path / "a.json", sha256=hashlib.sha256(data).hexdigest())


def test_a_mark_before_utf_8_is_no_part_of_the_json(tmp_path: Path) -> None:
    data = "\ufeff[1, 2]".encode()
    (tmp_path / "marked.json").write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    assert pieces(tmp_path / "marked.json", int, sha256) == [[1, 2]]
    assert Annotation("asset", "train", str(tmp_path / "marked.json")).first() == b"["
