"""Is a bundle what its index says, nothing more and nothing less? What is wrong with it is told fault by fault."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from assetmgr.bundle.holding import Holding, holdings, listing_of
from assetmgr.bundle.places import Place, Seen, open_place
from assetmgr.bundle.reading import LAYOUT_PATH, Part, documents_of, read_part
from assetmgr.bundle.signing import Signer
from assetmgr.bundle.signing import verify as verify_signature
from assetmgr.digests import in_parallel
from assetmgr.errors import IntegrityError, LockError, UsageError
from assetmgr.mirrors import blob_path
from assetmgr.mirrors.telling import INDEX as INDEX_PATH
from assetmgr.reporting import Reporter

Kind = Literal["extra", "missing", "size", "form", "damaged", "content"]
VOLUME_PREFIX = "volume-"


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong: in which bundle, of which kind, and what."""

    bundle: str
    kind: Kind
    what: str

    def __str__(self) -> str:
        return f"{self.bundle}: {self.what}"


@dataclass(frozen=True, slots=True)
class Opened:
    """A bundle, or a part of one, with its documents read."""

    place: Place
    part: Part


def paths_of(text: str) -> list[str]:
    """The parts that a path names: itself, or the volumes that lie in a folder or beside where one tar would be."""
    path = os.path.abspath(os.path.expanduser(text))
    if path.endswith(".tar") and not os.path.exists(path):
        return volume_paths(path) or [text]
    if os.path.isdir(path) and not os.path.lexists(os.path.join(path, INDEX_PATH)):
        return volume_paths(path) or [text]
    return [text]


def volume_paths(output: str) -> list[str]:
    """The volumes that lie where a `create` with this output puts them, in their order."""
    is_tar = output.endswith(".tar")
    folder = os.path.dirname(output) if is_tar else output
    stem = re.escape(f"{os.path.basename(output)[:-4]}." if is_tar else "")
    pattern = re.compile(f"{stem}{VOLUME_PREFIX}([1-9][0-9]{{0,3}}){re.escape('.tar') if is_tar else ''}")
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    found = {int(match[1]): name for name in names if (match := pattern.fullmatch(name))}
    return [os.path.join(folder, found[number]) for number in sorted(found)]


def open_parts(texts: Sequence[str]) -> list[Opened]:
    """Read the documents of a bundle, or of several parts of one.

    Raises
    ------
    IntegrityError, LockError
        When one is none.
    UsageError
        When they are of different bundles.
    OriginError, AccessError
        When one is not there, or cannot be read.
    """
    places = [open_place(path) for text in texts for path in paths_of(text)]
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


def is_whole(opened: Sequence[Opened]) -> bool:
    """Whether these are all volumes of their bundle."""
    return len({each.part.volume for each in opened}) == opened[0].part.volumes


def signers(opened: Sequence[Opened], keys: str) -> list[Signer]:
    """Who signed each part, by an allowed signers' file.

    Raises
    ------
    IntegrityError
        When one is not signed by any of those, or was changed since.
    UsageError, MissingExtraError
        When the keys cannot be read.
    """
    return [verify_signature(each.part.signed, each.part.signature, keys, what=each.part.where) for each in opened]


def faults_of_shape(opened: Sequence[Opened]) -> list[Fault]:
    """What a look at names and sizes shows. No file is read."""
    found = []
    for each in opened:
        seen, part = each.place.look(), each.part
        found += [Fault(part.where, "extra", what) for what in seen.faults]
        named = {blob_path(document.sha256): len(document.data) for document in documents_of(part.image)}
        named |= {blob_path(sha256): size for sha256, size in part.layers.items()}
        for path in sorted(seen.files.keys() - named.keys() - {INDEX_PATH, LAYOUT_PATH}):
            found.append(Fault(part.where, "extra", f"{path!r} is named by nothing in it"))
        found += _lacking(part, named, seen)
    return found


def _lacking(part: Part, named: dict[str, int], seen: Seen) -> list[Fault]:
    found = []
    for path, size in sorted(named.items()):
        there = seen.files.get(path)
        if there is None:
            found.append(Fault(part.where, "missing", f"{path} is not there"))
        elif there != size:
            found.append(Fault(part.where, "size", f"{path} has {there:,} bytes, and the index says {size:,}"))
    return found


def faults_of_contents(opened: Sequence[Opened]) -> list[Fault]:
    """Whether the layers of all parts are what the assets are made of. Listings alone are read.

    Of a delta, or of some volumes of several, it is not known what is elsewhere: what is there must belong to them.
    """
    first = opened[0].part
    try:
        needs = holdings(first.carriage, listing_of([each.place for each in opened], lambda _: None))
    except LockError as error:
        return [Fault(first.where, "content", error.message)]
    found = [
        Fault(first.where, "content", f"{each.name}: what {file.path} must be is left open")
        for each in first.carriage.assets
        for file in each.entry.files
        if not file.is_pinned
    ]
    found += [fault for each in opened for fault in _strangers(each.part, needs)]
    if first.since or not is_whole(opened):
        return found
    for name, need in needs.items():
        there = {sha256 for each in opened for sha256 in each.part.blobs.get(name, ())}
        found += [
            Fault(first.where, "content", f"{name}: no file in it has the content {sha256}")
            for sha256 in sorted((need.files.keys() | need.listings) - there)
        ]
        if need.unlisted:
            found.append(Fault(first.where, "content", f"{name}: the listing of an archive cannot be read"))
    return found


def _strangers(part: Part, needs: dict[str, Holding]) -> list[Fault]:
    found = []
    for name, sizes in part.blobs.items():
        need = needs[name]
        for sha256, size in sizes.items():
            if (said := need.files.get(sha256, size)) != size:
                what = f"{name}: {sha256} has {said:,} bytes by the lock and {size:,} by the index"
            elif sha256 not in need.all and not need.unlisted:
                what = f"{name}: {sha256} is no content of it"
            else:
                continue
            found.append(Fault(part.where, "content", what))
    return found


def faults_of_bytes(
    opened: Sequence[Opened], reporter: Reporter, *, only: Collection[str] | None = None
) -> list[Fault]:
    """Hash every file, and look at what lies between them. What a look has shown is not looked at again.

    ``only`` these are hashed, by sha256, where not all are to be.
    """
    work: list[tuple[Opened, str, str]] = []
    found: list[Fault] = []
    for each in opened:
        seen = each.place.look().files
        found += [Fault(each.part.where, "form", what) for what in each.place.check()]
        work += [
            (each, sha256, path)
            for sha256, size in sorted(each.part.layers.items(), key=lambda item: (-item[1], item[0]))
            if (only is None or sha256 in only) and seen.get(path := blob_path(sha256)) == size
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
    errors = [IntegrityError(str(fault), mend=_MENDS.get(fault.kind, _ANEW)) for fault in faults[:_SHOWN]]
    if len(faults) > _SHOWN:
        errors.append(IntegrityError(f"{faults[0].bundle}: and {len(faults) - _SHOWN:,} more like this", mend=_ANEW))
    return errors


_SHOWN = 20
_ANEW = "copy the bundle anew; or make it whole where it was made, by the `bundle create` that made it, with --full"
_MENDS = {"extra": "take it out of there, and trust nothing in it"}
