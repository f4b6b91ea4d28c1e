from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assetmgr.verify import Installed
from tests.datasets.stored import DATA, Content, files_of, store_asset

EXPECTED = json.loads((DATA / "expected.json").read_bytes())
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "sat", "on", "the", "mat", "dog", "ran"]

MakeModel = Callable[..., Installed]


@pytest.fixture
def model_asset(tmp_path: Path) -> MakeModel:
    """Makes a model in a store of a folder, or of files by name; ``load`` is its manifest's."""

    def make(files: Path | dict[str, Content], load: dict[str, Any] | None = None, **how: Any) -> Installed:
        content = files if isinstance(files, dict) else files_of(files)
        use = {} if load is None else {"load": load}
        return store_asset(tmp_path / "store", "the-model", content, use, kind="model", **how)

    return make


@pytest.fixture(scope="session")
def blip2() -> dict[str, Content]:
    """The files of the trained tiny Blip2."""
    return files_of(DATA / "tiny_blip2_vqa")


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random, very small BERT encoder with its tokenizer, as transformers saves it."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
    )
    folder = tmp_path_factory.mktemp("bert")
    transformers.BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": true}')
    return folder


@pytest.fixture
def bert_copy(bert: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(bert, tmp_path / "bert"))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every attempt to reach an address fails and is listed."""
    attempts: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        attempts.append(arguments)
        raise OSError("the network is gone")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return attempts


def edit_config(folder: Path, **change: Any) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_bytes())
    config.update(change)
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def weights_of(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    weights: dict[str, Any] = load_file(folder / "model.safetensors")
    return weights


def save_weights(folder: Path, weights: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
