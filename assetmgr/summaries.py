"""Short forms of long documents: what a look needs of locks and receipts that name 100,000 files.

A lock or a receipt of so many files takes longer to read than a look may take, and to ask for the status of each file
takes longer still. What was read and seen once is kept in the store, under ``.assetmgr/summaries/``, for as long as
the document has the same inode, size and times. It can always be made anew: one that is damaged, or cannot be written,
costs time and nothing else. Short documents are read whole, each time.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from assetmgr.digests import sha256_text
from assetmgr.errors import AssetError, LockError
from assetmgr.lock import Lock, LockedAsset, LockedFile
from assetmgr.placing import write_document
from assetmgr.receipt import Receipt
from assetmgr.store import Layout, State, Store

LARGEST = 10
"""How many files of an entry a summary keeps: its largest."""
LONG = 1 << 20
"""Bytes of documents (some 5,000 files) up to which they are read whole, and every file is looked at."""
SETTLED = 2.0
"""Seconds for which nothing may have changed: a change within one tick of a file system's clock cannot be seen."""
_FORMAT = 1


class Version(msgspec.Struct, frozen=True, array_like=True):
    """What tells one state of a document or a folder from another."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Version:
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def is_settled(self) -> bool:
        """Whether its last change lies so far back that another one would show."""
        return time.time() - max(self.mtime_ns, self.ctime_ns) / 1e9 > SETTLED


class EntrySummary(msgspec.Struct, frozen=True):
    """A lock entry, of whose files only the largest are there.

    Attributes
    ----------
    digest, count, size
        Those of the whole entry.
    """

    entry: LockedAsset
    digest: str
    count: int
    size: int


class Seen(msgspec.Struct, frozen=True):
    """That every file of a receipt fitted its stamp, when that was (Unix seconds), and the folders they lay in."""

    at: int
    folders: dict[str, Version]


class ReceiptSummary(msgspec.Struct, frozen=True):
    """A receipt, of whose files only the largest are there, with the stamps of these.

    Attributes
    ----------
    of
        The entry's summary. Its ``files`` are such as stand in the store: members in place of archives.
    receipt
        The receipt; its ``entry`` is that of ``of``.
    proved_at
        Of the whole receipt.
    """

    of: EntrySummary
    receipt: Receipt
    proved_at: int | None
    seen: Seen | None = None


def summarise_entry(entry: LockedAsset) -> EntrySummary:
    largest = tuple(heapq.nlargest(LARGEST, entry.files, key=lambda file: file.size))
    short = entry if len(entry.files) <= LARGEST else msgspec.structs.replace(entry, files=largest)
    return EntrySummary(short, entry.digest(), entry.count, entry.size)


# --- locks ------------------------------------------------------------------------------------------------------------


class _KeptLock(msgspec.Struct):
    version: Version
    assets: dict[str, EntrySummary]
    format: int = _FORMAT


def lock_summaries(store: Store, path: Path, lock: Lock | None = None) -> Mapping[str, EntrySummary] | None:
    """The entries of a long lock, as they were summarised. None: it is short, or not there, or not summarised yet.

    With ``lock``, which was read from there just now, its summaries are made, and kept for the next look.
    """
    kept = _kept(store, f"lock-{sha256_text(os.path.realpath(path))[:32]}")
    try:
        version = Version.of(os.stat(path))
    except OSError:
        return None
    if version.size <= LONG:
        return None if lock is None else _entries(lock)
    if lock is None:
        with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
            found = msgspec.json.decode(Path(kept).read_bytes(), type=_KeptLock)
            if found.version == version and found.format == _FORMAT:
                return found.assets
        return None
    assets = _entries(lock)
    if version.is_settled():
        _keep(store, kept, _KeptLock(version, assets))
    return assets


def _entries(lock: Lock) -> dict[str, EntrySummary]:
    return {name: summarise_entry(entry) for name, entry in lock.assets.items()}


# --- receipts ---------------------------------------------------------------------------------------------------------


class _KeptReceipts(msgspec.Struct):
    receipts: dict[str, tuple[Version, msgspec.Raw]]
    format: int = _FORMAT


SightState = Literal["installed", "unproved", "incomplete", "damaged"]


class Sight(msgspec.Struct, frozen=True):
    """What a look at an asset in the store has found.

    Attributes
    ----------
    state
        ``installed``, ``unproved`` (there, and to be hashed once), ``incomplete`` or ``damaged``.
    looked_at
        When every file was looked at (Unix seconds): now, or at an earlier look.
    not_looked_at
        How many files were not looked at since: all but the largest ones. The folders of all were.
    """

    state: SightState
    looked_at: int
    not_looked_at: int = 0


class Receipts:
    """The receipts of a store, by the names of their documents, as far as a look needs them.

    Parameters
    ----------
    files
        The documents that this look is about. Where they are short together, all is read and looked at.
    check
        Look at every file, however many there are.
    """

    def __init__(self, store: Store, files: Iterable[str], *, check: bool = False) -> None:
        self._store = store
        self._folder = os.path.join(store.state, "receipts")
        self._versions: dict[str, Version] = {}
        for file in files:
            with contextlib.suppress(OSError):
                self._versions[file] = Version.of(os.stat(os.path.join(self._folder, file)))
        self._is_long = sum(version.size for version in self._versions.values()) > LONG
        self._check = check
        self._found: dict[str, ReceiptSummary | None] = {}
        self._fresh: dict[str, ReceiptSummary] = {}
        self._old: dict[str, tuple[Version, msgspec.Raw]] | None = None

    def __contains__(self, file: str) -> bool:
        return file in self._versions

    def get(self, file: str) -> ReceiptSummary | None:
        """The summary of a receipt; None where there is none that can be read."""
        if file not in self._found:
            self._found[file] = self._kept(file) or self._read(file) if file in self._versions else None
        return self._found[file]

    def whole(self, file: str) -> Receipt | None:
        """The receipt with all its files."""
        return self._store.receipt_in(file)

    def _kept(self, file: str) -> ReceiptSummary | None:
        if not self._is_long:
            return None
        if self._old is None:
            self._old = {}
            with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
                found = msgspec.json.decode(Path(self._document).read_bytes(), type=_KeptReceipts)
                if found.format == _FORMAT:
                    self._old = found.receipts
        version, data = self._old.get(file, (None, None))
        if data is None or version != self._versions[file]:
            return None
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            return msgspec.json.decode(data, type=ReceiptSummary)
        return None

    @property
    def _document(self) -> str:
        return _kept(self._store, "receipts")

    def _read(self, file: str) -> ReceiptSummary | None:
        receipt = self.whole(file)
        return None if receipt is None else self._summarise(file, receipt)

    def _summarise(self, file: str, receipt: Receipt, seen: Seen | None = None) -> ReceiptSummary:
        entry, stamps = receipt.entry, receipt.stamps
        of = summarise_entry(entry)
        if entry.count > LARGEST:
            with contextlib.suppress(LockError):
                found = self._store.contents(entry)
                placed, known = found.files, found.of_receipt(stamps)
                best = heapq.nlargest(LARGEST, range(len(placed)), key=lambda number: placed[number].size)
                files, stamps = tuple(placed[number] for number in best), tuple(known[number] for number in best)
                of = msgspec.structs.replace(of, entry=msgspec.structs.replace(of.entry, files=files))
        short = msgspec.structs.replace(receipt, entry=of.entry, stamps=stamps)
        summary = ReceiptSummary(of, short, receipt.proved_at(), seen)
        if self._is_long and self._versions[file].is_settled():
            self._fresh[file] = summary
        return summary

    # --- looking ------------------------------------------------------------------------------------------------------

    def look(self, file: str) -> Sight:
        """Say what state an asset is in, by its files' names and stamps.

        Of an asset with many files in a large store only the largest are looked at, and the folders of all: while no
        folder changed since every file was looked at, no file came, went or was replaced.
        """
        summary = self.get(file)
        assert summary is not None
        if self._is_long and not self._check and summary.seen is not None and self._still(summary, summary.seen):
            return Sight("installed", summary.seen.at, max(0, summary.of.count - len(summary.of.entry.files)))
        now = int(time.time())
        receipt = self.whole(file)
        if receipt is None:
            return Sight("damaged", now)
        before = self._folders(receipt) if self._is_long else {}
        state = state_of(self._store, receipt)
        is_whole = bool(before) and state == "installed" and before == self._folders(receipt)
        if is_whole and all(version.is_settled() for version in before.values()):
            self._found[file] = self._summarise(file, receipt, Seen(now, before))
        return Sight(state, now)

    def _still(self, summary: ReceiptSummary, seen: Seen) -> bool:
        """Whether nothing shows that the files are not as they were when all were looked at."""
        try:
            if any(Version.of(os.stat(self._store.at(name))) != version for name, version in seen.folders.items()):
                return False
        except OSError:
            return False
        states = self._store.survey(summary.of.entry, summary.receipt.stamps)
        return all(state is State.PROVED for state in states)

    def _folders(self, receipt: Receipt) -> dict[str, Version]:
        """The folders that hold the files of a receipt, by their names in the store; empty where one is not there."""
        layout = Layout(receipt.entry)
        try:
            files = self._store.contents(receipt.entry).files
            names = {layout.prefix(file.place) + file.path.rpartition("/")[0] for file in files}
            names |= {layout.bytes(files[0]).rpartition("/")[0]} if layout.repo and files else set()
            return {name.rstrip("/"): Version.of(os.stat(self._store.at(name.rstrip("/")))) for name in names}
        except (OSError, LockError):
            return {}

    def keep(self) -> None:
        """Keep what was found out, for the next look. Where the store may not be written, it is found out again."""
        if self._fresh:
            old = self._old or {}
            there = {name: kept for name, kept in old.items() if os.path.exists(os.path.join(self._folder, name))}
            fresh = {
                file: (self._versions[file], msgspec.Raw(msgspec.json.encode(summary)))
                for file, summary in self._fresh.items()
            }
            _keep(self._store, self._document, _KeptReceipts({**there, **fresh}))
            self._fresh = {}


def state_of(store: Store, receipt: Receipt) -> SightState:
    """The state of an asset by a look at every file."""
    try:
        contents = store.contents(receipt.entry)
    except LockError:
        return "damaged"
    states = set(store.survey(contents.placed, contents.of_receipt(receipt.stamps)))
    if states & {State.MISSING, State.UNLINKED} or receipt.pulled_at <= 0:
        return "incomplete"
    if contents.unlisted or not receipt.complete:
        return "damaged"
    return "unproved" if State.UNPROVED in states else "installed"


def _kept(store: Store, name: str) -> str:
    return os.path.join(store.state, "summaries", f"{name}.json")


def _keep(store: Store, path: str, document: msgspec.Struct) -> None:
    if os.path.isdir(store.state):
        with contextlib.suppress(OSError, AssetError):
            write_document(path, msgspec.json.encode(document), sync=False)


def largest(files: Sequence[LockedFile], most: int) -> list[LockedFile]:
    """Some of many files: the largest; all in their order, where they are few."""
    return list(files) if len(files) <= most else heapq.nlargest(most, files, key=lambda file: file.size)
