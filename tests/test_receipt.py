"""A receipt carries all that is needed to use what it names, and a damaged one is told from a good one."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr.errors import AssetError, IntegrityError, LockVersionError
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.receipt import Receipt, Stamp, asset_of, dump_receipt, parse_receipt, receipt_name
from tests.test_lock import NAME, few, locked_assets

NUMBER = st.integers(0, 2**62)
STAMPS = st.none() | st.builds(Stamp, NUMBER, NUMBER, NUMBER, NUMBER)


@st.composite
def receipts(draw: st.DrawFn) -> Receipt:
    entry = draw(locked_assets(draw(NAME)))
    return Receipt(
        entry=entry,
        stamps=tuple(draw(STAMPS) for _ in range(entry.count)),
        pulled_at=draw(NUMBER),
        use=draw(st.dictionaries(st.text(max_size=4), st.text(max_size=4) | st.lists(st.integers(-9, 9)), max_size=2)),
        endpoint=draw(st.none() | st.just("https://hub.example")),
        local_dirs=tuple(draw(st.lists(st.just("/somewhere/else"), max_size=2))),
        wanted_by=tuple(draw(st.lists(st.just("/project/assets.yaml"), max_size=1))),
        tree=draw(STAMPS),
    )


@few
@given(receipts())
def test_what_is_written_is_what_is_read(receipt: Receipt) -> None:
    assert parse_receipt(dump_receipt(receipt), "receipt") == receipt


@few
@given(receipts(), st.data())
def test_a_damaged_receipt_is_a_receipt_or_an_integrity_error(receipt: Receipt, data: st.DataObject) -> None:
    document = bytearray(dump_receipt(receipt))
    at = data.draw(st.integers(0, len(document)))
    document[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    refusal: AssetError | None = None
    found = receipt
    try:
        found = parse_receipt(bytes(document), "receipt")
    except (IntegrityError, LockVersionError) as error:
        refusal = error
    if refusal is not None:
        assert refusal.message.startswith("receipt: ")
        assert refusal.mend
    assert len(found.stamps) == found.entry.count


@few
@given(receipts(), st.integers(0, 10**6))
def test_a_receipt_that_was_cut_off_is_damaged(receipt: Receipt, at: int) -> None:
    whole = dump_receipt(receipt).rstrip()
    with pytest.raises(IntegrityError, match="damaged receipt"):
        parse_receipt(whole[: at % len(whole)], "receipt")


def receipt(*stamps: Stamp | None, version: int = 1) -> Receipt:
    files = tuple(LockedFile(f"f{n}", 1, "a" * 64, place="files") for n in range(len(stamps)))
    entry = LockedAsset("model", "files", "d", files, "m")
    return Receipt(entry=entry, stamps=stamps, pulled_at=1000, version=version)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000 + b"]" * 100_000, b'{"entry": "\xff"}'])
def test_what_is_no_receipt_is_damaged(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="damaged receipt"):
        parse_receipt(data, "receipt")


def test_a_newer_receipt_is_not_damaged_but_newer() -> None:
    with pytest.raises(LockVersionError, match="version 2"):
        parse_receipt(dump_receipt(receipt(version=2)), "receipt")


def test_a_receipt_has_a_stamp_for_every_file() -> None:
    good = receipt(None, None)
    for stamps in ((), (None,), (None, None, None)):
        with pytest.raises(IntegrityError, match=f"{len(stamps)} stamps for 2 files"):
            parse_receipt(dump_receipt(msgspec.structs.replace(good, stamps=stamps)), "receipt")


NOW = Stamp(1, 2, 3, 500)


@pytest.mark.parametrize(
    ("stamps", "complete", "proved_at"),
    [
        ((), True, 1000),
        ((NOW,), True, 500),
        ((NOW, msgspec.structs.replace(NOW, proved_at=400)), True, 400),
        ((NOW, None), False, None),
        ((None,), False, None),
    ],
)
def test_the_oldest_proof_counts_and_none_while_one_is_lacking(
    stamps: tuple[Stamp | None, ...], complete: bool, proved_at: int | None
) -> None:
    assert (receipt(*stamps).complete, receipt(*stamps).proved_at()) == (complete, proved_at)


def test_a_stamp_fits_until_size_time_or_inode_change(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    status = file.stat()
    stamp = Stamp(status.st_size, status.st_mtime_ns, status.st_ino, 0)
    assert stamp.fits(os.stat(file))
    os.utime(file, ns=(0, status.st_mtime_ns + 1))
    assert not stamp.fits(os.stat(file))
    file.write_bytes(b"abcd")
    os.utime(file, ns=(0, status.st_mtime_ns))
    assert not stamp.fits(os.stat(file)), "the size"
    (tmp_path / "other").write_bytes(b"abc")
    os.utime(tmp_path / "other", ns=(0, status.st_mtime_ns))
    assert not stamp.fits(os.stat(tmp_path / "other")), "the inode"


@given(NAME)
def test_a_receipts_name_tells_its_asset_and_is_one_file_name(name: str) -> None:
    file = receipt_name(name, "0" * 64)
    assert asset_of(file) == name
    assert "/" not in file


def test_names_that_differ_in_slashes_have_receipts_of_their_own() -> None:
    names = ["a/b", "a%2Fb", "a-b", "a+b", "A/b"]
    assert len({receipt_name(name, "0" * 64).lower() for name in names[:4]}) == 4


@pytest.mark.parametrize("file", ["x.json", "m@abc", ".writing-x", "m@abc.json.holder", ""])
def test_another_file_is_no_receipt(file: str) -> None:
    assert asset_of(file) is None
