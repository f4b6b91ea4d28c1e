"""What `status`, `list` and `show` tell of one asset."""

from __future__ import annotations

from typing import Literal

import msgspec

from assetmgr.memory import Fitness

AssetState = Literal["installed", "unproved", "incomplete", "damaged", "not installed", "not locked"]


class MediaCount(msgspec.Struct, frozen=True):
    """How many media of a kind a dataset's annotations name, and how many of these are there, each counted once.

    ``kind`` is ``images`` or ``videos``.
    """

    kind: str
    named: int
    present: int

    def __str__(self) -> str:
        return f"{self.kind}: {self.present:,} of {self.named:,} present"


class AssetStatus(msgspec.Struct, frozen=True):
    """One asset's state, as `status` shows it.

    ``state`` is ``installed``, ``unproved`` (there, and to be hashed once), ``incomplete``, ``damaged``, ``not
    installed`` or ``not locked``; ``stale`` says that the manifest changed since the lock. ``looked_at`` is when every
    file was last looked at (Unix seconds), and ``not_looked_at`` how many were not looked at now. ``media`` is counted
    for an installed dataset whose annotations can be read, or was while its folders were as they are.
    """

    name: str
    kind: str
    state: AssetState
    stale: bool = False
    files: int = 0
    bytes: int = 0
    revision: str = ""
    commit: str = ""
    proved_at: int | None = None
    path: str = ""
    looked_at: int | None = None
    not_looked_at: int = 0
    media: tuple[MediaCount, ...] = ()


class ListedAsset(msgspec.Struct, frozen=True):
    """One asset that is declared, locked or installed, or that a mirror tells of, as `list` shows it.

    ``state`` is as in `status`. ``bytes`` is None where no lock says it. ``declared_at`` is FILE:LINE:COLUMN, or empty.
    ``mirror`` is the one that tells of it, where mirrors were asked.
    """

    name: str
    kind: str
    state: AssetState
    origin: str
    groups: tuple[str, ...] = ()
    files: int | None = None
    bytes: int | None = None
    license: str | None = None
    description: str | None = None
    declared_at: str = ""
    looked_at: int | None = None
    not_looked_at: int = 0
    mirror: str = ""


class ShownFile(msgspec.Struct, frozen=True):
    """One file of an asset, by its name in the asset."""

    path: str
    size: int
    sha256: str | None


class ShownAsset(msgspec.Struct, frozen=True):
    """All that is known of one asset, as `show` shows it.

    ``shown_files`` are all files, or the largest of many; ``files`` and ``bytes`` count all that it puts into the
    store. ``reasons`` says why it is there, ``other_revisions`` which others of its name are installed, ``next`` what
    to type to have it, ``media`` how many of those that a dataset's annotations name are there, ``fit`` how much
    memory an installed model takes. What is not known is None or empty.
    """

    name: str
    kind: str
    state: AssetState
    stale: bool
    origin: str
    endpoint: str | None
    revision: str
    commit: str
    license: str | None
    description: str | None
    groups: tuple[str, ...]
    requires: tuple[str, ...]
    twins: tuple[str, ...]
    files: int | None
    bytes: int | None
    shown_files: tuple[ShownFile, ...]
    path: str
    local_dirs: tuple[str, ...]
    proved_at: int | None
    looked_at: int | None
    not_looked_at: int
    reasons: tuple[str, ...]
    other_revisions: tuple[str, ...]
    mirrors: tuple[str, ...]
    next: str
    media: tuple[MediaCount, ...] = ()
    fit: Fitness | None = None


class ShownSheet(msgspec.Struct, frozen=True):
    """A contact sheet that `show --samples` wrote: where, of how many samples, and what is wrong with some of them."""

    name: str
    path: str
    samples: int
    faults: tuple[str, ...]
