"""A load proves annotations by their stamps, and a medium when it is touched; the mend of each fault mends it."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from assetmgr.datasets import Dataset
from assetmgr.datasets.listed import Expected, Listed, Owner
from assetmgr.datasets.media import DamagedError, Folder
from assetmgr.errors import IntegrityError
from assetmgr.workspace import Workspace
from tests.datasets.published import PICTURES, coco, zipped
from tests.support import flip_byte, truncate

IMAGES = "lavis/coco/images"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return coco(tmp_path, {"val.zip": zipped(PICTURES, zipfile.ZIP_DEFLATED)}, extract=IMAGES)


def val(workspace: Workspace, **how: object) -> Dataset:
    dataset = workspace.load_dataset("coco", split="val", **how)  # type: ignore[arg-type]
    assert isinstance(dataset, Dataset)
    return dataset


def image(workspace: Workspace, row: int = 0) -> Path:
    dataset = val(workspace, verify="none")
    return Path(dataset.media.shown(dataset.table.row(row, ["image"])[0]))


def altered(path: Path) -> None:
    flip_byte(path, path.stat().st_size // 2)


def silently_altered(path: Path) -> None:
    flip_byte(path, path.stat().st_size // 2, keep_time=True)


def gone(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    truncate(path, 1000)


@pytest.mark.parametrize(
    ("damage", "complaint", "full"),
    [
        (gone, "no such file", False),
        (cut, "truncated: expected", False),
        (altered, "altered: expected sha256", False),
        (silently_altered, "altered: expected sha256", True),
    ],
)
def test_a_damaged_image_is_found_when_it_is_touched_and_its_mend_mends_it(
    workspace: Workspace, damage: Callable[[Path], None], complaint: str, full: bool
) -> None:
    want = val(workspace)[0]["image"].tobytes()
    damage(image(workspace))
    dataset = val(workspace)  # 5 images were not read for it
    with pytest.raises(IntegrityError) as caught:
        dataset[0]
    assert str(image(workspace)) in caught.value.message
    assert complaint in caught.value.message
    assert caught.value.mend == f"assetmgr verify coco-images {'--full ' * full}--repair"
    assert dataset[24]["image"].mode == "RGB"
    with pytest.raises(IntegrityError, match="coco-images: val2017/") as caught:
        val(workspace, verify="full")
    assert caught.value.mend == "assetmgr verify coco-images --full --repair"
    mended = workspace.verify(["coco-images"], full=full, repair=True)
    assert not mended.findings
    assert len(mended.repaired) == 1
    assert dataset[0]["image"].tobytes() == want
    assert val(workspace, verify="full")[0]["image"].tobytes() == want


def test_without_verification_what_can_be_decoded_is_given(workspace: Workspace) -> None:
    silently_altered(image(workspace))
    assert val(workspace, verify="none")[0]["image"].mode == "RGB"


@pytest.mark.parametrize("damage", [gone, cut, altered])
def test_a_changed_annotation_is_named_before_anything_is_read_and_mended(
    workspace: Workspace, damage: Callable[[Path], None]
) -> None:
    want = [sample["text_input"] for sample in val(workspace)]
    damage(Path(val(workspace).annotations[0]))
    with pytest.raises(IntegrityError, match=r"coco: captions\.json: (missing|truncated|altered)") as caught:
        val(workspace)
    assert caught.value.mend == "assetmgr verify coco --repair"
    assert not workspace.verify(["coco"], repair=True).findings
    assert [sample["text_input"] for sample in val(workspace)] == want


def test_a_touched_annotation_is_hashed_once_and_remembered(workspace: Workspace, tmp_path: Path) -> None:
    path = Path(val(workspace).annotations[0])
    path.touch()
    val(workspace)
    (receipt,) = (tmp_path / "store/.assetmgr/receipts").glob("coco@*")
    before = receipt.stat().st_mtime_ns
    val(workspace)
    assert receipt.stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", [gone, cut, altered])
def test_a_prepared_index_of_a_listing_that_is_damaged_is_made_anew(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    many = {f"val2017/{number}.txt": b"%d" % number for number in range(1200)}
    workspace = coco(tmp_path, {"val.zip": zipped({**PICTURES, **many})}, extract=IMAGES)
    want = val(workspace)[0]["image"].tobytes()
    (index,) = (tmp_path / "store/prepared/tables/coco-images").glob("listed-*.arrow")
    damage(index)
    altered(image(workspace, 24))
    dataset = val(workspace)
    assert dataset[0]["image"].tobytes() == want
    with pytest.raises(IntegrityError, match="altered"):
        dataset[24]


def test_a_medium_that_nothing_lists_has_a_mend_of_its_own(tmp_path: Path) -> None:
    some = dict(list(PICTURES.items())[:-1])
    dataset = val(coco(tmp_path, {"val.zip": zipped(some)}, extract=IMAGES))
    with pytest.raises(IntegrityError) as caught:
        list(dataset)
    assert "coco-images has no file of this name" in caught.value.mend


def test_a_large_medium_is_hashed_again_when_it_was_written_to_and_its_time_set_back(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(bytes(33 << 20))
    expected = Expected(film.stat().st_size, hashlib.sha256(film.read_bytes()).hexdigest(), 0)
    media = Folder(str(tmp_path), "films", [Listed(Owner(str(tmp_path), "films", ""), "", {"film.mp4": expected})])
    for _ in range(2):
        media.open("film.mp4").close()
    flip_byte(film, 1 << 20, keep_time=True)
    with pytest.raises(DamagedError, match="altered"):
        media.open("film.mp4")
