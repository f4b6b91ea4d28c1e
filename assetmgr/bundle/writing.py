"""Writing an image down: into a folder, where what is there already stays, or as a tar, in one go.

In either the index comes last, and in one step: until then the old bundle, or none, is there. Blobs of a folder are
copies, or share their blocks with the store's files; they are never hard links, as `assetmgr.mirrors.folder_target`
has it: a stick that is written to, a careless chmod or a flipped bit must not reach the store, nor the other way round.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Protocol

from assetmgr.bundle.places import UNFINISHED
from assetmgr.bundle.reading import LAYOUT, LAYOUT_PATH, documents_of, index_of
from assetmgr.errors import AssetError, DiskSpaceError, IntegrityError, raise_all
from assetmgr.images import Image
from assetmgr.mirrors import blob_path
from assetmgr.mirrors.folder_target import FolderTarget
from assetmgr.mirrors.pushing import HeldFile
from assetmgr.mirrors.telling import INDEX as INDEX_PATH
from assetmgr.names import is_digest
from assetmgr.placing import make_folder, remove_file, sweep_unwritten, sync_folder, write_document
from assetmgr.reporting import Reporter
from assetmgr.store import Store
from assetmgr.transfer.engine import disk_error
from assetmgr.transfer.limits import Limits

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one part: bytes that were written, those that were there, and those that were removed."""

    files: int = 0
    bytes: int = 0
    present_files: int = 0
    present_bytes: int = 0
    removed_files: int = 0
    removed_bytes: int = 0


class Target(Protocol):
    """Where one part goes. ``name`` is its path."""

    name: str

    def foretell(self, image: Image, files: Sequence[HeldFile], *, is_new: bool) -> Written:
        """What a `write` of these files would write. Nothing is changed."""

    def write(self, image: Image, files: Sequence[HeldFile], *, full: bool, is_new: bool) -> Written:
        """Write a part; its documents only where they are new.

        Raises
        ------
        IntegrityError
            When a file of the store is not what its receipt says. The old bundle stands.
        DiskSpaceError, AccessError, UsageError
        """


class FolderLayout:
    """A folder. What is there in its size is not written again."""

    def __init__(
        self, folder: str, store: Store, limits: Limits, reporter: Reporter, wait: float, before: Image | None
    ) -> None:
        self.name, self._before = folder, before
        self._blobs = os.path.join(folder, "blobs", "sha256")
        self._target = FolderTarget(folder, store, limits, reporter, wait=wait, doing="writing")

    def foretell(self, image: Image, files: Sequence[HeldFile], *, is_new: bool) -> Written:
        there = [file for file in files if self._size(file.sha256) == file.size]
        left = self._unnamed(_named(image, files))
        return Written(
            len(files) - len(there),
            _bytes(files) - _bytes(there),
            len(there),
            _bytes(there),
            *self._told(left),
        )

    def _size(self, sha256: str) -> int | None:
        with contextlib.suppress(OSError):
            status = os.lstat(os.path.join(self._blobs, sha256))
            return status.st_size if stat.S_ISREG(status.st_mode) else None
        return None

    def write(self, image: Image, files: Sequence[HeldFile], *, full: bool, is_new: bool) -> Written:
        for file in files:
            path = os.path.join(self._blobs, file.sha256)
            if os.path.islink(path):
                remove_file(path)  # what it leads to is not in the bundle
        try:
            report = self._target.put(files, full=full)
        except AssetError as error:
            self._tidy()
            raise of_bundle(error) from None
        raise_all([of_bundle(error) for error in report.errors])
        documents = documents_of(image)
        try:
            for document in documents:
                self._document(blob_path(document.sha256), document.data)
            self._document(LAYOUT_PATH, LAYOUT)
            sync_folder(self.name)
            self._document(INDEX_PATH, index_of(image))
            removed = self._prune(_named(image, files))
            for path in (LAYOUT_PATH, INDEX_PATH):
                sweep_unwritten(os.path.join(self.name, path))
            shutil.rmtree(os.path.join(self.name, UNFINISHED), ignore_errors=True)
        except OSError as error:
            raise disk_error(self.name, error) from None
        return Written(report.files, report.bytes, report.present_files, report.present_bytes, *removed)

    def _tidy(self) -> None:
        """Where nothing has arrived that a later run could go on with, leave the old bundle as it was."""
        unfinished = os.path.join(self.name, UNFINISHED)
        names = {name for _, _, files in os.walk(unfinished) for name in files}
        if names <= {"lock"}:
            shutil.rmtree(unfinished, ignore_errors=True)

    @staticmethod
    def remove(folder: str) -> None:
        """Remove a part, its index first. What is not a bundle's stays."""
        blobs = os.path.join(folder, "blobs", "sha256")
        for path in (INDEX_PATH, LAYOUT_PATH):
            remove_file(os.path.join(folder, path))
        for name in os.listdir(blobs):
            if is_digest(name, "sha256"):
                remove_file(os.path.join(blobs, name))
        with contextlib.suppress(OSError):
            for each in (blobs, os.path.dirname(blobs), folder):
                os.rmdir(each)

    def _document(self, path: str, data: bytes) -> None:
        at = os.path.join(self.name, *path.split("/"))
        with contextlib.suppress(OSError):
            if not os.path.islink(at):
                with open(at, "rb") as file:
                    if file.read(len(data) + 1) == data:
                        return
        if os.path.lexists(at) and os.name == "nt":
            os.chmod(at, stat.S_IWRITE)
        write_document(at, data, sync=True)

    def _prune(self, named: Collection[str]) -> tuple[int, int]:
        left = self._unnamed(named)
        for name, _ in left:
            remove_file(os.path.join(self._blobs, name))
        return self._told(left)

    def _told(self, left: Sequence[tuple[str, int]]) -> tuple[int, int]:
        """How many files and bytes these are, besides the old documents."""
        documents = {each.sha256 for each in documents_of(self._before)} if self._before else set()
        files = [size for name, size in left if name not in documents]
        return len(files), sum(files)

    def _unnamed(self, named: Collection[str]) -> list[tuple[str, int]]:
        """What an earlier create has put, and this one does not want."""
        try:
            with os.scandir(self._blobs) as found:
                return [
                    (each.name, each.stat(follow_symlinks=False).st_size)
                    for each in found
                    if (is_digest(each.name, "sha256") or each.name.startswith(".writing-"))
                    and each.name not in named
                    and not each.is_dir(follow_symlinks=False)
                ]
        except OSError:
            return []


class TarFile:
    """A tar: the same part gives the same bytes."""

    def __init__(self, path: str, reporter: Reporter) -> None:
        self.name, self._reporter = path, reporter
        self._temporary = os.path.join(os.path.dirname(path), f".creating-{os.path.basename(path)}")

    def foretell(self, image: Image, files: Sequence[HeldFile], *, is_new: bool) -> Written:
        return Written(len(files), _bytes(files)) if is_new else Written(0, 0, len(files), _bytes(files))

    def write(self, image: Image, files: Sequence[HeldFile], *, full: bool, is_new: bool) -> Written:
        if not is_new and not full:
            return Written(0, 0, len(files), _bytes(files))
        make_folder(os.path.dirname(self.name))
        documents = documents_of(image)
        total = _bytes(files)
        free = shutil.disk_usage(os.path.dirname(self.name)).free
        # What a killed run left is written over.
        with contextlib.suppress(OSError):
            free += os.lstat(self._temporary).st_size
        if total > free:
            raise DiskSpaceError(
                f"{self.name}: {total:,} bytes are to be written and {free:,} are free",
                mend="free some space there, or name fewer assets",
            )
        small = {LAYOUT_PATH: LAYOUT, INDEX_PATH: index_of(image)}
        small |= {blob_path(each.sha256): each.data for each in sorted(documents, key=lambda one: one.sha256)}
        try:
            remove_file(self._temporary)
            with (
                open(self._temporary, "xb") as out,
                self._reporter.progress(f"writing {self.name}", total) as bar,
            ):
                for path, data in small.items():
                    out.write(_header(path, len(data)) + data + bytes(-len(data) % tarfile.BLOCKSIZE))
                for file in sorted(files, key=lambda each: each.sha256):
                    out.write(_header(blob_path(file.sha256), file.size))
                    _copy(file, out, bar.add)
                    out.write(bytes(-file.size % tarfile.BLOCKSIZE))
                out.write(bytes(2 * tarfile.BLOCKSIZE))
                out.flush()
                os.fsync(out.fileno())
            folder = os.stat(os.path.dirname(self.name)).st_mode
            os.chmod(self._temporary, (folder & 0o444) | 0o600)
            os.replace(self._temporary, self.name)
        except OSError as error:
            raise disk_error(self.name, error) from None
        finally:
            with contextlib.suppress(OSError):
                remove_file(self._temporary)
        return Written(len(files), total)


def _header(path: str, size: int) -> bytes:
    member = tarfile.TarInfo(path)
    member.size, member.mode, member.mtime = size, 0o444, 0
    return member.tobuf(tarfile.GNU_FORMAT)


def _copy(file: HeldFile, out: IO[bytes], done: Callable[[int], object]) -> None:
    """Write a file's bytes, proved: what is not what its receipt says ends the tar."""
    digest, count = hashlib.sha256(), 0
    buffer = bytearray(_PIECE)
    view = memoryview(buffer)
    try:
        with open(file.path, "rb", buffering=0) as held:
            while got := held.readinto(buffer):
                count += got
                if count > file.size:
                    break
                digest.update(view[:got])
                _write(out, view[:got])
                done(got)
    except _WriteError as error:
        raise error.error from None
    except OSError as error:
        raise _damaged(file, f"{file.path}: {error.strerror}") from None
    if count != file.size or digest.hexdigest() != file.sha256:
        raise _damaged(file, f"{file.path} is not what it was when it was proved")


class _WriteError(Exception):
    def __init__(self, error: OSError) -> None:
        self.error = error


def _write(out: IO[bytes], data: memoryview) -> None:
    try:
        out.write(data)
    except OSError as error:
        raise _WriteError(error) from None


def _damaged(file: HeldFile, why: str) -> IntegrityError:
    return IntegrityError(
        f"{file.label}: {why}", mend=f"assetmgr verify {file.asset} --full --repair, and create the bundle again"
    )


def of_bundle(error: AssetError) -> AssetError:
    """A push's error, in the words of who makes a bundle."""
    message = error.message.replace(": not pushed: ", ": ", 1).replace("are to be pushed", "are to be written", 1)
    mend = error.mend.replace("push again", "create the bundle again").replace("push to another", "choose another")
    return type(error)(message, mend=mend)


def _named(image: Image, files: Iterable[HeldFile]) -> set[str]:
    """Every blob that an image has."""
    return {file.sha256 for file in files} | {each.sha256 for each in documents_of(image)}


def _bytes(files: Iterable[HeldFile]) -> int:
    return sum(file.size for file in files)
