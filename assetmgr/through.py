"""What a server may pull for its clients: what the locks in force pin, by the pull of every day."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from assetmgr.errors import AssetError
from assetmgr.lock import LockedAsset

if TYPE_CHECKING:
    from assetmgr.workspace import Workspace

# Seconds for which the locks are not looked at again.
_FRESH = 1.0


class Through:
    """Locks and pulls for a server that runs for long: each look and each pull has a workspace of its own.

    Parameters
    ----------
    fresh
        Makes a workspace of the manifests as they are now.
    report
        Is told when the locks can no longer be read; what they said last counts on.

    Raises
    ------
    AssetError
        When the manifests or their locks cannot be read at the start.
    """

    def __init__(self, fresh: Callable[[], Workspace], report: Callable[[str], None]) -> None:
        self._fresh, self._report = fresh, report
        self._lock = threading.Lock()
        self._entries: Sequence[LockedAsset] = fresh().locked()
        self._looked = time.monotonic()
        self._fault = ""

    def pinned(self) -> Sequence[LockedAsset]:
        """The entries of all that the manifests ask for, required ones first."""
        with self._lock:
            if time.monotonic() - self._looked > _FRESH:
                try:
                    self._entries, self._fault = self._fresh().locked(), ""
                except AssetError as error:
                    if error.message != self._fault:
                        self._report(f"what is locked is not followed: {error.message}")
                    self._fault = error.message
                self._looked = time.monotonic()
            return self._entries

    def pull(self, name: str) -> None:
        """Bring one of them, and what it requires.

        Raises
        ------
        AssetError
            When it cannot be brought.
        """
        self._fresh().pull([name])
