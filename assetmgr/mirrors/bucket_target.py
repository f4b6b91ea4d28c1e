"""Pushing to a bucket: hashed while it is sent, and there only when all of it was right."""

from __future__ import annotations

import contextlib
import io
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

from assetmgr.carried import Carriage
from assetmgr.digests import Hasher, in_parallel
from assetmgr.errors import AssetError, IntegrityError, OriginError
from assetmgr.mirrors import blob_path
from assetmgr.mirrors.bucket import PIECE, bucket_failure, check_library, open_filesystem
from assetmgr.mirrors.pushing import HeldFile, PushReport, check_held, damaged, open_held, unique
from assetmgr.mirrors.telling import write_told
from assetmgr.reporting import Progress, Reporter
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.rate import Bucket
from assetmgr.transfer.retry import PassingError
from assetmgr.transfer.trace import tell

# What is put under a name in these is there whole or not at all. Elsewhere (sftp, smb) a name is given by a rename.
_ATOMIC = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss")
# Several parts of as many bytes are in memory for every file that moves. S3 has at most 10,000 of them in an object.
PART = 8 << 20
_PARTS_MOST = 9000
_JOBS_MOST = 4
_AGAIN = "what was pushed stays there: repeat the command when the bucket is well again"


class BucketTarget:
    def __init__(self, url: str, limits: Limits, reporter: Reporter) -> None:
        check_library(url)
        self._url, self._limits, self._reporter = url, limits, reporter
        self._atomic = url.partition(":")[0] in _ATOMIC
        self._stop = threading.Event()
        self._rate = Bucket(limits.rate, self._stop)
        self._heard = time.monotonic()
        self._patience = limits.read_timeout

    def _hear(self) -> None:
        """Take note that the bucket is alive."""
        self._heard, self._patience = time.monotonic(), self._limits.push_timeout

    def _check_pulse(self) -> None:
        """Give up where a library would go on asking a bucket that says nothing."""
        silence = time.monotonic() - self._heard
        if silence > self._patience:
            raise OriginError(f"{self._url}: nothing is heard of it for {silence:.0f} s", mend=_AGAIN)

    def put(self, files: Iterable[HeldFile], *, full: bool = False) -> PushReport:
        wanted = unique(files)
        self._heard = time.monotonic()
        filesystem, prefix = open_filesystem(self._url)
        sent: list[HeldFile] = []
        there: list[HeldFile] = []
        errors: list[AssetError] = []
        lacking: set[str] = set()
        total = sum(file.size for file in wanted)
        with self._reporter.progress(f"pushing to {self._url}", total) as bar:

            def work(file: HeldFile) -> bool | IntegrityError:
                try:
                    return self._put_one(filesystem, f"{prefix}/{blob_path(file.sha256)}", file, bar, full=full)
                except IntegrityError as error:
                    return error

            try:
                jobs = min(self._limits.jobs, _JOBS_MOST)
                for file, result in in_parallel(work, wanted, workers=jobs, waiting=self._check_pulse):
                    if isinstance(result, IntegrityError):
                        errors.append(result)
                        lacking.add(file.sha256)
                    else:
                        (sent if result else there).append(file)
            finally:
                self._stop.set()
        return PushReport(
            self._url,
            len(sent),
            sum(file.size for file in sent),
            len(there),
            sum(file.size for file in there),
            tuple(errors),
            frozenset(lacking),
        )

    def tell(self, told: Carriage) -> None:
        """What another store tells of at this very moment may be missing in the list; it stays to be had by name."""
        filesystem, prefix = open_filesystem(self._url)

        def read(path: str) -> bytes | None:
            try:
                data: bytes = filesystem.cat_file(f"{prefix}/{path}")
            except FileNotFoundError:
                return None
            return data

        def write(path: str, data: bytes) -> None:
            if not self._atomic:
                filesystem.makedirs(f"{prefix}/{path}".rpartition("/")[0], exist_ok=True)
            filesystem.pipe_file(f"{prefix}/{path}", data)

        try:
            write_told(told, read, write)
        except AssetError:
            raise
        except Exception as error:  # noqa: BLE001 - every library raises what it likes
            raise self._told(error) from None

    def _told(self, error: Exception) -> AssetError:
        failure = bucket_failure(self._url, error)
        if isinstance(failure, PassingError):
            failure = OriginError(f"{self._url}: {failure}", mend=_AGAIN)
        failure.mend = failure.mend or _AGAIN
        return failure

    def _put_one(self, filesystem: Any, path: str, file: HeldFile, bar: Progress, *, full: bool) -> bool:
        """Send one file; False where it is there already."""
        try:
            if self._holds(filesystem, path, file, full=full):
                bar.add(file.size)
                return False
            final, begun = path, time.monotonic()
            if not self._atomic:
                path = f"{path.rpartition('/')[0]}/.pushing-{secrets.token_hex(8)}"
                filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._send(filesystem, path, file, bar)
            if path != final:
                filesystem.mv(path, final)
            told, seconds = f"{self._url}/{blob_path(file.sha256)}", time.monotonic() - begun
            tell("PUT", told, "sent", size=file.size, seconds=seconds, whose="mirror")
            return True
        except AssetError:
            raise
        except Exception as error:  # noqa: BLE001 - every library raises what it likes
            raise self._told(error) from None
        finally:
            self._hear()

    def _holds(self, filesystem: Any, path: str, file: HeldFile, *, full: bool) -> bool:
        try:
            if filesystem.info(path).get("size") != file.size:
                return False
        except FileNotFoundError:
            return False
        self._hear()
        if not full:
            return True
        hasher = Hasher()
        while hasher.count < file.size and not self._stop.is_set():
            data = filesystem.cat_file(path, start=hasher.count, end=min(hasher.count + PART, file.size))
            if not data:
                break
            hasher.update(data)
            self._hear()
        return hasher.digests()["sha256"] == file.sha256

    def _send(self, filesystem: Any, path: str, file: HeldFile, bar: Progress) -> None:
        hasher = Hasher()
        with open(open_held(file), "rb", buffering=0) as source:
            pieces = self._read(source, file, hasher)
            if file.size <= PIECE:
                data = b"".join(pieces)
                check_held(file, hasher)
                filesystem.pipe_file(path, data)
                bar.add(len(data))
                return
            upload = filesystem.open(path, "wb", block_size=max(PART, -(-file.size // _PARTS_MOST)))
            try:
                # The end of it is held back until the whole is seen to be right.
                kept = b""
                for data in pieces:
                    upload.write(kept)
                    bar.add(len(kept))
                    self._hear()
                    kept = data
                check_held(file, hasher)
                upload.write(kept)
                bar.add(len(kept))
                upload.close()
            except BaseException:
                _abandon(upload)
                if not self._atomic:
                    with contextlib.suppress(Exception):
                        filesystem.rm_file(path)
                raise

    def _read(self, source: io.RawIOBase, file: HeldFile, hasher: Hasher) -> Iterator[bytes]:
        """The bytes of a file as the rate allows, and no more than show that it is too long."""
        while hasher.count <= file.size:
            try:
                data = source.read(self._rate.portion(PIECE))
            except OSError as error:
                raise damaged(file, f"{file.path}: {error.strerror}") from None
            if not data:
                return
            if self._stop.is_set():
                raise OriginError(f"{self._url}: stopped")
            if self._rate.take(len(data)):
                self._hear()  # it is we who are silent
            hasher.update(data)
            yield data


def _abandon(upload: Any) -> None:
    """Give an upload up so that nothing of it appears, not even when it is collected."""
    with contextlib.suppress(Exception):
        upload.discard()
    with contextlib.suppress(Exception):
        upload.closed = True
