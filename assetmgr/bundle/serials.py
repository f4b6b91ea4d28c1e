"""Which bundles a store has loaded, so that an old one does not come back unseen.

Of each line it is the last serial; and of each asset the serial that brought it, since an older bundle of another line
would bring back old bytes as well.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from assetmgr.bundle.reading import Part
from assetmgr.carried import Carriage
from assetmgr.errors import IntegrityError, StaleLockError
from assetmgr.placing import write_document
from assetmgr.store import Store

VERSION = 1


class Brought(msgspec.Struct, frozen=True):
    """Which bundle of a line brought an asset, and the digest of its entry then."""

    serial: int
    digest: str


class Loaded(msgspec.Struct, frozen=True):
    """What was loaded of a line: the last bundle, when (Unix seconds), and each asset by the last that had it."""

    name: str
    serial: int
    loaded_at: int
    assets: Mapping[str, Brought] = {}
    version: int = VERSION


class Older(NamedTuple):
    """Why a bundle is older than what was loaded: the later one, and the asset that both have, where it is that."""

    later: Loaded
    serial: int
    asset: str = ""


def judge(name: str, serial: int | None, assets: Mapping[str, str], loaded: Iterable[Loaded]) -> Older | None:
    """Whether a bundle is older than what was loaded. One without a serial is no older than anything.

    Parameters
    ----------
    assets
        The digests of the entries that it has, by name.
    """
    if serial is None:
        return None
    for each in loaded:
        if each.name == name and serial < each.serial:
            return Older(each, each.serial)
        for asset, digest in assets.items():
            brought = each.assets.get(asset)
            if brought is not None and serial < brought.serial and digest != brought.digest:
                return Older(each, brought.serial, asset)
    return None


def refuse_older(part: Part, store: Store) -> None:
    """Raise where a later bundle of the line, or one that had other bytes of an asset, was loaded.

    Raises
    ------
    StaleLockError
        When it is older.
    IntegrityError
        When what was written down is damaged.
    """
    older = judge(part.name, part.serial, _digests(part.carriage), _all(store))
    if older is not None:
        when = time.strftime("%Y-%m-%d", time.gmtime(older.later.loaded_at))
        what = f", with other bytes of {older.asset}," if older.asset else ""
        raise StaleLockError(
            f"{part.where}: it is {part.name or 'a bundle'} {part.serial}, and {older.later.name} {older.serial}{what} "
            f"was loaded here on {when}",
            mend="load the latest one; or, to go back on purpose, add --allow-older (bundles that have nothing to do "
            "with one another get names of their own: assetmgr bundle create --name)",
        )


def remember(part: Part, carriage: Carriage, store: Store) -> None:
    """Write down that assets of a bundle were loaded. It may be an older one, on purpose."""
    if not part.name or part.serial is None:
        return
    try:
        last = _read(_path(store, part.name))
    except IntegrityError:
        last = None
    brought = {name: Brought(part.serial, digest) for name, digest in _digests(carriage).items()}
    assets = {**(last.assets if last else {}), **brought}
    if last is None or (last.serial, last.assets) != (part.serial, assets):
        now = Loaded(part.name, part.serial, int(time.time()), assets)
        write_document(_path(store, part.name), msgspec.json.encode(now, order="sorted") + b"\n")


def _digests(carriage: Carriage) -> dict[str, str]:
    return {each.name: each.entry.digest() for each in carriage.assets}


def _all(store: Store) -> list[Loaded]:
    folder = _folder(store)
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
    except FileNotFoundError:
        return []
    found = (_read(os.path.join(folder, name)) for name in names)
    return [each for each in found if each is not None]


def _read(path: str) -> Loaded | None:
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=Loaded)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise IntegrityError(
            f"{path}: damaged: {error}",
            mend=f"which bundle was loaded last is not known; if this one is newer: rm {path}",
        ) from None


def _folder(store: Store) -> str:
    return os.path.join(store.state, "bundles")


def _path(store: Store, name: str) -> str:
    return os.path.join(_folder(store), f"{quote(name, safe='+')}.json")
