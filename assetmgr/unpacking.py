"""The archives of one asset, from proved bytes to proved members.

Where an archive's bytes are (in the store, or loose until they are unpacked), its listing where the store has none,
and its members: all of them out of it, or a few from mirrors, or read from where it is published.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator, Sequence

from assetmgr.archives import ListedMember, Seekable, dump_listing, extract, listing, parse_listing, sweep_stages
from assetmgr.contents import Unpacked
from assetmgr.digests import sha256_text
from assetmgr.errors import AssetError, IntegrityError, about, raise_all
from assetmgr.filling import Filling, key_of, merged
from assetmgr.lock import LockedFile
from assetmgr.mutex import held
from assetmgr.origins import Context, Origin
from assetmgr.placing import remove_file
from assetmgr.plan import are_few, wants_ranges
from assetmgr.receipt import Stamp
from assetmgr.transfer.journal import journal_path
from assetmgr.verify import prove


class Unpacking:
    """The archives of one installation.

    Parameters
    ----------
    files
        What is known of the asset's files. Members that come out are noted there.
    noted
        Called after each of them.
    check
        Called when members have become known that nobody has compared with other assets' files yet.
    """

    def __init__(
        self,
        context: Context,
        origin: Origin,
        files: Filling,
        noted: Callable[[], None],
        check: Callable[[], None],
    ) -> None:
        self._context, self._origin, self._files = context, origin, files
        self._store, self._name = context.store, files.entry.name
        self._noted, self._check = noted, check
        self._found: dict[str, str] = {}
        self._checked: dict[str, dict[str, ListedMember]] = {}
        self.count = 0

    # --- where bytes are -------------------------------------------------------------------------------------------

    def bytes_of(self, archive: LockedFile) -> str | None:
        """Where an archive's proved bytes are, if they are here: at a place of the asset, loose, or another asset's."""
        sha256 = archive.sha256 or ""
        for file in self._files.entry.files:
            if file.sha256 == sha256 and file.is_placed and self._files.is_proved(file):
                return self._files.at(file)
        if archive.is_placed:
            return None
        if sha256 not in self._files.loose and sha256 not in self._found:
            for path in self._store.proved_elsewhere({sha256}).get(sha256, ()):
                if isinstance(prove(path, archive), Stamp):
                    self._found[sha256] = path
                    break
        if sha256 not in self._files.loose and sha256 not in self._found:
            for candidate in self._context.caches.candidates(self._files.entry, archive):
                proof = prove(candidate.path, archive)
                if isinstance(proof, Stamp):
                    self._found[sha256] = candidate.path
                    break
                self._context.caches.passed_over(candidate, archive, proof[0])
        return self._files.loose.get(sha256) or self._found.get(sha256)

    def _brought(self, archive: LockedFile) -> int:
        """Its size where `lock` or an earlier run has brought all of it, else 0."""
        partial = self._store.partial(archive.sha256 or "")
        with contextlib.suppress(OSError):
            if not os.path.exists(journal_path(partial)):
                return os.path.getsize(partial)
        return 0

    def release(self, *, whole: bool, later: Collection[str | None]) -> None:
        """Remove loose bytes; or give them to the next pull, or to a ``later`` asset of this one."""
        for sha256, path in self._files.loose.items():
            shared = self._store.partial(sha256)
            with contextlib.suppress(OSError):
                if (not whole or sha256 in later) and not os.path.lexists(shared):
                    os.replace(path, shared)
                remove_file(path)
        self._files.loose.clear()

    # --- what is in them -------------------------------------------------------------------------------------------

    def learn(self) -> bool:
        """Have the listing of each archive, its names checked; one that the store lacks is made from the archive.

        Returns whether members became known that were not.
        """
        files = self._files
        unlisted = files.contents.unlisted
        if unlisted:
            self._learn(unlisted)
            files.look()
            self._check()
        for each in files.contents.unpacked:
            if self._missing(each):  # whatever is done about them goes by their names
                self._listed(each)
        return bool(unlisted)

    def _learn(self, unlisted: Sequence[Unpacked]) -> None:
        files = self._files
        unlisted = [
            each for each in unlisted if self._origin.mirrored_listing(files.entry, each.extract.listing or "") is None
        ]
        archives = [each.archive for each in unlisted]
        kept = [file for file in archives if file.is_placed and not files.is_proved(file)]
        files.link_same(files.prove_present(kept))
        failed = files.bring([file for file in archives if self.bytes_of(file) is None])
        raise_all(merged([error for _, error in failed]))
        for each in unlisted:
            self._list(each, self.bytes_of(each.archive) or "")

    def _list(self, each: Unpacked, path: str) -> None:
        """Make a listing of proved bytes; the lock says what must come out."""
        archive, wanted = each.archive, each.extract
        with self._context.reporter.progress(f"listing {self._name}", wanted.size) as bar:
            try:
                members = listing(
                    path, strip=wanted.strip, prefix_filter=wanted.prefix, name=archive.path, progress=bar.add
                )
            except AssetError as error:
                raise about(error, self._name) from None
        data = dump_listing(members)
        if sha256_text(data) != wanted.listing:
            raise IntegrityError(
                f"{self._name}: {archive.path}: the lock says that its listing is {wanted.listing}, "
                f"and it is {sha256_text(data)}",
                mend=f"assetmgr lock --upgrade {self._name}",
            )
        self._store.write_listing(data)

    def _listed(self, each: Unpacked) -> dict[str, ListedMember]:
        """The members by path, every name checked.

        Raises
        ------
        LockError
            When it is not a listing that this project would make.
        """
        digest = each.extract.listing or ""
        if digest not in self._checked:
            data = self._store.read_listing(digest) or b""
            where = f"{self._name}: {each.archive.path}: its listing {digest}"
            self._checked[digest] = {member.path: member for member in parse_listing(data, where)}
        return self._checked[digest]

    # --- out of them -----------------------------------------------------------------------------------------------

    def short(self) -> list[Unpacked]:
        """The archives that are needed for members that are not there; few members are read from afar instead."""
        needed = []
        for each in self._files.contents.unpacked:
            members = self._missing(each)
            if not members:
                continue
            archive = each.archive
            # One that is kept, and not there, is on its way anyhow.
            here = archive.is_placed or self._brought(archive) == archive.size or self.bytes_of(archive) is not None
            if here or not self._had_singly(each, members):
                needed.append(each)
        return needed

    def _had_singly(self, each: Unpacked, members: Sequence[LockedFile]) -> bool:
        """Whether all of these members came without the archive: from mirrors, or read out of it where it is published.

        Many members are asked of mirrors only where these do not have the archive.
        """
        archive, files = each.archive, self._files
        if not are_few(archive, members):
            files.bring_mirrored([archive])
            if self.bytes_of(archive) is not None:
                return False
        files.bring_mirrored(members)
        members = self._missing(each)
        return not members or (wants_ranges(archive, members) and self._read_parts(each, members))

    def _missing(self, each: Unpacked) -> list[LockedFile]:
        return [file for file in each.members or () if not self._files.is_proved(file)]

    def _read_parts(self, each: Unpacked, members: Sequence[LockedFile]) -> bool:
        """Read a few members out of an archive where it is published; return whether all came. What came stays."""
        listed = self._listed(each)
        wanted = [listed[file.path] for file in members]
        for remote in self._origin.in_parts(self._files.entry, each.archive):
            try:
                self._extract(each, remote, wanted)
            except AssetError as error:
                self._context.reporter.say(f"{error.message}; it is not read in parts")
            else:
                self._files.fetched += members
                return True
        return False

    def unpack(self, short: Sequence[Unpacked]) -> list[AssetError]:
        """Unpack archives that are here; return what went wrong. What came stays."""
        errors: list[AssetError] = []
        for each in short:
            try:
                self._unpack(each)
            except AssetError as error:
                errors += error.parts
        return errors

    def _unpack(self, each: Unpacked) -> None:
        """Unpack one. An archive that proves damaged in the store is fetched anew, once."""
        files, archive = self._files, each.archive
        path = self.bytes_of(archive) or ""
        members = list(self._listed(each).values())
        try:
            self.count += self._extract(each, path, members)
            return
        except IntegrityError as error:
            if isinstance(prove(path, archive), Stamp):
                raise
            self._context.reporter.say(f"{error.message}; the archive is damaged, fetching it anew")
        files.stamps.pop(key_of(archive), None)
        self._found.pop(archive.sha256 or "", None)
        if loose := files.loose.pop(archive.sha256 or "", None):
            remove_file(loose)
        failed = files.bring([archive])
        files.sync()
        raise_all(merged([error for _, error in failed]))
        self.count += self._extract(each, self.bytes_of(archive) or "", members)

    def _extract(self, each: Unpacked, archive: str | Seekable, members: Sequence[ListedMember]) -> int:
        """Bring members to their places; return how many were not there."""
        stamps, place = self._files.stamps, each.extract.place

        def note(path: str, stamp: Stamp) -> None:
            stamps[f"{place}:{path}"] = stamp
            self._noted()

        total = sum(member.size for member in members)
        label = f"unpacking {self._name}"
        known = {member.path: stamps.get(f"{place}:{member.path}") for member in members}
        with self._folder(each) as folder, self._context.reporter.progress(label, total) as bar:
            try:
                result = extract(
                    archive,
                    folder,
                    members,
                    strip=each.extract.strip,
                    prefix_filter=each.extract.prefix,
                    stamps={path: stamp for path, stamp in known.items() if stamp is not None},
                    name=each.archive.path,
                    progress=bar.add,
                    proved=note,
                )
            except AssetError as error:
                raise about(error, self._name) from None
        return len(result.written)

    @contextlib.contextmanager
    def _folder(self, each: Unpacked) -> Iterator[str]:
        """The folder that members go to, held: no other process unpacks into it meanwhile."""
        relative = self._files.layout.prefix(each.extract.place).rstrip("/")
        purpose = f"unpacking {each.archive.path} of {self._name}"
        mutex = self._store.mutex(f"unpack-{sha256_text(relative)[:32]}")
        with held(mutex, purpose, wait=self._context.wait, say=self._context.reporter.say):
            folder = self._store.at(relative)
            sweep_stages(folder)
            yield folder
