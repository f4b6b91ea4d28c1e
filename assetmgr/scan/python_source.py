"""Python source as syntax: its tree as far as it is Python, where its names come from, and what they hold."""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from assetmgr.scan.finds import Find, Remark, plain

# How often a line that is no Python is passed over before a text is given up.
_PASSES = 40
_WORK = 4_000_000
_MAGIC = re.compile(r"^(\s*)[%!?].*$|^(\s*)\S.*\?\s*$", re.M)


class Piece(NamedTuple):
    """Some Python source: a file, or a block of a page. ``where`` tells the place of a line, from 1."""

    text: str
    where: Callable[[int], str]


def parsed(piece: Piece, finds: list[Find]) -> ast.Module | None:
    """The syntax tree. Lines that are no Python, such as remarks and magics of notebooks, are passed over."""
    lines = _MAGIC.sub(r"\1\2pass", piece.text.expandtabs(8)).splitlines() or [""]
    passed: list[int] = []
    for _ in range(max(2, min(_PASSES, _WORK // (len(piece.text) + 1)))):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # such as paths with backslashes
                tree = ast.parse("\n".join(lines) + "\n")
        except SyntaxError as error:
            at = min(max(error.lineno or 1, 1), len(lines)) - 1
            if at in passed:
                break
            passed.append(at)
            indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
            lines[at] = "" if isinstance(error, IndentationError) else f"{indent}pass"
            continue
        except (ValueError, RecursionError, MemoryError) as error:
            finds.append(Remark(piece.where(1), f"cannot be read as Python ({plain(str(error))})"))
            return None
        if passed:
            lost = f"{len(passed)} lines that are no Python were" if len(passed) > 1 else "a line that is no Python was"
            finds.append(Remark(piece.where(min(passed) + 1), f"{lost} passed over"))
        return tree
    finds.append(Remark(piece.where(1), "this is no Python, and was passed over"))
    return None


class Imports:
    """Where the names of a document come from."""

    def __init__(self, trees: Iterable[ast.Module]) -> None:
        self._origins: dict[str, str] = {}
        self._stars: list[str] = []
        self._own: set[str] = set()
        for tree in trees:
            for node in ast.walk(tree):
                if isinstance(node, ast.Import):
                    for alias in node.names:
                        top = alias.name.partition(".")[0]
                        self._origins[alias.asname or top] = alias.name if alias.asname else top
                elif isinstance(node, ast.ImportFrom):
                    module = "." * node.level + (node.module or "")
                    for alias in node.names:
                        if alias.name == "*":
                            self._stars.append(module)
                        else:
                            self._origins[alias.asname or alias.name] = f"{module}.{alias.name}"
            for node in tree.body:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    self._own.add(node.name)

    def origin(self, function: ast.expr) -> str:
        """The dotted name that a call's function has where it comes from; begins with '?.' where that is not seen."""
        names: list[str] = []
        while isinstance(function, ast.Attribute):
            names.append(function.attr)
            function = function.value
        if not isinstance(function, ast.Name):
            return ".".join(["?", *reversed(names)])
        if function.id in self._origins:
            first = self._origins[function.id]
        elif function.id in self._own:
            first = f".{function.id}"
        elif self._stars:
            first = f"{self._stars[-1]}.{function.id}"
        else:
            first = f"?.{function.id}"
        return ".".join([first, *reversed(names)])


def constants_of(trees: Sequence[ast.Module]) -> dict[str, ast.expr]:
    """Variables that are set once, to a text or a list of texts."""
    values: dict[str, ast.expr] = {}
    times: Counter[str] = Counter()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                values[node.targets[0].id] = node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                values[node.target.id] = node.value
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                times[node.id] += 1
            elif isinstance(node, ast.arg):
                times[node.arg] += 1
            elif isinstance(node, ast.alias):
                times[node.asname or node.name] += 1
            elif isinstance(node, ast.Global | ast.Nonlocal):
                times.update(node.names)
    return {name: value for name, value in values.items() if times[name] == 1 and is_written(value)}


def is_written(node: ast.expr) -> bool:
    if isinstance(node, ast.List | ast.Tuple):
        return all(map(is_written, node.elts))
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
