"""A contact sheet shows real samples with their texts, and what is wrong with those that cannot be had."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import PIL.Image
import pytest

from assetmgr.datasets import Splits, load
from assetmgr.datasets.contact_sheet import Cell, cells_of, check_name, shared, spread, write_sheet
from assetmgr.errors import UsageError
from assetmgr.verify import Installed
from tests.datasets.conftest import Make, png
from tests.datasets.test_dataset import damage


@pytest.mark.parametrize(
    ("count", "lengths", "given"),
    [
        (12, {"a": 100}, {"a": 12}),
        (5, {"a": 9, "b": 9}, {"a": 3, "b": 2}),
        (12, {"a": 2, "b": 90}, {"a": 2, "b": 10}),
        (1, {"a": 0, "b": 3}, {"a": 0, "b": 1}),
        (9, {"a": 2, "b": 3}, {"a": 2, "b": 3}),
    ],
)
def test_the_splits_give_samples_as_evenly_as_they_can(
    count: int, lengths: dict[str, int], given: dict[str, int]
) -> None:
    assert shared(count, lengths) == given


def test_samples_are_spread_over_a_split() -> None:
    assert [spread(10, 3), spread(2, 5), spread(0, 3)] == [[0, 3, 6], [0, 1], []]


def test_html_has_each_sample_once_escaped_and_stands_alone(made: Make, tmp_path: Path) -> None:
    rows = [{"image": "a.png", "caption": f"<b>{n}</b> שלום 中文 &", "image_id": n} for n in range(9)]
    splits = load(made(rows))
    assert isinstance(splits, Splits)
    path = tmp_path / "sheet.html"
    write_sheet(str(path), "made <3", cells_of(splits, 3))
    text = path.read_text("utf-8")
    images = re.findall(r'<img alt="" src="data:image/jpeg;base64,([^"]+)">', text)
    assert len(images) == 3
    assert all(PIL.Image.open(io.BytesIO(base64.b64decode(image))).size == (4, 3) for image in images)
    assert "&lt;b&gt;3&lt;/b&gt; שלום 中文 &amp;" in text
    assert "<b>" not in text
    assert "made &lt;3" in text
    assert not re.search(r"https?://|<script", text)


def test_what_cannot_be_had_is_on_the_sheet_with_what_is_wrong(easy_vqa: Installed, tmp_path: Path) -> None:
    splits = load(easy_vqa)
    assert isinstance(splits, Splits)
    path = damage(splits["test"], 0, None)
    cells = cells_of(splits, 4)
    assert [bool(cell.fault) for cell in cells] == [True, False, False, False]
    assert str(path) in cells[0].fault
    for name in ("sheet.html", "sheet.png"):
        write_sheet(str(tmp_path / name), "t", cells)
    assert "no such file" in (tmp_path / "sheet.html").read_text()


def test_a_png_shows_pictures_and_texts_of_any_script(tmp_path: Path) -> None:
    red = io.BytesIO()
    PIL.Image.open(io.BytesIO(png("red", (200, 100)))).save(red, "JPEG")
    cell = Cell("train", 3, (red.getvalue(),), (("text", "café 中文 " + "x" * 500), ("long", "y " * 300)))
    write_sheet(str(tmp_path / "sheet.png"), "a title", [cell, Cell("train", 4, (), (("only", "text"),))])
    with PIL.Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 2 * 252 + 12
        colours = [pixel for _, pixel in sheet.convert("RGB").getcolors(1 << 20) or []]
    assert any(isinstance(pixel, tuple) and pixel[0] > 240 and max(pixel[1:]) < 20 for pixel in colours)
    write_sheet(str(tmp_path / "none.png"), "nothing", [])


def test_where_a_sheet_cannot_stand_is_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "d.png").mkdir()
    for path in ("sheet.pdf", "d.png", "nowhere/sheet.html"):
        with pytest.raises(UsageError):
            check_name(str(tmp_path / path))
