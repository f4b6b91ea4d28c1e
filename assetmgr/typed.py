"""A command of ours, as it must be typed to mean the store and the manifest of the call that names it."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from assetmgr.errors import AssetError

_COMMAND = re.compile(r"\bassetmgr (?=(add|list|lock|pull|show|status|sync|verify)\b)")


class Typed(NamedTuple):
    """What stands between ``assetmgr`` and its command."""

    options: str = ""

    @classmethod
    def of(cls, manifest: str | os.PathLike[str] | None, root: str | os.PathLike[str] | None) -> Typed:
        """For a call that names its manifest or its store."""
        named = (("--root", root), ("--manifest", manifest))
        return cls(shlex.join(word for option, value in named if value for word in (option, os.fspath(value))))

    def __call__(self, words: str) -> str:
        return _COMMAND.sub(lambda _: f"assetmgr {self.options} ", words) if self.options else words

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Errors that leave this name their mends so."""
        try:
            yield
        except AssetError as error:
            for one in error.parts:
                one.mend = self(one.mend)
            raise
