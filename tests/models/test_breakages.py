"""What breaks with transformers alone, and here either works or is one clear sentence."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from assetmgr import models
from assetmgr.errors import UsageError
from tests.models.conftest import MakeModel
from tests.models.tiny import SIDE, save

pytestmark = pytest.mark.torch

IMAGE = Image.new("RGB", (SIDE, SIDE), "teal")


@pytest.mark.parametrize("quantize", ["int8", "nf4"])
def test_weights_that_were_saved_quantised_load_as_they_are(
    model_asset: MakeModel, tmp_path: Path, quantize: str
) -> None:
    folder, saved = save("blip2_opt", tmp_path / "whole"), tmp_path / "saved"
    first = models.load(model_asset(folder), device="cpu", quantize=quantize)
    footprint = first.footprint
    first.model.save_pretrained(saved)
    said = first.caption(IMAGE)  # after it: on the CPU, bitsandbytes repacks nf4 as it is first used
    for file in folder.iterdir():
        if not (saved / file.name).exists():
            (saved / file.name).write_bytes(file.read_bytes())
    found = model_asset(saved)
    again = models.load(found, device="cpu")
    assert again.model.is_quantized
    assert (str(again.dtype), again.footprint) == ("torch.float16", footprint)
    assert again.caption(IMAGE) == said
    assert models.load(found, device="cpu", quantize=quantize).footprint == footprint
    other = "nf4" if quantize == "int8" else "int8"
    with pytest.raises(UsageError, match=f"saved in {quantize}, and cannot be quantised to {other}"):
        models.load(found, device="cpu", quantize=other)


def test_the_dtype_and_the_footprint_are_of_what_is_held(model_asset: MakeModel, tmp_path: Path) -> None:
    import torch

    found = model_asset(save("blip2_opt", tmp_path))
    held = {}
    for dtype in ("float32", "float16", "bfloat16"):
        loaded = models.load(found, device="cpu", dtype=dtype)
        assert loaded.dtype == getattr(torch, dtype)  # `model.dtype` says float32 of the Q-Former in 5.x
        tensors = [*loaded.model.parameters(), *loaded.model.buffers()]
        held[dtype] = loaded.footprint
        assert loaded.footprint == sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    assert held["bfloat16"] <= held["float16"] < held["float32"]  # 5.x keeps a part of it in float32 beside float16
    for quantize in ("int8", "nf4"):
        held[quantize] = models.load(found, device="cpu", quantize=quantize).footprint
    assert held["nf4"] < held["int8"] < held["float16"]


def test_device_maps_are_accelerates(model_asset: MakeModel, tmp_path: Path) -> None:
    folder = save("blip2_opt", tmp_path)
    options: list[dict[str, Any]] = [
        {"device_map": "auto"},
        {"device_map": {"": "cpu"}},
        {"device_map": "auto", "max_memory": {"cpu": "1GiB"}},
    ]
    for load in options:
        loaded = models.load(model_asset(folder, load), dtype="float16")
        assert loaded.caption(IMAGE, max_new_tokens=2) is not None
    for load in ({"device_map": {"": "disk"}}, {"device_map": "auto", "max_memory": {"cpu": "60KB"}}):
        with pytest.raises(UsageError, match="on the disk"):
            models.load(model_asset(folder, load), dtype="float16")


def test_a_broken_torchvision_is_named(model_asset: MakeModel, tmp_path: Path) -> None:
    broken = tmp_path / "site"
    for name, text in {
        "torchvision/__init__.py": "raise RuntimeError('operator torchvision::nms does not exist')",
        "torchvision-0.28.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n",
    }.items():
        (broken / name).parent.mkdir(parents=True, exist_ok=True)
        (broken / name).write_text(text)
    script = f"""
import pickle, sys
sys.path.insert(0, {str(broken)!r})
from assetmgr import models, errors
found = pickle.load(sys.stdin.buffer)
try:
    print(models.load(found, device="cpu").processor is not None)
except errors.AssetError as error:
    print(error)
"""
    found = pickle.dumps(model_asset(save("blip2_opt", tmp_path / "model")))
    done = subprocess.run([sys.executable, "-c", script], input=found, capture_output=True, check=True)
    said = done.stdout.decode()
    assert said == "True\n" or ("torchvision is installed, but cannot be imported" in said and "nms" in said), said


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_half_precision_is_loaded_without_a_copy_in_float32(model_asset: MakeModel, tmp_path: Path) -> None:
    import torch
    import transformers

    config = transformers.BertConfig(vocab_size=150_000, hidden_size=384, num_hidden_layers=1, num_attention_heads=2)
    transformers.BertModel(config).to(torch.float16).save_pretrained(tmp_path)
    script = """
import pickle, resource, sys
from assetmgr import models
import torch, transformers
from transformers import BertModel
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
loaded = models.load(pickle.load(sys.stdin.buffer), device="cpu")
for weight in loaded.model.parameters():
    weight.sum()
print(loaded.footprint, peak() - before, loaded.dtype)
"""
    found = pickle.dumps(model_asset(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], input=found, capture_output=True, check=True)
    footprint, more, dtype = done.stdout.split()
    assert dtype == b"torch.float16"
    assert int(footprint) > 110e6
    # The weights themselves, and some room for what is imported meanwhile: a copy in float32 would be three times that.
    assert int(more) < 1.5 * int(footprint) + 60e6
