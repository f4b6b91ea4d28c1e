"""Is a bundle what its index says, nothing more and nothing less? What is wrong with it is told fault by fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from assetmgr.bundle.holding import Holding, holding, listing_of
from assetmgr.bundle.places import Place, Seen
from assetmgr.bundle.reading import LAYOUT, LAYOUT_PATH, Part, read_part
from assetmgr.bundle.signing import Signer
from assetmgr.bundle.signing import verify as verify_signature
from assetmgr.digests import in_parallel
from assetmgr.errors import IntegrityError, LockError, UsageError
from assetmgr.mirrors import blob_path
from assetmgr.mirrors.telling import INDEX as INDEX_PATH
from assetmgr.reporting import Reporter

# A fault of kind ``extra`` is never read by a load; all others are in its way.
Kind = Literal["extra", "missing", "size", "form", "damaged", "content"]


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong: in which bundle, of which kind, and what."""

    bundle: str
    kind: Kind
    what: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A bundle, or a part of one, with its documents read."""

    place: Place
    part: Part


def open_parts(places: Sequence[Place]) -> list[Opened]:
    """Read the documents of several parts of one bundle, or of one bundle.

    Raises
    ------
    IntegrityError, LockError
        When one is none.
    UsageError
        When they are of different bundles.
    """
    found = [Opened(place, read_part(place)) for place in places]
    first = found[0].part
    for each in found[1:]:
        same = (each.part.name, each.part.serial, each.part.config, each.part.volumes, each.part.since)
        if same != (first.name, first.serial, first.config, first.volumes, first.since):
            raise UsageError(
                f"{each.part.where} ({each.part.label}) is of another bundle than {first.where} ({first.label})",
                mend="name the volumes of one bundle; bundles of their own are loaded one after another",
            )
    return found


def signers(opened: Sequence[Opened], keys: str) -> list[Signer]:
    """Who signed each part, by an allowed signers' file.

    Raises
    ------
    IntegrityError
        When one is not signed by any of those, or was changed since.
    UsageError, MissingExtraError
        When the keys cannot be read.
    """
    return [
        verify_signature(each.part.signed, each.part.signature, keys, what=each.part.where) for each in opened
    ]


def faults_of_shape(one: Opened) -> list[Fault]:
    """What a look at names and sizes shows. No file is read."""
    seen, part = one.place.look(), one.part
    found = [Fault(part.where, "extra", what) for what in seen.faults]
    named = {blob_path(sha256): len(document.data) for sha256, document in part.documents.items()}
    named |= {blob_path(sha256): size for sha256, size in part.layers.items()}
    for path in sorted(seen.files.keys() - named.keys() - {INDEX_PATH, LAYOUT_PATH}):
        found.append(Fault(part.where, "extra", f"{path!r} is named by nothing in it"))
    if not _is_layout(one.place.read(LAYOUT_PATH, 4096)):
        found.append(Fault(part.where, "form", f"{LAYOUT_PATH} is not as a bundle's is"))
    return found + _lacking(part, named, seen)


def _lacking(part: Part, named: dict[str, int], seen: Seen) -> list[Fault]:
    found = []
    for path, size in sorted(named.items()):
        there = seen.files.get(path)
        if there is None:
            found.append(Fault(part.where, "missing", f"{path} is not there"))
        elif there != size:
            found.append(Fault(part.where, "size", f"{path} has {there:,} bytes, and the index says {size:,}"))
    return found


def _is_layout(data: bytes | None) -> bool:
    try:
        return data is not None and msgspec.json.decode(data) == msgspec.json.decode(LAYOUT)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False


def faults_of_contents(opened: Sequence[Opened]) -> list[Fault]:
    """Whether the layers of all parts are what the assets are made of. Listings alone are read.

    Of a delta, or of some volumes of several, it is not known what is elsewhere: what is there must belong to them.
    """
    first = opened[0].part
    try:
        whole = holding(first.carriage, listing_of([each.place for each in opened], lambda _: None))
    except LockError as error:
        return [Fault(first.where, "content", error.message)]
    there: dict[str, int] = {}
    found: list[Fault] = []
    for each in opened:
        there.update(each.part.layers)
        found += _strangers(each.part, whole)
    is_all = not first.since and len({each.part.volume for each in opened}) == first.volumes
    if is_all:
        lacking = sorted((whole.files.keys() | whole.listings) - there.keys())
        found += [
            Fault(first.where, "content", f"no file of it has the content {sha256} of an asset") for sha256 in lacking
        ]
        found += [Fault(first.where, "content", f"{name}: the listing of an archive is lost") for name in whole.unlisted]
    return found


def _strangers(part: Part, whole: Holding) -> list[Fault]:
    found = []
    for sha256, size in sorted(part.layers.items()):
        if (said := whole.files.get(sha256, size)) != size:
            found.append(Fault(part.where, "content", f"{sha256} has {said:,} bytes by the lock and {size:,} by the index"))
        elif sha256 not in whole.all and not whole.unlisted:
            found.append(Fault(part.where, "content", f"{sha256} belongs to no asset of it"))
    return found


def faults_of_bytes(opened: Sequence[Opened], reporter: Reporter) -> list[Fault]:
    """Hash every file, and look at what lies between them. What a look has shown is not looked at again."""
    work: list[tuple[Opened, str, str]] = []
    found: list[Fault] = []
    for each in opened:
        seen = each.place.look().files
        found += [Fault(each.part.where, "form", what) for what in each.place.check()]
        work += [
            (each, sha256, path)
            for sha256, size in sorted(each.part.layers.items(), key=lambda item: (-item[1], item[0]))
            if seen.get(path := blob_path(sha256)) == size
        ]
    total = sum(each.part.layers[sha256] for each, sha256, _ in work)
    with reporter.progress("proving the bundle", total) as bar:

        def prove(item: tuple[Opened, str, str]) -> str:
            return item[0].place.sha256(item[2], bar.add)

        for (each, sha256, path), is_now in in_parallel(prove, work):
            if is_now != sha256:
                found.append(Fault(each.part.where, "damaged", f"{path} has other bytes: {is_now}"))
    return found


def told(faults: Sequence[Fault]) -> list[IntegrityError]:
    """The faults as errors, so many as a person reads."""
    errors = [
        IntegrityError(f"{fault.bundle}: {fault.what}", mend=_MENDS.get(fault.kind, _ANEW)) for fault in faults[:_SHOWN]
    ]
    if len(faults) > _SHOWN:
        errors.append(IntegrityError(f"{faults[0].bundle}: and {len(faults) - _SHOWN:,} more like this", mend=_ANEW))
    return errors


_SHOWN = 20
_ANEW = "copy the bundle anew, or make it whole where it was made: assetmgr bundle create --full"
_MENDS = {"extra": "take it out of there, and trust nothing in it"}
