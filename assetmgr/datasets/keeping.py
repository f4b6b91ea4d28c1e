"""Where what can always be made again is kept: in the store, or, where this user cannot write there, in their cache."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TypeVar

from assetmgr.mutex import held
from assetmgr.placing import make_folder
from assetmgr.reporting import Reporter, Silent
from assetmgr.store import Store, user_cache

T = TypeVar("T")

_SILENT = Silent()


def kept(
    store: Store,
    name: str,
    key: str,
    purpose: str,
    proved: Callable[[str], T | None],
    made: Callable[[str], T],
    reporter: Reporter = _SILENT,
    *,
    wait: float = 3600.0,
) -> T:
    """What is kept under a name below a store's root; made now where it is not there.

    Parameters
    ----------
    key
        By which processes that would make the same keep out of each other's way.
    purpose
        What a process that waits is told of who makes it.
    proved
        Gives what is at a path, or None where it is not there or not what it should be.
    made
        Makes it at a path; called by one process at a time.

    Raises
    ------
    BusyError
        When another process makes it for longer than ``wait`` seconds.
    """
    stores = (store, Store(user_cache()))
    for one in stores:
        if (found := proved(one.at(name))) is not None:
            return found
    for one in stores:
        path = one.at(name)
        try:
            make_folder(os.path.dirname(path))
            with held(one.mutex(f"prepared-{key}"), purpose, wait=wait, say=reporter.say):
                # Another process may have made it while this one waited.
                found = proved(path)
                return made(path) if found is None else found
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS) or one is stores[-1]:
                raise
    raise AssertionError("the last store either serves or raises")
