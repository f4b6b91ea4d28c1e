"""`prepare:` makes safetensors of an asset's weights: once, of exactly these bytes, and never of a hostile file."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from assetmgr import models
from assetmgr.errors import AccessError, DiskSpaceError, IntegrityError, MissingExtraError, UsageError
from assetmgr.models.weights import prepared as prepared_weights
from assetmgr.models.weights.prepared import prepare_after_pull, prepared
from assetmgr.verify import Installed
from tests.datasets.stored import Content, files_of, store_asset
from tests.models.conftest import weights_of
from tests.models.weights.hostile import pickles, zipped

pytestmark = pytest.mark.torch

PLAIN = {"class": "tests.models.modules:Plain"}
SAFE = {"format": "safetensors"}


class Words:
    """A reporter that remembers what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str, /) -> None:
        self.said.append(text)

    def progress(self, label: str, total: int, /, *, unit: str = "B") -> Any:
        raise NotImplementedError

    file = progress


def state() -> dict[str, Any]:
    import torch

    from tests.models.modules import Plain

    torch.manual_seed(1)
    found: dict[str, Any] = Plain().state_dict()
    return found


def saved(folder: Path, content: Any, name: str = "w.pth", **how: Any) -> Path:
    import torch

    torch.save(content, folder / name, **how)
    return folder / name


def stored(root: Path, files: dict[str, Content], prepare: Any, load: Any = None, origin: Any = "files") -> Installed:
    use = {"prepare": prepare} | ({"load": load} if load else {})
    return store_asset(root, "the-model", files, use, kind="model", origin=origin)


def made(root: Path) -> list[Path]:
    return sorted((root / "prepared/weights").rglob("model.safetensors"))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "store"


def test_a_checkpoint_becomes_safetensors_once_and_is_loaded_from_there(root: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    for new in (True, False):
        shutil.rmtree(root, ignore_errors=True)
        file = saved(tmp_path, {"model": state(), "epoch": 3, "config": {"a": 1}}, _use_new_zipfile_serialization=new)
        found = stored(root, {"w.pth": file}, SAFE, PLAIN | {"key": "model"})
        words = Words()
        loaded = models.load(found, device="cpu")
        (path,) = made(root)
        kept = load_file(path)
        assert kept.keys() == state().keys()
        assert all(torch.equal(kept[name], tensor) for name, tensor in state().items())
        assert loaded.folder == str(path.parent)
        assert all(torch.equal(tensor, state()[name]) for name, tensor in loaded.model.state_dict().items())
        record = json.loads(path.parent.with_suffix(".json").read_bytes())
        assert record["left_out"] == ["epoch (int)", "config (dict)"]
        assert record["inputs"] == [found.files[0].sha256]
        before = path.stat()
        assert prepare_after_pull([found], words, wait=1) == []
        assert (words.said, path.stat()) == ([], before)
        assert path.stat().st_mode & 0o222 == 0


def test_dtype_halves_the_file_and_spares_what_is_no_floating_point_number(root: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    weights = {
        "w": torch.randn(1000, 10),
        "steps": torch.tensor(7),
        "mask": torch.tensor([True]),
        "none": torch.ones(0),
    }
    words = Words()
    found = stored(root, {"w.pth": saved(tmp_path, weights)}, SAFE | {"dtype": "float16"})
    assert prepare_after_pull([found], words, wait=1) == []
    (path,) = made(root)
    kept = load_file(path)
    assert {name: tensor.dtype for name, tensor in kept.items()} == {
        "w": torch.float16,
        "steps": torch.int64,
        "mask": torch.bool,
        "none": torch.float16,
    }
    assert torch.equal(kept["w"], weights["w"].half())
    assert path.stat().st_size < 0.6 * (tmp_path / "w.pth").stat().st_size
    assert len(words.said) == 1
    assert words.said[0].startswith("the-model: its weights are safetensors now, ")


def test_values_that_a_dtype_cannot_hold_are_refused_and_nothing_stays(root: Path, tmp_path: Path) -> None:
    import torch

    file = saved(tmp_path, {"w": torch.tensor([1e30]), "inf": torch.tensor([float("inf")])})
    with pytest.raises(UsageError, match="the-model: w has values beyond float16") as caught:
        prepared(stored(root, {"w.pth": file}, SAFE | {"dtype": "float16"}))
    assert "bfloat16" in caught.value.mend
    assert not [path for path in (root / "prepared").rglob("*") if path.is_file()]
    assert prepared(stored(root, {"w.pth": file}, SAFE | {"dtype": "bfloat16"})) is not None


def test_other_bytes_or_another_type_are_another_file(root: Path, tmp_path: Path) -> None:
    first = saved(tmp_path, state())
    results = [
        prepared(stored(root, {"w.pth": first}, SAFE)),
        prepared(stored(root, {"w.pth": first}, SAFE | {"dtype": "float16"})),
        prepared(stored(root, {"w.pth": saved(tmp_path, {"w": state()["linear.weight"]}, "x.pth")}, SAFE)),
    ]
    assert len({result.weights.path for result in results if result}) == 3
    assert len(made(root)) == 3


def test_an_altered_or_lost_file_is_made_again_and_a_copied_store_proves_itself(root: Path, tmp_path: Path) -> None:
    found = stored(root, {"w.pth": saved(tmp_path, state())}, SAFE)
    assert prepared(found)
    (path,) = made(root)
    good, record = path.read_bytes(), path.parent.with_suffix(".json")
    for damage in ("flip", "cut", "gone", "no record", "not a record"):
        if damage.endswith("record"):
            record.unlink()
            if damage == "not a record":
                record.write_text("[]")
        else:
            path.unlink()
            if damage != "gone":
                path.write_bytes(good[:-1] + (b"\xff" if damage == "flip" else b""))
        assert prepared(found)
        assert path.read_bytes() == good, damage
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, symlinks=True)
    (copied,) = made(copy)
    os.utime(copied, ns=(1, 1))
    before = copied.stat().st_ino
    assert prepared(stored(copy, {"w.pth": tmp_path / "w.pth"}, SAFE))
    assert copied.stat().st_ino == before


def test_a_folder_of_transformers_becomes_one_that_it_reads(root: Path, bert_copy: Path) -> None:
    import torch
    import transformers

    weights = weights_of(bert_copy)
    (bert_copy / "model.safetensors").unlink()
    names = sorted(weights)
    shards = {"pytorch_model-1.bin": names[::2], "pytorch_model-2.bin": names[1::2]}
    for shard, part in shards.items():
        torch.save({name: weights[name] for name in part}, bert_copy / shard)
    index = {"metadata": {}, "weight_map": {name: shard for shard, part in shards.items() for name in part}}
    (bert_copy / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    plain = models.load(stored(root, files_of(bert_copy), {}, origin="hub"), device="cpu").embed("a cat")
    found = stored(root, files_of(bert_copy), SAFE, origin="hub")
    loaded = models.load(found, device="cpu")
    (path,) = made(root)
    assert loaded.folder == str(path.parent)
    assert torch.equal(loaded.embed("a cat"), plain)
    assert sorted(os.listdir(path.parent)) == ["config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"]
    assert not os.path.isabs(os.readlink(path.parent / "config.json"))
    assert transformers.AutoModel.from_pretrained(path.parent).config.hidden_size == 16
    (path.parent / "vocab.txt").unlink()
    assert models.load(found, device="cpu").embed("a cat").shape == (1, 16)
    half = models.load(stored(root, files_of(bert_copy), SAFE | {"dtype": "float16"}, origin="hub"), device="cpu")
    assert half.dtype == torch.float16


def test_tied_weights_of_transformers_and_of_bare_modules_load(root: Path, tmp_path: Path) -> None:
    import torch
    import transformers
    from safetensors import safe_open

    from tests.models.modules import Tied

    small = {"vocab_size": 20, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 8}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**small)).eval()
    folder = tmp_path / "gpt2"
    model.save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    loaded = models.load(stored(root, files_of(folder), SAFE, origin="hub"), device="cpu")
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        assert torch.equal(loaded.model(ids).logits, model(ids).logits)
    shutil.rmtree(root)
    tied = Tied()
    file = saved(tmp_path, tied.state_dict())
    loaded = models.load(stored(root, {"w.pth": file}, SAFE, {"class": "tests.models.modules:Tied"}), device="cpu")
    assert loaded.model.head.weight is loaded.model.embed.weight
    assert torch.equal(loaded.model.head.weight, tied.embed.weight)
    with safe_open(made(root)[0], "pt") as file_of_one:
        assert list(file_of_one.keys()) == ["embed.weight"]
    mine = Tied()
    models.load(stored(root, {"w.pth": file}, SAFE), into=mine)
    assert torch.equal(mine.head.weight, tied.embed.weight)


def test_what_is_safetensors_already_is_taken_as_it_is(root: Path, bert: Path) -> None:
    found = stored(root, files_of(bert), SAFE, origin="hub")
    assert prepared(found) is None
    assert models.load(found, device="cpu").folder == found.folder
    assert prepared(stored(root, files_of(bert), SAFE | {"dtype": "float16"}, origin="hub")) is not None
    assert len(made(root)) == 1


def test_a_hostile_file_is_refused_before_the_child_is_started(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = tmp_path / "canary"
    monkeypatch.setattr(prepared_weights, "Child", None)
    found = stored(root, {"w.pth": zipped(pickles(canary)["os.system"][0])}, SAFE)
    (error,) = prepare_after_pull([found], Words(), wait=1)
    assert isinstance(error, IntegrityError)
    assert ".system; it was not executed" in error.message
    assert not canary.exists()


def test_the_child_has_no_network_no_programs_and_one_file_to_write(tmp_path: Path) -> None:
    code = """
import os, socket, subprocess, sys
from assetmgr.models.weights.converting import _forbid, _limit
_limit(1000)
_forbid(sys.argv[1])
open(sys.argv[1], "wb").write(b"x")
for attempt in (
    lambda: socket.create_connection(("127.0.0.1", 9)), lambda: socket.getaddrinfo("localhost", 80),
    lambda: os.system("true"), lambda: subprocess.run(["true"]), lambda: os.fork(),
    lambda: os.execv("/bin/true", ["x"]),
    lambda: open(sys.argv[1] + "2", "w"), lambda: os.open(sys.argv[1] + "3", os.O_CREAT | os.O_WRONLY),
):
    try:
        attempt()
    except PermissionError:
        continue
    raise SystemExit("not forbidden")
try:
    with open(sys.argv[1], "wb") as file:
        file.truncate(1 << 30)
except OSError:
    raise SystemExit(7)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "t")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (7, "")


def test_without_torch_a_pull_says_when_it_will_be_done(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = stored(root, {"w.pth": saved(tmp_path, state())}, SAFE)
    monkeypatch.setattr(prepared_weights, "has_torch", lambda: False)
    words = Words()
    assert prepare_after_pull([found], words, wait=1) == []
    assert "converted when they are first loaded" in words.said[0]
    with pytest.raises(MissingExtraError, match="torch, which converts its weights"):
        prepared(found)


def _in_another_process(found: Installed) -> None:
    assert prepared(found) is not None


def test_of_two_processes_one_converts_and_the_other_waits(root: Path, tmp_path: Path) -> None:
    found = stored(root, {"w.pth": saved(tmp_path, state())}, SAFE)
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_in_another_process, args=(found,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    assert len(made(root)) == 1
    assert not list(root.rglob("*.making*"))


def test_what_a_killed_process_left_is_swept(root: Path, tmp_path: Path) -> None:
    found = stored(root, {"w.pth": saved(tmp_path, state())}, SAFE)
    assert prepared(found)
    (path,) = made(root)
    good = path.read_bytes()
    path.unlink()
    Path(f"{path}.making").write_bytes(b"half")
    Path(f"{path}.0a1b2c3d.making.log").write_bytes(b"words")
    assert prepared(found)
    assert path.read_bytes() == good
    assert not list(root.rglob("*.making*"))


@pytest.mark.skipif(os.name == "nt", reason="there is no such killing")
def test_the_child_of_a_process_that_was_killed_is_in_nobodys_way(root: Path, tmp_path: Path) -> None:
    found = stored(root, {"w.pth": saved(tmp_path, state())}, SAFE)
    process = multiprocessing.get_context("fork").Process(target=prepared, args=(found,))
    process.start()
    until = time.monotonic() + 30
    while not list(root.rglob("*.making.log")) and time.monotonic() < until:
        time.sleep(0.005)
    process.kill()
    process.join()
    assert made(root) == []
    assert prepared(found)  # while that child may still import torch
    assert len(made(root)) == 1
    assert not list(root.rglob("*.making*"))


def test_where_no_store_can_be_written_the_asset_is_named_and_the_mend(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = stored(root, {"w.pth": saved(tmp_path, state())}, SAFE)
    folder = root / "prepared"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(folder)], check=False).returncode:
        pytest.skip("no right to mount a file system that is read only")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    try:
        with pytest.raises(AccessError, match="the-model: there is nowhere to keep its converted weights") as caught:
            prepared(found)
        assert "assetmgr pull the-model, by a user who may write" in caught.value.mend
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_weights_of_8_bits_become_wider(root: Path, tmp_path: Path) -> None:
    import torch

    tensors = {"w": torch.ones(4, 4).to(torch.float8_e4m3fn)}
    assert prepared(stored(root, {"w.pth": saved(tmp_path, tensors)}, SAFE | {"dtype": "float16"}))
    (path,) = made(root)
    assert weights_of(path.parent)["w"].dtype == torch.float16


def test_a_store_that_cannot_be_written_has_it_in_the_users_cache(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = stored(root, {"w.pth": saved(tmp_path, state())}, SAFE, PLAIN)
    if os.name == "nt" or os.geteuid() == 0:
        real = os.mkdir

        def refuse(path: Any, *arguments: Any, **named: Any) -> None:
            if str(path).startswith(str(root)):
                raise PermissionError(13, "Permission denied", str(path))
            real(path, *arguments, **named)

        monkeypatch.setattr(os, "mkdir", refuse)
    else:
        root.chmod(0o555)
    loaded = models.load(found, device="cpu")
    root.chmod(0o755)
    assert made(root) == []
    assert loaded.folder.startswith(str(tmp_path / "cache/assetmgr/prepared/weights"))


def test_a_full_disk_is_named_and_leaves_nothing(root: Path, tmp_path: Path) -> None:
    import torch

    file = saved(tmp_path, {"w": torch.ones(1 << 18)})
    found = stored(root, {"w.pth": file}, SAFE)
    folder = root / "prepared"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small file system")
    try:
        with pytest.raises(DiskSpaceError, match=r"the-model: .*: no room while its weights were converted"):
            prepared(found)
        assert not [path for path in folder.rglob("*") if path.is_file()]
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    assert prepared(found)
