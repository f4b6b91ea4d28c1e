"""Extraction: from an archive and its listing to proved files at their final names.

A file is written under a temporary name in the same folder tree, hashed as it is written, compared with the listing,
and only then renamed. So whatever ends a run, each final name holds either what it held before or the whole, right
file; and the next run writes only what is missing.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import re
import secrets
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from assetmgr.archives.folders import Tree
from assetmgr.archives.formats import Archive, open_archive
from assetmgr.archives.limits import ArchiveLimits
from assetmgr.archives.listings import ListedMember, check_members, chosen, dump_listing
from assetmgr.archives.members import STAGE_PREFIX, Member
from assetmgr.archives.source import Seekable
from assetmgr.digests import CHUNK, hash_descriptor, in_parallel, sha256_text
from assetmgr.errors import DiskSpaceError, IntegrityError
from assetmgr.owners import give
from assetmgr.placing import file_mode
from assetmgr.receipt import Stamp

_NAMED_IN_MESSAGE = 5
_SYNCED_EACH = 32
_STAGE = re.compile(re.escape(STAGE_PREFIX) + "[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Extracted:
    """What became of an extraction.

    Attributes
    ----------
    stamps
        One for each listed path, for the receipt.
    written
        The paths that were written now; the others were there and right.
    """

    stamps: Mapping[str, Stamp]
    written: tuple[str, ...]


def extract(
    archive: str | os.PathLike[str] | Seekable,
    folder: str | os.PathLike[str],
    listing: Sequence[ListedMember],
    *,
    strip: int = 0,
    prefix_filter: str | None = None,
    stamps: Mapping[str, Stamp] | None = None,
    name: str | None = None,
    limits: ArchiveLimits | None = None,
    workers: int | None = None,
    progress: Callable[[int], object] | None = None,
    proved: Callable[[str, Stamp], object] | None = None,
) -> Extracted:
    """Bring the listed members of an archive below a folder, and prove each.

    What is there and right stays: by its stamp, or else by hashing it. The archive is opened only when something is
    missing. Members that are not listed are not written. One folder can take several archives, one after another;
    who runs two processes on one folder holds a lock around each.

    Parameters
    ----------
    listing
        From `listing` with the same ``strip`` and ``prefix_filter``, or a part of it.
    stamps
        From a receipt: files whose stamp fits are not read.
    name
        See `open_archive`.
    workers
        How many members of a zip are unpacked at once; by default one a processor. Other archives allow one.
    progress
        Called with numbers of bytes that add up to the listing's, as files are proved or written; by any thread.
    proved
        Called with each path and its stamp, in the caller's thread, also before an error: for who keeps a receipt of
        what is in place after a failure.

    Raises
    ------
    IntegrityError
        When members are missing in the archive or are not what the listing says (all others are in place then), when
        the archive is damaged or hostile, or when a link or folder stands in the way.
    DiskSpaceError
        When the disk is full. What is in place stays.
    """
    check_members(listing)
    with Tree(folder) as tree:
        run = _Run(tree, {member.path: member for member in listing}, progress or (lambda size: None))
        run.proved = proved or run.proved
        run.keep_right_ones(stamps or {}, workers)
        if run.missing:
            with open_archive(archive, limits, name=name) as opened, run.staging(opened.name):
                run.bring(opened, chosen(opened, strip, prefix_filter), workers)
    return Extracted(run.stamps, tuple(sorted(run.written)))


def extract_member(
    archive: str | os.PathLike[str] | Seekable, folder: str | os.PathLike[str], member: ListedMember, **options: Any
) -> Stamp:
    """Mend one file from its archive, with the options of `extract`. Of a zip only the directory and it are read."""
    return extract(archive, folder, (member,), **options).stamps[member.path]


def sweep_stages(folder: str | os.PathLike[str]) -> None:
    """Remove what killed extractions left half-written in a folder. Only for who holds the folder's lock."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as items:
        for item in items:
            if _STAGE.fullmatch(item.name) and item.is_dir(follow_symlinks=False):
                with Tree(folder) as tree:
                    tree.empty(item.name)


@dataclass(slots=True)
class _Run:
    """The state of one extraction."""

    tree: Tree
    listed: dict[str, ListedMember]
    progress: Callable[[int], object]
    proved: Callable[[str, Stamp], object] = lambda path, stamp: None
    stamps: dict[str, Stamp] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    missing: dict[str, ListedMember] = field(default_factory=dict)
    stage: str = ""
    prefix: str = ""
    sync_each: bool = True
    numbers: Iterator[int] = field(default_factory=itertools.count)
    stopped: threading.Event = field(default_factory=threading.Event)

    # --- what is there already -------------------------------------------------------------------------------------

    def keep_right_ones(self, stamps: Mapping[str, Stamp], workers: int | None) -> None:
        unproved = []
        for path, member in self.listed.items():
            found, stamp = self.tree.status(path), stamps.get(path)
            if found is None or not stat.S_ISREG(found.st_mode) or found.st_size != member.size:
                self.missing[path] = member
            elif stamp is not None and stamp.fits(found):
                self._keep(path, stamp)
                self.progress(member.size)
            else:
                unproved.append(member)
        for member, proof in in_parallel(self._prove, unproved, workers=workers):
            if proof is None:
                self.missing[member.path] = member
            else:
                self._keep(member.path, proof)
                self.progress(member.size)

    def _keep(self, path: str, stamp: Stamp) -> None:
        self.stamps[path] = stamp
        self.proved(path, stamp)

    def _prove(self, member: ListedMember) -> Stamp | None:
        descriptor = self.tree.open_file(member.path)
        try:
            _, digests = hash_descriptor(descriptor)
            found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        return Stamp.of(found) if digests["sha256"] == member.sha256 and found.st_size == member.size else None

    # --- what is missing -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def staging(self, archive: str) -> Iterator[None]:
        """A folder for files that are not whole yet, on the same file system. One that a killed run left is emptied."""
        self.stage = f"{STAGE_PREFIX}{sha256_text(dump_listing(self.listed.values()))[:16]}"
        self.prefix = secrets.token_hex(8)
        # Many files are synced at once, before their stamps are used: one by one, 5,000 small ones take four times as
        # long (measured, ext4).
        self.sync_each = len(self.missing) <= _SYNCED_EACH or not hasattr(os, "sync")
        try:
            self.tree.empty(self.stage)
            self.tree.folder(self.stage, make=True)
            try:
                yield
            finally:
                # Ctrl-C does not wait for it: after a power cut, a stamp fits no file that was not written.
                hurried = isinstance(sys.exc_info()[1], KeyboardInterrupt)
                if self.written and not self.sync_each and not hurried:
                    os.sync()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            rest = sum(member.size for member in self.missing.values())
            raise DiskSpaceError(
                f"{archive}: {self.tree.root}: {error.strerror}; {rest} more bytes are to be extracted there",
                mend="free some space and repeat the command; what is extracted stays",
            ) from None
        finally:
            self.stopped.set()
            self.tree.empty(self.stage)

    def bring(self, archive: Archive, members: Iterable[tuple[str, Member]], workers: int | None) -> None:
        faults: list[IntegrityError] = []
        for path, result in self._results(archive, members, workers):
            if isinstance(result, IntegrityError):
                faults.append(result)
                del self.missing[path]
                continue
            del self.missing[path]
            self._keep(path, result)
            self.written.append(path)
            if not self.missing:
                break
        if self.missing:
            some = ", ".join(map(repr, itertools.islice(self.missing, _NAMED_IN_MESSAGE)))
            faults.append(
                IntegrityError(
                    f"{archive.name}: {len(self.missing)} files of its listing are not in it: {some}",
                    mend="it is another archive than the one that was locked: fetch it again",
                )
            )
        if len(faults) == 1:
            raise faults[0]
        if faults:
            first = "; ".join(fault.message for fault in faults[:_NAMED_IN_MESSAGE])
            raise IntegrityError(f"{first}; {len(faults)} faults in all", mend=faults[0].mend)

    def _results(
        self, archive: Archive, members: Iterable[tuple[str, Member]], workers: int | None
    ) -> Iterator[tuple[str, Stamp | IntegrityError]]:
        def work(item: tuple[str, Member]) -> Stamp | IntegrityError:
            path, member = item
            try:
                return self._write(archive.name, self.listed[path], member)
            except _NotAsListed as fault:
                return fault.error
            except IntegrityError as error:
                # A zip's other members are not worse for it; a stream cannot be read on.
                if not archive.independent:
                    raise
                return error

        wanted = (item for item in members if item[0] in self.missing)
        if archive.independent:
            return ((path, result) for (path, _), result in in_parallel(work, wanted, workers=workers))
        return ((item[0], work(item)) for item in wanted)

    def _write(self, archive: str, listed: ListedMember, member: Member) -> Stamp:
        if member.size is not None and member.size != listed.size:
            _differs(archive, member.path, f"has {member.size} bytes, the listing says {listed.size}")
        reader = member.open()
        stage = self.tree.folder(self.stage)
        name = f"{self.prefix}-{next(self.numbers)}"
        descriptor = self.tree.create(stage, name)
        try:
            with open(descriptor, "wb", buffering=0) as file:
                digest, count, shown = hashlib.sha256(), 0, 0
                while data := reader.read(CHUNK):
                    count += len(data)
                    if count > listed.size:
                        _differs(archive, member.path, f"has more than the {listed.size} bytes that the listing says")
                    if self.stopped.is_set():
                        raise InterruptedError("the extraction was stopped")
                    digest.update(data)
                    while data:
                        data = data[file.write(data) :]
                    self.progress(count - shown)
                    shown = count
                if count != listed.size or digest.hexdigest() != listed.sha256:
                    found_is = f"{count} bytes with sha256 {digest.hexdigest()}"
                    _differs(archive, member.path, f"is {found_is}; the listing says {listed.size}, {listed.sha256}")
                # The folder is held while its descriptor is used: it is closed with the last who holds it.
                folder = self.tree.folder(listed.path.rpartition("/")[0], make=True)
                around = folder.path if folder.descriptor is None else folder.descriptor
                give(file.fileno(), around)
                mode = file_mode(around)
                os.chmod(file.fileno() if os.chmod in os.supports_fd else stage.entry(name), mode)
                if self.sync_each:
                    os.fsync(file.fileno())
                found = os.fstat(file.fileno())
            self.tree.move(stage, name, listed.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(stage.entry(name), dir_fd=stage.descriptor)
            raise
        return Stamp.of(found)


class _NotAsListed(Exception):
    """A member that came out whole, and is another than the listing's. Never leaves this module."""

    def __init__(self, error: IntegrityError) -> None:
        super().__init__(error)
        self.error = error


def _differs(archive: str, member: str, what: str) -> NoReturn:
    raise _NotAsListed(
        IntegrityError(
            f"{archive}: {member!r} {what}",
            mend="it was not kept; the archive is another than the one that was locked: fetch it again",
        )
    )
