"""Assets that exist only once they were made here: by fetching what a list names, or by running a script.

What is pinned is what they are made of (the list; the script and what it reads) and the recipe. What comes of it, the
outcome, is files like any others, told by a listing: each machine makes its own, unless the lock freezes one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from assetmgr.archives import ListedMember, dump_listing
from assetmgr.errors import AssetError, ChangedOutcomeError
from assetmgr.lock import LockedAsset, LockedExtraction, LockedFile
from assetmgr.manifest import Asset, FileSource, FilesSource
from assetmgr.origins import Arrival, Context
from assetmgr.receipt import Stamp
from assetmgr.store import Layout

if TYPE_CHECKING:
    from assetmgr.archives import Seekable
    from assetmgr.origins.files import FilesOrigin

# Where makers work, in the store's partial folder.
WORK = "made-"


@dataclass(frozen=True, slots=True)
class MadeFile:
    """One file of an outcome. ``at`` is where its bytes are now, ``proof`` their stamp as they were hashed."""

    path: str
    size: int
    sha256: str
    at: str
    proof: Stamp | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was made, and how it came about (for the receipt)."""

    files: tuple[MadeFile, ...]
    facts: Mapping[str, Any]

    def listing(self) -> bytes:
        return dump_listing(ListedMember(file.path, file.size, file.sha256) for file in self.files)


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What an asset is made of: files, the first of which is made into the others; where these go; the recipe."""

    files: tuple[FileSource, ...]
    place: str
    recipe: Mapping[str, Any]


class Maker(Protocol):
    """Makes outcomes of one origin."""

    def ingredients(self, asset: Asset) -> Ingredients:
        """What a declaration names."""

    def make(self, job: Job) -> Outcome:
        """Make an outcome, or go on with what an interrupted run left of it in the job's folder.

        Raises
        ------
        AssetError
            When it did not come whole, by its files; nothing else is believed.
        """


@dataclass(frozen=True, slots=True)
class Job:
    """What a maker is asked for.

    Attributes
    ----------
    folder
        Where it works: what is in it stays until the asset is whole.
    at
        Where the bytes of a pinned file are, proved.
    sources
        Where a pinned file was published.
    have
        Files of the outcome that are proved already, by path: where they are.
    facts
        What is known of how these came about.
    tuning
        How the manifest wants it done, where that decides about nothing.
    """

    context: Context
    entry: LockedAsset
    folder: str
    at: Callable[[LockedFile], str]
    sources: Callable[[LockedFile], Sequence[str]]
    have: Mapping[str, MadeFile]
    facts: Mapping[str, Any]
    tuning: Mapping[str, Any]


class MadeOrigin:
    """An origin whose pinned files are plain ones, and whose other files a maker makes of them."""

    def __init__(
        self, context: Context, files: FilesOrigin, maker: Maker, name: str, tuning: Mapping[str, Any] | None = None
    ) -> None:
        self._context, self._files, self._maker, self._name = context, files, maker, name
        self._tuning = tuning or {}
        self._made: dict[str, Outcome] = {}

    def resolve(self, asset: Asset, previous: LockedAsset | None, *, fetch: bool) -> LockedAsset:
        needed = self._maker.ingredients(asset)
        pinned = self._files.resolve(_plain(asset, needed), previous, fetch=fetch)
        return _still_frozen(previous, self._entry(asset, needed, pinned))

    def look(self, asset: Asset) -> LockedAsset:
        """See `Origin.look`: what it is made of. What comes of it, nobody can tell."""
        needed = self._maker.ingredients(asset)
        return self._entry(asset, needed, self._files.look(_plain(asset, needed)))

    def _entry(self, asset: Asset, needed: Ingredients, pinned: LockedAsset) -> LockedAsset:
        first = (needed.files[0].place, needed.files[0].path)
        made = LockedExtraction(needed.place, made=True)
        files = (
            msgspec.structs.replace(file, extract=made) if (file.place, file.path) == first else file
            for file in pinned.files
        )
        recipe = {key: value for key, value in sorted(needed.recipe.items()) if value is not None}
        return msgspec.structs.replace(
            pinned, origin=self._name, declared=asset.digest(), files=tuple(files), recipe=recipe
        )

    def sources(self, entry: LockedAsset, file: LockedFile) -> Sequence[str]:
        return self._files.sources(entry, file)

    def bring(self, entry: LockedAsset, files: Sequence[LockedFile]) -> Generator[Arrival, None, None]:
        own = [file for file in files if file in entry.files]
        members = [file for file in files if file not in own]
        if own:
            with contextlib.closing(self._files.bring(entry, own)) as arrivals:
                yield from arrivals
        if not members:
            return
        try:
            made = {file.path: file for file in self.make(entry, without=members).files}
        except AssetError as error:
            yield from (Arrival(file, None, error) for file in members)
            return
        other = [file for file in members if file.path not in made or made[file.path].sha256 != file.sha256]
        changed = _changed(entry, other) if other else None
        for file in members:
            if file in other:
                yield Arrival(file, None, changed)
            else:
                yield Arrival(file, made[file.path].at, proof=made[file.path].proof)

    def make(
        self, entry: LockedAsset, *, without: Sequence[LockedFile] = (), facts: Mapping[str, Any] | None = None
    ) -> Outcome:
        """The outcome of an entry, made once in a run; what it has besides ``without`` is not made anew."""
        context, store = self._context, self._context.store
        key = entry.digest()
        if key in self._made:
            # What is placed by now is not where it was made.
            there = {file.path for file in self._made[key].files if os.path.exists(file.at)}
            if all(file.path in there for file in without):
                return self._made[key]
        layout = Layout(entry)
        missing = {file.path for file in without}
        have = {}
        for file in itertools.chain(*(each.members or () for each in store.contents(entry).unpacked)):
            if file.path not in missing:
                have[file.path] = MadeFile(file.path, file.size, file.sha256 or "", store.at(layout.name(file)))
        receipt = store.read_receipt(entry)
        job = Job(
            context,
            entry,
            self._folder(entry),
            lambda file: store.at(layout.name(file)),
            lambda file: self.sources(entry, file),
            have,
            facts or (receipt.made if receipt else {}),
            self._tuning,
        )
        self._made[key] = self._maker.make(job)
        return self._made[key]

    def facts(self, entry: LockedAsset) -> Mapping[str, Any] | None:
        """How the outcome came about, where it was made in this run."""
        made = self._made.get(entry.digest())
        return made.facts if made else None

    def _folder(self, entry: LockedAsset) -> str:
        return self._context.store.partial(f"{WORK}{entry.digest()[:32]}")

    def mirrored(self, entry: LockedAsset, files: Sequence[LockedFile]) -> Generator[Arrival, None, None]:
        return self._files.mirrored(entry, files)

    def mirrored_listing(self, entry: LockedAsset, digest: str) -> bytes | None:
        return self._files.mirrored_listing(entry, digest)

    def in_parts(self, entry: LockedAsset, file: LockedFile) -> Iterator[str | Seekable]:
        return iter(())

    def guard(self, entry: LockedAsset) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()  # the pull of an entry is held by its digest, and nobody else makes it

    def listing(self, entry: LockedAsset) -> bytes | None:
        return None

    def finish(self, entry: LockedAsset) -> None:
        shutil.rmtree(self._folder(entry), ignore_errors=True)


def _plain(asset: Asset, needed: Ingredients) -> Asset:
    """The same asset as if the files that it is made of were all."""
    return dataclasses.replace(asset, source=FilesSource(needed.files))


def _still_frozen(previous: LockedAsset | None, entry: LockedAsset) -> LockedAsset:
    """A new pin, with the outcome that an earlier one froze where both are made of the same bytes in the same way."""
    frozen = previous is not None and not previous.is_open and previous.recipe == entry.recipe
    for file in previous.files if frozen and previous else ():
        if file.extract is not None and file.extract.made:
            known = file.extract
            settled = entry.with_outcome(known.listing, known.members, known.size)
            alike = {(file.place, file.path, file.sha256, file.extract) for file in previous.files} if previous else ()
            if {(file.place, file.path, file.sha256, file.extract) for file in settled.files} == alike:
                return settled
    return entry


def _changed(entry: LockedAsset, files: Sequence[LockedFile]) -> ChangedOutcomeError:
    name, some = entry.name, ", ".join(file.path for file in files[:3]) + (", ..." if len(files) > 3 else "")
    return ChangedOutcomeError(
        f"{name}: {some}: {len(files)} of the {entry.count} files are not to be made again: what is published now "
        "gives other bytes",
        mend=f"name a mirror that has them by --mirror, or take what is published now: assetmgr lock --upgrade {name} "
        f"&& assetmgr pull {name}",
    )
