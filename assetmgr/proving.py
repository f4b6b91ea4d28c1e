"""`verify` over several assets: what is installed is proved, what is damaged is mended, and both are told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from assetmgr import views
from assetmgr.errors import AssetError
from assetmgr.prover import Prover
from assetmgr.receipt import Receipt
from assetmgr.reporting import Reporter
from assetmgr.store import Store
from assetmgr.verify import Finding
from assetmgr.view_records import read_view

if TYPE_CHECKING:
    from assetmgr.install import Wish
    from assetmgr.network import Network
    from assetmgr.nightly import Coverage

Mend = Callable[[Receipt], None]


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found over several assets. ``coverage`` is there where it had a time budget."""

    assets: int
    files: int
    bytes: int
    hashed_bytes: int
    findings: tuple[Finding, ...] = ()
    repaired: tuple[Finding, ...] = ()
    errors: tuple[AssetError, ...] = field(default=())
    coverage: Coverage | None = None


def verify_all(
    prover: Prover,
    receipts: Iterable[Receipt],
    mend: Mend | None,
    *,
    full: bool,
    findings: Sequence[Finding] = (),
    errors: Sequence[AssetError] = (),
) -> Verification:
    """Prove each receipt, and mend what is damaged where ``mend`` is there to do it.

    ``findings`` and ``errors`` are what is known already.
    """
    told, failed, repaired = list(findings), list(errors), list[Finding]()
    assets = files = size = hashed = 0
    for receipt in receipts:
        verdict = prover.prove(receipt, full=full)
        assets, files = assets + 1, files + receipt.entry.count
        size, hashed = size + receipt.entry.size, hashed + verdict.hashed_bytes
        if verdict.receipt != receipt:
            prover.remember(verdict.receipt, damaged=bool(verdict.findings))
        left: Sequence[Finding] = verdict.findings
        if mend is not None and (left or verdict.receipt.pulled_at <= 0):
            left = _mended(prover, verdict.receipt, left, mend, repaired, failed, full=full)
        told += left
    return Verification(assets, files, size, hashed, tuple(told), tuple(repaired), tuple(failed))


def verify_within(
    store: Store,
    prover: Prover,
    receipts: Sequence[Receipt],
    mend: Mend | None,
    reporter: Reporter,
    *,
    budget: float,
    findings: Sequence[Finding] = (),
    errors: Sequence[AssetError] = (),
) -> Verification:
    """Look at all, and hash as much as ``budget`` seconds allow, those files first whose proof is the oldest."""
    from assetmgr.nightly import Nightly

    told, failed, repaired = list(findings), list(errors), list[Finding]()
    night = Nightly(store, prover, reporter, budget)
    for receipt, left in night.run(receipts):
        now = prover.latest(receipt)
        if mend is not None and (left or now.pulled_at <= 0):
            told += _mended(prover, now, left, mend, repaired, failed, full=False)
            continue
        told += left
        if now.pulled_at <= 0 and now.complete and (whole := prover.prove(now, full=False).receipt) != now:
            prover.remember(whole)
    coverage = night.coverage()
    return Verification(
        len(receipts),
        sum(receipt.entry.count for receipt in receipts),
        sum(receipt.entry.size for receipt in receipts),
        coverage.bytes,
        tuple(told),
        tuple(repaired),
        (*failed, *night.errors),
        coverage,
    )


def _mended(
    prover: Prover,
    receipt: Receipt,
    found: Sequence[Finding],
    mend: Mend,
    repaired: list[Finding],
    errors: list[AssetError],
    *,
    full: bool,
) -> Sequence[Finding]:
    """Mend an asset; return what is still wrong. Repaired is what a second look no longer finds."""
    try:
        mend(receipt)
    except AssetError as error:
        errors += error.parts
    left = prover.prove(prover.latest(receipt), full=full).findings
    still = {(finding.path, finding.kind) for finding in left}
    repaired += [finding for finding in found if (finding.path, finding.kind) not in still]
    return left


def mend_asset(
    wish: Wish, receipt: Receipt, network: Network, store: Store, reporter: Reporter, *, wait: float
) -> None:
    """Fetch anew what is damaged of an asset, and nothing else; show it again where it was shown.

    Raises
    ------
    AssetError
        The failure, or all of them as `SeveralErrors`.
    """
    from assetmgr.pull import Pull

    with network.origins() as origins:
        Pull(store, origins, [wish]).run()
    for folder in receipt.local_dirs:
        shown = read_view(store, folder).files.values()
        styles = [own.asked for own in shown if receipt.entry.name in own.owners]
        if styles and folder != wish.local_dir and os.path.isdir(folder):
            views.show(store, receipt.entry, folder, styles[0], reporter, wait=wait)
