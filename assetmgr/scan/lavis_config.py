"""LAVIS's project configs: which model, and which datasets with which files.

A config of a project names its model by ``arch`` and ``model_type`` and its datasets by their builders' names; a
dataset's own config, or a project that brings its own data, has URLs and the storage below LAVIS's cache root.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

from assetmgr.errors import ManifestError
from assetmgr.manifest_urls import file_name, url_fault
from assetmgr.manifest_yaml import ManifestLimits, Node, Problems, Scalar, Sequence, compose
from assetmgr.manifest_yaml import Mapping as MappingNode
from assetmgr.names import asset_name_fault, is_digest, is_repo, path_fault
from assetmgr.scan.finds import Find, Listed, Named, Remark, Repo, plain

# What a dataset's section of LAVIS has, and other tools' `datasets:` have not.
_OF_A_DATASET = frozenset(["vis_processor", "text_processor", "build_info", "data_type", "dataset_card"])
_LANGUAGE_MODELS = ("opt_model", "t5_model", "llm_model", "bert_model")
_LIMITS = ManifestLimits(nodes=20_000, expanded_nodes=40_000)


def find_configured(file: str, text: str) -> list[Find]:
    """What a YAML file says where it is a config of LAVIS; nothing where it is another's."""
    root = _composed(file, text)
    model, datasets, run = _get(root, "model"), _get(root, "datasets"), _get(root, "run")
    finds: list[Find] = []
    has_model = isinstance(_get(model, "arch"), Scalar)
    if has_model:
        finds += _model(file, model)
        resumed = _text(run, "resume_ckpt_path")
        if resumed is not None:
            finds += _checkpoint(file, run, "resume_ckpt_path", "checkpoint")
    for key, section in _pairs(datasets):
        # Beside a model of LAVIS's form, a name is a dataset's whatever is, or is not, set for it.
        if (has_model and _is_section(section)) or {name for name, _ in _named(section)} & _OF_A_DATASET:
            finds += _dataset(file, key, section)
    return finds


def _composed(file: str, text: str) -> Node | None:
    if "arch" not in text and "datasets" not in text:
        return None
    problems = Problems(file, 10_000)
    try:
        return compose(text, problems, _LIMITS)
    except ManifestError:
        return None  # another tool's file, such as a template


def _model(file: str, model: Node | None) -> Iterator[Find]:
    arch, kind = _text(model, "arch"), _text(model, "model_type")
    where = _where(file, _get(model, "arch"))
    if not arch or not kind:
        yield Remark(
            where, f"LAVIS's model {plain(arch or '')!r} has no model_type: it cannot be told which weights it takes"
        )
    else:
        yield Named(where, f"{arch}/{kind}")
    label = f"{arch}-{kind}" if kind else f"{arch}"
    for key in ("pretrained", "finetuned"):
        if _text(model, key):
            yield from _checkpoint(file, model, key, f"{label}-{key}")
    for key in _LANGUAGE_MODELS:
        repo = _text(model, key)
        if repo is None:
            continue
        at = _where(file, _get(model, key))
        if is_repo(repo):
            yield Repo(at, "model", repo, is_use=True)
        else:
            yield Remark(at, f"{key}: {plain(repo)!r} is no hub repo")


def _checkpoint(file: str, section: Node | None, key: str, name: str) -> Iterator[Find]:
    url, where = _text(section, key) or "", _where(file, _get(section, key))
    if url.startswith(("http://", "https://")) and not url_fault(url) and not path_fault(file_name(url)):
        yield Listed(where, "model", _safe(name), {"files": [{"url": url, "place": "torch"}]})
    else:
        yield Remark(where, f"{key}: {plain(url)!r} is no URL: a file of your own, or computed")


def _dataset(file: str, key: Scalar, section: Node) -> Iterator[Find]:
    where = _where(file, key)
    if asset_name_fault(key.text):
        yield Remark(where, f"the dataset's name {plain(key.text)!r} is computed, or no name")
        return
    files: dict[tuple[str, str], dict[str, Any]] = {}
    splits: dict[str, list[str]] = {}
    info = _get(section, "build_info")
    for split, part in _named(_get(info, "annotations")):
        urls, storages = _listed(_get(part, "url")), _listed(_get(part, "storage"))
        md5s = [each.text for each in _listed(_get(part, "md5"))]
        if len(urls) != len(storages):
            urls = urls if len(storages) == 0 else []
        for number, url in enumerate(urls):
            storage = storages[number].text if storages else f"{key.text}/annotations/{file_name(url.text)}"
            fault = _file_fault(url.text, storage)
            if fault:
                yield Remark(_where(file, url), f"{key.text}: {fault}")
                continue
            folder, name = posixpath.split(posixpath.normpath(storage))
            entry: dict[str, Any] = {"url": url.text}
            if name != file_name(url.text):
                entry["path"] = name
            entry["place"] = f"lavis/{folder}" if folder else f"lavis/{key.text}"
            if number < len(md5s) and is_digest(md5s[number].lower(), "md5"):
                entry["md5"] = md5s[number].lower()
            files[entry["place"], name] = entry
            splits.setdefault(split, []).append(name)
        for storage_node in storages if not urls else ():
            yield Remark(_where(file, storage_node), f"{key.text}: {plain(storage_node.text)!r} has no URL")
    if not files:
        yield Named(where, key.text)
        return
    declaration: dict[str, Any] = {"files": list(files.values())}
    names = [name for _, name in files]
    if len(set(names)) == len(names) and all(not asset_name_fault(split) and "/" not in split for split in splits):
        declaration["splits"] = {split: each[0] if len(each) == 1 else each for split, each in splits.items()}
    yield Listed(where, "dataset", key.text, declaration)
    for kind in ("images", "videos", "features"):
        storage_of = _text(_get(info, kind), "storage")
        if storage_of:
            yield Remark(
                _where(file, _get(_get(info, kind), "storage")),
                f"{key.text}: its {kind} are to be at {plain(storage_of)!r}: declare where they come from",
            )


def _file_fault(url: str, storage: str) -> str | None:
    if not url.startswith(("http://", "https://")):
        return f"{plain(url)!r} is no URL: a file of your own, or computed"
    if fault := url_fault(url):
        return f"{plain(url)!r}: {fault}"
    if path_fault(storage) or "$" in storage:
        return f"the storage {plain(storage)!r} is not below LAVIS's cache root"
    return None


def _safe(name: str) -> str:
    return name if not asset_name_fault(name) else "checkpoint"


# --- nodes -----------------------------------------------------------------------------------------------------------


def _pairs(node: Node | None) -> list[tuple[Scalar, Node]]:
    pairs = node.pairs if isinstance(node, MappingNode) else []
    return [(key, value) for key, value in pairs if isinstance(key, Scalar)]


def _named(node: Node | None) -> list[tuple[str, Node]]:
    return [(key.text, value) for key, value in _pairs(node)]


def _is_section(node: Node) -> bool:
    return isinstance(node, MappingNode) or (isinstance(node, Scalar) and node.kind == "null")


def _get(node: Node | None, name: str) -> Node | None:
    return next((value for key, value in _named(node) if key == name), None)


def _text(node: Node | None, name: str) -> str | None:
    value = _get(node, name)
    return value.text if isinstance(value, Scalar) and value.kind != "null" and value.text else None


def _listed(node: Node | None) -> list[Scalar]:
    nodes = node.items if isinstance(node, Sequence) else [node]
    return [each for each in nodes if isinstance(each, Scalar) and each.kind != "null"]


def _where(file: str, node: Node | None) -> str:
    return f"{file}:{node.line if node else 1}"
