"""The caches of one run: which of them are there, what of a size they hold, and what came from them."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from assetmgr.caches.known import Cache
from assetmgr.caches.places import blob_names, places
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.store import Store

# Seconds in which a cache must show that it is there: one on a share that is gone may never answer.
_PATIENCE = 5.0


class Candidate(NamedTuple):
    """A file of a cache that has the right size.

    ``real`` is where it really is; ``is_inside`` tells whether that is in the cache itself: no link leads out of it.
    """

    path: str
    status: os.stat_result
    cache: str
    real: str
    is_inside: bool


@dataclass(frozen=True, slots=True)
class CacheReport:
    """What a run took from one cache, and how many files it holds that are not what their names say."""

    cache: str
    linked_files: int = 0
    linked_bytes: int = 0
    copied_files: int = 0
    copied_bytes: int = 0
    wrong_files: int = 0


class LocalCaches:
    """Caches in the order in which they are looked into. Thread-safe once it has been asked.

    Parameters
    ----------
    caches
        As `known_caches` has them. Those that are a part of the store are left out: that is looked into anyway.
    say
        Told of a cache that does not answer.
    look
        Asks the system for a folder's status.
    """

    def __init__(
        self,
        caches: Iterable[Cache] = (),
        store: Store | None = None,
        *,
        say: Callable[[str], object] = lambda text: None,
        look: Callable[[str], os.stat_result] = os.stat,
        patience: float = _PATIENCE,
    ) -> None:
        self._known, self._store, self._say = tuple(caches), store, say
        self._look, self._patience = look, patience
        self._opened: list[tuple[Cache, str]] | None = None
        self._folders: dict[str, bool] = {}
        self._real_folders: dict[str, str] = {}
        self._lock = threading.Lock()
        self._reports: dict[str, CacheReport] = {}
        self._wrong: set[str] = set()

    def candidates(self, entry: LockedAsset, file: LockedFile) -> list[Candidate]:
        """The files that may be this one, as far as can be told without reading them. A size below 0 is not known."""
        found: dict[tuple[int, int], Candidate] = {}
        for cache, real in self._caches():
            for place in places(cache.kind, entry, file):
                path = f"{cache.folder}/{place}" if os.sep == "/" else os.path.join(cache.folder, *place.split("/"))
                status = self._status(path)
                if status is None or path in self._wrong:
                    continue
                if stat.S_ISREG(status.st_mode) and file.size in (status.st_size, -1):
                    at = self._real(path)
                    one = Candidate(path, status, cache.folder, at, at.startswith(real + os.sep))
                    found.setdefault((status.st_dev, status.st_ino), one)
        return list(found.values())

    def tree_listings(self, entry: LockedAsset) -> list[str]:
        """Where caches may have huggingface_hub's own listing of a commit."""
        trees = LockedFile(f"trees/{entry.commit}.json", -1)
        found = []
        for cache, _ in self._caches():
            for place in places(cache.kind, entry, trees):
                head, snapshots, _ = place.partition("/snapshots/")
                if snapshots:
                    found.append(f"{cache.folder}/{head}/{trees.path}")
        return found

    def _status(self, path: str) -> os.stat_result | None:
        """The status of a file in a folder that is there; whether it is, is asked once."""
        folder = os.path.dirname(path)
        is_there = self._folders.get(folder)
        if is_there is None:
            is_there = self._folders[folder] = os.path.isdir(folder)
        if is_there:
            with contextlib.suppress(OSError, ValueError):
                return os.stat(path)
        return None

    def _real(self, path: str) -> str:
        """Where a file really is. Of many files in one folder, that folder's own way is walked once."""
        if os.path.islink(path):
            return os.path.realpath(path)
        folder, name = os.path.split(path)
        if folder not in self._real_folders:
            self._real_folders[folder] = os.path.realpath(folder)
        return os.path.join(self._real_folders[folder], name)

    def _caches(self) -> Sequence[tuple[Cache, str]]:
        """The caches that are there, each with its real path."""
        if self._opened is None:
            there = self._that_answer()
            own = [os.path.realpath(self._store.at(part)) for part in _OWN] if self._store else []
            opened: dict[tuple[str, str], tuple[Cache, str]] = {}
            for cache in there:
                real = os.path.realpath(cache.folder)
                if not any(real == folder or real.startswith(folder + os.sep) for folder in own):
                    opened.setdefault((real, cache.kind), (cache, real))
            self._opened = list(opened.values())
        return self._opened

    def _that_answer(self) -> list[Cache]:
        """The caches that are folders. Each is asked by a thread of its own, which may be left behind."""
        answers: dict[str, bool] = {}

        def ask(folder: str) -> None:
            try:
                answers[folder] = stat.S_ISDIR(self._look(folder).st_mode)
            except (OSError, ValueError):
                answers[folder] = False

        threads = {
            cache.folder: threading.Thread(target=ask, args=(cache.folder,), daemon=True) for cache in self._known
        }
        for thread in threads.values():
            thread.start()
        until = time.monotonic() + self._patience
        for folder, thread in threads.items():
            thread.join(max(0.0, until - time.monotonic()))
            if folder not in answers:
                self._say(f"{folder} does not answer, and is not looked into")
        return [cache for cache in self._known if answers.get(cache.folder)]

    # --- what came of it -------------------------------------------------------------------------------------------

    def took(self, candidate: Candidate, size: int, *, linked: bool) -> None:
        """Count a file that proved equal, and was linked or copied."""
        with self._lock:
            old = self._reports.get(candidate.cache, CacheReport(candidate.cache))
            self._reports[candidate.cache] = (
                replace(old, linked_files=old.linked_files + 1, linked_bytes=old.linked_bytes + size)
                if linked
                else replace(old, copied_files=old.copied_files + 1, copied_bytes=old.copied_bytes + size)
            )

    def passed_over(self, candidate: Candidate, file: LockedFile, fault: str) -> None:
        """Note that a candidate is another file: it is not looked at again."""
        with self._lock:
            if candidate.path in self._wrong:
                return
            self._wrong.add(candidate.path)
            # By any other name it may well be another file; and what cannot be read may be right.
            if fault == "altered" and os.path.basename(candidate.path) in blob_names(file):
                old = self._reports.get(candidate.cache, CacheReport(candidate.cache))
                self._reports[candidate.cache] = replace(old, wrong_files=old.wrong_files + 1)

    def report(self) -> tuple[CacheReport, ...]:
        """What came from each cache that gave something, or holds something wrong."""
        with self._lock:
            return tuple(self._reports.values())


# What of the store another tool's variables may point at; each may be a link to elsewhere.
_OWN = ("", "hub", "torch", "clip", "lavis")
