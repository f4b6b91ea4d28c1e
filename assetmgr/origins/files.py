"""The `files` origin: plain URLs and local files that a manifest names."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from assetmgr.digests import has_crc32c, hash_file, sha256_text
from assetmgr.errors import BusyError, IntegrityError, OfflineError
from assetmgr.lock import LockedAsset, LockedExtraction, LockedFile
from assetmgr.manifest import Asset, FileSource, FilesSource
from assetmgr.manifest_urls import resolve_url
from assetmgr.origins import Arrival, Context
from assetmgr.origins.fetching import Fetcher, told
from assetmgr.placing import remove_file
from assetmgr.receipt import Stamp
from assetmgr.transfer.engine import Engine
from assetmgr.transfer.journal import journal_path
from assetmgr.transfer.source import Fetched, Source, Task
from assetmgr.transfer.urls import local_path, safe_url

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
        files = [
            self._pin(asset, source, kept.get((source.place, source.path)), may_fetch=fetch)
            for source in asset.source.files
        ]
        return LockedAsset(
            name=asset.name,
            kind=asset.kind,
            origin="files",
            declared=asset.digest(),
            files=tuple(sorted(files, key=lambda file: (file.path, file.place))),
            requires=asset.requires,
        )

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
        for path in context.store.proved_elsewhere({sha256}).get(sha256, ()):
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
                        self._fetched.pop(source.urls, None)
                        raise
            self._fetched.pop(source.urls, None)
            self._stream(asset, dataclasses.replace(source, size=archive.size, sha256=sha256))
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
            return kept
        pinned = LockedFile(
            path=source.path,
            size=-1 if source.size is None else source.size,
            sha256=source.sha256,
            md5=source.md5,
            crc32c=source.crc32c,
            place=source.place,
            urls=source.written,
        )
        if source.sha256 and source.size is not None:
            return pinned
        if not may_fetch:
            # Without its size a pin is not complete: the sha256 stays in the manifest until the file was seen.
            return msgspec.structs.replace(pinned, sha256=None)
        fetched = self._stream(asset, source)
        for algorithm in ("sha256", "md5", "crc32c"):
            wanted = getattr(source, algorithm) or fetched.evidence.get(algorithm)
            found = fetched.digests.get(algorithm)
            if wanted and found and wanted != found:
                said = "the manifest" if getattr(source, algorithm) else "its server"
                raise IntegrityError(
                    f"{asset.name}: {source.path}: {algorithm} expected {wanted} (says {said}), found {found} "
                    f"in {fetched.size} bytes from {safe_url(fetched.url)}",
                    mend=f"correct the {algorithm} or the url in {asset.declared_at}",
                )
        return LockedFile(
            path=source.path,
            size=fetched.size,
            sha256=fetched.digests["sha256"],
            md5=source.md5 or fetched.evidence.get("md5"),
            crc32c=source.crc32c or fetched.evidence.get("crc32c"),
            etag=fetched.evidence.get("etag"),
            place=source.place,
            urls=source.written,
        )

    def _stream(self, asset: Asset, source: FileSource) -> Fetched:
        """Stream a file into the store to hash it; it stays there, whole, for the pull that follows.

        What several assets of a run name by the same URLs is fetched once.
        """
        context = self._context
        known = self._fetched.get(source.urls)
        if (
            known
            and source.size in (None, known.size)
            and source.sha256 in (None, known.digests["sha256"])
            and (source.crc32c is None or "crc32c" in known.digests)
        ):
            return known
        # Of what the manifest pins, a mirror may tell the size.
        pinned = LockedFile(source.path, -1 if source.size is None else source.size, source.sha256)
        before, after = context.mirrors.sources(pinned)
        if context.offline and not all(map(_is_local, source.urls)) and not before:
            raise OfflineError(
                f"{asset.name}: {source.path}: it can only be pinned by fetching it",
                mend="lock it once without --offline"
                + ("" if source.extract else ", or give its sha256 and size in the manifest"),
            )
        # Named for its URLs: the next run finds what a killed one left, and goes on with it.
        key = sha256_text("\n".join(source.urls))[:32]
        partial = context.store.partial(f"lock-{key}")
        # crc32c needs a library: without it a server's word is not checked, and a manifest's pin is an error.
        algorithms = ("sha256", "md5", *(["crc32c"] if source.crc32c or has_crc32c() else []))
        task = Task(
            label=f"{asset.name}: {source.path}",
            sources=(*before, *(Source(url) for url in source.urls if not context.offline or _is_local(url)), *after),
            partial=partial,
            size=source.size,
            sha256=source.sha256,
            algorithms=algorithms,
        )
        with (
            self._fetcher.held(f"lock-{key}", task.label, partial),
            context.reporter.progress(task.label, max(source.size or 0, 0)) as bar,
        ):
            (outcome,) = self._engine.fetch([task], bar.add)
            if outcome.fetched is None:
                assert outcome.error is not None
                mend = f"correct the sha256, the size or the url in {asset.declared_at}"
                raise told(outcome.error, asset.name, source.path, mend)
            fetched = outcome.fetched
            sha256 = fetched.digests["sha256"]
            os.replace(partial, context.store.partial(sha256))
            if fetched.status:
                self._streamed[sha256] = Stamp.of(fetched.status)
            # What a mirror's server says of its blob is not what the origin says of its file.
            self._fetched[source.urls] = (
                fetched if fetched.url in source.urls else dataclasses.replace(fetched, evidence={})
            )
        return self._fetched[source.urls]

    def sources(self, entry: LockedAsset, file: LockedFile) -> Sequence[str]:
        return [resolve_url(url, self._base) for url in file.urls]

    def bring(self, entry: LockedAsset, files: Sequence[LockedFile]) -> Generator[Arrival, None, None]:
        return self._fetcher.bring(entry, files, lambda file: self._ways(entry, file))

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
        return [Source(url) for url in urls]

    def guard(self, entry: LockedAsset) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()  # each file is held by its digest

    def listing(self, entry: LockedAsset) -> bytes | None:
        return None

    def finish(self, entry: LockedAsset) -> None:
        return None


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
    )
