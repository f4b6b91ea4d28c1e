"""The archives of one asset, from proved bytes to proved members.

Where an archive's bytes are (in the store, or staged until they are unpacked), its listing where the store has none,
and its members: all of them out of it, or a few read from where it is published.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from assetmgr.archives import ListedMember, Seekable, dump_listing, extract, listing, parse_listing, sweep_stages
from assetmgr.contents import Unpacked
from assetmgr.digests import sha256_text
from assetmgr.errors import AssetError, IntegrityError, about
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.mutex import held
from assetmgr.origins import Context, Origin
from assetmgr.placing import remove_file
from assetmgr.receipt import Stamp
from assetmgr.store import Layout
from assetmgr.transfer.journal import journal_path
from assetmgr.verify import prove


@dataclass(slots=True)
class Unpacker:
    """The archives of one installation.

    Attributes
    ----------
    proved
        Told of each member that is in place and right: its place, path and stamp.
    staged
        Archives that are not kept, by sha256, and where their bytes are until they are unpacked.
    """

    context: Context
    origin: Origin
    entry: LockedAsset
    proved: Callable[[str, str, Stamp], object]
    staged: dict[str, str] = field(default_factory=dict)
    _found: dict[str, str] = field(default_factory=dict)

    # --- where bytes are -------------------------------------------------------------------------------------------

    def find(self, archive: LockedFile) -> str | None:
        """The proved bytes of an archive that is not kept: staged, or kept for another asset."""
        sha256, store = archive.sha256 or "", self.context.store
        if sha256 not in self.staged and sha256 not in self._found:
            for path in store.proved_elsewhere({sha256}).get(sha256, ()):
                if isinstance(prove(path, archive), Stamp):
                    self._found[sha256] = path
                    break
        return self.staged.get(sha256) or self._found.get(sha256)

    def brought(self, archive: LockedFile) -> int:
        """Its size where `lock` or an earlier run has brought all of it, else 0."""
        partial = self.context.store.partial(archive.sha256 or "")
        with contextlib.suppress(OSError):
            if not os.path.exists(journal_path(partial)):
                return os.path.getsize(partial)
        return 0

    def forget(self, archive: LockedFile) -> None:
        """Its bytes proved wrong after all."""
        self._found.pop(archive.sha256 or "", None)
        path = self.staged.pop(archive.sha256 or "", None)
        if path is not None:
            remove_file(path)

    def release(self, *, whole: bool, later: Collection[str | None]) -> None:
        """Remove what was staged; give it back to the next pull where this one failed, or the next asset needs it."""
        for sha256, path in self.staged.items():
            if not whole or sha256 in later:
                with contextlib.suppress(OSError):
                    os.link(path, self.context.store.partial(sha256))
            with contextlib.suppress(OSError):
                remove_file(path)
        self.staged.clear()

    # --- what is in them -------------------------------------------------------------------------------------------

    def list(self, each: Unpacked, path: str) -> None:
        """Make a listing that the store lacks; the archive's bytes are proved, and the lock says what must come out.

        Raises
        ------
        IntegrityError
            When the archive is damaged or hostile, or something else comes out.
        """
        archive, wanted = each.archive, each.extract
        with self.context.reporter.progress(f"listing {self.entry.name}", wanted.size) as bar:
            try:
                members = listing(
                    path, strip=wanted.strip, prefix_filter=wanted.prefix, name=archive.path, progress=bar.add
                )
            except AssetError as error:
                raise about(error, self.entry.name) from None
        data = dump_listing(members)
        if sha256_text(data) != wanted.listing:
            raise IntegrityError(
                f"{self.entry.name}: {archive.path}: the lock says that its listing is {wanted.listing}, "
                f"and it is {sha256_text(data)}",
                mend=f"assetmgr lock --upgrade {self.entry.name}",
            )
        self.context.store.write_listing(data)

    def _listed(self, each: Unpacked) -> dict[str, ListedMember]:
        """The members by path, every name checked: they are about to be written by."""
        digest = each.extract.listing or ""
        data = self.context.store.read_listing(digest) or b""
        return {member.path: member for member in parse_listing(data, f"{self.entry.name}: listing {digest}")}

    # --- out of them -----------------------------------------------------------------------------------------------

    def unpack(self, each: Unpacked, path: str, stamps: Mapping[str, Stamp]) -> int:
        """Bring every member that is missing to its place; return how many that were.

        Parameters
        ----------
        path
            The archive.
        stamps
            Of members that are in place, by path.
        """
        with self._folder(each) as folder:
            return self._extract(each, path, folder, list(self._listed(each).values()), stamps)

    def read_parts(self, each: Unpacked, members: Sequence[LockedFile]) -> int:
        """Read a few members out of the archive where it is published; return how many came.

        Raises
        ------
        AssetError
            When it cannot be read in parts, is no zip, or gives other bytes. What came stays.
        """
        listed = self._listed(each)
        wanted = [listed[member.path] for member in members]
        failure: AssetError | None = None
        for remote in self.origin.in_parts(self.entry, each.archive):
            with self._folder(each) as folder:
                try:
                    return self._extract(each, remote, folder, wanted, {})
                except AssetError as error:
                    failure = error
        raise failure or AssetError("it is published nowhere that can be read in parts")

    def _extract(
        self,
        each: Unpacked,
        archive: str | Seekable,
        folder: str,
        listed: Sequence[ListedMember],
        stamps: Mapping[str, Stamp],
    ) -> int:
        total = sum(member.size for member in listed)
        with self.context.reporter.progress(f"unpacking {self.entry.name}", total) as bar:
            try:
                result = extract(
                    archive,
                    folder,
                    listed,
                    strip=each.extract.strip,
                    prefix_filter=each.extract.prefix,
                    stamps=stamps,
                    name=each.archive.path,
                    progress=bar.add,
                    proved=lambda path, stamp: self.proved(each.extract.place, path, stamp),
                )
            except AssetError as error:
                raise about(error, self.entry.name) from None
        return len(result.written)

    @contextlib.contextmanager
    def _folder(self, each: Unpacked) -> Iterator[str]:
        """The folder that members go to, held: no other process unpacks into it meanwhile."""
        store = self.context.store
        relative = Layout(self.entry).prefix(each.extract.place).rstrip("/")
        purpose = f"unpacking {each.archive.path} of {self.entry.name}"
        mutex = store.mutex(f"unpack-{sha256_text(relative)[:32]}")
        with held(mutex, purpose, wait=self.context.wait, say=self.context.reporter.say):
            sweep_stages(store.at(relative))
            yield store.at(relative)
