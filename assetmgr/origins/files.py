"""The `files` origin: plain URLs and local files that a manifest names."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
from collections.abc import Iterator, Sequence

import msgspec

from assetmgr.digests import has_crc32c, sha256_text
from assetmgr.errors import AssetError, IntegrityError, OfflineError, OriginError, named
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.manifest import Asset, FileSource, FilesSource
from assetmgr.manifest_urls import resolve_url
from assetmgr.mutex import held
from assetmgr.origins import Arrival, Context
from assetmgr.placing import remove_file
from assetmgr.receipt import Stamp
from assetmgr.transfer.engine import Engine
from assetmgr.transfer.journal import journal_path
from assetmgr.transfer.source import Fetched, Source, Task
from assetmgr.transfer.urls import local_path, safe_url


class FilesOrigin:
    def __init__(self, context: Context, base: str, engine: Engine) -> None:
        self._context = context
        self._base = base
        self._engine = engine

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
        # Named for its URLs: the next run finds what a killed one left, and goes on with it.
        key = sha256_text("\n".join(source.urls))[:32]
        partial = context.store.partial(f"lock-{key}")
        # crc32c needs a library: without it a server's word is not checked, and a manifest's pin is an error.
        algorithms = ("sha256", "md5", *(["crc32c"] if source.crc32c or has_crc32c() else []))
        task = Task(
            label=f"{asset.name}: {source.path}",
            sources=tuple(Source(url) for url in source.urls),
            partial=partial,
            size=source.size,
            sha256=source.sha256,
            algorithms=algorithms,
        )
        with (
            self._held(f"lock-{key[:3]}", task.label, partial),
            context.reporter.progress(task.label, max(source.size or 0, 0)) as bar,
        ):
            (outcome,) = self._engine.fetch([task], bar.add)
            if outcome.fetched is None:
                assert outcome.error is not None
                mend = f"correct the sha256, the size or the url in {asset.declared_at}"
                raise _told(outcome.error, asset.name, source.path, mend)
            os.replace(partial, context.store.partial(outcome.fetched.digests["sha256"]))
        return outcome.fetched

    def sources(self, entry: LockedAsset, file: LockedFile) -> Sequence[str]:
        return [resolve_url(url, self._base) for url in file.urls]

    def bring(self, entry: LockedAsset, files: Sequence[LockedFile]) -> Iterator[Arrival]:
        context = self._context
        self._recover()
        own = f"{_host()}.{os.getpid()}.{secrets.token_hex(4)}"
        tasks = [self._task(entry, file, own) for file in files]
        total = sum(max(file.size, 0) for file in files)
        with context.reporter.progress(entry.name, total) as bar:
            for outcome in self._engine.fetch(tasks, bar.add):
                locked, fetched = outcome.task.key, outcome.fetched
                assert isinstance(locked, LockedFile)
                if fetched is None:
                    error = outcome.error
                    assert error is not None
                    if not outcome.task.sources and isinstance(error, OriginError):
                        error = OfflineError(
                            "not in the store, and --offline forbids to fetch it", mend=f"assetmgr pull {entry.name}"
                        )
                    yield Arrival(locked, None, _told(error, entry.name, locked.path, _upgrade(entry.name)))
                    continue
                status = fetched.status
                proof = Stamp.of(status) if status else None
                yield Arrival(locked, f"{outcome.task.partial}.{own}", proof=proof)

    def _recover(self) -> None:
        """Give whole files back that a killed process had taken for its own."""
        folder = self._context.store.partial()
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                match = _TAKEN.fullmatch(name)
                if match and match["host"] == _host() and not _lives(int(match["pid"])):
                    with contextlib.suppress(FileExistsError):
                        os.link(os.path.join(folder, name), os.path.join(folder, match["sha256"]))
                    remove_file(os.path.join(folder, name))

    def _task(self, entry: LockedAsset, file: LockedFile, own: str) -> Task:
        context = self._context
        assert file.sha256 is not None
        partial = context.store.partial(file.sha256)
        urls = [url for url in self.sources(entry, file) if not context.offline or url.startswith("file:")]
        # A lock that came with a bundle or another machine may name files that only its maker has.
        urls.sort(key=lambda url: url.startswith("file:") and not os.path.exists(local_path(url)))
        # 4096 lock files serve any number of digests; two digests that share one wait for each other, no more.
        mutex = f"bytes-{file.sha256[:3]}"
        label = f"{entry.name}: {file.path}"
        return Task(
            label=label,
            sources=tuple(Source(url) for url in urls),
            partial=partial,
            size=file.size,
            sha256=file.sha256,
            # Taken while the mutex is held: two processes that want one content never place one partial.
            guard=lambda: self._held(mutex, label, partial, take=f"{partial}.{own}"),
            key=file,
        )

    @contextlib.contextmanager
    def _held(self, mutex: str, label: str, partial: str, take: str | None = None) -> Iterator[None]:
        """Hold a partial; after a failure it stays only where a later run can go on with it.

        ``take`` is the name that a whole one is given in the end, for this process alone.
        """
        context = self._context
        with held(context.store.mutex(mutex), label, wait=context.wait, say=context.reporter.say):
            try:
                yield
            except BaseException:
                if not os.path.exists(journal_path(partial)):
                    with contextlib.suppress(OSError):
                        remove_file(partial)
                raise
            if take is not None:
                os.replace(partial, take)

    def guard(self, entry: LockedAsset) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()  # each file is held by its digest

    def listing(self, entry: LockedAsset) -> bytes | None:
        return None

    def finish(self, entry: LockedAsset) -> None:
        return None


_TAKEN = re.compile(r"(?P<sha256>[0-9a-f]{64})\.(?P<host>[0-9a-f]{8})\.(?P<pid>[0-9]+)\.[0-9a-f]{8}")


def _host() -> str:
    """This machine, in a few letters: a store may be shared, and a process id means nothing elsewhere."""
    return sha256_text(socket.gethostname())[:8]


def _lives(pid: int) -> bool:
    if os.name == "nt":
        return True  # there, asking by os.kill would be a Ctrl-C
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _told(error: AssetError, asset: str, file: str, mend: str) -> AssetError:
    """An engine's error, for a person: the engine knows neither manifest nor lock. ``mend`` is for wrong bytes."""
    if isinstance(error, IntegrityError) and not error.mend:
        error = IntegrityError(error.message, mend=mend)
    return named(error, asset, file)


def _upgrade(name: str) -> str:
    return (
        f"nothing wrong was kept, the rest is in place; when the origin is mended: assetmgr pull {name}; "
        f"if its content was changed on purpose: assetmgr lock --upgrade {name}"
    )


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
