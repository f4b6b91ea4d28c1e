"""What goes into an archive of any kind comes out of it: the same files, by the same listing."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assetmgr.archives import dump_listing, extract, extracted_size, listing, parse_listing, read_members
from assetmgr.digests import CHUNK, sha256_text
from assetmgr.errors import UnsafeNameError
from assetmgr.names import check_distinct, path_fault
from tests.archives.building import KINDS, build, tar_end, tar_entry, tar_of, zip_of, zstd_compress

_part = st.text(st.sampled_from("abcXYZ09 ._-+(\u00e9\u65e5\U0001f600"), min_size=1, max_size=12)
_path = st.lists(_part, min_size=1, max_size=4).map("/".join).filter(lambda path: path_fault(path) is None)
_data = st.one_of(st.binary(max_size=200), st.integers(0, 3 * CHUNK).map(lambda n: (b"0123456789abcdef" * n)[:n]))


def _distinct(files: Mapping[str, bytes]) -> bool:
    try:
        check_distinct(files)
    except UnsafeNameError:
        return False
    return True


trees = st.dictionaries(_path, _data, max_size=8).filter(_distinct)


def tree_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12)
@given(files=trees)
def test_build_list_extract_is_the_same_tree(kind: str, files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive, out = Path(folder, f"set.{kind}"), Path(folder, "out")
        archive.write_bytes(build(kind, files))
        members = listing(archive)
        assert {member.path: (member.size, member.sha256) for member in members} == {
            path: (len(data), sha256_text(data)) for path, data in files.items()
        }
        assert parse_listing(dump_listing(members), "listing") == members
        done = extract(archive, out, members)
        assert tree_of(out) == files
        assert set(done.written) == set(done.stamps) == set(files)
        assert extract(archive, out, members).written == ()
        assert extracted_size(members) == sum(map(len, files.values()))


@settings(max_examples=8)
@given(files=trees, order=st.randoms(use_true_random=False))
def test_the_listing_does_not_tell_kind_or_order(files: dict[str, bytes], order: object) -> None:
    shuffled = list(files.items())
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    documents = {
        dump_listing(listing(io.BytesIO(build(kind, given_files)), name=f"any.{kind}"))
        for kind in ("zip", "tar", "tar.xz")
        for given_files in (files, dict(shuffled))
    }
    assert len(documents) == 1


@settings(max_examples=80)
@given(data=st.binary(max_size=2000), kind=st.sampled_from(("zip", "tar", "tar.gz", "tar.xz")), seed=st.integers(0))
def test_a_damaged_archive_gives_the_right_listing_or_an_error_of_ours(data: bytes, kind: str, seed: int) -> None:
    from assetmgr.errors import IntegrityError

    files = {"a/x": data, "b": b"x" * 100}
    whole = build(kind, files)
    right = listing(io.BytesIO(whole), name=f"s.{kind}")
    at = seed % (len(whole) * 8)
    damaged = bytearray(whole)
    damaged[at // 8] ^= 1 << at % 8
    for broken in (bytes(damaged), whole[: seed % len(whole)]):
        try:
            found = listing(io.BytesIO(broken), name=f"s.{kind}")
        except IntegrityError:
            continue
        # A plain tar has no checksum over content; zip and tar leave dates and owners open to any bit.
        assert kind == "tar" or {(member.size, member.sha256) for member in found} == {
            (member.size, member.sha256) for member in right
        }


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_every_tar_dialect_are_read(form: int) -> None:
    files = {"/".join(["folder" * 5] * 6) + "/x": b"long", "y": b"short"}
    names = [member.path for member in read_members(io.BytesIO(tar_of(files, form=form)))]
    assert names == list(files)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_every_method_of_a_zip_is_read(method: int) -> None:
    data = b"some text " * 100_000
    (member,) = listing(io.BytesIO(zip_of({"x": data}, method=method)))
    assert (member.size, member.sha256) == (len(data), sha256_text(data))


def test_a_zip_written_to_a_pipe_has_its_sizes_behind_the_data() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: object) -> int:
            raise OSError("a pipe")

        def tell(self) -> int:
            raise OSError("a pipe")

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x", b"hello")
        file.writestr("y", b"world")
    assert [member.size for member in listing(io.BytesIO(pipe.getvalue()))] == [5, 5]


def test_zip64_is_read() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for number in range(66_000):
            file.writestr(zipfile.ZipInfo(f"{number}"), b"")
        with file.open("large", "w", force_zip64=True) as member:
            member.write(b"content")
    members = listing(io.BytesIO(buffer.getvalue()))
    assert len(members) == 66_001
    assert members[-1].size == 7


def test_names_without_the_utf8_flag_are_utf8_or_code_page_437() -> None:
    from tests.archives.building import ZipPart, zip_parts

    zipped = zip_parts(ZipPart("\u65e5.txt".encode(), b"1"), ZipPart("\u00e9.txt".encode("cp437"), b"2"))
    assert [member.path for member in read_members(io.BytesIO(zipped))] == ["\u65e5.txt", "\u00e9.txt"]


def test_a_leading_dot_and_folders_are_no_part_of_the_listing() -> None:
    tar = tar_end(tar_entry(b"./", kind=b"5"), tar_entry(b"./a/", kind=b"5"), tar_entry(b"./a/x", b"1"))
    assert [member.path for member in listing(io.BytesIO(tar))] == ["a/x"]
    assert [member.path for member in listing(io.BytesIO(zip_of({"a/x": b"1"}, ["a", "empty"])))] == ["a/x"]


@pytest.mark.parametrize("kind", ["gz", "xz", "bz2", "zst"])
def test_a_single_compressed_file_is_named_by_its_own_name(kind: str, tmp_path: Path) -> None:
    import bz2
    import lzma

    packers: dict[str, Callable[[bytes], bytes]] = {
        "gz": gzip.compress,
        "xz": lzma.compress,
        "bz2": bz2.compress,
        "zst": zstd_compress,
    }
    pack = packers[kind]
    partial = tmp_path / "0123abcd"
    partial.write_bytes(pack(b"first") + pack(b"second"))  # streams in a row are one
    members = listing(partial, name=f"captions.json.{kind}")
    assert [(member.path, member.size) for member in members] == [("captions.json", 11)]
    extract(partial, tmp_path / "out", members, name=f"captions.json.{kind}")
    assert (tmp_path / "out/captions.json").read_bytes() == b"firstsecond"


def test_the_kind_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    for kind in ("zip", "tar", "tar.gz", "tar.xz", "tar.bz2"):
        (tmp_path / "set.rar").write_bytes(build(kind, {"a": b"x"}))
        assert [member.path for member in listing(tmp_path / "set.rar")] == ["a"], kind


def test_gnu_tar_and_info_zip_are_read(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "a/b").mkdir(parents=True)
    files = {"a/b/caf\u00e9.txt": b"1" * 10_000, "a/" + "n" * 180: b"2", "x y": b""}
    for path, data in files.items():
        (source / path).write_bytes(data)
    (tmp_path / "gnu.tgz").touch()
    commands = {"gnu.tgz": ["tar", "-czf", "../gnu.tgz", "."], "info.zip": ["zip", "-qr", "../info.zip", "."]}
    for name, command in commands.items():
        try:
            subprocess.run(command, cwd=source, check=True)
        except FileNotFoundError:
            pytest.skip(f"no {command[0]} here")
        members = listing(tmp_path / name)
        assert {member.path: member.sha256 for member in members} == {
            path: sha256_text(data) for path, data in files.items()
        }


def test_zstd_without_its_library_says_what_to_install(tmp_path: Path) -> None:
    archive = tmp_path / "set.tar.zst"
    archive.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(100))
    code = (
        "import sys; sys.modules['compression'] = sys.modules['backports'] = None\n"
        "from assetmgr.archives import listing\n"
        f"listing({str(archive)!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError" in done.stderr
    assert "assetmgr[zstd]" in done.stderr
