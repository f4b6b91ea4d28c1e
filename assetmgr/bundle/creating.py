"""Making a bundle of what is installed: all of it, what is new since another one, on one volume or on several."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from assetmgr.bundle import signing
from assetmgr.bundle.checking import VOLUME_PREFIX, Opened, open_parts, paths_of, volume_paths
from assetmgr.bundle.holding import holdings, listing_of
from assetmgr.bundle.places import SYSTEM, UNFINISHED, open_place
from assetmgr.bundle.reading import LAYOUT_PATH, SINCE, VOLUME, Part, read_part
from assetmgr.bundle.volumes import split
from assetmgr.bundle.writing import FolderLayout, TarFile, Target, Written, of_bundle
from assetmgr.carried import Carriage, Told, carriage, told
from assetmgr.digests import sha256_text
from assetmgr.errors import AssetError, IntegrityError, UsageError, raise_all
from assetmgr.images import Image, image
from assetmgr.mirrors.pushing import HeldFile, held_files
from assetmgr.mirrors.telling import INDEX as INDEX_PATH
from assetmgr.mutex import held
from assetmgr.names import asset_name_fault
from assetmgr.placing import is_unwritten
from assetmgr.receipt import Receipt
from assetmgr.reporting import Reporter
from assetmgr.store import Store
from assetmgr.transfer.engine import disk_error
from assetmgr.transfer.limits import Limits


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be made.

    Attributes
    ----------
    output
        A folder, or a file whose name ends in ``.tar``.
    name, serial
        Its line, and which of that line it is. None: as the bundle that was there, or ``since``, has it, else the
        output's name; and a serial that is later than those, of this moment.
    since
        A bundle whose contents are left out.
    volume_size
        Bytes of a volume, where there are to be several.
    key
        The SSH key to sign with.
    drop
        Take assets out of the bundle that is there, where they are not named now.
    full
        Hash what is there already, too.
    dry_run
        Only tell.
    """

    output: str
    name: str | None = None
    serial: int | None = None
    since: str | None = None
    volume_size: int | None = None
    key: str | None = None
    drop: bool = False
    full: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class CreatedPart:
    """One part: where it is, which volume, and what was written."""

    path: str
    volume: int
    volumes: int
    files: int
    bytes: int
    written: Written


@dataclass(frozen=True, slots=True)
class Created:
    """A bundle that was made, or would be. ``changed`` is false where it was there, just so.

    ``dropped`` are assets of the bundle that was there, and are not of this one.
    """

    name: str
    serial: int
    since: str
    signed: bool
    changed: bool
    parts: tuple[CreatedPart, ...]
    assets: tuple[Told, ...]
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Whole:
    """What goes into all parts together: files by sha256, of each asset and of all."""

    carriage: Carriage
    blobs: dict[str, dict[str, HeldFile]]
    files: dict[str, HeldFile]
    listings: frozenset[str]
    since: str


def create(
    order: Order, receipts: Sequence[Receipt], store: Store, limits: Limits, reporter: Reporter, *, wait: float
) -> Created:
    """Make a bundle of receipts, each of another asset, with all that they require.

    Raises
    ------
    UsageError
        When the output holds something else, or a file fits on no volume.
    IntegrityError
        When the store does not hold what a receipt says. What was there before stands.
    AssetError
        When it cannot be written.
    """
    output = _output(order.output, store)
    if order.since is not None and _is_within(order.since, output):
        raise UsageError(
            f"--since {order.since} is what would be written over",
            mend="write the delta elsewhere; or leave out --since: what is new alone is written there anyhow",
        )
    with held(_guard(output, store), f"making the bundle {output}", wait=wait, say=reporter.say):
        before = _before(output, reporter)
        old = open_parts([order.since]) if order.since is not None else ()
        whole = _whole(order, receipts, old, store, reporter)
        return _Making(order, output, before, old, whole).run(store, limits, reporter, wait)


def _guard(output: str, store: Store) -> Path:
    """The lock file of who makes this bundle: in the store, or where who may only read that can write."""
    key = f"bundle-{sha256_text(os.path.realpath(output))[:32]}"
    guard = store.mutex(key)
    if os.access(guard if guard.exists() else guard.parent, os.W_OK):
        return guard
    user = os.getuid() if hasattr(os, "getuid") else 0
    return Path(tempfile.gettempdir(), f"assetmgr-{user}", f"{key}.lock")


def _is_within(text: str, output: str) -> bool:
    """Whether a bundle is the output, or has a volume of it."""
    places = {os.path.realpath(path) for path in (output, *volume_paths(output))}
    return any(os.path.realpath(open_place(path).name) in places for path in paths_of(text))


def _output(text: str, store: Store) -> str:
    path = os.path.abspath(os.path.expanduser(text))
    real, root = os.path.realpath(path), os.path.realpath(store.root)
    if real == root or real.startswith(root + os.sep):
        raise UsageError(f"{text} lies inside the store {store.root}", mend="choose a place outside: -o DIR")
    if path.endswith(".tar"):
        if os.path.isdir(path):
            raise UsageError(f"{text} is a folder", mend="name another file: -o FILE.tar")
        return path
    if os.path.exists(path) and not os.path.isdir(path):
        raise UsageError(f"{text} is a file", mend="name a folder, or a file whose name ends in .tar")
    if os.path.isdir(path):
        there = {name for name in os.listdir(path) if not _is_begun(name)}
        if INDEX_PATH not in there and (strange := there - {UNFINISHED, "blobs", LAYOUT_PATH, *SYSTEM}):
            raise UsageError(
                f"{text} holds other things, such as {min(strange)!r}", mend="name a folder of its own: -o DIR"
            )
    return path


def _is_begun(name: str) -> bool:
    """Whether a name is a volume's, or a document's that another create writes, or was killed over."""
    return name.startswith(VOLUME_PREFIX) or any(is_unwritten(name, path) for path in (LAYOUT_PATH, INDEX_PATH))


def _paths(output: str, volumes: int | None) -> list[str]:
    """Where the parts go; one without volumes."""
    if volumes is None:
        return [output]
    if output.endswith(".tar"):
        return [f"{output[:-4]}.{VOLUME_PREFIX}{number}.tar" for number in range(1, volumes + 1)]
    return [os.path.join(output, f"{VOLUME_PREFIX}{number}") for number in range(1, volumes + 1)]


def _before(output: str, reporter: Reporter) -> dict[str, Part]:
    """The parts that are there, by their path. One that cannot be read gives way."""
    found = {}
    for path in (output, *volume_paths(output)):
        if os.path.isfile(path if path.endswith(".tar") else os.path.join(path, INDEX_PATH)):
            try:
                found[path] = read_part(open_place(path))
            except IntegrityError as error:
                reporter.say(f"what is there is made anew: {error.message}")
    return found


def _whole(
    order: Order, receipts: Sequence[Receipt], old: Sequence[Opened], store: Store, reporter: Reporter
) -> _Whole:
    document = carriage(receipts)
    blobs: dict[str, dict[str, HeldFile]] = {}
    errors: list[AssetError] = []
    for receipt in receipts:
        of_asset = blobs.setdefault(receipt.entry.name, {})
        for each in held_files(store, receipt, reporter):
            if isinstance(each, HeldFile):
                of_asset[each.sha256] = each
            else:
                errors.append(of_bundle(each))
    raise_all(errors)
    needs = holdings(document, store.read_listing).values()
    common = frozenset(sha256 for need in needs for sha256 in (*need.listings, *filter(None, [need.tree])))
    since = ""
    if old:
        since = old[0].part.config
        gone = _had(order.since or "", old, store, reporter)
        blobs = {
            name: {sha256: file for sha256, file in files.items() if sha256 not in gone}
            for name, files in blobs.items()
        }
    files = {sha256: file for of_asset in blobs.values() for sha256, file in of_asset.items()}
    return _Whole(document, blobs, files, common, since)


def _had(since: str, old: Sequence[Opened], store: Store, reporter: Reporter) -> set[str]:
    """What a store has that has loaded a bundle: all that its carriage names, also where it is a delta itself."""
    needs = holdings(old[0].part.carriage, listing_of([each.place for each in old], store.read_listing)).values()
    if unlisted := sum(need.unlisted for need in needs):
        reporter.say(f"{since}: what is in {unlisted} of its archives is not known here, and is not left out")
    trees = {need.tree for need in needs}  # a store may do without, and so the next bundle has them again
    return {sha256 for need in needs for sha256 in need.all} - {*filter(None, trees)} | {
        sha256 for each in old for sha256 in each.part.layers
    }


class _Making:
    """One run, from what is wanted and what is there."""

    def __init__(
        self, order: Order, output: str, before: dict[str, Part], old: Sequence[Opened], whole: _Whole
    ) -> None:
        self._order, self._output, self._before, self._whole = order, output, before, whole
        lines = [*before.values(), *(each.part for each in old)]
        self._name = order.name or next((each.name for each in lines if each.name), "") or self._default_name()
        if fault := asset_name_fault(self._name):
            raise UsageError(f"the bundle's name {self._name[:100]!r}: {fault}", mend="give it one: --name NAME")
        last = max((each.serial or 0 for each in lines if each.name == self._name), default=0)
        if order.serial is not None and order.serial < last:
            raise UsageError(
                f"--serial {order.serial} is older than {last}, which is there: nobody would load it",
                mend="leave out --serial, or give a higher one",
            )
        self._last = last
        now = {each.name for each in whole.carriage.assets}
        was = {each.name for part in before.values() if part.name == self._name for each in part.carriage.assets}
        self._dropped = tuple(sorted(was - now))
        if self._dropped and not order.drop:
            raise UsageError(
                f"{order.output} holds {', '.join(self._dropped)} too, which this bundle would not",
                mend="name them too; or, to take them out of it, add --drop",
            )

    def _default_name(self) -> str:
        """The output's name, as far as it can name a line."""
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", os.path.basename(self._output).removesuffix(".tar")).strip("-.")
        return name if name and not asset_name_fault(name) else "bundle"

    def run(self, store: Store, limits: Limits, reporter: Reporter, wait: float) -> Created:
        order, whole = self._order, self._whole
        sets = self._sets()
        paths = _paths(self._output, len(sets) if order.volume_size else None)
        notes = {SINCE: whole.since} if whole.since else {}
        parts = [([whole.files[sha256] for sha256 in sorted(each)], dict(notes)) for each in sets]
        if len(sets) > 1:
            for number, (_, said) in enumerate(parts, 1):
                said[VOLUME] = f"{number} of {len(sets)}"
        as_before = self._last or 1
        same = order.serial in (None, self._last) and self._is_there(paths, parts, as_before)
        now = int(datetime.now(timezone.utc).strftime("%Y%m%d%H%M%S"))
        serial = order.serial or (as_before if same else max(now, self._last + 1))
        keeps = same and order.key is None
        targets: list[Target] = [
            TarFile(path, reporter)
            if path.endswith(".tar")
            else FolderLayout(
                path, store, limits, reporter, wait, self._before[path].image if path in self._before else None
            )
            for path in paths
        ]
        # All that can fail without a byte written fails first.
        images = [
            replace(made, named=self._before[path].image.named) if keeps else made
            for path, (files, said) in zip(paths, parts, strict=True)
            for made in [self._image(files, said, serial, None if keeps or order.dry_run else order.key)]
        ]
        created = []
        for number, (path, target, made, (files, _)) in enumerate(zip(paths, targets, images, parts, strict=True), 1):
            if order.dry_run:
                written = target.foretell(made, files, is_new=not keeps)
            else:
                written = target.write(made, files, full=order.full, is_new=not keeps)
            size = sum(file.size for file in files)
            created.append(CreatedPart(path, number, len(paths), len(files), size, written))
        if not order.dry_run:
            self._drop_others(paths)
        signed = order.key is not None or (keeps and all(self._before[path].signature for path in paths))
        return Created(
            self._name,
            serial,
            whole.since,
            signed,
            not same or any(part.written.files for part in created),
            tuple(created),
            tuple(told(each.entry) for each in whole.carriage.assets),
            self._dropped,
        )

    def _sets(self) -> list[set[str]]:
        sizes = {sha256: file.size for sha256, file in self._whole.files.items()}
        if self._order.volume_size is None:
            return [set(sizes)]
        before = {
            sha256: part.volume - 1 for part in self._before.values() if part.volumes > 1 for sha256 in part.layers
        }
        config = len(self._image([], {}, 1, None).config.data)
        return split(sizes, self._order.volume_size, common=self._whole.listings, documents=config, before=before)

    def _image(self, files: Sequence[HeldFile], notes: dict[str, str], serial: int, key: str | None) -> Image:
        held = {file.sha256 for file in files}
        return image(
            self._whole.carriage,
            {
                name: {sha256: file.size for sha256, file in of_asset.items() if sha256 in held}
                for name, of_asset in self._whole.blobs.items()
            },
            name=self._name,
            serial=serial,
            notes=notes,
            sign=None if key is None else lambda data: signing.sign(data, key),
        )

    def _is_there(
        self, paths: Sequence[str], parts: Sequence[tuple[list[HeldFile], dict[str, str]]], serial: int
    ) -> bool:
        """Whether all parts are there already, but for what signs them."""
        for path, (files, notes) in zip(paths, parts, strict=True):
            there = self._before.get(path)
            if there is None or there.signed != self._image(files, notes, serial, None).named.data:
                return False
        return True

    def _drop_others(self, paths: Sequence[str]) -> None:
        """Remove parts of this line that an earlier run has put there and this one has not."""
        for path, part in self._before.items():
            if path not in paths and part.name == self._name:
                try:
                    if path.endswith(".tar"):
                        os.unlink(path)
                    else:
                        FolderLayout.remove(path)
                except OSError as error:
                    raise disk_error(path, error) from None
