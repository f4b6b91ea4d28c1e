"""Locked files over the transfer engine, into the store's partial folder: what every origin with URLs shares."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import secrets
import socket
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from assetmgr.digests import sha256_text
from assetmgr.errors import AccessError, AssetError, BusyError, IntegrityError, OfflineError, OriginError, named
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.mutex import held
from assetmgr.origins import Arrival, Context
from assetmgr.placing import remove_file
from assetmgr.receipt import Stamp
from assetmgr.transfer.documents import Document
from assetmgr.transfer.engine import Engine
from assetmgr.transfer.journal import forget_journal, journal_path
from assetmgr.transfer.source import Fetched, Source, Task
from assetmgr.transfer.urls import local_path

if TYPE_CHECKING:
    from assetmgr.archives import Seekable

SourcesOf = Callable[[LockedFile], Sequence[Source]]


class Fetcher:
    """Brings files of one run.

    Bytes are gathered under a name that says which bytes they are, while a lock on that name is held: two processes
    never fetch one content twice, and the next run goes on with what a killed one left. What is whole is taken to a
    name of this process's own. A file too small to be gone on with has such a name from the start, and needs no lock.
    """

    def __init__(self, context: Context, engine: Engine) -> None:
        self._context = context
        self._engine = engine
        self._has_recovered = False

    def bring(
        self, entry: LockedAsset, files: Sequence[LockedFile], sources: SourcesOf
    ) -> Generator[Arrival, None, None]:
        """Bring files of an entry; see `Origin.bring`. One without a sha256 goes by its git sha1, and has no proof.

        Mirrors are asked before the ``sources``, and those that lack much after them.
        """
        context = self._context

        def ways(file: LockedFile) -> tuple[Source, ...]:
            before, after = context.mirrors.sources(file)
            published = () if context.alone else sources(file)
            if context.offline:
                published = [source for source in published if source.url.startswith("file:")]
            return (*before, *published, *after)

        yield from self._bring(entry, files, ((file, ways(file)) for file in files))

    def bring_mirrored(
        self, entry: LockedAsset, files: Sequence[LockedFile], *, in_need: bool = False
    ) -> Generator[Arrival, None, None]:
        """Bring what mirrors have of these files, for an origin that has ways of its own to get the others.

        What no mirror gives does not come out, and a failure only where it is one of this machine. ``in_need`` asks the
        mirrors too that are asked after the origin.
        """

        def ways() -> Iterator[tuple[LockedFile, tuple[Source, ...]]]:
            for file in files:
                before, after = self._context.mirrors.sources(file)
                if found := (*before, *(after if in_need else ())):
                    yield file, found

        if self._context.mirrors:
            for arrival in self._bring(entry, files, ways()):
                if not isinstance(arrival.error, (OriginError, AccessError, IntegrityError)):
                    yield arrival

    def mirrored_listing(self, entry: LockedAsset, digest: str) -> bytes | None:
        """A listing that the store lacks, from a mirror into the store; None where no mirror has it."""
        context = self._context
        most = context.limits.listing_largest
        sources = [
            replace(source, limits=replace(source.limits or context.limits, largest=most))
            for source in itertools.chain(*context.mirrors.sources(LockedFile(f"listing {digest}", -1, digest)))
        ]
        if not sources:
            return None
        partial = context.store.partial(f"listing-{digest}.{own_name()}")
        task = Task(f"{entry.name}: listing {digest[:12]}", tuple(sources), partial, sha256=digest)
        try:
            (outcome,) = self._engine.fetch([task])
            if outcome.fetched is None:
                return None
            with open(partial, "rb") as file:
                data = file.read()
            context.store.write_listing(data)
            return data
        finally:
            forget_journal(partial)
            remove_file(partial)

    def _bring(
        self,
        entry: LockedAsset,
        files: Sequence[LockedFile],
        wanted: Iterable[tuple[LockedFile, tuple[Source, ...]]],
    ) -> Generator[Arrival, None, None]:
        context = self._context
        self._recover()
        own = own_name()
        begun = set(os.listdir(context.store.partial())) if os.path.isdir(context.store.partial()) else set()
        tasks = (self._task(entry, file, own, ways, _key(file) in begun) for file, ways in wanted)
        total = sum(max(file.size, 0) for file in files)
        with context.reporter.progress(entry.name, total) as bar:
            for outcome in self._engine.fetch(tasks, bar.add):
                locked, fetched = outcome.task.key, outcome.fetched
                assert isinstance(locked, LockedFile)
                if fetched is None:
                    error = outcome.error
                    assert error is not None
                    only_mirrors = all(source.watch is not None for source in outcome.task.sources)
                    if context.offline and only_mirrors and isinstance(error, OriginError):
                        nor = ", nor in a mirror on this machine" if context.mirrors else ""
                        error = OfflineError(
                            f"not in the store{nor}, and --offline (or HF_HUB_OFFLINE) forbids to fetch it",
                            mend=f"assetmgr pull {entry.name}",
                        )
                    yield Arrival(locked, None, told(error, entry.name, locked.path, _upgrade(entry.name)))
                    continue
                self._count(outcome.task, fetched)
                proof = Stamp.of(fetched.status) if fetched.status and locked.sha256 else None
                path = f"{context.store.partial(_key(locked))}.{own}"
                yield Arrival(locked, path, proof=proof, digests=fetched.digests)

    def read(self, source: Source, most: int, label: str) -> Document:
        """A document of an origin's API, of ``most`` bytes; see `read_document`."""
        return self._engine.read(source, most=most, label=label)

    def _count(self, task: Task, fetched: Fetched) -> None:
        """Count what an origin gave. A mirror counts for itself, and what was there already came from nobody now."""
        if any(source.url == fetched.url and source.watch is None for source in task.sources):
            self._context.mirrors.count_origin(fetched.size, fetched.url)

    def _task(self, entry: LockedAsset, file: LockedFile, own: str, sources: tuple[Source, ...], begun: bool) -> Task:
        context = self._context
        shared = context.store.partial(_key(file))
        label = f"{entry.name}: {file.path}"
        task = Task(
            label=label,
            sources=sources,
            partial=f"{shared}.{own}",
            size=file.size,
            sha256=file.sha256,
            algorithms=("sha256",) if file.sha256 else ("sha256", "git_sha1"),
            key=file,
        )
        if 0 <= file.size < context.limits.resume_from and not begun:
            return task
        return Task(
            task.label,
            task.sources,
            shared,
            task.size,
            task.sha256,
            task.algorithms,
            # Taken while the lock is held: two processes that want one content never place one partial.
            guard=lambda: self.held(_key(file), label, shared, take=task.partial),
            key=file,
        )

    def in_parts(self, file: LockedFile, sources_of: SourcesOf) -> Iterator[str | Seekable]:
        """See `Origin.in_parts`."""
        for source in () if self._context.alone else sources_of(file):
            if source.url.startswith("file:"):
                with contextlib.suppress(ValueError):
                    if os.path.isfile(path := local_path(source.url)):
                        yield path
            elif not self._context.offline and source.url.lower().startswith(("http:", "https:")):
                yield self._engine.in_parts(source, file.size)

    def holding(self, file: LockedFile, asset: str) -> contextlib.AbstractContextManager[None]:
        """Hold what is gathered of a file: no other process writes it or takes it meanwhile."""
        context = self._context
        purpose = f"reading {file.path} of {asset}"
        return held(self._mutex(_key(file)), purpose, wait=context.wait, say=context.reporter.say)

    def drop(self, file: LockedFile) -> None:
        """Remove what `lock` or an earlier run left of a file that nobody needs any more."""
        self._recover()
        partial = self._context.store.partial(_key(file))
        # Whoever holds it now needs it, and will see to it.
        with contextlib.suppress(OSError, BusyError):
            os.lstat(partial)
            with held(self._mutex(_key(file)), f"removing {file.path}", wait=0):
                remove_file(journal_path(partial))
                remove_file(partial)

    @contextlib.contextmanager
    def held(self, key: str, label: str, partial: str, take: str | None = None) -> Iterator[None]:
        """Hold a partial; after a failure it stays only where a later run can go on with it.

        ``take`` is the name that a whole one is given in the end, for this process alone.
        """
        context = self._context
        with held(self._mutex(key), label, wait=context.wait, say=context.reporter.say):
            try:
                yield
            except BaseException:
                if not os.path.exists(journal_path(partial)):
                    with contextlib.suppress(OSError):
                        remove_file(partial)
                raise
            if take is not None:
                os.replace(partial, take)

    def _mutex(self, key: str) -> Path:
        return self._context.store.bytes_guard(key)

    def _recover(self) -> None:
        """Give whole files back that a killed process had taken for its own; drop those that are not worth it."""
        if not self._has_recovered:
            self._has_recovered = True
            recover(self._context)


def recover(context: Context) -> None:
    """Give whole files back that a killed process had taken for its own; drop those that are not worth it."""
    folder = context.store.partial()
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        match = _TAKEN.fullmatch(name)
        if match and match["host"] == _host() and not _lives(int(match["pid"])):
            with contextlib.suppress(OSError):
                _give_back(os.path.join(folder, name), os.path.join(folder, match["key"]), match["key"], context)


def _give_back(path: str, shared: str, key: str, context: Context) -> None:
    if key != ADOPTED and os.path.getsize(path) >= context.limits.resume_from and not os.path.lexists(shared):
        os.replace(path, shared)  # no link: of another user's file the system may allow none
    else:
        remove_file(path)


def _key(file: LockedFile) -> str:
    """What names a file's bytes before they are all there."""
    return file.sha256 or f"git-{file.git_sha1}"


# What begins the name of a file that is being copied from a cache of this machine: begun anew, it costs no network.
ADOPTED = "adopted"
_TAKEN = re.compile(
    r"(?P<key>[0-9a-f]{64}|git-[0-9a-f]{40}|adopted)\.(?P<host>[0-9a-f]{8})\.(?P<pid>[0-9]+)\.[0-9a-f]{8}"
)


def _host() -> str:
    """This machine, in a few letters: a store may be shared, and a process id means nothing elsewhere."""
    return sha256_text(socket.gethostname())[:8]


def own_name() -> str:
    """What ends the name of a file in the partial folder that is this process's own."""
    return f"{_host()}.{os.getpid()}.{secrets.token_hex(4)}"


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


def told(error: AssetError, asset: str, file: str, mend: str) -> AssetError:
    """An engine's error, for a person: the engine knows neither manifest nor lock. ``mend`` is for wrong bytes."""
    if isinstance(error, IntegrityError) and not error.mend:
        error = IntegrityError(error.message, mend=mend)
    return named(error, asset, file)


def _upgrade(name: str) -> str:
    return (
        f"nothing wrong was kept, the rest is in place; when the origin is mended: assetmgr pull {name}; "
        f"if its content was changed on purpose: assetmgr lock --upgrade {name}"
    )
