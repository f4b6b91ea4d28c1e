"""One asset, from what the store holds of it to whole, proved, named and marked.

The order makes every interruption harmless. Blobs are proved before they get their names; names in a snapshot come
when the asset is whole; the listing, the ref and the receipt come last. Whatever a killed run left is either staged,
and used again, or whole at its final name, and proved by hashing it once.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from assetmgr.claims import remove_stale, wants
from assetmgr.contents import Unpacked
from assetmgr.errors import IntegrityError, LockError, UsageError, raise_all
from assetmgr.filling import Filling, key_of, merged
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.making import Making
from assetmgr.manifest import Transport
from assetmgr.origins import Context, Origin
from assetmgr.origins.made import MadeOrigin
from assetmgr.placing import LinkStyle, link, make_folder, write_document
from assetmgr.receipt import Receipt, Stamp
from assetmgr.store import Layout, State
from assetmgr.unpacking import Unpacking
from assetmgr.uses import touch
from assetmgr.verify import claimed_refs, read_ref, ref_is_blocked, tree_cache

# Seconds between two looks at the receipt while members come out of an archive.
_SAVED_EACH = 10.0


@dataclass(frozen=True, slots=True)
class Wish:
    """One locked asset as a manifest wants it on this machine.

    ``tuning`` is how a list is to be fetched, and ``made`` how the outcome of the entry came about, where it was made
    in this run. ``is_open`` says that the lock leaves the outcome to this machine, and ``replaces`` is the receipt
    of an outcome that gives way to it. ``base`` is the folder where
    relative local paths begin; ``manifest`` is who asks; ``pins`` are the entry digests of
    what the asset requires. ``yielding`` are assets that nobody wants in ``local_dir`` any more. ``receipt`` is what is
    known of it now, where that is fresher than the store's own.
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
    yielding: frozenset[str] = frozenset()
    manifest: str | None = None
    tuning: Mapping[str, Any] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)
    is_open: bool = False
    replaces: Receipt | None = None


@dataclass(frozen=True, slots=True)
class Pulled:
    """What became of one asset. ``adopted`` is what came from other tools' caches on this machine."""

    name: str
    fetched_files: int = 0
    fetched_bytes: int = 0
    linked_files: int = 0
    kept_files: int = 0
    unpacked_files: int = 0
    adopted_files: int = 0
    adopted_bytes: int = 0


class Installation:
    """The state of one asset's pull, between the lock that guards it and its receipt."""

    def __init__(
        self,
        context: Context,
        origin: Origin,
        wish: Wish,
        receipt: Receipt | None,
        states: Sequence[State],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.store, self.reporter = context.store, context.reporter
        self.origin, self.wish, self.entry = origin, wish, wish.entry
        self.layout = Layout(wish.entry)
        self.receipt = receipt
        self.files = Filling(context, origin, wish.entry, receipt, states)
        self.archives: Unpacking | Making
        if isinstance(origin, MadeOrigin):
            self.archives = Making(context, origin, self.files, check)
        else:
            self.archives = Unpacking(context, origin, self.files, self._save_now_and_then, check)
        self.whole = False
        self.tree: Stamp | None = None
        self._due = time.monotonic() + _SAVED_EACH

    # --- filling: until every file's bytes are proved at their place -----------------------------------------------

    def fill(self) -> None:
        entry, files = self.entry, self.files
        self._refuse_others_places(files.missing())
        if self.receipt is None or self.receipt.entry != entry:
            self.store.begin(Receipt(entry, (None,) * entry.count, 0))
        if self.archives.learn():
            self._refuse_others_places(files.missing())
        if self._has_archives:
            # Said before anything is taken for ours: what a receipt names is not another project's to remove.
            self.save(claim=True)
        pending = files.adopt(files.link_same(files.prove_present(files.missing())))
        missing = {key_of(file) for file in pending}
        own = [file for file in entry.files if file.is_placed and key_of(file) in missing]
        short = self.archives.short()
        archives = [each.archive for each in short if self.archives.bytes_of(each.archive) is None]
        failed = files.bring([*own, *(file for file in archives if file not in own)])
        files.sync()
        errors = [error for _, error in failed]
        errors += self.archives.unpack([each for each in short if all(file != each.archive for file, _ in failed)])
        raise_all(merged(errors))
        self._name_all()
        replaced = list(self._rivals(files.contents.files)) if entry.origin != "hub" else []
        before = [self.wish.replaces] if self.wish.replaces else []
        remove_stale(self.store, entry, manifest=self.wish.manifest, also=[*replaced, *before])
        for other in replaced:
            if not any(file.extract for file in other.entry.files):
                # What it spoke of stands here no more, and no project wants it.
                self.store.drop_receipt(other)
        if self._has_archives and (gone := self._changed()):
            raise IntegrityError(
                f"{entry.name}: {gone[0].path}"
                + (f" and {len(gone) - 1} more files" if len(gone) > 1 else "")
                + " went away or changed while it was pulled",
                mend=f"assetmgr pull {entry.name}",
            )
        self.whole = True
        self.origin.finish(entry)

    def _changed(self) -> list[LockedFile]:
        """The files that are no more as they were proved: another project's pull may have removed what was its own."""
        contents = self.files.contents
        states = self.store.survey(contents.placed, [self.files.stamps.get(key_of(file)) for file in contents.files])
        return [file for file, state in zip(contents.files, states, strict=True) if state is not State.PROVED]

    @property
    def _has_archives(self) -> bool:
        return any(file.extract is not None for file in self.entry.files)

    def _refuse_others_places(self, files: Sequence[LockedFile]) -> None:
        """A place outside the hub's layout holds one content: what another project keeps there is not taken from it."""
        if self.entry.origin == "hub":
            return
        for other in self._rivals(files):
            users = [
                user
                for user in other.wanted_by
                if user != self.wish.manifest and wants(user, other.entry, now=self.entry)
            ]
            if users:
                raise UsageError(
                    f"{self.entry.name}: a place of it is held with other bytes by {other.entry.name} of {users[0]}",
                    mend="give this asset another name or `path:`, or use a store of its own with --root; if that "
                    f"project is gone for good: rm '{self.store.receipt_path(other)}'",
                )

    def _rivals(self, files: Sequence[LockedFile]) -> Iterator[Receipt]:
        """Receipts of other entries that name one of these files' places, with other bytes."""
        places = {self.layout.name(file): file.sha256 for file in files}
        for other in self.store.receipts() if places else ():
            if other.entry != self.entry and other.entry.origin != "hub":
                with contextlib.suppress(LockError):  # of whose listing is damaged, what can be known is not much
                    names = self.store.names_of(other.entry)
                    differs = any(places.get(name, sha256) != sha256 for name, sha256 in names.items())
                    unlisted = self.store.contents(other.entry).unlisted
                    if differs or any(self._may_hold(other, archive) for archive in unlisted):
                        yield other

    def _may_hold(self, other: Receipt, archive: Unpacked) -> bool:
        """Whether one of our places may be a member's of an archive whose listing is lost."""
        folder = Layout(other.entry).prefix(archive.extract.place)
        return any(self.layout.name(file).startswith(folder) for file in self.files.missing())

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
            name, blob = self.store.at(self.layout.name(file)), self.files.at(file)
            if self.files.was_there(file):
                with contextlib.suppress(OSError):
                    if os.path.samefile(name, blob):
                        continue
            style = link(blob, name, "symlink", relative=True)
            if style != "symlink":
                fallen.add(style)
            if style == "copy":
                status = os.stat(name)
                self.files.stamps[key_of(file)] = Stamp.of(status)
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

    def save(self, *, claim: bool = False) -> None:
        """Write down what is proved, also after a failure, so that the next run need not hash it again.

        A ``claim`` is written also where nothing is proved yet.
        """
        before, wish, files = self.receipt, self.wish, self.files
        for key in files.unsynced:  # in a hurry, after Ctrl-C: they are hashed again by the next run
            files.stamps.pop(key, None)
        if not files.stamps and before is None and not claim:
            return
        stamps = [files.stamps.get(key_of(file)) for file in files.contents.files]
        receipt = Receipt(
            entry=self.entry,
            stamps=files.contents.for_receipt(stamps, before.stamps if before else ()),
            # Its stamps say what is unproved now; that it was whole once stays true.
            pulled_at=int(time.time()) if self.whole else before.pulled_at if before else 0,
            use=dict(wish.use),
            endpoint=wish.endpoint,
            local_dirs=_with(before.local_dirs if before else (), wish.local_dir),
            wanted_by=_with(before.wanted_by if before else (), wish.manifest),
            base=wish.base or (before.base if before else ""),
            pins=dict(wish.pins) or (before.pins if before else {}),
            tree=self.tree or (before.tree if before else None),
            made=dict(wish.made) or (before.made if before else {}),
        )
        self.store.save_receipt(receipt)
        self.store.settle(receipt)
        touch(self.store, [receipt])  # so that also who may only read the store can say that they use it

    def _save_now_and_then(self) -> None:
        """Keep the receipt near to what has come out of an archive: a run that is killed saves nothing."""
        if time.monotonic() > self._due:
            self.save()
            self._due = time.monotonic() + _SAVED_EACH

    def pulled(self) -> Pulled:
        fetched, linked, unpacked = self.files.fetched, len(self.files.linked), self.archives.count
        adopted = self.files.adopted
        kept = self.entry.count - sum(file.is_placed for file in fetched) - linked - unpacked - len(adopted)
        return Pulled(
            self.entry.name,
            len(fetched),
            sum(file.size for file in fetched),
            linked,
            max(kept, 0),
            unpacked,
            len(adopted),
            sum(file.size for file in adopted),
        )


def _with(known: tuple[str, ...], new: str | None) -> tuple[str, ...]:
    return known if new is None or new in known else (*known, new)
