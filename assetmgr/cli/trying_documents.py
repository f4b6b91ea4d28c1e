"""What `try` prints with ``--json``: see `documents`."""

from __future__ import annotations

import msgspec

from assetmgr.models.trial import Outcome


class TryDocument(msgspec.Struct, frozen=True):
    """How a model was loaded, how long that took and the task, and what came of it."""

    name: str
    backend: str
    model: str
    device: str
    dtype: str
    footprint_bytes: int
    load_seconds: float
    seconds: float
    outcome: Outcome
