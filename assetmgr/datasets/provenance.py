"""Where a dataset is from, and when its files were last proved: what its `repr` tells."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assetmgr.verify import Installed


@dataclass(frozen=True, slots=True)
class Provenance:
    """
    Attributes
    ----------
    origin
        Who publishes it: ``hub``, ``files``, ``url_list`` or ``script``; of a hub's, the repo too.
    commit
        The commit of a hub's repo, else empty.
    proved_at
        The oldest proof among its files (Unix seconds); None where that is not known.
    """

    origin: str = ""
    commit: str = ""
    proved_at: int | None = None

    @classmethod
    def of(cls, found: Installed) -> Provenance:
        entry = found.entry
        return cls(f"hub {entry.repo}" if entry.origin == "hub" else entry.origin, entry.commit, found.proved_at)

    def lines(self) -> list[str]:
        """The lines of a `repr`; what is not known is left out."""
        told = []
        if self.origin:
            told.append(f"from: {self.origin}" + (f" at {self.commit}" if self.commit else ""))
        if self.proved_at:
            told.append(f"verified: {time.strftime('%Y-%m-%d %H:%M', time.localtime(self.proved_at))}")
        return told
