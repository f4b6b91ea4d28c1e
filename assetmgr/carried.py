"""What one machine tells another of assets besides their bytes: in a bundle, in a registry, from the lab's server.

Lock, listings and bytes make an asset whole; this document has the lock's entries, and what receipts remember of how
loaders use them, and nothing of the machine that it is from. It is believed no further than a lock of somebody else's:
every name and digest in it is checked, and all bytes are proved by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from assetmgr.errors import AssetError, LockError, LockVersionError
from assetmgr.lock import Lock, LockedAsset, check_entry, check_refs
from assetmgr.names import asset_name_fault
from assetmgr.receipt import Receipt

VERSION = 1
# What the document is called where it is a blob of an image.
MEDIA_TYPE = "application/vnd.assetmgr.carriage.v1+json"
# Bytes of a document up to which it is read: some million files.
LARGEST = 1 << 28


class Carried(msgspec.Struct, frozen=True, omit_defaults=True):
    """One asset.

    Attributes
    ----------
    name, entry
        As it is locked; of what was made of a list or by a script, with its outcome.
    use, endpoint, pins, made
        As in its `assetmgr.receipt.Receipt`.
    """

    name: str
    entry: LockedAsset
    use: dict[str, Any] = {}
    endpoint: str | None = None
    pins: dict[str, str] = {}
    made: dict[str, Any] = {}


class Carriage(msgspec.Struct, frozen=True):
    """Assets and all that they require, required ones first, each once."""

    assets: tuple[Carried, ...]
    version: int = VERSION

    def of(self, names: Iterable[str]) -> Carriage:
        """Some of the assets, with what they require.

        Raises
        ------
        NotLockedError
            When one is not in it.
        """
        chosen = {entry.name for entry in Lock({each.name: each.entry for each in self.assets}).closure(names)}
        return Carriage(tuple(each for each in self.assets if each.name in chosen))


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One asset in short, as a list of what is to be had somewhere has it.

    ``digest`` is that of its entry; ``files`` and ``bytes`` count the members of archives, as in `status`.
    """

    name: str
    kind: str
    digest: str
    origin: str = ""
    repo: str | None = None
    revision: str | None = None
    commit: str | None = None
    files: int = 0
    bytes: int = 0
    requires: tuple[str, ...] = ()
    license: str | None = None


def told(entry: LockedAsset) -> Told:
    """An entry in short."""
    return Told(
        name=entry.name,
        kind=entry.kind,
        digest=entry.digest(),
        origin=entry.origin,
        repo=entry.repo or None,
        revision=entry.revision or None,
        commit=entry.commit or None,
        files=entry.count,
        bytes=entry.size,
        requires=entry.requires,
        license=entry.license,
    )


class _ToldList(msgspec.Struct, frozen=True):
    assets: tuple[Told, ...]
    version: int = VERSION


def dump_list(assets: Iterable[Told]) -> bytes:
    """A list's bytes, sorted by name."""
    ordered = tuple(sorted(assets, key=lambda each: each.name))
    return msgspec.json.encode(_ToldList(ordered), order="sorted") + b"\n"


def parse_list(data: bytes, where: str) -> tuple[Told, ...]:
    """Parse a list. It is there to be shown, and its names to be asked for: nothing is placed by it.

    Raises
    ------
    LockError
        When it is none.
    """
    try:
        found = msgspec.json.decode(data, type=_ToldList).assets
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LockError(f"{where}: it is no list of assets: {error}", mend="write it anew there") from None
    for each in found:
        if asset_name_fault(each.name) or not all(map(str.isprintable, (each.kind, each.digest, each.origin))):
            raise LockError(f"{where}: {each.name[:200]!r} is no asset's name", mend="write it anew there")
    return found


def carriage(receipts: Iterable[Receipt]) -> Carriage:
    """What is to be told of installed assets, of which each has one receipt here; all that they require is among them.

    Raises
    ------
    NotLockedError
        When one requires what is not among them.
    """
    found = {receipt.entry.name: receipt for receipt in receipts}
    closure = Lock({name: receipt.entry for name, receipt in found.items()}).closure(sorted(found))
    return Carriage(tuple(_carried(entry, found) for entry in closure))


def _carried(entry: LockedAsset, found: Mapping[str, Receipt]) -> Carried:
    receipt = found[entry.name]
    pins = {name: found[name].entry.digest() for name in entry.requires}
    return Carried(entry.name, entry, dict(receipt.use), receipt.endpoint, pins, dict(receipt.made))


def dump_carriage(document: Carriage) -> bytes:
    """The document's bytes: equal documents, equal bytes."""
    plain = msgspec.to_builtins(document)
    for each in plain["assets"]:
        each["entry"].pop("name", None)  # it has its own
    return msgspec.json.encode(plain, order="sorted") + b"\n"


def parse_carriage(data: bytes, where: str) -> Carriage:
    """Parse the document. ``where`` names it in every complaint.

    Raises
    ------
    LockVersionError
        When a newer assetmgr wrote it.
    LockError
        When it is none, or an entry of it is unsafe, contradicts another or requires what is not in it.
    """
    mend = f"get it anew from where {where} was made"
    if len(data) > LARGEST:
        raise LockError(f"{where}: larger than {LARGEST:,} bytes", mend=mend)
    try:
        version = msgspec.json.decode(data, type=_Versioned).version
        if version != VERSION:
            raise LockVersionError(
                f"{where}: version {version} of the format; this assetmgr reads version {VERSION}",
                mend="pip install --upgrade assetmgr",
            )
        found = msgspec.json.decode(data, type=Carriage)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LockError(f"{where}: it does not tell of assets: {error}", mend=mend) from None
    named = tuple(
        msgspec.structs.replace(each, entry=msgspec.structs.replace(each.entry, name=each.name))
        for each in found.assets
    )
    seen: dict[str, LockedAsset] = {}
    for each in named:
        try:
            check_entry(each.entry)
            if each.name in seen:
                raise LockError("it is there twice")
            seen[each.name] = each.entry
        except AssetError as error:
            raise LockError(f"{where}: {each.name[:200]!r}: {error.message}", mend=mend) from None
    for each in named:
        for name in each.entry.requires:
            if name not in seen:
                raise LockError(f"{where}: {each.name} requires {name}, which is not in it", mend=mend)
        for name, digest in each.pins.items():
            if name not in seen or seen[name].digest() != digest:
                raise LockError(f"{where}: {each.name} was locked with another {name} than the one in it", mend=mend)
    check_refs(seen.values())
    return Carriage(named)


class _Versioned(msgspec.Struct):
    version: int
