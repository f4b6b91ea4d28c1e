"""The Python in a file: the file itself, the fenced blocks of a page, the cells of a notebook."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from typing import Any

import msgspec

from assetmgr.scan.python_source import Piece

_FENCE = re.compile(r"( {0,12})(`{3,}|~{3,})[ \t]*([^`\s]*)")
_PYTHON = frozenset(["python", "python3", "py", "py3", "ipython", "ipython3", "pycon", "{python}", "{.python}"])
_PROMPT = re.compile(r"^(?:>>>|\.\.\.) ?")


def pieces_of(file: str, text: str) -> list[Piece]:
    """The pieces of Python in a file, by its name's ending.

    Raises
    ------
    ValueError
        When a notebook is none.
    """
    if file.lower().endswith(".ipynb"):
        return _cells(file, text)
    if file.lower().endswith((".md", ".markdown", ".mdx", ".qmd", ".rmd")):
        return _blocks(file, text)
    return [Piece(text, _at(file))]


def _at(file: str, offset: int = 0) -> Callable[[int], str]:
    return lambda line: f"{file}:{line + offset}"


def _blocks(file: str, text: str) -> list[Piece]:
    pieces = []
    fence, indent, begin, python = "", 0, 0, False
    lines = text.splitlines()
    for number, line in enumerate([*lines, None]):
        found = _FENCE.match(line) if line is not None else None
        if fence:
            closes = line is None or (
                found is not None and found[2].startswith(fence) and not line.strip().strip(fence[0])
            )
            if not closes:
                continue
            if python:
                block = [_unindented(each, indent) for each in lines[begin:number]]
                if any(each.startswith(">>>") for each in block):
                    block = [_PROMPT.sub("", each) if _PROMPT.match(each) else "" for each in block]
                pieces.append(Piece(textwrap.dedent("\n".join(block)), _at(file, begin)))
            fence = ""
        elif found is not None:
            fence, indent, begin = found[2], len(found[1]), number + 1
            python = found[3].lower() in _PYTHON
    return pieces


def _unindented(line: str, indent: int) -> str:
    return line[indent:] if not line[:indent].strip() else line.lstrip()


def _cells(file: str, text: str) -> list[Piece]:
    try:
        notebook: Any = msgspec.json.decode(text.encode("utf-8", "surrogatepass"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    pieces = []
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    for number, cell in enumerate(cells if isinstance(cells, list) else [], 1):
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        source = cell.get("source", "")
        whole = "".join(map(str, source)) if isinstance(source, list) else str(source)
        if not whole.lstrip().startswith("%%") or whole.lstrip().startswith(("%%time", "%%capture")):
            pieces.append(Piece(whole, _at(f"{file}:cell {number}")))
    return pieces
