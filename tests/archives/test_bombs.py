"""A bomb costs a bounded number of bytes, of memory and of disk, and is named as one."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from assetmgr.archives import ArchiveLimits, ListedMember, extract, listing
from assetmgr.errors import IntegrityError
from tests.archives.building import ZipPart, tar_end, tar_entry, tar_header, zip_of, zip_parts, zstd_compress
from tests.support import files_below

MEBI = 1 << 20
TIGHT = ArchiveLimits(ratio=100, ratio_from=MEBI)
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "zst": zstd_compress,
}


def stopped(archive: Path, limits: ArchiveLimits = TIGHT, match: str = "bomb", peak: int = 12 * MEBI) -> None:
    with pytest.raises(IntegrityError, match=match):
        listing(archive, limits=limits)
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError, match=match):
            extract(archive, archive.parent / "out", [ListedMember(archive.stem, 1 << 40, "0" * 64)], limits=limits)
        assert tracemalloc.get_traced_memory()[1] < peak
    finally:
        tracemalloc.stop()
    assert files_below(archive.parent) == {archive.name}


@pytest.mark.parametrize("kind", PACKERS)
def test_a_single_file_that_explodes_is_stopped(kind: str, tmp_path: Path) -> None:
    archive = tmp_path / f"data.{kind}"
    archive.write_bytes(PACKERS[kind](bytes(32 * MEBI)))
    stopped(archive)


@pytest.mark.parametrize("kind", PACKERS)
def test_a_single_file_past_the_limit_of_size_is_stopped(kind: str, tmp_path: Path) -> None:
    archive = tmp_path / f"data.{kind}"
    archive.write_bytes(PACKERS[kind](bytes(2 * MEBI)))
    stopped(archive, ArchiveLimits(member_bytes=MEBI), "limit of 1048576 bytes")


@pytest.mark.parametrize("kind", PACKERS)
def test_a_tar_that_explodes_is_stopped(kind: str, tmp_path: Path) -> None:
    archive = tmp_path / f"data.tar.{kind}"
    archive.write_bytes(PACKERS[kind](tar_end(tar_entry(b"data.tar", bytes(32 * MEBI)))))
    with pytest.raises(IntegrityError, match="bomb"):
        listing(archive, limits=TIGHT)


def test_endless_zeros_after_a_tar_are_stopped(tmp_path: Path) -> None:
    archive = tmp_path / "data.tar.gz"
    archive.write_bytes(gzip.compress(tar_end(tar_entry(b"x", b"x")) + bytes(32 * MEBI)))
    stopped(archive)


def test_endless_empty_streams_cost_their_own_bytes_only(tmp_path: Path) -> None:
    archive = tmp_path / "data.gz"
    archive.write_bytes(gzip.compress(b"") * 5000 + gzip.compress(b"end"))
    (member,) = listing(archive)
    assert (member.path, member.size) == ("data", 3)


def test_a_zip_of_a_huge_ratio_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    archive = tmp_path / "data.zip"
    archive.write_bytes(zip_of({"data": bytes(32 * MEBI)}))
    stopped(archive)


def test_a_zip_that_hides_its_ratio_is_stopped_at_the_size_it_claims(tmp_path: Path) -> None:
    archive = tmp_path / "data.zip"
    archive.write_bytes(zip_parts(ZipPart(b"data", bytes(32 * MEBI), size=1000)))
    stopped(archive, match="holds more than the 1000|the listing says")


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """As in zbsm.zip of D. Fifield, "A better zip bomb": many names in the directory, one run of data."""
    kernel = ZipPart(b"data", bytes(MEBI))
    archive = tmp_path / "data.zip"
    archive.write_bytes(zip_parts(kernel, *(ZipPart(b"%d" % n, bytes(MEBI), packed=b"", offset=0) for n in range(50))))
    stopped(archive, ArchiveLimits(), "overlaps")


def test_a_member_quoted_inside_another_is_refused(tmp_path: Path) -> None:
    inner = zip_parts(ZipPart(b"b", b"x" * 100, method=0))[: 30 + 1 + 100]
    outer = ZipPart(b"a", inner, method=0)
    quoted = ZipPart(b"b", b"x" * 100, method=0, packed=b"", packed_size=100, offset=31)
    archive = tmp_path / "data.zip"
    archive.write_bytes(zip_parts(outer, quoted))
    stopped(archive, ArchiveLimits(), "overlaps")


def test_an_extra_field_that_reaches_into_the_next_member_is_refused(tmp_path: Path) -> None:
    data = bytearray(zip_parts(ZipPart(b"data", b"x" * 50, method=0), ZipPart(b"b", b"y")))
    data[28:30] = (40).to_bytes(2, "little")  # the local header's extra field, which the directory does not show
    archive = tmp_path / "data.zip"
    archive.write_bytes(data)
    stopped(archive, ArchiveLimits(), "overlaps what follows|the listing says")


def test_a_tar_header_that_claims_much_takes_no_memory(tmp_path: Path) -> None:
    archive = tmp_path / "data.tar"
    archive.write_bytes(tar_header(b"data", size_field=b"\x80" + (1 << 39).to_bytes(11, "big")) + b"x" * 512)
    stopped(archive, match="cut off|the listing says", peak=MEBI)


def test_a_window_larger_than_the_limit_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "data.xz"
    archive.write_bytes(lzma.compress(b"x" * 100, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 512 * MEBI}]))
    stopped(archive, ArchiveLimits(), "[Mm]emory")


def test_honest_text_passes_the_default_limits(tmp_path: Path) -> None:
    data = b"\n".join(b'{"image": %d, "caption": "a man riding a horse"}' % n for n in range(50_000))
    archive = tmp_path / "data.json.gz"
    archive.write_bytes(gzip.compress(data))
    (member,) = listing(archive)
    assert member.size == len(data)
    assert zlib.crc32(data)
