"""A Hugging Face hub on loopback, for tests, the demo and benchmarks: the standard library and nothing else.

>>> from tests.hub import Fault, Hub
>>> hub = Hub()
>>> commit = hub.create("org/name").commit({"config.json": b"{}", "model.safetensors": bytes(1000)})
>>> fault = hub.faults.add(Fault(match="model.safetensors", method="GET", truncate_after=500))
>>> with hub.serve() as endpoint:
...     pass  # HF_ENDPOINT=endpoint, or any HTTP client
"""

from .entries import RawEntry, default_lfs
from .faults import Fault, Faults, Match
from .hub import Hub
from .log import Record
from .repos import Commit, Gated, Kind, Repo

__all__ = [
    "Commit",
    "Fault",
    "Faults",
    "Gated",
    "Hub",
    "Kind",
    "Match",
    "RawEntry",
    "Record",
    "Repo",
    "default_lfs",
]
