"""How a workspace's commands use the network: the limits, the mirrors and the origins of each."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from assetmgr.errors import UsageError
from assetmgr.manifest import Transport
from assetmgr.manifest_schema import TRANSPORTS
from assetmgr.reporting import Reporter
from assetmgr.store import Store

if TYPE_CHECKING:
    from assetmgr.caches.looking import CacheReport, LocalCaches
    from assetmgr.mirrors.run import Mirrors, TrafficReport
    from assetmgr.origins import Origins
    from assetmgr.transfer.limits import Limits


class Network:
    """What was asked for, by arguments and by the environment. What is imported is what a command needs.

    Parameters
    ----------
    offline, jobs, rate, wait
        See `Workspace`.
    mirrors, declared
        The mirrors that were asked for, and those of the manifests.
    local_caches
        Whether other tools' caches on this machine are looked into.
    """

    def __init__(
        self,
        store: Store,
        reporter: Reporter,
        *,
        offline: bool,
        jobs: int | None,
        rate: float | None,
        wait: float,
        mirrors: Sequence[str],
        declared: Sequence[str],
        local_caches: bool,
    ) -> None:
        self._store, self._reporter = store, reporter
        self._offline = offline or any(
            # As huggingface_hub reads them.
            os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")
            for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
        )
        if rate is not None and not rate >= 1024:
            raise UsageError(f"rate={rate!r} is less than 1024 bytes a second")
        self._transport = _chosen_transport()
        self._jobs, self._rate, self._wait = jobs, rate, wait
        self._asked, self._declared = tuple(mirrors), tuple(declared)
        self._mirrors: Mirrors | None = None
        self._looks_into_caches = local_caches
        self._caches: LocalCaches | None = None

    def renew(self) -> None:
        """Begin another command: a mirror that failed in the last one is asked again."""
        self._mirrors = self._caches = None

    def origins(
        self, store: Store | None = None, mirrors: Sequence[str] | None = None, *, alone: bool = False
    ) -> Origins:
        """The origins, with the mirrors before them; what they write goes to another store where one is given.

        ``mirrors`` are asked in place of those that were chosen for all commands; ``alone``: and nobody else, neither
        the network nor a cache of this machine.
        """
        from assetmgr.caches.looking import LocalCaches
        from assetmgr.origins import Context, Origins

        limits = self.limits()
        if alone:
            self._mirrors = self._open(mirrors or (), limits, offline=True)
        context = Context(
            store or self._store,
            limits,
            self._reporter,
            self._offline or alone,
            self._wait,
            self._transport,
            self._opened(limits) if mirrors is None or alone else self._open(mirrors, limits, offline=self._offline),
            caches=LocalCaches() if alone else self._local_caches(),
            alone=alone,
        )
        return Origins(context)

    def limits(self) -> Limits:
        from assetmgr.transfer.limits import Limits, environment_rate

        try:
            rate = environment_rate() if self._rate is None else self._rate
        except ValueError as error:
            raise UsageError(f"ASSETMGR_LIMIT_RATE: {error}", mend="correct the variable, or unset it") from None
        limits = Limits(rate=rate)
        return dataclasses.replace(limits, jobs=self._jobs) if self._jobs else limits

    def _opened(self, limits: Limits) -> Mirrors:
        """The mirrors of the command under way. One that failed is left out to its end."""
        if self._mirrors is None:
            from assetmgr.mirrors.chosen import chosen_mirrors

            self._mirrors = self._open(chosen_mirrors(self._asked, self._declared), limits, offline=self._offline)
        return self._mirrors

    def _open(self, mirrors: Sequence[str], limits: Limits, *, offline: bool) -> Mirrors:
        from assetmgr.mirrors.run import Mirrors

        return Mirrors(mirrors, limits, offline=offline)

    def _local_caches(self) -> LocalCaches:
        """The caches of the command under way. What is no good in one is passed over to its end."""
        if self._caches is None:
            from assetmgr.caches.known import known_caches
            from assetmgr.caches.looking import LocalCaches

            home, here = os.path.expanduser("~"), os.getcwd()
            known = known_caches(os.environ, home, here) if self._looks_into_caches else []
            self._caches = LocalCaches(known, self._store, say=self._reporter.say)
        return self._caches

    def adopted(self) -> tuple[CacheReport, ...]:
        """What came from other tools' caches in the command under way, or the last one."""
        return self._caches.report() if self._caches else ()

    @property
    def is_offline(self) -> bool:
        """Whether the network is forbidden."""
        return self._offline

    def mirror_names(self) -> list[str]:
        """The mirrors that would be asked, in order, as they were named."""
        if not (self._asked or self._declared or os.environ.get("ASSETMGR_MIRRORS")):
            return []
        from assetmgr.mirrors.chosen import chosen_mirrors

        return chosen_mirrors(self._asked, self._declared)

    def traffic(self) -> TrafficReport:
        """What came from which mirror and from the origins in the command under way, or the last one."""
        from assetmgr.mirrors.run import TrafficReport

        return TrafficReport() if self._mirrors is None else self._mirrors.report()


def _chosen_transport() -> Transport | None:
    """What ``ASSETMGR_TRANSPORT`` says over every manifest: for who finds out which one a network lets through."""
    chosen = os.environ.get("ASSETMGR_TRANSPORT") or None
    if chosen is not None and chosen not in TRANSPORTS:
        known = ", ".join(TRANSPORTS)
        raise UsageError(f"ASSETMGR_TRANSPORT={chosen!r} is none of {known}", mend="correct or unset it")
    return cast("Transport | None", chosen)
