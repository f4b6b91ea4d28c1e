"""Nothing that comes with a model is executed: no pickled code, no module, no kernel from the hub."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from assetmgr import models
from assetmgr.errors import AssetError, IntegrityError, UsageError
from tests.datasets.stored import files_of
from tests.models.conftest import MakeModel, edit_config, weights_of

pytestmark = pytest.mark.torch


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
        with pytest.raises(IntegrityError, match="not executed"):
            models.load(model_asset(files | {"pytorch_model.bin": data}))
    assert not marker.exists()


def test_code_in_the_repository_is_never_run(model_asset: MakeModel, bert_copy: Path, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    (bert_copy / "modeling_x.py").write_text(f"open({str(marker)!r}, 'w')\nclass X: pass\n")
    auto = {"AutoModel": "modeling_x.X", "AutoConfig": "modeling_x.X", "AutoTokenizer": ["modeling_x.X", None]}
    edit_config(bert_copy, auto_map=auto)
    assert type(models.load(model_asset(bert_copy)).model).__name__ == "BertModel"
    edit_config(bert_copy, model_type="x", architectures=["X"])
    with pytest.raises(AssetError, match=r"needs code that comes with it \(modeling_x\.X\), which is never run"):
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
