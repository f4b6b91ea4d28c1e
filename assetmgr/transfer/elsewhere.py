"""URLs that only say which file is meant: where its bytes are is asked anew in each run, for that place expires.

``gdrive:FILE_ID`` and ``kaggle:OWNER/DATASET/PATH`` have no address of their own. Libraries that know those services
say where the bytes are; the engine fetches them as from any other URL. Neither login nor token is sent to that place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from assetmgr.transfer.connection import Answer
from assetmgr.transfer.limits import Limits

Ask = Callable[[str], Answer]
"""Asks an http or https URL for the bytes that are wanted, and follows redirects."""


class Elsewhere(Protocol):
    """One such file."""

    def open(self, ask: Ask) -> Answer:
        """Find the file and ask for its bytes. Called from several threads.

        Raises
        ------
        MissingExtraError
            When the library is not installed.
        AccessError
            When a login or consent is missing.
        OriginError, PassingError
            When it is not to be had, for good or for now.
        """


def elsewhere(url: str, limits: Limits) -> Elsewhere | None:
    """Who finds the file of a URL; None for one that has an address."""
    if url.startswith("gdrive:"):
        from assetmgr.transfer.drive import DriveFile

        return DriveFile(url)
    if url.startswith("kaggle:"):
        from assetmgr.transfer.kaggle_file import KaggleFile

        return KaggleFile(url, limits)
    return None
