"""A bundle's documents, from its index to the carriage: read strictly, since a signature is over what they say.

``index.json`` is the one document that no digest names, and leads to one image. From there on each document is named by
its digest, and has the very bytes that `assetmgr.bundle.image` writes: there is one way to say a thing, and no
two readers differ over it. A part of a bundle (a volume, a delta) is an image of its own, with the files that it holds
as its layers; its config, the carriage, names the whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from assetmgr.bundle.image import (
    ARTIFACT,
    CONFIG,
    INDEX,
    LAYER,
    MANIFEST,
    NAME,
    SERIAL,
    SIGNATURE,
    Document,
    dump,
    signed_bytes,
)
from assetmgr.bundle.places import Place
from assetmgr.carried import LARGEST, Carriage, parse_carriage
from assetmgr.digests import sha256_text
from assetmgr.errors import IntegrityError
from assetmgr.mirrors import blob_path
from assetmgr.mirrors.telling import INDEX as INDEX_PATH
from assetmgr.names import asset_name_fault, is_digest

LAYOUT_PATH = "oci-layout"
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
SINCE, VOLUME = "vnd.assetmgr.since", "vnd.assetmgr.volume"
# Digits of a serial; 14 are a date and a time.
SERIAL_DIGITS = 18
_MANIFEST_MOST = 4 << 20
_SIZE_MOST = 1 << 62
_VOLUME = re.compile(r"([1-9][0-9]{0,3}) of ([1-9][0-9]{0,3})\Z")
# What an image's tools write into an index besides.
_OURS_TO_IGNORE = {"org.opencontainers.image.ref.name"}

_Type = TypeVar("_Type")


class _Descriptor(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = {}


class _Index(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """``index.json``, and the index of an image with many layers."""

    schema_version: int
    manifests: tuple[_Descriptor, ...]
    media_type: str = INDEX
    artifact_type: str = ARTIFACT
    annotations: dict[str, str] = {}


class _Manifest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    schema_version: int
    media_type: str
    artifact_type: str
    config: _Descriptor
    layers: tuple[_Descriptor, ...]
    annotations: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Part:
    """One bundle, or one part of one, as its documents say.

    Attributes
    ----------
    where
        The place's name.
    name, serial
        Its line, and which of that line it is: a later one has a higher serial. Empty and None where an image has none,
        as one that was pushed to a registry.
    since
        Of a delta: the digest of the config of the bundle that it needs besides; empty where it needs none.
    volume, volumes
        The how manieth of how many it is.
    carriage, config
        The assets of the whole, and the sha256 of the document that names them.
    layers
        The sizes of the files and listings that it holds, by sha256.
    documents, named
        The documents that it is made of, by their sha256, which are blobs too; and the one that the index names.
    signature, signed
        The signature, if there is one, and what it is over.
    """

    where: str
    name: str
    serial: int | None
    since: str
    volume: int
    volumes: int
    carriage: Carriage
    config: str
    layers: Mapping[str, int]
    documents: Mapping[str, Document]
    named: Document
    signature: str | None
    signed: bytes

    @property
    def label(self) -> str:
        """As people call it."""
        what = f"{self.name or 'bundle'} {self.serial}" if self.serial is not None else self.name or "bundle"
        return f"{what}, volume {self.volume} of {self.volumes}" if self.volumes > 1 else what


def read_part(place: Place) -> Part:
    """Read the documents of a bundle.

    Raises
    ------
    IntegrityError
        When it is none, or not as one is written.
    LockError, LockVersionError
        When what it says of assets is not to be used.
    """
    data = place.read(INDEX_PATH, _MANIFEST_MOST)
    if data is None:
        raise _refused(place.name, f"there is no bundle: no {INDEX_PATH}, or far too long a one")
    if place.read(LAYOUT_PATH, 4096) is None:
        raise _refused(place.name, f"there is no {LAYOUT_PATH}")
    index = _decoded(data, _Index, place.name, INDEX_PATH)
    if index.schema_version != 2 or index.media_type != INDEX or index.annotations:
        raise _refused(place.name, f"{INDEX_PATH} is not as a bundle's is")
    if len(index.manifests) != 1:
        raise _refused(place.name, f"{INDEX_PATH} names {len(index.manifests)} images; a bundle has one")
    named = index.manifests[0]
    if named.annotations.keys() - _OURS_TO_IGNORE:
        raise _refused(place.name, f"{INDEX_PATH} says more than a bundle's")
    return _Documents(place).part(named)


class _Documents:
    """Reads the documents of one place, each proved by what names it."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.seen: dict[str, Document] = {}

    def part(self, named: _Descriptor) -> Part:
        data = self._get(named, _MANIFEST_MOST)
        plain: dict[str, Any] = msgspec.json.decode(data)
        layers: dict[str, int] = {}
        if named.media_type == INDEX:
            index = _decoded(data, _Index, self._place.name, "the image's index")
            self._expect(index.schema_version == 2 and index.media_type == INDEX, "the image's index")
            self._expect(index.artifact_type == ARTIFACT and bool(index.manifests), "the image's index")
            notes = index.annotations
            manifests = [self._manifest(self._get(each, _MANIFEST_MOST)) for each in index.manifests]
            self._expect(all(each.media_type == MANIFEST for each in index.manifests), "the image's index")
            self._expect(not any(each.annotations for each in (*index.manifests, *manifests)), "a manifest")
        else:
            self._expect(named.media_type == MANIFEST, "index.json")
            manifests = [self._manifest(data)]
            notes = manifests[0].annotations
        config = manifests[0].config
        self._expect(all(each.config == config for each in manifests), "the config")
        for each in (layer for manifest in manifests for layer in manifest.layers):
            self._check(each, LAYER)
            if each.digest[7:] in layers:
                raise self._wrong(f"{each.digest} is there twice among its layers")
            layers[each.digest[7:]] = each.size
        self._check(config, CONFIG)
        carried = self._get(config, LARGEST)
        name, serial, since, volume, volumes = self._notes(notes)
        if overlapping := layers.keys() & self.seen.keys():
            raise self._wrong(f"sha256:{min(overlapping)} is a layer and a document")
        return Part(
            self._place.name,
            name,
            serial,
            since,
            volume,
            volumes,
            parse_carriage(carried, self._place.name),
            config.digest[7:],
            layers,
            self.seen,
            self.seen[named.digest[7:]],
            notes.get(SIGNATURE),
            signed_bytes(plain),
        )

    def _get(self, descriptor: _Descriptor, most: int) -> bytes:
        self._check(descriptor, None)
        digest = descriptor.digest[7:]
        if digest in self.seen:
            raise self._wrong(f"{descriptor.digest} is named twice")
        data = self._place.read(blob_path(digest), most)
        if data is None:
            raise self._wrong(f"its document {digest} is missing, or far too long")
        if len(data) != descriptor.size or sha256_text(data) != digest:
            raise self._wrong(f"its document {digest} is damaged")
        self.seen[digest] = Document(data, descriptor.media_type)
        if descriptor.media_type in (INDEX, MANIFEST):
            try:
                exact = dump(msgspec.json.decode(data, type=dict[str, Any])) == data
            except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                raise self._wrong(f"its document {digest} cannot be read: {error}") from None
            if not exact:
                raise self._wrong(f"its document {digest} is not written as a bundle's are")
        return data

    def _manifest(self, data: bytes) -> _Manifest:
        found = _decoded(data, _Manifest, self._place.name, "its manifest")
        self._expect(found.schema_version == 2 and found.media_type == MANIFEST, "its manifest")
        self._expect(found.artifact_type == ARTIFACT, "its manifest")
        return found

    def _check(self, descriptor: _Descriptor, media_type: str | None) -> None:
        digest = descriptor.digest
        if not (digest.startswith("sha256:") and is_digest(digest[7:], "sha256")):
            raise self._wrong(f"{digest[:100]!r} is no digest")
        if not 0 <= descriptor.size < _SIZE_MOST:
            raise self._wrong(f"{digest} has the size {descriptor.size}")
        if media_type is not None and (descriptor.media_type != media_type or descriptor.annotations):
            raise self._wrong(f"{digest} is a {descriptor.media_type[:100]!r}, not a {media_type}")

    def _notes(self, notes: Mapping[str, str]) -> tuple[str, int | None, str, int, int]:
        if unknown := notes.keys() - {NAME, SERIAL, SIGNATURE, SINCE, VOLUME}:
            raise self._wrong(f"nobody knows what {min(unknown)[:100]!r} says of it")
        name, serial, since, volume = (notes.get(key, "") for key in (NAME, SERIAL, SINCE, VOLUME))
        if name and (fault := asset_name_fault(name)):
            raise self._wrong(f"its name is {name[:100]!r}: {fault}")
        if serial and serial_fault(serial):
            raise self._wrong(f"its serial is {serial[:100]!r}")
        if since and not is_digest(since, "sha256"):
            raise self._wrong(f"it is made since {since[:100]!r}")
        which = _VOLUME.match(volume or "1 of 1")
        if which is None or int(which[1]) > int(which[2]):
            raise self._wrong(f"it is the volume {volume[:100]!r}")
        return name, int(serial) if serial else None, since, int(which[1]), int(which[2])

    def _expect(self, is_so: bool, what: str) -> None:
        if not is_so:
            raise self._wrong(f"{what} is not as a bundle's is")

    def _wrong(self, what: str) -> IntegrityError:
        return _refused(self._place.name, what)


def serial_fault(text: str) -> str | None:
    """Why a text is no serial, or None."""
    if re.fullmatch(f"[1-9][0-9]{{0,{SERIAL_DIGITS - 1}}}", text):
        return None
    return f"a serial is a number of at most {SERIAL_DIGITS} digits, 1 or more"


def _decoded(data: bytes, kind: type[_Type], where: str, what: str) -> _Type:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _refused(where, f"{what} is not as a bundle's is: {error}") from None


def _refused(where: str, what: str) -> IntegrityError:
    return IntegrityError(f"{where}: {what}", mend="get the bundle anew from who made it")
