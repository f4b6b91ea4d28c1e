"""What is loaded, where to and in which precision; and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from assetmgr import models
from assetmgr.errors import AssetError, IntegrityError, MissingExtraError, UnsafeNameError, UsageError
from tests.datasets.stored import Content, files_of
from tests.models.conftest import MakeModel

pytestmark = pytest.mark.torch


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


# --- pickles and foreign code ---


class Hostile:
    """Unpickled, it leaves a file behind."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def test_pickled_tensors_load_and_pickled_code_never_runs(
    model_asset: MakeModel, bert_copy: Path, tmp_path: Path
) -> None:
    import torch

    weights = weights_of(bert_copy)
    (bert_copy / "model.safetensors").unlink()
    torch.save(weights, bert_copy / "pytorch_model.bin")
    assert models.load(model_asset(bert_copy)).embed("a cat").shape == (1, 16)
    marker = tmp_path / "executed"
    torch.save(weights | {"x": Hostile(marker)}, bert_copy / "pytorch_model.bin")
    files = files_of(bert_copy)
    for data in (files["pytorch_model.bin"], pickle.dumps(Hostile(marker)), b"", b"not a pickle"):
        with pytest.raises(IntegrityError, match="they were not executed"):
            models.load(model_asset(files | {"pytorch_model.bin": data}))
    assert not marker.exists()


def test_code_in_the_repository_is_never_run(model_asset: MakeModel, bert_copy: Path, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    (bert_copy / "modeling_x.py").write_text(f"open({str(marker)!r}, 'w')\nclass X: pass\n")
    auto = {"AutoModel": "modeling_x.X", "AutoConfig": "modeling_x.X", "AutoTokenizer": ["modeling_x.X", None]}
    edit_config(bert_copy, auto_map=auto)
    assert type(models.load(model_asset(bert_copy)).model).__name__ == "BertModel"
    edit_config(bert_copy, model_type="x", architectures=["X"])
    with pytest.raises(AssetError, match=r"the-model: transformers .* cannot load it"):
        models.load(model_asset(bert_copy))
    assert not marker.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"attn_implementation": "somebody/kernel"},
        {"_attn_implementation": "flash_attention_2"},
        {"_attn_implementation_internal": "kernels-community/flash-attn"},
        {"text_config": {"attn_implementation": {"": "sdpa", "vision": "somebody/kernel"}}},
    ],
    ids=str,
)
def test_kernels_from_the_hub_are_refused(model_asset: MakeModel, bert_copy: Path, change: dict[str, Any]) -> None:
    edit_config(bert_copy, attn_implementation="sdpa")
    assert models.load(model_asset(bert_copy)).model.config._attn_implementation == "sdpa"
    edit_config(bert_copy, **change)
    with pytest.raises(UsageError, match="may be code from the hub"):
        models.load(model_asset(bert_copy))


def test_the_kernels_library_is_kept_from_fetching_code(model_asset: MakeModel, bert: Path, tmp_path: Path) -> None:
    # bitsandbytes asks it for compiled code when it is imported, on processors with AVX512-BF16.
    fetched = tmp_path / "fetched"
    library = f"def get_kernel(*_, **__):\n    open({str(fetched)!r}, 'w')\n    raise OSError('gone')\n"
    (tmp_path / "kernels.py").write_text(f"__version__ = '0.0.1'\n{library}")
    script = """
import pickle, sys
from assetmgr import models
print(models.load(pickle.load(sys.stdin.buffer), device="cpu", quantize="nf4"))
import kernels
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=pickle.dumps(model_asset(bert)),
        env=os.environ | {"PYTHONPATH": f"{Path.cwd()}{os.pathsep}{tmp_path}"},
        capture_output=True,
        check=True,
    )
    assert b"LoadedModel(the-model: BertModel" in done.stdout
    assert done.stderr == b""
    assert not fetched.exists()


@pytest.mark.parametrize("architectures", [None, [], ["pipeline"], ["AutoModelForNothing", "BertModel"]])
def test_the_class_comes_from_the_architectures_or_else_the_type(
    model_asset: MakeModel, bert_copy: Path, architectures: list[str] | None
) -> None:
    edit_config(bert_copy, architectures=architectures)
    assert type(models.load(model_asset(bert_copy)).model).__name__ == "BertModel"


# --- filtered snapshots ---


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
    with pytest.raises(UsageError, match="BertModel: it does not embed texts"):
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
