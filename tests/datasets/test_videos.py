"""Videos: each frame is the one of its index, whatever the file; damage is told, never served."""

from __future__ import annotations

import importlib.util
import io
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from assetmgr.datasets.frames import sampled
from assetmgr.datasets.media import Folder
from assetmgr.datasets.videos import Video
from assetmgr.errors import IntegrityError, MissingExtraError, UsageError
from tests.datasets.filming import FILMS, cut, film, numbers_of, turned

numpy = pytest.importorskip("numpy")

pytestmark = pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="PyAV is not installed")


def video(path: Path) -> Video:
    return Video(Folder(str(path.parent), None), path.name, "films, split train: sample 3", "put it back")


def decoded(path: Path) -> Any:
    """Every frame, as FFmpeg presents them from the first."""
    import av

    with av.open(str(path)) as container:
        return numpy.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for name, how in FILMS.items():
        film(folder / name, **how)
    cut(folder / "reordered.mp4", folder / "cut.mp4", 1.7)
    return folder


@pytest.mark.parametrize("name", [*FILMS, "cut.mp4"])
def test_each_frame_is_that_of_a_decoding_from_the_first(films: Path, name: str) -> None:
    one, every = video(films / name), decoded(films / name)
    first = 17 if name == "cut.mp4" else 0
    assert numbers_of(every) == list(range(first, first + len(every)))
    assert one.info.frames == len(every) == 40 - first
    assert (one.frames() == every).all()
    chance = random.Random(name)
    for _ in range(12):
        chosen = chance.choices(range(-len(every), len(every)), k=chance.randint(1, 6))
        assert (one.at(chosen) == every[chosen]).all(), chosen
    assert numbers_of(one.frames(4)) == [first + place for place in sampled(len(every), 4)]
    with pytest.raises(IndexError, match="no frame 40 among"):
        one.at([40])


def test_metadata_are_told_without_decoding(films: Path) -> None:
    info = video(films / "reordered.mp4").info
    assert (info.frames, info.rate, info.width, info.height, info.duration, info.codec) == (
        40,
        10.0,
        64,
        48,
        4.0,
        "h264",
    )


def test_frames_are_scaled_and_turned_as_the_file_says(films: Path, tmp_path: Path) -> None:
    path = turned(films / "reordered.mp4", tmp_path / "turned.mp4")
    one = video(path)
    assert (one.frames(3) == numpy.rot90(video(films / "reordered.mp4").frames(3), 3, (1, 2))).all()
    assert one.frames(3).shape == (3, 64, 48, 3)
    assert one.frames(3, height=32, width=20).shape == (3, 32, 20, 3)
    upright = video(films / "reordered.mp4").frames(5, height=24, width=32)
    assert upright.shape == (5, 24, 32, 3)
    assert upright.dtype == numpy.uint8


def test_it_is_its_path_and_small_to_pickle(films: Path) -> None:
    one = video(films / "plain.avi")
    assert one == one.path == str(films / "plain.avi")
    assert Path(one).is_file()
    again = pickle.loads(pickle.dumps(one))
    assert isinstance(again, Video)
    assert (again.media.where, again.name, again.sample, again.mend) == (
        one.media.where,
        one.name,
        one.sample,
        one.mend,
    )
    assert (again.frames(2) == one.frames(2)).all()
    assert len(pickle.dumps(one)) < 1000


class Packed(Folder):
    """A zip whose members are read from memory."""

    def open(self, name: str) -> BinaryIO:
        with zipfile.ZipFile(self.folder) as packed:
            return io.BytesIO(packed.read(name))


@pytest.mark.parametrize("name", ["reordered.mp4", "vp9.webm", "reordered.avi"])
def test_it_is_decoded_from_an_archive(films: Path, tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "films.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(films / name, name)
    packed_video = Video(Packed(str(tmp_path / "films.zip"), None), name, "s", "m")
    assert (packed_video.frames(7) == video(films / name).frames(7)).all()


@pytest.mark.parametrize("name", ["fast.mp4", "reordered.mp4", "uneven.mkv", "vp9.webm", "plain.avi"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_truncated_film_is_told(films: Path, tmp_path: Path, name: str, share: float) -> None:
    data = (films / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * share)])
    one = video(tmp_path / name)
    for ask in (lambda: one.frames(4), lambda: one.info, lambda: one.at([0])):
        with pytest.raises(IntegrityError) as raised:
            ask()
        assert str(raised.value).startswith(f"films, split train: sample 3: {tmp_path / name}: ")
        assert raised.value.mend == "put it back"


@pytest.mark.parametrize("name", ["reordered.mp4", "vp9.webm", "plain.avi", "stream.ts"])
def test_a_damaged_film_is_told_or_gives_all_its_frames(films: Path, tmp_path: Path, name: str) -> None:
    data, chance, told = (films / name).read_bytes(), random.Random(name), 0
    for number in range(12):
        damaged = bytearray(data)
        at = chance.randrange(40, data.index(b"moov") - 204) if b"moov" in data else chance.randrange(len(data))
        damaged[at : at + 200] = chance.randbytes(len(damaged[at : at + 200]))
        (tmp_path / f"{number}{name}").write_bytes(damaged)
        try:
            frames = video(tmp_path / f"{number}{name}").frames()
        except IntegrityError:
            told += 1
        else:
            # What decoders conceal cannot be told; nor what is skipped in a stream that has no table of its frames.
            assert len(frames) == 40 or name in ("vp9.webm", "stream.ts")
    assert told or name == "stream.ts"


@pytest.mark.parametrize("data", [b"", b"no film", b"#EXTM3U\n#EXTINF:4.0,\n/etc/passwd\n#EXT-X-ENDLIST\n"])
def test_what_is_no_film_is_told(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(IntegrityError, match=r"a\.mp4: cannot be decoded"):
        video(tmp_path / "a.mp4").frames(1)
    with pytest.raises(IntegrityError, match="no such file"):
        video(tmp_path / "b.mp4").frames(1)


def test_without_the_library_the_mend_is_its_extra(monkeypatch: pytest.MonkeyPatch, films: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"assetmgr\[video\]"):
        video(films / "plain.avi").frames(1)


@pytest.mark.parametrize(
    ("count", "n", "chosen"),
    [
        (40, 4, [0, 10, 20, 30]),
        (10, 4, [0, 2, 5, 7]),
        (3, 8, [0, 1, 2]),
        (15, 13, None),
        (17, 7, None),
        (5, None, None),
    ],
)
def test_uniform_indices_are_those_of_lavis(count: int, n: int | None, chosen: list[int] | None) -> None:
    # In lavis/datasets/data_utils.py: np.arange(start, end, vlen / n_frms).astype(int)
    many = min(n or count, count)
    theirs = numpy.arange(0, count, count / many).astype(int).tolist()[:many]
    assert sampled(count, n) == theirs
    assert chosen in (None, theirs)


def test_headtail_indices_are_those_of_lavis() -> None:
    random.seed(7)
    theirs = sorted(random.sample(range(12), 4)) + sorted(random.sample(range(12, 25), 4))
    random.seed(7)
    assert sampled(25, 8, "headtail") == theirs == sampled(25, 8, "headtail", seed=7)


@pytest.mark.parametrize("how", [{"n": 0}, {"n": 1, "sampling": "headtail"}, {"start": 9, "end": 9}, {"sampling": "x"}])
def test_a_choice_of_no_frame_is_refused(how: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        sampled(20, **how)


def test_a_part_of_a_film_may_be_chosen_from() -> None:
    assert sampled(100, 4, start=20, end=40) == [20, 25, 30, 35]
    assert all(20 <= place < 40 for place in sampled(100, 6, "headtail", start=20, end=40, seed=1))
