"""The Store: where things go on disk, and the documents that say what is there.

``hub/`` is an ``HF_HUB_CACHE``, ``torch/`` a ``TORCH_HOME``, ``lavis/`` a LAVIS cache root, ``clip/`` OpenAI CLIP's
folder, ``files/<asset>/`` holds plain files. Where a file goes is a function of its origin, asset, place and path
alone: a lock cannot name a place. State is documents under ``.assetmgr/``: they can be read, copied and rebuilt.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import Enum
from itertools import repeat
from pathlib import Path

from assetmgr.contents import Contents, contents
from assetmgr.digests import sha256_text
from assetmgr.errors import AssetError, IntegrityError, LockError, UsageError
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.manifest_urls import folder_fault, resolve_folder
from assetmgr.names import check_digest, fold, is_digest
from assetmgr.owners import is_refusal, refused
from assetmgr.placing import make_folder, write_document
from assetmgr.receipt import Receipt, Stamp, asset_of, dump_receipt, parse_receipt, receipt_name


def default_root(chosen: str | None = None, cache_root: str | None = None) -> Path:
    """The store's root: what was chosen, else ``ASSETMGR_ROOT``, the manifest's, the platform's cache folder.

    Raises
    ------
    UsageError
        When it names a variable that is not set, or a home that is not there.
    """
    root = chosen or os.environ.get("ASSETMGR_ROOT") or cache_root
    if root:
        if os.path.exists(root):  # also where its name has a `$`
            return Path(os.path.abspath(root))
        if fault := folder_fault(root):
            said = "--root" if chosen else "ASSETMGR_ROOT"
            raise UsageError(f"{said}: {root!r}: {fault}", mend="name the store's folder as it is")
        return Path(resolve_folder(root, os.getcwd()))
    return user_cache()


def user_cache() -> Path:
    """Where the platform keeps what a user's programs can make again."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~\\AppData\\Local")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "assetmgr"


def repo_folder(kind: str, repo: str) -> str:
    """The folder of a repo in a hub cache: ``models--ORG--NAME``."""
    return f"{kind}s--{repo.replace('/', '--')}"


class Layout:
    """Where the files of one entry lie, relative to the store's root, with forward slashes.

    A hub file is a blob, and a name in the commit's snapshot that links to it. Any other file lies at its name.
    """

    def __init__(self, entry: LockedAsset) -> None:
        self.entry = entry
        self.repo = f"hub/{repo_folder(entry.kind, entry.repo)}" if entry.origin == "hub" else ""
        self._snapshot = f"{self.repo}/snapshots/{entry.commit}/"
        self._places: dict[str, str] = {}

    def name(self, file: LockedFile) -> str:
        """The name by which everybody reads the file."""
        return self.prefix(file.place) + file.path

    def bytes(self, file: LockedFile) -> str:
        """The name under which the bytes lie."""
        return f"{self.repo}/blobs/{file.blob}" if self.repo else self.name(file)

    def prefix(self, place: str) -> str:
        """What stands before a file's path, with the slash."""
        if self.repo:
            return self._snapshot
        prefix = self._places.get(place)
        if prefix is None:
            if place == "torch":
                prefix = "torch/hub/checkpoints/"
            elif place == "files" or place.startswith("files/"):
                prefix = f"files/{self.entry.name}{place[len('files') :]}/"
            else:
                prefix = f"{place}/"
            self._places[place] = prefix
        return prefix

    @property
    def folder(self) -> str:
        """What `path NAME` prints: the snapshot, the asset's folder, or what its files have in common.

        Of an archive that is extracted, it is the folder of its members that counts.
        """
        if self.repo:
            return self._snapshot.rstrip("/")
        files = tuple(file for file in self.entry.files if file.extract and file.extract.made) or self.entry.files
        places = [file.extract.place if file.extract else file.place for file in files]
        if len(set(places)) == 1 and places[0].startswith("files/"):
            return self.prefix(places[0]).rstrip("/")
        if all(place == "files" or place.startswith("files/") for place in places):
            return f"files/{self.entry.name}"
        if len(files) == 1 and files[0].extract is None:
            return self.name(files[0])
        folders = [
            (self.prefix(file.extract.place) if file.extract else self.name(file)).rpartition("/")[0] for file in files
        ]
        return os.path.commonpath(folders)

    @property
    def tree(self) -> str:
        """huggingface_hub's own listing of the commit, by which it tells a part from the whole."""
        return f"{self.repo}/trees/{self.entry.commit}.json"

    @property
    def ref(self) -> str | None:
        """The file that names the commit of a branch or tag; None where a commit was asked for."""
        if not self.repo or self.entry.revision == self.entry.commit:
            return None
        return f"{self.repo}/refs/{self.entry.revision}"


def check_places(all_contents: Iterable[Contents]) -> None:
    """Raise `LockError` when two files want one place with different bytes, on any file system.

    The members of archives count, as far as they are listed here.
    """
    taken: dict[str, tuple[Contents, LockedFile]] = {}
    folders: dict[str, tuple[Contents, LockedFile]] = {}
    for found in all_contents:
        layout = Layout(found.entry)
        is_hub = found.entry.origin == "hub"
        for file in found.files:
            key = fold(layout.name(file))
            other, same = taken.setdefault(key, (found, file))
            if same.sha256 != file.sha256:
                both = f"{_wanting(other, same)} and {_wanting(found, file)}"
                raise _in_the_way(f"{both} both want {layout.name(file)}, with different bytes")
            parent = key.rpartition("/")[0]
            # The names within one hub commit were told apart when its entry was checked.
            while not is_hub and parent and parent not in folders:
                folders[parent] = (found, file)
                parent = parent.rpartition("/")[0]
    for folder in folders.keys() & taken.keys():
        file_wanted, folder_wanted = _wanting(*taken[folder]), _wanting(*folders[folder])
        raise _in_the_way(f"{file_wanted} wants a file and {folder_wanted} a folder at {folder}")


def _wanting(found: Contents, file: LockedFile) -> str:
    archive = found.archive_of(file)
    if archive is not None:
        return f"{found.entry.name} (from {archive.path})"
    return f"{found.entry.name} (for {file.path} itself)" if file.extract else found.entry.name


def _in_the_way(what: str) -> LockError:
    return LockError(what, mend="give one of them another name, `path:`, `place:` or `extract:` in the manifest")


STORE_HEADER = "X-Assetmgr-Store"
"""The header by which a server says of which store it gives: see `Store.identity`."""

NEW_STORE = "new"
"""What it says of a store that has no identity yet."""

BEGUN = ".begun"
"""How the name of a ledger's document ends while what it speaks of has no receipt yet."""


class State(Enum):
    """What the store holds of one file, as far as a look without reading can tell."""

    PROVED = "proved"
    UNPROVED = "unproved"  # something is there, and no stamp fits it
    UNLINKED = "unlinked"  # a hub blob is there, and the snapshot's name for it is not
    MISSING = "missing"


class Store:
    """One cache root."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.path.abspath(os.fspath(root))
        self.state = os.path.join(self.root, ".assetmgr")
        self._contents: dict[str, Contents] = {}
        self._identity = ""
        self._kept_receipts: dict[str, tuple[tuple[int, int, int], Receipt]] = {}

    def at(self, relative: str) -> str:
        """The absolute path of a name in the store."""
        return f"{self.root}/{relative}" if os.sep == "/" else os.path.join(self.root, *relative.split("/"))

    def mutex(self, key: str) -> Path:
        """The lock file that guards a repo, a digest or a folder."""
        return Path(self.state, "mutex", f"{key}.lock")

    def guard(self, entry: LockedAsset) -> Path:
        """The lock file of who changes an entry: what it puts into the store, and its receipt."""
        of_hub = entry.origin == "hub"
        return self.mutex(repo_folder(entry.kind, entry.repo) if of_hub else f"files-{entry.digest()[:32]}")

    def bytes_guard(self, key: str) -> Path:
        """The lock file of who gathers the bytes of a key: of the names in `partial` that begin with it."""
        # 4096 lock files serve any number of digests; two digests that share one wait for each other, no more.
        return self.mutex(f"bytes-{sha256_text(key)[:3]}")

    @property
    def removing(self) -> Path:
        """The lock file of who removes files; who begins to put some passes by it, and waits while it is held."""
        return self.mutex("removing")

    @property
    def _identity_path(self) -> str:
        return os.path.join(self.state, "identity")

    @property
    def identity(self) -> str:
        """What tells this store from any other, also from a copy of it, whichever machine looks; empty for a new one.

        A server gives it out: who asks mirrors for other copies must not count the very files that it asks about.
        """
        if not self._identity:
            with contextlib.suppress(OSError):
                told = Path(self._identity_path).read_text(errors="replace")
                self._identity = sha256_text(f"{told} {os.stat(self.state).st_ino}")[:32]
        return self._identity

    def identify(self) -> None:
        """Give the store an identity, where it has none."""
        if not os.path.exists(path := self._identity_path):
            write_document(path, os.urandom(16).hex().encode(), sync=False)

    def partial(self, *parts: str) -> str:
        """Where bytes stand that are not whole or not proved yet."""
        return os.path.join(self.state, "partial", *parts)

    # --- listings: content-addressed documents that lock entries name -------------------------------------------

    def listing(self, digest: str) -> str:
        """Where the listing of a sha256 is kept."""
        return os.path.join(self.state, "listings", check_digest(digest, "sha256", "listing"))

    def read_listing(self, digest: str) -> bytes | None:
        """A listing by its sha256, or None when the store has none that is whole."""
        try:
            data = Path(self.listing(digest)).read_bytes()
        except OSError:
            return None
        return data if sha256_text(data) == digest else None

    def write_listing(self, data: bytes) -> str:
        """Keep a listing; return the sha256 that names it."""
        digest = sha256_text(data)
        if self.read_listing(digest) is None:
            write_document(self.listing(digest), data)
        return digest

    def contents(self, entry: LockedAsset) -> Contents:
        """What an entry puts into the store, the members of its archives included.

        Raises
        ------
        LockError
            When a listing is not what the entry says of it.
        """
        archives = [file.extract for file in entry.files if file.extract is not None]
        if not archives:
            return Contents(entry, entry)
        listings = [extract.listing for extract in archives if extract.listing is not None]
        for digest in listings:
            if not is_digest(digest, "sha256"):
                raise LockError(f"{entry.name}: {digest[:80]!r} is no sha256 of a listing", mend="assetmgr lock")
        key = " ".join([entry.digest(), *listings])
        found = self._contents.get(key)
        # A listing never changes under its name; it may come, or go.
        missing = sum(not os.path.exists(self.listing(digest)) for digest in listings)
        if found is None or len(found.unlisted) != missing + len(archives) - len(listings):
            found = self._contents[key] = contents(entry, self.read_listing)
        return found

    def names_of(self, entry: LockedAsset) -> dict[str, str | None]:
        """Each name that an entry stands at, relative to the root, with the sha256 of what stands there."""
        layout = Layout(entry)
        return {layout.name(file): file.sha256 for file in self.contents(entry).files}

    # --- receipts ------------------------------------------------------------------------------------------------

    def _receipt(self, name: str, digest: str) -> str:
        return os.path.join(self.state, "receipts", receipt_name(name, digest))

    def receipt_path(self, receipt: Receipt) -> str:
        """Where a receipt is kept."""
        return self._receipt(receipt.entry.name, receipt.entry.digest())

    def read_receipt(self, entry: LockedAsset) -> Receipt | None:
        """The receipt of an entry, or None. A damaged one counts as none: it can be made again from the disk.

        Of an entry whose outcome is open it is that of the outcome that was made here.
        """
        path = self._receipt(entry.name, entry.digest())
        with contextlib.suppress(IntegrityError):
            receipt = self._read_receipt(path)
            return receipt if receipt is not None and entry.admits(receipt.entry) else None
        return None

    def _read_receipt(self, path: str) -> Receipt | None:
        """The receipt of a file. Each is parsed once: it is only ever replaced, by another file of its name."""
        try:
            kept = self._kept_receipts.get(path)
            if kept is not None and kept[0] == _version(os.stat(path)):
                return kept[1]
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                receipt = parse_receipt(file.read(), path)
        except FileNotFoundError:
            return None
        if status.st_size <= _KEPT_RECEIPT:
            self._kept_receipts[path] = _version(status), receipt
        return receipt

    def receipts_of(self, name: str) -> list[Receipt]:
        """Every readable receipt of a name, the one pulled last in front."""
        found = [receipt for receipt in self._receipts(name) if receipt]
        return sorted(found, key=lambda receipt: receipt.pulled_at, reverse=True)

    def receipts(self) -> Iterator[Receipt]:
        """Every readable receipt in the store."""
        return (receipt for receipt in self._receipts() if receipt is not None)

    def damaged_receipts(self) -> list[tuple[str, AssetError]]:
        """Receipts that cannot be read: (asset, why). What they speak of is there, and nothing proves it."""
        damaged: list[tuple[str, AssetError]] = []
        for file in self.receipt_files():
            try:
                self._read_receipt(os.path.join(self.state, "receipts", file))
            except AssetError as error:
                damaged.append((asset_of(file) or file, error))
            except OSError as error:
                told = refused(error) if is_refusal(error) else IntegrityError(f"{file}: {error.strerror}")
                damaged.append((asset_of(file) or file, told))
        return damaged

    def unreadable(self, name: str) -> AssetError | None:
        """Why a name that has a receipt seems to have none: this user may not read it. None where it is not so."""
        for file in self.receipt_files():
            if asset_of(file) == name:
                try:
                    with open(os.path.join(self.state, "receipts", file), "rb"):
                        pass
                except PermissionError as error:
                    return refused(error, f"{name}: ")
                except OSError:
                    continue
        return None

    def receipt_by_digest(self, name: str, digest: str) -> Receipt | None:
        """The receipt of a name and an entry's digest, or None."""
        with contextlib.suppress(AssetError, OSError):
            receipt = self._read_receipt(self._receipt(name, digest))
            if receipt is not None and receipt.entry.digest() == digest:
                return receipt
        return None

    def receipt_in(self, file: str) -> Receipt | None:
        """The receipt in a document of this name, one of `receipt_files`; None where none can be read."""
        with contextlib.suppress(AssetError, OSError):
            return self._read_receipt(os.path.join(self.state, "receipts", file))
        return None

    def receipt_files(self) -> list[str]:
        """The names of the receipts' documents, sorted; nothing is read. See `assetmgr.receipt.asset_of`."""
        try:
            return sorted(file for file in os.listdir(os.path.join(self.state, "receipts")) if file.endswith(".json"))
        except FileNotFoundError:
            return []

    def known_stamps(self, entry: LockedAsset, receipt: Receipt | None) -> Sequence[Stamp | None]:
        """A stamp for each file of an entry's contents, where there is one.

        They are its receipt's. Without any, what receipts of the asset's other entries say of equal bytes at an equal
        name counts: one more file in a lock is no reason to hash all the others.
        """
        found, layout = self.contents(entry), Layout(entry)
        if receipt is not None:
            return found.of_receipt(receipt.stamps)
        known: dict[tuple[str, str | None], Stamp] = {}
        for other in self.receipts_of(entry.name):
            with contextlib.suppress(LockError):
                there, names = self.contents(other.entry), Layout(other.entry)
                for file, stamp in zip(there.files, there.of_receipt(other.stamps), strict=True):
                    if stamp is not None:
                        known.setdefault((names.name(file), file.sha256), stamp)
        return [known.get((layout.name(file), file.sha256)) for file in found.files]

    # The ledger, ``placed/``: the entry of all that was ever begun to be put here, kept until that is gone again. Where
    # a receipt is no more, or never came, it says whose the files are.

    def placed_path(self, receipt: Receipt) -> str:
        """Where the ledger keeps what a receipt speaks of."""
        return os.path.join(self.state, "placed", receipt_name(receipt.entry.name, receipt.entry.digest()))

    def begin(self, receipt: Receipt) -> None:
        """Note in the ledger what is about to be put into the store."""
        self.identify()
        write_document(self.placed_path(receipt) + BEGUN, dump_receipt(receipt), sync=False)

    def settle(self, receipt: Receipt) -> None:
        """Note in the ledger that what was begun has a receipt."""
        with contextlib.suppress(OSError):
            os.replace(self.placed_path(receipt) + BEGUN, self.placed_path(receipt))

    def drop_receipt(self, receipt: Receipt) -> None:
        """Forget a receipt, unless another is in its place by now. What it speaks of stays where it is.

        The ledger says whose that was until `gc` has removed what no other receipt names.
        """
        now = self.read_receipt(receipt.entry.opened())
        if now is not None and now.entry != receipt.entry:
            return
        make_folder(os.path.join(self.state, "placed"))
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.receipt_path(receipt), self.placed_path(receipt))

    def placed_at(self, path: str) -> Receipt | None:
        """What the ledger says at a path; None where there is nothing, or nothing that can be read."""
        with contextlib.suppress(AssetError, OSError):
            return self._read_receipt(path)
        return None

    def unreceipted(self) -> list[tuple[str, Receipt]]:
        """What the ledger knows of that has no receipt (any more), with where it says so."""
        found: list[tuple[str, Receipt]] = []
        folder, known = os.path.join(self.state, "placed"), set(self.receipt_files())
        with contextlib.suppress(FileNotFoundError):
            for file in sorted(os.listdir(folder)):
                path, name = os.path.join(folder, file), file.removesuffix(BEGUN)
                if name.endswith(".json") and name not in known and (receipt := self.placed_at(path)) is not None:
                    found.append((path, receipt))
        return found

    def installed_names(self) -> tuple[str, ...]:
        """The names that have a receipt, sorted, without reading any."""
        return tuple(sorted({name for name in map(asset_of, self.receipt_files()) if name}))

    def _receipts(self, name: str | None = None) -> Iterator[Receipt | None]:
        for file in self.receipt_files():
            if name is not None and asset_of(file) != name:
                continue
            try:
                yield self._read_receipt(os.path.join(self.state, "receipts", file))
            except (AssetError, OSError):
                continue

    def save_receipt(self, receipt: Receipt) -> None:
        write_document(self._receipt(receipt.entry.name, receipt.entry.digest()), dump_receipt(receipt))

    def survey(self, entry: LockedAsset, stamps: Sequence[Stamp | None] | None) -> list[State]:
        """Look at every file of an entry, in order: one `os.stat` each, which follows a snapshot's link to its blob."""
        layout = Layout(entry)
        prefixes = {place: self.at(layout.prefix(place)) for place in {file.place for file in entry.files}}
        states = []
        has_blobs = layout.repo and os.path.isdir(self.at(f"{layout.repo}/blobs"))
        with _Folder() as at:
            for file, stamp in zip(entry.files, stamps or repeat(None), strict=False):
                folder, _, name = file.path.rpartition("/")
                try:
                    found = at.stat(prefixes[file.place] + folder, name)
                except OSError:
                    there = has_blobs and os.path.isfile(self.at(layout.bytes(file)))
                    states.append(State.UNLINKED if there else State.MISSING)
                    continue
                states.append(State.PROVED if stamp is not None and stamp.fits(found) else State.UNPROVED)
        return states

    def proved_elsewhere(self, wanted: Collection[str]) -> dict[str, list[str]]:
        """Where a receipt has seen a wanted sha256 proved: sha256 -> paths whose stamps still fit.

        Who links to such a file hashes it first, since a flipped bit on the disk leaves a stamp as it was.
        """
        claims: dict[str, list[str]] = {}
        for receipt in self.receipts():
            layout = Layout(receipt.entry)
            try:
                found = self.contents(receipt.entry)
            except LockError:
                continue  # who asks for that very asset is told
            for file, stamp in zip(found.files, found.of_receipt(receipt.stamps), strict=True):
                if stamp is None or file.sha256 is None or file.sha256 not in wanted:
                    continue
                path = self.at(layout.name(file))
                with contextlib.suppress(OSError):
                    if stamp.fits(os.stat(path)):
                        claims.setdefault(file.sha256, []).append(path)
        return claims


class _Folder(contextlib.AbstractContextManager["_Folder"]):
    """Asks for the status of many names, folder by folder: the kernel walks a folder's path once, not for each name."""

    def __init__(self) -> None:
        self._path = ""
        self._open = -1

    def stat(self, folder: str, name: str) -> os.stat_result:
        """`os.stat` of a name in a folder."""
        if not _BY_FOLDER:
            return os.stat(os.path.join(folder, name))
        if folder != self._path:
            self.__exit__()
            self._path = folder
            self._open = os.open(folder, _SEARCH)
        elif self._open < 0:
            raise FileNotFoundError(folder)  # as when it was tried, for another name
        return os.stat(name, dir_fd=self._open)

    def __exit__(self, *exception: object) -> None:
        self._path = ""
        if self._open >= 0:
            os.close(self._open)
            self._open = -1


_BY_FOLDER = os.stat in os.supports_dir_fd
# O_PATH (Linux) asks for no right to list the folder, as a plain stat of a path does not.
_SEARCH = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)


# Bytes up to which a receipt is kept in memory: many small ones are read again and again, a large one is not many.
_KEPT_RECEIPT = 1 << 20


def _version(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns
