"""The steps that follow a pull: what is made of assets once their bytes are there. Pull itself knows none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from assetmgr.errors import AssetError
from assetmgr.install import Wish
from assetmgr.reporting import Reporter
from assetmgr.store import Store
from assetmgr.verify import Installed, installed

# What a step is given are the assets whose manifest has its key; it returns what went wrong.
Step = Callable[[Sequence[Installed], Reporter, float], list[AssetError]]


def _prepare(found: Sequence[Installed], reporter: Reporter, wait: float) -> list[AssetError]:
    from assetmgr.models.weights.prepared import prepare_after_pull

    return prepare_after_pull(found, reporter, wait=wait)


# By the key of the manifest that asks for it.
STEPS: Mapping[str, Step] = {"prepare": _prepare}


def follow(store: Store, wishes: Iterable[Wish], reporter: Reporter, *, wait: float) -> list[AssetError]:
    """Take the steps for what is whole in the store; return what went wrong. What is not whole is told already."""
    errors: list[AssetError] = []
    entries = [wish.entry for wish in wishes if STEPS.keys() & wish.use.keys()]
    receipts = [receipt for entry in entries if (receipt := store.read_receipt(entry)) is not None]
    for key, step in STEPS.items():
        found = [
            installed(store, receipt, check="none")[0]
            for receipt in receipts
            if key in receipt.use and receipt.pulled_at > 0
        ]
        if found:
            errors += step(found, reporter, wait)
    return errors
