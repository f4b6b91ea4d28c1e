"""Which files a model is loaded from, and what is said when they are not all there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from assetmgr import models
from assetmgr.errors import AssetError, IntegrityError, UnsafeNameError, UsageError
from tests.datasets.stored import Content, files_of
from tests.models import tiny
from tests.models.conftest import MakeModel

pytestmark = pytest.mark.torch


def without(files: dict[str, Content], *names: str) -> dict[str, Content]:
    return {name: content for name, content in files.items() if name not in names}


SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize(
    ("left_out", "missing", "patterns"),
    [
        ((*SHARDS, INDEX), "no weights that transformers reads", f'"*.safetensors", "{INDEX}"'),
        (SHARDS, "no 2 of 2 weight files", '"*.safetensors"'),
        (SHARDS[:1], f"no 1 of 2 weight files ({SHARDS[0]})", '"*.safetensors"'),
        ((INDEX,), "no weights that transformers reads", f'"*.safetensors", "{INDEX}"'),
        (("config.json",), "no config.json", '"*.json"'),
    ],
)
def test_a_filtered_snapshot_is_told_which_pattern_to_add(
    model_asset: MakeModel, blip2: dict[str, Content], left_out: tuple[str, ...], missing: str, patterns: str
) -> None:
    with pytest.raises(UsageError) as caught:
        models.load(model_asset(without(blip2, *left_out), upstream=left_out))
    assert missing in caught.value.message
    assert f"add {patterns} to allow_patterns of the-model" in caught.value.mend
    assert "assetmgr lock the-model && assetmgr pull the-model" in caught.value.mend


def test_a_repository_without_weights_is_told_so(model_asset: MakeModel, blip2: dict[str, Content]) -> None:
    with pytest.raises(UsageError, match="has no weights that transformers reads") as caught:
        models.load(model_asset(without(blip2, *SHARDS, INDEX)))
    assert "publishes a model for transformers" in caught.value.mend


def test_a_snapshot_without_tokenizer_loads_without_processor(model_asset: MakeModel, bert: Path) -> None:
    files = {name: content for name, content in files_of(bert).items() if name in ("config.json", "model.safetensors")}
    loaded = models.load(model_asset(files))
    assert loaded.processor is None
    with pytest.raises(UsageError, match="BertModel: it cannot embed"):
        loaded.embed("a")


def test_weights_that_the_lock_does_not_name_are_never_loaded(
    model_asset: MakeModel, blip2: dict[str, Content], bert: Path
) -> None:
    found = model_asset(blip2)
    stray = Path(found.folder, "model.safetensors")
    shutil.copy(bert / "model.safetensors", stray)
    with pytest.raises(IntegrityError, match=r"model\.safetensors stands in .* not in the lock"):
        models.load(found)
    filtered = model_asset(without(blip2, *SHARDS, INDEX), upstream=SHARDS)
    with pytest.raises(UsageError, match="no weights"):
        models.load(filtered)


def test_an_adapter_is_not_taken_for_a_model(model_asset: MakeModel, bert_copy: Path) -> None:
    (bert_copy / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    with pytest.raises(UsageError, match="is an adapter"):
        models.load(model_asset(bert_copy))


@pytest.mark.parametrize(
    ("name", "content", "error", "complaint"),
    [
        ("config.json", b"{", IntegrityError, "config.json cannot be read"),
        ("config.json", b"[]", IntegrityError, "config.json is not a JSON object"),
        (INDEX, b'{"weight_map": []}', IntegrityError, "has no `weight_map`"),
        (INDEX, b'{"weight_map": {"a": "../../x.safetensors"}}', UnsafeNameError, "climbs out"),
    ],
)
def test_damaged_documents_are_integrity_errors(
    model_asset: MakeModel,
    blip2: dict[str, Content],
    name: str,
    content: bytes,
    error: type[AssetError],
    complaint: str,
) -> None:
    with pytest.raises(error, match="the-model") as caught:
        models.load(model_asset(blip2 | {name: content}))
    assert complaint in caught.value.message


@pytest.mark.parametrize(
    ("kind", "left_out", "patterns"),
    [
        ("blip_caption", ("vocab.txt",), '"*.txt"'),
        ("gpt2", ("merges.txt", "vocab.json"), '"*.json", "*.txt"'),
    ],
)
def test_a_tokenizer_without_its_words_is_refused_and_not_made_of_nothing(
    model_asset: MakeModel, tmp_path: Path, kind: str, left_out: tuple[str, ...], patterns: str
) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    files = files_of(tiny.save(kind, folder))
    with pytest.raises(AssetError) as caught:
        models.load(model_asset(without(files, *left_out), upstream=left_out), device="cpu")
    import transformers

    if int(transformers.__version__.split(".")[0]) >= 5:  # 4.x finds it out by itself
        assert isinstance(caught.value, UsageError)
        assert "its lock has no words of its tokenizer" in caught.value.message
        assert f"add {patterns} to allow_patterns" in caught.value.mend


def test_an_encoder_of_two_whose_processor_is_not_there_is_no_encoder_of_texts(
    model_asset: MakeModel, tmp_path: Path
) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    loaded = models.load(model_asset(without(files_of(tiny.save("clip", folder)), "preprocessor_config.json")))
    assert loaded.tasks == ()
    with pytest.raises(UsageError, match="it cannot embed"):
        loaded.embed("a")
