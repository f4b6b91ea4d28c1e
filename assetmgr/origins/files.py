"""The `files` origin: plain URLs and local files that a manifest names."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from assetmgr.digests import has_crc32c, hash_file, sha256_text
from assetmgr.errors import (
    AccessError,
    AssetError,
    BusyError,
    FetchByHandError,
    IntegrityError,
    OfflineError,
    raise_all,
)
from assetmgr.lock import LockedAsset, LockedExtraction, LockedFile
from assetmgr.manifest import Asset, FileSource, FilesSource
from assetmgr.manifest_urls import resolve_url
from assetmgr.names import check_digest
from assetmgr.origins import Arrival, Context
from assetmgr.origins.by_hand import ByHand
from assetmgr.origins.fetching import Fetcher, told
from assetmgr.placing import remove_file, write_document
from assetmgr.receipt import Stamp
from assetmgr.store import Layout
from assetmgr.transfer.engine import Engine
from assetmgr.transfer.journal import journal_path
from assetmgr.transfer.judging import unlike_pins
from assetmgr.transfer.looking import header_of
from assetmgr.transfer.source import Fetched, Source, Task
from assetmgr.transfer.urls import local_path

if TYPE_CHECKING:
    from assetmgr.archives import Seekable


class FilesOrigin:
    def __init__(self, context: Context, base: str, engine: Engine, fetcher: Fetcher) -> None:
        self._context = context
        self._base = base
        self._engine = engine
        self._fetcher = fetcher
        self._streamed: dict[str, Stamp] = {}
        self._fetched: dict[tuple[str, ...], Fetched] = {}

    def resolve(self, asset: Asset, previous: LockedAsset | None, *, fetch: bool) -> LockedAsset:
        assert isinstance(asset.source, FilesSource)
        kept = {(file.place, file.path): file for file in previous.files} if previous else {}
        files, by_hand = [], []
        for source in asset.source.files:
            try:
                files.append(self._pin(asset, source, kept.get((source.place, source.path)), may_fetch=fetch))
            except FetchByHandError as error:
                by_hand.append(error)  # all of them are told at once
        raise_all(by_hand)
        return LockedAsset(
            name=asset.name,
            kind=asset.kind,
            origin="files",
            declared=asset.digest(),
            files=tuple(sorted(files, key=lambda file: (file.path, file.place))),
            requires=asset.requires,
            license=asset.license,
        )

    def look(self, asset: Asset) -> LockedAsset:
        """What is published of an asset, asked without its bytes: the sizes of its files, where anybody tells them.

        Raises
        ------
        AccessError, OriginError
            When a file is not to be had from any of its URLs.
        """
        entry = self.resolve(asset, None, fetch=False)
        assert isinstance(asset.source, FilesSource)
        sizes = {(file.place, file.path): self._published(asset, file) for file in asset.source.files if not file.ask}
        files = [
            file if (size := sizes.get((file.place, file.path))) is None else msgspec.structs.replace(file, size=size)
            for file in entry.files
        ]
        return msgspec.structs.replace(entry, files=tuple(files))

    def _published(self, asset: Asset, file: FileSource) -> int | None:
        urls = [url for url in file.urls if not self._context.offline or _is_local(url)]
        errors: list[AssetError] = []
        for url in urls:
            try:
                size = self._engine.size_of(Source(url), f"{asset.name}: {file.path}")
            except AssetError as error:
                errors.append(error)
                continue
            if size is not None and file.size not in (None, size):
                raise IntegrityError(f"{asset.name}: {file.path}: expected {file.size} bytes, found {size}")
            return size
        if errors:
            raise told(errors[0], asset.name, file.path, f"correct the url of {asset.name}")
        return None

    def _pin(self, asset: Asset, source: FileSource, kept: LockedFile | None, *, may_fetch: bool) -> LockedFile:
        pinned = self._pin_bytes(asset, source, kept, may_fetch=may_fetch)
        if source.extract is None:
            return msgspec.structs.replace(pinned, extract=None)
        archive = msgspec.structs.replace(pinned, extract=LockedExtraction(**dataclasses.asdict(source.extract)))
        if archive.sha256 is None:
            return archive
        from assetmgr.origins.members import known_extraction

        extract = known_extraction(self._context, archive, kept)
        if extract is None and may_fetch:
            extract = self._list(asset, source, archive)
        return msgspec.structs.replace(archive, extract=extract or archive.extract)

    def _list(self, asset: Asset, source: FileSource, archive: LockedFile) -> LockedExtraction:
        """Take the listing of an archive, from its bytes in the store, or as they are fetched for the pull."""
        from assetmgr.origins.members import take_listing

        context, sha256 = self._context, archive.sha256 or ""
        by_hand = self._by_hand(asset, source, source.urls)
        handed_in = [by_hand.place] if by_hand else []
        cached = context.caches.candidates(_stub(asset), archive)
        elsewhere = context.store.proved_elsewhere({sha256}).get(sha256, ())
        for path in (*handed_in, *elsewhere, *(one.path for one in cached)):
            with contextlib.suppress(OSError):
                if hash_file(path)[1]["sha256"] == sha256:
                    return take_listing(context, asset.name, archive, path)
        partial = context.store.partial(sha256)
        for _ in range(3):  # another process may take what was streamed
            with self._fetcher.holding(archive, asset.name):
                if self._is_whole(partial, archive):
                    try:
                        return take_listing(context, asset.name, archive, partial)
                    except IntegrityError:
                        remove_file(partial)
                        self._forget(source)
                        raise
            self._forget(source)
            self._take(asset, dataclasses.replace(source, size=archive.size, sha256=sha256))
        raise BusyError(
            f"{asset.name}: {archive.path}: another process removes it as often as it is fetched",
            mend=f"when that is done: assetmgr lock {asset.name}",
        )

    def _is_whole(self, partial: str, archive: LockedFile) -> bool:
        """Whether the bytes of an archive are all there, as they were streamed or by hashing them."""
        try:
            status = os.stat(partial)
        except OSError:
            return False
        if status.st_size != archive.size or os.path.exists(journal_path(partial)):
            return False
        proof = self._streamed.get(archive.sha256 or "")
        return (proof is not None and proof.fits(status)) or hash_file(partial)[1]["sha256"] == archive.sha256

    def _pin_bytes(self, asset: Asset, source: FileSource, kept: LockedFile | None, *, may_fetch: bool) -> LockedFile:
        if kept and kept.sha256 and kept.size >= 0 and kept.urls == source.written and _agrees(kept, source):
            return msgspec.structs.replace(kept, ask=source.ask)
        pinned = LockedFile(
            path=source.path,
            size=-1 if source.size is None else source.size,
            sha256=source.sha256,
            md5=source.md5,
            crc32c=source.crc32c,
            place=source.place,
            urls=source.written,
            ask=source.ask,
        )
        if source.sha256 and source.size is not None:
            return pinned
        if not may_fetch:
            # Without its size a pin is not complete: the sha256 stays in the manifest until the file was seen.
            return msgspec.structs.replace(pinned, sha256=None)
        fetched = self._take(asset, source)
        return LockedFile(
            path=source.path,
            size=fetched.size,
            sha256=fetched.digests["sha256"],
            md5=source.md5 or fetched.evidence.get("md5"),
            crc32c=source.crc32c or fetched.evidence.get("crc32c"),
            # A local file's is of this machine.
            etag=None if fetched.url.startswith("file:") else fetched.evidence.get("etag"),
            place=source.place,
            urls=source.written,
            ask=source.ask,
        )

    def _take(self, asset: Asset, source: FileSource) -> Fetched:
        """The bytes of a file that are to be pinned: what was handed in, or what its URLs give."""
        by_hand = self._by_hand(asset, source, source.urls)
        if by_hand is None:
            return self._cached(asset, source) or self._stream(asset, source)
        try:
            if by_hand.handed_in() == by_hand.place:
                return self._hash(asset, source, by_hand.place)
            return self._stream(asset, source)
        except AssetError as error:
            raise by_hand.told(error, f"assetmgr lock {asset.name}") from None

    def _cached(self, asset: Asset, source: FileSource) -> Fetched | None:
        """A file of another tool's cache that has the manifest's sha256: it tells the size, and is there for a pull."""
        if source.sha256 is None:
            return None
        size = -1 if source.size is None else source.size
        pinned = LockedFile(source.path, size, source.sha256, place=source.place, urls=source.written)
        for candidate in self._context.caches.candidates(_stub(asset), pinned):
            with contextlib.suppress(OSError):
                size, digests = hash_file(candidate.path, self._algorithms(source))
                wanted = {**_pins(source), "sha256": source.sha256}
                if all(digests[algorithm] == digest for algorithm, digest in wanted.items()):
                    return Fetched(size, digests, {}, Path(candidate.path).as_uri())
        return None

    def _by_hand(self, asset: Asset | LockedAsset, file: FileSource | LockedFile, urls: Sequence[str]) -> ByHand | None:
        """What a user has to do with a file, or None."""
        if file.ask is None:
            return None
        place = Layout(_stub(asset)).prefix(file.place) + file.path
        return ByHand(asset.name, file.path, file.ask, urls, self._context.store.at(place), file.size)

    def _hash(self, asset: Asset, source: FileSource, path: str) -> Fetched:
        """Hash a file that was put at its own place in the store: it need not be copied."""
        label = f"{asset.name}: {source.path}"
        try:
            size = os.path.getsize(path)
            with self._context.reporter.progress(label, size) as bar:
                size, digests = hash_file(path, self._algorithms(source), progress=bar.add)
        except OSError as error:
            raise AccessError(f"{label}: {path}: {error.strerror}", mend="make it readable for this user") from None
        if source.size not in (None, size):
            raise IntegrityError(f"{label}: {path}: expected {source.size} bytes, found {size}")
        if fault := unlike_pins(_claims(source), digests):
            raise IntegrityError(f"{label}: {path}: {fault}")
        return Fetched(size, digests, {}, Path(path).as_uri())

    def _stream(self, asset: Asset, source: FileSource) -> Fetched:
        """Stream a file into the store to hash it; it stays there, whole, for the pull that follows.

        What several assets of a run name by the same URLs is fetched once.
        """
        context = self._context
        key = _key(source)
        known = self._fetched.get(source.urls) or self._noted(key, source)
        if (
            known
            and source.urls
            and source.size in (None, known.size)
            and _claims(source).keys() <= known.digests.keys()
            and unlike_pins(_claims(source), known.digests) is None
        ):
            self._fetched[source.urls] = known
            return known
        urls = [url for url in source.urls if not context.offline or _is_local(url)]
        # Of what the manifest pins, a mirror may tell the size.
        pinned = LockedFile(source.path, -1 if source.size is None else source.size, source.sha256)
        before, after = context.mirrors.sources(pinned)
        if source.urls and not urls and not before:
            raise OfflineError(
                f"{asset.name}: {source.path}: it can only be pinned by fetching it",
                mend="lock it once without --offline"
                + ("" if source.extract else ", or give its sha256 and size in the manifest"),
            )
        partial = context.store.partial(f"lock-{key}")
        task = Task(
            label=f"{asset.name}: {source.path}",
            sources=(*before, *(Source(url) for url in urls), *after),
            partial=partial,
            size=source.size,
            sha256=source.sha256,
            algorithms=self._algorithms(source),
            pins=_pins(source),
        )
        with (
            self._fetcher.held(f"lock-{key}", task.label, partial),
            context.reporter.progress(task.label, max(source.size or 0, 0)) as bar,
        ):
            (outcome,) = self._engine.fetch([task], bar.add)
            if outcome.fetched is None:
                assert outcome.error is not None
                mend = f"correct its digests, its size or its url in {asset.declared_at}"
                if isinstance(outcome.error, IntegrityError) and not source.sha256:
                    mend += ", or give its sha256 there, which goes before what a server says"
                raise told(outcome.error, asset.name, source.path, mend)
            fetched = outcome.fetched
            sha256 = fetched.digests["sha256"]
            os.replace(partial, context.store.partial(sha256))
            if fetched.status:
                self._streamed[sha256] = Stamp.of(fetched.status)
        if fetched.url in source.urls:
            context.mirrors.asked_origin(fetched.url)
        else:
            # What a mirror's server says of its blob is not what the origin says of its file.
            fetched = dataclasses.replace(fetched, evidence={})
        self._fetched[source.urls] = fetched
        if fetched.status and fetched.url.startswith("http") and "etag" in fetched.evidence:
            note = _Note(fetched.size, fetched.digests, fetched.evidence, fetched.url, Stamp.of(fetched.status))
            write_document(self._note(key), msgspec.json.encode(note))
            context.unsettled.append(self._note(key))
        return fetched

    def _forget(self, source: FileSource) -> None:
        """What was streamed of a file is not here any more."""
        self._fetched.pop(source.urls, None)
        remove_file(self._note(_key(source)))

    def _note(self, key: str) -> str:
        return self._context.store.partial(f"lock-{key}.json")

    def _noted(self, key: str, source: FileSource) -> Fetched | None:
        """What a run that wrote no lock has streamed from the same URLs, while it is here and its server has it so."""
        try:
            with open(self._note(key), "rb") as file:
                note = msgspec.json.decode(file.read(), type=_Note)
            sha256 = check_digest(note.digests["sha256"], "sha256", "note")
            if not note.stamp.fits(os.stat(self._context.store.partial(sha256))):
                return None
        except (OSError, msgspec.DecodeError, KeyError, AssetError):
            return None
        if note.url not in source.urls or self._context.offline:
            return None
        if header_of(Source(note.url), "ETag", self._context.limits) != note.evidence.get("etag"):
            return None
        self._streamed[sha256] = note.stamp
        self._context.unsettled.append(self._note(key))
        return Fetched(note.size, note.digests, note.evidence, note.url)

    @staticmethod
    def _algorithms(source: FileSource) -> tuple[str, ...]:
        # crc32c needs a library: without it a server's word is not checked, and a manifest's pin is an error.
        return ("sha256", "md5", *(["crc32c"] if source.crc32c or has_crc32c() else []))

    def sources(self, entry: LockedAsset, file: LockedFile) -> Sequence[str]:
        return [resolve_url(url, self._base) for url in file.urls]

    def bring(self, entry: LockedAsset, files: Sequence[LockedFile]) -> Generator[Arrival, None, None]:
        with contextlib.closing(self._fetcher.bring(entry, files, lambda file: self._ways(entry, file))) as arrivals:
            for arrival in arrivals:
                if arrival.error is None or self._context.alone:
                    yield arrival
                    continue
                by_hand = self._by_hand(entry, arrival.file, self.sources(entry, arrival.file))
                again = f"assetmgr pull {entry.name}"
                yield arrival._replace(error=by_hand.told(arrival.error, again) if by_hand else arrival.error)

    def mirrored(self, entry: LockedAsset, files: Sequence[LockedFile]) -> Generator[Arrival, None, None]:
        return self._fetcher.bring_mirrored(entry, files)

    def mirrored_listing(self, entry: LockedAsset, digest: str) -> bytes | None:
        return self._fetcher.mirrored_listing(entry, digest)

    def in_parts(self, entry: LockedAsset, file: LockedFile) -> Iterator[str | Seekable]:
        return self._fetcher.in_parts(file, lambda file: self._ways(entry, file))

    def _ways(self, entry: LockedAsset, file: LockedFile) -> Sequence[Source]:
        urls = list(self.sources(entry, file))
        # A lock that came with a bundle or another machine may name files that only its maker has.
        urls.sort(key=lambda url: url.startswith("file:") and not os.path.exists(local_path(url)))
        by_hand = self._by_hand(entry, file, urls)
        if by_hand is not None and by_hand.handed_in() == by_hand.place:
            # By its own name it was not taken: a link to another disk is copied, wrong bytes are told as that.
            urls.insert(0, Path(os.path.realpath(by_hand.place)).as_uri())
        return [Source(url) for url in urls]

    def guard(self, entry: LockedAsset) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()  # each file is held by its digest

    def listing(self, entry: LockedAsset) -> bytes | None:
        return None

    def finish(self, entry: LockedAsset) -> None:
        return None


def _stub(asset: Asset | LockedAsset) -> LockedAsset:
    """An entry of which nothing is known but what says where its files go."""
    return LockedAsset(asset.kind, "files", "", (), asset.name)


def _key(source: FileSource) -> str:
    """What is streamed is named for its URLs: the next run finds what a killed one left, and goes on with it."""
    return sha256_text("\n".join(source.urls))[:32]


class _Note(msgspec.Struct, frozen=True):
    """Of a file that was streamed to be pinned, until a lock says it: a lock of many files may be interrupted."""

    size: int
    digests: Mapping[str, str]
    evidence: Mapping[str, str]
    url: str
    stamp: Stamp


def _pins(source: FileSource) -> dict[str, str]:
    """What the manifest says of the bytes besides their whole sha256."""
    pins = {"sha256": source.sha256_prefix, "md5": source.md5, "crc32c": source.crc32c}
    return {algorithm: digest for algorithm, digest in pins.items() if digest}


def _claims(source: FileSource) -> dict[str, str]:
    """All that the manifest says of the bytes."""
    return _pins(source) | ({"sha256": source.sha256} if source.sha256 else {})


def _is_local(url: str) -> bool:
    return url.startswith("file:")


def _agrees(kept: LockedFile, source: FileSource) -> bool:
    """Whether a pin still says what the manifest says."""
    return all(
        wanted is None or wanted == found
        for wanted, found in (
            (source.size, kept.size),
            (source.sha256, kept.sha256),
            (source.md5, kept.md5),
            (source.crc32c, kept.crc32c),
        )
    ) and (kept.sha256 or "").startswith(source.sha256_prefix or "")
