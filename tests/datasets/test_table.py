"""Tables give back what was put in, with its very type, from one mapped file."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr.datasets.table import Batch, Field, Shape, Table, WidenError, write

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBER = st.integers(-(2**63), 2**63 - 1)
VALUE = st.one_of(st.none(), st.booleans(), NUMBER, st.floats(allow_nan=False, allow_infinity=False), TEXT)


def made(shape: Shape, batches: list[Batch], batch_rows: int = 1 << 16) -> Table:
    """A table in memory, columns widened where they must be, as a prepared file is made."""
    while True:
        buffer = io.BytesIO()
        try:
            write(buffer, shape, batches, batch_rows)
            return Table(buffer.getvalue())
        except WidenError as error:
            fields = (Field(f.name, "json") if f.name == error.name else f for f in shape.fields)
            shape = Shape(tuple(fields))


@given(st.lists(st.lists(VALUE, max_size=4), max_size=8), st.integers(1, 5))
def test_every_value_comes_back_with_its_type_whatever_the_batches(pieces: list[list[Any]], rows: int) -> None:
    table = made(Shape((Field("x"),)), [{"x": piece} for piece in pieces], rows)
    values = [value for piece in pieces for value in piece]
    assert len(table) == len(values)
    for got in ([table.row(at, ["x"])[0] for at in range(len(table))], table.column("x")):
        assert [(type(value), value) for value in got] == [(type(value), value) for value in values]


@given(st.lists(TEXT), st.lists(st.integers(0, 200), max_size=20))
def test_many_rows_are_those_rows_one_by_one(texts: list[str], wanted: list[int]) -> None:
    table = made(Shape((Field("a", "text"), Field("n", "int"))), [{"a": texts, "n": list(range(len(texts)))}], 7)
    numbers = [number % len(texts) for number in wanted] if texts else []
    listed = table.rows(numbers, ["n", "a"])
    assert listed == [numbers, [texts[number] for number in numbers]]
    assert [table.row(number, ["n", "a"]) for number in numbers] == [list(row) for row in zip(*listed, strict=True)]


def test_a_table_in_a_file_is_pickled_as_its_path(tmp_path: Path) -> None:
    path = tmp_path / "t.arrow"
    with path.open("wb") as file:
        count = write(file, Shape((Field("a", "text"),)), [{"a": ["x" * 1000] * 1000}])
    table = Table(str(path))
    assert count == len(table) == 1000
    assert table.path == str(path)
    again = pickle.dumps(table)
    assert len(again) < 1000
    assert pickle.loads(again).row(999, ["a"]) == ["x" * 1000]


@pytest.mark.parametrize("data", [b"", b"ARROW1", b"<html>" * 100], ids=["empty", "begun", "other"])
def test_what_is_no_table_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t.arrow").write_bytes(data)
    with pytest.raises((OSError, ValueError)):
        Table(str(tmp_path / "t.arrow"))
