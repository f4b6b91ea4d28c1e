"""Files that no program may fetch: behind a licence, a form, a login. The manifest's ``ask:`` says what to do.

What a user fetched is handed in at a local path that the manifest's ``url`` names, or at the file's own place in the
store. Either is proved like anything that comes over a wire.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from assetmgr.errors import AccessError, AssetError, FetchByHandError, IntegrityError, MissingExtraError, OriginError
from assetmgr.transfer.urls import local_path, printable


def handed_in(urls: Sequence[str], place: str) -> str | None:
    """The ``file:`` URL or path of what was handed in, if anything was: a path that the manifest names goes first."""
    named = [url for url in urls if url.startswith("file:") and os.path.isfile(local_path(url))]
    return named[0] if named else place if os.path.isfile(place) else None


def ask_for(
    error: AssetError, asset: str, file: str, *, ask: str, urls: Sequence[str], place: str, size: int | None, next: str
) -> AssetError:
    """What to tell of a file that could not be had: the instruction, where to put the file, and what to type then.

    Parameters
    ----------
    error
        Why it could not be had; one that has nothing to do with where it comes from is returned as it is.
    place
        Its absolute path in the store.
    size
        In bytes, where it is known.
    next
        The command that goes on.
    """
    paths = " or ".join([*(printable(local_path(url)) for url in urls if url.startswith("file:")), place])
    ask = " ".join(printable(ask).split())
    if isinstance(error, IntegrityError):
        return IntegrityError(
            error.message, mend=f"get the right one by hand: {ask}\n    put it at {paths}\n    then: {next}"
        )
    if not isinstance(error, (OriginError, AccessError, MissingExtraError)):
        return error
    label = f"{asset}: {file}: "
    was_tried = any(not url.startswith("file:") for url in urls) or handed_in(urls, place)
    why = error.message.removeprefix(label) if was_tried else "not there yet"
    amount = f" ({size:,} bytes)" if size is not None and size >= 0 else ""
    return FetchByHandError(
        f"{label}{why}; it is to be fetched by hand: {ask}", mend=f"put it{amount} at {paths}\n    then: {next}"
    )
