"""What the tests of mirrors share: servers and folders with blobs, and a run that brings files past them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.mirrors.run import Mirrors, TrafficReport
from assetmgr.origins import Arrival, Context, Origins
from assetmgr.store import Store
from assetmgr.transfer.limits import Limits
from tests.hub import Hub
from tests.transfer.support import SMALL, Words

# As patient as a loaded machine needs, as quick as a test may be; nobody waits between attempts.
QUICK = Limits(
    attempts=2,
    backoff=0.001,
    connect_timeout=5,
    read_timeout=5,
    mirror_connect_timeout=5,
    mirror_read_timeout=5,
    mirror_backoff=0.001,
    **SMALL,
)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def blob(data: bytes) -> str:
    """Where a mirror has a content."""
    return f"blobs/sha256/{sha256(data)}"


def stock(place: Hub | Path, *contents: bytes) -> None:
    """Put contents into a mirror: a server (its whole address), or a folder."""
    for content in contents:
        if isinstance(place, Hub):
            place.publish(f"/{blob(content)}", content)
        else:
            path = place / blob(content)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def locked(contents: dict[str, bytes], origin: str, name: str = "m") -> LockedAsset:
    """A lock entry of files that an origin publishes under ``/f/``."""
    files = tuple(
        LockedFile(path, len(data), sha256(data), place="files", urls=(f"{origin}/f/{path}",))
        for path, data in sorted(contents.items())
    )
    return LockedAsset(kind="dataset", origin="files", declared="0" * 64, files=files, name=name)


@dataclass
class Brought:
    """What one run brought."""

    arrivals: dict[str, Arrival]
    traffic: TrafficReport
    said: list[str]
    contents: dict[str, bytes] = field(default_factory=dict)

    @property
    def errors(self) -> dict[str, str]:
        return {path: str(arrival.error) for path, arrival in self.arrivals.items() if arrival.error}


def bring(
    root: Path, entry: LockedAsset, mirrors: Sequence[str], *, limits: Limits = QUICK, offline: bool = False
) -> Brought:
    """Bring the files of an entry in one run, mirrors before the origin."""
    words = Words()
    used = Mirrors(mirrors, limits, offline=offline)
    with Origins(Context(Store(root), limits, words, offline, mirrors=used)) as origins:
        arrivals = {arrival.file.path: arrival for arrival in origins.files("/").bring(entry, entry.files)}
    contents = {path: Path(arrival.path).read_bytes() for path, arrival in arrivals.items() if arrival.path}
    return Brought(arrivals, used.report(), words.said, contents)
