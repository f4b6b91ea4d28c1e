"""What `bundle` prints with ``--json``, as types: see `assetmgr.cli.documents`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from assetmgr.bundle.checking import Fault
from assetmgr.bundled import Awaited
from assetmgr.carried import Told, told
from assetmgr.cli.documents import Amount
from assetmgr.install import Pulled

if TYPE_CHECKING:
    from assetmgr.bundle.checking import Opened
    from assetmgr.bundle.creating import CreatedPart
    from assetmgr.bundle.signing import Signer


class BundleVolume(msgspec.Struct, frozen=True):
    """One part of a bundle; of a new one, what was written, was there, and was removed since it has it no more."""

    path: str
    volume: int
    volumes: int
    files: int
    bytes: int
    written: Amount | UnsetType = UNSET
    present: Amount | UnsetType = UNSET
    removed: Amount | UnsetType = UNSET


class ToldSigner(msgspec.Struct, frozen=True):
    """Who signed: the name that the allowed signers' file has, and the fingerprint of the key."""

    name: str
    fingerprint: str


class BundleDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle is, and what was done.

    ``since`` is the digest of the config of the bundle that a delta needs; ``signer`` is there where it was proved.
    """

    code: int
    action: str
    name: str
    serial: int | None
    since: str | None
    signed: bool
    signer: ToldSigner | UnsetType = UNSET
    volumes: tuple[BundleVolume, ...]
    assets: tuple[Told, ...]
    changed: bool | UnsetType = UNSET
    dropped: tuple[str, ...] | UnsetType = UNSET
    findings: tuple[Fault, ...] | UnsetType = UNSET
    pulled: tuple[Pulled, ...] | UnsetType = UNSET
    awaited: tuple[Awaited, ...] | UnsetType = UNSET


def volumes_written(parts: Iterable[CreatedPart]) -> tuple[BundleVolume, ...]:
    return tuple(
        BundleVolume(
            part.path,
            part.volume,
            part.volumes,
            part.files,
            part.bytes,
            Amount(part.written.files, part.written.bytes),
            Amount(part.written.present_files, part.written.present_bytes),
            Amount(part.written.removed_files, part.written.removed_bytes),
        )
        for part in parts
    )


def document_of(
    action: str,
    opened: Sequence[Opened],
    signer: Signer | None,
    *,
    code: int = 0,
    findings: Sequence[Fault] | UnsetType = UNSET,
    pulled: Sequence[Pulled] | UnsetType = UNSET,
    awaited: Sequence[Awaited] | UnsetType = UNSET,
) -> BundleDocument:
    """What is told of a bundle that is there."""
    first = opened[0].part
    return BundleDocument(
        code=code,
        action=action,
        name=first.name,
        serial=first.serial,
        since=first.since or None,
        signed=all(each.part.signature for each in opened),
        signer=UNSET if signer is None else ToldSigner(signer.name, signer.fingerprint),
        volumes=tuple(
            BundleVolume(
                each.part.where,
                each.part.volume,
                each.part.volumes,
                len(each.part.layers),
                sum(each.part.layers.values()),
            )
            for each in opened
        ),
        assets=tuple(told(each.entry) for each in first.carriage.assets),
        findings=UNSET if findings is UNSET else tuple(findings),
        pulled=UNSET if pulled is UNSET else tuple(pulled),
        awaited=UNSET if awaited is UNSET else tuple(awaited),
    )
