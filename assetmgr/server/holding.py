"""The one place where a file of the store is opened to be given out."""

from __future__ import annotations

import contextlib
import os
import stat
import time

from assetmgr.server.answers import Held
from assetmgr.server.hub import unproved

# A pipe in a file's place must not be waited for.
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def open_held(held: Held) -> int:
    """An open descriptor of a file that is, by a look at that very descriptor, what its stamp says.

    Raises
    ------
    RefusedError
        When it is not, or cannot be opened.
    """
    try:
        file = os.open(held.path, _FLAGS)
    except PermissionError:
        raise unproved(held.label, "on the server: let who runs it read this file", "may not be read") from None
    except OSError:
        raise unproved(held.label, held.mend) from None
    if fits(held, file):
        _note(held.use)
        return file
    os.close(file)
    raise unproved(held.label, held.mend)


# When each use was noted last: more often than once a minute says nothing more.
_noted: dict[str, float] = {}


def _note(use: str) -> None:
    """Keep that an asset is used, as far as who serves may write that."""
    now = time.monotonic()
    if use and now - _noted.get(use, -60.0) >= 60:
        _noted[use] = now
        with contextlib.suppress(OSError):
            os.utime(use)


def fits(held: Held, file: int) -> bool:
    """Whether an open file is still what was proved."""
    status = os.fstat(file)
    return stat.S_ISREG(status.st_mode) and held.stamp.fits(status)
