"""A contact sheet: some samples of a dataset, spread evenly, on one page that stands alone: HTML, or a PNG."""

from __future__ import annotations

import base64
import html
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assetmgr.datasets.dataset import Dataset
from assetmgr.datasets.videos import Video
from assetmgr.errors import IntegrityError, UsageError
from assetmgr.placing import write_document

SUFFIXES = (".html", ".htm", ".png")
# The longest side of a picture, in pixels, and how much of a text is shown.
_SIDE, _TEXT = 240, 300
# Fonts that draw more than Latin letters, where they are installed; the first that has all of a text is taken.
_FONTS = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "Arial Unicode.ttf",
    "arialuni.ttf", "msyh.ttc", "PingFang.ttc",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """One sample as it is shown: its pictures (JPEG), its other values as texts, or what is wrong with it."""

    split: str
    number: int
    pictures: tuple[bytes, ...] = ()
    texts: tuple[tuple[str, str], ...] = ()
    fault: str = ""


def check_name(path: str) -> None:
    """Raise `UsageError` where a sheet cannot be written to a path."""
    if not path.lower().endswith(SUFFIXES):
        raise UsageError(f"{path}: a contact sheet is a .html or a .png", mend="-o sheet.html")
    if os.path.isdir(path) or not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise UsageError(f"{path}: no file can stand there", mend="name a file in a folder that exists")


def shared(count: int, lengths: Mapping[str, int]) -> dict[str, int]:
    """How many of so many samples each split gives: as evenly as their lengths allow, the first ones more."""
    given = dict.fromkeys(lengths, 0)
    while count > 0 and (open_ := [name for name in lengths if given[name] < lengths[name]]):
        for name in open_[:count]:
            given[name] += 1
        count -= len(open_[:count])
    return given


def spread(length: int, count: int) -> list[int]:
    """So many numbers of rows, spread evenly from the first on."""
    count = min(length, count)
    return [number * length // count for number in range(count)]


def cells_of(splits: Mapping[str, Dataset], count: int) -> list[Cell]:
    """The samples of a sheet; one that cannot be had is there with what is wrong."""
    lengths = {name: len(dataset) for name, dataset in splits.items()}
    wanted = shared(count, lengths)
    return [
        _cell(dataset, number) for name, dataset in splits.items() for number in spread(lengths[name], wanted[name])
    ]


def _cell(dataset: Dataset, number: int) -> Cell:
    try:
        sample = dataset[number]
        pictures = tuple(_small(picture) for value in sample.values() for picture in _pictures(value))
    except IntegrityError as error:
        return Cell(dataset.split, number, fault=f"{error.message}; mend: {error.mend}")
    texts = tuple((key, _told(value)) for key, value in sample.items() if not _is_picture(value))
    return Cell(dataset.split, number, pictures, texts)


def _is_picture(value: Any) -> bool:
    import PIL.Image

    return isinstance(value, PIL.Image.Image)


def _pictures(value: Any) -> list[Any]:
    """What is to be seen of a value: a picture, or a video's beginning, middle and end."""
    if isinstance(value, Video):
        import PIL.Image

        last = value.info.frames - 1
        return [PIL.Image.fromarray(frame) for frame in value.at(sorted({0, last // 2, last}))]
    return [value] if _is_picture(value) else []


def _small(image: Any) -> bytes:
    small = image.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _told(value: Any) -> str:
    """A value as a text: what is no plain value is told by its kind."""
    if not isinstance(value, str):
        shape = getattr(value, "shape", None)
        if shape is not None:
            return f"{type(value).__name__} of {' x '.join(map(str, shape))}"
        value = json.dumps(value, ensure_ascii=False, default=lambda other: f"<{type(other).__name__}>")
    text = value.encode("utf-8", "replace").decode()
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}..."


def write_sheet(path: str, title: str, cells: Sequence[Cell]) -> None:
    """Write a sheet atomically, in place of what was there.

    Raises
    ------
    UsageError
        When nothing can be written there.
    DiskSpaceError
        When there is no room.
    """
    data = _png(title, cells) if path.lower().endswith(".png") else _html(title, cells)
    try:
        write_document(path, data, sync=False)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}", mend="name another file by -o") from None


# --- HTML -------------------------------------------------------------------------------------------------------------

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em; color: #222; background: #fff }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); gap: 1em }
figure { margin: 0; padding: .6em; border: 1px solid #ccc; border-radius: 4px; overflow-wrap: anywhere }
img { max-width: 100%; margin-right: .3em }
dl { margin: .4em 0 0 } dt { color: #666; font-size: 12px } dd { margin: 0 }
.fault { border-color: #c00 } .fault p { color: #c00 } small { color: #666 }
"""


def _html(title: str, cells: Iterable[Cell]) -> bytes:
    figures = "\n".join(map(_figure, cells))
    page = (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n<h1>{html.escape(title)}</h1>\n<main>\n{figures}\n</main></html>\n"
    )
    return page.encode()


def _figure(cell: Cell) -> str:
    images = "".join(
        f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(picture).decode()}">' for picture in cell.pictures
    )
    rows = "".join(f'<dt>{html.escape(key)}</dt><dd dir="auto">{html.escape(text)}</dd>' for key, text in cell.texts)
    words = f"<p>{html.escape(cell.fault)}</p>" if cell.fault else f"<dl>{rows}</dl>"
    kind = ' class="fault"' if cell.fault else ""
    return f"<figure{kind}>{images}<small>{html.escape(cell.split)} {cell.number:,}</small>{words}</figure>"


# --- PNG --------------------------------------------------------------------------------------------------------------

_MARGIN, _LINE, _LINES, _COLUMNS = 12, 17, 7, 4


def _png(title: str, cells: Sequence[Cell]) -> bytes:
    import PIL.Image
    import PIL.ImageDraw

    writer = _Writer()
    columns = max(1, min(_COLUMNS, len(cells)))
    drawn = [_drawn(cell, writer) for cell in cells]
    heights = [max(one.height for one in drawn[at : at + columns]) for at in range(0, len(drawn), columns)]
    width = columns * (_SIDE + _MARGIN) + _MARGIN
    height = 2 * _MARGIN + _LINE + sum(heights) + _MARGIN * len(heights)
    sheet = PIL.Image.new("RGB", (width, height), "white")
    writer.write(PIL.ImageDraw.Draw(sheet), (_MARGIN, _MARGIN), writer.wrapped(title, width - 2 * _MARGIN, 1), "black")
    top = 2 * _MARGIN + _LINE
    for row, tall in enumerate(heights):
        for column, one in enumerate(drawn[row * columns : (row + 1) * columns]):
            sheet.paste(one, (_MARGIN + column * (_SIDE + _MARGIN), top))
        top += tall + _MARGIN
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _drawn(cell: Cell, writer: _Writer) -> Any:
    """One sample: its pictures side by side, and its texts below."""
    import PIL.Image
    import PIL.ImageDraw

    pictures = [PIL.Image.open(io.BytesIO(picture)) for picture in cell.pictures]
    for picture in pictures:
        picture.thumbnail((max(1, _SIDE // len(pictures)), _SIDE))
    tall = max((picture.height for picture in pictures), default=0)
    lines = [(f"{cell.split} {cell.number:,}", "gray")]
    if cell.fault:
        lines += [(line, "#c00000") for line in writer.wrapped(cell.fault, _SIDE, 2 * _LINES)]
    for key, text in cell.texts:
        lines += [(line, "black") for line in writer.wrapped(f"{key}: {text}", _SIDE, _LINES)]
    drawn = PIL.Image.new("RGB", (_SIDE, tall + 6 + _LINE * len(lines)), "white")
    left = 0
    for picture in pictures:
        drawn.paste(picture, (left, 0))
        left += picture.width
    for at, (line, colour) in enumerate(lines):
        writer.write(PIL.ImageDraw.Draw(drawn), (0, tall + 4 + at * _LINE), [line], colour)
    return drawn


class _Writer:
    """Writes with the first font that has a text's characters; one that none has is written as its number."""

    def __init__(self) -> None:
        import PIL.ImageFont

        self._fonts: list[Any] = []
        for name in _FONTS:
            try:
                self._fonts.append(PIL.ImageFont.truetype(name, 13))
            except OSError:
                continue
        try:
            self._fonts.append(PIL.ImageFont.load_default(13))
        except TypeError:  # a Pillow before 10.1 has one size
            self._fonts.append(PIL.ImageFont.load_default())
        self._blank = [self._mask(font, "\U000effff") for font in self._fonts]
        self._has: dict[tuple[int, str], bool] = {}

    @staticmethod
    def _mask(font: Any, character: str) -> bytes | None:
        try:
            return bytes(font.getmask(character))
        except (UnicodeError, OSError, ValueError):
            return None  # a font of Latin letters alone

    def _draws(self, at: int, character: str) -> bool:
        known = self._has.get((at, character))
        if known is None:
            mask = self._mask(self._fonts[at], character)
            known = character == " " or (mask is not None and mask != self._blank[at])
            self._has[at, character] = known
        return known

    def _font(self, text: str) -> tuple[Any, str]:
        """The font for a text, and the text with what that font lacks as numbers."""
        missing = [sum(not self._draws(at, one) for one in set(text)) for at in range(len(self._fonts))]
        at = missing.index(min(missing))
        return self._fonts[at], "".join(one if self._draws(at, one) else f"\\u{ord(one):04x}" for one in text)

    def wrapped(self, text: str, width: int, most: int) -> list[str]:
        """A text in at most so many lines of a width in pixels."""
        font, text = self._font(" ".join(text.split()))
        lines, line = [], ""
        for word in text.split(" "):
            if line and font.getlength(f"{line} {word}") > width:
                lines.append(line)
                line = ""
            else:
                word = f"{line} {word}" if line else word
            while font.getlength(word) > width:  # longer than a line, or of a script without spaces
                fits = next(n for n in range(len(word), 0, -1) if n == 1 or font.getlength(word[:n]) <= width)
                lines.append(word[:fits])
                word = word[fits:]
                if fits == 1 and not word:
                    break
            line = word
        lines += [line] if line else []
        return lines if len(lines) <= most else [*lines[: most - 1], f"{lines[most - 1][:-3]}..."]

    def write(self, draw: Any, place: tuple[int, int], lines: Sequence[str], colour: str) -> None:
        for at, line in enumerate(lines):
            font, text = self._font(line)
            draw.text((place[0], place[1] + at * _LINE), text, fill=colour, font=font)
