"""Which bundles a store has loaded: the highest serial of each line, so that an old one does not come back unseen."""

from __future__ import annotations

import os
import time
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from assetmgr.bundle.reading import Part
from assetmgr.errors import IntegrityError, StaleLockError
from assetmgr.placing import write_document
from assetmgr.store import Store

VERSION = 1


class Loaded(msgspec.Struct, frozen=True):
    """The bundle of a line that was loaded whole, and when (Unix seconds)."""

    name: str
    serial: int
    config: str
    loaded_at: int
    version: int = VERSION


class Verdict(NamedTuple):
    """Whether a bundle may be loaded, and which one of its line was."""

    is_older: bool
    last: Loaded | None


def judge(part: Part, last: Loaded | None) -> Verdict:
    """Compare a bundle with the last one of its line. One without a serial is no older than anything."""
    return Verdict(last is not None and part.serial is not None and part.serial < last.serial, last)


def last_loaded(store: Store, name: str) -> Loaded | None:
    """The bundle of a line with the highest serial that this store has loaded, or None.

    Raises
    ------
    IntegrityError
        When what was written down of it is damaged.
    """
    path = _path(store, name)
    try:
        with open(path, "rb") as file:
            found = msgspec.json.decode(file.read(), type=Loaded)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise IntegrityError(
            f"{path}: damaged: {error}",
            mend=f"which bundle was loaded last is not known; if this one is newer: rm {path}",
        ) from None
    return found


def refuse_older(part: Part, store: Store) -> None:
    """Raise where a later bundle of the line was loaded.

    Raises
    ------
    StaleLockError
        When it is older.
    """
    if not part.name:
        return
    verdict = judge(part, last_loaded(store, part.name))
    if verdict.is_older and verdict.last is not None:
        raise StaleLockError(
            f"{part.where}: it is {part.name} {part.serial}, and {part.name} {verdict.last.serial} was loaded here "
            f"on {time.strftime('%Y-%m-%d', time.gmtime(verdict.last.loaded_at))}",
            mend="load the latest one; or, to go back on purpose, add --allow-older (bundles that have nothing to do "
            "with one another get names of their own: assetmgr bundle create --name)",
        )


def remember(part: Part, store: Store) -> None:
    """Write down that a bundle was loaded whole. It may be an older one, on purpose."""
    if part.name and part.serial is not None:
        now = Loaded(part.name, part.serial, part.config, int(time.time()))
        last = None
        try:
            last = last_loaded(store, part.name)
        except IntegrityError:
            last = None
        if last is None or (last.serial, last.config) != (now.serial, now.config):
            write_document(_path(store, part.name), msgspec.json.encode(now) + b"\n")


def _path(store: Store, name: str) -> str:
    return os.path.join(store.state, "bundles", f"{quote(name, safe='+')}.json")
