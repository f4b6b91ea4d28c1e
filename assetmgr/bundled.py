"""Loading a bundle: a pull from it alone, by what it says of assets, and what is left for other volumes to bring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assetmgr.bundle.checking import Opened, faults_of_bytes, paths_of, told
from assetmgr.bundle.loading import Offer, offer, refuse_without_base, unread
from assetmgr.bundle.serials import remember
from assetmgr.bundle.signing import Signer
from assetmgr.carried import Carried
from assetmgr.errors import AssetError, IntegrityError, OriginError, raise_all
from assetmgr.install import Pulled, Wish
from assetmgr.lock import LockedAsset
from assetmgr.mirrored import told_wish
from assetmgr.mirrors.chosen import named_mirrors
from assetmgr.network import Network
from assetmgr.reporting import Reporter
from assetmgr.store import State, Store

if TYPE_CHECKING:
    from assetmgr.origins import Origins


@dataclass(frozen=True, slots=True)
class Awaited:
    """Files of an asset that are on other volumes."""

    name: str
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load did.

    Attributes
    ----------
    label
        Which bundle it was, or which of its volumes.
    signer
        Who signed it, where that was proved; None where it was not asked for.
    opened
        Its documents.
    assets
        What became of each asset that is whole now.
    awaited
        Those that other volumes have to complete.
    """

    label: str
    signer: Signer | None
    opened: tuple[Opened, ...]
    assets: tuple[Pulled, ...]
    awaited: tuple[Awaited, ...] = ()


def load(
    paths: Sequence[str],
    names: Sequence[str],
    store: Store,
    network: Network,
    reporter: Reporter,
    run: Callable[[Sequence[Wish], Origins], list[Pulled]],
    *,
    others: Sequence[str] = (),
    keys: str | None = None,
    allow_older: bool = False,
    pinned: Callable[[str], LockedAsset | None] = lambda name: None,
) -> Loaded:
    """See `Workspace.load_bundle`; ``run`` pulls, and ``pinned`` is what a lock here says of a name."""
    wanted = offer(paths, names, store, keys=keys, allow_older=allow_older)
    for each in wanted.carriage.assets:
        here = pinned(each.name)
        if here is not None and here.digest() != each.entry.digest():
            reporter.say(
                f"{each.name}: the lock here names other bytes than this bundle, and counts in this project: "
                "bring the lock that goes with the bundle"
            )
    if not others:
        refuse_without_base(wanted, store)
    raise_all(told(faults_of_bytes(wanted.opened, reporter, only=unread(wanted, store))))
    where = wanted.opened[0].part.where
    wishes = [
        told_wish(each, store, f"bundle {where}", reporter.say, pins=each.pins) for each in wanted.carriage.assets
    ]
    more = [path for each in others for path in paths_of(each)]
    mirrors = named_mirrors([*(each.part.where for each in wanted.opened), *more])
    errors: list[AssetError] = []
    done: list[Pulled] = []
    with network.origins(mirrors=mirrors, alone=True) as origins:
        try:
            done = run(wishes, origins)
        except AssetError as error:
            errors = list(error.parts)
    awaited = _awaited(wanted, store)
    if errors and not (awaited and all(isinstance(error, OriginError) for error in errors)):
        if damaged := _damaged(wanted, store, reporter):
            errors = [
                *(error for error in errors if not isinstance(error, (OriginError, IntegrityError))),
                *damaged,
            ]
        raise_all(errors)
    remember(wanted.opened[0].part, wanted.carriage, store)
    short = {each.name for each in awaited}
    if awaited:
        whole = {each.name: each for each in done}
        done = [whole.get(each.name, Pulled(each.name)) for each in wanted.carriage.assets if each.name not in short]
    return Loaded(
        wanted.label,
        wanted.signer,
        wanted.opened,
        tuple(done),
        awaited,
    )


def _left(each: Carried, store: Store) -> dict[str, int]:
    """The sizes of an asset's files that are not in the store, by sha256."""
    contents = store.contents(each.entry)
    states = store.survey(contents.placed, store.known_stamps(each.entry, store.read_receipt(each.entry)))
    return {
        file.sha256: file.size
        for file, state in zip(contents.files, states, strict=True)
        if state in (State.MISSING, State.UNPROVED) and file.sha256 is not None
    }


def _awaited(wanted: Offer, store: Store) -> tuple[Awaited, ...]:
    """What is not here though all that these parts have is."""
    if not wanted.needs_others:
        return ()
    found = []
    layers = wanted.layers
    for each in wanted.carriage.assets:
        left = _left(each, store)
        if left and not left.keys() & layers:
            found.append(Awaited(each.name, len(left), sum(left.values())))
    return tuple(found)


def _damaged(wanted: Offer, store: Store, reporter: Reporter) -> list[IntegrityError]:
    """Which files of the bundle are why something did not come: a pull says that nobody had it."""
    left = {sha256 for each in wanted.carriage.assets for sha256 in _left(each, store)}
    left |= {
        file.sha256 for each in wanted.carriage.assets for file in each.entry.files if file.extract and file.sha256
    }
    return told(faults_of_bytes(wanted.opened, reporter, only=left))
