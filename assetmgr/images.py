"""A bundle as an OCI image: the manifest that names a carriage as its config, and files and listings as its layers.

Pure: documents from documents. Where they lie, in a folder's layout or in a registry, is for others. The same assets
give the same bytes, so that nothing is sent or copied twice.

- More layers than `LAYERS_MOST`, or of very many assets, are split over several manifests with the same config, and an
  index names those: registries refuse a manifest of more than 4 MiB. ``skopeo copy --all`` carries them too.
- A layer says which assets it is of: with that, what is told of one asset can be kept when another is made anew.
- A signature is an annotation over all the rest of the document that a tag names. It goes wherever the image is copied
  to, and what it covers names every byte by digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from assetmgr.carried import MEDIA_TYPE, Carriage, dump_carriage
from assetmgr.names import is_digest

ARTIFACT = "application/vnd.assetmgr.bundle.v1"
CONFIG = MEDIA_TYPE
LAYER = "application/octet-stream"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
# Whose a layer is: names of assets, sorted, with blanks between them.
ASSETS = "vnd.assetmgr.assets"
NAME, SERIAL, SIGNATURE = "vnd.assetmgr.name", "vnd.assetmgr.serial", "vnd.assetmgr.signature"
# Bytes of a manifest or an index: no registry has to take more.
MANIFEST_MOST = 4 << 20
# Some 2 MB of a manifest, where each is of one asset.
LAYERS_MOST = 10_000
# Bytes of a layer in it besides the assets that it is of.
_LAYER_TAKES = 200
_NONE: Mapping[str, str] = {}


class Document(NamedTuple):
    """A small document of an image."""

    data: bytes
    media_type: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def descriptor(self) -> dict[str, Any]:
        """As another document names it."""
        return {"mediaType": self.media_type, "digest": f"sha256:{self.sha256}", "size": len(self.data)}


@dataclass(frozen=True, slots=True)
class Image:
    """What a bundle is besides its files.

    Attributes
    ----------
    config
        The carriage.
    manifests
        What ``named`` names, where that is an index; else nothing.
    named
        What a tag names: the manifest, or the index.
    """

    config: Document
    manifests: tuple[Document, ...]
    named: Document


def image(
    document: Carriage,
    blobs: Mapping[str, Mapping[str, int]],
    *,
    name: str = "",
    serial: int | None = None,
    notes: Mapping[str, str] = _NONE,
    sign: Callable[[bytes], str] | None = None,
) -> Image:
    """The image of a carriage and its blobs.

    Parameters
    ----------
    blobs
        Of each asset, the size of each of its files and listings, by sha256.
    name, serial
        Of the bundle: a later one of the same name has a higher serial.
    notes
        What else is to be said of it, as annotations.
    sign
        Gives the signature over bytes.
    """
    config = Document(dump_carriage(document), CONFIG)
    layers = _layers(blobs)
    parts = list(_parts(layers)) or [[]]
    said = {**notes, **({NAME: name} if name else {}), **({} if serial is None else {SERIAL: str(serial)})}
    plain = [{"artifactType": ARTIFACT, "config": config.descriptor(), "layers": part} for part in parts]
    if len(plain) == 1:
        return Image(config, (), _document(plain[0], MANIFEST, said, sign))
    manifests = tuple(_document(part, MANIFEST, {}, None) for part in plain)
    index = {"artifactType": ARTIFACT, "manifests": [each.descriptor() for each in manifests]}
    return Image(config, manifests, _document(index, INDEX, said, sign))


def _parts(layers: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The layers of each manifest: so many that it stays well below `MANIFEST_MOST`."""
    part: list[dict[str, Any]] = []
    room = MANIFEST_MOST // 2
    for layer in layers:
        taken = _LAYER_TAKES + len(layer["annotations"][ASSETS])
        if part and (len(part) >= LAYERS_MOST or taken > room):
            yield part
            part, room = [], MANIFEST_MOST // 2
        part.append(layer)
        room -= taken
    if part:
        yield part


class _Layer(msgspec.Struct):
    digest: str
    size: int
    annotations: dict[str, str] = {}


class _Layers(msgspec.Struct):
    layers: tuple[_Layer, ...] = ()


def blobs_of(manifest: bytes) -> dict[str, dict[str, int]]:
    """Of each asset that a manifest's layers name, the size of each of its blobs. Another's manifest has none."""
    found: dict[str, dict[str, int]] = {}
    try:
        layers = msgspec.json.decode(manifest, type=_Layers).layers
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    for layer in layers:
        sha256 = layer.digest.removeprefix("sha256:")
        for asset in layer.annotations.get(ASSETS, "").split() if is_digest(sha256, "sha256") else ():
            found.setdefault(asset, {})[sha256] = layer.size
    return found


def _layers(blobs: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    sizes: dict[str, int] = {}
    owners: dict[str, list[str]] = {}
    for asset in sorted(blobs):
        for sha256, size in blobs[asset].items():
            sizes[sha256] = size
            owners.setdefault(sha256, []).append(asset)
    return [
        {
            "mediaType": LAYER,
            "digest": f"sha256:{sha256}",
            "size": sizes[sha256],
            "annotations": {ASSETS: " ".join(owners[sha256])},
        }
        for sha256 in sorted(sizes)
    ]


def _document(
    plain: dict[str, Any], media_type: str, notes: dict[str, str], sign: Callable[[bytes], str] | None
) -> Document:
    whole = {"schemaVersion": 2, "mediaType": media_type, **plain}
    if notes:
        whole["annotations"] = notes
    if sign is not None:
        whole["annotations"] = {**notes, SIGNATURE: sign(signed_bytes(whole))}
    return Document(dump(whole), media_type)


def signed_bytes(named: Mapping[str, Any]) -> bytes:
    """What a signature of a decoded manifest or index is over: all of it but the signature."""
    notes = {key: value for key, value in (named.get("annotations") or {}).items() if key != SIGNATURE}
    return dump({**named, "annotations": notes})


def dump(plain: Mapping[str, Any]) -> bytes:
    """A document's bytes, and the only ones that it has here."""
    return msgspec.json.encode(plain, order="sorted")
