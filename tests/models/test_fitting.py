"""Will it fit? What weights take is told from their headers, and a load that cannot fit is refused before it begins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from assetmgr import memory
from assetmgr.errors import IntegrityError, MemorySpaceError
from assetmgr.models.backends import Request
from assetmgr.models.fitting import Weights, fitness, measure, needs, refuse_too_large, too_large
from assetmgr.models.weights.files import Located
from assetmgr.models.weights.headers import Tensor, read_header
from tests.models.conftest import MakeModel

_GB = 10**9


def _file(path: Path, header: object, data: int, *, length: int | None = None) -> Located:
    """A safetensors file with that header, whose data take no room on the disk."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write((len(text) if length is None else length).to_bytes(8, "little") + text)
        file.truncate(file.tell() + data)
    return Located(path.name, str(path))


def _entry(dtype: str, shape: list[Any], start: int, stop: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def test_a_header_tells_what_a_file_of_any_size_holds(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "b": _entry("BF16", [1000, 30_000_000], 4, 4 + 60 * _GB),
        "a": _entry("F32", [], 0, 4),
        "none": _entry("I64", [0, 7], 4, 4),
    }
    found = read_header("m", _file(tmp_path / "model.safetensors", header, 4 + 60 * _GB))
    assert {tensor.name: tensor.bytes for tensor in found} == {"b": 60 * _GB, "a": 4, "none": 0}


@pytest.mark.parametrize(
    ("header", "data", "length", "said"),
    [
        ({}, 0, 1 << 62, "does not fit into"),
        ({}, 0, 100_000_001, "does not fit into"),
        (b"{", 0, None, "Expecting"),
        (b"[" * 100_000, 0, None, ""),
        (b"\xff\xfe", 0, None, ""),
        (b"[]", 0, None, "not a JSON object"),
        (b'{"a": 1, "a": 2}', 0, None, "a name twice"),
        ({"a": 7}, 0, None, "not an object"),
        ({"a": _entry("F99", [1], 0, 4)}, 4, None, "dtype 'F99'"),
        ({"a": {"dtype": [], "shape": [1], "data_offsets": [0, 4]}}, 4, None, "dtype []"),
        ({"a": _entry("F32", [-1], 0, 4)}, 4, None, "no list of sizes"),
        ({"a": _entry("F32", [True], 0, 4)}, 4, None, "no list of sizes"),
        ({"a": _entry("F32", [10**400], 0, 4)}, 4, None, ""),
        ({"a": _entry("F32", [1 << 62] * 64, 0, 4)}, 4, None, "not what its shape takes"),
        ({"a": _entry("F32", [2], 0, 4)}, 4, None, "not what its shape takes"),
        ({"a": _entry("F32", [1], 4, 0)}, 4, None, "not what its shape takes"),
        ({"a": _entry("F32", [1], 0, 4), "b": _entry("F32", [1], 2, 6)}, 6, None, "begins at 2"),
        ({"a": _entry("F32", [1], 4, 8)}, 8, None, "begins at 4"),
        ({"a": _entry("F32", [1], 0, 4)}, 3, None, "the header says"),
        ({"a": _entry("F32", [1], 0, 4)}, 5, None, "the header says"),
    ],
)
def test_a_hostile_header_is_refused(tmp_path: Path, header: object, data: int, length: int | None, said: str) -> None:
    file = _file(tmp_path / "model.safetensors", header, data, length=length)
    with pytest.raises(IntegrityError, match=r"model\.safetensors is no safetensors file") as caught:
        read_header("m", file)
    assert said in caught.value.message
    assert caught.value.mend == "assetmgr verify m --full --repair"


def test_a_file_shorter_than_a_header_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"1234")
    with pytest.raises(IntegrityError, match="short is no safetensors file"):
        read_header("m", Located("short", str(tmp_path / "short")))


_LINEAR = Tensor("layer.0.weight", "F32", (1000, 640), 2_560_000)
_EMBEDDING = Tensor("embed_tokens.weight", "F32", (100, 640), 256_000)
_KEPT = Tensor("qformer.dense.weight", "F32", (10, 640), 25_600)
_NORM = Tensor("layer.0.norm.weight", "F32", (640,), 2_560)
_IDS = Tensor("position_ids", "I64", (1, 10), 80)


@pytest.mark.parametrize(
    ("precision", "expected"),
    [
        ("float32", 2_560_000 + 256_000 + 25_600 + 2_560 + 80),
        ("float16", 1_280_000 + 128_000 + 25_600 + 1_280 + 80),
        ("int8", 640_000 + 4_000 + 128_000 + 25_600 + 1_280 + 80),
        ("nf4", 320_000 + 40_000 + 128_000 + 25_600 + 1_280 + 80),
    ],
)
def test_each_precision_leaves_wide_what_the_libraries_leave(precision: str, expected: int) -> None:
    weights = Weights((_LINEAR, _EMBEDDING, _KEPT, _NORM, _IDS), 0, "float32", ("qformer",))
    assert needs(weights, precision) == expected
    assert needs(weights, precision, least=True) <= expected


@pytest.mark.parametrize(
    ("stored", "precision", "expected"),
    [("float32", "float32", 800), ("float32", "float16", 400), ("float16", "float16", 800), ("float32", "nf4", 112)],
)
def test_files_without_a_header_are_told_by_their_size(stored: str, precision: str, expected: int) -> None:
    assert needs(Weights((), 800, stored), precision) == expected


def _huge(make: MakeModel, tmp_path: Path, load: Mapping[str, Any] | None = None) -> Any:
    """A model of 60 GB in float16, in two files that take no room."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model_type": "bert", "torch_dtype": "float16"}))
    found = make({"config.json": config.read_bytes(), "model.safetensors": b"small"}, dict(load or {}))
    path = Path(found.folder) / "model.safetensors"
    real = path.resolve()
    real.chmod(0o644)
    _file(real, {"a.weight": _entry("F16", [30_000, 1_000_000], 0, 60 * _GB)}, 60 * _GB)
    return found


def test_a_model_that_cannot_fit_is_refused_with_the_precision_that_would(
    model_asset: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    found = _huge(model_asset, tmp_path)
    for free, said in (
        (40, r"load_model('the-model', quantize='int8'), which takes 30.0 GB; or `load: {quantize: int8}`"),
        (20, "quantize='nf4'"),
        (10, "none would fit, not even nf4 (16.9 GB)"),
    ):
        monkeypatch.setattr("assetmgr.models.fitting.main_memory", lambda *, swap, free=free: free * _GB)
        with pytest.raises(MemorySpaceError) as caught:
            refuse_too_large(Request(found, "cpu", "auto", "none", {}))
        assert f"its weights take 60.0 GB in float16, and memory has {free}.0 GB free" in caught.value.message
        assert said in caught.value.mend
        assert caught.value.exit_code == 6
    monkeypatch.setattr("assetmgr.models.fitting.main_memory", lambda *, swap: 40 * _GB)
    refuse_too_large(Request(found, "cpu", "auto", "int8", {}))
    monkeypatch.setattr("assetmgr.models.fitting.main_memory", lambda *, swap: None)
    refuse_too_large(Request(found, "cpu", "auto", "none", {}))


@pytest.mark.torch
def test_load_model_refuses_before_it_reads(model_asset: MakeModel, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from assetmgr.models import load

    free = memory.main_memory(swap=True)
    if free is None or free > 59 * _GB:
        pytest.skip("this machine could hold it, or does not tell")
    with pytest.raises(MemorySpaceError, match=r"its weights take 120.0 GB in float32"):
        load(_huge(model_asset, tmp_path), device="cpu", dtype="float32")


def test_the_error_looks_for_narrower_precisions_only() -> None:
    weights = Weights((_LINEAR,), 0, "float32")
    assert "quantize='int8'" in too_large("m", weights, "float16", "GPU 0", 1_000_000).mend
    assert "dtype='float16'" in too_large("m", weights, "float32", "GPU 0", 2_000_000).mend
    assert too_large("m", weights, "nf4", "GPU 0", 1).mend == "a smaller model, or a machine with more memory"


@pytest.mark.torch
@pytest.mark.parametrize("how", [{"dtype": "float32"}, {"dtype": "float16"}, {"quantize": "int8"}, {"quantize": "nf4"}])
def test_what_is_told_is_what_a_loaded_model_takes(
    model_asset: MakeModel, blip2: dict[str, Any], how: dict[str, Any]
) -> None:
    pytest.importorskip("bitsandbytes")
    from assetmgr.models import load

    found = model_asset(blip2)
    loaded = load(found, device="cpu", **how)
    (precision,) = how.values()
    assert needs(measure(found), precision) == pytest.approx(loaded.footprint, rel=0.01)


def test_what_is_told_of_an_asset_counts_how_it_is_loaded(model_asset: MakeModel, blip2: dict[str, Any]) -> None:
    fit = fitness(model_asset(blip2, {"quantize": "nf4"}))
    assert fit is not None
    assert fit.precision == "nf4"
    assert fit.needs["float32"] > fit.needs["float16"] > fit.needs["int8"] > fit.needs["nf4"] > 0
    assert all(set(fit.needs) >= set(room.fits) for room in fit.rooms)


# --- memory ----------------------------------------------------------------------------------------------------------


def _system(folder: Path, **files: str) -> str:
    there = {"proc/meminfo": "MemTotal: 9 kB\nMemAvailable: 1000 kB\nSwapFree: 500 kB\n", **files}
    for name, text in there.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(folder)


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 1_024_000),
        ({"proc/self/cgroup": "garbage\n:::\n0::/../../x\n"}, 1_024_000),
        (
            {
                "proc/self/cgroup": "0::/job/step\n",
                "sys/fs/cgroup/job/memory.max": "500000\n",
                "sys/fs/cgroup/job/memory.current": "300000\n",
                "sys/fs/cgroup/job/memory.stat": "anon 5\nfile 9\ninactive_file 100000\nactive_file 50000\n",
                "sys/fs/cgroup/job/step/memory.max": "max\n",
                "sys/fs/cgroup/job/step/memory.current": "9\n",
            },
            350_000,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/docker/abc\n3:cpu:/\n0::/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "600000\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "700000\n",
            },
            0,
        ),
        ({"proc/meminfo": "no such thing\n"}, None),
    ],
)
def test_free_memory_is_what_a_control_group_still_allows(
    tmp_path: Path, files: dict[str, str], free: int | None
) -> None:
    prefix = _system(tmp_path, **files)
    assert memory.main_memory(prefix) == free
    if free is not None:
        assert memory.main_memory(prefix, swap=True) == free + 512_000
