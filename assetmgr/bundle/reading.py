"""A bundle's documents, from its index to the carriage: read strictly, since a signature is over what they say.

``index.json`` is the one document that no digest names, and leads to one image. What that says is written down again,
as `assetmgr.images` writes it, and must be the very bytes that were read: there is one way to say a thing, and nothing
is there that nobody has looked at. A part of a bundle (a volume, a delta) is an image of its own, with the files that
it holds as its layers; its config, the carriage, names the whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from assetmgr.bundle.places import Place
from assetmgr.carried import LARGEST, Carriage, dump_carriage, parse_carriage
from assetmgr.digests import sha256_text
from assetmgr.errors import IntegrityError, LockError, LockVersionError
from assetmgr.images import (
    INDEX,
    MANIFEST_MOST,
    NAME,
    SERIAL,
    SIGNATURE,
    Document,
    Image,
    blobs_of,
    dump,
    image,
    signed_bytes,
)
from assetmgr.mirrors import blob_path
from assetmgr.mirrors.telling import INDEX as INDEX_PATH
from assetmgr.names import asset_name_fault, is_digest

LAYOUT_PATH = "oci-layout"
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
SINCE, VOLUME = "vnd.assetmgr.since", "vnd.assetmgr.volume"
TAG = "latest"
# Digits of a serial; 14 are a date and a time.
SERIAL_DIGITS = 18
_VOLUME = re.compile(r"([1-9][0-9]{0,3}) of ([1-9][0-9]{0,3})\Z")
_REF_NAME = "org.opencontainers.image.ref.name"
# As skopeo and its kin write it.
_LAYOUTS = (LAYOUT, b'{"imageLayoutVersion": "1.0.0"}')


_Type = TypeVar("_Type")


class _Descriptor(msgspec.Struct, frozen=True, omit_defaults=True):
    media_type: str = msgspec.field(name="mediaType")
    digest: str
    size: int
    annotations: dict[str, str] = {}


class _Index(msgspec.Struct, frozen=True, omit_defaults=True):
    schema_version: int = msgspec.field(name="schemaVersion")
    media_type: str = msgspec.field(name="mediaType", default="")
    manifests: tuple[_Descriptor, ...] = ()


class _Named(msgspec.Struct, frozen=True):
    """A manifest, or an index of some, as far as it leads on."""

    config: _Descriptor | None = None
    manifests: tuple[_Descriptor, ...] = ()
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
    carriage
        The assets of the whole.
    blobs, layers
        The sizes of the files and listings that it holds, by sha256: of each asset, and of all.
    image
        The documents that it is made of, which are blobs too.
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
    blobs: Mapping[str, Mapping[str, int]]
    layers: Mapping[str, int]
    image: Image
    signature: str | None
    signed: bytes

    @property
    def config(self) -> str:
        """The sha256 of the document that names the assets."""
        return self.image.config.sha256

    @property
    def label(self) -> str:
        """As people call it."""
        what = f"{self.name or 'bundle'} {self.serial}" if self.serial is not None else self.name or "bundle"
        return f"{what}, volume {self.volume} of {self.volumes}" if self.volumes > 1 else what


def index_of(made: Image) -> bytes:
    """``index.json`` of a layout with one image."""
    named = {**made.named.descriptor(), "annotations": {_REF_NAME: TAG}}
    return dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]})


def read_part(place: Place) -> Part:
    """Read the documents of a bundle.

    Raises
    ------
    IntegrityError
        When it is none, not as one is written, or says of assets what is not to be used.
    LockVersionError
        When a newer assetmgr wrote it.
    """
    return _Documents(place).part()


class _Documents:
    """Reads the documents of one place, each proved by what names it."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def part(self) -> Part:
        data = self._place.read(INDEX_PATH, MANIFEST_MOST)
        if data is None:
            raise self._wrong(f"there is no bundle: no {INDEX_PATH}, or far too long a one")
        if self._place.read(LAYOUT_PATH, 4096) not in _LAYOUTS:
            raise self._wrong(f"its {LAYOUT_PATH} is missing, or not as a bundle's is")
        found = self._decoded(data, _Index, INDEX_PATH)
        if len(found.manifests) != 1:
            raise self._wrong(f"{INDEX_PATH} names {len(found.manifests)} images; a bundle has one")
        named = self._get(found.manifests[0], MANIFEST_MOST)
        part = self._image(named)
        if data != index_of(part.image) and not self._is_by_a_tool(data, found, part.image):
            raise self._wrong(f"{INDEX_PATH} is not as a bundle's is")
        return part

    def _is_by_a_tool(self, data: bytes, found: _Index, made: Image) -> bool:
        """Whether it is written as Go's tools write it: skopeo and its kin, which give it a tag of its user's."""
        (named,) = found.manifests
        descriptor = made.named.descriptor()
        same = (named.media_type, named.digest, named.size) == tuple(descriptor.values())
        return same and named.annotations.keys() <= {_REF_NAME} and msgspec.json.encode(found) == data

    def _image(self, named: Document) -> Part:
        top = self._decoded(named.data, _Named, "the image")
        manifests = [self._get(each, MANIFEST_MOST) for each in top.manifests]
        first = self._decoded(manifests[0].data, _Named, "its manifest") if manifests else top
        if first.config is None:
            raise self._wrong("its manifest has no config")
        config = self._get(first.config, LARGEST)
        carriage = self._carriage(config.data)
        if dump_carriage(carriage) != config.data:
            raise self._wrong("what it says of assets is not as this assetmgr says it")
        blobs: dict[str, dict[str, int]] = {}
        for each in manifests or [named]:
            for asset, sizes in blobs_of(each.data).items():
                blobs.setdefault(asset, {}).update(sizes)
        name, serial, notes = self._notes(top.annotations)
        signature = top.annotations.get(SIGNATURE)
        again = image(
            carriage,
            blobs,
            name=name,
            serial=serial,
            notes=notes,
            sign=None if signature is None else lambda _: signature,
        )
        if (again.config, again.manifests, again.named) != (config, tuple(manifests), named):
            raise self._wrong("its manifest is not as a bundle's is")
        layers = {sha256: size for sizes in blobs.values() for sha256, size in sizes.items()}
        if any(size < 0 for size in layers.values()) or blobs.keys() - {each.name for each in carriage.assets}:
            raise self._wrong("its manifest says what cannot be")
        if overlapping := layers.keys() & {each.sha256 for each in documents_of(again)}:
            raise self._wrong(f"{min(overlapping)} is a file of it and a document")
        volume, volumes = self._volume(notes)
        plain: dict[str, Any] = msgspec.json.decode(named.data)
        return Part(
            self._place.name,
            name,
            serial,
            notes.get(SINCE, ""),
            volume,
            volumes,
            carriage,
            blobs,
            layers,
            again,
            signature,
            signed_bytes(plain),
        )

    def _carriage(self, data: bytes) -> Carriage:
        try:
            return parse_carriage(data, blob_path(sha256_text(data)))
        except LockVersionError:
            raise
        except LockError as error:
            raise self._wrong(error.message) from None

    def _get(self, descriptor: _Descriptor, most: int) -> Document:
        digest = descriptor.digest.removeprefix("sha256:")
        if not is_digest(digest, "sha256"):
            raise self._wrong(f"{descriptor.digest[:100]!r} is no digest")
        data = self._place.read(blob_path(digest), most)
        if data is None:
            raise self._wrong(f"its document {blob_path(digest)} is missing, or far too long")
        if len(data) != descriptor.size or sha256_text(data) != digest:
            raise self._wrong(f"its document {blob_path(digest)} is damaged")
        return Document(data, descriptor.media_type)

    def _notes(self, notes: Mapping[str, str]) -> tuple[str, int | None, dict[str, str]]:
        name, serial = notes.get(NAME, ""), notes.get(SERIAL)
        if name and (fault := asset_name_fault(name)):
            raise self._wrong(f"its name is {name[:100]!r}: {fault}")
        if serial is not None and serial_fault(serial):
            raise self._wrong(f"its serial is {serial[:100]!r}")
        since = notes.get(SINCE)
        if since is not None and not is_digest(since, "sha256"):
            raise self._wrong(f"it is made since {since[:100]!r}")
        self._volume(notes)
        return (
            name,
            None if serial is None else int(serial),
            {key: notes[key] for key in (SINCE, VOLUME) if key in notes},
        )

    def _volume(self, notes: Mapping[str, str]) -> tuple[int, int]:
        text = notes.get(VOLUME, "1 of 1")
        which = _VOLUME.match(text)
        if which is None or int(which[1]) > int(which[2]):
            raise self._wrong(f"it is the volume {text[:100]!r}")
        return int(which[1]), int(which[2])

    def _decoded(self, data: bytes, kind: type[_Type], what: str) -> _Type:
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise self._wrong(f"{what} is not as a bundle's is: {error}") from None

    def _wrong(self, what: str) -> IntegrityError:
        return IntegrityError(f"{self._place.name}: {what}", mend="get the bundle anew from who made it")


def documents_of(made: Image) -> tuple[Document, ...]:
    """The documents of an image, each once."""
    return tuple({each.sha256: each for each in (made.config, *made.manifests, made.named)}.values())


def serial_fault(text: str) -> str | None:
    """Why a text is no serial, or None."""
    if re.fullmatch(f"[1-9][0-9]{{0,{SERIAL_DIGITS - 1}}}", text):
        return None
    return f"a serial is a number of at most {SERIAL_DIGITS} digits, 1 or more"
