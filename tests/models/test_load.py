"""What is loaded, where to and in which precision; and what is refused."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from assetmgr import models
from assetmgr.errors import AssetError, IntegrityError, MissingExtraError, UsageError
from tests.models.conftest import MakeModel, save_weights, weights_of

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("declared", "asked", "dtype"),
    [
        (None, "auto", "float32"),
        ({"dtype": "float16"}, "auto", "float16"),
        ({"dtype": "float16"}, "bfloat16", "bfloat16"),
        ({"dtype": "auto"}, "auto", "float32"),
        ({}, "torch.float16", "float16"),
    ],
)
def test_dtype_is_the_callers_then_the_manifests_then_that_of_the_weights(
    model_asset: MakeModel, bert: Path, declared: dict[str, Any] | None, asked: str, dtype: str
) -> None:
    import torch

    wanted: Any = getattr(torch, asked.removeprefix("torch.")) if asked.startswith("torch.") else asked
    loaded = models.load(model_asset(bert, declared), dtype=wanted)
    assert loaded.dtype == getattr(torch, dtype)
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {loaded.dtype}


def test_what_is_loaded_says_what_it_is(model_asset: MakeModel, bert: Path) -> None:
    import torch

    found = model_asset(bert)
    loaded = models.load(found, device="cpu")
    assert repr(loaded) == f"LoadedModel(the-model: BertModel, float32 on cpu, from {found.folder})"
    assert type(loaded.processor).__name__.startswith("Bert")
    assert loaded.device == torch.device("cpu")
    assert not loaded.model.training
    with pytest.raises(AttributeError):
        loaded.name = "other"  # type: ignore[misc]


def test_the_manifests_quantisation_is_used_and_none_forbids_it(model_asset: MakeModel, bert: Path) -> None:
    found = model_asset(bert, {"quantize": "int8"})
    assert models.load(found, device="cpu").model.is_quantized
    assert not getattr(models.load(found, device="cpu", quantize="none").model, "is_quantized", False)


def test_a_device_map_places_the_model_and_a_named_device_wins(model_asset: MakeModel, bert: Path) -> None:
    assert models.load(model_asset(bert, {"device_map": {"": "cpu"}})).device.type == "cpu"
    assert models.load(model_asset(bert, {"device_map": {"": "cuda:99"}}), device="cpu").device.type == "cpu"


def test_a_model_that_would_stay_on_the_disk_is_refused() -> None:
    from assetmgr.models.backends.placement import refuse_disk

    refuse_disk("whole", SimpleNamespace(hf_device_map={"a": 0, "b": "cpu"}))
    with pytest.raises(UsageError, match="does not fit into the memory"):
        refuse_disk("too-big", SimpleNamespace(hf_device_map={"a": 0, "b": "disk"}))


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ({"device": "cuda:99"}, "device 'cuda:99' cannot be used"),
        ({"device": "gpu"}, "device 'gpu' cannot be used"),
        ({"device": "meta"}, "device 'meta' cannot be used"),
        ({"dtype": "float8"}, "dtype='float8' is not one of"),
        ({"quantize": "int4"}, "quantize='int4' is not one of"),
        ({"load": {"backend": "transfomers"}}, "no backend 'transfomers'; did you mean 'transformers'?"),
        ({"load": {"class": "BlipTwo"}}, "no model class 'BlipTwo'"),
        ({"load": {"class": "logging"}}, "no model class 'logging'"),
    ],
    ids=str,
)
def test_what_cannot_be_is_a_usage_error(
    model_asset: MakeModel, bert: Path, how: dict[str, Any], complaint: str
) -> None:
    load = how.pop("load", None)
    with pytest.raises(UsageError) as caught:
        models.load(model_asset(bert, load), **how)
    assert complaint in caught.value.message


# --- weights that do not fit ---


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ("missing", "missing from the files: encoder.layer.0.output.dense.weight"),
        ("unexpected", "without a place in the model: head.weight"),
        ("mismatched", "of another shape: pooler.dense.bias"),
    ],
)
def test_weights_that_do_not_fit_are_an_error_that_lists_them(
    model_asset: MakeModel, bert_copy: Path, damage: str, complaint: str
) -> None:
    import torch

    weights = weights_of(bert_copy)
    if damage == "missing":
        del weights["encoder.layer.0.output.dense.weight"]
    elif damage == "unexpected":
        weights["head.weight"] = torch.zeros(2)
    else:
        weights["pooler.dense.bias"] = torch.zeros(3)
    save_weights(bert_copy, weights)
    with pytest.raises(IntegrityError) as caught:
        models.load(model_asset(bert_copy))
    assert f"do not fit a BertModel: 1 {complaint}" in caught.value.message
    # A class that the manifest names may leave weights over; it may not make any up.
    chosen = model_asset(bert_copy, {"class": "BertModel"})
    if damage == "unexpected":
        assert type(models.load(chosen).model).__name__ == "BertModel"
    else:
        with pytest.raises(IntegrityError):
            models.load(chosen)


def test_truncated_weights_are_an_integrity_error(model_asset: MakeModel, bert_copy: Path) -> None:
    weights = bert_copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(IntegrityError, match="cannot be read") as caught:
        models.load(model_asset(bert_copy))
    assert "--repair" in caught.value.mend


def test_a_model_of_plain_files_loads_too(model_asset: MakeModel, bert: Path) -> None:
    assert models.load(model_asset(bert, origin="files")).embed("a cat").shape == (1, 16)


# --- libraries that are missing or broken ---


@pytest.mark.parametrize("library", ["torch", "transformers"])
def test_a_missing_library_is_named_with_the_line_that_installs_it(
    model_asset: MakeModel, bert: Path, library: str
) -> None:
    script = f"""
import pickle, sys
sys.modules[{library!r}] = None
from assetmgr import models, errors
try:
    models.load(pickle.load(sys.stdin.buffer))
except errors.MissingExtraError as error:
    print(error)
"""
    found = pickle.dumps(model_asset(bert))
    done = subprocess.run([sys.executable, "-c", script], input=found, capture_output=True, check=True)
    assert f"{library}, which loads it, is not installed".encode() in done.stdout
    assert b"pip install 'assetmgr[transformers]'" in done.stdout


def test_a_missing_bitsandbytes_is_named_with_the_line_that_installs_it(
    model_asset: MakeModel, bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError) as caught:
        models.load(model_asset(bert), device="cpu", quantize="int8")
    assert caught.value.mend == "pip install 'assetmgr[quantize]'"


def test_a_bitsandbytes_that_cannot_start_is_an_error_of_one_sentence(
    model_asset: MakeModel, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "site" / "bitsandbytes"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('\\n   CUDA Setup failed despite GPU being available.\\n')")
    monkeypatch.syspath_prepend(broken.parent)
    for name in [name for name in sys.modules if name.split(".")[0] == "bitsandbytes"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(AssetError, match="bitsandbytes is installed, but cannot start: CUDA Setup failed") as caught:
        models.load(model_asset(bert), device="cpu", quantize="nf4")
    assert "pip install --upgrade bitsandbytes" in caught.value.mend
