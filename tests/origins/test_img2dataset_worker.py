"""What the child that fetches lists does by itself: it reads lists, bounds downloads, and tells what is cut short."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr.origins import img2dataset_worker as worker
from assetmgr.origins.shards import Picture, index_lines, read_shard
from assetmgr.origins.url_list import reasons
from tests.hub import Fault, Hub

U = "http://a.example/1.jpg"


@pytest.mark.parametrize(
    ("name", "text", "recipe", "rows"),
    [
        ("a.txt", f"{U}\n\n  {U}?a=1,2 \n", {}, [(U, None, None), (f"{U}?a=1,2", None, None)]),
        ("a.csv", f'url,caption\n{U},"a, b"\n', {"caption_col": "caption"}, [(U, "a, b", None)]),
        ("a.csv", f"\ufeffurl\n{U}\n", {}, [(U, None, None)]),
        # CC3M's form: no line of names, captions first, and quotes that close nothing.
        (
            "a.tsv",
            f'a "b\t{U}\nc\t{U}\n',
            {"columns": ["caption", "url"], "caption_col": "caption"},
            [(U, 'a "b', None), (U, "c", None)],
        ),
        ("a.tsv", f"url\tcaption\n{U}\n", {"caption_col": "caption"}, [(U, "", None)]),
        # SBU's annotation in LAVIS.
        (
            "a.json",
            json.dumps([{"image": "1.jpg", "url": U, "caption": "c"}]),
            {"caption_col": "caption", "image_col": "image"},
            [(U, "c", "1.jpg")],
        ),
        # nocaps' own file.
        (
            "a.json",
            json.dumps({"images": [{"coco_url": U, "file_name": "x.jpg"}], "annotations": []}),
            {"rows": "images", "url_col": "coco_url", "image_col": "file_name"},
            [(U, None, "x.jpg")],
        ),
        ("a.jsonl", f'{{"url": "{U}", "caption": ["a", "b"]}}\n\n', {"caption_col": "caption"}, [(U, "a b", None)]),
        ("a.json", json.dumps([{"url": None}]), {}, [("", None, None)]),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_lists_are_read(
    tmp_path: Path, name: str, text: str, recipe: dict[str, Any], rows: list[object], packed: bool
) -> None:
    path = tmp_path / "list"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    name = f"{name}.gz" if packed else name
    recipe = {"format": name.split(".")[1], **recipe}
    assert list(worker.read_rows(str(path), recipe, name)) == rows


@pytest.mark.parametrize(
    ("name", "data", "recipe", "what"),
    [
        ("a.csv", b"a,b\n1,2\n", {}, "no column 'url'; it has 'a', 'b'"),
        ("a.csv", b"", {}, "no column 'url'; it has none"),
        ("a.json", b'{"images": []}', {}, "`rows` may name the key that holds them; its keys are 'images'"),
        ("a.json", b"[1]", {}, "row 0 is no object"),
        ("a.json", b"[" * 100_000, {}, "no json"),
        ("a.txt", b"\xff\xfe", {}, "not UTF-8"),
        ("a.txt.gz", b"plain", {}, "no txt"),
        ("a.jsonl", b"{", {}, "no jsonl"),
    ],
)
def test_what_is_wrong_with_a_list_is_told(
    tmp_path: Path, name: str, data: bytes, recipe: dict[str, Any], what: str
) -> None:
    path = tmp_path / "list"
    path.write_bytes(data)
    with pytest.raises(worker.ListError) as told:
        list(worker.read_rows(str(path), {"format": name.split(".")[1], **recipe}, name))
    assert what in str(told.value)


@pytest.mark.parametrize(
    ("rows", "size"),
    [(0, 100), (1, 100), (1000, 100), (6400, 100), (15_100, 1000), (64_000, 1000), (860_000, 10_000), (10**9, 10_000)],
)
def test_a_list_has_tens_of_shards_and_none_too_large(rows: int, size: int) -> None:
    assert worker.shard_size(rows) == size


def encoded(kind: str) -> bytes:
    image = pytest.importorskip("PIL.Image").new("RGB", (64, 64), (200, 100, 50))
    data = io.BytesIO()
    image.save(data, kind, **({"exif": b"Exif\0\0" + encoded("JPEG")} if kind == "MPO" else {}))
    return data.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_an_image_that_is_cut_short_is_told_from_a_whole_one(kind: str) -> None:
    data = encoded(kind)
    assert not worker.is_cut_short(data)
    assert not worker.is_cut_short(data + b"what some cameras append")
    if kind != "GIF":  # of which the decoder tells
        assert all(worker.is_cut_short(data[:end]) for end in range(len(data) // 2, len(data) - 1))


def test_a_thumbnail_s_end_is_not_the_image_s() -> None:
    small, data = encoded("JPEG"), encoded("JPEG")
    segment = b"\xff\xe1" + (len(small) + 2).to_bytes(2, "big") + small
    assert not worker.is_cut_short(data[:2] + segment + data[2:])
    assert worker.is_cut_short(data[:2] + segment + data[2:-10])


@given(st.binary(max_size=300))
def test_any_bytes_are_judged(data: bytes) -> None:
    worker.is_cut_short(b"\xff\xd8" + data)
    worker.is_cut_short(data)


# --- downloads ----------------------------------------------------------------------------------------------------


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    hub.publish("/a.jpg", b"x" * 1000)
    hub.publish("/private/b.jpg", b"y")
    with hub.serve():
        yield hub


def fetched(hub: Hub, opener: worker._Opener, path: str, timeout: float = 5) -> bytes:
    with opener.open(urllib.request.Request(hub.endpoint + path), timeout=timeout) as answer:
        return answer.read()


def test_a_host_s_robots_txt_is_asked_for_once_and_heeded(hub: Hub) -> None:
    hub.publish("/robots.txt", b"User-agent: img2dataset\nDisallow: /private\n\nUser-agent: *\nAllow: /\n")
    opener = worker._Opener()
    assert fetched(hub, opener, "/a.jpg") == b"x" * 1000
    with pytest.raises(urllib.error.URLError, match=r"robots\.txt"):
        fetched(hub, opener, "/private/b.jpg")
    assert hub.count("GET", "/robots.txt") == 1
    assert hub.count("GET", "/private") == 0


@pytest.mark.parametrize("fault", [Fault("robots.txt", times=None, drop=True), Fault("robots.txt", status=500)])
def test_a_host_that_tells_no_rules_allows_everything(hub: Hub, fault: Fault) -> None:
    hub.faults.add(fault)
    assert fetched(hub, worker._Opener(), "/private/b.jpg") == b"y"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://a.example/x", "data:image/png,x", "gopher://x", "x"])
def test_nothing_but_http_is_asked(url: str) -> None:
    with pytest.raises((OSError, ValueError)):
        worker._Opener().open(urllib.request.Request(url))


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://a.example/%C3%A9.jpg?a=%20b&c", "http://a.example/%C3%A9.jpg?a=%20b&c"),
        ("http://a.example/é ü/1%20.jpg?q=ä b&r=[1]", "http://a.example/%C3%A9%20%C3%BC/1%20.jpg?q=%C3%A4%20b&r=[1]"),
        ("http://bücher.example:81/a", "http://bücher.example:81/a"),
        ("http://a.example/a b#c", "http://a.example/a%20b#c"),
    ],
)
def test_a_url_is_sent_as_browsers_send_it(url: str, sent: str) -> None:
    assert worker.escaped(url) == sent


def test_an_image_whose_url_has_blanks_and_other_scripts_comes(hub: Hub) -> None:
    hub.publish("/b%C3%BCcher/1%20.jpg", b"x")
    assert fetched(hub, worker._Opener(), "/bücher/1 .jpg") == b"x"


def test_a_redirect_leads_to_no_file(hub: Hub) -> None:
    hub.redirect("/r.jpg", "file:///etc/passwd")
    with pytest.raises(OSError, match="file"):
        fetched(hub, worker._Opener(), "/r.jpg")


def test_a_download_has_bounds(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.faults.add(Fault("a.jpg", truncate_after=500))
    with pytest.raises((OSError, http.client.IncompleteRead)):
        fetched(hub, worker._Opener(), "/a.jpg")
    monkeypatch.setattr(worker, "_LARGEST", 999)
    with pytest.raises(OSError, match="larger than 999"):
        fetched(hub, worker._Opener(), "/a.jpg")
    monkeypatch.setattr(worker, "_LARGEST", 10_000)
    monkeypatch.setattr(worker, "_TIMEOUTS", -1)
    with pytest.raises(OSError, match="drips"):
        fetched(hub, worker._Opener(), "/a.jpg")


# --- shards -------------------------------------------------------------------------------------------------------


def test_a_shard_s_bytes_depend_on_its_members_alone(tmp_path: Path) -> None:
    row = json.dumps({"url": U, "image": "1.jpg", "sha256": "x"}).encode()
    for name, order in (("a", (0, 1)), ("b", (1, 0))):
        with tarfile.open(tmp_path / f"{name}.tar", "w") as shard:
            for number in order:
                member = tarfile.TarInfo(f"{number}.{'json' if number else 'jpg'}")
                member.size, member.mtime, member.uname = len(row), number + len(name), name
                shard.addfile(member, io.BytesIO(row))
        worker.order_shard(str(tmp_path / f"{name}.tar"))
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_a_shard_is_read_whole_and_its_images_proved(tmp_path: Path) -> None:
    import hashlib

    from assetmgr.errors import IntegrityError

    def write(**row: object) -> Path:
        path = tmp_path / "00000.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as shard:
            for name, data in (("0000.jpg", b"image"), ("0000.json", json.dumps({"url": U, **row}).encode())):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                shard.addfile(member, io.BytesIO(data))
        return path

    sha256 = hashlib.sha256(b"image").hexdigest()
    shard = read_shard(str(write(image="a/b.jpg", sha256=sha256)), originals=True)
    assert shard.pictures == (Picture("a/b.jpg", "0000.jpg", 512, 5),)
    assert shard.sha256 == hashlib.sha256((tmp_path / "00000.tar").read_bytes()).hexdigest()
    assert shard.size == (tmp_path / "00000.tar").stat().st_size
    assert read_shard(str(write(sha256="0")), originals=False).pictures[0].name == U
    for data in (write(sha256="0").read_bytes(), b"", b"x" * 2000, write(sha256=sha256).read_bytes()[:700]):
        (tmp_path / "00000.tar").write_bytes(data)
        if data:
            with pytest.raises(IntegrityError):
                read_shard(str(tmp_path / "00000.tar"), originals=True)


def test_of_images_with_one_name_the_index_has_the_first() -> None:
    pictures = [
        ("0.tar", [Picture('é"', "0.jpg", 512, 1), Picture("b", "1.jpg", 2, 3)]),
        ("1.tar", [Picture("b", "2.jpg", 4, 5)]),
    ]
    index = json.loads(b"".join(index_lines(pictures)))
    assert index["images"] == {'é"': ["0.tar", "0.jpg", 512, 1], "b": ["0.tar", "1.jpg", 2, 3]}
    assert json.loads(b"".join(index_lines([])))["images"] == {}


@pytest.mark.parametrize(
    ("status", "successes", "rows", "told"),
    [
        ({"success": 3}, 3, 3, {"success": 3}),
        ({"success": 1, "a": 2}, 1, 3, {"success": 1, "a": 2}),
        ({"success": 1}, 1, 3, {"success": 1, "other": 2}),
        (
            {"success": 0, **{str(number): 20 - number for number in range(12)}},
            0,
            174,
            {"success": 0, **{str(number): 20 - number for number in range(10)}, "other": 19},
        ),
    ],
)
def test_reasons_add_up(status: dict[str, int], successes: int, rows: int, told: dict[str, int]) -> None:
    assert reasons(status, successes, rows) == told
    assert sum(told.values()) == rows
