"""What receipts prove, by the names under which it is asked for: blobs, hub repos, assets.

A catalog is made anew whenever the folder of receipts has changed, and never changed itself: who answers from one
while the next is made answers from what was true a moment ago. What of it is dear, a receipt parsed and its files by
name, is kept as long as the receipt's document stays the same.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from assetmgr.carried import carriage, dump_carriage
from assetmgr.errors import AssetError
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.receipt import Receipt, Stamp
from assetmgr.server.answers import Held
from assetmgr.store import Layout, Store
from assetmgr.uses import use_path

# Seconds for which a folder's time cannot tell two changes apart, on the coarsest file systems.
_COARSE = 2.0
# Seconds after which a folder that was changed just before it was read is read again.
_AGAIN = 0.25
# Documents of assets that are kept, the last that were asked for.
_DOCUMENTS_MOST = 4


@dataclass(frozen=True, slots=True)
class Shelf:
    """One receipt, and what it proves.

    Attributes
    ----------
    blobs
        Each sha256, with the name relative to the root under which its bytes stand, and their stamp.
    listings
        The sha256 of the listings that the entry names.
    digest
        Of the entry: it takes a while where there are many files.
    """

    receipt: Receipt
    layout: Layout
    files: tuple[LockedFile, ...]
    stamps: Sequence[Stamp | None]
    blobs: Mapping[str, int]
    listings: frozenset[str]
    digest: str
    use: str

    @property
    def entry(self) -> LockedAsset:
        return self.receipt.entry


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of a hub repo: the receipts that speak of it, those of the last pull in front."""

    sha: str
    shelves: tuple[Shelf, ...]
    files: Mapping[str, tuple[Shelf, int]]

    @property
    def is_whole(self) -> bool:
        """Whether every file of the commit is held: some receipt is of all."""
        return any(shelf.entry.allow_patterns is None and not shelf.entry.ignore_patterns for shelf in self.shelves)


@dataclass(frozen=True, slots=True)
class Repo:
    """A hub repo as far as it is held: commits by their digest, and what branches and tags were pinned to."""

    kind: str
    id: str
    commits: Mapping[str, Commit]
    revisions: Mapping[str, str]

    def commit(self, revision: str) -> Commit | None:
        plain = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        sha = self.revisions.get(revision) or self.revisions.get(plain) or revision
        return self.commits.get(sha)


@dataclass(frozen=True, slots=True)
class Catalog:
    """All that is given out.

    Attributes
    ----------
    number
        Which one it is, counted from the server's start.
    shelves
        The receipts, the last pulled in front.
    assets
        By name, the receipt that a name means: the one pulled last.
    """

    number: int
    store: Store
    shelves: tuple[Shelf, ...]
    assets: Mapping[str, Shelf]
    repos: Mapping[tuple[str, str], Repo]
    _verified: dict[str, Held] = field(default_factory=dict)
    _documents: dict[str, bytes] = field(default_factory=dict)
    _making: threading.Lock = field(default_factory=threading.Lock)

    def held(self, shelf: Shelf, at: int) -> Held | None:
        """One file of a receipt; None where it was never proved, or was found damaged."""
        stamp = shelf.stamps[at]
        if stamp is None:
            return None
        file = shelf.files[at]
        path = self.store.at(shelf.layout.name(file))
        return Held(path, stamp, f"{shelf.entry.name}: {file.path}", _mend(shelf), shelf.use)

    def blob(self, sha256: str) -> Held | None:
        """A file or a listing of this sha256, by a receipt that proves it: one that still fits, where there is one."""
        found = None
        for shelf in self.shelves:
            at = shelf.blobs.get(sha256)
            held = self._listing(shelf, sha256) if at is None else self.held(shelf, at)
            if held is None:
                continue
            found = found or held
            with contextlib.suppress(OSError):
                if held.stamp.fits(os.stat(held.path)):
                    return held
        return found

    def _listing(self, shelf: Shelf, sha256: str) -> Held | None:
        if sha256 not in shelf.listings:
            return None
        path = self.store.listing(sha256)
        try:
            status = os.stat(path)
        except OSError:
            return None
        known = self._verified.get(sha256)
        if known is None or not known.stamp.fits(status):
            if self.store.read_listing(sha256) is None:
                return None
            known = Held(path, Stamp.of(status), f"{shelf.entry.name}: a listing", _mend(shelf))
            self._verified[sha256] = known
        return known

    def document(self, name: str) -> bytes | None:
        """What another assetmgr needs of an asset besides the bytes; None where something that it requires lacks.

        It is made once for all who ask at the same time: of many files, it is large.

        Raises
        ------
        AssetError
            When what is installed does not fit together.
        """
        with self._making:
            document = self._documents.pop(name, None)
            if document is None:
                receipts = self.closure(name)
                if receipts is None:
                    return None
                document = dump_carriage(carriage(receipts))
            self._documents[name] = document
            while len(self._documents) > _DOCUMENTS_MOST:
                del self._documents[next(iter(self._documents))]
            return document

    def closure(self, name: str) -> list[Receipt] | None:
        """The receipts of an asset and of all that it requires, each as its own lock named it; None where one lacks."""
        wanted = [self.assets[name]] if name in self.assets else []
        found: dict[str, Receipt] = {}
        while wanted:
            shelf = wanted.pop()
            found.setdefault(shelf.entry.name, shelf.receipt)
            for other in shelf.entry.requires:
                if other in found:
                    continue
                digest = shelf.receipt.pins.get(other)
                pinned = (each for each in self.shelves if each.entry.name == other and each.digest == digest)
                required = next(pinned, None) or self.assets.get(other)
                if required is None:
                    return None
                wanted.append(required)
        return list(found.values()) or None


class Catalogs:
    """The catalog of now."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folder = os.path.join(store.state, "receipts")
        self._kept: dict[str, tuple[tuple[int, int, int], Shelf | None]] = {}
        self._lock = threading.Lock()
        self._seen: tuple[int, int] | None = (0, 0)  # as no folder is
        self._settled = False
        self._made = -_AGAIN
        self._catalog = Catalog(0, store, (), {}, {})

    def now(self) -> Catalog:
        """The catalog, made anew where receipts came, went or changed."""
        if self.is_current():
            return self._catalog
        with self._lock:
            if not self.is_current():
                self._make()
            return self._catalog

    def is_current(self, number: int | None = None) -> bool:
        """Whether the folder of receipts is as it was, by a look at its status, when the catalog of a number was made.

        ``number`` is by default that of the last one.
        """
        if number not in (None, self._catalog.number):
            return False
        if self._seen != self._version():
            return False
        return self._settled or time.monotonic() - self._made < _AGAIN

    def look_again(self) -> None:
        """Read the folder of receipts at the next look, whatever its time says."""
        self._seen = (0, 0)

    def _version(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._folder)
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino

    def _make(self) -> None:
        self._made = time.monotonic()
        seen = self._version()
        self._settled = seen is None or abs(time.time() - seen[0] / 1e9) > _COARSE
        kept: dict[str, tuple[tuple[int, int, int], Shelf | None]] = {}
        for file in self._store.receipt_files():
            with contextlib.suppress(OSError):
                status = os.stat(os.path.join(self._folder, file))
                version = status.st_mtime_ns, status.st_size, status.st_ino
                before = self._kept.get(file)
                kept[file] = before if before is not None and before[0] == version else (version, self._shelf(file))
        changed = {file: each[0] for file, each in kept.items()} != {file: each[0] for file, each in self._kept.items()}
        self._kept, self._seen = kept, seen
        if not changed and self._catalog.number:
            return
        shelves = sorted((shelf for _, shelf in kept.values() if shelf), key=lambda each: -each.receipt.pulled_at)
        assets: dict[str, Shelf] = {}
        for shelf in shelves:
            assets.setdefault(shelf.entry.name, shelf)
        number = self._catalog.number + 1
        self._catalog = Catalog(number, self._store, tuple(shelves), dict(sorted(assets.items())), _repos(shelves))

    def _shelf(self, file: str) -> Shelf | None:
        receipt = self._store.receipt_in(file)
        if receipt is None:
            return None
        try:
            found = self._store.contents(receipt.entry)
        except AssetError:
            return None
        files, stamps = found.files, tuple(found.of_receipt(receipt.stamps))
        blobs = {one.sha256: at for at, one in enumerate(files) if one.sha256 and stamps[at] is not None}
        digest = receipt.entry.digest()
        return Shelf(
            receipt,
            Layout(receipt.entry),
            files,
            stamps,
            blobs,
            frozenset(_listings(receipt.entry)),
            digest,
            use_path(self._store, receipt, digest),
        )


def _listings(entry: LockedAsset) -> Iterator[str]:
    if entry.listing is not None:
        yield entry.listing
    for file in entry.files:
        if file.extract is not None and file.extract.listing is not None:
            yield file.extract.listing


def _repos(shelves: Sequence[Shelf]) -> dict[tuple[str, str], Repo]:
    grouped: dict[tuple[str, str], dict[str, list[Shelf]]] = {}
    revisions: dict[tuple[str, str], dict[str, str]] = {}
    for shelf in shelves:
        entry = shelf.entry
        if entry.origin != "hub":
            continue
        key = entry.kind, entry.repo
        grouped.setdefault(key, {}).setdefault(entry.commit, []).append(shelf)
        if entry.revision != entry.commit:
            revisions.setdefault(key, {}).setdefault(entry.revision, entry.commit)
    return {
        key: Repo(*key, {sha: _commit(sha, found) for sha, found in commits.items()}, revisions.get(key, {}))
        for key, commits in grouped.items()
    }


def _commit(sha: str, shelves: Sequence[Shelf]) -> Commit:
    files: dict[str, tuple[Shelf, int]] = {}
    for shelf in shelves:
        for at, file in enumerate(shelf.files):
            other = files.get(file.path)
            if other is None or (other[0].stamps[other[1]] is None and shelf.stamps[at] is not None):
                files[file.path] = shelf, at
    return Commit(sha, tuple(shelves), files)


def _mend(shelf: Shelf) -> str:
    return f"on the server: assetmgr verify {shelf.entry.name} --repair"
