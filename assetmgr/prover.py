"""Proofs that are kept: what was proved is written into its receipt, where the store may be written."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Mapping

import msgspec

from assetmgr.errors import AssetError, IntegrityError, LockVersionError, NotInstalledError, about
from assetmgr.mutex import held
from assetmgr.receipt import Receipt, Stamp
from assetmgr.reporting import Reporter
from assetmgr.store import Store
from assetmgr.verify import Finding, Verdict, check_listings, check_marks, claimed_refs, verify


class Prover:
    """Proves receipts of one store, and keeps what it found."""

    def __init__(self, store: Store, reporter: Reporter, wait: float) -> None:
        self._store, self._reporter, self._wait = store, reporter, wait
        self._is_denied = False

    def look_at_receipts(self, findings: list[Finding], errors: list[AssetError]) -> None:
        """Without any manifest the receipts say what there is: a store without any, or with one unreadable, is told."""
        if not os.path.isdir(self._store.state):
            message = f"nothing is installed in {self._store.root}"
            errors.append(NotInstalledError(message, mend="check --root, ASSETMGR_ROOT, and that the disk is mounted"))
        for name, error in self._store.damaged_receipts():
            if isinstance(error, LockVersionError):
                errors.append(about(error, name))
            else:
                findings.append(Finding(name, "its receipt", "damaged receipt", error.message))

    def prove(self, receipt: Receipt, *, full: bool) -> Verdict:
        """Prove an entry against its receipt, which `remember` keeps."""

        verdict = verify(self._store, receipt, full=full, reporter=self._reporter, others=lambda: self._others(receipt))
        if verdict.receipt.pulled_at <= 0 and not verdict.findings and verdict.receipt.complete:
            # Whole after all: what an interrupted pull left out is there and proved.
            whole = msgspec.structs.replace(verdict.receipt, pulled_at=int(time.time()))
            return dataclasses.replace(verdict, receipt=whole)
        return verdict

    def latest(self, receipt: Receipt) -> Receipt:
        """A receipt as the store has it now."""
        return self._store.read_receipt(receipt.entry) or receipt

    def look_beside(self, receipt: Receipt) -> list[Finding]:
        """What is wrong beside an entry's files: listings, the ref, the local_dirs."""
        listings = check_listings(self._store.contents(receipt.entry))
        return [*listings, *check_marks(self._store, receipt, lambda: self._others(receipt))]

    def _others(self, receipt: Receipt) -> set[tuple[str, str]]:
        return claimed_refs(self._store.receipts(), receipt.entry)

    def keep(self, receipt: Receipt, fresh: Mapping[int, tuple[Stamp | None, Stamp | None]]) -> None:
        """Keep single stamps: by a file's number in the contents, the one that was known, and the one that it gets.

        What another process has proved or pulled anew meanwhile stays as that has written it.
        """
        if self._is_denied:
            return

        def merged() -> Receipt | None:
            now = self._store.read_receipt(receipt.entry)
            if now is None:
                return None
            contents = self._store.contents(receipt.entry)
            stamps = list(contents.of_receipt(now.stamps))
            for number, (old, new) in fresh.items():
                if number < len(stamps) and stamps[number] == old:
                    stamps[number] = new
            found = contents.for_receipt(stamps, now.stamps)
            return None if found == now.stamps else msgspec.structs.replace(now, stamps=found)

        self._save(receipt, merged, f"{receipt.entry.name}: proved, but")

    def faults(
        self, name: str, receipts: Iterable[tuple[str, Receipt | None]], absent: Callable[[str], AssetError]
    ) -> list[AssetError]:
        """What keeps an asset, with what it requires, from being proved by a quick look; nothing when all is well.

        Parameters
        ----------
        receipts
            Its own, and those of what it requires; None for what was never pulled.
        absent
            Says that an asset is not installed.
        """
        errors = []
        for found, receipt in receipts:
            if receipt is None:
                error = absent(name)
                lacks = f"{name}: requires {found}, which is not installed"
                errors.append(error if found == name else NotInstalledError(lacks, mend=error.mend))
                continue
            verdict = self.prove(receipt, full=False)
            if verdict.receipt != receipt:
                self.remember(verdict.receipt, damaged=bool(verdict.findings))
            if receipt.pulled_at <= 0 and verdict.findings:
                errors.append(NotInstalledError(f"{found}: only partly pulled", mend=f"assetmgr pull {found}"))
            elif verdict.findings:
                first, more = verdict.findings[0], len(verdict.findings) - 1
                told = f"{first} (and {more} more)" if more else str(first)
                errors.append(IntegrityError(told, mend=f"assetmgr verify {found} --repair"))
        return errors

    def remember(self, receipt: Receipt, *, damaged: bool = False) -> None:
        """Keep fresh stamps, where the store may be written. A reader of a shared store proves again each time."""
        what = f"{receipt.entry.name}: {'looked at' if damaged else 'proved'}, but"

        def unless_pulled() -> Receipt | None:
            now = self._store.read_receipt(receipt.entry)
            return None if now is not None and now.pulled_at > receipt.pulled_at > 0 else receipt

        self._save(receipt, unless_pulled, what)

    def _save(self, receipt: Receipt, now: Callable[[], Receipt | None], what: str) -> None:
        """Write what a receipt is to be now, if anything, while no other process does."""
        try:
            with held(self._store.mutex("receipts"), f"proving {receipt.entry.name}", wait=self._wait):
                fresh = now()
                if fresh is not None:
                    self._store.save_receipt(fresh)
        except PermissionError:
            self._is_denied = True
            self._reporter.say(f"{what} {self._store.root} is not writable: that is not kept")
        except OSError as error:
            self._reporter.say(f"{what} that is not kept: {error.strerror}")
        except AssetError as error:
            self._reporter.say(f"{what} that is not kept: {error.message}")
