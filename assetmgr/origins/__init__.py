"""Where assets are published: one module an origin, behind one Protocol.

An origin turns a declaration into exact files (`resolve`), and brings the bytes of a locked asset to partial files
(`bring`). It proves nothing and places nothing: `pull` does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from assetmgr.caches.looking import LocalCaches
from assetmgr.errors import AssetError
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.manifest import Asset, Transport
from assetmgr.mirrors.run import Mirrors
from assetmgr.placing import remove_file
from assetmgr.receipt import Stamp
from assetmgr.reporting import Reporter, Silent
from assetmgr.store import Store
from assetmgr.transfer.engine import Engine
from assetmgr.transfer.limits import Limits

if TYPE_CHECKING:
    from assetmgr.archives import Seekable
    from assetmgr.origins.fetching import Fetcher
    from assetmgr.origins.files import FilesOrigin
    from assetmgr.origins.made import MadeOrigin


@dataclass(frozen=True, slots=True)
class Context:
    """What an origin works with.

    ``transport`` is for every hub, whatever the manifests say; ``mirrors`` are asked before any origin; ``unsettled``
    are notes in the partial folder, of what was resolved in this run and no lock says yet; ``caches`` are other tools',
    looked into before anybody is asked. ``alone``: only mirrors give bytes, and no file of this machine that an entry
    names by a URL.
    """

    store: Store
    limits: Limits = Limits()
    reporter: Reporter = field(default_factory=Silent)
    offline: bool = False
    wait: float = 3600.0
    transport: Transport | None = None
    mirrors: Mirrors = field(default_factory=lambda: Mirrors((), Limits()))
    unsettled: list[str] = field(default_factory=list)
    caches: LocalCaches = field(default_factory=LocalCaches)
    alone: bool = False


class Arrival(NamedTuple):
    """One file that was asked for: a partial file that holds its bytes, or why there is none.

    ``proof`` is there where the locked sha256 was seen as the bytes were written: while it fits the file, nobody need
    hash it again. ``digests`` are those that were taken then, by algorithm.
    """

    file: LockedFile
    path: str | None
    error: AssetError | None = None
    proof: Stamp | None = None
    digests: Mapping[str, str] = {}


class Origin(Protocol):
    def resolve(self, asset: Asset, previous: LockedAsset | None, *, fetch: bool) -> LockedAsset:
        """Pin a declaration to exact files.

        Parameters
        ----------
        previous
            The pin to keep where the declaration still allows it, or None to take what is newest.
        fetch
            Whether files whose sha256 nobody upstream knows are streamed into the store to be hashed. Without, their
            sha256 is None.
        """

    def look(self, asset: Asset) -> LockedAsset:
        """What a declaration stands for now, by a look at what is published: no bytes are fetched."""

    def sources(self, entry: LockedAsset, file: LockedFile) -> Sequence[str]:
        """The URLs that a file of a locked asset comes from."""

    def bring(self, entry: LockedAsset, files: Sequence[LockedFile]) -> Generator[Arrival, None, None]:
        """Bring files into the store's partial folder. Each asked file comes out once, in any order."""

    def mirrored(self, entry: LockedAsset, files: Sequence[LockedFile]) -> Generator[Arrival, None, None]:
        """Bring what mirrors have of an archive's members, or of an archive: no other place is asked."""

    def mirrored_listing(self, entry: LockedAsset, digest: str) -> bytes | None:
        """The listing of an archive from a mirror into the store; None where no mirror has it."""

    def in_parts(self, entry: LockedAsset, file: LockedFile) -> Iterator[str | Seekable]:
        """A file where it is published, to be read in parts: one for each source that may do that, in order."""

    def guard(self, entry: LockedAsset) -> contextlib.AbstractContextManager[None]:
        """Hold what `bring` works in, so that two processes do not."""

    def listing(self, entry: LockedAsset) -> bytes | None:
        """The listing document that an entry names, or None where there is none to be had."""

    def finish(self, entry: LockedAsset) -> None:
        """Remove what `bring` left behind of an asset that is whole now."""


class Origins(contextlib.AbstractContextManager["Origins"]):
    """The origins of one run, made when first needed and closed together."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._stack = contextlib.ExitStack()
        self._made: dict[tuple[str | None, ...], Origin] = {}
        self._plain: dict[str, FilesOrigin] = {}
        self._engine: Engine | None = None
        self._fetcher: Fetcher | None = None

    def hub(self, endpoint: str | None = None, transport: Transport = "auto") -> Origin:
        """The hub of an endpoint; None is the environment's."""
        from assetmgr.origins.hub import HubOrigin

        chosen = self.context.transport or transport
        key = ("hub", endpoint, chosen)
        if key not in self._made:
            self._made[key] = self._stack.enter_context(HubOrigin(self.context, endpoint, chosen, self.fetcher()))
        return self._made[key]

    def files(self, base: str) -> Origin:
        """Plain URLs; relative local paths begin at the folder ``base``."""
        return self._files(base)

    def _files(self, base: str) -> FilesOrigin:
        from assetmgr.origins.files import FilesOrigin

        if base not in self._plain:
            self._plain[base] = FilesOrigin(self.context, base, self.engine(), self.fetcher())
        return self._plain[base]

    def url_list(self, base: str, tuning: Mapping[str, Any]) -> MadeOrigin:
        """What lists of URLs name, fetched as the manifest says; relative local paths begin at the folder ``base``."""
        from assetmgr.origins.made import MadeOrigin
        from assetmgr.origins.url_list import UrlListMaker

        return MadeOrigin(self.context, self._files(base), UrlListMaker(), "url_list", tuning)

    def script(self, base: str) -> MadeOrigin:
        """What LAVIS's scripts fetch; relative local paths begin at the folder ``base``."""
        from assetmgr.origins.made import MadeOrigin
        from assetmgr.origins.script import ScriptMaker

        return MadeOrigin(self.context, self._files(base), ScriptMaker(self.engine()), "script")

    def fetcher(self) -> Fetcher:
        """What brings files over the engine, for every origin with URLs."""
        from assetmgr.origins.fetching import Fetcher

        if self._fetcher is None:
            self._fetcher = Fetcher(self.context, self.engine())
        return self._fetcher

    def engine(self) -> Engine:
        """The one engine of the run: its connections serve every asset, its limits hold for all of them."""
        if self._engine is None:
            self._engine = self._stack.enter_context(Engine(self.context.limits, self.context.reporter))
        return self._engine

    def settle(self) -> None:
        """Forget the notes of what was resolved: a lock says it now."""
        for note in self.context.unsettled:
            remove_file(note)
        self.context.unsettled.clear()

    def __exit__(self, *exception: object) -> None:
        self._stack.close()
