"""The Lock document: for every asset, which bytes.

``assets.lock.json`` stands beside ``assets.yaml``: JSON with sorted keys and one file a line, so that a diff reads
well. Parsing checks everything that a hostile lock could try; nothing of a lock becomes a path unchecked.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

import msgspec

from assetmgr.digests import sha256_text
from assetmgr.errors import AssetError, LockConflictError, LockError, LockVersionError, NotLockedError
from assetmgr.manifest_urls import url_fault
from assetmgr.names import asset_name_fault, check_digest, check_distinct, check_path, is_repo, line_fault
from assetmgr.owners import refused

VERSION = 1
LICENSE_MOST = 200
_LARGEST = 1 << 28  # a million files

Kind = Literal["model", "dataset"]


class LockedExtraction(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What becomes of an archive: its files, its members, go to a place. The same of a list of URLs or a script.

    Attributes
    ----------
    place
        ``files``, ``files/<folder>``, ``torch``, ``clip`` or ``lavis/<folder>``.
    strip, prefix
        How many leading folders each path in the archive loses; the folder of the archive that alone is taken.
    keep_archive
        Whether the archive stays in the store once its members are proved.
    listing
        The sha256 of the members' listing, a document in the store. None only in a lock made with ``--no-fetch``;
        `pull` refuses that.
    members, size
        How many there are, and their bytes together.
    made
        Whether the members are made of the file, by fetching what it lists or by running it: what they are is known
        only then. ``listing`` is None until it is frozen.
    """

    place: str
    strip: int = 0
    prefix: str | None = None
    keep_archive: bool = True
    listing: str | None = None
    members: int = 0
    size: int = 0
    made: bool = False


class LockedFile(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One file, pinned.

    Attributes
    ----------
    path
        Its name within the asset, with forward slashes.
    size
        In bytes. -1 only in a lock made with ``--no-fetch`` from an origin that did not say.
    sha256
        What pins it. None only in a lock made with ``--no-fetch``; `pull` refuses that.
    git_sha1, md5, crc32c, etag
        What the origin said about it, checked when the bytes arrive. A hub file with ``git_sha1`` is named by it in
        the hub's cache; one without is named by its sha256.
    place
        For `files` assets: ``files``, ``torch``, ``clip`` or ``lavis/<folder>``.
    urls
        For `files` assets: where it is published, tried in order.
    ask
        For `files` assets: what a user must do by hand to get it.
    extract
        For an archive: where its members go.
    """

    path: str
    size: int
    sha256: str | None = None
    git_sha1: str | None = None
    md5: str | None = None
    crc32c: str | None = None
    etag: str | None = None
    place: str = ""
    urls: tuple[str, ...] = ()
    ask: str | None = None
    extract: LockedExtraction | None = None

    @property
    def is_pinned(self) -> bool:
        """Whether every byte that it stands for has its digest."""
        extract = self.extract
        return self.sha256 is not None and (extract is None or extract.made or extract.listing is not None)

    @property
    def is_placed(self) -> bool:
        """Whether it stays in the store itself: all do, but archives that are not kept."""
        return self.extract is None or self.extract.keep_archive

    @property
    def blob(self) -> str:
        """The name of a hub file's blob: its etag, as huggingface_hub names it."""
        return self.git_sha1 or self.sha256 or ""


class LockedAsset(msgspec.Struct, frozen=True, omit_defaults=True):
    """One asset, pinned. What is only told about it, its licence, makes it no other entry.

    Attributes
    ----------
    declared
        Digest of the declaration's fields that resolve: when the manifest's differs, the lock is stale.
    repo, commit, revision
        For `hub` assets: the repo, its exact commit, and the branch, tag or commit that was asked for.
    allow_patterns, ignore_patterns
        For `hub` assets: what selected the files from the commit's.
    listing
        For `hub` assets: the sha256 of the commit's full listing, a document in the store.
    recipe
        For `url_list` and `script` assets: by which parameters the outcome is made of the pinned files.
    license
        What the manifest says, else what the hub said when it was locked; None where nobody said anything.
    """

    kind: Kind
    origin: Literal["hub", "files", "url_list", "script"]
    declared: str
    files: tuple[LockedFile, ...]
    name: str = ""
    requires: tuple[str, ...] = ()
    repo: str = ""
    commit: str = ""
    revision: str = ""
    allow_patterns: tuple[str, ...] | None = None
    ignore_patterns: tuple[str, ...] | None = None
    listing: str | None = None
    recipe: dict[str, Any] = {}
    license: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether its outcome is not known yet: each machine makes its own."""
        return any(file.extract is not None and file.extract.made and not file.extract.listing for file in self.files)

    def opened(self) -> LockedAsset:
        """The same entry as it is before its outcome is known; of any other origin, itself."""
        if not any(file.extract is not None and file.extract.made for file in self.files):
            return self
        return self.with_outcome(None, 0, 0)

    def with_outcome(self, listing: str | None, members: int, size: int) -> LockedAsset:
        """The same entry with another outcome: the sha256 of its listing, how many files it has, and their bytes."""

        def settled(file: LockedFile) -> LockedFile:
            if file.extract is None or not file.extract.made:
                return file
            extract = msgspec.structs.replace(file.extract, listing=listing, members=members, size=size)
            return msgspec.structs.replace(file, extract=extract)

        return msgspec.structs.replace(self, files=tuple(map(settled, self.files)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LockedAsset):
            return NotImplemented
        return self is other or all(getattr(self, name) == getattr(other, name) for name in _PINNED)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((self.kind, self.origin, self.name, self.declared, self.commit))

    @property
    def size(self) -> int:
        """Bytes that it takes in the store, archives' members included."""
        return sum(
            max(file.size, 0) * file.is_placed + (file.extract.size if file.extract else 0) for file in self.files
        )

    @property
    def count(self) -> int:
        """How many files it puts into the store, archives' members included."""
        return sum(file.is_placed + (file.extract.members if file.extract else 0) for file in self.files)

    def admits(self, entry: LockedAsset) -> bool:
        """Whether an entry is what this one names: itself, or any outcome of it where it leaves that open."""
        return self == entry or (self.is_open and self == entry.opened())

    def digest(self) -> str:
        """The identity of this entry: equal entries, equal digests. Receipts are keyed by it.

        Of what is made here the outcome does not count: a store has one of them.
        """
        pinned = msgspec.structs.replace(self.opened(), license=None)
        return sha256_text(msgspec.json.encode(pinned, order="sorted"))


_PINNED = tuple(name for name in LockedAsset.__struct_fields__ if name != "license")


class Lock(msgspec.Struct, frozen=True):
    """A whole lock: the closure of what a manifest asks for."""

    assets: dict[str, LockedAsset]
    version: int = VERSION

    def closure(self, names: Iterable[str]) -> tuple[LockedAsset, ...]:
        """The named assets and all that they require, required ones first, each once.

        Raises
        ------
        NotLockedError
            When one of them is not in this lock.
        """
        found: dict[str, LockedAsset] = {}
        entered: set[str] = set()
        # An explicit stack of (name, expanded), so that a hostile chain cannot exhaust the interpreter's.
        stack = [(name, False) for name in reversed(list(names))]
        while stack:
            name, expanded = stack.pop()
            if name in found:
                continue
            if name not in self.assets:
                raise NotLockedError(f"{name}: not in the lock", mend=f"assetmgr lock {name}")
            if expanded:
                found[name] = self.assets[name]
                continue
            if name in entered:
                continue
            entered.add(name)
            stack.append((name, True))
            stack.extend((required, False) for required in reversed(self.assets[name].requires))
        return tuple(found.values())


def lock_path(manifest: Path) -> Path:
    """``assets.yaml`` has its lock beside it, ``assets.lock.json``."""
    return manifest.with_name(f"{manifest.stem}.lock.json")


def dump_lock(lock: Lock) -> bytes:
    """The document's bytes: equal locks, equal bytes."""
    import json

    def line(value: object) -> str:
        return json.dumps(value, sort_keys=True, ensure_ascii=False)

    lines = ["{", '"assets": {']
    for number, name in enumerate(sorted(lock.assets)):
        entry: dict[str, Any] = msgspec.to_builtins(lock.assets[name])
        files = sorted(entry["files"], key=lambda file: (file["path"], file.get("place", "")))
        head = {key: value for key, value in entry.items() if key not in ("files", "name")}
        lines.append(f"{line(name)}: {{")
        fields = {key: line(value) for key, value in head.items()}
        fields["files"] = "[\n" + ",\n".join("  " + line(file) for file in files) + "\n ]"
        lines.append(",\n".join(f' "{key}": {fields[key]}' for key in sorted(fields)))
        lines.append("}," if number < len(lock.assets) - 1 else "}")
    lines += ["},", f'"version": {lock.version}', "}", ""]
    return "\n".join(lines).encode()


def parse_lock(data: bytes, where: str, *, check: bool = True) -> Lock:
    """Parse a lock. ``where`` names the document in every complaint.

    ``check=False`` leaves out the check of every name and digest: only for who looks and writes nothing.

    Raises
    ------
    LockVersionError
        When a newer assetmgr wrote it.
    LockError
        When it is not a lock, or an entry is unsafe or contradicts another.
    """
    unnamed = _decode(_assets(data, where), dict[str, LockedAsset], where)
    assets = {name: msgspec.structs.replace(entry, name=name) for name, entry in unnamed.items()}
    for entry in assets.values() if check else ():
        try:
            check_entry(entry)
        except AssetError as error:
            raise LockError(f"{where}: {entry.name}: {error.message}", mend=_MEND) from None
    return Lock(assets=assets)


def parse_differing(old: bytes, old_where: str, new: bytes, new_where: str) -> tuple[Lock, Lock, int]:
    """Two locks, unchecked, without the entries that are the same byte for byte; and how many those are.

    Of two long locks most is the same, and takes long to read. Raises as `parse_lock` does.
    """
    documents = ((old, old_where), (new, new_where))
    sides = [_decode(_assets(data, where), dict[str, msgspec.Raw], where) for data, where in documents]
    same = {name for name, entry in sides[0].items() if sides[1].get(name) == entry}
    locks = []
    for side, where in zip(sides, (old_where, new_where), strict=True):
        left = {name: _decode(entry, LockedAsset, where) for name, entry in side.items() if name not in same}
        locks.append(Lock({name: msgspec.structs.replace(entry, name=name) for name, entry in left.items()}))
    return locks[0], locks[1], len(same)


_MEND = "restore it from version control, or make it anew with: assetmgr lock"
_CONFLICT = re.compile(rb"^(<{7}|>{7}|\|{7}) ", re.MULTILINE)
_Decoded = TypeVar("_Decoded")


def _assets(data: bytes, where: str) -> msgspec.Raw:
    """What stands under ``assets``, once it is clear that this is a lock of our version."""
    try:
        document = msgspec.json.decode(data, type=_Document)
    except msgspec.ValidationError as error:
        raise LockError(f"{where}: not a lock: {error}", mend=_MEND) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if _CONFLICT.search(data):
            raise LockConflictError(
                f"{where}: a merge left both sides in it",
                mend=f"take one side (git checkout --ours {shlex.quote(where)}, or --theirs), then: assetmgr lock",
            ) from None
        raise LockError(f"{where}: not JSON: {error}", mend=_MEND) from None
    if document.version != VERSION:
        raise LockVersionError(
            f"{where}: version {document.version} of the lock format; this assetmgr reads version {VERSION}",
            mend="pip install --upgrade assetmgr",
        )
    return document.assets


def _decode(data: msgspec.Raw, kind: type[_Decoded], where: str) -> _Decoded:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LockError(f"{where}: not a lock: {error}", mend=_MEND) from None


class _Document(msgspec.Struct):
    version: int
    assets: msgspec.Raw


def read_lock_file(file: BinaryIO, where: str) -> bytes:
    """The bytes of a lock document, of which there is an end.

    Raises
    ------
    LockError
        When there are more than any lock has: a device, or another file altogether.
    """
    data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise LockError(f"{where}: not a lock: it is larger than {_LARGEST:,} bytes", mend=_MEND)
    return data


def load_lock(path: Path, *, check: bool = True) -> Lock | None:
    """The lock at a path, or None when there is none. See `parse_lock`."""
    try:
        with open(path, "rb") as file:
            data = read_lock_file(file, str(path))
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise refused(error) from None
    except OSError as error:
        raise LockError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_lock(data, str(path), check=check)


def check_entry(entry: LockedAsset) -> None:
    """Check every name, digest and size of an entry, whatever wrote it.

    Raises
    ------
    UnsafeNameError, LockError
    """
    fault = asset_name_fault(entry.name)
    if fault:
        raise LockError(f"unsafe asset name {entry.name!r}: {fault}")
    for required in entry.requires:
        if fault := asset_name_fault(required):
            raise LockError(f"unsafe required name {required!r}: {fault}")
    if entry.license is not None and (fault := line_fault(entry.license, LICENSE_MOST)):
        raise LockError(f"license {entry.license[:80]!r}: {fault}")
    if entry.origin == "hub":
        if not is_repo(entry.repo):
            raise LockError(f"{entry.repo!r} is not a repo id")
        check_digest(entry.commit, "git_sha1", "commit")
        check_path(entry.revision, "revision")
        if entry.listing is not None:
            check_digest(entry.listing, "sha256", "listing")
    made = [file for file in entry.files if file.extract is not None and file.extract.made]
    if len(made) != (entry.origin in ("url_list", "script")):
        raise LockError(f"{len(made)} of its files are made into others, which a {entry.origin} entry cannot have")
    seen: set[tuple[str, str]] = set()
    blobs: dict[str, tuple[str | None, int]] = {}
    for file in entry.files:
        check_path(file.path)
        if file.size < 0 and (file.size != -1 or file.sha256 is not None):
            raise LockError(f"{file.path}: negative size {file.size}")
        for url in file.urls:
            if url_fault(url):
                raise LockError(f"{file.path}: a url that cannot be fetched: {url_fault(url)}")
        if entry.origin == "hub" and blobs.setdefault(file.blob, (file.sha256, file.size)) != (file.sha256, file.size):
            raise LockError(f"{file.path}: two contents under one blob name {file.blob}")
        for algorithm in ("sha256", "git_sha1", "md5", "crc32c"):
            digest = getattr(file, algorithm)
            if digest is not None:
                check_digest(digest, algorithm, f"{file.path}: {algorithm}")
        check_place(file.place, entry.origin)
        if file.extract is not None:
            _check_extraction(file, file.extract, entry.origin)
        if (file.place, file.path) in seen:
            raise LockError(f"{file.path}: twice in one asset")
        seen.add((file.place, file.path))
    for place in {file.place for file in entry.files}:
        check_distinct(file.path for file in entry.files if file.place == place)


def _check_extraction(file: LockedFile, extract: LockedExtraction, origin: str) -> None:
    if origin == "hub":
        raise LockError(f"{file.path}: a hub file is not extracted")
    if extract.place.startswith("files/"):
        check_path(extract.place, "place")
    elif extract.place == "lavis" and origin == "script":
        pass  # all of LAVIS's cache root: a script says itself where in it
    else:
        check_place(extract.place, origin)
    if extract.prefix is not None:
        check_path(extract.prefix, "prefix")
    if extract.listing is not None:
        check_digest(extract.listing, "sha256", f"{file.path}: listing")
    for name in ("strip", "members", "size"):
        if getattr(extract, name) < 0:
            raise LockError(f"{file.path}: negative {name} {getattr(extract, name)}")


def check_place(place: str, origin: str) -> None:
    """A place is one of the store's layouts, never a path of somebody's choice."""
    if origin == "hub":
        if place:
            raise LockError(f"a hub file has no place, found {place!r}")
    elif place.startswith("lavis/"):
        check_path(place, "place")
    elif place not in ("files", "torch", "clip"):
        raise LockError(f"{place!r} is not a place: files, torch, clip or lavis/<folder>")


def check_refs(entries: Iterable[LockedAsset]) -> None:
    """Two assets of one lock that claim one ref of one repo at different commits cannot both be offline's answer."""
    claims: dict[tuple[str, str, str], LockedAsset] = {}
    for entry in entries:
        if entry.origin != "hub" or entry.revision == entry.commit:
            continue
        first = claims.setdefault((entry.kind, entry.repo, entry.revision), entry)
        if first.commit != entry.commit:
            raise LockError(
                f"{first.name} and {entry.name} both want {entry.repo} at {entry.revision!r}, "
                f"but at different commits: {first.commit[:12]} and {entry.commit[:12]}",
                mend=f"assetmgr lock --upgrade {first.name} --upgrade {entry.name}, or give one a revision of its own",
            )
