"""The manifests of LAVIS's zoo, from the configs of salesforce-lavis 1.0.2 and from what they do not say.

::

    python -m tests.lavis.generate [FOLDER]    # the package's folder `lavis`; by default the installed one's

writes ``manifests/lavis-models.yaml``, ``manifests/lavis-datasets.yaml`` and ``manifests/hub-vision-language.yaml``.
Nothing of LAVIS is imported. That the outcome is what LAVIS itself fetches is for `recording` to say.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from posixpath import basename, dirname
from typing import Any

import yaml

from tests.lavis import package
from tests.support import REPOSITORY

HAND: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("by_hand.yaml").read_text(encoding="utf-8"))
MODELS, DATASETS, HUB = "lavis-models.yaml", "lavis-datasets.yaml", "hub-vision-language.yaml"

Asset = dict[str, Any]


def generate(folder: Path) -> dict[str, str]:
    """The text of each manifest, by its file's name."""
    return {MODELS: _models(folder), DATASETS: _datasets(folder), HUB: _hub()}


# --- models -----------------------------------------------------------------------------------------------------------


def _models(folder: Path) -> str:
    types: dict[str, Asset] = {}
    beginnings: dict[str, Asset] = {}
    for architecture, configs in package.models(folder):
        for model_type, path in configs.items():
            model = package.config(folder, path)["model"]
            types[f"{architecture}/{model_type}"] = _model(architecture, model_type, model)
            url = model.get("pretrained") or ""
            if url.startswith("http"):
                beginnings[basename(url).rpartition(".")[0]] = {"files": [_torch(url)], "groups": ["lavis-beginnings"]}
    fetched = {file["url"] for asset in types.values() for file in asset.get("files", ())}
    newer = {
        name: {**asset, "groups": ["lavis-main"], "load": _load(*name.split("/"))}
        for name, asset in HAND["newer"].items()
    }
    return _text(
        "LAVIS's models: each type of each architecture of salesforce-lavis 1.0.2, with what LAVIS fetches for it.",
        "models",
        {
            "A type's own checkpoint, as `load_model` loads it. What several share is an asset of its own.": types,
            "Checkpoints that no type loads unless it is to be trained (`load_finetuned: false` in its config).": {
                name: asset for name, asset in beginnings.items() if asset["files"][0]["url"] not in fetched
            },
            "What LAVIS's code loads besides, without a word in its configs.": {
                name: _part(asset, "lavis-parts") for name, asset in HAND["parts"].items()
            },
            "Newer architectures: of LAVIS's repository as it stood in November 2024, and of no release.": newer,
            "What those load besides.": {
                name: _part(asset, "lavis-main") for name, asset in HAND["newer_parts"].items()
            },
        },
    )


def _model(architecture: str, model_type: str, model: Mapping[str, Any]) -> Asset:
    """One type: its own checkpoint, and the names of what is loaded besides."""
    requires = list(HAND["requires"].get(architecture, ()))
    files: list[Asset] = []
    if architecture.startswith("clip"):
        url = HAND["clip"][model_type]
        files.append({"url": url, "place": "clip", "sha256": url.split("/")[-2]})
    elif url := _checkpoint(architecture, model):
        files.append(_torch(url))
    if architecture.startswith("blip2"):
        requires.append(HAND["vision"][model.get("vit_model", "default")])
        requires += [model[key] for key in HAND["language"] if key in model]
    for part in model.values():  # models that are made of models
        if isinstance(part, dict) and (found := part.get("finetuned") or part.get("pretrained")):
            if found.startswith("http"):
                files.append(_torch(found))
            else:
                requires.append(found)
    asset: Asset = {"files": files} if files else _part(HAND["parts"][requires.pop()])
    family = re.split(r"[_/]", architecture.replace("pnp_vqa", "pnp-vqa"))[0]
    twins = [name for name, twin in HAND["twins"].items() if f"{architecture}/{model_type}" in twin["of"]]
    return {
        **{key: value for key, value in asset.items() if key != "description"},
        "requires": requires,
        "groups": ["lavis", family],
        "twins": twins,
        "load": _load(architecture, model_type),
    }


def _checkpoint(architecture: str, model: Mapping[str, Any]) -> str | None:
    """The URL that `load_model` fetches: by `load_checkpoint_from_config`, or by a rule of the architecture's own."""
    rule = HAND["checkpoint"].get(architecture, "config")
    if rule == "none" or ("pretrained" not in model and "finetuned" not in model):
        return None
    chosen = model["finetuned"] if rule == "config" and model.get("load_finetuned", True) else model["pretrained"]
    return str(chosen)


def _torch(url: str) -> Asset:
    return {"url": url, "place": "torch"}


def _load(architecture: str, model_type: str) -> Asset:
    return {"lavis": {"name": architecture, "model_type": model_type}}


def _part(asset: Asset, *groups: str) -> Asset:
    selected = {"allow_patterns": HAND["patterns"]} if "hub" in asset else {}
    return {**selected, **asset} | ({"groups": list(groups)} if groups else {})


# --- the hub's models -------------------------------------------------------------------------------------------------


def _hub() -> str:
    assets: dict[str, Asset] = {
        name: {
            "hub": name,
            "allow_patterns": HAND["twin_patterns"][twin["weights"]],
            "groups": ["hub-vision-language", "clip" if "clip" in name else name.split("/")[1].split("-")[0]],
            "twins": twin["of"],
        }
        for name, twin in HAND["twins"].items()
    }
    return _text(
        "The hub's BLIP, BLIP-2 and CLIP, for transformers. Each names its LAVIS twins: models of the same\n"
        "# architecture for the same task. Their weights need not be equal: LAVIS trained some of its own.",
        "models",
        {"": assets},
    )


# --- datasets ---------------------------------------------------------------------------------------------------------


def _datasets(folder: Path) -> str:
    sets: dict[str, Asset] = {}
    for name, forms in package.datasets(folder):
        builds = {form: _build(folder, path) for form, path in forms.items()}
        annotated = {form: build for form, build in builds.items() if "annotations" in build}
        if not annotated:
            sets[name] = {**HAND["without_annotations"][name], "groups": ["lavis"]}
            continue
        whole = set(_files(builds["default"]))
        within = {form: build for form, build in annotated.items() if form != "default" and whole >= set(_files(build))}
        sets[name] = _dataset(name, builds["default"], {form: _splits(build) for form, build in within.items()})
        for form, build in annotated.items():
            if form != "default" and form not in within:
                sets[f"{name}/{form}"] = _dataset(name, build, {})
    media = {name: {**asset, "groups": ["lavis-media"]} for name, asset in HAND["assets"].items()}
    return _text(
        "LAVIS's datasets: each name of salesforce-lavis 1.0.2, with the annotations that LAVIS fetches, where it\n"
        "# looks for them, under the names that it gives them.",
        "datasets",
        {
            "Where one form of a dataset has files of its own, it is an asset of its own: gqa/balanced_val.": sets,
            "Images, videos and features, each once for all datasets that need them, in LAVIS's own folders.": media,
        },
    )


def _build(folder: Path, path: str) -> Mapping[str, Any]:
    (dataset,) = package.config(folder, path)["datasets"].values()
    build: dict[str, Any] = dataset["build_info"]
    return {**build, "media": build.get(dataset["data_type"], {}).get("storage", "")}


def _dataset(name: str, build: Mapping[str, Any], variants: Mapping[str, Any]) -> Asset:
    media = list(_listed(HAND["media"][build["media"].rstrip("/")]))
    elsewhere = f"LAVIS looks for its {media[0].rpartition('-')[2]} on a machine of its makers, unless vis_path names"
    return {
        "description": f"{elsewhere} the folder" if build["media"].startswith("/") else None,
        "files": list(_files(build).values()),
        "requires": [*media, *HAND["beside"].get(name, ())],
        "groups": ["lavis", name.split("_")[0]],
        "splits": _splits(build),
        "media": _above(build["media"], media[0]),
        "samples": _samples(HAND["samples"].get(name), _splits(build)),
        "variants": {form: {"splits": splits} for form, splits in variants.items()},
    }


def _files(build: Mapping[str, Any]) -> dict[str, Asset]:
    """The annotation files of all splits, by LAVIS's path for each."""
    files: dict[str, Asset] = {}
    for split in build["annotations"].values():
        for url, storage, md5 in zip(*(_listed(split.get(key)) for key in ("url", "storage", "md5")), strict=False):
            name = basename(storage)
            source: Asset = {"url": url} if url.startswith("http") else {"ask": HAND["internal"][name]}
            if "url" not in source or name != basename(url):
                source["path"] = name
            files[storage] = source | {"place": f"lavis/{dirname(storage)}"} | ({"md5": md5} if md5 else {})
    return files


def _splits(build: Mapping[str, Any]) -> dict[str, list[str]]:
    """The files of the splits that LAVIS builds, and those that it reads with each of them (``ans2label``)."""
    listed = {
        name: [basename(str(path)) for path in _listed(split["storage"])]
        for name, split in build["annotations"].items()
    }
    built = {name: files for name, files in listed.items() if name in ("train", "val", "test")}
    beside = [file for name, files in listed.items() if name not in built for file in files]
    return {name: [*files, *beside] for name, files in built.items()}


def _above(folder: str, name: str) -> str | None:
    """The folder from which LAVIS's annotations name media, where it is above the one that their archive fills."""
    folder = f"lavis/{folder.rstrip('/')}"
    filled = [file["extract"] for file in HAND["assets"][name].get("files", ())]
    return folder if any(place.startswith(f"{folder}/") for place in filled) else None


def _samples(readers: str | list[str] | None, splits: Iterable[str]) -> object:
    """The reader of all splits, or of each: what LAVIS trains with may be other than what it evaluates with."""
    if not isinstance(readers, list):
        return readers
    train, evaluation = readers
    return {split: train if split == "train" else evaluation for split in splits}


def _listed(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else [value] if value is not None else [None] * 99


# --- YAML -------------------------------------------------------------------------------------------------------------


def _text(about: str, section: str, parts: Mapping[str, Mapping[str, Asset]]) -> str:
    """A manifest. A part is its comment and its assets."""
    lines = [
        f"# {about}",
        "# Made by `python -m tests.lavis.generate`; edit tests/lavis/by_hand.yaml instead.",
        "version: 1",
        f"{section}:",
    ]
    for number, (comment, assets) in enumerate(parts.items()):
        lines += ([""] if number else []) + ([f"  # {comment}"] if comment else [])
        for name, asset in assets.items():
            lines.append(f"  {name}:")
            for key, value in asset.items():
                lines += _lines(key, value)
    return "\n".join(lines) + "\n"


_ORDER = (
    "url",
    "path",
    "place",
    "size",
    "sha256",
    "sha256_prefix",
    "md5",
    "extract",
    "prefix",
    "strip",
    "keep_archive",
    "ask",
)


def _lines(key: str, value: Any) -> Iterable[str]:
    if value is None or value in ([], {}):
        return
    if key != "files":
        yield f"    {key}: {_flow(value)}"
        return
    yield "    files:"
    for file in value:
        fields = [f"{name}: {_flow(file[name])}" for name in _ORDER if name in file]
        if len(flow := ", ".join(fields)) < 200:
            yield f"      - {{{flow}}}"
        else:
            yield f"      - {fields[0]}"
            yield from (f"        {field}" for field in fields[1:])


def _flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_flow(item)}' for key, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z_/](?:[\w./+-]|:(?=//))*", value)
    return str(value) if plain and value.lower() not in ("true", "false", "no", "yes", "null") else json.dumps(value)


if __name__ == "__main__":
    found = Path(sys.argv[1]) if len(sys.argv) > 1 else package.find_package()
    if found is None:
        sys.exit("salesforce-lavis is not installed here: say where its folder `lavis` is")
    for file, text in generate(found).items():
        (REPOSITORY / "manifests" / file).write_text(text, encoding="utf-8")
        print(f"manifests/{file}")
