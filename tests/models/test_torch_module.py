"""Bare state dicts go into a module of the user's, or of the class that the manifest names: whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from assetmgr import models
from assetmgr.errors import IntegrityError, UsageError
from tests.models.conftest import MakeModel
from tests.models.weights.hostile import pickles, zipped

pytestmark = pytest.mark.torch

PLAIN = {"class": "tests.models.modules:Plain"}


def weights(width: int = 3) -> dict[str, Any]:
    import torch

    from tests.models.modules import Plain

    torch.manual_seed(1)
    state: dict[str, Any] = Plain(width).state_dict()
    return state


def saved(folder: Path, content: Any, name: str = "w.pth", **how: Any) -> Path:
    import torch

    file = folder / name
    torch.save(content, file, **how)
    return file


def same(one: Any, other: dict[str, Any]) -> bool:
    import torch

    state = one.state_dict()
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


def forms(folder: Path) -> dict[str, Path]:
    """The same weights in every format."""
    from safetensors.torch import save_file

    state = weights()
    save_file(state, folder / "w.safetensors")
    return {
        "zip": saved(folder, state, "zip.pth"),
        "row": saved(folder, state, "row.pt", _use_new_zipfile_serialization=False),
        "bin": saved(folder, state, "w.bin"),
        "ckpt": saved(folder, state, "w.ckpt"),
        "safetensors": folder / "w.safetensors",
    }


@pytest.mark.parametrize("origin", ["hub", "files"])
def test_every_format_loads_into_the_manifests_class(model_asset: MakeModel, tmp_path: Path, origin: str) -> None:
    import torch

    from tests.models.modules import Plain

    for file in forms(tmp_path).values():
        loaded = models.load(model_asset({file.name: file}, PLAIN, origin=origin, place="torch"), device="cpu")
        assert type(loaded.model) is Plain
        assert same(loaded.model, weights())
        assert not loaded.model.training
        assert (loaded.backend, loaded.processor, loaded.dtype) == ("torch", None, torch.float32)
        assert loaded.footprint == sum(tensor.nbytes for tensor in weights().values())
        assert (Path(loaded.folder) / file.name).exists()
        assert loaded.model.linear.weight.requires_grad
        with pytest.raises(UsageError, match="the-model is a Plain: only its own class knows"):
            loaded.caption("x.png")


def test_arguments_types_and_class_methods_are_the_manifests(model_asset: MakeModel, tmp_path: Path) -> None:
    import torch

    file = saved(tmp_path, weights(5))
    loads: tuple[dict[str, Any], ...] = (
        PLAIN | {"args": [5], "kwargs": {"scale": 2.0}},
        PLAIN | {"kwargs": {"width": 5}},
        {"class": "tests.models.modules:Plain.of_width", "args": [5], "backend": "torch"},
    )
    for load in loads:
        loaded = models.load(model_asset({"w.pth": file}, load), device="cpu", dtype="float16")
        assert loaded.model.linear.weight.shape == (5, 2)
        assert loaded.model.scale == load.get("kwargs", {}).get("scale", 1.0)
        assert loaded.dtype == torch.float16
        assert loaded.model.norm.num_batches_tracked.dtype == torch.int64


def test_the_callers_module_is_filled_in_place(model_asset: MakeModel, tmp_path: Path) -> None:
    import torch

    from tests.models.modules import Plain

    for file in forms(tmp_path).values():
        mine = Plain()
        parameters = [id(parameter) for parameter in mine.parameters()]
        loaded = models.load(model_asset({file.name: file}, origin="files"), into=mine)
        assert loaded.model is mine
        assert same(mine, weights())
        assert parameters == [id(parameter) for parameter in mine.parameters()]
        half = models.load(model_asset({file.name: file}, {"backend": "transformers"}), into=Plain().half())
        assert half.dtype == torch.float16
        with torch.device("meta"):
            empty = Plain()
        assert same(models.load(model_asset({file.name: file}), into=empty, device="cpu").model, weights())


def test_nothing_is_loaded_that_does_not_fit(model_asset: MakeModel, tmp_path: Path) -> None:
    from tests.models.modules import Plain

    state = weights()
    del state["linear.bias"]
    state |= {"more": state["linear.weight"], "linear.weight": state["linear.weight"].T.contiguous()}
    mine = Plain()
    before = {name: tensor.clone() for name, tensor in mine.state_dict().items()}
    found = model_asset({"w.pth": saved(tmp_path, state)}, PLAIN)
    for into in (None, mine):
        with pytest.raises(IntegrityError, match="the-model: its weights do not fit a Plain") as caught:
            models.load(found, device="cpu", into=into)
        assert "1 missing from the file: linear.bias" in caught.value.message
        assert "1 without a place in the module: more" in caught.value.message
        assert "1 of another shape: linear.weight (2x3 in the file, 3x2 in the module)" in caught.value.message
    assert same(mine, before)


@pytest.mark.parametrize("prefix", ["module.", "model.visual."])
def test_a_prefix_is_named_in_the_mend_and_then_left_out(model_asset: MakeModel, tmp_path: Path, prefix: str) -> None:
    file = saved(tmp_path, {prefix + name: tensor for name, tensor in weights().items()})
    with pytest.raises(IntegrityError) as caught:
        models.load(model_asset({"w.pth": file}, PLAIN))
    assert caught.value.mend == f"`load: {{prefix: {prefix}}}` of the-model in the manifest"
    assert same(models.load(model_asset({"w.pth": file}, PLAIN | {"prefix": prefix}), device="cpu").model, weights())
    with pytest.raises(UsageError, match="no weight's name begins with 'x'"):
        models.load(model_asset({"w.pth": file}, PLAIN | {"prefix": "x"}))


def test_a_key_of_the_checkpoint_is_named_in_the_mend_and_then_looked_into(
    model_asset: MakeModel, tmp_path: Path
) -> None:
    file = saved(tmp_path, {"epoch": 3, "model": weights(), "optimizer": {"state": {0: weights()}}})
    with pytest.raises(UsageError, match="it has epoch, model, optimizer") as caught:
        models.load(model_asset({"w.pth": file}, PLAIN))
    assert "`load: {key: model}` of the-model" in caught.value.mend
    assert same(models.load(model_asset({"w.pth": file}, PLAIN | {"key": "model"}), device="cpu").model, weights())
    with pytest.raises(UsageError, match="no tensors under the key 'epoch'"):
        models.load(model_asset({"w.pth": file}, PLAIN | {"key": "epoch"}))
    with pytest.raises(UsageError, match="it is a list"):
        models.load(model_asset({"w.pth": saved(tmp_path, [1])}, PLAIN))


def test_shared_parameters_stay_shared_whether_the_file_has_them_once_or_twice(
    model_asset: MakeModel, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import save_file

    from tests.models.modules import Tied

    torch.manual_seed(2)
    state = Tied().state_dict()
    save_file({"head.weight": state["head.weight"]}, tmp_path / "one.safetensors")
    save_file({"embed.weight": state["embed.weight"]}, tmp_path / "other.safetensors")
    for file in (saved(tmp_path, state), tmp_path / "one.safetensors", tmp_path / "other.safetensors"):
        found = model_asset({file.name: file}, {"class": "tests.models.modules:Tied"})
        for model in (models.load(found, device="cpu").model, models.load(found, into=Tied()).model):
            assert model.head.weight is model.embed.weight
            assert torch.equal(model.head.weight, state["embed.weight"])


def test_a_class_that_cannot_be_made_without_memory_is_made_with_it(model_asset: MakeModel, tmp_path: Path) -> None:
    import torch

    from tests.models.modules import Loose

    state = Loose().state_dict()
    loaded = models.load(model_asset({"w.pth": saved(tmp_path, state)}, {"class": "tests.models.modules:Loose"}))
    assert same(loaded.model, state)
    assert torch.equal(loaded.model.positions.cpu(), torch.arange(3))
    assert loaded.model.table.sum() == 2


def test_a_module_is_made_without_memory_for_its_weights(model_asset: MakeModel, tmp_path: Path) -> None:
    import torch

    file = saved(tmp_path, {"weight": torch.zeros(2, 2)})
    with pytest.raises(IntegrityError, match="2x2 in the file, 1048576x1048576 in the module"):
        models.load(model_asset({"w.pth": file}, {"class": "tests.models.modules:Large"}))


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("Plain", "does not say which package"),
        ("no_such_package.x:Plain", "no module 'no_such_package'"),
        ("tests.models.modules:Plane", "has no class Plane"),
        ("tests.models.modules:Plain.run", "has no class Plain.run"),
        ("tests.models.modules:make", "has no class make"),
        ("os:system", "has no class system"),
        ("subprocess:Popen", "is no torch.nn.Module"),
        ("pathlib:Path.cwd", "has no class Path.cwd"),
        ("tests.models.modules:Failing", "cannot be made: ValueError: not with ('touch',)"),
    ],
)
def test_only_modules_of_torch_are_made(model_asset: MakeModel, tmp_path: Path, path: str, complaint: str) -> None:
    load = {"backend": "torch", "class": path, "args": ["touch"]}
    with pytest.raises(UsageError, match="the-model") as caught:
        models.load(model_asset({"w.pth": saved(tmp_path, weights())}, load))
    assert complaint in caught.value.message
    assert caught.value.mend


def test_without_a_module_the_two_ways_to_name_one_are_told(model_asset: MakeModel, tmp_path: Path) -> None:
    found = model_asset({"w.pth": saved(tmp_path, weights())}, origin="files")
    with pytest.raises(UsageError, match="the-model is a state dict") as caught:
        models.load(found)
    assert "into=YOUR_MODULE" in caught.value.mend
    assert "class: package.module:Class" in caught.value.mend
    with pytest.raises(UsageError, match=r"into=dict: it is not a torch\.nn\.Module"):
        models.load(found, into={})
    with pytest.raises(UsageError, match="only the transformers backend quantises"):
        models.load(found, quantize="int8")


def test_several_files_of_weights_are_told_apart_by_name(model_asset: MakeModel, tmp_path: Path) -> None:
    files = {"a.pth": saved(tmp_path, weights(), "a.pth"), "b.pth": saved(tmp_path, weights(), "b.pth"), "x.txt": b""}
    with pytest.raises(UsageError, match=r"several files of weights: a\.pth, b\.pth") as caught:
        models.load(model_asset(files, PLAIN))
    assert "weights: a.pth" in caught.value.mend
    assert same(models.load(model_asset(files, PLAIN | {"weights": "b.pth"})).model, weights())
    for wrong, complaint in (("c.pth", r"no file 'c\.pth'"), ("x.txt", r"x\.txt is no file of weights")):
        with pytest.raises(UsageError, match=complaint):
            models.load(model_asset(files, PLAIN | {"weights": wrong}))


def test_old_checkpoints_without_counters_of_batches_load(model_asset: MakeModel, tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in weights().items() if not name.endswith("num_batches_tracked")}
    loaded = models.load(model_asset({"w.pth": saved(tmp_path, state)}, PLAIN), device="cpu")
    assert loaded.model.norm.num_batches_tracked == 0


def test_hostile_damaged_and_scripted_files_are_refused_unexecuted(model_asset: MakeModel, tmp_path: Path) -> None:
    import torch

    from tests.models.modules import Plain

    canary = tmp_path / "canary"
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "script.pt"))
    huge = torch.ones(1).expand(1 << 20, 1 << 20)
    cases = {
        "x.system": (zipped(pickles(canary)["os.system"][0]), ".system"),
        "damaged": (saved(tmp_path, weights()).read_bytes()[:-100], "no zip that torch.save writes"),
        "script": ((tmp_path / "script.pt").read_bytes(), "TorchScript: it holds code"),
        "unfolded": (saved(tmp_path, {"weight": huge}).read_bytes(), "unfolds to 4,398,046,511,104 bytes"),
        "text": (b"hello", "no checkpoint of torch"),
    }
    for content, told in cases.values():
        with pytest.raises(IntegrityError, match="the-model") as caught:
            models.load(model_asset({"w.pth": content}), into=Plain())
        assert told in caught.value.message
    with pytest.raises(IntegrityError, match=r"w\.safetensors cannot be read"):
        models.load(model_asset({"w.safetensors": b"\x08\0\0\0\0\0\0\0{}      x"}), into=Plain())
    assert not canary.exists()


def test_shards_with_an_index_are_one_state_dict(model_asset: MakeModel, tmp_path: Path) -> None:
    import json

    from safetensors.torch import save_file

    state = weights()
    parts: dict[str, dict[str, Any]] = {"model-1.safetensors": {}, "model-2.safetensors": {}}
    for number, (name, tensor) in enumerate(state.items()):
        parts[f"model-{number % 2 + 1}.safetensors"][name] = tensor
    files: dict[str, Any] = {}
    for name, part in parts.items():
        save_file(part, tmp_path / name)
        files[name] = tmp_path / name
    where = {tensor: name for name, part in parts.items() for tensor in part}
    files["model.safetensors.index.json"] = json.dumps({"weight_map": where}).encode()
    assert same(models.load(model_asset(files, PLAIN)).model, state)
    del files["model-1.safetensors"]
    with pytest.raises(UsageError, match=r"its lock lacks model-1\.safetensors"):
        models.load(model_asset(files, PLAIN))


def test_the_weights_are_mapped_not_copied(model_asset: MakeModel, tmp_path: Path) -> None:
    if not os.path.exists("/proc/self/maps"):
        pytest.skip("no way to see what is mapped")
    found = model_asset({"w.pth": saved(tmp_path, weights())}, PLAIN, origin="files")
    loaded = models.load(found, device="cpu")
    assert f"{found.folder}/w.pth" in Path("/proc/self/maps").read_text()
    assert same(loaded.model, weights())
