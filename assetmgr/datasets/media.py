"""Where media are, and how one is opened: the one Protocol behind folders, archives and shards."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import BinaryIO, NamedTuple, Protocol


class Media(Protocol):
    """A place that has media by name. Picklable, and safe to use after a fork.

    Attributes
    ----------
    owner
        The asset that put them there; None for a place of the user's own.
    where
        The folder or the archives, as a person is told.
    """

    @property
    def owner(self) -> str | None: ...

    @property
    def where(self) -> str: ...

    def open(self, name: str) -> BinaryIO:
        """Open a medium from its beginning.

        Raises
        ------
        FileNotFoundError, NotADirectoryError
            When there is none of that name.
        OSError
            When it cannot be read; the message says why.
        """

    def has(self, name: str) -> bool:
        """Whether there is one of that name, by a look that opens nothing."""

    def shown(self, name: str) -> str:
        """A medium's whole name, as a person is told."""


class Folder(NamedTuple):
    """Media as files below a folder."""

    folder: str
    owner: str | None

    @property
    def where(self) -> str:
        return self.folder

    def open(self, name: str) -> BinaryIO:
        return open(os.path.join(self.folder, name), "rb")

    def has(self, name: str) -> bool:
        return os.path.isfile(os.path.join(self.folder, name))

    def shown(self, name: str) -> str:
        return os.path.join(self.folder, name)


def named(media: Media, stem: str, suffixes: Iterable[str]) -> str:
    """The name of a medium that may end in several ways: the first that exists, else the first."""
    names = [stem + suffix for suffix in suffixes]
    if len(names) == 1:
        return names[0]
    return next((name for name in names if media.has(name)), names[0])
