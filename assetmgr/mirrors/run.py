"""The mirrors of one run: in which order they are asked for a file, and what came from where."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from assetmgr.errors import AssetError, OriginError
from assetmgr.lock import LockedFile
from assetmgr.mirrors import Mirror, Read, open_mirror
from assetmgr.mirrors.standing import MirrorReport, Standing, Turn
from assetmgr.placing import clone, remove_file
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.source import Source
from assetmgr.transfer.urls import local_path, safe_url

if TYPE_CHECKING:
    from assetmgr.transfer.engine import Engine

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class TrafficReport:
    """What came from where in a run, proved; files that an earlier run had brought whole are not among them.

    ``origins`` are the hosts that were asked, in the order in which they were.
    """

    mirrors: tuple[MirrorReport, ...] = ()
    origin_files: int = 0
    origin_bytes: int = 0
    origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Asked:
    """The `Watch` over one blob of a mirror: what it lacks, or has in bad shape, it is asked for once in a run."""

    standing: Standing
    absent: set[tuple[str, str]]
    blob: tuple[str, str]
    is_local: bool

    def is_wanted(self) -> bool:
        return self.standing.is_wanted() and self.blob not in self.absent

    def gave(self, size: int) -> None:
        self.standing.gave(size)

    def failed(self, error: AssetError) -> None:
        if isinstance(error, OriginError) and error.is_absent:
            self.absent.add(self.blob)
            self.standing.lacks()
        elif self.is_local:
            self.absent.add(self.blob)
            self.standing.has_bad(error)
        else:
            self.standing.fails(error)


class Mirrors:
    """Mirrors in the order in which they are asked.

    Parameters
    ----------
    texts
        As `assetmgr.manifest_urls.resolve_mirror` returns them. One that comes twice counts once.
    limits
        The run's.
    offline
        Leaves out every mirror that is not on this machine.

    Attributes
    ----------
    forbidden
        The mirrors that are left out so.
    """

    def __init__(self, texts: Iterable[str], limits: Limits, *, offline: bool = False) -> None:
        self._limits = limits.for_mirror()
        opened = [open_mirror(text) for text in dict.fromkeys(texts)]
        self.forbidden = [mirror.name for mirror in opened if offline and not mirror.is_local]
        self._mirrors: list[tuple[Mirror, Standing]] = [
            (mirror, Standing(mirror.name, limits, is_local=mirror.is_local))
            for mirror in opened
            if mirror.is_local or not offline
        ]
        self._absent: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._origin_files = self._origin_bytes = 0
        self._origins: dict[str, None] = {}

    def __bool__(self) -> bool:
        return bool(self._mirrors)

    def sources(self, file: LockedFile) -> tuple[list[Source], list[Source]]:
        """The ways to a file: those to take before the origin, and those to take when that fails."""
        first: list[Source] = []
        last: list[Source] = []
        for mirror, standing in self._mirrors if file.sha256 else ():
            if (mirror.name, file.sha256) in self._absent:
                continue
            turn = standing.turn(file.size)
            if turn is Turn.NEVER:
                continue
            ways = self._ways(mirror, standing, file)
            (first if turn is Turn.FIRST else last).extend(ways)
        return first, last

    def ask(
        self, question: Callable[[Mirror, Read], _Answer], engine: Engine
    ) -> list[tuple[str, _Answer | AssetError]]:
        """What each mirror answers to a question, in order, by its name. One that is down is left out of the run."""
        answers: list[tuple[str, _Answer | AssetError]] = []
        for mirror, standing in self._mirrors:
            try:
                answers.append((mirror.name, question(mirror, self._reader(mirror, standing, engine))))
            except OriginError as error:
                standing.fails(error)
                answers.append((mirror.name, error))
            except AssetError as error:
                answers.append((mirror.name, error))
        return answers

    def _reader(self, mirror: Mirror, standing: Standing, engine: Engine) -> Read:
        watch = _Asked(standing, self._absent, (mirror.name, ""), mirror.is_local)

        def read(source: Source, /, *, most: int) -> bytes | None:
            asked = replace(source, logins=False, limits=self._limits, watch=watch)
            try:
                return engine.read(asked, most=most, label="what it tells of assets").data
            except OriginError as error:
                if error.is_absent:
                    return None
                raise

        return read

    def shares(self, file: LockedFile, trial: str) -> bool:
        """Whether the first mirror with a file is on this machine, and can share its blocks.

        It is tried by a file of the name ``trial``, which is removed.
        """
        for source in self.sources(file)[0] if file.size >= self._limits.resume_from else ():  # less is copied
            if not source.url.startswith("file:"):
                return False
            with contextlib.suppress(OSError):
                if os.stat(path := local_path(source.url)).st_size == file.size:
                    is_clone = clone(path, trial)
                    remove_file(trial)
                    return is_clone
        return False

    def _ways(self, mirror: Mirror, standing: Standing, file: LockedFile) -> Sequence[Source]:
        try:
            found = mirror.sources(file)
        except AssetError as error:
            standing.fails(error)
            return []
        watch = _Asked(standing, self._absent, (mirror.name, file.sha256 or ""), mirror.is_local)
        # No login goes to it, but the token that its user named for its very address, and a registry's own to that.
        return [replace(source, logins=False, limits=self._limits, watch=watch) for source in found]

    def asked_origin(self, url: str) -> None:
        """Remember who was asked, where that was not a file of this machine."""
        if host := urlsplit(safe_url(url)).netloc:
            with self._lock:
                self._origins[host] = None

    def count_origin(self, size: int, url: str) -> None:
        """Count a file that came from an origin, by this URL."""
        self.asked_origin(url)
        with self._lock:
            self._origin_files += 1
            self._origin_bytes += size

    def report(self) -> TrafficReport:
        reports = tuple(standing.report() for _, standing in self._mirrors)
        return TrafficReport(reports, self._origin_files, self._origin_bytes, tuple(self._origins))
