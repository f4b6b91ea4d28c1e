"""What is pinned and not here yet is pulled once, by the pull of every day, while all who ask for it wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from assetmgr.errors import AssetError
from assetmgr.lock import LockedAsset
from assetmgr.server.hub import KINDS, revision_and_path
from assetmgr.server.metrics import Metrics
from assetmgr.server.requests import RefusedError, Request

# Seconds between two signs of life to who waits, and for which a pull that failed is not tried again.
_BEAT = 3.0
_REST = 15.0


@dataclass
class _Flight:
    """One pull, and all who wait for it."""

    name: str
    done: threading.Event = field(default_factory=threading.Event)
    error: str = ""
    ended: float = 0.0


class PullThrough:
    """Pulls for clients.

    Parameters
    ----------
    pinned
        The lock entries of now: what may be pulled, and nothing else.
    pull
        Brings one of them by its name, in the thread that calls.
    """

    def __init__(
        self,
        pinned: Callable[[], Iterable[LockedAsset]],
        pull: Callable[[str], None],
        metrics: Metrics,
        report: Callable[[str], None],
        *,
        patience: float,
    ) -> None:
        self._pinned, self._pull, self._metrics, self._report = pinned, pull, metrics, report
        self._patience = patience
        self._flights: dict[str, _Flight] = {}
        self._lock = threading.Lock()
        self._stopped = False

    def bring(
        self, request: Request, refused: RefusedError, beat: Callable[[], None], *, from_here: bool = False
    ) -> bool:
        """Bring what a refused request asks for: whether it is worth asking again.

        ``beat`` is called every few seconds of waiting. A request ``from_here``, by assetmgr, does not wait for a pull
        that is under way: it may be that pull's own, where a manifest names this server among its mirrors.

        Raises
        ------
        RefusedError
            When it cannot be brought.
        """
        if refused.status not in (403, 404) or refused.code == "EntryNotFound":
            return False  # the commit is here, and has no such file
        name = self._wanted(request)
        if name is None:
            return False
        if from_here and self._is_under_way(name):
            return False
        flight = self._flight(name)
        if flight is None:
            raise _stopping(name)
        until = time.monotonic() + self._patience
        while not flight.done.wait(_BEAT):
            if time.monotonic() > until:
                raise RefusedError(504, f"{name} is still being pulled; ask again", "RevisionNotFound", _RETRY)
            beat()
        if not flight.ended:
            raise _stopping(name)
        if flight.error:
            raise RefusedError(502, f"{name} could not be pulled: {flight.error}", "RevisionNotFound", _RETRY)
        return True

    def stop(self) -> None:
        """Pull no more, and let nobody wait. What a pull that is under way has fetched, the next one goes on with."""
        with self._lock:
            self._stopped = True
            for flight in self._flights.values():
                flight.done.set()

    def _wanted(self, request: Request) -> str | None:
        """The pinned asset that has what a request asks for, of several the first."""
        segments = request.segments
        if request.target.startswith("/blobs/sha256/") and len(segments) == 3:
            return self._named(lambda entry: _has_blob(entry, segments[2]))
        if request.target.startswith("/assetmgr/v1/assets/"):
            asked = "/".join(segments[3:])
            return self._named(lambda entry: asked in (entry.name, f"{entry.name}.json"))
        if len(segments) > 2 and segments[0] == "api" and segments[1] in KINDS:
            kind, parts = KINDS[segments[1]], segments[2:]
        else:
            kind, parts = ("dataset", segments[1:]) if segments[0] == "datasets" else ("model", segments)
        for at in (1, 2):
            repo, rest = "/".join(parts[:at]), parts[at:]
            revision, path = revision_and_path(rest[1:]) if len(rest) > 1 else ("", "")
            verb = rest[0] if rest else ""
            name = self._named(lambda entry: _fits(entry, kind, repo, revision, path if verb == "resolve" else ""))  # noqa: B023 - called at once
            if name is not None:
                return name
        return None

    def _named(self, fits: Callable[[LockedAsset], bool]) -> str | None:
        return next((entry.name for entry in self._pinned() if fits(entry)), None)

    def _is_under_way(self, name: str) -> bool:
        with self._lock:
            return name in self._flights and not self._flights[name].done.is_set()

    def _flight(self, name: str) -> _Flight | None:
        """The pull of an asset: the one that is under way, or a new one; None when the server stops."""
        with self._lock:
            if self._stopped:
                return None
            flight = self._flights.get(name)
            if flight is not None and (not flight.done.is_set() or time.monotonic() - flight.ended < _REST):
                return flight
            flight = self._flights[name] = _Flight(name)
        threading.Thread(target=self._fly, args=(flight,), name=f"serve-pull-{name}", daemon=True).start()
        return flight

    def _fly(self, flight: _Flight) -> None:
        self._metrics.count("pulls")
        try:
            self._pull(flight.name)
        except AssetError as error:
            flight.error = error.message
        except Exception as error:  # noqa: BLE001 - who waits is told, and the server goes on
            flight.error = f"{type(error).__name__}: {error}"
        if flight.error:
            self._metrics.count("pulls_failed")
            self._report(f"{flight.name}: could not be pulled for a client: {flight.error}")
        flight.ended = time.monotonic()
        flight.done.set()


def _stopping(name: str) -> RefusedError:
    return RefusedError(
        503, f"the server stops; {name} goes on being pulled when it is back", "RevisionNotFound", _RETRY
    )


def _has_blob(entry: LockedAsset, sha256: str) -> bool:
    return entry.listing == sha256 or any(file.sha256 == sha256 and file.is_placed for file in entry.files)


def _fits(entry: LockedAsset, kind: str, repo: str, revision: str, path: str) -> bool:
    if entry.origin != "hub" or (entry.kind, entry.repo) != (kind, repo):
        return False
    if revision and revision.removeprefix("refs/heads/").removeprefix("refs/tags/") not in (
        entry.revision,
        entry.commit,
    ):
        return False
    return not path or any(file.path == path for file in entry.files)


_RETRY = (("Retry-After", "15"),)
