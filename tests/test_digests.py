"""Digests are those that everybody else computes, in one pass, whatever the pieces; and many files at once."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetmgr.digests import CHUNK, Hasher, hash_descriptor, hash_file, in_parallel, sha256_text

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    ("algorithm", "data", "digest"),
    [
        ("sha256", b"", EMPTY_SHA256),
        ("sha256", b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("md5", b"abc", "900150983cd24fb0d6963f7d28e17f72"),
        ("git_sha1", b"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),  # git hash-object /dev/null
        ("git_sha1", b"hello\n", "ce013625030ba8dba906f756967f9e9ca394464a"),
        ("crc32c", b"123456789", "e3069283"),  # the check value of CRC-32C's definition
        ("crc32c", bytes(32), "8a9136aa"),  # RFC 3720, B.4
    ],
)
def test_known_values(algorithm: str, data: bytes, digest: str, tmp_path: Path) -> None:
    if algorithm == "crc32c":
        pytest.importorskip("google_crc32c")
    (tmp_path / "file").write_bytes(data)
    assert hash_file(tmp_path / "file", [algorithm], size=len(data)) == (len(data), {algorithm: digest})


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_the_pieces_do_not_matter(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    hasher = Hasher(["sha256", "md5", "git_sha1"], size=len(whole))
    for piece in pieces:
        hasher.update(piece)
    assert hasher.count == len(whole)
    assert hasher.digests() == {
        "sha256": hashlib.sha256(whole).hexdigest(),
        "md5": hashlib.md5(whole).hexdigest(),
        "git_sha1": hashlib.sha1(b"blob %d\0" % len(whole) + whole).hexdigest(),
    }


def test_a_git_digest_needs_the_size_beforehand() -> None:
    with pytest.raises(ValueError, match="size"):
        Hasher(["git_sha1"])


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_progress_adds_up_at_every_chunk_border(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(bytes(size))
    steps: list[int] = []
    count, digests = hash_file(tmp_path / "file", progress=steps.append)
    assert count == sum(steps) == size
    assert digests["sha256"] == hashlib.sha256(bytes(size)).hexdigest()


def test_a_descriptor_is_hashed_from_its_start_and_stays_open(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        os.read(descriptor, 2)
        assert hash_descriptor(descriptor)[1]["sha256"] == sha256_text("abc")
        os.fstat(descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("workers", [None, 1, 3, 50])
def test_every_item_comes_out_once(workers: int | None) -> None:
    assert sorted(in_parallel(lambda n: n * n, range(20), workers=workers)) == [(n, n * n) for n in range(20)]


def test_nothing_to_do_is_done() -> None:
    assert list(in_parallel(str, [])) == []


@pytest.mark.parametrize("workers", [1, 4])
def test_a_failure_in_a_worker_is_raised_to_the_caller(workers: int) -> None:
    def work(number: int) -> int:
        if number == 3:
            raise OSError(5, "input/output error")
        return number

    with pytest.raises(OSError, match="input/output"):
        list(in_parallel(work, range(6), workers=workers))


def test_workers_work_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=20)
    assert len(list(in_parallel(lambda _: meeting.wait(), range(3), workers=3))) == 3


def test_no_item_is_begun_after_the_caller_stopped() -> None:
    begun: list[int] = []
    gate = threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        if number:
            gate.wait(20)
        return number

    results = in_parallel(work, range(100), workers=2)
    assert next(results)[0] == 0
    results.close()  # type: ignore[attr-defined]
    gate.set()
    for thread in threading.enumerate():
        if thread.daemon and thread is not threading.current_thread() and "run" in thread.name:
            thread.join(20)
    assert len(begun) <= 4
