"""No archive brings anything but files to safe, distinct names; each refusal names the archive and the member."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from assetmgr.archives import ArchiveLimits, ListedMember, extract, listing, read_members
from assetmgr.errors import IntegrityError
from tests.archives.building import SYMLINK, ZipPart, pax, tar_end, tar_entry, tar_header, zip_of, zip_parts
from tests.support import files_below

OUTSIDE = [
    "../x",
    "a/../../x",
    "/x",
    "//server/x",
    "C:/x",
    "c:x",
    "a\\..\\x",
    "a/./x",
    "a//x",
    "con",
    "a/NUL.txt",
    "x.",
    ".extracting-0123456789abcdef/x",
    ".Extracting-x",
    "a/.EXTRACTING-0123456789abcdef/x",
]
PAIRS = {
    "twice": ("a/x", "a/x"),
    "in another case": ("a/x", "A/X"),
    "in another Unicode form": ("caf\u00e9", "cafe\u0301"),
    "folded otherwise": ("stra\u00dfe", "STRASSE"),
    "a file under a file": ("a", "a/x"),
    "a file over a folder": ("a/x", "a"),
    "a file over a folder in another case": ("a/b/x", "A"),
}
TARS = {
    "symbolic link": tar_entry(b"evil", kind=b"2", link=b"/etc/passwd"),
    "hard link": tar_entry(b"evil", kind=b"1", link=b"../x"),
    "character device": tar_entry(b"evil", kind=b"3"),
    "block device": tar_entry(b"evil", kind=b"4"),
    "fifo": tar_entry(b"evil", kind=b"6"),
    "sparse file, old form": tar_entry(b"evil", kind=b"S"),
    "sparse file, pax 1.0": pax(GNU_sparse_major="1", GNU_sparse_realsize="99") + tar_entry(b"evil", b"x"),
    "sparse file, star": pax(SCHILY_realsize="99999") + tar_entry(b"evil", b"x"),
    "folder dump": tar_entry(b"evil", kind=b"D"),
    "multi-volume": tar_entry(b"evil", kind=b"M"),
    "volume label": tar_entry(b"evil", kind=b"V"),
    "unknown type": tar_entry(b"evil", kind=b"Z"),
    "folder with content": tar_entry(b"evil", b"content", kind=b"5"),
    "file with a folder's name": tar_entry(b"evil/", b"content"),
    "long name that climbs": tar_entry(b"l", b"../evil\0", kind=b"L") + tar_entry(b"x"),
    "pax name that climbs": pax(path="../evil") + tar_entry(b"x"),
    "pax name over a plain one": pax(path="/evil") + tar_entry(b"good", b"x"),
    "one name for all": pax(b"g", path="evil") + tar_entry(b"x"),
    "one size for all": pax(b"g", size="5") + tar_entry(b"x"),
    "pax size that is no number": pax(size="-5") + tar_entry(b"evil"),
    "pax size past the end": pax(size="999999") + tar_entry(b"evil", b"x"),
    "damaged pax": tar_entry(b"p", b"999 path=evil\n", kind=b"x") + tar_entry(b"x"),
    "pax with a zero length": tar_entry(b"p", b"0 path=evil\n", kind=b"x") + tar_entry(b"x"),
    "huge pax header": tar_header(b"p", 1 << 40, b"x"),
    "huge long name": tar_header(b"l", 1 << 40, b"L"),
    "endless extension headers": pax(path="a") * 50 + tar_entry(b"x"),
    "extension header and no member": pax(path="evil"),
    "name that is not UTF-8": tar_entry(b"ev\xffil"),
    "negative size": tar_header(b"evil", size_field=b"\xff" * 12),
    "size with a sign": tar_header(b"evil", size_field=b"-0000000001\0"),
    "size with an underscore": tar_header(b"evil", size_field=b"0000_000001\0"),
    "size past the end": tar_header(b"evil", 1 << 30) + b"x" * 512,
    "empty name": tar_entry(b""),
    "control character": tar_entry(b"ev\x1bil"),
}
_STREAM = ZipPart(b"x", b"hello").packed_data()
ZIPS = {
    "symbolic link": [ZipPart(b"evil", b"/etc/passwd", mode=SYMLINK)],
    "symbolic link with a folder's name": [ZipPart(b"evil/", b"", mode=SYMLINK)],
    "fifo": [ZipPart(b"evil", mode=stat.S_IFIFO | 0o644)],
    "device": [ZipPart(b"evil", mode=stat.S_IFBLK | 0o644)],
    "socket": [ZipPart(b"evil", mode=stat.S_IFSOCK | 0o644)],
    "encrypted": [ZipPart(b"evil", b"x", flags=1)],
    "strongly encrypted": [ZipPart(b"evil", b"x", flags=1 | 1 << 6)],
    "AES": [ZipPart(b"evil", b"x", method=99)],
    "patch": [ZipPart(b"evil", b"x", flags=1 << 5)],
    "folder with content": [ZipPart(b"evil/", b"x")],
    "folder by mode with content": [ZipPart(b"evil", b"x", mode=stat.S_IFDIR | 0o755)],
    "file with a folder's name": [ZipPart(b"evil/", b"", mode=stat.S_IFREG | 0o644)],
    "NUL that hides a suffix": [ZipPart(b"evil.txt\0.jpg", b"x")],
    "broken UTF-8": [ZipPart(b"ev\xffil", b"x", flags=1 << 11)],
    "another name before the data": [ZipPart(b"good", b"x", local_name=b"evil")],
    "another method before the data": [ZipPart(b"evil", b"x", local_method=0)],
    "another size before the data": [ZipPart(b"evil", b"x", local_size=7)],
    "smaller than it is": [ZipPart(b"evil", b"x" * 5000, size=10)],
    "larger than it is": [ZipPart(b"evil", b"x" * 10, size=5000)],
    "stored, smaller than it is": [ZipPart(b"evil", b"x" * 5000, method=0, size=10)],
    "stored, larger than it is": [ZipPart(b"evil", b"x" * 10, method=0, size=5000)],
    "sizes in a descriptor that lie": [ZipPart(b"evil", b"x" * 5000, size=10, local_size=0, flags=8)],
    "wrong crc32": [ZipPart(b"evil", b"hello", crc=1)],
    "cut off data": [ZipPart(b"evil", b"hello", packed=_STREAM[:-3], size=5)],
    "bytes after the data": [ZipPart(b"evil", b"hello", packed=_STREAM + b"hidden")],
    "no deflate at all": [ZipPart(b"evil", b"hello", packed=b"\xff" * 20)],
    "unknown method": [ZipPart(b"evil", b"x", method=9)],
    "data past the directory": [ZipPart(b"evil", b"x", method=0, packed_size=500, size=500)],
    "zip64 field cut off": [ZipPart(b"evil", b"x", size=0xFFFFFFFF, extra=b"\1\0\4\0abcd")],
}


def refused(folder: Path, data: bytes, name: str = "set.bin", match: str | None = None) -> None:
    """Neither listing nor extraction get anywhere, and nothing is written outside, nor of a refused member inside."""
    archive = folder / name
    archive.write_bytes(data)
    before = files_below(folder)
    with pytest.raises(IntegrityError, match=match) as caught:
        listing(archive)
    assert name in caught.value.message
    wish = [ListedMember(path, 1, "0" * 64) for path in ("evil", "x", "good")]
    with pytest.raises(IntegrityError):
        extract(archive, folder / "out", wish)
    assert files_below(folder) == before


@pytest.mark.parametrize("case", TARS)
def test_tar_refuses(case: str, tmp_path: Path) -> None:
    refused(tmp_path, tar_end(TARS[case]), "set.tar")


@pytest.mark.parametrize("case", ZIPS)
def test_zip_refuses(case: str, tmp_path: Path) -> None:
    refused(tmp_path, zip_parts(*ZIPS[case]))


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_name_that_leaves_its_folder_is_refused(path: str, tmp_path: Path) -> None:
    refused(tmp_path, tar_end(tar_entry(path.encode(), b"x")), match="unsafe name")
    refused(tmp_path, zip_parts(ZipPart(path.encode(), b"x")), match="unsafe name")


@pytest.mark.parametrize("case", PAIRS)
def test_two_names_for_one_place_are_refused(case: str, tmp_path: Path) -> None:
    first, second = (path.encode() for path in PAIRS[case])
    refused(tmp_path, tar_end(tar_entry(first, b"1"), tar_entry(second, b"2")))
    refused(tmp_path, zip_parts(ZipPart(first, b"1", flags=1 << 11), ZipPart(second, b"2", flags=1 << 11)))


@pytest.mark.parametrize("folder_first", [True, False])
def test_a_folder_and_a_file_of_one_name_are_refused(folder_first: bool, tmp_path: Path) -> None:
    parts = [tar_entry(b"evil/", kind=b"5"), tar_entry(b"Evil", b"x")]
    zipped = [ZipPart(b"evil/"), ZipPart(b"Evil", b"x")]
    step = 1 if folder_first else -1
    refused(tmp_path, tar_end(*parts[::step]))
    refused(tmp_path, zip_parts(*zipped[::step]))


def test_a_link_then_a_write_through_it_touches_nothing(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    link = tar_entry(b"evil", kind=b"2", link=str(target).encode())
    refused(tmp_path, tar_end(link, tar_entry(b"evil/x", b"x")), match="symbolic link")
    assert not list(target.iterdir())


def test_what_precedes_a_hostile_member_is_only_what_was_listed(tmp_path: Path) -> None:
    (tmp_path / "set.tar").write_bytes(tar_end(tar_entry(b"good", b"x"), tar_entry(b"e", kind=b"2", link=b"/etc")))
    members = read_members(tmp_path / "set.tar")
    assert next(members).path == "good"
    with pytest.raises(IntegrityError, match=r"set\.tar: 'e' is a symbolic link"):
        next(members)


DISAGREEMENTS = {
    "two end records": zip_parts(ZipPart(b"a", b"x"), comment=zip_parts(ZipPart(b"evil", b"x"))),
    "bytes before the first member": zip_parts(ZipPart(b"a", b"x", method=0), before=b"PK\3\4" + b"hidden"),
    "more entries than counted": zip_parts(ZipPart(b"a", b"x"), ZipPart(b"evil", b"x"), count=1),
    "fewer entries than counted": zip_parts(ZipPart(b"a", b"x"), count=2),
    "cut off": zip_of({"a": b"x" * 5000})[:-30],
    "bytes after the end": zip_of({"a": b"x"}) + b"hidden",
    "no header before the data": zip_of({"a": b"x", "evil": b"x"})
    .replace(b"PK\3\4", b"PK\3\3")
    .replace(b"PK\3\3", b"PK\3\4", 1),
    "a shifted directory": zip_of({"a": b"x"}).replace(b"PK\1\2", b"PK\1\2"[:3] + b"\3"),
}


@pytest.mark.parametrize("case", DISAGREEMENTS)
def test_a_zip_that_readers_disagree_about_is_refused(case: str, tmp_path: Path) -> None:
    refused(tmp_path, DISAGREEMENTS[case])


@pytest.mark.parametrize(
    "data",
    [
        tar_entry(b"x", b"x"),  # no end mark
        tar_entry(b"x", b"x" * 600)[:-512],  # cut in the content
        tar_end(tar_entry(b"x", b"x")) + tar_end(tar_entry(b"evil", b"x")),  # one tar after another
        tar_entry(b"x", b"x") + b"garbage".ljust(512) + bytes(1024),
    ],
    ids=["no end mark", "cut off", "two tars", "damaged header"],
)
def test_a_tar_that_readers_disagree_about_is_refused(data: bytes, tmp_path: Path) -> None:
    refused(tmp_path, data, "set.tar")


@pytest.mark.parametrize(
    "data", [b"", b"x", b"<!DOCTYPE html><html>", bytes(4096)], ids=["empty", "short", "html", "0"]
)
def test_what_is_no_archive_is_named_as_that(data: bytes, tmp_path: Path) -> None:
    refused(tmp_path, data, "set.zip", "is no zip, tar, gzip, xz, zstd or bzip2 file")


def test_limits_are_held(tmp_path: Path) -> None:
    for archive, data in (("s.zip", zip_of({"a": b"x" * 100, "b": b"y" * 100})),):
        (tmp_path / archive).write_bytes(data)
    (tmp_path / "s.tar").write_bytes(tar_end(tar_entry(b"a", b"x" * 100), tar_entry(b"b", b"y" * 100)))
    for archive in ("s.zip", "s.tar"):
        listing(tmp_path / archive, limits=ArchiveLimits(entries=2, total_bytes=200, member_bytes=100))
        with pytest.raises(IntegrityError, match="more than 1 entries"):
            listing(tmp_path / archive, limits=ArchiveLimits(entries=1))
        with pytest.raises(IntegrityError, match="limit of 199 bytes"):
            listing(tmp_path / archive, limits=ArchiveLimits(total_bytes=199))
        with pytest.raises(IntegrityError, match="more than the limit of 99"):
            listing(tmp_path / archive, limits=ArchiveLimits(member_bytes=99))
