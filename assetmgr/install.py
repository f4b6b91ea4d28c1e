"""One asset, from what the store holds of it to whole, proved, named and marked.

The order makes every interruption harmless. Blobs are proved before they get their names; names in a snapshot come
when the asset is whole; the listing, the ref and the receipt come last. Whatever a killed run left is either staged,
and used again, or whole at its final name, and proved by hashing it once.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assetmgr.errors import AssetError, IntegrityError, UsageError, raise_all
from assetmgr.lock import LockedAsset, LockedFile, load_lock, lock_path
from assetmgr.manifest import Transport
from assetmgr.origins import Arrival, Origin
from assetmgr.placing import (
    LinkStyle,
    link,
    make_folder,
    place,
    remove_file,
    sync_folder,
    write_document,
)
from assetmgr.receipt import Receipt, Stamp
from assetmgr.reporting import Reporter
from assetmgr.store import Layout, State, Store
from assetmgr.transfer.urls import safe_url
from assetmgr.verify import claimed_refs, prove, prove_many, read_ref, ref_is_blocked, tree_cache

# Bytes from which a file is synced by itself, as it is placed; and how many smaller ones are synced at once.
_SYNCED_ALONE = 1 << 20
_SYNCED_TOGETHER = 5000


@dataclass(frozen=True, slots=True)
class Wish:
    """One locked asset as a manifest wants it on this machine.

    ``base`` is the folder where relative local paths begin; ``manifest`` is who asks; ``pins`` are the entry digests of
    what the asset requires. ``receipt`` is what is known of it now, where that is fresher than the store's own.
    """

    entry: LockedAsset
    use: Mapping[str, Any] = field(default_factory=dict)
    endpoint: str | None = None
    transport: Transport = "auto"
    base: str = ""
    receipt: Receipt | None = None
    pins: Mapping[str, str] = field(default_factory=dict)
    local_dir: str | None = None
    local_dir_links: LinkStyle = "symlink"
    manifest: str | None = None


@dataclass(frozen=True, slots=True)
class Pulled:
    """What became of one asset."""

    name: str
    fetched_files: int = 0
    fetched_bytes: int = 0
    linked_files: int = 0
    kept_files: int = 0


class Installation:
    """The state of one asset's pull, between the lock that guards it and its receipt."""

    def __init__(
        self,
        store: Store,
        origin: Origin,
        wish: Wish,
        receipt: Receipt | None,
        states: Sequence[State],
        reporter: Reporter,
    ) -> None:
        self.store, self.origin, self.wish, self.entry = store, origin, wish, wish.entry
        self.layout = Layout(wish.entry)
        self.reporter = reporter
        self.receipt = receipt
        self.stamps: dict[str, Stamp] = {}
        self.states = dict(zip((self._key(file) for file in self.entry.files), states, strict=True))
        for file, stamp, state in zip(
            self.entry.files, receipt.stamps if receipt else [None] * len(states), states, strict=True
        ):
            if state is State.PROVED and stamp is not None:
                self.stamps[self._key(file)] = stamp
        self.unsynced: dict[str, str] = {}
        self.fetched: list[LockedFile] = []
        self.linked: list[LockedFile] = []
        self.whole = False
        self.tree: Stamp | None = None

    @staticmethod
    def _key(file: LockedFile) -> str:
        return f"{file.place}:{file.path}"

    def _at(self, file: LockedFile) -> str:
        return self.store.at(self.layout.bytes(file))

    # --- filling: until every file's bytes are proved at their place -----------------------------------------------

    def fill(self) -> None:
        entry = self.entry
        pending = [file for file in entry.files if self._key(file) not in self.stamps]
        self._refuse_others_places(pending)
        pending = self._prove_present(pending)
        pending = self._link_same(pending)
        missing = self._bring(pending)
        self._sync()
        errors = [error for _, error in missing]
        if errors:
            raise_all(_merged(errors))
        self._name_all()
        self.whole = True
        if entry.origin != "hub":
            # What those spoke of stands here no more, and no project wants it.
            for other in list(self._rivals(entry.files)):
                self.store.drop_receipt(other)
        self.origin.finish(entry)

    def _refuse_others_places(self, files: Sequence[LockedFile]) -> None:
        """A place outside the hub's layout holds one content: what another project keeps there is not taken from it."""
        if self.entry.origin == "hub":
            return
        for other in self._rivals(files):
            users = [user for user in other.wanted_by if user != self.wish.manifest and wants(user, other.entry)]
            if users:
                raise UsageError(
                    f"{self.entry.name}: a place of it is held with other bytes by {other.entry.name} of {users[0]}",
                    mend="give this asset another name or `path:`, or use a store of its own with --root",
                )

    def _rivals(self, files: Sequence[LockedFile]) -> Iterator[Receipt]:
        """Receipts of other entries that name one of these files' places, with other bytes."""
        places = {self.layout.name(file): file.sha256 for file in files}
        for other in self.store.receipts():
            if other.entry != self.entry and other.entry.origin != "hub":
                layout = Layout(other.entry)
                if any(places.get(layout.name(file), file.sha256) != file.sha256 for file in other.entry.files):
                    yield other

    def _prove_present(self, files: Sequence[LockedFile]) -> list[LockedFile]:
        """Hash what stands at its place already, whoever put it there; return what is missing or wrong."""
        candidates: dict[str, list[LockedFile]] = {}
        for file in files:
            if self.states[self._key(file)] is not State.MISSING and not self._leads_out(file):
                self._adopt(file)
                candidates.setdefault(self._at(file), []).append(file)
        work = [(same[0], path) for path, same in candidates.items()]
        if not work:
            return list(files)
        results = prove_many(work, f"proving {self.entry.name}", self.reporter)
        rest = []
        for file in files:
            result = results.get(self._at(file))
            if isinstance(result, Stamp):
                self.stamps[self._key(file)] = result
            else:
                if result is not None and result[0] != "missing":
                    self.reporter.say(f"{self.entry.name}: {file.path}: {result[0]}: {result[1]}; it will be replaced")
                rest.append(file)
        return rest

    def _leads_out(self, file: LockedFile) -> bool:
        """Whether what stands at a file's place is a link to somewhere outside the store, whatever bytes are there."""
        path = self._at(file)
        root = os.path.realpath(self.store.root)
        return os.path.islink(path) and not os.path.realpath(path).startswith(root + os.sep)

    def _adopt(self, file: LockedFile) -> None:
        """Where symlinks are refused, huggingface_hub leaves a file at the name and no blob: make it the blob too."""
        name, blob = self.store.at(self.layout.name(file)), self._at(file)
        if name != blob and not os.path.lexists(blob) and os.path.isfile(name) and not os.path.islink(name):
            link(name, blob, "hardlink")

    def _link_same(self, files: Sequence[LockedFile]) -> list[LockedFile]:
        """Use the same bytes from elsewhere in the store, by a hard link, after hashing them."""
        wanted = {file.sha256 for file in files if file.sha256}
        elsewhere = self.store.proved_elsewhere(wanted) if wanted else {}
        rest = []
        for file in files:
            stamp = self._link_one(file, elsewhere.get(file.sha256 or "", ()))
            if stamp is None:
                rest.append(file)
            else:
                self.stamps[self._key(file)] = stamp
                self.linked.append(file)
        return rest

    def _link_one(self, file: LockedFile, paths: Sequence[str]) -> Stamp | None:
        final = self._at(file)
        for path in paths:
            real = os.path.realpath(path)
            with contextlib.suppress(OSError):
                if os.path.exists(final) and os.path.samefile(real, final):
                    continue  # the very file that is missing its proof
                if isinstance(prove(real, file), Stamp):
                    link(real, final, "hardlink")
                    again = prove(final, file) if not os.path.samefile(real, final) else None
                    if again is None or isinstance(again, Stamp):
                        status = os.stat(final)
                        return Stamp.of(status)
        return None

    def _bring(self, files: Sequence[LockedFile]) -> list[tuple[LockedFile, AssetError]]:
        """Fetch, prove and place; what arrives wrong is dropped and fetched once more."""
        todo = list(files)
        failed: dict[str, tuple[LockedFile, AssetError]] = {}
        with self.origin.guard(self.entry) if todo else contextlib.nullcontext():
            for final_try in (False, True):
                again = []
                for file, fault in self._bring_once(todo) if todo else ():
                    if fault is None:
                        failed.pop(self._key(file), None)
                    elif isinstance(fault, AssetError):
                        failed[self._key(file)] = (file, fault)
                    else:
                        failed[self._key(file)] = (file, self._wrong(file, fault))
                        again.append(file)
                        if not final_try:
                            self.reporter.say(f"{self.entry.name}: {file.path}: {fault[0]}; fetching it once more")
                todo = again
        return list(failed.values())

    def _wrong(self, file: LockedFile, fault: tuple[str, str]) -> IntegrityError:
        name = self.entry.name
        source = next(iter(self.origin.sources(self.entry, file)), "")
        return IntegrityError(
            f"{name}: {file.path}: {fault[0]}: {fault[1]}, twice, from {safe_url(source)}",
            mend=f"nothing wrong was kept, the rest is in place; when the origin is mended: assetmgr pull {name}; "
            f"if its content was changed on purpose: assetmgr lock --upgrade {name}",
        )

    def _bring_once(
        self, files: Sequence[LockedFile]
    ) -> Iterator[tuple[LockedFile, AssetError | tuple[str, str] | None]]:
        """Bring files of different content once each; yield each file with what went wrong, if anything did."""
        by_content: dict[str, list[LockedFile]] = {}
        for file in files:
            by_content.setdefault(self._at(file) if self.layout.repo else file.sha256 or "", []).append(file)
        with contextlib.closing(self.origin.bring(self.entry, [same[0] for same in by_content.values()])) as arrivals:
            yield from self._placed(arrivals, by_content)

    def _placed(
        self, arrivals: Iterable[Arrival], by_content: Mapping[str, list[LockedFile]]
    ) -> Iterator[tuple[LockedFile, AssetError | tuple[str, str] | None]]:
        """Prove and place what arrives; what was proved as it was written stands at its name at once."""
        unproved: list[tuple[LockedFile, str, list[LockedFile]]] = []
        for arrival in arrivals:
            same = by_content[self._at(arrival.file) if self.layout.repo else arrival.file.sha256 or ""]
            if arrival.path is None:
                error = arrival.error or AssetError(f"{self.entry.name}: {arrival.file.path}: did not arrive")
                yield from ((file, error) for file in same)
            elif arrival.proof is not None and _still_fits(arrival.proof, arrival.path):
                self._place(arrival.path, arrival.proof, arrival.file, same)
                yield from ((file, None) for file in same)
            else:
                unproved.append((arrival.file, arrival.path, same))
        if not unproved:
            return
        label = f"proving {self.entry.name}"
        proofs = prove_many([(file, path) for file, path, _ in unproved], label, self.reporter)
        for file, path, same in unproved:
            proof = proofs[path]
            if isinstance(proof, Stamp):
                self._place(path, proof, file, same)
                yield from ((other, None) for other in same)
            else:
                remove_file(path)
                yield from ((other, proof) for other in same)

    def _place(self, path: str, proof: Stamp, file: LockedFile, same: Sequence[LockedFile]) -> None:
        """Give proved bytes their final name, and link them to the names of other files with the same content."""
        sync = file.size >= _SYNCED_ALONE
        status = place(path, self._at(file), sync=sync)
        self.fetched.append(file)
        for other in same:
            if self._at(other) != self._at(file):
                link(self._at(file), self._at(other), "hardlink")
                status = os.stat(self._at(other))
            self.stamps[self._key(other)] = Stamp.of(status, proof.proved_at)
            if not sync:
                self.unsynced[self._key(other)] = os.path.dirname(self._at(other))
        if len(self.unsynced) >= _SYNCED_TOGETHER:
            self._sync()

    def _sync(self) -> None:
        """Make durable what was placed, before a name, a ref or the receipt speaks of it."""
        folders = {os.stat(folder).st_dev: folder for folder in set(self.unsynced.values())}
        for folder in folders.values():
            sync_folder(folder)
        self.unsynced.clear()

    def _name_all(self) -> None:
        """Give hub blobs their names in the snapshot."""
        if not self.layout.repo:
            return
        fallen = set()
        folder = self.store.at(self.layout.prefix("").rstrip("/"))
        make_folder(folder)
        repo = os.path.realpath(self.store.at(self.layout.repo))
        if os.path.realpath(folder) != os.path.join(repo, "snapshots", self.entry.commit):
            raise IntegrityError(
                f"{self.entry.name}: {folder} is a link to {os.path.realpath(folder)}", mend="remove that link"
            )
        for file in self.entry.files:
            name, blob = self.store.at(self.layout.name(file)), self._at(file)
            if self.states[self._key(file)] not in (State.MISSING, State.UNLINKED):
                with contextlib.suppress(OSError):
                    if os.path.samefile(name, blob):
                        continue
            style = link(blob, name, "symlink", relative=True)
            if style != "symlink":
                fallen.add(style)
            if style == "copy":
                status = os.stat(name)
                self.stamps[self._key(file)] = Stamp.of(status)
        for style in fallen:
            self.reporter.say(f"{self.entry.name}: symlinks are refused here; used a {style} in the hub cache instead")

    # --- marking: what tells other tools that the asset is whole ---------------------------------------------------

    def mark(self) -> None:
        entry, store, layout = self.entry, self.store, self.layout
        if not layout.repo:
            return
        if entry.listing is not None:
            data = self.origin.listing(entry)
            path = store.at(layout.tree)
            if data is None:
                self.reporter.say(
                    f"{entry.name}: the commit's listing is not in the store and cannot be had offline; "
                    "huggingface_hub will not tell this selection of files from the whole commit"
                )
            else:
                document = tree_cache(data)
                with contextlib.suppress(OSError), open(path, "rb") as file:
                    if file.read() == document:
                        document = b""
                if document:
                    write_document(path, document)
                status = os.stat(path)
                self.tree = Stamp.of(status)
        if layout.ref is not None:
            found = read_ref(store.at(layout.ref))
            if found != entry.commit:
                if found and (layout.ref, found) in claimed_refs(
                    store.receipts(), entry, besides=self.wish.manifest or ""
                ):
                    self.reporter.say(
                        f"{entry.name}: {layout.ref} now leads to {entry.commit[:12]}; another project's "
                        f"{found[:12]} stays installed, and offline code that names no commit gets the one pulled last"
                    )
                if ref_is_blocked(store.at(layout.ref)):
                    self.reporter.say(
                        f"{entry.name}: another revision of {entry.repo} stands where refs/{entry.revision} would: "
                        "offline code must name the commit"
                    )
                else:
                    write_document(store.at(layout.ref), entry.commit.encode())

    def save(self) -> None:
        """Write down what is proved, also after a failure, so that the next run need not hash it again."""
        before, wish = self.receipt, self.wish
        for key in self.unsynced:  # in a hurry, after Ctrl-C: they are hashed again by the next run
            del self.stamps[key]
        if not self.stamps and before is None:
            return
        receipt = Receipt(
            entry=self.entry,
            stamps=tuple(self.stamps.get(self._key(file)) for file in self.entry.files),
            # Its stamps say what is unproved now; that it was whole once stays true.
            pulled_at=int(time.time()) if self.whole else before.pulled_at if before else 0,
            use=dict(wish.use),
            endpoint=wish.endpoint,
            local_dirs=_with(before.local_dirs if before else (), wish.local_dir),
            wanted_by=_with(before.wanted_by if before else (), wish.manifest),
            base=wish.base or (before.base if before else ""),
            pins=dict(wish.pins) or (before.pins if before else {}),
            tree=self.tree or (before.tree if before else None),
        )
        self.store.save_receipt(receipt)

    def pulled(self) -> Pulled:
        kept = len(self.entry.files) - len(self.fetched) - len(self.linked)
        size = sum(file.size for file in self.fetched)
        return Pulled(self.entry.name, len(self.fetched), size, len(self.linked), max(kept, 0))


def wants(manifest: str, entry: LockedAsset) -> bool:
    """Whether a project still wants an entry: its manifest is there, and its lock names it or cannot be read."""
    if not os.path.exists(manifest):
        return False
    try:
        lock = load_lock(lock_path(Path(manifest)), check=False)
    except AssetError:
        return True
    return lock is not None and lock.assets.get(entry.name) == entry


def _still_fits(proof: Stamp, path: str) -> bool:
    """Whether a file is the one that was hashed as it was written, and not a link to it or to anything else."""
    try:
        return proof.fits(os.lstat(path))
    except OSError:
        return False


def _merged(errors: Sequence[AssetError]) -> list[AssetError]:
    """The failures of one asset's files, each told once."""
    unique: dict[tuple[type[AssetError], str], AssetError] = {}
    for error in errors:
        unique.setdefault((type(error), error.message), error)
    return list(unique.values())


def _with(known: tuple[str, ...], new: str | None) -> tuple[str, ...]:
    return known if new is None or new in known else (*known, new)
