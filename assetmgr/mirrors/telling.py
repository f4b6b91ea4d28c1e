"""What a mirror tells of assets: documents beside its blobs, at paths that any server of plain files can serve.

``assetmgr/v1/assets/NAME.json`` is an asset's `Carriage`, with all that it requires, and ``assetmgr/v1/assets.json``
is the list of them. A bundle has the same as its images' configs, which ``index.json`` leads to. None of it is believed
further than a lock of somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from assetmgr.carried import (
    LARGEST,
    MEDIA_TYPE,
    Carriage,
    Told,
    dump_carriage,
    dump_list,
    parse_carriage,
    parse_list,
    told,
)
from assetmgr.digests import sha256_text
from assetmgr.errors import LockError
from assetmgr.images import MANIFEST_MOST
from assetmgr.mirrors import Read, blob_path
from assetmgr.names import is_digest
from assetmgr.transfer.source import Source
from assetmgr.transfer.urls import safe_url

LIST = "assetmgr/v1/assets.json"
# Where the layout of an OCI image begins.
INDEX = "index.json"
# How many documents may lead to an image's configs.
_MANIFESTS_MOST = 1000

At = Callable[[str], Source]


def document_path(name: str) -> str:
    """Where a mirror has what it tells of an asset."""
    return f"assetmgr/v1/assets/{name}.json"


def carriage(at: At, name: str, read: Read) -> Carriage | None:
    """See `Mirror.carriage`; ``at`` is the source of a path of the mirror."""
    source = at(document_path(name))
    data = read(source, most=LARGEST)
    if data is not None:
        # Where case is not told apart, it may be that of another.
        return _of(parse_carriage(data, safe_url(source.url)), name)
    return next((found for one in _in_layout(at, read) if (found := _of(one, name))), None)


def listed(at: At, read: Read) -> Sequence[Told] | None:
    """See `Mirror.listed`."""
    source = at(LIST)
    data = read(source, most=LARGEST)
    if data is not None:
        return parse_list(data, safe_url(source.url))
    found: dict[str, Told] = {}
    is_layout = False
    for one in _in_layout(at, read):
        is_layout = True
        for each in one.assets:
            found.setdefault(each.name, told(each.entry))
    return list(found.values()) if is_layout else None


def write_told(document: Carriage, read: Callable[[str], bytes | None], write: Callable[[str, bytes], object]) -> None:
    """Write down what a place tells of assets, each and in its list. A list that cannot be read is written anew.

    Parameters
    ----------
    read, write
        A document of the place, by its path: None where it is not there; and whole or not at all.
    """
    try:
        before = parse_list(read(LIST) or b"", LIST)
    except LockError:
        before = ()
    for each in document.assets:
        data = dump_carriage(document.of([each.name]))
        if read(document_path(each.name)) != data:
            write(document_path(each.name), data)
    now = {each.name: each for each in before} | {each.name: told(each.entry) for each in document.assets}
    if tuple(now.values()) != before:
        write(LIST, dump_list(now.values()))


def _of(found: Carriage, name: str) -> Carriage | None:
    return found.of([name]) if any(each.name == name for each in found.assets) else None


def _in_layout(at: At, read: Read) -> Iterator[Carriage]:
    """What the images of an OCI layout tell, each once."""
    data = read(at(INDEX), most=MANIFEST_MOST)
    if data is not None:
        yield from in_image(data, lambda digest, most: read(at(blob_path(digest)), most=most), safe_url(at(INDEX).url))


class _Descriptor(msgspec.Struct, rename={"media_type": "mediaType"}):
    digest: str
    media_type: str = ""


class _Named(msgspec.Struct):
    """An index or a manifest, as far as it leads to a config."""

    manifests: tuple[_Descriptor, ...] = ()
    config: _Descriptor | None = None


def in_image(data: bytes, blob: Callable[[str, int], bytes | None], where: str) -> Iterator[Carriage]:
    """What an image tells whose index or manifest is given, and all images that this leads to: each config once.

    Parameters
    ----------
    blob
        Gives a blob by its sha256, of so many bytes at the most; None where it is not there.

    Raises
    ------
    LockError
        When a document is none, or not what its digest says.
    """
    waiting, seen = [data], set[str]()

    def get(descriptor: _Descriptor, most: int) -> bytes | None:
        digest = descriptor.digest.removeprefix("sha256:")
        if digest in seen:
            return None
        seen.add(digest)
        found = blob(digest, most) if is_digest(digest, "sha256") else None
        if found is not None and sha256_text(found) != digest:
            raise LockError(f"{where}: its blob {digest} is damaged", mend=f"get {where} anew")
        return found

    while waiting and len(seen) < _MANIFESTS_MOST:
        try:
            named = msgspec.json.decode(waiting.pop(0), type=_Named)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise LockError(f"{where}: no image's index or manifest: {error}", mend=f"get {where} anew") from None
        if named.config is not None and named.config.media_type == MEDIA_TYPE:
            config = get(named.config, LARGEST)
            if config is not None:
                yield parse_carriage(config, where)
        for descriptor in named.manifests:
            if (found := get(descriptor, MANIFEST_MOST)) is not None:
                waiting.append(found)
