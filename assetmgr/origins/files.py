"""The `files` origin: plain URLs and local files that a manifest names."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator, Sequence

import msgspec

from assetmgr.digests import has_crc32c, hash_file, in_parallel
from assetmgr.errors import AssetError, IntegrityError, OfflineError, named
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.manifest import Asset, FileSource, FilesSource
from assetmgr.manifest_urls import resolve_url
from assetmgr.mutex import held
from assetmgr.origins import Arrival, Context
from assetmgr.placing import make_folder, remove_file
from assetmgr.transfer.http import Fetched, fetch, local_path, safe_url


class FilesOrigin:
    def __init__(self, context: Context, base: str) -> None:
        self._context = context
        self._base = base

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
        if context.offline and not all(url.startswith("file:") for url in source.urls):
            raise OfflineError(
                f"{asset.name}: {source.path}: its sha256 can only be had by fetching it",
                mend="lock it once without --offline, or give its sha256 and size in the manifest",
            )
        temporary = context.store.partial(f"lock-{secrets.token_hex(8)}")
        # crc32c needs a library: without it a server's word is not checked, and a manifest's pin is an error.
        algorithms = ["sha256", "md5", *(["crc32c"] if source.crc32c or has_crc32c() else [])]
        make_folder(os.path.dirname(temporary))
        try:
            with context.reporter.progress(f"{asset.name}: {source.path}", max(source.size or 0, 0)) as bar:
                try:
                    fetched = fetch(
                        source.urls,
                        temporary,
                        algorithms=algorithms,
                        size=source.size,
                        limits=context.limits,
                        progress=bar.add,
                        say=context.reporter.say,
                    )
                except AssetError as error:
                    raise named(error, asset.name, source.path) from None
            os.replace(temporary, context.store.partial(fetched.digests["sha256"]))
        except BaseException:
            with contextlib.suppress(OSError):
                remove_file(temporary)
            raise
        return fetched

    def sources(self, entry: LockedAsset, file: LockedFile) -> Sequence[str]:
        return [resolve_url(url, self._base) for url in file.urls]

    def bring(self, entry: LockedAsset, files: Sequence[LockedFile]) -> Iterator[Arrival]:
        context = self._context
        total = sum(max(file.size, 0) for file in files)
        with context.reporter.progress(entry.name, total) as bar:

            def one(file: LockedFile) -> Arrival:
                try:
                    return self._bring_one(entry, file, bar.add)
                except AssetError as error:
                    return Arrival(file, None, named(error, entry.name, file.path))

            for _, arrival in in_parallel(one, files, workers=context.limits.jobs):
                yield arrival

    def _bring_one(self, entry: LockedAsset, file: LockedFile, progress: Callable[[int], object]) -> Arrival:
        context = self._context
        assert file.sha256 is not None
        partial = context.store.partial(file.sha256)
        urls = [url for url in self.sources(entry, file) if not context.offline or url.startswith("file:")]
        # A lock that came with a bundle or another machine may name files that only its maker has.
        urls.sort(key=lambda url: url.startswith("file:") and not os.path.exists(local_path(url)))
        # 4096 lock files serve any number of digests; two digests that share one wait for each other, no more.
        with held(
            context.store.mutex(f"bytes-{file.sha256[:3]}"),
            f"{entry.name}: {file.path}",
            wait=context.wait,
            say=context.reporter.say,
        ):
            with contextlib.suppress(OSError):
                whole = not os.path.islink(partial) and os.path.getsize(partial) == file.size
                if whole and hash_file(partial)[1]["sha256"] == file.sha256:
                    progress(file.size)
                    return Arrival(file, partial)
            if not urls:
                raise OfflineError(
                    "not in the store, and --offline forbids to fetch it", mend=f"assetmgr pull {entry.name}"
                )
            try:
                self._fetch_once(file, urls, partial, progress)
            except IntegrityError as error:
                context.reporter.say(f"{entry.name}: {file.path}: {error.message}; fetching it once more")
                self._fetch_again(entry, file, urls, partial, progress)
        return Arrival(file, partial)

    def _fetch_once(
        self, file: LockedFile, urls: Sequence[str], partial: str, progress: Callable[[int], object]
    ) -> None:
        assert file.sha256 is not None
        fetch(
            urls,
            partial,
            size=file.size,
            limits=self._context.limits,
            progress=progress,
            say=self._context.reporter.say,
            expected={"sha256": file.sha256},
        )

    def _fetch_again(
        self,
        entry: LockedAsset,
        file: LockedFile,
        urls: Sequence[str],
        partial: str,
        progress: Callable[[int], object],
    ) -> None:
        """The second and last try at a file that arrived wrong."""
        try:
            self._fetch_once(file, urls, partial, progress)
        except IntegrityError as error:
            remove_file(partial)
            raise IntegrityError(
                f"{error.message}, twice",
                mend="nothing wrong was kept, the rest is in place; when the origin is mended: "
                f"assetmgr pull {entry.name}; if its content was changed on purpose: "
                f"assetmgr lock --upgrade {entry.name}",
            ) from None

    def guard(self, entry: LockedAsset) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()  # each file is held by its digest

    def listing(self, entry: LockedAsset) -> bytes | None:
        return None

    def finish(self, entry: LockedAsset) -> None:
        return None


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
