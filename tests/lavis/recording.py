"""What LAVIS itself fetches and opens: each model type and each dataset of the installed package, recorded.

Runs in an environment that has LAVIS, and prints one JSON document. LAVIS's own code decides everything. Only what it
calls to reach a network is replaced, by the lowest function of each library; what such a function hands out is a
stand-in that holds its URL, so that where LAVIS puts it is read off the disk afterwards. Models are built on torch's
``meta`` device, where weights take neither time nor memory.

::

    python -m tests.lavis.recording > tests/lavis/recorded.json
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

from assetmgr.hook.assetmgr_hook.on_import import Watcher
from assetmgr.hook.assetmgr_hook.without_cuda import declare_operators

_BERT = {"model_type": "bert", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
_T5 = {"model_type": "t5", "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2, "vocab_size": 32128}
_OPT = {"model_type": "opt", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 8}
_GPT2 = {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2}


class Recorder:
    """Folders of its own for every library, and what was asked for since it was last emptied."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folders = {
            "torch": root / "torch",
            "clip": root / "home" / ".cache" / "clip",
            "lavis": root / "lavis",
        }
        self.stand_ins = root / "stand-ins"
        self.stand_ins.mkdir(parents=True)
        self.clear()

    def clear(self) -> None:
        self.hub: dict[str, set[str]] = {}
        self.packages: set[str] = set()
        self.hashes: dict[str, str] = {}
        self.opened: list[str] = []
        for path in [path for folder in self.folders.values() for path in folder.rglob("*") if path.is_file()]:
            path.unlink()

    def files(self) -> dict[str, str]:
        """Each file that was fetched, by its place in a store of ours: its URL."""
        return {
            f"{place}/{path.relative_to(folder).as_posix()}": path.read_text()
            for place, folder in self.folders.items()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    def in_store(self, path: str) -> str:
        """A path as it would be in a store of ours; one of another machine as it is."""
        for place, folder in self.folders.items():
            if Path(path).is_relative_to(folder):
                return f"{place}/{Path(path).relative_to(folder).as_posix()}"
        return path

    # --- what stands where the network was --------------------------------------------------------------------------

    def download_url_to_file(self, url: str, dst: str, hash_prefix: str | None = None, progress: bool = True) -> None:
        if hash_prefix:
            self.hashes[url] = hash_prefix
        Path(dst).write_text(url)

    def download_url(self, url: str, root: str, filename: str) -> None:
        Path(root, filename).write_text(url)  # one of LAVIS's own machines too, which is no URL

    def urlopen(self, request: Any, *_: Any, **__: Any) -> Any:
        url = request if isinstance(request, str) else request.full_url
        return _Answer(url)

    def hub_file(self, repo: str, name: str, **_: Any) -> str:
        if name.endswith((".safetensors", ".safetensors.index.json")):
            from huggingface_hub.errors import EntryNotFoundError

            # Where that library is installed, transformers looks for these first; the catalog has none of them.
            raise EntryNotFoundError(name)
        self.hub.setdefault(repo, set()).add(name)
        path = self.stand_ins / repo.replace("/", "--") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        config = next((known for word, known in _CONFIGS if word in repo), {})
        path.write_text(json.dumps(config if name == "config.json" else {}))
        return str(path)

    def spacy_load(self, name: str, **_: Any) -> Any:
        self.packages.add(name)
        return mock.MagicMock()


_CONFIGS = (("bert", _BERT), ("opt", _OPT), ("gpt2", _GPT2), ("t5", _T5))


class _Answer(io.BytesIO):
    """What a server says: the URL that it was asked for."""

    def __init__(self, url: str) -> None:
        super().__init__(url.encode())
        self.url = url
        self.length = len(url)

    def info(self) -> dict[str, str]:
        return {"Content-Length": str(self.length)}

    @property
    def headers(self) -> dict[str, str]:
        return self.info()


class _State(dict[str, Any]):
    """A checkpoint: any weights that code asks for by name are there."""

    def __missing__(self, name: str) -> Any:
        import torch

        return torch.zeros(1, 197, 768, device="cpu")


@contextlib.contextmanager
def _without_network(recorder: Recorder) -> Iterator[None]:
    """Replace what reaches a network, and what would choke on stand-ins."""
    import urllib.request

    import lavis.datasets.builders.base_dataset_builder as builder
    import lavis.models.clip_models.model as clip
    import lavis.models.clip_models.pretrained as clip_pretrained
    import spacy
    import timm.models.hub
    import torch
    import torch.hub
    import transformers
    import transformers.utils.hub

    def tokenizer(*_: Any, **__: Any) -> Any:
        made = mock.MagicMock()
        made.__len__.return_value = 30524
        return made

    def load(*_: Any, **__: Any) -> Any:
        return _State(model=_State())

    def load_state_dict(*_: Any, **__: Any) -> Any:
        return SimpleNamespace(missing_keys=[], unexpected_keys=[])

    # CLIP compares a file with the digest in its URL: the stand-in says what it is asked to be.
    digest = SimpleNamespace(sha256=lambda data: SimpleNamespace(hexdigest=lambda: data.decode().split("/")[-2]))
    linspace = torch.linspace
    patches = [
        (torch.hub, "download_url_to_file", recorder.download_url_to_file),
        (timm.models.hub, "download_url_to_file", recorder.download_url_to_file),
        (torch.hub, "urlopen", recorder.urlopen),
        (urllib.request, "urlopen", recorder.urlopen),
        (transformers.utils.hub, "hf_hub_download", recorder.hub_file),
        (spacy, "load", recorder.spacy_load),
        (transformers.PreTrainedTokenizerBase, "_from_pretrained", tokenizer),
        (torch, "load", load),
        (torch.nn.Module, "load_state_dict", load_state_dict),
        (torch, "linspace", lambda *a, **k: linspace(*a, **{**k, "device": "cpu"})),  # its numbers are looked at
        (builder, "download_url", recorder.download_url),
        (clip_pretrained, "hashlib", digest),
        (clip, "build_model_from_openai_state_dict", lambda *_: torch.nn.Linear(1, 1, device="cpu")),
    ]
    with contextlib.ExitStack() as stack:
        for owner, name, instead in patches:
            stack.enter_context(mock.patch.object(owner, name, instead))
        yield


def _models(recorder: Recorder) -> dict[str, Any]:
    import torch
    from lavis.models import load_model, load_model_and_preprocess, model_zoo

    found: dict[str, Any] = {}
    for name, types in model_zoo.model_zoo.items():
        for model_type in types:
            recorder.clear()
            with torch.device("meta"), _complete(name, model_type, recorder.root):
                load = load_model_and_preprocess if _has_processors(name, model_type) else load_model
                load(name, model_type, is_eval=True, device=torch.device("meta"))
            found[f"{name}/{model_type}"] = {
                "files": recorder.files(),
                "hashes": dict(recorder.hashes),
                "hub": {repo: sorted(names) for repo, names in recorder.hub.items()},
                "packages": sorted(recorder.packages),
            }
    return found


def _has_processors(name: str, model_type: str) -> bool:
    """Whether a model type's config names its processors. Without, LAVIS's own call for both raises."""
    from lavis.common.registry import registry
    from omegaconf import OmegaConf

    return "preprocess" in OmegaConf.load(registry.get_model_class(name).default_config_path(model_type))


@contextlib.contextmanager
def _complete(name: str, model_type: str, root: Path) -> Iterator[None]:
    """Say how many classes there are, where LAVIS's own config leaves that to its user."""
    from lavis.common.registry import registry
    from omegaconf import OmegaConf

    cls = registry.get_model_class(name)
    config = OmegaConf.load(cls.default_config_path(model_type))
    if not name.endswith("_classification") or "num_classes" in config.model:
        yield
        return
    config.model.num_classes = 2
    OmegaConf.save(config, root / "config.yaml")
    with mock.patch.dict(cls.PRETRAINED_MODEL_CONFIG_DICT, {model_type: str(root / "config.yaml")}):
        yield


def _datasets(recorder: Recorder) -> dict[str, Any]:
    """Each dataset in each of its forms: the files by place, those that each split opens, and where its media are."""
    import lavis.datasets.datasets.laion_dataset as laion
    import torchvision.datasets
    from lavis.common.registry import registry
    from lavis.common.utils import get_abs_path
    from lavis.datasets.builders import dataset_zoo, load_dataset

    seen: list[str] = []  # of what is opened by no name in LAVIS's code
    found: dict[str, Any] = {}

    def folder(root: str) -> Any:
        seen.append(root)
        return mock.MagicMock(imgs=[])

    def shards(where: str) -> Any:
        seen.append(where)
        return mock.MagicMock()

    def rows(file: Any) -> Any:
        recorder.opened.append(file.name)
        return _Rows()

    for name, forms in dataset_zoo.dataset_zoo.items():
        configs = registry.get_builder_class(name).DATASET_CONFIG_DICT
        for form in forms:
            recorder.clear()
            seen.clear()
            with (
                mock.patch.object(torchvision.datasets, "ImageFolder", folder),
                mock.patch.object(laion.wds, "ResampledShards", shards),
                mock.patch.object(json, "load", rows),
            ):
                made = load_dataset(name, cfg_path=None if form == "default" else get_abs_path(configs[form]))
            media = {split: getattr(data, "vis_root", None) for split, data in made.items()}
            found[name if form == "default" else f"{name}/{form}"] = {
                "files": recorder.files(),
                "opened": sorted({recorder.in_store(path) for path in recorder.opened}),
                "media": {split: recorder.in_store(path) for split, path in media.items() if path},
                "others": sorted(seen),
            }
    return found


class _Rows(list[Any]):
    """An annotation file, whatever shape its reader wants: no rows, and any key."""

    def __getitem__(self, key: Any) -> Any:
        return _Rows() if isinstance(key, str) else super().__getitem__(key)

    def items(self) -> list[Any]:
        return []

    keys = values = items

    def get(self, key: str, default: Any = None) -> Any:
        return _Rows()


def _evaluation(recorder: Recorder) -> dict[str, str]:
    """What evaluating captions fetches."""
    import lavis.tasks.captioning as captioning

    recorder.clear()
    for split in ("val", "test"):
        with mock.patch.object(captioning, "COCO"), mock.patch.object(captioning, "COCOEvalCap"):
            captioning.coco_caption_eval(str(recorder.folders["lavis"] / "coco_gt"), "results.json", split)
    return recorder.files()


def _stub(name: str, **members: Any) -> None:
    """A module that nothing here runs and that may not be installed."""
    try:
        __import__(name)
    except ImportError:
        module = ModuleType(name)
        module.__dict__.update(members, __spec__=SimpleNamespace(name=name))
        sys.modules[name] = module


def record() -> dict[str, Any]:
    """The whole record."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        recorder = Recorder(root)
        os.environ.update(HOME=str(root / "home"), TORCH_HOME=str(root / "torch"), HF_HOME=str(root / "hf"))
        _stub("sentencepiece", SentencePieceProcessor=mock.MagicMock)
        watcher = Watcher()  # without CUDA, lavis could not be imported
        watcher.after("torchvision.extension", declare_operators)
        sys.meta_path.insert(0, watcher)
        from lavis.common.registry import registry
        from lavis.datasets.builders import dataset_zoo
        from lavis.models import model_zoo

        registry.mapping["paths"]["cache_root"] = str(recorder.folders["lavis"])
        with _without_network(recorder):
            return {
                "model_zoo": str(model_zoo),
                "dataset_zoo": dataset_zoo.get_names(),
                "models": _models(recorder),
                "datasets": _datasets(recorder),
                "evaluation": _evaluation(recorder),
            }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    said = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        recorded = record()
    said.write(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
