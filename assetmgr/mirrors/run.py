"""The mirrors of one run: in which order they are asked for a file, and what came from where."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from assetmgr.errors import AssetError, OriginError
from assetmgr.lock import LockedFile
from assetmgr.mirrors import Mirror, open_mirror
from assetmgr.mirrors.standing import MirrorReport, Standing, Turn
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.source import Source
from assetmgr.transfer.urls import safe_url


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
    """

    def __init__(self, texts: Iterable[str], limits: Limits, *, offline: bool = False) -> None:
        self._limits = limits.for_mirror()
        opened = (open_mirror(text) for text in dict.fromkeys(texts))
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

    def _ways(self, mirror: Mirror, standing: Standing, file: LockedFile) -> Sequence[Source]:
        try:
            found = mirror.sources(file)
        except AssetError as error:
            standing.fails(error)
            return []
        watch = _Asked(standing, self._absent, (mirror.name, file.sha256 or ""), mirror.is_local)
        # Whatever a mirror says of itself: no login goes to it, but that of a registry to that registry.
        return [replace(source, token=None, logins=False, limits=self._limits, watch=watch) for source in found]

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
