"""Where the bytes of an asset are: in the store, in folders and caches, and on which mirrors. Nothing is fetched."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from assetmgr.caches.known import known_caches
from assetmgr.errors import AssetError, LockError, NotLockedError
from assetmgr.inventory import Inventory
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.network import Network
from assetmgr.receipt import Receipt, asset_of
from assetmgr.store import NEW_STORE, Layout, Store
from assetmgr.view_records import read_view

if TYPE_CHECKING:
    from assetmgr.mirrors import Mirror
    from assetmgr.transfer.limits import Limits
    from assetmgr.transfer.wire import Wire

_ASKERS = 8
"""How many questions are under way at once, for each mirror."""

_FAILURES = 3
"""Questions without an answer after which a mirror is asked no more."""

MirrorState = Literal["whole", "part", "none", "unreachable", "not asked"]


class MirrorWhereabouts(msgspec.Struct, frozen=True):
    """What one mirror says that it has, by sha256 and size: a mirror's word, which only a pull proves.

    ``files`` of the ``asked`` ones are there, with ``bytes``. ``state`` is ``whole``, ``part`` or ``none`` (of what was
    asked); ``unreachable``; or ``not asked``, where it is not on this machine and the network is forbidden. ``why``
    says what went wrong, or what ended the asking.
    """

    mirror: str
    state: MirrorState
    files: int = 0
    bytes: int = 0
    asked: int = 0
    why: str = ""


class FolderWhereabouts(msgspec.Struct, frozen=True):
    """A folder of this machine with some of the files.

    ``kind`` is ``store`` (the asset's own place), ``local_dir``, ``asset`` (another of the same store that has equal
    bytes; ``name`` is its name) or ``hub cache`` (huggingface_hub's own, by the names in its snapshot).
    """

    kind: Literal["store", "local_dir", "asset", "hub cache"]
    path: str
    files: int
    name: str = ""


class Whereabouts(msgspec.Struct, frozen=True):
    """Where an asset is, as `whereis` shows it. ``files`` and ``bytes`` count its distinct contents."""

    name: str
    state: str
    files: int
    bytes: int
    folders: tuple[FolderWhereabouts, ...]
    mirrors: tuple[MirrorWhereabouts, ...]


def whereabouts(inventory: Inventory, store: Store, network: Network, name: str, *, timeout: float) -> Whereabouts:
    """See `Workspace.whereis`."""
    known = inventory.known(name)
    if known.locked is None and known.file is None:
        inventory.check_known(name)
        raise NotLockedError(
            f"{name}: not locked, so that nothing says which files it has", mend=f"assetmgr lock {name}"
        )
    entry, receipt = inventory.whole(known)
    files = _distinct(store, entry)
    (status,) = inventory.status_of([known])
    folders = list(_in_store(store, receipt, status.path, files))
    folders += _in_hub_cache(store, entry)
    mirrors = ask_mirrors(network, list(files.values()), timeout)
    size = sum(max(file.size, 0) for file in files.values())
    return Whereabouts(name, status.state, len(files), size, tuple(folders), mirrors)


def _distinct(store: Store, entry: LockedAsset) -> dict[str, LockedFile]:
    """The contents of an asset by sha256, largest first: its files, archives among them, and their members."""
    members: Sequence[LockedFile] = ()
    with contextlib.suppress(LockError):
        members = store.contents(entry).files
    pinned = [file for file in (*entry.files, *members) if file.sha256 is not None]
    pinned.sort(key=lambda file: file.size, reverse=True)
    found: dict[str, LockedFile] = {}
    for file in pinned:
        found.setdefault(file.sha256 or "", file)
    return found


# --- on this machine --------------------------------------------------------------------------------------------------


class _ShortFile(msgspec.Struct, gc=False):
    sha256: str | None = None


class _ShortEntry(msgspec.Struct):
    files: list[_ShortFile]


class _ShortReceipt(msgspec.Struct):
    """A receipt as far as it is read here: of 100,000 files each field counts."""

    entry: _ShortEntry


_SHORT = msgspec.json.Decoder(_ShortReceipt)


def _in_store(store: Store, own: Receipt | None, path: str, files: Mapping[str, LockedFile]) -> list[FolderWhereabouts]:
    found = []
    if own is not None:
        proved = sum(stamp is not None for stamp in own.stamps)
        found.append(FolderWhereabouts("store", path, proved))
        for folder in own.local_dirs:
            shown: Sequence[object] = ()
            with contextlib.suppress(AssetError):
                shown = [one for one in read_view(store, folder).files.values() if own.entry.name in one.owners]
            found.append(FolderWhereabouts("local_dir", folder, len(shown) if os.path.isdir(folder) else 0))
    own_file = os.path.basename(store.receipt_path(own)) if own is not None else ""
    for file in store.receipt_files():
        other = asset_of(file)
        if file == own_file:
            continue
        count = 0
        with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
            with open(os.path.join(store.state, "receipts", file), "rb") as document:
                short = _SHORT.decode(document.read())
            count = sum(one.sha256 in files for one in short.entry.files)
        receipt = store.receipt_in(file) if count else None
        if receipt is not None and other:
            found.append(FolderWhereabouts("asset", store.at(Layout(receipt.entry).folder), count, other))
    return found


def _in_hub_cache(store: Store, entry: LockedAsset) -> list[FolderWhereabouts]:
    """What huggingface_hub's own caches have of a commit. It is told by names: nothing there was proved."""
    if entry.origin != "hub":
        return []
    found, seen = [], {os.path.realpath(store.at(Layout(entry).folder))}
    for cache in known_caches(os.environ, os.path.expanduser("~"), os.getcwd()):
        folder = os.path.join(cache.folder, *Layout(entry).folder.split("/")[1:])
        real = os.path.realpath(folder)
        if cache.kind == "hub" and real not in seen and os.path.isdir(folder):
            seen.add(real)
            count = sum(os.path.isfile(os.path.join(folder, *file.path.split("/"))) for file in entry.files)
            found.append(FolderWhereabouts("hub cache", folder, count))
    return found


# --- on mirrors -------------------------------------------------------------------------------------------------------


class _Answer(NamedTuple):
    """What came of one question."""

    file: LockedFile
    has: bool
    error: AssetError | None = None


def ask_mirrors(network: Network, files: Sequence[LockedFile], timeout: float) -> tuple[MirrorWhereabouts, ...]:
    """Ask all mirrors at once whether they have files, largest first, until all is asked or the time is over."""
    asked = [_Asked(text, files, network, timeout) for text in network.mirror_names()]
    deadline = time.monotonic() + timeout
    return tuple(one.result(deadline) for one in asked)


def holders(network: Network, files: Sequence[LockedFile], timeout: float, own: Store) -> dict[str, tuple[str, ...]]:
    """The mirrors that have each file, by sha256. One that does not answer has none.

    What is in folders of this machine is hashed; a server is believed, unless it gives out of the ``own`` store.
    """
    asked = [_Asked(text, files, network, timeout, own) for text in network.mirror_names()]
    deadline = time.monotonic() + timeout
    found: dict[str, tuple[str, ...]] = {}
    for one in asked:
        mirror = one.result(deadline).mirror
        for file in one.held:
            found[file.sha256 or ""] = (*found.get(file.sha256 or "", ()), mirror)
    return found


class _Asked:
    """One mirror that is being asked, by threads that nobody waits for when the time is over."""

    def __init__(
        self, text: str, files: Sequence[LockedFile], network: Network, timeout: float, but: Store | None = None
    ) -> None:
        self._name, self._count, self._but = text, len(files), but
        self._answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        self._left = iter(files)
        self._lock = threading.Lock()
        self._wire: Wire | None = None
        self.held: list[LockedFile] = []
        self._error: AssetError | None = None
        self.is_forbidden = False
        from assetmgr.mirrors import open_mirror
        from assetmgr.transfer.wire import Wire

        try:
            mirror = open_mirror(text)
        except AssetError as error:
            self._error = error
            return
        self.is_forbidden = network.is_offline and not mirror.is_local
        if self.is_forbidden:
            return
        limits = _within(network.limits(), timeout)
        self._wire = Wire(limits)
        for _ in range(min(_ASKERS, self._count)):
            threading.Thread(target=self._ask, args=(mirror, self._wire), name="assetmgr-whereis", daemon=True).start()

    def _ask(self, mirror: Mirror, wire: Wire) -> None:
        from assetmgr.transfer.wire import StoppedError

        while True:
            with self._lock:
                file = next(self._left, None)
            if file is None:
                return
            try:
                self._answers.put(_Answer(file, _has(mirror, file, wire, self._but)))
            except StoppedError:
                return
            except AssetError as error:
                self._answers.put(_Answer(file, has=False, error=error))

    def result(self, deadline: float) -> MirrorWhereabouts:
        if self.is_forbidden:
            return MirrorWhereabouts(self._name, "not asked", why="offline")
        if self._error is not None or self._wire is None:
            why = self._error.message if self._error else ""
            return MirrorWhereabouts(self._name, "unreachable", why=why)
        held = self.held
        asked = failed = 0
        why = ""
        while asked + failed < self._count and failed < _FAILURES:
            try:
                answer = self._answers.get(timeout=max(deadline - time.monotonic(), 0.001))
            except queue.Empty:
                why = why or ("the time was over" if asked else "it did not answer in time")
                break
            if answer.error is not None:
                why, failed = why or answer.error.message, failed + 1
                continue
            asked += 1
            if answer.has:
                held.append(answer.file)
        self._wire.close()
        size = sum(file.size for file in held)
        state: MirrorState = "whole" if len(held) == self._count else "part" if held else "none"
        if why and not asked:
            state = "unreachable"
        return MirrorWhereabouts(self._name, state, len(held), size, asked, why)


def _within(limits: Limits, timeout: float) -> Limits:
    return replace(
        limits,
        connect_timeout=min(limits.mirror_connect_timeout, timeout),
        read_timeout=min(limits.mirror_read_timeout, timeout),
    )


def _has(mirror: Mirror, file: LockedFile, wire: Wire, but: Store | None) -> bool:
    """Whether a mirror has a file. With a store of which it must not be, a copy on this machine is also hashed."""
    from assetmgr.transfer.looking import look_there

    for source in mirror.sources(file):
        there = look_there(wire, source)
        if there is None or there.size not in (file.size, -1):
            continue
        if but is None or (there.store != (but.identity or NEW_STORE) and _is_proved(source.url, file, but)):
            return True
    return False


def _is_proved(url: str, file: LockedFile, but: Store) -> bool:
    """Whether a local copy is one, with the bytes; what is on another machine is taken at its word."""
    from assetmgr.digests import hash_file
    from assetmgr.transfer.urls import local_path

    if not url.startswith("file:"):
        return True
    path = os.path.realpath(local_path(url))
    if path.startswith(os.path.realpath(but.root) + os.sep):
        return False
    with contextlib.suppress(OSError):
        return hash_file(path)[1]["sha256"] == file.sha256
    return False
