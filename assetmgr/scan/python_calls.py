"""Calls in Python source that load or fetch models and datasets, read as syntax.

A name that is written out counts, and one that a variable holds which is set once, to a text. Whatever is computed is
a remark: a draft does not guess.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence

from assetmgr.manifest import Kind
from assetmgr.names import is_repo
from assetmgr.scan.finds import Find, Named, Remark, Repo, plain
from assetmgr.scan.python_source import Imports, Piece, constants_of, is_written, parsed

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
        tree = parsed(piece, finds)
        if tree is not None:
            trees.append((tree, piece))
    imports = Imports(tree for tree, _ in trees)
    everywhere = constants_of([tree for tree, _ in trees])
    for tree, piece in trees:
        constants = everywhere | constants_of([tree])
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        for node in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
            finds += _Call(node, imports, constants, piece.where(node.lineno), is_local).finds()
    return finds


def _source(node: ast.expr) -> str:
    try:
        return plain(ast.unparse(node))
    except RecursionError:
        return "…"


class _Call:
    def __init__(
        self,
        node: ast.Call,
        imports: Imports,
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
        if isinstance(found, ast.List | ast.Tuple) and found.elts and is_written(found):
            return tuple(str(item.value) for item in found.elts if isinstance(item, ast.Constant))
        raise _Computed(f"{keys[0]} is computed: {_source(found)}")
