"""The files of one asset, until their bytes are proved at their places: hashed there, linked, or brought.

What arrives wrong is dropped and fetched once more. Nothing stands at its final name before it is proved.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from assetmgr.adopting import settle, take
from assetmgr.digests import in_parallel
from assetmgr.errors import AssetError, IntegrityError, raise_all
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.origins import Arrival, Context, Origin
from assetmgr.origins.fetching import recover
from assetmgr.placing import link, place, remove_file, sync_folder
from assetmgr.receipt import Receipt, Stamp
from assetmgr.store import Layout, State
from assetmgr.transfer.urls import safe_url
from assetmgr.verify import prove, prove_many

# Bytes from which a file is synced by itself, as it is placed; and how many smaller ones are synced at once.
_SYNCED_ALONE = 1 << 20
_SYNCED_TOGETHER = 5000


class Filling:
    """What is known of each file of an asset while it is being pulled.

    Attributes
    ----------
    contents
        The files, as far as they are known: archives that no listing tells of are looked into first.
    stamps
        Of every file that is proved where it belongs, by `key_of`.
    unsynced
        Of these, the ones that a power cut may still take, with their folders.
    loose
        Where the bytes of archives arrived that have no place of their own, by sha256.
    fetched, linked, adopted
        What was done: brought, linked within the store, taken from other tools' caches.
    """

    def __init__(
        self, context: Context, origin: Origin, entry: LockedAsset, receipt: Receipt | None, states: Sequence[State]
    ) -> None:
        self.store, self.reporter = context.store, context.reporter
        self.origin, self.entry, self.receipt = origin, entry, receipt
        self.layout = Layout(entry)
        self.stamps: dict[str, Stamp] = {}
        self.unsynced: dict[str, str] = {}
        self.loose: dict[str, str] = {}
        self.fetched: list[LockedFile] = []
        self.linked: list[LockedFile] = []
        self.adopted: list[LockedFile] = []
        self._context, self._caches = context, context.caches
        self._states: dict[str, State] = {}
        self.look(states)

    def look(self, states: Sequence[State] | None = None) -> None:
        """Take a survey of the contents as they are known now; what was proved meanwhile stays so."""
        self.contents = self.store.contents(self.entry)
        known = self.store.known_stamps(self.entry, self.receipt)
        if states is None:
            states = self.store.survey(self.contents.placed, known)
        for file, stamp, state in zip(self.contents.files, known, states, strict=True):
            key = key_of(file)
            self._states[key] = state
            if state is State.PROVED and stamp is not None:
                self.stamps.setdefault(key, stamp)

    def at(self, file: LockedFile) -> str:
        """Where a file's bytes belong."""
        return self.store.at(self.layout.bytes(file))

    def was_there(self, file: LockedFile) -> bool:
        """Whether something stood at the file's name when it was surveyed."""
        return self._states[key_of(file)] not in (State.MISSING, State.UNLINKED)

    def missing(self) -> list[LockedFile]:
        """The files that are not proved where they belong."""
        return [file for file in self.contents.files if not self.is_proved(file)]

    def is_proved(self, file: LockedFile) -> bool:
        return key_of(file) in self.stamps

    def prove_present(self, files: Sequence[LockedFile]) -> list[LockedFile]:
        """Hash what stands at its place already, whoever put it there; return what is missing or wrong.

        Raises
        ------
        IntegrityError
            When a folder stands where a file belongs: whatever was fetched for it could not be placed.
        """
        self._refuse_folders(files)
        candidates: dict[str, list[LockedFile]] = {}
        for file in files:
            if self._states[key_of(file)] is not State.MISSING and not self._leads_out(file):
                self._make_blob(file)
                candidates.setdefault(self.at(file), []).append(file)
        work = [(same[0], path) for path, same in candidates.items()]
        if not work:
            return list(files)
        results = prove_many(work, f"proving {self.entry.name}", self.reporter)
        rest = []
        for file in files:
            result = results.get(self.at(file))
            if isinstance(result, Stamp):
                self.stamps[key_of(file)] = result
            else:
                if result is not None and result[0] != "missing":
                    self.reporter.say(f"{self.entry.name}: {file.path}: {result[0]}: {result[1]}; it will be replaced")
                rest.append(file)
        return rest

    def _refuse_folders(self, files: Sequence[LockedFile]) -> None:
        blocked = []
        # Where a member cannot stand, its extraction says so, once the others are out.
        own = {key_of(file) for file in self.entry.files if file.is_placed}
        for file in files:
            names = (self.at(file), self.store.at(self.layout.name(file))) if key_of(file) in own else ()
            for path in dict.fromkeys(names):
                if os.path.isdir(path) and not os.path.islink(path):
                    what = f"{self.entry.name}: {file.path}: a folder stands at {path}, where the file belongs"
                    mend = f"move it away, then: assetmgr pull {self.entry.name}"
                    blocked.append(IntegrityError(what, mend=mend))
        raise_all(merged(blocked))

    def _leads_out(self, file: LockedFile) -> bool:
        """Whether what stands at a file's place is a link to somewhere outside the store, whatever bytes are there."""
        path = self.at(file)
        root = os.path.realpath(self.store.root)
        return os.path.islink(path) and not os.path.realpath(path).startswith(root + os.sep)

    def _make_blob(self, file: LockedFile) -> None:
        """Where symlinks are refused, huggingface_hub leaves a file at the name and no blob: make it the blob too."""
        name, blob = self.store.at(self.layout.name(file)), self.at(file)
        if name != blob and not os.path.lexists(blob) and os.path.isfile(name) and not os.path.islink(name):
            link(name, blob, "hardlink")

    def link_same(self, files: Sequence[LockedFile]) -> list[LockedFile]:
        """Use the same bytes from elsewhere in the store, by a hard link, after hashing them."""
        wanted = {file.sha256 for file in files if file.sha256}
        elsewhere = self.store.proved_elsewhere(wanted) if wanted else {}
        rest = []
        for file in files:
            stamp = self._link_one(file, elsewhere.get(file.sha256 or "", ()))
            if stamp is None:
                rest.append(file)
            else:
                self.stamps[key_of(file)] = stamp
                self.linked.append(file)
        return rest

    def _link_one(self, file: LockedFile, paths: Sequence[str]) -> Stamp | None:
        final = self.at(file)
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

    def adopt(self, files: Sequence[LockedFile]) -> list[LockedFile]:
        """Take what other tools' caches on this machine hold of these files, after hashing it; return the rest."""
        same: dict[str, list[LockedFile]] = {}
        for file in files:
            same.setdefault(self.at(file), []).append(file)
        work = sorted((group[0] for group in same.values()), key=lambda file: file.size, reverse=True)
        found = [file for file in work if self._caches.candidates(self.entry, file)]
        if not found:
            return list(files)
        recover(self._context)
        done: set[str] = set()
        try:
            with self.reporter.progress(f"proving {self.entry.name}", sum(file.size for file in found)) as bar:
                for file, taken in in_parallel(
                    lambda file: take(self._context, self.entry, file, self.at(file), bar.add), found
                ):
                    if taken is not None and (stamp := settle(taken, file, self.at(file))):
                        done.add(self.at(file))
                        self._caches.took(taken.candidate, file.size, linked=taken.is_shared)
                        for other in same[self.at(file)]:
                            self.stamps[key_of(other)] = stamp
                            self.unsynced[key_of(other)] = os.path.dirname(self.at(file))
                            self.adopted.append(other)
        finally:
            self.sync()  # also after Ctrl-C: what was hashed need not be hashed again
        return [file for file in files if self.at(file) not in done]

    def bring(self, files: Sequence[LockedFile]) -> list[tuple[LockedFile, AssetError]]:
        """Fetch, prove and place; what arrives wrong is dropped and fetched once more."""
        todo = list(files)
        failed: dict[str, tuple[LockedFile, AssetError]] = {}
        with self.origin.guard(self.entry) if todo else contextlib.nullcontext():
            for final_try in (False, True):
                again = []
                for file, fault in self._bring_once(todo) if todo else ():
                    if fault is None:
                        failed.pop(key_of(file), None)
                    elif isinstance(fault, AssetError):
                        failed[key_of(file)] = (file, fault)
                    else:
                        failed[key_of(file)] = (file, self._wrong(file, fault))
                        again.append(file)
                        if not final_try:
                            self.reporter.say(f"{self.entry.name}: {file.path}: {fault[0]}; fetching it once more")
                todo = again
        return list(failed.values())

    def bring_mirrored(self, files: Sequence[LockedFile]) -> None:
        """Place what mirrors have of these files. What they lack, or give wrong, others are to be asked for."""
        by_content: dict[str, list[LockedFile]] = {}
        for file in files:
            by_content.setdefault(file.sha256 or "", []).append(file)
        wanted = [same[0] for same in by_content.values()]
        with contextlib.closing(self.origin.mirrored(self.entry, wanted)) as arrivals:
            for _ in self._placed(arrivals, by_content):
                pass

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
            by_content.setdefault(self.at(file) if self.layout.repo else file.sha256 or "", []).append(file)
        with contextlib.closing(self.origin.bring(self.entry, [same[0] for same in by_content.values()])) as arrivals:
            yield from self._placed(arrivals, by_content)

    def _placed(
        self, arrivals: Iterable[Arrival], by_content: Mapping[str, list[LockedFile]]
    ) -> Iterator[tuple[LockedFile, AssetError | tuple[str, str] | None]]:
        """Prove and place what arrives; what was proved as it was written stands at its name at once."""
        unproved: list[tuple[LockedFile, str, list[LockedFile]]] = []
        for arrival in arrivals:
            same = by_content[self.at(arrival.file) if self.layout.repo else arrival.file.sha256 or ""]
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
        self.fetched.append(file)
        placed = [other for other in same if other.is_placed]
        if not placed:  # an archive that is not kept is unpacked from where it arrived
            self.loose[file.sha256 or ""] = path
            return
        first, sync = self.at(placed[0]), file.size >= _SYNCED_ALONE
        status = place(path, first, sync=sync)
        for other in placed:
            if self.at(other) != first:
                link(first, self.at(other), "hardlink")
                status = os.stat(self.at(other))
            self.stamps[key_of(other)] = Stamp.of(status, proof.proved_at)
            if not sync:
                self.unsynced[key_of(other)] = os.path.dirname(self.at(other))
        if len(self.unsynced) >= _SYNCED_TOGETHER:
            self.sync()

    def sync(self) -> None:
        """Make durable what was placed, before a name, a ref or the receipt speaks of it."""
        folders = {os.stat(folder).st_dev: folder for folder in set(self.unsynced.values())}
        for folder in folders.values():
            sync_folder(folder)
        self.unsynced.clear()


def key_of(file: LockedFile) -> str:
    """What a file is known by within its asset."""
    return f"{file.place}:{file.path}"


def _still_fits(proof: Stamp, path: str) -> bool:
    """Whether a file is the one that was hashed as it was written, and not a link to it or to anything else."""
    try:
        return proof.fits(os.lstat(path))
    except OSError:
        return False


def merged(errors: Sequence[AssetError]) -> list[AssetError]:
    """The failures of one asset's files, each told once."""
    unique: dict[tuple[type[AssetError], str], AssetError] = {}
    for error in errors:
        unique.setdefault((type(error), error.message), error)
    return list(unique.values())
