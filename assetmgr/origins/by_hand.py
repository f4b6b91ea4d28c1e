"""Files that no program may fetch: behind a licence, a form, a login. The manifest's ``ask:`` says what to do.

What a user fetched is handed in at a local path that the manifest's ``url`` names, or at the file's own place in the
store. Either is proved like anything that comes over a wire.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from assetmgr.errors import AccessError, AssetError, FetchByHandError, IntegrityError, MissingExtraError, OriginError
from assetmgr.transfer.urls import local_path, printable


@dataclass(frozen=True, slots=True)
class ByHand:
    """One such file.

    Attributes
    ----------
    ask
        The instruction.
    urls
        Where it is published or will be put, local paths as ``file:`` URLs; there may be none.
    place
        Its absolute path in the store.
    size
        In bytes; None or -1 where nobody knows.
    """

    asset: str
    file: str
    ask: str
    urls: Sequence[str]
    place: str
    size: int | None

    def handed_in(self) -> str | None:
        """The ``file:`` URL or the place where it was handed in, if it was; what the manifest names goes first."""
        named = [url for url in self.urls if url.startswith("file:") and os.path.isfile(local_path(url))]
        return named[0] if named else self.place if os.path.isfile(self.place) else None

    def told(self, error: AssetError, again: str) -> AssetError:
        """Why it could not be had, with the instruction, where to put it, and the command that goes on then.

        An error that has nothing to do with where the file comes from is returned as it is.
        """
        ask = " ".join(printable(self.ask).split())
        paths = [printable(local_path(url)) for url in self.urls if url.startswith("file:")]
        where = " or ".join([*paths, self.place])
        if isinstance(error, IntegrityError):
            mend = f"get the right one by hand: {ask}\n    put it at {where}\n    then: {again}"
            return IntegrityError(error.message, mend=mend)
        if not isinstance(error, (OriginError, AccessError, MissingExtraError)):
            return error
        label = f"{self.asset}: {self.file}: "
        was_tried = len(paths) < len(self.urls) or self.handed_in()
        why = error.message.removeprefix(label) if was_tried else "not there yet"
        amount = f" ({self.size:,} bytes)" if self.size is not None and self.size >= 0 else ""
        return FetchByHandError(
            f"{label}{why}; it is to be fetched by hand: {ask}", mend=f"put it{amount} at {where}\n    then: {again}"
        )
