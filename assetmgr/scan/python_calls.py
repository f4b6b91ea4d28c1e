"""Calls in Python source that load or fetch models and datasets, read as syntax.

A name that is written out counts, and one that a variable holds which is set once, to a text. Whatever is computed is
a remark: a draft does not guess.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from assetmgr.manifest import Kind
from assetmgr.names import is_repo
from assetmgr.scan.finds import Find, Named, Remark, Repo, plain

# How often a line that is no Python is passed over before a text is given up.
_PASSES = 40
_WORK = 4_000_000
_MAGIC = re.compile(r"^(\s*)[%!?].*$|^(\s*)\S.*\?\s*$", re.M)
_LOCAL = re.compile(r"[./~]|.*[\\:]|.*/\Z")
# What `datasets.load_dataset` reads files of one's own with.
_PACKAGED = frozenset(
    [
        "json",
        "csv",
        "parquet",
        "text",
        "arrow",
        "pandas",
        "xml",
        "webdataset",
        "imagefolder",
        "audiofolder",
        "generator",
    ]
)
_TYPES: dict[str, Kind] = {"model": "model", "dataset": "dataset"}


class Piece(NamedTuple):
    """Some Python source: a file, or a block of a page. ``where`` tells the place of a line, from 1."""

    text: str
    where: Callable[[int], str]


class _Computed(Exception):
    """A value that is not written out."""


def find_calls(pieces: Sequence[Piece], is_local: Callable[[str], bool] = lambda _: False) -> list[Find]:
    """What the pieces of one document load and fetch. They share imports and variables, as a notebook's cells do.

    Parameters
    ----------
    is_local
        Whether a text that could name a repo is a folder of the project instead.
    """
    finds: list[Find] = []
    trees: list[tuple[ast.Module, Piece]] = []
    for piece in pieces:
        tree = _parsed(piece, finds)
        if tree is not None:
            trees.append((tree, piece))
    imports = _Imports(tree for tree, _ in trees)
    everywhere = _constants([tree for tree, _ in trees])
    for tree, piece in trees:
        constants = everywhere | _constants([tree])
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        for node in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
            finds += _Call(node, imports, constants, piece.where(node.lineno), is_local).finds()
    return finds


def _parsed(piece: Piece, finds: list[Find]) -> ast.Module | None:
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


class _Imports:
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


def _constants(trees: Sequence[ast.Module]) -> dict[str, ast.expr]:
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
    return {name: value for name, value in values.items() if times[name] == 1 and _is_written(value)}


def _is_written(node: ast.expr) -> bool:
    if isinstance(node, ast.List | ast.Tuple):
        return all(map(_is_written, node.elts))
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _source(node: ast.expr) -> str:
    try:
        return plain(ast.unparse(node))
    except RecursionError:
        return "…"


class _Call:
    def __init__(
        self,
        node: ast.Call,
        imports: _Imports,
        constants: dict[str, ast.expr],
        where: str,
        is_local: Callable[[str], bool],
    ) -> None:
        self._node, self._constants, self.where, self._is_local = node, constants, where, is_local
        self.origin = imports.origin(node.func)
        self.function = self.origin.rpartition(".")[2]

    def finds(self) -> Iterator[Find]:
        reader = self._reader()
        if reader is None:
            return
        try:
            yield from reader()
        except _Computed as computed:
            yield Remark(self.where, f"{_source(self._node.func)}: {computed}")

    def _reader(self) -> Callable[[], Iterator[Find]] | None:
        top = self.origin.partition(".")[0]
        unseen = top == "?"
        own = self.origin.startswith(".") and self.origin.count(".") == 1  # defined in this very file
        if own:
            return None
        match self.function:
            case "from_pretrained" if isinstance(self._node.func, ast.Attribute):
                return self._pretrained
            case "snapshot_download" if top in ("?", "huggingface_hub"):
                return self._snapshot
            case "hf_hub_download" if top in ("?", "huggingface_hub"):
                return self._one_file
            case "load_dataset" if top in ("lavis", "assetmgr"):
                return lambda: self._named("name")
            case "load_dataset" if top == "datasets":
                return self._dataset
            case "load_dataset" if unseen and isinstance(self._node.func, ast.Name):
                return self._unseen
            case "load_model_and_preprocess" | "load_model" if top == "lavis":
                return self._lavis_model
            case "load_model_and_preprocess" if unseen or top == "assetmgr":
                return self._lavis_model
            case "load_model" if top == "assetmgr":
                return lambda: self._named("name")
            case "pipeline" if top in ("transformers", "diffusers"):
                return self._pipeline
            case "SentenceTransformer" | "CrossEncoder" if top in ("?", "sentence_transformers"):
                return self._sentences
            case "create_model" if top == "timm":
                return self._timm
        return None

    # --- what the calls mean -----------------------------------------------------------------------------------------

    def _pretrained(self) -> Iterator[Find]:
        position = 1 if self.origin.endswith("PeftModel.from_pretrained") else 0
        keys = ("pretrained_model_name_or_path", "pretrained_model_name", "repo_id", "model_id")
        repo = self._text(position, *keys)
        if repo is None:
            return  # a method of that name with other arguments
        folder = self._text(None, "subfolder")
        allow = (f"{folder.strip('/')}/*",) if folder else None
        yield from self._repo("model", repo, allow=allow, is_use=True)

    def _snapshot(self) -> Iterator[Find]:
        repo = self._text(0, "repo_id")
        allow, ignore = self._texts("allow_patterns", "allow_regex"), self._texts("ignore_patterns", "ignore_regex")
        yield from self._repo(self._kind(), repo, allow=allow, ignore=ignore, local_dir=self._folder())

    def _one_file(self) -> Iterator[Find]:
        repo, name, folder = self._text(0, "repo_id"), self._text(1, "filename"), self._text(2, "subfolder")
        if name is None:
            raise _Computed("the file's name is not written out")
        path = f"{folder.strip('/')}/{name}" if folder else name
        # A pattern's characters in a name are that name's.
        allow = (re.sub(r"([*?\[])", r"[\1]", path),)
        yield from self._repo(self._kind(), repo, allow=allow, local_dir=self._folder())

    def _dataset(self) -> Iterator[Find]:
        repo = self._text(0, "path")
        if repo in _PACKAGED:
            yield Remark(self.where, f"load_dataset({repo!r}) reads files of your own: give their URLs under 'files:'")
            return
        files = self._texts("data_files")
        folder = self._text(None, "data_dir")
        allow = files or ((f"{folder.strip('/')}/*",) if folder else None)
        yield from self._repo("dataset", repo, allow=allow, is_use=True)

    def _unseen(self) -> Iterator[Find]:
        name = self._text(0, "name", "path")
        if name is not None and "/" in name:
            yield from self._dataset()
        elif name is not None:
            yield Named(self.where, name)

    def _named(self, key: str) -> Iterator[Find]:
        name = self._text(0, key)
        if name is not None:
            yield Named(self.where, name)

    def _lavis_model(self) -> Iterator[Find]:
        name, kind = self._text(0, "name"), self._text(1, "model_type")
        if name is None or kind is None:
            raise _Computed("LAVIS's model needs its name and its model_type")
        yield Named(self.where, f"{name}/{kind}")

    def _pipeline(self) -> Iterator[Find]:
        repo = self._text(1, "model")
        if repo is None:
            raise _Computed("no model is named, so that the library takes its default one for the task")
        yield from self._repo("model", repo, is_use=True)

    def _sentences(self) -> Iterator[Find]:
        repo = self._text(0, "model_name_or_path", "model_name")
        if repo is not None and "/" not in repo and self.function == "SentenceTransformer":
            repo = f"sentence-transformers/{repo}"  # as the library takes it
        yield from self._repo("model", repo, is_use=True)

    def _timm(self) -> Iterator[Find]:
        name = self._text(0, "model_name") or ""
        if name.startswith(("hf-hub:", "hf_hub:")):
            repo, _, revision = name.partition(":")[2].partition("@")
            yield from self._repo("model", repo, revision=revision or None, is_use=True)

    # --- arguments ---------------------------------------------------------------------------------------------------

    def _repo(
        self,
        kind: Kind,
        repo: str | None,
        *,
        revision: str | None = None,
        allow: tuple[str, ...] | None = None,
        ignore: tuple[str, ...] | None = None,
        local_dir: str | None = None,
        is_use: bool = False,
    ) -> Iterator[Find]:
        revision = revision or self._text(None, "revision")
        if repo is None:
            raise _Computed("no repo is named")
        if _LOCAL.match(repo) or self._is_local(repo):
            yield Remark(self.where, f"{plain(repo)!r} is a local path")
        elif not is_repo(repo):
            yield Remark(self.where, f"{plain(repo)!r} is no hub repo")
        else:
            yield Repo(self.where, kind, repo, revision, allow, ignore, local_dir, is_use)

    def _kind(self) -> Kind:
        said = self._text(None, "repo_type")
        if said not in (None, *_TYPES):
            raise _Computed(f"a repo_type of {said!r} is neither model nor dataset")
        return _TYPES[said or "model"]

    def _folder(self) -> str | None:
        try:
            return self._text(None, "local_dir")
        except _Computed:
            return None  # where the files are shown is not what is wanted

    def _argument(self, position: int | None, *keys: str) -> ast.expr | None:
        found = next((keyword.value for keyword in self._node.keywords if keyword.arg in keys), None)
        if found is None and position is not None and position < len(self._node.args):
            found = self._node.args[position]
        if isinstance(found, ast.Name):
            found = self._constants.get(found.id, found)
        return None if isinstance(found, ast.Constant) and found.value is None else found

    def _text(self, position: int | None, *keys: str) -> str | None:
        """An argument's text; None where it is not given."""
        found = self._argument(position, *keys)
        if found is None:
            return None
        if isinstance(found, ast.Constant) and isinstance(found.value, str):
            return found.value
        raise _Computed(f"{keys[0]} is computed: {_source(found)}")

    def _texts(self, *keys: str) -> tuple[str, ...] | None:
        found = self._argument(None, *keys)
        if found is None:
            return None
        if isinstance(found, ast.Constant) and isinstance(found.value, str):
            return (found.value,)
        if isinstance(found, ast.List | ast.Tuple) and found.elts and _is_written(found):
            return tuple(str(item.value) for item in found.elts if isinstance(item, ast.Constant))
        raise _Computed(f"{keys[0]} is computed: {_source(found)}")
