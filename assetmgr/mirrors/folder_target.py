"""Pushing to a folder: over the transfer engine, so that a killed push goes on inside a file.

Blobs are copies, never hard links into the store: who damages a file of one, by a flipped byte or a careless chmod,
must not damage the other, and a mirror is what a damaged store is mended from.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
from collections.abc import Iterable
from pathlib import Path

from assetmgr.carried import Carriage
from assetmgr.digests import hash_file, in_parallel, sha256_text
from assetmgr.errors import AccessError, AssetError, DiskSpaceError, IntegrityError, OriginError, UsageError
from assetmgr.mirrors import blob_path
from assetmgr.mirrors.pushing import HeldFile, PushReport, store_fault, unique
from assetmgr.mirrors.telling import write_told
from assetmgr.mutex import held
from assetmgr.placing import make_folder, place, remove_file, sync_folder, write_document
from assetmgr.reporting import Reporter
from assetmgr.store import Store
from assetmgr.transfer.engine import Engine, disk_error
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.source import Source, Task

# So many files, or bytes, are made durable at once before they get their names.
_BATCH = 2048
_BATCH_BYTES = 1 << 30


def _blocking(path: str) -> str | None:
    """What stands, on the way to a folder, where a folder would have to: a file, or a link that leads nowhere."""
    for part in (*reversed(Path(path).parents), Path(path)):
        if os.path.lexists(part) and not os.path.isdir(part):
            return str(part)
    return None


class FolderTarget:
    def __init__(
        self,
        folder: str,
        store: Store,
        limits: Limits,
        reporter: Reporter,
        *,
        wait: float = 3600.0,
        doing: str = "pushing to",
    ) -> None:
        self._folder, self._limits, self._reporter, self._wait = folder, limits, reporter, wait
        # Two stores that push to one share never write one partial file.
        own = sha256_text(f"{socket.gethostname()}\n{os.path.realpath(store.root)}")[:16]
        self._partials = os.path.join(folder, ".pushing", own)
        self._purpose = f"{doing} {folder}"

    def put(self, files: Iterable[HeldFile], *, full: bool = False) -> PushReport:
        try:
            make_folder(self._partials)
            make_folder(os.path.dirname(self._final("0" * 64)))
            with held(Path(self._partials, "lock"), self._purpose, wait=self._wait, say=self._reporter.say):
                return self._put(unique(files), full=full)
        except OSError as error:
            raise self._fault(disk_error(self._folder, error)) from None

    def tell(self, told: Carriage) -> None:
        purpose = f"telling of assets in {self._folder}"
        try:
            with held(Path(self._folder, ".pushing", "told.lock"), purpose, wait=self._wait, say=self._reporter.say):
                write_told(told, self._note, lambda path, data: write_document(self._at(path), data))
        except OSError as error:
            raise self._fault(disk_error(self._folder, error)) from None

    def _at(self, path: str) -> str:
        return os.path.join(self._folder, *path.split("/"))

    def _note(self, path: str) -> bytes | None:
        try:
            with open(self._at(path), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def _fault(self, error: AssetError) -> AssetError:
        """What is wrong with the target, with a mend that speaks of it and not of the store."""
        code = error.__cause__.errno if isinstance(error.__cause__, OSError) else None
        if code == errno.EFBIG:
            return error
        if isinstance(error, DiskSpaceError):
            return DiskSpaceError(error.message, mend="make room there and push again: it goes on where it was")
        for path in (self._partials, os.path.dirname(self._final("0" * 64))):
            if (blocking := _blocking(path)) is not None:
                return UsageError(
                    f"mirror {self._folder}: {blocking} is no folder", mend="move it away, or push to another folder"
                )
        mend = f"see who owns {self._folder} and may write there, or push to another folder"
        if code in (errno.EACCES, errno.EPERM, errno.EROFS):
            return AccessError(error.message, mend=mend)
        error.mend = mend
        return error

    def _final(self, sha256: str) -> str:
        return self._at(blob_path(sha256))

    def _put(self, files: list[HeldFile], *, full: bool) -> PushReport:
        present = {
            file.sha256 for file, is_there in in_parallel(lambda file: self._holds(file, full), files) if is_there
        }
        errors: list[AssetError] = []
        lacking: set[str] = set()
        todo = []
        for each in files:
            if each.sha256 in present:
                continue
            if os.path.isdir(final := self._final(each.sha256)) and not os.path.islink(final):
                lacking.add(each.sha256)
                errors.append(
                    IntegrityError(
                        f"{each.label}: not pushed: a folder stands at {blob_path(each.sha256)} of {self._folder}",
                        mend=f"move {final} away, and push again",
                    )
                )
            else:
                todo.append(each)
        self._check_room(sum(file.size for file in todo))
        sent: list[HeldFile] = []
        arrived: list[tuple[Task, HeldFile]] = []
        waiting = 0
        tasks = (
            Task(
                file.label,
                (Source(Path(file.path).as_uri()),),
                os.path.join(self._partials, file.sha256),
                file.size,
                file.sha256,
                key=file,
            )
            for file in todo
        )
        total = sum(file.size for file in todo)
        with (
            Engine(self._limits) as engine,
            self._reporter.progress(self._purpose, total) as bar,
        ):
            for outcome in engine.fetch(tasks, bar.add):
                file, error = outcome.task.key, outcome.error
                assert isinstance(file, HeldFile)
                if error is None:
                    arrived.append((outcome.task, file))
                    waiting += file.size
                    if len(arrived) >= _BATCH or waiting >= _BATCH_BYTES:
                        sent += self._place(arrived)
                        waiting = 0
                elif isinstance(error, (OriginError, AccessError, IntegrityError)):
                    with contextlib.suppress(OSError):
                        remove_file(outcome.task.partial)
                    errors.append(store_fault(file, error))
                    lacking.add(file.sha256)
                else:
                    raise self._fault(error)
            sent += self._place(arrived)
        there = [file for file in files if file.sha256 in present]
        return PushReport(
            self._folder,
            len(sent),
            sum(file.size for file in sent),
            len(there),
            sum(file.size for file in there),
            tuple(errors),
            frozenset(lacking),
        )

    def _place(self, arrived: list[tuple[Task, HeldFile]]) -> list[HeldFile]:
        """Give what arrived its name, once it is sure to be on the disk: a stick may be pulled out at any moment."""
        placed = [file for _, file in arrived]
        if arrived:
            sync_folder(self._partials)
        for task, file in arrived:
            place(task.partial, self._final(file.sha256), sync=False)
        arrived.clear()
        return placed

    def _holds(self, file: HeldFile, full: bool) -> bool:
        path = self._final(file.sha256)
        try:
            if not os.path.isfile(path) or os.path.getsize(path) != file.size:
                return False
            return not full or hash_file(path)[1]["sha256"] == file.sha256
        except OSError:
            return False

    def _check_room(self, size: int) -> None:
        free = shutil.disk_usage(self._folder).free
        if size > free:
            raise DiskSpaceError(
                f"{self._folder}: {size:,} bytes are to be pushed and {free:,} are free",
                mend="free some space there, or name fewer assets",
            )
