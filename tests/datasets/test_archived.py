"""Media in archives are read where they are, and are the very bytes that a folder would give."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from assetmgr.datasets import Dataset
from assetmgr.datasets.archived import Archives, Packed, archived
from assetmgr.errors import DiskSpaceError, IntegrityError, UsageError
from assetmgr.store import Store
from assetmgr.workspace import Workspace
from tests.datasets.published import PICTURES, coco, tarred, zipped
from tests.datasets.stored import DATA
from tests.support import flip_byte

DEFLATED = zipfile.ZIP_DEFLATED
HALF = len(PICTURES) // 2
FIRST, SECOND = dict(list(PICTURES.items())[:HALF]), dict(list(PICTURES.items())[HALF:])

KINDS: dict[str, Mapping[str, bytes]] = {
    "stored": {"val.zip": zipped(PICTURES)},
    "deflated": {"val.zip": zipped(PICTURES, DEFLATED)},
    "tar": {"val.tar": tarred(PICTURES)},
    "several": {"a.zip": zipped(FIRST, DEFLATED), "b.tar": tarred(SECOND)},
}


def val(workspace: Workspace, **how: object) -> Dataset:
    dataset = workspace.load_dataset("coco", split="val", **how)  # type: ignore[arg-type]
    assert isinstance(dataset, Dataset)
    return dataset


def pixels(dataset: Dataset) -> list[tuple[int, bytes]]:
    return [(sample["image_id"], sample["image"].tobytes()) for sample in dataset]


@pytest.fixture(scope="module")
def expected() -> list[tuple[int, bytes]]:
    """What the images of the folder are."""
    from PIL import Image

    found = {}
    for name, data in PICTURES.items():
        with Image.open(io.BytesIO(data)) as image:
            found[int(Path(name).stem)] = image.convert("RGB").tobytes()
    rows = json.loads((DATA / "coco-sample/annotations/captions_val2017.json").read_bytes())["annotations"]
    return [(row["image_id"], found[row["image_id"]]) for row in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_the_pixels_of_an_archive_are_those_of_the_files(
    tmp_path: Path, kind: str, expected: list[tuple[int, bytes]]
) -> None:
    workspace = coco(tmp_path, KINDS[kind])
    dataset = val(workspace, missing="error")
    assert pixels(dataset) == expected
    assert not list((tmp_path / "store").rglob("*.jpg"))
    again = pickle.loads(pickle.dumps(dataset))
    assert again[3]["image"].tobytes() == expected[3][1]
    assert len(pickle.dumps(dataset)) < 5000


def test_extracted_members_give_the_same(tmp_path: Path, expected: list[tuple[int, bytes]]) -> None:
    assert pixels(val(coco(tmp_path, KINDS["deflated"], extract="lavis/coco/images"))) == expected


def test_media_may_name_the_archive_itself(tmp_path: Path, expected: list[tuple[int, bytes]]) -> None:
    bare = {Path(name).name: data for name, data in PICTURES.items()}
    assert pixels(val(coco(tmp_path, {"val.zip": zipped(bare)}, media="val.zip"))) == expected


@pytest.mark.parametrize("as_list", [False, True])
def test_an_archive_of_the_users_own_is_a_vis_path(
    tmp_path: Path, as_list: bool, expected: list[tuple[int, bytes]]
) -> None:
    workspace = coco(tmp_path, {"none.zip": zipped({"x.txt": b"x"})}, media="")
    own = {Path(name).name: data for name, data in PICTURES.items()}
    names = list(own)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / names[0]).write_bytes(own[names[0]])
    (tmp_path / "own.zip").write_bytes(zipped(own if not as_list else {name: own[name] for name in names[1:]}))
    vis_path = [tmp_path / "own", tmp_path / "own.zip"] if as_list else tmp_path / "own.zip"
    dataset = val(workspace, vis_path=vis_path, missing="error")
    assert pixels(dataset) == expected
    # Of a changed one the index is made anew, and the old object does not read what it does not know.
    (tmp_path / "own.zip").write_bytes(zipped({names[0]: own[names[0]]}))
    with pytest.raises(IntegrityError, match=r"was changed since it was proved|no such file"):
        dataset[len(dataset) - 1]
    assert 0 < len(val(workspace, vis_path=vis_path, missing="skip")) < len(dataset)


def test_the_first_of_several_archives_that_has_a_name_is_meant(tmp_path: Path) -> None:
    paths = []
    for number in range(70):  # more than stay open
        path = tmp_path / f"{number}.zip"
        path.write_bytes(zipped({"same": b"%d" % number, f"only {number}": b"%d" % number}))
        paths.append(Packed(str(path)))
    media = archived(Store(tmp_path), "m", paths, check=True)
    assert media.open("same").read() == b"0"
    assert [media.open(f"only {number}").read() for number in (0, 69, 35)] == [b"0", b"69", b"35"]
    assert media.present(["only 3", "only 99", "same"]) == {"only 3", "same"}
    assert media.shown("only 4") == str(tmp_path / "4.zip" / "only 4")


def encrypted() -> bytes:
    data = bytearray(zipped({"a.jpg": b"x"}))
    data[data.find(b"PK\1\2") + 8] |= 1
    return bytes(data)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (zipped({"../a.jpg": b"x"}), "unsafe name"),
        (zipped({"a.jpg": b"x", "A.jpg": b"y"}), "one file where case"),
        (encrypted(), "is encrypted"),
        (zipped({"a.jpg": b"x"})[:-5], "cut off"),
        (tarred({"a.jpg": b"x" * 999})[:700], "cut off"),
        (b"no archive at all", "is no zip and no plain tar"),
    ],
    ids=["unsafe", "twice", "encrypted", "cut zip", "cut tar", "other"],
)
def test_an_archive_that_is_not_safe_or_whole_is_refused(tmp_path: Path, data: bytes, complaint: str) -> None:
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(IntegrityError, match=complaint):
        archived(Store(tmp_path), "m", [Packed(str(tmp_path / "a.zip"))], check=True)
    assert not list(tmp_path.rglob("*.arrow"))


def test_a_compressed_tar_is_refused_with_what_to_do(tmp_path: Path) -> None:
    workspace = coco(tmp_path, {"val.tar.gz": tarred(PICTURES, "w:gz")})
    with pytest.raises(UsageError, match=r"val\.tar\.gz: compressed as a whole \(gzip\)") as caught:
        val(workspace)
    assert "extract:" in caught.value.mend


class Unseekable(io.RawIOBase):
    """Where a zip is written front to back: sizes follow each member in a data descriptor."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.data += bytes(data)
        return len(data)


@pytest.mark.parametrize("zip64", [False, True])
def test_data_descriptors_and_zip64_are_read(tmp_path: Path, zip64: bool) -> None:
    sink = Unseekable()
    with zipfile.ZipFile(sink, "w", DEFLATED) as archive:
        for name in ("é/a", "é/b"):
            with archive.open(name, "w", force_zip64=zip64) as member:
                member.write(name.encode() * 1000)
    (tmp_path / "a.zip").write_bytes(sink.data)
    media = archived(Store(tmp_path), "m", [Packed(str(tmp_path / "a.zip"))], check=True)
    assert media.open("é/b").read() == "é/b".encode() * 1000


def test_threads_and_forked_processes_read_at_once(tmp_path: Path) -> None:
    members = {f"{number}": bytes([number]) * (9000 + number) for number in range(100)}
    (tmp_path / "a.zip").write_bytes(zipped(members, DEFLATED))
    (tmp_path / "b.tar").write_bytes(tarred({f"t{name}": data for name, data in members.items()}))
    packed = [Packed(str(tmp_path / "a.zip")), Packed(str(tmp_path / "b.tar"))]
    media = archived(Store(tmp_path), "m", packed, check=True)
    wrong: list[str] = []

    def read() -> None:
        for name, data in members.items():
            wrong.extend(each for each in (name, f"t{name}") if media.open(each).read() != data)

    read()
    children = []
    if hasattr(os, "fork"):
        for _ in range(2):
            child = os.fork()
            if not child:
                read()
                os._exit(len(wrong))
            children.append(child)
    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(children)


@pytest.mark.parametrize("kind", ["stored", "deflated", "tar"])
def test_a_changed_archive_is_named_and_its_images_are_not_served(tmp_path: Path, kind: str) -> None:
    workspace = coco(tmp_path, KINDS[kind])
    dataset = val(workspace)
    assert isinstance(dataset.media, Archives)
    path = Path(dataset.media.archives[0].path)
    flip_byte(path, path.stat().st_size // 2)
    with pytest.raises(IntegrityError, match=r"changed since it was proved") as caught:
        list(dataset)
    assert caught.value.mend == "assetmgr verify coco-images --repair"
    with pytest.raises(IntegrityError, match=r"coco-images: val\.\w+: altered") as caught:
        val(workspace)
    assert caught.value.mend == "assetmgr verify coco-images --repair"
    assert not workspace.verify(["coco-images"], repair=True).findings
    assert len(pixels(val(workspace))) == len(dataset)


@pytest.mark.parametrize("kind", ["stored", "deflated", "tar"])
def test_a_disk_that_fails_silently_is_noticed_at_the_member(tmp_path: Path, kind: str) -> None:
    workspace = coco(tmp_path, KINDS[kind])
    dataset = val(workspace)
    assert isinstance(dataset.media, Archives)
    path = Path(dataset.media.archives[0].path)
    flip_byte(path, path.stat().st_size // 2, keep_time=True)
    with pytest.raises(IntegrityError, match=r"damaged|decompressed") as caught:
        list(val(workspace))
    assert caught.value.mend == "assetmgr verify coco-images --full --repair"
    assert not workspace.verify(["coco-images"], repair=True, full=True).findings
    assert len(pixels(val(workspace))) == len(dataset)


def test_an_index_is_prepared_once_and_opened_without_the_directory(tmp_path: Path) -> None:
    workspace = coco(tmp_path, KINDS["stored"])
    val(workspace)
    (index,) = (tmp_path / "store/prepared/tables/coco-images").glob("media-*.arrow")
    before = index.stat().st_mtime_ns
    val(workspace)
    assert index.stat().st_mtime_ns == before
    flip_byte(index, 300)
    assert len(pixels(val(workspace))) == 25


def test_a_full_disk_while_the_index_is_made_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({f"{number}": b"" for number in range(5000)}))
    folder = tmp_path / "prepared"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small file system here")
    try:
        with pytest.raises(DiskSpaceError, match="no room"):
            archived(Store(tmp_path), "m", [Packed(str(tmp_path / "a.zip"))], check=True)
        assert not [path for path in folder.rglob("*") if path.is_file()]
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_member_that_is_no_image_is_told(tmp_path: Path) -> None:
    name = next(iter(PICTURES))
    workspace = coco(tmp_path, {"val.zip": zipped({**PICTURES, name: b"no image"})})
    dataset = val(workspace)
    with pytest.raises(IntegrityError, match=rf"val\.zip/{name}: cannot be decoded"):
        list(dataset)


@pytest.mark.torch
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_data_loader_workers_read_archives(tmp_path: Path, context: str, expected: list[tuple[int, bytes]]) -> None:
    from torch.utils.data import DataLoader

    dataset = val(coco(tmp_path, KINDS["several"]))
    _ = dataset[0]  # opened before the fork
    loader = DataLoader(dataset, batch_size=5, num_workers=2, multiprocessing_context=context, collate_fn=list)
    assert [(sample["image_id"], sample["image"].tobytes()) for batch in loader for sample in batch] == expected


@pytest.mark.parametrize("kind", ["stored", "tar"])
@pytest.mark.parametrize("at", [0, 1], ids=["in the first half", "at the end"])
def test_a_disk_that_failed_before_the_index_was_made_is_noticed(tmp_path: Path, kind: str, at: int) -> None:
    workspace = coco(tmp_path, KINDS[kind])
    (path,) = (tmp_path / "store/lavis/coco/images").iterdir()
    flip_byte(path, (path.stat().st_size - 20_000) if at else 600, keep_time=True)
    with pytest.raises(IntegrityError, match=f"coco.*{path.name}") as caught:
        list(val(workspace))
    assert caught.value.mend == "assetmgr verify coco-images --full --repair"
    assert not workspace.verify(["coco-images"], repair=True, full=True).findings
    assert len(pixels(val(workspace))) == 25


def test_an_archive_that_is_gone_is_named_without_verification_too(tmp_path: Path) -> None:
    workspace = coco(tmp_path, KINDS["tar"])
    (path,) = (tmp_path / "store/lavis/coco/images").iterdir()
    path.unlink()
    for verify in ("none", "quick"):
        with pytest.raises(IntegrityError, match=rf"{path.name}.*no such file") as caught:
            val(workspace, verify=verify)
        assert caught.value.mend == "assetmgr verify coco-images --repair"


def test_what_an_archive_lacks_is_counted(tmp_path: Path) -> None:
    workspace = coco(tmp_path, {"val.zip": zipped(FIRST)})
    dataset = val(workspace, missing="skip")
    assert 0 < dataset.left_out < 25
    assert f"left out: {dataset.left_out} rows" in repr(dataset)
    with pytest.raises(IntegrityError, match=f"{len(SECOND)} of {len(PICTURES)} images are missing") as before:
        val(workspace, missing="error")
    assert "coco-images has no file of this name" in before.value.mend
    last = val(workspace)
    with pytest.raises(IntegrityError, match="no such file") as caught:
        list(last)
    assert "coco-images has no file of this name" in caught.value.mend
