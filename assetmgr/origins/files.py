"""The `files` origin: plain URLs and local files that a manifest names."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Sequence
from dataclasses import replace

import msgspec

from assetmgr.digests import has_crc32c, sha256_text
from assetmgr.errors import IntegrityError, OfflineError
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.manifest import Asset, FileSource, FilesSource
from assetmgr.manifest_urls import resolve_url
from assetmgr.origins import Arrival, Context
from assetmgr.origins.fetching import Fetcher, told
from assetmgr.transfer.engine import Engine
from assetmgr.transfer.source import Fetched, Source, Task
from assetmgr.transfer.urls import local_path, safe_url


class FilesOrigin:
    def __init__(self, context: Context, base: str, engine: Engine, fetcher: Fetcher) -> None:
        self._context = context
        self._base = base
        self._engine = engine
        self._fetcher = fetcher

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
        """Stream a file into the store to hash it; it stays there, whole, for the pull that follows."""
        context = self._context
        # Of what the manifest pins, a mirror may tell the size.
        pinned = LockedFile(source.path, -1 if source.size is None else source.size, source.sha256)
        before, after = context.mirrors.sources(pinned)
        if context.offline and not all(map(_is_local, source.urls)) and not before:
            raise OfflineError(
                f"{asset.name}: {source.path}: its sha256 can only be had by fetching it",
                mend="lock it once without --offline, or give its sha256 and size in the manifest",
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
            os.replace(partial, context.store.partial(fetched.digests["sha256"]))
        # What a mirror's server says of its blob is not what the origin says of its file.
        return fetched if fetched.url in source.urls else replace(fetched, evidence={})

    def sources(self, entry: LockedAsset, file: LockedFile) -> Sequence[str]:
        return [resolve_url(url, self._base) for url in file.urls]

    def bring(self, entry: LockedAsset, files: Sequence[LockedFile]) -> Generator[Arrival, None, None]:
        return self._fetcher.bring(entry, files, lambda file: self._ways(entry, file))

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
