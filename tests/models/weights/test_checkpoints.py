"""A pickle that is more than tensors is refused, with what it would have called, and nothing of it is executed."""

from __future__ import annotations

import contextlib
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assetmgr.errors import IntegrityError
from assetmgr.models.weights.checkpoints import check_pickled
from assetmgr.models.weights.pickles import DamagedPickleError, PickleLimits, scan
from tests.models.weights.hostile import MAGIC, damaged, in_a_row, pickles, tarred, zipped

FORMS: dict[str, Callable[[bytes], bytes]] = {
    "zip": zipped,
    "row": in_a_row,
    "tar": tarred,
    "old tar": lambda data: tarred(data, tarfile.USTAR_FORMAT),
    "bare": bytes,
}
NOWHERE = Path("/nowhere/canary")


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[bytes], IntegrityError]:
    def refuse(content: bytes) -> IntegrityError:
        file = tmp_path / "weights.pth"
        file.write_bytes(content)
        with pytest.raises(IntegrityError) as caught:
            check_pickled("the-model", "weights.pth", file)
        assert caught.value.message.startswith("the-model: weights.pth ")
        assert caught.value.message.endswith("; it was not executed")
        assert caught.value.mend
        return caught.value

    return refuse


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("what", pickles(NOWHERE))
def test_a_hostile_pickle_is_refused_by_name_in_every_format(
    what: str, form: str, tmp_path: Path, refused: Callable[[bytes], IntegrityError]
) -> None:
    canary = tmp_path / "canary"
    data, told = pickles(canary)[what]
    assert told in refused(FORMS[form](data)).message
    assert not canary.exists()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("what", damaged(NOWHERE))
def test_a_damaged_or_boundless_pickle_is_refused(
    what: str, form: str, tmp_path: Path, refused: Callable[[bytes], IntegrityError]
) -> None:
    canary = tmp_path / "canary"
    refused(FORMS[form](damaged(canary)[what]))
    assert not canary.exists()


def test_each_of_the_pickles_in_a_row_is_looked_at(tmp_path: Path, refused: Callable[[bytes], IntegrityError]) -> None:
    harm = pickles(tmp_path / "canary")["os.system"][0]
    values: tuple[object, ...] = (MAGIC, 1001, {}, {}, [])
    plain = [pickle.dumps(value, 2) for value in values]
    for number in range(5):
        row = [*plain[:number], harm, *plain[number + 1 :]]
        assert ".system" in refused(b"".join(row)).message
    assert not (tmp_path / "canary").exists()


def test_a_zip_that_readers_could_understand_in_two_ways_is_refused(
    tmp_path: Path, refused: Callable[[bytes], IntegrityError]
) -> None:
    plain, harm = pickle.dumps({}, 2), pickles(tmp_path / "canary")["os.system"][0]
    good = zipped(plain)
    twice = io.BytesIO()
    with zipfile.ZipFile(twice, "w") as archive:
        archive.writestr("archive/data.pkl", plain)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("archive/data.pkl", harm)
    cased = zipped(plain, extra={"DATA.PKL": harm})
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"N0" * 2_000_000 + harm)
    cases = {
        "there twice": twice.getvalue(),
        "are one file where case": cased,
        "other bytes before": b"PK\3\4" + good,
        "is no checkpoint of torch": b"\x00" + good,
        "more than torch.save writes: 'bcdefgh/data.pkl'": zipped(plain, extra={"data.pkx": harm}).replace(
            b"archive/data.pkx", b"bcdefgh/data.pkl"
        ),
        "'archive/inner.pt'": zipped(plain, extra={"inner.pt": zipped(harm)}),
        "is a zip in itself": zipped(plain, extra={"data/0": zipped(harm)}),
        "without data.pkl": zipped(plain).replace(b"data.pkl", b"date.pkl"),
        "is compressed": packed.getvalue(),
        "has bytes behind its end": zipped(plain + harm),
        "is cut off": good[:-10],
        "or a directory of the wrong size": good[:-22] + good[-22:] * 2,
        "crc32": good.replace(plain, plain[:-1] + b"N", 1),
    }
    for told, content in cases.items():
        message = refused(content).message
        assert told in message
    assert ".system" in refused(harm + good).message
    assert not (tmp_path / "canary").exists()


def test_a_script_of_torch_is_told_as_what_it_is(refused: Callable[[bytes], IntegrityError]) -> None:
    plain = pickle.dumps({}, 2)
    for name in ("constants.pkl", "code/__torch__.py"):
        assert "TorchScript: it holds code" in refused(zipped(plain, extra={name: b"x"})).message


def test_limits_bound_what_a_scan_takes() -> None:
    with pytest.raises(DamagedPickleError, match="more than 10 opcodes"):
        scan(io.BytesIO(b"N" * 100), 0, PickleLimits(opcodes=10))
    with pytest.raises(DamagedPickleError, match="cut off, or too large"):
        scan(io.BytesIO(b"N" * 100), 0, PickleLimits(size=10))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_bytes_whatever_bring_the_scan_to_anything_but_an_answer(data: st.DataObject, tmp_path: Path) -> None:
    seeds = [content for content, _ in pickles(NOWHERE).values()]
    seed = bytearray(FORMS[data.draw(st.sampled_from(sorted(FORMS)))](data.draw(st.sampled_from(seeds))))
    for at in data.draw(st.lists(st.integers(0, len(seed) - 1), max_size=8)):
        seed[at] = data.draw(st.integers(0, 255))
    file = tmp_path / "weights.pth"
    file.write_bytes(bytes(seed))
    with contextlib.suppress(IntegrityError):
        check_pickled("m", "weights.pth", file)


@pytest.mark.torch
def test_what_torch_saves_of_tensors_passes_in_both_formats(tmp_path: Path) -> None:
    import torch

    tied = torch.ones(3)
    weights = {
        "model": torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)).state_dict(),
        "kinds": {str(kind): torch.zeros(3).to(kind) for kind in (torch.float16, torch.bfloat16, torch.int8)},
        "eights": torch.zeros(3).to(torch.float8_e4m3fn),
        "wide": torch.zeros(2, dtype=torch.uint16),
        "tied": [tied, tied[1:]],
        "parameter": torch.nn.Parameter(tied),
        "epoch": 3,
        "config": {"name": "x", "rate": 1e-4, "steps": (1, 2), None: True, "shape": torch.Size([1, 2])},
        "dtype": torch.float16,
    }
    for new in (True, False):
        if not new:
            del weights["eights"], weights["wide"]  # torch writes them so, and cannot read them
        file = tmp_path / "weights.pth"
        torch.save(weights, file, _use_new_zipfile_serialization=new)
        check_pickled("m", "weights.pth", file)
        assert torch.load(file, weights_only=True)["epoch"] == 3
        content = file.read_bytes()
        for size in (0, 3, 60, len(content) // 2):
            file.write_bytes(content[:size])
            with pytest.raises(IntegrityError, match="not executed"):
                check_pickled("m", "weights.pth", file)
