"""Where what can always be made again is kept: in the store, or, where this user cannot write there, in their cache."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TypeVar

from assetmgr.errors import AssetError, DiskSpaceError
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
    AssetError
        When it can be kept nowhere.
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
        except IsADirectoryError:
            raise AssetError(f"{purpose}: a folder stands where it goes, {path}", mend="remove that folder") from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskSpaceError(f"{purpose}: {path}: {error.strerror}", mend="free some space") from None
            # A cache folder that is not there, and cannot be, is as good as none.
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS) and one is not stores[-1]:
                raise
    raise AssetError(
        f"{purpose}: neither {store.root} nor {stores[-1].root} can be written",
        mend="name a cache folder of your own by XDG_CACHE_HOME, or have someone load it who may write to the store",
    )
