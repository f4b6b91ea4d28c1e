"""What assetmgr put into a `local_dir`, as the store records it: a document a folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path

import msgspec

from assetmgr.digests import sha256_text
from assetmgr.errors import IntegrityError
from assetmgr.placing import LinkStyle, remove_file, write_document
from assetmgr.store import Store


class Shown(msgspec.Struct, frozen=True, array_like=True):
    """One recorded file: who it belongs to, the style asked for and the one that the platform allowed, and how to know
    it again."""

    asset: str
    sha256: str
    asked: LinkStyle
    style: LinkStyle
    target: str = ""
    size: int = 0
    mtime_ns: int = 0
    inode: int = 0
    also: tuple[str, ...] = ()
    """Further assets that show the same bytes at this name."""

    @property
    def owners(self) -> frozenset[str]:
        return frozenset((self.asset, *self.also))

    def owned_by(self, owners: Collection[str]) -> Shown | None:
        """The same file with other owners; None when nobody is left."""
        first, *rest = sorted(owners) or [""]
        return msgspec.structs.replace(self, asset=first, also=tuple(rest)) if first else None


class View(msgspec.Struct, frozen=True):
    """The record of one folder.

    ``intent`` (name -> sha256) is written before a file is put: what an interrupted run has put is known by it.
    ``asked`` says of each asset which manifests want it shown here; who wants it by a command line alone is ``""``.
    """

    folder: str
    files: dict[str, Shown] = {}
    intent: dict[str, str] = {}
    asked: dict[str, tuple[str, ...]] = {}
    version: int = 1

    def asked_by(self, asset: str, by: str | None) -> View:
        """The same record with one more who asks; None adds nobody.

        What a command line asked for is a manifest's once one says the same.
        """
        known = self.asked.get(asset, ())
        if by is None or by in known or (not by and known):
            return self
        return msgspec.structs.replace(self, asked={**self.asked, asset: tuple(sorted({*known, by} - {""})) or ("",)})


_RECORDS = msgspec.json.Decoder(View)


def _record_path(store: Store, folder: str) -> str:
    return os.path.join(store.state, "views", f"{sha256_text(folder)[:32]}.json")


def read_view(store: Store, folder: str) -> View:
    """The record of a folder; an empty one where there is none."""
    try:
        data = Path(_record_path(store, folder)).read_bytes()
    except FileNotFoundError:
        return View(folder)
    try:
        return _RECORDS.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise IntegrityError(
            f"{_record_path(store, folder)}: damaged record of {folder}: {error}",
            mend=f"move {folder} away, remove this record, and pull again",
        ) from None


def all_views(store: Store) -> list[View]:
    """Every readable record of the store. What a damaged one says, nobody can act on."""
    views = []
    with contextlib.suppress(FileNotFoundError):
        for path in sorted(Path(store.state, "views").glob("*.json")):
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, OSError):
                views.append(_RECORDS.decode(path.read_bytes()))
    return views


def write_view(store: Store, view: View) -> None:
    """Keep a record; one of a folder that shows nothing any more goes."""
    path = _record_path(store, view.folder)
    if view.files or view.intent or view.asked:
        write_document(path, msgspec.json.encode(view))
    else:
        remove_file(path)


def guard(store: Store, folder: str) -> Path:
    """The lock file of who changes a folder."""
    return store.mutex(f"view-{sha256_text(folder)[:32]}")
